//! gc: drops packs that nothing reaches.
//!
//! It fails closed: every listing, row and object that it bases its decision on must be read without error, or nothing
//! is deleted. It never deletes what a publish builds on:
//!
//! * It marks from all refs, histories and lease bases, and decides in a transaction in which these are still the same;
//!   if they moved on, it marks what is new first.
//! * A publish that reused objects of a condemned pack revives the pack in its own transaction, or fails with `Conflict`
//!   because the pack is gone.
//! * Packs of open batches are pinned, and no pack is between bucket and index while gc deletes.
//!
//! Index rows go before the pack itself: a crash in between leaves a pack without rows, which the next run finds.

mod orphans;

pub(crate) use orphans::list_packs;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::clock::Time;
use crate::db::{PackRow, Transaction, packs};
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectId, PackId};
use crate::limits::GC_ROUNDS_MAX;
use crate::progress::{OnProgress, Progress};
use crate::reach::{Marked, Roots};
use crate::store::Store;

/// How gc works.
#[derive(Debug, Clone, Copy)]
pub struct GcOptions {
    /// Packs younger than this, or condemned for less than this, stay.
    pub grace: Duration,
    /// Really delete; otherwise only condemn and report.
    pub delete: bool,
}

/// What gc found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct GcReport {
    /// Snapshots that everything was marked from.
    pub roots: u64,
    /// Objects reached.
    pub reachable_objects: u64,
    /// Objects in the index that nothing reaches.
    pub unreachable_objects: u64,
    /// Packs in the index.
    pub packs: u64,
    /// Packs without a reachable object that this run condemned.
    pub condemned_packs: u64,
    /// Packs condemned earlier or now that are still in their grace period.
    pub waiting_packs: u64,
    /// Packs in the bucket that the index does not know.
    pub orphan_packs: u64,
    /// Packs deleted (or, without `delete`, that would be).
    pub deletable_packs: u64,
    /// Their bytes.
    pub deletable_bytes: u64,
    /// Whether they were deleted.
    pub deleted: bool,
}

/// Drops packs that nothing reaches.
pub(crate) async fn gc(store: &Store, options: GcOptions, progress: &OnProgress) -> Result<GcReport> {
    run(store, options, progress).await.map_err(|error| {
        Error::new(error.kind(), format!("gc stopped and deleted nothing more: {}", error.context())).because(error)
    })
}

async fn run(store: &Store, options: GcOptions, progress: &OnProgress) -> Result<GcReport> {
    // The index before the bucket: then every pack that the index knew must be listed.
    let known = {
        let mut connection = store.database().read().await?;
        packs::all(&mut connection, store.tenant_number()).await?
    };
    let listed = orphans::list_packs(store).await?;
    check_listed(store, &known, &listed)?;
    let mut roots = read_roots(store).await?;
    let mut marked = Marked::default();
    marked.add(store, roots.snapshots.iter().copied(), progress).await?;
    for _ in 0..GC_ROUNDS_MAX {
        let reachable = reachable_packs(store, &marked, progress).await?;
        let alone = store.alone().await;
        let mut transaction = store.database().begin().await?;
        if Roots::generation(&mut transaction).await? == roots.generation || sabotaged!(SkipGenerationCheck) {
            let mut report = sweep(store, options, transaction, &reachable, progress).await?;
            orphans::sweep(store, options, &listed, &mut report).await?;
            drop(alone);
            report.roots = roots.snapshots.len() as u64;
            report.reachable_objects = marked.objects.len() as u64;
            report.unreachable_objects = count_objects(store).await?.saturating_sub(report.reachable_objects);
            report.deleted = options.delete;
            return Ok(report);
        }
        drop(transaction);
        drop(alone);
        roots = read_roots(store).await?;
        marked.add(store, roots.snapshots.iter().copied(), progress).await?;
    }
    Err(Error::new(Kind::Busy, format!("publishes went on during {GC_ROUNDS_MAX} rounds of marking: try again")))
}

async fn read_roots(store: &Store) -> Result<Roots> {
    let mut connection = store.database().read().await?;
    Roots::read(&mut connection, store.tenant_number()).await
}

async fn count_objects(store: &Store) -> Result<u64> {
    let mut connection = store.database().read().await?;
    packs::count_objects(&mut connection, store.tenant_number()).await
}

/// A list that lacks a pack is a wrong list or a damaged bucket; either way nothing may be deleted.
fn check_listed(store: &Store, known: &[PackRow], listed: &HashMap<PackId, u64>) -> Result<()> {
    for row in known {
        if listed.get(&row.id) != Some(&row.size) && !sabotaged!(ListErrorAsEmpty) {
            let name = store.pack_name(row.id);
            return Err(Error::corrupt(format!("{name} is not in the bucket's list with its size: run `esker check`")));
        }
    }
    Ok(())
}

/// The packs that hold marked objects. A marked object that no pack holds is damage.
async fn reachable_packs(store: &Store, marked: &Marked, progress: &OnProgress) -> Result<HashSet<PackId>> {
    let ids: Vec<ObjectId> = marked.objects.iter().copied().collect();
    let mut reachable = HashSet::new();
    for (number, part) in ids.chunks(crate::limits::LOOKUP_MAX).enumerate() {
        let located = store.locate(part).await?;
        if let Some(missing) = part.iter().find(|id| !located.contains_key(*id)) {
            return Err(Error::corrupt(format!("{missing} is needed but not stored: run `esker check`")));
        }
        reachable.extend(located.values().map(|location| location.pack));
        let done = (number * crate::limits::LOOKUP_MAX) as u64;
        progress(Progress { what: "located objects", done, total: Some(ids.len() as u64) });
    }
    Ok(reachable)
}

/// Whether something that began at `since` is at least `grace` old. A clock that jumped back makes nothing old.
pub(super) fn is_over(since: Time, now: Time, grace: Duration) -> bool {
    now.as_nanos() - since.as_nanos() >= grace.as_nanos() as i128
}

/// Decides on every pack of the index, in the transaction that proved the marks to be current.
async fn sweep(
    store: &Store,
    options: GcOptions,
    mut transaction: Transaction,
    reachable: &HashSet<PackId>,
    progress: &OnProgress,
) -> Result<GcReport> {
    let now = store.now();
    let pinned: HashSet<PackId> = store.pins().all();
    let mut report = GcReport::default();
    let mut doomed: Vec<PackRow> = Vec::new();
    for row in packs::all(&mut transaction, store.tenant_number()).await? {
        report.packs += 1;
        if reachable.contains(&row.id) || pinned.contains(&row.id) {
            if row.condemned.is_some() {
                packs::condemn(&mut transaction, row.id, None).await?;
            }
            continue;
        }
        let condemned = match row.condemned {
            Some(condemned) => condemned,
            None => {
                packs::condemn(&mut transaction, row.id, Some(now)).await?;
                report.condemned_packs += 1;
                now
            }
        };
        if is_over(condemned, now, options.grace) && is_over(row.created, now, options.grace) {
            report.deletable_packs += 1;
            report.deletable_bytes += row.size;
            doomed.push(row);
        } else {
            report.waiting_packs += 1;
        }
    }
    if options.delete {
        let ids: Vec<PackId> = doomed.iter().map(|row| row.id).collect();
        packs::remove(&mut transaction, &ids).await?;
    }
    store.database().commit(transaction).await?;
    if options.delete {
        for (number, row) in doomed.iter().enumerate() {
            store.bucket().delete(&store.pack_name(row.id)).await?;
            let total = Some(doomed.len() as u64);
            progress(Progress { what: "deleted packs", done: number as u64 + 1, total });
        }
    }
    Ok(report)
}
