//! Documents of the repo's tenant.

use bytes::Bytes;

use super::Repo;
use crate::documents::{self, Basis, Change, DocumentPath, Grants, Outcome, Scope, Version, Within, Write, Writer};
use crate::error::{Error, Kind, Result};

impl Repo {
    /// The heads of a view, a scope or all scopes, at or below `prefix`, by path; deleted documents are left out.
    pub async fn documents(&self, within: &Within, prefix: Option<&DocumentPath>) -> Result<Vec<Version>> {
        documents::list(self.database(), self.inner.tenant_number, within, prefix).await
    }

    /// The head of a document, without its content. `NotFound` if there is none, or it is deleted.
    pub async fn find_document(&self, within: &Within, path: &DocumentPath) -> Result<Version> {
        documents::find(self.database(), self.inner.tenant_number, within, path).await
    }

    /// A document's content: of the head, or of one version of a scope.
    pub async fn read_document(
        &self,
        within: &Within,
        path: &DocumentPath,
        version: Option<u64>,
    ) -> Result<(Version, Bytes)> {
        documents::read(self.database(), self.inner.tenant_number, within, path, version).await
    }

    /// All versions of a document, newest first, side versions too.
    pub async fn document_versions(&self, scope: &Scope, path: &DocumentPath) -> Result<Vec<Version>> {
        documents::history(self.database(), self.inner.tenant_number, scope, path).await
    }

    /// Writes or deletes a document; answered when it is durable. On another head than the write is based on, nothing
    /// is overwritten: it is merged if that was asked for and can be done, else the outcome is a conflict.
    pub async fn write_document(&self, write: &Write) -> Result<Outcome> {
        documents::write(self.database(), self.inner.tenant_number, self.now(), write).await
    }

    /// Brings the content of an older version back as a new one. `Conflict` if the head is not `if_version`.
    pub async fn restore_document(
        &self,
        scope: &Scope,
        path: &DocumentPath,
        version: u64,
        if_version: u64,
        author: &str,
    ) -> Result<Version> {
        let (_, content) = self.read_document(&Within::Scope(scope.clone()), path, Some(version)).await?;
        let write = Write {
            scope: scope.clone(),
            path: path.clone(),
            basis: Basis::Version(if_version),
            change: Change::Put(content),
            merge: false,
            grants: Grants::All,
            writer: Writer { author: author.to_owned(), ..Writer::default() },
        };
        match self.write_document(&write).await? {
            Outcome::Written(version) => Ok(version),
            Outcome::Conflict(conflict) => {
                let head = conflict.theirs.version;
                let context = format!("the head of {path} in {scope} is version {head}, not {if_version}: look again");
                Err(Error::new(Kind::Conflict, context))
            }
        }
    }
}
