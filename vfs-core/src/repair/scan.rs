//! Reads every pack and compares it with the index. Changes nothing.
//!
//! What counts is the keyed hash of each object: whatever a footer or an index row says, an object is where its bytes are.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use crate::check::{is_damage, verify_all};
use crate::db::{IndexRow, PackRow, repairs};
use crate::error::{Error, Kind, Result};
use crate::gc::list_packs;
use crate::id::{ObjectId, PackId};
use crate::pack::{PackClass, PackEntry, PackIndex, read_index};
use crate::progress::{OnProgress, Progress};
use crate::store::Store;

/// What the packs and the index have to do with each other.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Packs read.
    pub(super) packs: u64,
    /// Objects whose row is missing or wrong, and a place where they are.
    pub(super) found: HashMap<ObjectId, (PackId, PackEntry)>,
    /// Second copies of objects that the index has elsewhere.
    pub(super) spare: HashMap<ObjectId, (PackId, PackEntry)>,
    /// Rows that point at something else than their object, with the pack they belong to, if that is known.
    pub(super) bad_rows: Vec<(Option<PackId>, IndexRow)>,
    /// Packs that are not in the bucket.
    pub(super) missing: Vec<PackId>,
    /// Rows of packs that say something else than the packs.
    pub(super) wrong: Vec<PackRow>,
    /// What can be read in packs that the index does not have.
    pub(super) orphans: HashMap<PackId, PackRow>,
    /// Packs with some damage, and what can be read in them.
    pub(super) damaged: HashMap<PackId, Vec<PackEntry>>,
    /// How many rows the index has for each pack.
    counts: HashMap<PackId, u64>,
    /// Packs that gc has emptied and not deleted yet, with what can be read in them.
    pub(super) emptied: HashMap<PackId, Vec<PackEntry>>,
}

/// Reads all packs.
pub(super) async fn scan(store: &Store, progress: &OnProgress) -> Result<Scan> {
    // The index before the bucket: then every pack that the index has must be listed.
    let rows = {
        let mut connection = store.database().read().await?;
        repairs::pack_rows(&mut connection, store.tenant_number()).await?
    };
    let listed = list_packs(store).await?;
    let counts = {
        let mut connection = store.database().read().await?;
        repairs::row_counts(&mut connection, store.tenant_number()).await?
    };
    let mut scan = Scan { counts, ..Scan::default() };
    let known: HashSet<PackId> = rows.iter().map(|(row, _)| row.id).collect();
    let dead: HashSet<PackId> = {
        let mut connection = store.database().read().await?;
        repairs::dead_orphans(&mut connection).await?.into_iter().collect()
    };
    // gc is about to delete the dead ones.
    let is_orphan = |id: &&PackId| !known.contains(*id) && !dead.contains(*id);
    let mut orphans: Vec<PackId> = listed.keys().filter(is_orphan).copied().collect();
    orphans.sort_unstable();
    let total = Some((rows.len() + orphans.len()) as u64);
    // Packs of the index first: what they hold needs no orphan.
    for (row, sound) in &rows {
        match listed.contains_key(&row.id) {
            true => scan.read(store, row.id, Some((row, *sound))).await?,
            false => scan.missing(store, row.id).await?,
        }
        scan.packs += 1;
        progress(Progress { what: "packs", done: scan.packs, total });
    }
    for id in orphans {
        scan.read(store, id, None).await?;
        scan.packs += 1;
        progress(Progress { what: "packs", done: scan.packs, total });
    }
    let mut connection = store.database().read().await?;
    let strangers = repairs::strangers(&mut connection, store.tenant_number()).await?;
    scan.bad_rows.extend(strangers.into_iter().map(|row| (None, row)));
    Ok(scan)
}

impl Scan {
    async fn missing(&mut self, store: &Store, id: PackId) -> Result<()> {
        let mut connection = store.database().read().await?;
        let rows = repairs::rows_of(&mut connection, store.tenant_number(), id).await?;
        self.bad_rows.extend(rows.into_iter().map(|row| (Some(id), row)));
        self.missing.push(id);
        Ok(())
    }

