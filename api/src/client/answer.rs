//! What came back, or did not: whole bodies, refusals, and errors of the connection in words for people.

use std::error::Error as _;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use reqwest::Response;
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;
use vfs_core::{Error, Kind, Result};

use super::transport::Endpoint;
use crate::limits::ANSWER_MAX;
use crate::wire::ErrorBody;
use crate::wire::error::kind_of_status;

/// What became of one attempt that failed.
pub(super) struct Failure {
    pub(super) error: Error,
    /// The engine was not reached: nothing has happened.
    pub(super) unreached: bool,
}

/// A whole answer.
pub(super) struct Exchanged {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Exchanged {
    /// The text of a header; empty without it.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::new(Kind::Internal, format!("the engine's answer to {path} makes no sense")).because(error)
        })
    }
}

pub(super) fn too_slow(path: &str) -> Error {
    Error::new(Kind::Unavailable, format!("the engine has not answered {path} in time"))
}

pub(super) fn failed_to_send(endpoint: &Endpoint, error: reqwest::Error) -> Failure {
    let unreached = error.is_connect();
    let context = match (unreached, is_denied(&error)) {
        (true, true) => {
            let error = Error::new(Kind::Denied, format!("the engine's socket {endpoint} belongs to another user"))
                .because(error);
            return Failure { error, unreached: false };
        }
        (true, false) => format!("no engine answers at {endpoint}; start one with `esker serve`"),
        (false, _) => format!("the connection to the engine at {endpoint} broke; what was asked for may have happened"),
    };
    Failure { error: Error::new(Kind::Unavailable, context).because(error), unreached }
}

/// Whether the kernel refused to let us connect.
fn is_denied(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.kind() == std::io::ErrorKind::PermissionDenied;
        }
        cause = error.source();
    }
    false
}

/// The error that an answer other than a success carries.
pub(super) async fn refusal(response: Response) -> Error {
    let status = response.status().as_u16();
    let body = read_all(response).await.unwrap_or_default();
    match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(body) => body.error.into(),
        Err(error) => {
            let context = format!("something between here and the engine answered with status {status}");
            Error::new(kind_of_status(status), context).because(error)
        }
    }
}

/// A whole body, within [`ANSWER_MAX`].
pub(super) async fn read_all(response: Response) -> Result<Bytes> {
    let expected = response.content_length().unwrap_or(0);
    if expected > ANSWER_MAX as u64 {
        return Err(too_long());
    }
    let mut body = response.bytes_stream();
    let mut all = BytesMut::with_capacity(expected as usize);
    while let Some(part) = body.next().await {
        all.extend_from_slice(&part.map_err(broken)?);
        if all.len() > ANSWER_MAX {
            return Err(too_long());
        }
    }
    Ok(all.freeze())
}

fn too_long() -> Error {
    Error::new(Kind::LimitExceeded, format!("the engine's answer has over {ANSWER_MAX} bytes"))
}

/// A body that ended too early.
pub(super) fn broken(error: reqwest::Error) -> Error {
    Error::new(Kind::Unavailable, "the connection to the engine broke in the middle of an answer").because(error)
}
