//! Chance that a seed decides: a small generator, and the ids that a repo makes.

use std::cell::RefCell;

/// A small generator (splitmix64): one seed is one sequence. Not for keys.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next number.
    #[allow(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True so many times out of a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len() as u64) as usize]
    }

    /// A generator of its own for one actor.
    pub fn fork(&mut self) -> Random {
        Random(self.next())
    }
}

thread_local! {
    static IDS: RefCell<Option<Random>> = const { RefCell::new(None) };
}

/// From now on the ids that this thread makes follow from a seed; `None` takes that back.
pub fn seed_ids(seed: Option<u64>) {
    IDS.with(|ids| *ids.borrow_mut() = seed.map(Random::new));
}

/// Fills `bytes` from the seed of this thread, if it has one.
pub(crate) fn fill(bytes: &mut [u8]) -> bool {
    IDS.with(|ids| {
        let mut ids = ids.borrow_mut();
        let Some(random) = ids.as_mut() else { return false };
        for part in bytes.chunks_mut(8) {
            let word = random.next().to_le_bytes();
            part.copy_from_slice(&word[..part.len()]);
        }
        true
    })
}