    async fn read(&mut self, store: &Store, id: PackId, row: Option<(&PackRow, bool)>) -> Result<()> {
        let bytes = store.bucket().get(&store.pack_name(id)).await.map_err(|error| match error.kind() {
            Kind::NotFound => Error::new(Kind::Conflict, "packs were deleted while they were read: try again"),
            _ => error,
        })?;
        let index = match read_index(store.keys(), id, &bytes) {
            Ok(index) => Some(index),
            Err(error) if is_damage(error.kind()) => None,
            Err(error) => return Err(error),
        };
        let likely: Vec<ObjectId> = index.iter().flat_map(|index| &index.entries).map(|entry| entry.id).collect();
        let count = self.counts.get(&id).copied().unwrap_or(0);
        let rows = {
            let mut connection = store.database().read().await?;
            repairs::likely_rows_of(&mut connection, store.tenant_number(), id, &likely, count).await?
        };
        let candidates = candidates(index.as_ref(), &rows);
        let verified = verify_all(store.keys().clone(), id, bytes.clone(), candidates).await?;
        let good: HashMap<ObjectId, PackEntry> =
            verified.into_iter().filter(|(_, result)| result.is_ok()).map(|(entry, _)| (entry.id, entry)).collect();
        let whole = index.as_ref().is_some_and(|index| is_whole(index, &good));
        self.compare_rows(id, &rows, &good);
        let elsewhere = self.compare_objects(store, id, &rows, &good).await?;
        self.note_pack(id, row, index, &bytes, &good, elsewhere, whole);
        if row.is_some_and(|(row, _)| row.emptied) {
            // A repair that was stopped left rows there: what they point at must leave the pack.
            let list = if rows.is_empty() { &mut self.emptied } else { &mut self.damaged };
            list.insert(id, good.values().copied().collect());
        }
        Ok(())
    }

    /// Rows that point into this pack must point at their objects.
    fn compare_rows(&mut self, id: PackId, rows: &[IndexRow], good: &HashMap<ObjectId, PackEntry>) {
        for row in rows {
            let here = row.entry.and_then(|entry| good.get(&entry.id));
            match (row.entry, here) {
                (Some(entry), Some(here)) if entry == *here => {}
                (_, Some(here)) => drop(self.found.insert(here.id, (id, *here))),
                _ => self.bad_rows.push((Some(id), row.clone())),
            }
        }
    }

    /// Objects that the index does not put here must be somewhere else. Returns whether all are.
    async fn compare_objects(
        &mut self,
        store: &Store,
        id: PackId,
        rows: &[IndexRow],
        good: &HashMap<ObjectId, PackEntry>,
    ) -> Result<bool> {
        let rowed: HashSet<ObjectId> = rows.iter().filter_map(|row| Some(row.entry?.id)).collect();
        let others: Vec<ObjectId> = good.keys().filter(|id| !rowed.contains(id)).copied().collect();
        let located = {
            let mut connection = store.database().read().await?;
            repairs::packs_of(&mut connection, store.tenant_number(), &others).await?
        };
        for other in &others {
            let places = match located.contains_key(other) {
                true => &mut self.spare,
                false => &mut self.found,
            };
            places.entry(*other).or_insert((id, good[other]));
        }
        Ok(others.iter().all(|other| located.contains_key(other)))
    }

    #[allow(clippy::too_many_arguments, reason = "all that is known of one pack, in one place")]
    fn note_pack(
        &mut self,
        id: PackId,
        row: Option<(&PackRow, bool)>,
        index: Option<PackIndex>,
        bytes: &Bytes,
        good: &HashMap<ObjectId, PackEntry>,
        elsewhere: bool,
        whole: bool,
    ) {
        let class = match (&index, good.keys().next(), row) {
            (Some(index), _, _) => index.class,
            (None, Some(object), _) => PackClass::of(object.kind),
            (None, None, Some((row, _))) => row.class,
            (None, None, None) => PackClass::Contents,
        };
        let objects = index.map_or(good.len(), |index| index.entries.len()) as u64;
        let size = bytes.len() as u64;
        match row {
            Some((row, sound)) => {
                let right = PackRow { class, size, objects, ..*row };
                if !sound || (whole && right != *row) {
                    self.wrong.push(right);
                }
            }
            None => {
                let now = crate::clock::Time::default();
                let orphan = PackRow { id, class, size, objects, created: now, condemned: None, emptied: false };
                self.orphans.insert(id, orphan);
            }
        }
        if !whole && (row.is_some() || !elsewhere) {
            self.damaged.insert(id, good.values().copied().collect());
        }
    }
}

/// Where objects may be, by the footer and by the index.
fn candidates(index: Option<&PackIndex>, rows: &[IndexRow]) -> Vec<PackEntry> {
    let mut candidates: Vec<PackEntry> = index.map_or_else(Vec::new, |index| index.entries.clone());
    let known: HashSet<(ObjectId, u64, u32)> =
        candidates.iter().map(|entry| (entry.id, entry.offset, entry.stored_length)).collect();
    let rowed = rows.iter().filter_map(|row| row.entry);
    candidates.extend(rowed.filter(|entry| !known.contains(&(entry.id, entry.offset, entry.stored_length))));
    candidates
}

/// Its index could be read, so all that is not an object's is right.
fn is_whole(index: &PackIndex, good: &HashMap<ObjectId, PackEntry>) -> bool {
    index.entries.iter().all(|entry| good.get(&entry.id) == Some(entry))
}
