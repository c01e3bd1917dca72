//! Which byte ranges of a file are there: ranges that neither overlap nor touch.

use std::collections::BTreeMap;
use std::ops::Range;

/// What a file takes on the disk comes in blocks of this many bytes, at least.
const BLOCK: u64 = 4096;

/// Ranges of one file, and how much room they take.
#[derive(Debug, Default)]
pub(super) struct Extents {
    /// Start to end.
    ranges: BTreeMap<u64, u64>,
    room_bytes: u64,
}

/// What a range takes on the disk at most.
pub(super) fn room(range: &Range<u64>) -> u64 {
    range.end.div_ceil(BLOCK) * BLOCK - range.start / BLOCK * BLOCK
}

impl Extents {
    /// What all of them take on the disk at most; neighbours that share a block count it twice.
    pub(super) fn room_bytes(&self) -> u64 {
        self.room_bytes
    }

    /// Whether all of a range is there.
    pub(super) fn hold(&self, range: &Range<u64>) -> bool {
        self.ranges.range(..=range.start).next_back().is_some_and(|(_, &end)| end >= range.end)
    }

    pub(super) fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let mut whole = range;
        for touching in self.touching(&whole) {
            self.take(&touching);
            whole = whole.start.min(touching.start)..whole.end.max(touching.end);
        }
        self.put(whole);
    }

    pub(super) fn remove(&mut self, range: &Range<u64>) {
        for touching in self.touching(range) {
            self.take(&touching);
            self.put(touching.start..touching.end.min(range.start));
            self.put(touching.start.max(range.end)..touching.end);
        }
    }

    fn touching(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let before = self.ranges.range(..range.start).next_back().filter(|(_, end)| **end >= range.start);
        let others = self.ranges.range(range.start..=range.end);
        before.into_iter().chain(others).map(|(&start, &end)| start..end).collect()
    }

    fn take(&mut self, range: &Range<u64>) {
        self.ranges.remove(&range.start);
        self.room_bytes -= room(range);
    }

    fn put(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.room_bytes += room(&range);
            self.ranges.insert(range.start, range.end);
        }
    }
}
