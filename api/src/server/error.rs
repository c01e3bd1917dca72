//! Errors on their way out: status, kind and context to the client, the cause to the log.

use axum::Json;
use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use vfs_core::{Error, Kind};

use crate::ERROR_HEADER;
use crate::wire::error::{ErrorBody, ErrorDetail, status};

/// An error as an answer.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    error: Error,
}

/// What handlers return.
pub(super) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// An error with another status than its kind has.
    pub(super) fn with_status(status: StatusCode, error: Error) -> Self {
        ApiError { status, error }
    }

    /// The caller has not said who it is, or not convincingly.
    pub(super) fn unauthorized(context: &str) -> Self {
        ApiError { status: StatusCode::UNAUTHORIZED, error: Error::new(Kind::Denied, context) }
    }

    /// The request asks for bytes beyond the end.
    pub(super) fn range_not_satisfiable(size: u64) -> Self {
        let error = Error::new(Kind::Invalid, format!("the range is outside of the {size} bytes there are"));
        ApiError { status: StatusCode::RANGE_NOT_SATISFIABLE, error }
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let status = StatusCode::from_u16(status(error.kind())).expect("because the map holds valid statuses");
        ApiError { status, error }
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        rejected(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        rejected(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        rejected(rejection.status(), rejection.body_text())
    }
}

impl From<WebSocketUpgradeRejection> for ApiError {
    fn from(rejection: WebSocketUpgradeRejection) -> Self {
        rejected(rejection.status(), rejection.body_text())
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        rejected(rejection.status(), rejection.body_text())
    }
}

/// What the framework refuses is about the request, so its words may be shown.
fn rejected(status: StatusCode, why: String) -> ApiError {
    let kind = if status == StatusCode::PAYLOAD_TOO_LARGE { Kind::TooLarge } else { Kind::Invalid };
    Error::new(kind, why).into()
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        log(&self.error);
        let body = ErrorBody::from(ErrorDetail::from(&self.error));
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(ERROR_HEADER, HeaderValue::from_static(self.error.kind().as_str()));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Writes an error with all its causes to the log, louder the more it needs a person.
pub(super) fn log(error: &Error) {
    let kind = error.kind().as_str();
    match error.kind() {
        Kind::Corrupt | Kind::Internal => tracing::error!(kind, "{}", error.chain()),
        Kind::Unavailable | Kind::NoSpace => tracing::warn!(kind, "{}", error.chain()),
        _ => tracing::debug!(kind, "{}", error.chain()),
    }
}

/// A JSON body whose refusal has our shape. The content type must say JSON, which keeps web forms out.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        let Json(value) = Json::from_request(request, state).await?;
        Ok(JsonBody(value))
    }
}

/// A query whose refusal has our shape.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let axum::extract::Query(value) = axum::extract::Query::from_request_parts(parts, state).await?;
        Ok(Query(value))
    }
}

/// Segments of the URL's path whose refusal has our shape.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let axum::extract::Path(value) = axum::extract::Path::from_request_parts(parts, state).await?;
        Ok(Path(value))
    }
}

/// A whole body in memory, within the route's limit.
#[derive(Debug)]
pub(super) struct Body(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        Ok(Body(Bytes::from_request(request, state).await?))
    }
}
