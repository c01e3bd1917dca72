//! The index as the packs say it should be: planned, then written in one transaction; and what can be read in damaged
//! packs, copied into sound ones.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;

use super::RepairReport;
use super::scan::Scan;
use crate::db::{IndexRow, Location, PackRow, Transaction, counters, orphans, packs, repairs};
use crate::error::Result;
use crate::id::{ObjectId, PackId};
use crate::pack::{Pack, PackClass, PackEntry, Stored, unpack};
use crate::progress::{OnProgress, Progress};
use crate::store::{Pinned, Store};

/// What is to be written.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Rows of packs.
    put_packs: Vec<PackRow>,
    /// Where objects are.
    pub(super) places: BTreeMap<ObjectId, (PackId, PackEntry)>,
    /// Rows that point at nothing.
    drop_rows: Vec<(Option<PackId>, IndexRow)>,
    /// Packs that are gone.
    missing: Vec<PackId>,
    /// Packs that are damaged, with what can be read in them.
    damaged: BTreeMap<PackId, Vec<PackEntry>>,
    /// Orphans that nobody needs and gc has not noted.
    idle: Vec<PackId>,
    /// Objects whose bytes are gone or wrong everywhere.
    pub(super) lost: HashSet<ObjectId>,
}

impl Plan {
    /// Decides.
    pub(super) async fn new(store: &Store, scan: Scan) -> Result<Plan> {
        let Scan { mut found, spare, bad_rows, missing, wrong, orphans: strays, damaged, mut emptied, .. } = scan;
        let mut plan = Plan { put_packs: wrong, missing, ..Plan::default() };
        for (pack, row) in bad_rows {
            if let Some(id) = row.id()
                && !found.contains_key(&id)
            {
                match spare.get(&id) {
                    Some(place) => drop(found.insert(id, *place)),
                    None => drop(plan.lost.insert(id)),
                }
            }
            plan.drop_rows.push((pack, row));
        }
        plan.places = found.into_iter().collect();
        let needed: BTreeSet<PackId> = plan.places.values().map(|(pack, _)| *pack).collect();
        let noted: HashSet<PackId> = {
            let mut connection = store.database().read().await?;
            orphans::all(&mut connection).await?.into_iter().map(|row| row.id).collect()
        };
        for (id, row) in strays {
            match needed.contains(&id) {
                true => plan.put_packs.push(row),
                false if !noted.contains(&id) => plan.idle.push(id),
                false => {}
            }
        }
        plan.put_packs.sort_by_key(|row| row.id);
        plan.damaged = damaged.into_iter().collect();
        // No publish may count on a pack that gc has emptied: what is taken from one must leave it.
        plan.damaged.extend(needed.iter().filter_map(|pack| Some((*pack, emptied.remove(pack)?))));
        Ok(plan)
    }

    /// Adds to the report what will be done.
    pub(super) fn report(&self, report: &mut RepairReport) {
        report.index_packs = (self.put_packs.len() + self.missing.len()) as u64;
        report.found_objects = self.places.len() as u64;
        report.lost_objects = self.lost.len() as u64;
        report.abandoned_packs = (self.idle.len() + self.damaged.len()) as u64;
    }

    /// Writes the index, all or nothing.
    pub(super) async fn apply(&self, store: &Store) -> Result<()> {
        let nothing = self.put_packs.is_empty()
            && self.places.is_empty()
            && self.drop_rows.is_empty()
            && self.missing.is_empty()
            && self.idle.is_empty();
        if nothing {
            return Ok(());
        }
        let (tenant, now) = (store.tenant_number(), store.now());
        let mut transaction = store.database().begin().await?;
        for row in &self.put_packs {
            orphans::refuse_dead(&mut transaction, row.id).await?;
            repairs::put_pack(&mut transaction, tenant, row, now).await?;
            orphans::forget(&mut transaction, row.id).await?;
        }
        for (pack, row) in &self.drop_rows {
            repairs::drop_row(&mut transaction, *pack, row).await?;
        }
        repairs::drop_rows_of_others(&mut transaction).await?;
        for (pack, entry) in self.places.values() {
            repairs::put_row(&mut transaction, tenant, *pack, entry).await?;
        }
        packs::remove(&mut transaction, &self.missing).await?;
        for id in &self.idle {
            orphans::note(&mut transaction, *id, now).await?;
        }
        tell_gc(&mut transaction).await?;
        store.database().commit(transaction).await
    }

