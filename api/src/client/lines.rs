//! Streams of JSON lines: progress to whoever wants it, then the result.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use reqwest::{Method, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use vfs_core::{Error, Kind, Result};

use super::answer::broken;
use super::transport::{Client, Effort};
use crate::limits::LINE_MAX;
use crate::wire::JobLine;
use crate::wire::job::Progress;

impl Client {
    /// Asks for long work; calls `on_progress` now and then; returns the result.
    ///
    /// Dropping this future stops the work.
    pub(super) async fn job<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
        mut on_progress: impl FnMut(Progress),
    ) -> Result<T> {
        let body = serde_json::to_vec(request)
            .map_err(|error| Error::new(Kind::Internal, "a request cannot be written as JSON").because(error))?;
        let response = self.stream(Method::POST, path, Some(body.into()), Effort::ONCE).await?;
        let mut lines = Lines::new(response);
        while let Some(line) = lines.next().await? {
            let line: JobLine<T> = serde_json::from_slice(&line).map_err(|error| {
                Error::new(Kind::Internal, format!("a line of {path} makes no sense")).because(error)
            })?;
            match line {
                JobLine::Progress(progress) => on_progress(progress),
                JobLine::Result(result) => return Ok(result),
                JobLine::Error(detail) => return Err(detail.into()),
            }
        }
        Err(Error::new(Kind::Unavailable, "the engine went away in the middle of the work; ask again"))
    }
}

/// The lines of a body, without their ends.
pub(super) struct Lines {
    body: futures::stream::BoxStream<'static, reqwest::Result<Bytes>>,
    buffer: BytesMut,
}

impl Lines {
    pub(super) fn new(response: Response) -> Self {
        Lines { body: response.bytes_stream().boxed(), buffer: BytesMut::new() }
    }

    /// The next line; `None` at the end. Bytes behind the last line end are a line that was cut off.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let mut line = self.buffer.split_to(searched + end + 1);
                line.truncate(line.len() - 1);
                return Ok(Some(line.freeze()));
            }
            searched = self.buffer.len();
            if searched > LINE_MAX {
                return Err(Error::new(Kind::LimitExceeded, format!("a line of the answer has over {LINE_MAX} bytes")));
            }
            match self.body.next().await {
                Some(part) => self.buffer.extend_from_slice(&part.map_err(broken)?),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Error::new(Kind::Unavailable, "the engine went away in the middle of a line")),
            }
        }
    }
}
