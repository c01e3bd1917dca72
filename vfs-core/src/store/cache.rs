//! Small objects that were read, least recently used first out, bounded by their bytes.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::id::ObjectId;

/// What one entry costs beside its bytes.
const ENTRY_OVERHEAD: usize = 160;

pub(super) struct Cache {
    limit_bytes: usize,
    bytes: usize,
    tick: u64,
    entries: HashMap<ObjectId, (Bytes, u64)>,
    by_age: BTreeMap<u64, ObjectId>,
    pub(super) hits: u64,
    pub(super) misses: u64,
}

impl Cache {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Cache { limit_bytes, bytes: 0, tick: 0, entries: HashMap::new(), by_age: BTreeMap::new(), hits: 0, misses: 0 }
    }

    pub(super) fn get(&mut self, id: &ObjectId) -> Option<Bytes> {
        let Some((bytes, age)) = self.entries.get_mut(id) else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        self.by_age.remove(age);
        self.tick += 1;
        *age = self.tick;
        self.by_age.insert(self.tick, *id);
        Some(bytes.clone())
    }

    pub(super) fn put(&mut self, id: ObjectId, bytes: Bytes) {
        let cost = bytes.len() + ENTRY_OVERHEAD;
        if cost > self.limit_bytes / 8 || self.entries.contains_key(&id) {
            return;
        }
        // A slice of a larger read would keep all of it in memory.
        let bytes = Bytes::copy_from_slice(&bytes);
        self.tick += 1;
        self.by_age.insert(self.tick, id);
        self.entries.insert(id, (bytes, self.tick));
        self.bytes += cost;
        while self.bytes > self.limit_bytes {
            let Some((_, oldest)) = self.by_age.pop_first() else { break };
            if let Some((bytes, _)) = self.entries.remove(&oldest) {
                self.bytes -= bytes.len() + ENTRY_OVERHEAD;
            }
        }
    }

    pub(super) fn holds(&self, id: &ObjectId) -> bool {
        self.entries.contains_key(id)
    }

    pub(super) fn objects(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
