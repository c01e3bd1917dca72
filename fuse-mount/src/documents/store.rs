//! Where documents are: an engine, or a test's memory.
//!
//! A store decides what a write becomes (decision 0011: compare and set, merge, side versions); the mount only says what
//! it was based on. Every implementation runs the same conformance suite.

use api::client::{Basis, Client, DocumentContent, Put};
use api::wire::document::{Document, DocumentQuery, DocumentsQuery, WriteDocumentQuery};
use async_trait::async_trait;
use bytes::Bytes;
use vfs_core::Result;

/// What a write does when the head is not the one that it is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// Nothing is stored.
    Refuse,
    /// It is merged; where that cannot be done it is kept as a side version.
    Merge,
}

/// Versioned documents in scopes.
#[async_trait]
pub trait DocumentStore: Send + Sync + 'static {
    /// The heads that a view (scopes with commas, nearest first) shows, one for each path.
    async fn list(&self, view: &str) -> Result<Vec<Document>>;

    /// The head of one path of a view; `NotFound` if there is none.
    async fn read(&self, view: &str, path: &str) -> Result<DocumentContent>;

    /// Writes a document of a scope. A repetition with the same key, after an answer that was lost, is no second write.
    async fn put(
        &self,
        name: Name<'_>,
        basis: Basis,
        content: Bytes,
        on_conflict: OnConflict,
        key: &str,
    ) -> Result<Put>;

    /// Deletes a document of a scope.
    async fn delete(&self, name: Name<'_>, basis: Basis) -> Result<Put>;
}

/// The full name of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    /// Whose it is.
    pub scope: &'a str,
    /// Its path.
    pub path: &'a str,
}

/// Who acts, as the engine is told with each write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writer {
    /// The author of versions.
    pub author: String,
    /// The session whose log says in which turn and tool call; empty for a person.
    pub session: String,
    /// Scopes that may be written; the engine refuses the others.
    pub grants: Vec<String>,
}

/// The documents of an engine.
#[derive(Clone)]
pub struct EngineDocuments {
    client: Client,
    writer: Writer,
}

impl EngineDocuments {
    /// Documents behind `client`, written as `writer`.
    pub fn new(client: Client, writer: Writer) -> EngineDocuments {
        EngineDocuments { client, writer }
    }

    fn write(&self, name: Name<'_>, merge: bool) -> WriteDocumentQuery {
        WriteDocumentQuery {
            scope: name.scope.to_owned(),
            path: name.path.to_owned(),
            grants: Some(self.writer.grants.join(",")),
            merge,
            author: self.writer.author.clone(),
            session: self.writer.session.clone(),
            ..WriteDocumentQuery::default()
        }
    }
}

#[async_trait]
impl DocumentStore for EngineDocuments {
    async fn list(&self, view: &str) -> Result<Vec<Document>> {
        let query = DocumentsQuery { view: Some(view.to_owned()), ..DocumentsQuery::default() };
        self.client.documents(&query).await
    }

    async fn read(&self, view: &str, path: &str) -> Result<DocumentContent> {
        let query = DocumentQuery { view: Some(view.to_owned()), path: path.to_owned(), ..DocumentQuery::default() };
        self.client.document(&query).await
    }

    async fn put(
        &self,
        name: Name<'_>,
        basis: Basis,
        content: Bytes,
        on_conflict: OnConflict,
        key: &str,
    ) -> Result<Put> {
        let query = WriteDocumentQuery { key: key.to_owned(), ..self.write(name, on_conflict == OnConflict::Merge) };
        self.client.put_document(&query, basis, content).await
    }

    async fn delete(&self, name: Name<'_>, basis: Basis) -> Result<Put> {
        self.client.delete_document(&self.write(name, false), basis).await
    }
}
