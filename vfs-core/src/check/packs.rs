//! The packs themselves: that they are there, and (full check) that every byte is what it must be.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::reached::Reached;
use super::{Check, Severity, Share, is_damage};
use crate::clock::Time;
use crate::db::{PackRow, checked, meta, orphans, packs, repairs};
use crate::error::{Error, Result};
use crate::gc::list_packs;
use crate::id::{ObjectId, PackId};
use crate::pack::{PackEntry, PackIndex, read_index, unpack};
use crate::progress::Progress;

/// Setting of the database: when the full check that has not ended began.
const BEGAN: &str = "full_check_began";

impl Check<'_> {
    /// Compares the index with the bucket's list; returns the packs that the index does not have.
    pub(super) async fn packs(&mut self) -> Result<Vec<PackId>> {
        // The index before the bucket: then every pack that the index has must be listed.
        let rows = self.pack_rows().await?;
        let mut listed = list_packs(self.store).await?;
        self.report.packs = rows.len() as u64;
        // What gc has removed since is no damage.
        let still: HashSet<PackId> = self.pack_rows().await?.into_iter().map(|row| row.id).collect();
        for row in rows.into_iter().filter(|row| still.contains(&row.id)) {
            let why = match listed.remove(&row.id) {
                None => "is missing in the bucket".to_owned(),
                Some(size) if size != row.size => format!("has {size} bytes instead of {}", row.size),
                Some(_) => continue,
            };
            self.bad_packs.insert(row.id, why);
        }
        let mut strangers: Vec<PackId> = listed.into_keys().collect();
        strangers.sort_unstable();
        Ok(strangers)
    }

    /// Notes what is wrong with packs, now that it is known whether something reaches them.
    pub(super) fn note_packs(&mut self, reached: &Reached) {
        let mut bad: Vec<_> = std::mem::take(&mut self.bad_packs).into_iter().collect();
        bad.sort_unstable();
        for (pack, why) in bad {
            match reached.holds_pack(&pack) {
                true => self.note(format!("the pack {pack} {why}")),
                false => self.note_harmless(format!("the pack {pack} {why}; nothing reaches what it holds")),
            }
        }
    }

    /// Packs without rows: gc knows some already.
    pub(super) async fn orphans(&mut self, strangers: Vec<PackId>) -> Result<()> {
        // No pack of this engine is between bucket and index now.
        let _alone = self.store.alone().await;
        let rows: HashMap<_, _> = self.pack_rows().await?.into_iter().map(|row| (row.id, ())).collect();
        let mut connection = self.store.database().read().await?;
        let noted: HashMap<_, _> =
            orphans::all(&mut connection).await?.into_iter().map(|row| (row.id, row.seen)).collect();
        for pack in strangers.into_iter().filter(|pack| !rows.contains_key(pack)) {
            match noted.contains_key(&pack) {
                true => self.report.waiting_orphans += 1,
                false => self.note_harmless(format!("the pack {pack} is not in the index: gc will remove it")),
            }
        }
        Ok(())
    }

    async fn pack_rows(&self) -> Result<Vec<PackRow>> {
        let mut connection = self.store.database().read().await?;
        packs::all(&mut connection, self.store.tenant_number()).await
    }

    /// Reads the packs of the share and verifies every object in them. What was read is noted at once.
    pub(super) async fn read_everything(&mut self, share: Share, reached: &Reached) -> Result<()> {
        let now = self.store.now();
        let began = self.begin(share, now).await?;
        let read_before = {
            let mut connection = self.store.database().read().await?;
            checked::all(&mut connection).await?
        };
        let mut rows = self.pack_rows().await?;
        rows.retain(|row| share.holds(&row.id, read_before.get(&row.id), now));
        let sound = |row: &PackRow| {
            began.is_some_and(|began| {
                read_before.get(&row.id).is_some_and(|read| read.checked >= began && !read.damaged)
            })
        };
        let (done_before, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(sound);
        self.report.resumed_packs = done_before.len() as u64;
        let bytes: u64 = rows.iter().map(|row| row.size).sum();
        let counts = {
            let mut connection = self.store.database().read().await?;
            repairs::row_counts(&mut connection, self.store.tenant_number()).await?
        };
        let mut bytes_done = 0;
        for (number, row) in rows.iter().enumerate() {
            let indexed = counts.get(&row.id).copied().unwrap_or(0);
            let damaged = self.read_pack(row, indexed, reached).await?;
            self.note_read(row.id, damaged).await?;
            bytes_done += row.size;
            let (done, total) = (number as u64 + 1, Some(rows.len() as u64));
            (self.progress)(Progress { what: "packs", done, total });
            (self.progress)(Progress { what: "bytes of packs", done: bytes_done, total: Some(bytes) });
        }
        self.end().await
    }

    /// When the check began that this one goes on with; `None` if this is a new one.
    async fn begin(&mut self, share: Share, now: Time) -> Result<Option<Time>> {
        let mut transaction = self.store.database().begin().await?;
        let interrupted = meta::get(&mut transaction, BEGAN).await?.and_then(|text| text.parse().ok());
        if let (true, Some(nanos)) = (share.resume, interrupted) {
            return Ok(Some(Time::from_nanos(nanos)));
        }
        meta::set(&mut transaction, BEGAN, &now.as_nanos().to_string()).await?;
        self.store.database().commit(transaction).await?;
        Ok(None)
    }

    async fn end(&mut self) -> Result<()> {
        let mut transaction = self.store.database().begin().await?;
        meta::set(&mut transaction, BEGAN, "").await?;
        checked::forget_gone(&mut transaction).await?;
        self.store.database().commit(transaction).await
    }

    async fn note_read(&mut self, pack: PackId, damaged: bool) -> Result<()> {
        let mut transaction = self.store.database().begin().await?;
        checked::put(&mut transaction, pack, self.store.now(), damaged).await?;
        self.store.database().commit(transaction).await
    }

    /// Reads one pack, of which the index has so many objects; whether something is wrong with it.
    async fn read_pack(&mut self, row: &PackRow, indexed: u64, reached: &Reached) -> Result<bool> {
        let bytes = match self.store.bucket().get(&self.store.pack_name(row.id)).await {
            Ok(bytes) => bytes,
            Err(error) if is_damage(error.kind()) => {
                // gc may have deleted it since; then the index does not have it either.
                if self.pack_rows().await?.iter().any(|still| still.id == row.id) {
                    self.bad_packs.entry(row.id).or_insert_with(|| format!("cannot be read: {}", error.context()));
                }
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        self.report.read_bytes += bytes.len() as u64;
        self.report.read_packs += 1;
        let damages_before = (self.bad_packs.contains_key(&row.id), self.damaged.len());
        let index = read_index(self.store.keys(), row.id, &bytes);
        let likely: Vec<ObjectId> = index.iter().flat_map(|index| &index.entries).map(|entry| entry.id).collect();
        let rows = {
            let mut connection = self.store.database().read().await?;
            repairs::likely_rows_of(&mut connection, self.store.tenant_number(), row.id, &likely, indexed).await?
        };
        let unclear = rows.iter().filter(|row| row.entry.is_none()).count();
        let indexed: Vec<PackEntry> = rows.into_iter().filter_map(|row| row.entry).collect();
        if unclear > 0 {
            self.note_pack(row.id, format!("has {unclear} rows in the index that make no sense"));
        }
        self.compare(row, index, &indexed, reached);
        self.verify(row.id, &bytes, indexed, reached).await?;
        Ok((self.bad_packs.contains_key(&row.id), self.damaged.len()) != damages_before || damages_before.0)
    }

    fn note_pack(&mut self, pack: PackId, why: String) {
        self.bad_packs.entry(pack).or_insert(why);
    }

    /// The pack as a whole, and what the index says about it.
    fn compare(&mut self, row: &PackRow, index: Result<PackIndex>, indexed: &[PackEntry], reached: &Reached) {
        match index {
            Ok(index) if index.class != row.class => {
                self.note_pack(row.id, "is of another class than the index says".to_owned());
            }
            Ok(index) => {
                if index.entries.len() as u64 != row.objects {
                    let why = format!("holds {} objects, the index says {}", index.entries.len(), row.objects);
                    self.note_pack(row.id, why);
                }
                // Objects that another pack holds too are indexed once.
                let own: HashMap<_, _> = index.entries.iter().map(|entry| (entry.id, entry)).collect();
                for entry in indexed.iter().filter(|entry| own.get(&entry.id) != Some(entry)) {
                    let what = format!("{} lies elsewhere in its pack than the index says", entry.id);
                    self.note_object(entry.id, what, severity(reached.holds(&entry.id)));
                }
            }
            Err(error) => self.note_pack(row.id, format!("is damaged: {}", error.context())),
        }
    }

    /// Every object where the index says it is.
    async fn verify(&mut self, pack: PackId, bytes: &Bytes, indexed: Vec<PackEntry>, reached: &Reached) -> Result<()> {
        for (entry, result) in verify_all(self.store.keys().clone(), pack, bytes.clone(), indexed).await? {
            match result {
                Ok(()) => self.report.verified_objects += 1,
                Err(what) => self.note_object(entry.id, what, severity(reached.holds(&entry.id))),
            }
        }
        Ok(())
    }
}

fn severity(reached: bool) -> Severity {
    if reached { Severity::Stored } else { Severity::Nothing }
}

/// Hashes objects of a pack, off the async threads.
pub(crate) async fn verify_all(
    keys: crate::keys::TenantKeys,
    pack: PackId,
    bytes: Bytes,
    entries: Vec<PackEntry>,
) -> Result<Vec<(PackEntry, Result<(), String>)>> {
    let work = move || {
        let verify = |entry: PackEntry| {
            let end = entry.offset.saturating_add(entry.stored_length.into());
            let verified = match usize::try_from(end) {
                Ok(end) if end <= bytes.len() => unpack(&keys, pack, &entry, &bytes.slice(entry.offset as usize..end)),
                _ => Err(Error::corrupt(format!("{} lies behind the end of its pack", entry.id))),
            };
            (entry, verified.map(drop).map_err(|error| error.context().to_owned()))
        };
        entries.into_iter().map(verify).collect()
    };
    let panicked = |error| Error::new(crate::Kind::Internal, "verifying a pack panicked").because(error);
    tokio::task::spawn_blocking(work).await.map_err(panicked)
}
