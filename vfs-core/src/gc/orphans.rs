//! Packs in the bucket that the index does not know: what a crash between bucket and index leaves.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{GcOptions, GcReport, is_over};
use crate::db::{orphans, packs};
use crate::error::Result;
use crate::id::PackId;
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

/// Notes orphans that are new and deletes those whose grace period is over. The caller sees to it that no pack is
/// between bucket and index.
pub(super) async fn sweep(
    store: &Store,
    options: GcOptions,
    listed: &HashMap<PackId, u64>,
    report: &mut GcReport,
) -> Result<()> {
    let now = store.now();
    let mut transaction = store.database().begin().await?;
    let known: HashSet<PackId> =
        packs::all(&mut transaction, store.tenant_number()).await?.into_iter().map(|row| row.id).collect();
    let noted: HashMap<_, _> =
        orphans::all(&mut transaction).await?.into_iter().map(|row| (row.id, row.seen)).collect();
    let strangers: BTreeSet<PackId> = listed.keys().filter(|id| !known.contains(id)).copied().collect();
    for gone in noted.keys().filter(|id| !strangers.contains(id)) {
        orphans::forget(&mut transaction, *gone).await?;
    }
    let mut doomed = Vec::new();
    for id in strangers {
        report.orphan_packs += 1;
        let seen = noted.get(&id).copied().unwrap_or(now);
        orphans::note(&mut transaction, id, now).await?;
        if is_over(seen, now, options.grace) {
            report.deletable_packs += 1;
            report.deletable_bytes += listed.get(&id).copied().unwrap_or(0);
            doomed.push(id);
        } else {
            report.waiting_packs += 1;
        }
    }
    store.database().commit(transaction).await?;
    if !options.delete {
        return Ok(());
    }
    for id in doomed {
        store.bucket().delete(&store.pack_name(id)).await?;
        let mut transaction = store.database().begin().await?;
        orphans::forget(&mut transaction, id).await?;
        store.database().commit(transaction).await?;
    }
    Ok(())
}
