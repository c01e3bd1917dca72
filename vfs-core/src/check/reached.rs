//! The walk over everything that snapshots lead to, in 16 bytes an object.

use std::collections::HashSet;

use super::{Check, Severity, is_damage};
use crate::db::Location;
use crate::error::Result;
use crate::id::{ObjectId, ObjectKind, PackId, SnapshotId};
use crate::limits::{LOOKUP_MAX, WALK_BATCH};
use crate::progress::Progress;
use crate::reach::links;

/// What was reached. Half an id names an object well enough: two that share it by chance are not to be expected before
/// 2^64 of them, and then a damage is only called worse or milder than it is.
#[derive(Default)]
pub(crate) struct Reached {
    objects: HashSet<[u8; 16]>,
    packs: HashSet<PackId>,
}

impl Reached {
    /// How many objects were reached.
    pub(crate) fn len(&self) -> u64 {
        self.objects.len() as u64
    }

    /// Whether an object was reached.
    pub(crate) fn holds(&self, id: &ObjectId) -> bool {
        self.objects.contains(&half(id))
    }

    /// Whether a pack holds something that was reached.
    pub(crate) fn holds_pack(&self, id: &PackId) -> bool {
        self.packs.contains(id)
    }

    fn insert(&mut self, id: &ObjectId) -> bool {
        self.objects.insert(half(id))
    }
}

/// The first half of an id. Kinds have keys of their own, so it need not say the kind.
pub(crate) fn half(id: &ObjectId) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&id.hash[..16]);
    half
}

impl Check<'_> {
    /// Reads everything but content that the snapshots lead to; goes around what cannot be read. What is wrong is noted,
    /// or, without `alarm`, only counted.
    pub(super) async fn walk(
        &mut self,
        roots: impl Iterator<Item = &SnapshotId>,
        reached: &mut Reached,
        alarm: bool,
    ) -> Result<()> {
        let mut waiting: Vec<ObjectId> = roots.map(|&id| id.into()).filter(|id| reached.insert(id)).collect();
        let mut chunks: Vec<ObjectId> = Vec::new();
        while !waiting.is_empty() {
            // From the end: depth first, so that few wait.
            let batch = waiting.split_off(waiting.len().saturating_sub(WALK_BATCH));
            let located = self.located(&batch, reached, alarm).await?;
            for (id, bytes) in self.read(&located, alarm).await? {
                let links = match links(id, &bytes) {
                    Ok(links) => links,
                    Err(error) => {
                        self.wrong(id, format!("{id} cannot be understood: {}", error.context()), alarm);
                        continue;
                    }
                };
                for (child, _) in links.into_iter().filter(|(child, _)| reached.insert(child)) {
                    match child.kind {
                        ObjectKind::Chunk => chunks.push(child),
                        _ => waiting.push(child),
                    }
                }
            }
            while chunks.len() >= LOOKUP_MAX || (waiting.is_empty() && !chunks.is_empty()) {
                let part = chunks.split_off(chunks.len().saturating_sub(LOOKUP_MAX));
                self.located(&part, reached, alarm).await?;
            }
            (self.progress)(Progress { what: "reachable objects", done: reached.len(), total: None });
        }
        Ok(())
    }

    fn wrong(&mut self, id: ObjectId, what: String, alarm: bool) {
        match alarm {
            true => self.note_object(id, what, Severity::Stored),
            false => self.report.known_damages += 1,
        }
    }

    /// Everything reached must be in the index, in a pack that is there.
    async fn located(&mut self, ids: &[ObjectId], reached: &mut Reached, alarm: bool) -> Result<Vec<Location>> {
        let located = self.store.locate(ids).await?;
        for id in ids {
            match located.get(id) {
                None => self.wrong(*id, format!("{id} is not in the index"), alarm),
                Some(location) => {
                    reached.packs.insert(location.pack);
                    if let Some(why) = self.bad_packs.get(&location.pack) {
                        let what = format!("{id} lies in the pack {}, which {why}", location.pack);
                        self.wrong(*id, what, alarm);
                    }
                }
            }
        }
        Ok(located.into_values().collect())
    }

    /// Objects as they lie in the bucket, not from memory. Those that cannot be read are noted and left out.
    async fn read(&mut self, locations: &[Location], alarm: bool) -> Result<Vec<(ObjectId, bytes::Bytes)>> {
        let mut read = Vec::with_capacity(locations.len());
        for (location, bytes) in locations.iter().zip(self.store.fetch(locations).await) {
            let id = location.entry.id;
            match bytes {
                Ok(bytes) => {
                    self.report.read_bytes += u64::from(location.entry.stored_length);
                    self.report.verified_objects += 1;
                    read.push((id, bytes));
                }
                Err(error) if is_damage(error.kind()) => self.wrong(id, error.context().to_owned(), alarm),
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }
}
