//! What is reachable, and where it lies: the set of marks and the living bytes of each pack.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use crate::db::{Location, copies};
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectId, ObjectKind, PackId};
use crate::limits::{GC_PAGE, GC_READ_BYTES, GC_RELOCATE_MAX, LOOKUP_MAX, WALK_BATCH};
use crate::progress::{OnProgress, Progress};
use crate::reach::{Roots, links};
use crate::store::Store;

/// Ids that were reached, as the first 16 of their 32 bytes: half the memory for each of what may be a billion.
///
/// If two objects shared these bytes, the second would count as reached without being walked, and what only it leads to
/// would be deleted. They do not: ids are BLAKE3 under a key that nobody outside knows and that differs for each kind, so
/// they are 128 random bits to whoever chooses the content. Among 2^30 objects, two meet with a chance of 2^-69.
///
/// What repair and rebuild keep as known to be incomplete is marked as far as it is there, and apart: a publish may bring
/// back what it lacked, and then the walk from the new head must not stop at what was reached with gaps.
#[derive(Default)]
pub(super) struct Marks {
    /// Reached, with everything it leads to.
    whole: Ids,
    /// Reached only from snapshots that are known to be incomplete.
    partial: Ids,
}

type Ids = HashSet<u128, BuildHasherDefault<Truncated>>;

/// The ids are random: any of their bits are a good hash.
#[derive(Default)]
struct Truncated(u64);

impl Hasher for Truncated {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }
}

fn short(id: &ObjectId) -> u128 {
    let mut first = [0; 16];
    first.copy_from_slice(&id.hash[..16]);
    u128::from_le_bytes(first)
}

impl Marks {
    pub(super) fn len(&self) -> u64 {
        (self.whole.len() + self.partial.len()) as u64
    }

    pub(super) fn contains(&self, id: &ObjectId) -> bool {
        let id = short(id);
        self.whole.contains(&id) || self.partial.contains(&id)
    }

    /// Marks everything that leads from the roots; what is new is put into `new` where that is asked for. Any object that
    /// cannot be read is an error; so is one that the index lacks, except below snapshots known to be incomplete.
    pub(super) async fn add(
        &mut self,
        store: &Store,
        roots: &Roots,
        mut new: Option<&mut Vec<ObjectId>>,
        progress: &OnProgress,
    ) -> Result<()> {
        for (snapshots, gaps) in [(&roots.snapshots, Gaps::Refused), (&roots.incomplete, Gaps::Known)] {
            let ids = snapshots.iter().copied().map(ObjectId::from).collect();
            self.walk(store, ids, gaps, new.as_deref_mut(), progress).await?;
        }
        if let Some(new) = new {
            new.retain(|id| self.contains(id));
        }
        Ok(())
    }

    async fn walk(
        &mut self,
        store: &Store,
        mut waiting: Vec<ObjectId>,
        gaps: Gaps,
        mut new: Option<&mut Vec<ObjectId>>,
        progress: &OnProgress,
    ) -> Result<()> {
        waiting.retain(|id| self.insert(id, gaps, new.as_deref_mut()));
        let mut chunks = Vec::new();
        while !waiting.is_empty() {
            // From the end: depth first, so that few wait.
            let mut batch = waiting.split_off(waiting.len().saturating_sub(WALK_BATCH));
            if gaps == Gaps::Known {
                batch = self.without_lost(store, batch).await?;
            }
            for (id, bytes) in read(store, batch, &mut waiting).await? {
                let damaged = |error: Error| Error::corrupt(format!("{id} cannot be understood")).because(error);
                for (child, _) in links(id, &bytes).map_err(damaged)? {
                    if !self.insert(&child, gaps, new.as_deref_mut()) {
                        continue;
                    }
                    match child.kind {
                        ObjectKind::Chunk if gaps == Gaps::Known => chunks.push(child),
                        ObjectKind::Chunk => {}
                        _ => waiting.push(child),
                    }
                }
            }
            while chunks.len() >= LOOKUP_MAX || (waiting.is_empty() && !chunks.is_empty()) {
                let part = chunks.split_off(chunks.len().saturating_sub(LOOKUP_MAX));
                self.without_lost(store, part).await?;
            }
            progress(Progress { what: "reachable objects", done: self.len(), total: None });
        }
        Ok(())
    }

    /// Marks one; whether it is to be walked.
    fn insert(&mut self, id: &ObjectId, gaps: Gaps, new: Option<&mut Vec<ObjectId>>) -> bool {
        let short = short(id);
        let (walks, is_new) = match gaps {
            Gaps::Refused => {
                let is_new = !self.partial.remove(&short);
                let walks = self.whole.insert(short);
                (walks, walks && is_new)
            }
            Gaps::Known => {
                let walks = !self.whole.contains(&short) && self.partial.insert(short);
                (walks, walks)
            }
        };
        if let Some(new) = new.filter(|_| is_new) {
            new.push(*id);
        }
        walks
    }

    /// Takes the mark from what the index lacks; returns the others.
    async fn without_lost(&mut self, store: &Store, mut ids: Vec<ObjectId>) -> Result<Vec<ObjectId>> {
        let located = store.locate(&ids).await?;
        ids.retain(|id| {
            let is_there = located.contains_key(id);
            if !is_there {
                self.partial.remove(&short(id));
            }
            is_there
        });
        Ok(ids)
    }
}

