//! Documents: a typed method for each thing that can be asked of them.

use bytes::Bytes;
use reqwest::Method;
use serde::Serialize;
use vfs_core::{Error, Kind, Result};

use super::transport::{Client, Effort};
use crate::wire::ErrorBody;
use crate::wire::document::{
    Document, DocumentConflict, DocumentQuery, DocumentVersions, Documents, DocumentsQuery, RestoreDocument,
    WriteDocumentQuery,
};
use crate::wire::name::{from_query, to_query};

const CONFLICT: u16 = 409;

/// What a write is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// There is no document, or it is deleted.
    Absent,
    /// The head has this version.
    Version(u64),
}

impl Basis {
    /// The header that says so.
    fn header(self) -> (&'static str, String) {
        match self {
            Basis::Absent => ("if-none-match", "*".to_owned()),
            Basis::Version(version) => ("if-match", format!("\"{version}\"")),
        }
    }
}

/// A document's content, and which version it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentContent {
    /// The scope in which it was found.
    pub scope: String,
    /// The version.
    pub version: u64,
    /// The bytes.
    pub content: Bytes,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// It is the head now (or was already, with the same bytes).
    Written(Document),
    /// The head is another one than the write was based on; nothing was overwritten.
    Conflict(Box<DocumentConflict>),
}

impl Client {
    /// The heads of a view, a scope or all scopes; deleted documents are left out.
    pub async fn documents(&self, query: &DocumentsQuery) -> Result<Vec<Document>> {
        let path = format!("/v1/documents{}", to_parameters(query)?);
        self.get::<Documents>(&path).await.map(|list| list.documents)
    }

    /// One document's content.
    pub async fn document(&self, query: &DocumentQuery) -> Result<DocumentContent> {
        let path = format!("/v1/documents/content{}", to_parameters(query)?);
        let answer = self.exchange(Method::GET, &path, &[], None, None, Effort::READ).await?;
        let scope = String::from_utf8_lossy(&from_query(answer.header("esker-scope"))).into_owned();
        let version = answer.header("etag").trim_matches('"').parse();
        let version = version.map_err(|error| {
            Error::new(Kind::Internal, "the engine's answer names no version of the document").because(error)
        })?;
        Ok(DocumentContent { scope, version, content: answer.body })
    }

    /// Writes a document.
    pub async fn put_document(&self, query: &WriteDocumentQuery, basis: Basis, content: Bytes) -> Result<Put> {
        let path = format!("/v1/documents/content{}", to_parameters(query)?);
        self.change_document(Method::PUT, &path, basis, Some(content)).await
    }

    /// Deletes a document; its versions stay.
    pub async fn delete_document(&self, query: &WriteDocumentQuery, basis: Basis) -> Result<Put> {
        let path = format!("/v1/documents/content{}", to_parameters(query)?);
        self.change_document(Method::DELETE, &path, basis, None).await
    }

    async fn change_document(&self, method: Method, path: &str, basis: Basis, content: Option<Bytes>) -> Result<Put> {
        let answer = self.exchange(method, path, &[basis.header()], content, Some(CONFLICT), Effort::ONCE).await?;
        if answer.status != CONFLICT {
            return answer.json(path).map(Put::Written);
        }
        let body: ErrorBody = answer.json(path)?;
        match body.conflict {
            Some(conflict) => Ok(Put::Conflict(conflict)),
            None => Err(body.error.into()),
        }
    }

    /// All versions of a document, newest first.
    pub async fn document_versions(&self, scope: &str, path: &str) -> Result<Vec<Document>> {
        let (scope, path) = (to_query(scope.as_bytes()), to_query(path.as_bytes()));
        let url = format!("/v1/documents/versions?scope={scope}&path={path}");
        self.get::<DocumentVersions>(&url).await.map(|list| list.versions)
    }

    /// Brings an older version back as a new one; `Conflict` if the head is not the one named.
    pub async fn restore_document(&self, request: &RestoreDocument) -> Result<Document> {
        self.post("/v1/documents/restore", request, Effort::ONCE).await
    }
}

/// A query string with its question mark; parameters without a value are left out, but never an empty list of grants,
/// which would then mean all.
pub(super) fn to_parameters(query: &impl Serialize) -> Result<String> {
    let failed = |error| Error::new(Kind::Internal, "a query cannot be written").because(error);
    let serde_json::Value::Object(fields) = serde_json::to_value(query).map_err(failed)? else {
        return Ok(String::new());
    };
    let pairs = fields.into_iter().filter_map(|(name, value)| {
        let text = match value {
            serde_json::Value::Null => return None,
            serde_json::Value::String(text) if text.is_empty() && !matches!(name.as_str(), "path" | "grants") => {
                return None;
            }
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        Some(format!("{name}={}", to_query(text.as_bytes())))
    });
    let pairs: Vec<String> = pairs.collect();
    Ok(if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) })
}
