//! Packs in the bucket that the index does not know: what a crash between bucket and index leaves, and what is between
//! them just now.
//!
//! First seen (a row in `orphans`) → after the grace period *dead* (the same row, committed: nobody can register the
//! pack any more) → deleted. A dead row stays: ids never come back, and a gc that slept before it deleted harms nobody.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{GcOptions, GcReport, is_over};
use crate::db::{Connection, OrphanRow, orphans, packs};
use crate::error::Result;
use crate::id::PackId;
use crate::progress::{OnProgress, Progress};
use crate::store::Store;

/// The packs in the bucket with their sizes. Names that are not those of packs are left alone.
pub(crate) async fn list_packs(store: &Store) -> Result<HashMap<PackId, u64>> {
    let listed = store.bucket().list(&store.pack_folder()).await?;
    Ok(listed
        .into_iter()
        .filter_map(|object| {
            let id: PackId = object.name.rsplit('/').next()?.strip_suffix(".pack")?.parse().ok()?;
            (object.name == store.pack_name(id)).then_some((id, object.size))
        })
        .collect())
}

/// What the list holds that the index does not, and what is noted about orphans.
struct Strangers {
    ids: BTreeSet<PackId>,
    noted: HashMap<PackId, OrphanRow>,
}

async fn strangers(connection: &mut Connection, store: &Store, listed: &HashMap<PackId, u64>) -> Result<Strangers> {
    let known: HashSet<PackId> =
        packs::all(connection, store.tenant_number()).await?.into_iter().map(|row| row.id).collect();
    let noted = orphans::all(connection).await?.into_iter().map(|row| (row.id, row)).collect();
    Ok(Strangers { ids: listed.keys().filter(|id| !known.contains(id)).copied().collect(), noted })
}

/// Notes orphans that are new; returns those that nobody can register any more, which may be deleted at any time from
/// here on. What a killed gc left dead is among them.
pub(super) async fn judge(
    store: &Store,
    options: GcOptions,
    listed: &HashMap<PackId, u64>,
    report: &mut GcReport,
) -> Result<Vec<PackId>> {
    // Packs of this engine that are between bucket and index would only begin again.
    let _alone = store.alone().await;
    let (now, pinned) = (store.now(), store.pins().all());
    let mut transaction = store.database().begin().await?;
    let Strangers { ids, noted } = strangers(&mut transaction, store, listed).await?;
    for gone in noted.values().filter(|row| !row.dead && !ids.contains(&row.id)) {
        orphans::forget(&mut transaction, gone.id).await?;
    }
    let mut dead = Vec::new();
    for id in ids {
        let over = count(id, noted.get(&id), options, listed, report, now);
        orphans::note(&mut transaction, id, now).await?;
        if over && options.delete && !pinned.contains(&id) {
            if !sabotaged!(OrphanWithoutDead) {
                orphans::kill(&mut transaction, id).await?;
            }
            dead.push(id);
        }
    }
    store.database().commit(transaction).await?;
    Ok(dead)
}

/// The same without a hand on anything.
pub(super) async fn forecast(
    store: &Store,
    options: GcOptions,
    listed: &HashMap<PackId, u64>,
    report: &mut GcReport,
) -> Result<()> {
    let mut connection = store.database().read().await?;
    let Strangers { ids, noted } = strangers(&mut connection, store, listed).await?;
    for id in ids {
        count(id, noted.get(&id), options, listed, report, store.now());
    }
    Ok(())
}

/// Puts an orphan into the report; whether its time is over.
fn count(
    id: PackId,
    row: Option<&OrphanRow>,
    options: GcOptions,
    listed: &HashMap<PackId, u64>,
    report: &mut GcReport,
    now: crate::clock::Time,
) -> bool {
    let size = listed.get(&id).copied().unwrap_or(0);
    let over = row.is_some_and(|row| row.dead) || is_over(row.map_or(now, |row| row.seen), now, options.grace);
    report.orphan_packs += 1;
    if over {
        report.deletable_packs += 1;
        report.deletable_bytes += size;
    } else {
        report.waiting_packs += 1;
        report.waiting_bytes += size;
    }
    over
}

/// Deletes dead orphans.
pub(super) async fn bury(store: &Store, dead: &[PackId], progress: &OnProgress) -> Result<()> {
    for (number, id) in dead.iter().enumerate() {
        store.bucket().delete(&store.pack_name(*id)).await?;
        let (done, total) = (number as u64 + 1, Some(dead.len() as u64));
        progress(Progress { what: "deleted orphan packs", done, total });
    }
    Ok(())
}
