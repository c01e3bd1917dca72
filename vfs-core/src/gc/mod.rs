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
use crate::repo::{GcOptions, GcReport, Repo};

/// See [`Repo::gc`].
pub(crate) async fn gc(repo: &Repo, options: GcOptions, progress: &OnProgress) -> Result<GcReport> {
    run(repo, options, progress).await.map_err(|error| {
        Error::new(error.kind(), format!("gc stopped and deleted nothing more: {}", error.context())).because(error)
    })
}

async fn run(repo: &Repo, options: GcOptions, progress: &OnProgress) -> Result<GcReport> {
    repo.forget_idle_publishes();
    // The index before the bucket: then every pack that the index knew must be listed.
    let known = {
        let mut connection = repo.database().read().await?;
        packs::all(&mut connection, repo.tenant_number()).await?
    };
    let listed = orphans::list_packs(repo).await?;
    check_listed(repo, &known, &listed)?;
    let mut roots = read_roots(repo).await?;
    let mut marked = Marked::default();
    marked.add(repo.store(), roots.snapshots.iter().copied(), progress).await?;
    for _ in 0..GC_ROUNDS_MAX {
        let reachable = reachable_packs(repo, &marked, progress).await?;
        let alone = repo.store().alone().await;
        let mut transaction = repo.database().begin().await?;
        if Roots::generation(&mut transaction).await? == roots.generation {
            let mut report = sweep(repo, options, transaction, &reachable, progress).await?;
            orphans::sweep(repo, options, &listed, &mut report).await?;
            drop(alone);
            report.roots = roots.snapshots.len() as u64;
            report.reachable_objects = marked.objects.len() as u64;
            report.unreachable_objects = count_objects(repo).await?.saturating_sub(report.reachable_objects);
            report.deleted = options.delete;
            return Ok(report);
        }
        drop(transaction);
        drop(alone);
        roots = read_roots(repo).await?;
        marked.add(repo.store(), roots.snapshots.iter().copied(), progress).await?;
    }
    Err(Error::new(Kind::Busy, format!("publishes went on during {GC_ROUNDS_MAX} rounds of marking: try again")))
}

async fn read_roots(repo: &Repo) -> Result<Roots> {
    let mut connection = repo.database().read().await?;
    Roots::read(&mut connection, repo.tenant_number()).await
}

async fn count_objects(repo: &Repo) -> Result<u64> {
    let mut connection = repo.database().read().await?;
    packs::count_objects(&mut connection, repo.tenant_number()).await
}

/// A list that lacks a pack is a wrong list or a damaged bucket; either way nothing may be deleted.
fn check_listed(repo: &Repo, known: &[PackRow], listed: &HashMap<PackId, u64>) -> Result<()> {
    for row in known {
        if listed.get(&row.id) != Some(&row.size) {
            let name = repo.store().pack_name(row.id);
            return Err(Error::corrupt(format!("{name} is not in the bucket's list with its size: run `esker check`")));
        }
    }
    Ok(())
}

/// The packs that hold marked objects. A marked object that no pack holds is damage.
async fn reachable_packs(repo: &Repo, marked: &Marked, progress: &OnProgress) -> Result<HashSet<PackId>> {
    let ids: Vec<ObjectId> = marked.objects.iter().copied().collect();
    let mut reachable = HashSet::new();
    for (number, part) in ids.chunks(crate::limits::LOOKUP_MAX).enumerate() {
        let located = repo.store().locate(part).await?;
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
    repo: &Repo,
    options: GcOptions,
    mut transaction: Transaction,
    reachable: &HashSet<PackId>,
    progress: &OnProgress,
) -> Result<GcReport> {
    let now = repo.now();
    let pinned: HashSet<PackId> = repo.store().pins().all();
    let mut report = GcReport::default();
    let mut doomed: Vec<PackRow> = Vec::new();
    for row in packs::all(&mut transaction, repo.tenant_number()).await? {
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
    repo.database().commit(transaction).await?;
    if options.delete {
        for (number, row) in doomed.iter().enumerate() {
            repo.store().bucket().delete(&repo.store().pack_name(row.id)).await?;
            let total = Some(doomed.len() as u64);
            progress(Progress { what: "deleted packs", done: number as u64 + 1, total });
        }
    }
    Ok(report)
}
