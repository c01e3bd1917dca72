//! What all requests have in common: a request id, a log line, the version on both sides, answers for wrong URLs.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use tracing::Instrument;
use vfs_core::{Error, Kind};

use super::error::ApiError;
use crate::{REQUEST_ID_HEADER, VERSION, VERSION_HEADER, versions_differ};

/// What clients of every version may ask, so that a newer command can find out about an old engine and stop it.
const ANY_VERSION: [&str; 2] = ["/v1/status", "/v1/shutdown"];

static NEXT_REQUEST: AtomicU64 = AtomicU64::new(1);

/// Gives a request its id and its log line, and every answer our version.
pub(super) async fn wrap(request: Request, next: Next) -> Response {
    let id = NEXT_REQUEST.fetch_add(1, Ordering::Relaxed);
    let span = tracing::debug_span!("request", id, method = %request.method(), path = request.uri().path());
    let began = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let took_us = began.elapsed().as_micros() as u64;
    span.in_scope(|| tracing::debug!(status = response.status().as_u16(), took_us, "answered"));
    let headers = response.headers_mut();
    headers.insert(VERSION_HEADER, HeaderValue::from_static(VERSION));
    headers.insert(REQUEST_ID_HEADER, id.into());
    response
}

/// Refuses clients that say they are of another version. One that says nothing (a script, a browser) is served.
pub(super) async fn same_version(request: Request, next: Next) -> Response {
    let theirs =
        request.headers().get(VERSION_HEADER).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    match theirs {
        Some(theirs) if theirs != VERSION && !ANY_VERSION.contains(&request.uri().path()) => {
            ApiError::from(Error::new(Kind::Unsupported, versions_differ(&theirs, VERSION))).into_response()
        }
        _ => next.run(request).await,
    }
}

/// The answer where no route fits.
pub(super) async fn not_found(uri: Uri) -> ApiError {
    Error::new(Kind::NotFound, format!("this API has no {}", uri.path())).into()
}

/// The answer where a route has other methods.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    let error = Error::new(Kind::Unsupported, format!("{} does not take {method}", uri.path()));
    ApiError::with_status(StatusCode::METHOD_NOT_ALLOWED, error)
}
