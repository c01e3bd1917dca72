//! What a URL asks for, with refusals that are pages.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use vfs_core::{Error, Kind};

use super::frame::Failure;
use crate::server::query::RawQuery;

/// The parameters of a URL.
pub(super) struct Asked(pub(super) RawQuery);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        Ok(Asked(RawQuery::parse(parts.uri.query().unwrap_or_default())?))
    }
}

/// The segments of a URL's path.
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let found = axum::extract::Path::from_request_parts(parts, state).await;
        let axum::extract::Path(segments) = found.map_err(|error| Error::new(Kind::Invalid, error.body_text()))?;
        Ok(Path(segments))
    }
}
