//! What was written to one file since its base: pieces of the journal laid over the base content.

use std::collections::BTreeMap;

/// A run of bytes that covers the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Length in bytes.
    pub(super) length: u64,
    /// Journal position of the first byte, or of the record that made the zeros.
    pub(super) position: u64,
    /// Reads as zero and is a hole.
    pub(super) zero: bool,
}

/// Where a run of bytes comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The journal, from this position.
    Journal(u64),
    /// Nowhere: a hole.
    Hole,
    /// The base content, from this offset.
    Base(u64),
}

/// The overlay of one file. Never overlapping, keyed by offset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Extents(BTreeMap<u64, Piece>);

impl Extents {
    /// Whether nothing covers the base.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Covers `[offset, offset + piece.length)`.
    pub(super) fn insert(&mut self, offset: u64, piece: Piece) {
        if piece.length == 0 {
            return;
        }
        self.remove(offset, piece.length);
        self.0.insert(offset, piece);
    }

    /// Uncovers `[offset, offset + length)`.
    fn remove(&mut self, offset: u64, length: u64) {
        let end = offset.saturating_add(length);
        let first = self.0.range(..offset).next_back().map(|(&start, piece)| (start, *piece));
        if let Some((start, piece)) = first
            && start + piece.length > offset
        {
            self.0.insert(start, Piece { length: offset - start, ..piece });
            if start + piece.length > end {
                self.0.insert(end, piece.from(end - start));
            }
        }
        while let Some((&start, &piece)) = self.0.range(offset..end).next() {
            self.0.remove(&start);
            if start + piece.length > end {
                self.0.insert(end, piece.from(end - start));
            }
        }
    }

    /// Drops everything from `size` on.
    pub(super) fn truncate(&mut self, size: u64) {
        self.remove(size, u64::MAX - size);
    }

    /// Drops the pieces written before journal position `cut`.
    pub(super) fn forget_before(&mut self, cut: u64) {
        self.0.retain(|_, piece| piece.position >= cut);
    }

    /// Journal positions that the pieces need.
    pub(super) fn positions(&self) -> impl Iterator<Item = u64> {
        self.0.values().filter(|piece| !piece.zero).map(|piece| piece.position)
    }

    /// Where the bytes of `[offset, offset + length)` come from, in order; the base is visible below `base_limit`.
    pub(super) fn plan(&self, offset: u64, length: u64, base_limit: u64) -> Vec<(u64, Source)> {
        let end = offset.saturating_add(length);
        let mut runs = Vec::new();
        let mut at = offset;
        let start = self.0.range(..=offset).next_back().map_or(offset, |(&start, _)| start);
        for (&start, piece) in self.0.range(start..end) {
            if start + piece.length <= at {
                continue;
            }
            if start > at {
                uncovered(&mut runs, at, start, base_limit);
                at = start;
            }
            let run = (start + piece.length).min(end) - at;
            let source = if piece.zero { Source::Hole } else { Source::Journal(piece.position + (at - start)) };
            runs.push((run, source));
            at += run;
        }
        if at < end {
            uncovered(&mut runs, at, end, base_limit);
        }
        runs
    }
}

impl Piece {
    fn from(self, skip: u64) -> Piece {
        let position = if self.zero { self.position } else { self.position + skip };
        Piece { length: self.length - skip, position, zero: self.zero }
    }
}

fn uncovered(runs: &mut Vec<(u64, Source)>, from: u64, to: u64, base_limit: u64) {
    let base_end = to.min(base_limit);
    if from < base_end {
        runs.push((base_end - from, Source::Base(from)));
    }
    let hole_start = from.max(base_end);
    if hole_start < to {
        runs.push((to - hole_start, Source::Hole));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(length: u64, position: u64) -> Piece {
        Piece { length, position, zero: false }
    }

    #[test]
    fn pieces_cover_the_base_and_each_other() {
        let mut extents = Extents::default();
        extents.insert(10, data(10, 100));
        extents.insert(15, data(2, 200));
        extents.insert(30, Piece { length: 5, position: 300, zero: true });
        assert_eq!(
            extents.plan(0, 40, 33),
            [
                (10, Source::Base(0)),
                (5, Source::Journal(100)),
                (2, Source::Journal(200)),
                (3, Source::Journal(107)),
                (10, Source::Base(20)),
                (5, Source::Hole),
                (5, Source::Hole),
            ]
        );
        extents.truncate(16);
        assert_eq!(extents.plan(14, 10, 0), [(1, Source::Journal(104)), (1, Source::Journal(200)), (8, Source::Hole)]);
    }

    #[test]
    fn a_cut_forgets_what_came_before() {
        let mut extents = Extents::default();
        extents.insert(0, data(20, 100));
        extents.insert(20, data(1, 500));
        extents.forget_before(400);
        assert_eq!(extents.plan(0, 21, 20), [(20, Source::Base(0)), (1, Source::Journal(500))]);
    }

    proptest::proptest! {
        /// Against an array that says for every byte where it comes from.
        #[test]
        fn equals_an_array(steps in proptest::collection::vec((0u64..64, 0u64..32, 0u8..3), 0..40)) {
            let mut extents = Extents::default();
            let mut model: Vec<Source> = (0..128).map(|at| if at < 50 { Source::Base(at) } else { Source::Hole }).collect();
            let mut base_limit = 50;
            for (index, (offset, length, what)) in steps.into_iter().enumerate() {
                let position = (index as u64 + 1) * 1000;
                match what {
                    0 => {
                        extents.insert(offset, data(length, position));
                        for at in 0..length { model[(offset + at) as usize] = Source::Journal(position + at); }
                    }
                    1 => {
                        extents.insert(offset, Piece { length, position, zero: true });
                        for at in 0..length { model[(offset + at) as usize] = Source::Hole; }
                    }
                    _ => {
                        extents.truncate(offset);
                        base_limit = base_limit.min(offset);
                        for byte in model.iter_mut().skip(offset as usize) { *byte = Source::Hole; }
                    }
                }
            }
            let mut seen = Vec::new();
            for (length, source) in extents.plan(0, 128, base_limit) {
                for at in 0..length {
                    seen.push(match source {
                        Source::Journal(position) => Source::Journal(position + at),
                        Source::Base(offset) => Source::Base(offset + at),
                        Source::Hole => Source::Hole,
                    });
                }
            }
            proptest::prop_assert_eq!(seen, model);
        }
    }
}
