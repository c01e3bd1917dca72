//! Readers: side refs that keep a snapshot for somebody who reads it for long, a read-only mount or an export.
//!
//! A reader says again and again that it still reads; gc forgets one that has not said so for [`READER_TTL`].

use tokio::task::JoinHandle;

use super::Repo;
use super::moves::not_in_history;
use crate::db::{SideRefRow, counters, history, side_refs};
use crate::error::{Kind, Result};
use crate::id::{ReaderId, SnapshotId};
use crate::limits::READER_RENEWAL;
use crate::reach::READER_PREFIX;

/// A snapshot that stays readable while this lives, and for [`crate::limits::READER_TTL`] if the process dies.
pub struct Reading {
    repo: Repo,
    reader: ReaderId,
    renewal: JoinHandle<()>,
}

impl Reading {
    /// Lets the snapshot go. Without this it stays until its reader is forgotten.
    pub async fn end(self) {
        self.renewal.abort();
        if let Err(error) = self.repo.end_reading(self.reader).await {
            tracing::warn!(error = %error, "a snapshot that is not read any more is kept for a while");
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl Repo {
    pub(super) async fn put_reader(&self, reader: ReaderId, snapshot: SnapshotId) -> Result<()> {
        let mut transaction = self.database().begin().await?;
        let keeper = history::keeper(&mut transaction, self.inner.tenant_number, snapshot).await?;
        let workspace = keeper.ok_or_else(|| not_in_history(snapshot))?;
        let row = SideRefRow { workspace, name: format!("{READER_PREFIX}{reader}"), snapshot, created: self.now() };
        if side_refs::get(&mut transaction, workspace, &row.name)
            .await?
            .is_none_or(|before| before.snapshot != snapshot)
        {
            counters::take(&mut transaction, counters::ROOTS, 0, 1).await?;
        }
        side_refs::put(&mut transaction, &row).await?;
        self.database().commit(transaction).await
    }

    pub(super) async fn drop_reader(&self, reader: ReaderId) -> Result<()> {
        let mut transaction = self.database().begin().await?;
        let name = format!("{READER_PREFIX}{reader}");
        if side_refs::remove_everywhere(&mut transaction, self.inner.tenant_number, &name).await? {
            counters::take(&mut transaction, counters::ROOTS, 0, 1).await?;
            self.database().commit(transaction).await?;
        }
        Ok(())
    }

    pub(super) async fn begin_reading(&self, snapshot: SnapshotId) -> Result<Reading> {
        let reader = ReaderId::random()?;
        self.put_reader(reader, snapshot).await?;
        let repo = self.clone();
        let renewal = tokio::spawn(async move {
            loop {
                tokio::time::sleep(READER_RENEWAL).await;
                match repo.put_reader(reader, snapshot).await {
                    Err(error) if error.kind() == Kind::NotFound => return,
                    Err(error) => {
                        tracing::warn!(error = %error, "a snapshot that is read could not be kept: trying again")
                    }
                    Ok(()) => {}
                }
            }
        });
        Ok(Reading { repo: self.clone(), reader, renewal })
    }
}
