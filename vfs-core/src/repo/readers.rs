//! Readers: side refs that keep a snapshot for somebody who reads it for long, a read-only mount or an export.
//!
//! A reader says again and again that it still reads; gc forgets one that has not said so for [`READER_TTL`].

use tokio::task::JoinHandle;

use super::Repo;
use super::moves::not_in_history;
use crate::db::{Connection, SideRefRow, counters, history, side_refs};
use crate::error::{Kind, Result};
use crate::id::{ReaderId, SnapshotId, WorkspaceId};
use crate::limits::READER_RENEWAL;
use crate::reach::READER_PREFIX;

/// A snapshot that stays readable while this lives; see [`Reading::end`].
pub struct Reading {
    repo: Repo,
    reader: ReaderId,
    renewal: JoinHandle<()>,
}

impl Reading {
    /// Lets the snapshot go. Without this, or if the process dies, it stays for [`crate::limits::READER_TTL`] more.
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
    /// Keeps it in the workspace in which it is read, if that has it: then retention and deletions elsewhere do not matter.
    pub(super) async fn put_reader(
        &self,
        reader: ReaderId,
        workspace: Option<WorkspaceId>,
        snapshot: SnapshotId,
    ) -> Result<()> {
        let mut transaction = self.database().begin().await?;
        let workspace = match workspace {
            Some(own) if has(&mut transaction, own, snapshot).await? => own,
            _ => {
                let keeper = history::keeper(&mut transaction, self.inner.tenant_number, snapshot).await?;
                keeper.ok_or_else(|| not_in_history(snapshot))?
            }
        };
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
        self.put_reader(reader, None, snapshot).await?;
        let repo = self.clone();
        let renewal = tokio::spawn(async move {
            loop {
                tokio::time::sleep(READER_RENEWAL).await;
                match repo.put_reader(reader, None, snapshot).await {
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

async fn has(connection: &mut Connection, workspace: WorkspaceId, snapshot: SnapshotId) -> Result<bool> {
    if history::holding(connection, workspace, snapshot).await?.is_some() {
        return Ok(true);
    }
    Ok(side_refs::all(connection, workspace).await?.iter().any(|row| row.snapshot == snapshot))
}
