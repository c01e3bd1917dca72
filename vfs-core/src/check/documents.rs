//! Documents: every row against its hash, every content against its digest, and that no version is missing.
//!
//! Somebody may write meanwhile: what is newer than the document's row as it was read is left to the next check.

use super::Check;
use crate::db::{Connection, DocumentRow, VersionRow, documents};
use crate::error::{Error, Kind, Result};
use crate::limits::{CHECK_DOCUMENTS, DAMAGE_HITS_MAX};
use crate::progress::Progress;

impl Check<'_> {
    /// Reads all documents; their contents only with `full`.
    pub(super) async fn documents(&mut self, full: bool) -> Result<()> {
        let mut connection = self.store.database().read().await?;
        let tenant = self.store.tenant_number();
        let (mut after, mut done) = ((String::new(), String::new()), 0);
        loop {
            let page = documents::page(&mut connection, tenant, (&after.0, &after.1), CHECK_DOCUMENTS).await;
            let Some(page) = self.sound("the documents", page)? else { break };
            let last = page.len() < CHECK_DOCUMENTS as usize;
            for (scope, path, row) in page {
                if (&scope, &path) <= (&after.0, &after.1) {
                    self.note(format!("the document {path} in {scope} is out of order: the database is damaged"));
                    return Ok(());
                }
                let what = format!("the document {path} in {scope}");
                if let Some(row) = self.sound(&what, row)? {
                    let checked = check_document(&mut connection, tenant, &row, full).await;
                    self.sound(&what, checked)?;
                }
                after = (scope, path);
                done += 1;
            }
            (self.progress)(Progress { what: "documents", done, total: None });
            if last {
                break;
            }
        }
        let strangers = documents::strangers(&mut connection, tenant, DAMAGE_HITS_MAX as u64).await;
        for (scope, path, version) in self.sound("the versions of documents", strangers)?.unwrap_or_default() {
            self.note(format!(
                "version {version} of {path} in {scope} belongs to no document: the database is damaged"
            ));
        }
        Ok(())
    }

    /// What was read, or a note of what is wrong with it. Only what is no damage is an error.
    fn sound<T>(&mut self, what: &str, read: Result<T>) -> Result<Option<T>> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == Kind::Corrupt => {
                self.note(format!("{what}: {}", error.context()));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

async fn check_document(connection: &mut Connection, tenant: i64, document: &DocumentRow, full: bool) -> Result<()> {
    let mut versions = documents::versions(connection, tenant, &document.scope, &document.path).await?;
    versions.retain(|version| version.version <= document.newest);
    versions.reverse();
    let stands = |number: u64| versions.get(number as usize - 1).is_some_and(|version| version.version == number);
    if let Some(missing) = (1..=document.newest).find(|number| !stands(*number)) {
        return Err(documents::missing(document, missing));
    }
    let head = versions.iter().rev().find(|version| !version.side).map_or(0, |version| version.version);
    if head != document.head {
        let context = format!("its head is version {}, and should be {head}: the database is damaged", document.head);
        return Err(Error::corrupt(context));
    }
    if full {
        read_contents(connection, tenant, &versions).await?;
    }
    Ok(())
}

async fn read_contents(connection: &mut Connection, tenant: i64, versions: &[VersionRow]) -> Result<()> {
    for version in versions {
        documents::content(connection, tenant, version).await?;
    }
    Ok(())
}
