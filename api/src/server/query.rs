//! Queries that hold names and paths: bytes, percent-encoded, that need not be UTF-8.
//!
//! The framework's query reader makes text of every value and would turn other bytes into replacement characters, so
//! a name could not be told from its look-alike.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use vfs_core::name::TreePath;
use vfs_core::{Error, Kind, Result};

use super::error::{ApiError, Query};
use crate::wire::name::from_query;

/// The parameters of a query, in order. Each may be there once, and no others than the handler takes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RawQuery(Vec<(String, Vec<u8>)>);

impl RawQuery {
    /// Takes a query string apart.
    pub(crate) fn parse(query: &str) -> Result<Self> {
        let mut parameters: Vec<(String, Vec<u8>)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if parameters.iter().any(|(known, _)| known == name) {
                return Err(Error::new(Kind::Invalid, format!("the parameter {name:?} is there twice")));
            }
            parameters.push((name.to_owned(), from_query(value)));
        }
        Ok(RawQuery(parameters))
    }

    /// Takes one parameter out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        let index = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(index).1)
    }

    /// Takes a path out; without it, the root.
    pub(crate) fn take_path(&mut self) -> Result<TreePath> {
        TreePath::parse(&self.take("path").unwrap_or_default())
    }

    /// Takes text out.
    pub(crate) fn take_text(&mut self, name: &str) -> Result<Option<String>> {
        let not_text = |error| Error::new(Kind::Invalid, format!("the parameter {name:?} is not UTF-8")).because(error);
        self.take(name).map(|bytes| String::from_utf8(bytes).map_err(|error| not_text(error.utf8_error()))).transpose()
    }

    /// Takes a number out, at most `most`.
    pub(crate) fn take_count(&mut self, name: &str, usual: u32, most: u32) -> Result<u32> {
        let Some(text) = self.take_text(name)? else { return Ok(usual) };
        match text.parse() {
            Ok(count) if (1..=most).contains(&count) => Ok(count),
            _ => Err(Error::new(Kind::Invalid, format!("the parameter {name:?} must be a number from 1 to {most}"))),
        }
    }

    /// Refuses parameters that nobody took: a misspelt one would silently mean something else.
    pub(crate) fn finish(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Error::new(Kind::Invalid, format!("the parameter {name:?} is not known here"))),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RawQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(RawQuery::parse(parts.uri.query().unwrap_or_default())?)
    }
}

/// A query of text only, read as a type. Other bytes are refused, and so is a parameter that is there twice.
#[derive(Debug)]
pub(super) struct TextQuery<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for TextQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let raw = RawQuery::parse(parts.uri.query().unwrap_or_default())?;
        if let Some((name, _)) = raw.0.iter().find(|(_, value)| std::str::from_utf8(value).is_err()) {
            return Err(Error::new(Kind::Invalid, format!("the parameter {name:?} is not UTF-8")).into());
        }
        let Query(value) = Query::from_request_parts(parts, state).await?;
        Ok(TextQuery(value))
    }
}
