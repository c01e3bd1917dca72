//! The one shape of an error, and the total map from kinds to HTTP statuses.
//!
//! What a client sees is kind and context; the cause stays in the engine's log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use vfs_core::{Error, Kind};

use super::document::DocumentConflict;

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
    /// Of a stale write of a document: what it met. Nothing was overwritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Box<DocumentConflict>>,
}

impl From<ErrorDetail> for ErrorBody {
    fn from(error: ErrorDetail) -> Self {
        ErrorBody { error, conflict: None }
    }
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// What the caller can do: one of the kinds of decision 0009, such as `not_found` or `conflict`.
    #[schema(example = "not_found")]
    pub kind: String,
    /// What was being done, for people.
    pub message: String,
}

impl From<&Error> for ErrorDetail {
    fn from(error: &Error) -> Self {
        ErrorDetail { kind: error.kind().as_str().to_owned(), message: error.context().to_owned() }
    }
}

impl From<ErrorDetail> for Error {
    fn from(detail: ErrorDetail) -> Self {
        Error::new(Kind::from_wire(&detail.kind).unwrap_or(Kind::Internal), detail.message)
    }
}

/// The HTTP status of a kind.
pub fn status(kind: Kind) -> u16 {
    match kind {
        Kind::Invalid | Kind::NameTooLong | Kind::TooSmall => 400,
        Kind::Denied | Kind::NotPermitted => 403,
        Kind::NotFound | Kind::NoAttribute => 404,
        Kind::AlreadyExists
        | Kind::Conflict
        | Kind::LeaseLost
        | Kind::NotEmpty
        | Kind::NotADirectory
        | Kind::IsADirectory
        | Kind::TooManyLinks => 409,
        Kind::Stale => 410,
        Kind::TooLarge => 413,
        Kind::LimitExceeded => 422,
        Kind::Busy => 423,
        Kind::Corrupt | Kind::Internal => 500,
        Kind::Unsupported => 501,
        Kind::Unavailable => 503,
        Kind::NoSpace | Kind::QuotaExceeded => 507,
    }
}

/// The kind behind a status that came without our body, from something between client and engine.
pub fn kind_of_status(status: u16) -> Kind {
    match status {
        401 | 403 => Kind::Denied,
        404 => Kind::NotFound,
        405 | 501 => Kind::Unsupported,
        413 => Kind::TooLarge,
        400..=499 => Kind::Invalid,
        502..=504 => Kind::Unavailable,
        _ => Kind::Internal,
    }
}
