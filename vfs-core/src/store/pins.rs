//! Packs that open batches count on: gc leaves them alone.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::id::PackId;

/// Counts pins for each pack.
#[derive(Debug, Default, Clone)]
pub(crate) struct Pins(Arc<Mutex<HashMap<PackId, usize>>>);

/// Pins of one batch; dropped with it.
#[derive(Debug)]
pub(crate) struct Pinned {
    pins: Pins,
    packs: BTreeSet<PackId>,
}

impl Pins {
    pub(crate) fn none(&self) -> Pinned {
        Pinned { pins: self.clone(), packs: BTreeSet::new() }
    }

    /// All that are pinned now.
    pub(crate) fn all(&self) -> HashSet<PackId> {
        self.0.lock().keys().copied().collect()
    }
}

impl Pinned {
    pub(crate) fn add(&mut self, pack: PackId) {
        if self.packs.insert(pack) {
            *self.pins.0.lock().entry(pack).or_default() += 1;
        }
    }

    pub(crate) fn packs(&self) -> &BTreeSet<PackId> {
        &self.packs
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut counts = self.pins.0.lock();
        for pack in &self.packs {
            if let Some(count) = counts.get_mut(pack) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(pack);
                }
            }
        }
    }
}
