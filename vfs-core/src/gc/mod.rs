//! gc: drops what nothing reaches (decision 0018).
//!
//! It fails closed: every listing, row and object that it bases its decision on must be read without error, or nothing
//! is deleted. It never deletes what a publish builds on:
//!
//! * It marks from all refs, histories, side refs and lease bases, and decides in a transaction in which these are still
//!   the same; if they moved on, it marks what is new first.
//! * A publish that reused objects of a condemned pack revives the pack in its own transaction, or fails with `Conflict`
//!   because the pack is gone or emptied.
//! * Packs of open batches are pinned, and no pack is between bucket and index while gc decides on orphans. Both only
//!   save work: another engine knows nothing of them.
//!
//! Rows go before bytes, so that a crash leaves packs without rows, which the next run finds. Any number of gcs may run
//! at once, each may sleep at any point.

mod collector;
mod marks;
mod orphans;
mod reflog;
mod repack;
mod retention;

pub(crate) use orphans::list_packs;
pub use retention::RetentionRules;
pub(crate) use retention::{check as check_rules, parse as parse_rules};
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::time::Duration;

use collector::Collector;

use crate::clock::Time;
use crate::error::{Error, Result};
use crate::id::SnapshotId;
use crate::limits::{GC_GRACE, REPACK_BELOW_PERCENT};
use crate::progress::OnProgress;
use crate::store::Store;

/// How gc works.
#[derive(Debug, Clone, Copy)]
pub struct GcOptions {
    /// Packs younger than this, or condemned for less than this, stay.
    pub grace: Duration,
    /// Really delete; otherwise only condemn and report.
    pub delete: bool,
    /// Change nothing at all, say what would go.
    pub dry_run: bool,
    /// Copy what lives in packs of which less than this is alive, in percent of their bytes; 0 copies nothing.
    pub repack_below_percent: u8,
}

impl Default for GcOptions {
    fn default() -> Self {
        GcOptions { grace: GC_GRACE, delete: true, dry_run: false, repack_below_percent: REPACK_BELOW_PERCENT }
    }
}

/// What gc found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct GcReport {
    /// Snapshots that everything was marked from.
    pub roots: u64,
    /// Objects reached.
    pub reachable_objects: u64,
    /// Their bytes as they are stored.
    pub reachable_bytes: u64,
    /// Objects in the index that nothing reaches.
    pub unreachable_objects: u64,
    /// Their bytes as they are stored.
    pub unreachable_bytes: u64,
    /// Packs in the index.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Packs without a reachable object that this run condemned.
    pub condemned_packs: u64,
    /// Packs that go, but are still in their grace period.
    pub waiting_packs: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Packs in the bucket that the index does not know.
    pub orphan_packs: u64,
    /// Packs deleted (or, without `delete` or in a dry run, that would be).
    pub deletable_packs: u64,
    /// Their bytes.
    pub deletable_bytes: u64,
    /// Whether they were deleted.
    pub deleted: bool,
    /// Packs whose living objects were copied (in a dry run: would be); they go after the grace period.
    pub repacked_packs: u64,
    /// Their bytes.
    pub repacked_bytes: u64,
    /// Bytes of the packs that the copies are in; in a dry run, of the objects that would be copied.
    pub copied_bytes: u64,
    /// History rows that retention removed (in a dry run: would remove), by workspace.
    pub removed_rows: Vec<RemovedRows>,
    /// Ref log objects of rows that are gone, deleted.
    pub reflog_objects: u64,
    /// Their bytes.
    pub reflog_bytes: u64,
    /// Attach bundles of snapshots that are gone.
    pub bundles: u64,
    /// Their bytes.
    pub bundle_bytes: u64,
    /// Nothing was changed.
    pub dry_run: bool,
}

/// History rows of one workspace that retention removes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RemovedRows {
    /// The workspace's name.
    pub workspace: String,
    /// How many rows.
    pub rows: u64,
    /// What they point at, newest first; at most [`crate::limits::GC_ROWS_SHOWN_MAX`].
    pub snapshots: Vec<SnapshotId>,
}

/// What gc knows beside the store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// Bases of publishes that are open in this engine: retention leaves them alone.
    pub(crate) bases: HashSet<SnapshotId>,
    /// A pack of copies is closed at this many bytes; `None` means as large as any.
    pub(crate) pack_target: Option<u64>,
}

/// Drops what nothing reaches.
pub(crate) async fn gc(
    store: &Store,
    options: GcOptions,
    surroundings: Surroundings,
    progress: &OnProgress,
) -> Result<GcReport> {
    let mut collector = Collector::new(store.clone(), options, surroundings);
    while !collector.step(progress).await.map_err(stopped)? {}
    Ok(collector.report())
}

fn stopped(error: Error) -> Error {
    Error::new(error.kind(), format!("gc stopped and deleted nothing more: {}", error.context())).because(error)
}

/// Whether something that began at `since` is at least `grace` old. A clock that jumped back makes nothing old.
fn is_over(since: Time, now: Time, grace: Duration) -> bool {
    now.as_nanos() - since.as_nanos() >= grace.as_nanos() as i128
}
