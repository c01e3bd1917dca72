//! The one transaction that moves a ref. Everything that changes what a workspace points at goes through here.
//!
//! Order (decision 0007): packs and index (the caller's batch) → ref log object → the transaction, which decides. A crash
//! before it leaves the old head, and packs and a ref log object that name nothing.

use std::collections::BTreeSet;

use super::leases::{current, held};
use super::publish::INO_FIRST;
use super::ref_log::RefLogEntry;
use super::{HistoryRow, Repo};
use crate::base::{Lease, PublishNote};
use crate::clock::Time;
use crate::db::{Connection, RefRow, counters, history, leases, packs, refs, workspaces};
use crate::error::{Error, Kind, Result};
use crate::id::{PackId, SnapshotId, WorkspaceId};
use crate::quota::Usage;

/// Who moves a ref.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mover<'a> {
    /// The holder, which has published up to this position.
    Holder(&'a Lease, u64),
    /// Somebody who acts beside a holder that is told.
    Beside(&'a Lease),
    /// Somebody who needs the workspace to be free.
    Nobody,
}

/// One move.
pub(crate) struct Move<'a> {
    pub(crate) workspace: WorkspaceId,
    pub(crate) mover: Mover<'a>,
    pub(crate) expected: SnapshotId,
    pub(crate) snapshot: SnapshotId,
    /// What the workspace holds before the move, and after it.
    pub(crate) usage: (Usage, Usage),
    pub(crate) time: Time,
    pub(crate) note: &'a PublishNote,
    /// Packs that the new snapshot counts on.
    pub(crate) packs: &'a BTreeSet<PackId>,
    /// A snapshot that must be in some history when the ref moves.
    pub(crate) source: Option<SnapshotId>,
    /// Keep the head before as a named row with this message.
    pub(crate) keep_expected: Option<String>,
}

impl Repo {
    /// Moves a ref. Returns whether a history row was turned into a kept one.
    pub(crate) async fn move_ref(&self, step: &Move<'_>) -> Result<bool> {
        let before = self.write_ref_log(step).await?;
        let mut transaction = self.database().begin().await?;
        let mut head = refs::get(&mut transaction, step.workspace).await?;
        if (head.snapshot, head.sequence) != (step.expected, before.sequence) && !sabotaged!(SkipCompareAndSet) {
            return Err(moved());
        }
        self.check_mover(&mut transaction, step, &mut head).await?;
        let (held, holds) = step.usage;
        let by_holder = matches!(step.mover, Mover::Holder(..));
        self.take_usage(&mut transaction, step.workspace, held, holds, by_holder).await?;
        packs::revive(&mut transaction, step.packs).await?;
        if let Some(source) = step.source
            && !history::holds(&mut transaction, self.inner.tenant_number, source).await?
        {
            return Err(not_in_history(source));
        }
        let kept = match &step.keep_expected {
            Some(message) => keep(&mut transaction, &head, message, step.note).await?,
            None => false,
        };
        head.snapshot = step.snapshot;
        head.sequence += 1;
        head.covered = match step.mover {
            Mover::Holder(lease, position) => Some((lease.holder, position)),
            Mover::Beside(_) | Mover::Nobody => None,
        };
        refs::put(&mut transaction, &head).await?;
        let row = history_row(head.sequence, step.snapshot, step.time, step.note);
        history::put(&mut transaction, step.workspace, &row).await?;
        history::thin(&mut transaction, step.workspace, step.time).await?;
        counters::take(&mut transaction, counters::ROOTS, 0, 1).await?;
        #[cfg(feature = "testing")]
        if sabotaged!(AnswerBeforeCommit) {
            let database = self.database().clone();
            let later = Box::pin(async move { drop(database.commit(transaction).await) });
            if let Some(alone) = crate::testing::detach(later) {
                alone.await;
            }
            return Ok(kept);
        }
        self.database().commit(transaction).await?;
        Ok(kept)
    }