    /// Where the index will have these objects, of those that it will write.
    pub(super) fn locations(&self) -> HashMap<ObjectId, Location> {
        self.places.iter().map(|(id, (pack, entry))| (*id, Location { pack: *pack, entry: *entry })).collect()
    }
}

/// Copies what the index has in damaged packs into new ones, and takes the damaged ones out of the index. Their bytes stay
/// until gc's grace period is over.
pub(super) async fn copy_out(
    store: &Store,
    plan: &Plan,
    report: &mut RepairReport,
    progress: &OnProgress,
) -> Result<()> {
    for (number, (id, good)) in plan.damaged.iter().enumerate() {
        let ids: Vec<ObjectId> = good.iter().map(|entry| entry.id).collect();
        let located = store.locate(&ids).await?;
        let mut here: Vec<PackEntry> = good
            .iter()
            .filter(|entry| located.get(&entry.id).is_some_and(|place| place.pack == *id))
            .copied()
            .collect();
        here.sort_unstable_by_key(|entry| entry.offset);
        report.copied_objects += here.len() as u64;
        replace(store, *id, here).await?;
        let (done, total) = (number as u64 + 1, Some(plan.damaged.len() as u64));
        progress(Progress { what: "damaged packs", done, total });
    }
    Ok(())
}

async fn replace(store: &Store, old: PackId, entries: Vec<PackEntry>) -> Result<()> {
    let mut pinned = store.pins().none();
    let copy = match entries.first() {
        Some(first) => Some(copy(store, old, PackClass::of(first.id.kind), entries, &mut pinned).await?),
        None => None,
    };
    let now = store.now();
    let mut transaction = store.database().begin().await?;
    packs::remove(&mut transaction, &[old]).await?;
    if let Some(pack) = &copy {
        packs::register(&mut transaction, store.tenant_number(), pack, now).await?;
        orphans::forget(&mut transaction, pack.id).await?;
    }
    orphans::note(&mut transaction, old, now).await?;
    tell_gc(&mut transaction).await?;
    store.database().commit(transaction).await
}

/// A gc that has marked already must mark anew, and one that has weighed the packs must weigh them anew: else it takes a
/// pack to which objects were moved for one without any.
async fn tell_gc(transaction: &mut Transaction) -> Result<()> {
    counters::take(transaction, counters::ROOTS, 0, 1).await?;
    counters::take(transaction, counters::MOVES, 0, 1).await?;
    Ok(())
}

/// A new pack, durable in the bucket. While it is pinned, no gc of this engine takes it for an orphan.
async fn copy(
    store: &Store,
    old: PackId,
    class: PackClass,
    entries: Vec<PackEntry>,
    pinned: &mut Pinned,
) -> Result<Pack> {
    let bytes = store.bucket().get(&store.pack_name(old)).await?;
    let (keys, mut writer) = (store.keys().clone(), store.new_pack(class)?);
    pinned.add(writer.id());
    let work = move || -> Result<(Pack, Bytes)> {
        for entry in entries {
            let end = entry.offset as usize + entry.stored_length as usize;
            let canonical = unpack(&keys, old, &entry, &bytes.slice(entry.offset as usize..end))?;
            writer.push(entry.id, &Stored::new(&canonical)?)?;
        }
        writer.finish()
    };
    let panicked = |error| crate::Error::new(crate::Kind::Internal, "copying a pack panicked").because(error);
    let (pack, bytes) = tokio::task::spawn_blocking(work).await.map_err(panicked)??;
    store.bucket().create(&store.pack_name(pack.id), bytes).await?;
    Ok(pack)
}