/// What it means that the index lacks an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gaps {
    /// Damage: nothing is deleted.
    Refused,
    /// The snapshot is kept as incomplete.
    Known,
}

/// Reads objects, neighbours in one request, at most [`GC_READ_BYTES`] of them (one at least); the others go back to
/// those that wait. What another gc moves meanwhile is located anew.
async fn read(store: &Store, ids: Vec<ObjectId>, waiting: &mut Vec<ObjectId>) -> Result<Vec<(ObjectId, bytes::Bytes)>> {
    let mut locations = locate(store, &ids).await?;
    locations.sort_unstable_by_key(|location| (location.pack, location.entry.offset));
    let mut plain_bytes = 0;
    let fitting = locations
        .iter()
        .take_while(|location| {
            let first = plain_bytes == 0;
            plain_bytes += u64::from(location.entry.plain_length);
            first || plain_bytes <= GC_READ_BYTES
        })
        .count();
    waiting.extend(locations.drain(fitting..).map(|location| location.entry.id));
    let mut read = Vec::with_capacity(locations.len());
    for round in 0.. {
        let mut missed = Vec::new();
        for (location, result) in locations.iter().zip(store.fetch(&locations).await) {
            match result {
                Ok(bytes) => read.push((location.entry.id, bytes)),
                Err(error) if round == GC_RELOCATE_MAX => return Err(error),
                Err(error) => missed.push((*location, error)),
            }
        }
        if missed.is_empty() {
            break;
        }
        let ids: Vec<ObjectId> = missed.iter().map(|(location, _)| location.entry.id).collect();
        locations = locate(store, &ids).await?;
        for (before, error) in missed {
            if locations.contains(&before) {
                return Err(error);
            }
        }
    }
    Ok(read)
}

async fn locate(store: &Store, ids: &[ObjectId]) -> Result<Vec<Location>> {
    let located = store.locate(ids).await?;
    ids.iter().map(|id| located.get(id).copied().ok_or_else(|| lacks(id))).collect()
}

fn lacks(id: &ObjectId) -> Error {
    Error::corrupt(format!("{id} is needed but not stored: run `esker check`"))
}

/// What of each pack is alive.
#[derive(Default)]
pub(super) struct Live {
    packs: HashMap<PackId, Part>,
    /// Everything in the index.
    pub(super) all: Part,
    /// What of it is reachable.
    pub(super) living: Part,
}

/// Some objects.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) objects: u64,
    /// As they are stored.
    pub(super) bytes: u64,
}

impl Part {
    fn add(&mut self, location: &Location) {
        self.objects += 1;
        self.bytes += u64::from(location.entry.stored_length);
    }
}

impl Live {
    /// Reads the whole index once, in order. A marked object that it lacks is damage.
    pub(super) async fn read(store: &Store, marks: &Marks, progress: &OnProgress) -> Result<Live> {
        let mut live = Live::default();
        each_object(store, progress, |location| {
            live.all.add(location);
            if marks.contains(&location.entry.id) {
                live.add(location);
            }
        })
        .await?;
        if live.living.objects < marks.len() {
            let missing = marks.len() - live.living.objects;
            let message = format!("{missing} objects are needed but not stored: run `esker check`, which names them");
            return Err(Error::corrupt(message));
        }
        Ok(live)
    }

    /// Adds what was marked later.
    pub(super) async fn add_marked(&mut self, store: &Store, ids: &[ObjectId]) -> Result<()> {
        for part in ids.chunks(LOOKUP_MAX) {
            for location in locate(store, part).await? {
                self.add(&location);
            }
        }
        // Some of it was in the index before, some not; for a report this is near enough.
        self.all.objects = self.all.objects.max(self.living.objects);
        self.all.bytes = self.all.bytes.max(self.living.bytes);
        Ok(())
    }

    fn add(&mut self, location: &Location) {
        self.packs.entry(location.pack).or_default().add(location);
        self.living.add(location);
    }

    /// What lives in a pack.
    pub(super) fn of(&self, pack: PackId) -> Part {
        self.packs.get(&pack).copied().unwrap_or_default()
    }
}

/// Goes through the index, page by page: memory stays the same whatever its size.
pub(super) async fn each_object(store: &Store, progress: &OnProgress, mut found: impl FnMut(&Location)) -> Result<()> {
    let mut done = 0;
    for kind in [ObjectKind::Chunk, ObjectKind::Blob, ObjectKind::Tree, ObjectKind::Snapshot] {
        let mut after = None;
        loop {
            let page = {
                let mut connection = store.database().read().await?;
                copies::page(&mut connection, store.tenant_number(), kind, after, GC_PAGE).await?
            };
            page.iter().for_each(&mut found);
            done += page.len() as u64;
            progress(Progress { what: "objects of the index", done, total: None });
            match page.last() {
                Some(last) if page.len() as u64 == GC_PAGE => after = Some(last.entry.id),
                _ => break,
            }
        }
    }
    Ok(())
}

/// An error that says that gc was overtaken too often.
pub(super) fn overtaken(rounds: usize) -> Error {
    Error::new(Kind::Busy, format!("publishes went on during {rounds} rounds of marking: try again"))
}