    async fn write_ref_log(&self, step: &Move<'_>) -> Result<RefRow> {
        let mut connection = self.database().read().await?;
        let before = refs::get(&mut connection, step.workspace).await?;
        if before.snapshot != step.expected && !sabotaged!(SkipCompareAndSet) {
            return Err(moved());
        }
        let row = workspaces::by_id(&mut connection, self.inner.tenant_number, step.workspace).await?;
        let ino = counters::get(&mut connection, counters::INO, INO_FIRST).await?;
        drop(connection);
        let (holder, position) = match step.mover {
            Mover::Holder(lease, position) => (Some(lease.holder), position),
            Mover::Beside(_) | Mover::Nobody => (None, 0),
        };
        let entry = RefLogEntry {
            format: RefLogEntry::FORMAT,
            workspace: step.workspace,
            name: row.map_or_else(String::new, |row| row.name),
            snapshot: Some(step.snapshot),
            parent: Some(step.expected),
            epoch: before.epoch,
            sequence: before.sequence + 1,
            time: step.time,
            holder,
            position,
            ino: Some(ino),
            digest: None,
        };
        self.put_ref_log(&entry).await?;
        Ok(before)
    }

    async fn check_mover(&self, connection: &mut Connection, step: &Move<'_>, head: &mut RefRow) -> Result<()> {
        match step.mover {
            Mover::Holder(lease, _) | Mover::Beside(lease) => {
                let mut row = current(connection, lease).await?;
                row.base = step.snapshot;
                if matches!(step.mover, Mover::Holder(..)) {
                    row.last_seen = self.now();
                }
                leases::put(connection, &row).await
            }
            Mover::Nobody => {
                if self.take_free(connection, step.workspace).await? {
                    head.epoch += 1;
                }
                Ok(())
            }
        }
    }

    /// Sees to it that nobody holds a workspace: `Busy`, or the lease that ran out is taken away (true).
    pub(super) async fn take_free(&self, connection: &mut Connection, workspace: WorkspaceId) -> Result<bool> {
        let Some(lease) = leases::get(connection, workspace).await? else { return Ok(false) };
        if self.is_live(&lease, self.now()) {
            let row = workspaces::by_id(connection, self.inner.tenant_number, workspace).await?;
            return Err(held(&row.map_or_else(|| workspace.to_hex(), |row| row.name), &lease));
        }
        leases::remove(connection, workspace).await?;
        Ok(true)
    }
}

/// The history row of a new head.
pub(super) fn history_row(sequence: u64, snapshot: SnapshotId, time: Time, note: &PublishNote) -> HistoryRow {
    HistoryRow {
        sequence,
        snapshot,
        time,
        automatic: note.automatic,
        message: note.message.clone(),
        author: note.author.clone(),
        session: note.session.clone(),
        turn: note.turn.clone(),
    }
}

/// Turns the automatic row of the head into one that stays; false if it stays anyway.
async fn keep(connection: &mut Connection, head: &RefRow, message: &str, note: &PublishNote) -> Result<bool> {
    match history::at(connection, head.workspace, head.sequence).await? {
        Some(row) if row.automatic => {
            let kept = HistoryRow {
                automatic: false,
                message: message.to_owned(),
                author: if row.author.is_empty() { note.author.clone() } else { row.author.clone() },
                ..row
            };
            history::put(connection, head.workspace, &kept).await?;
            Ok(true)
        }
        Some(_) => Ok(false),
        None => Err(Error::corrupt("the head of a workspace is missing in its history: run `esker check`")),
    }
}

pub(super) fn moved() -> Error {
    Error::new(Kind::Conflict, "the workspace has moved on meanwhile: read its head and try again")
}

pub(super) fn not_in_history(snapshot: SnapshotId) -> Error {
    Error::new(Kind::NotFound, format!("no workspace's history holds the snapshot {snapshot}"))
}
