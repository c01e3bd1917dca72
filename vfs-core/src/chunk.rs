//! Cuts file content where the content says so (FastCDC, 2020).
//!
//! Keeps true: the cuts depend on the bytes, the holes and the size of a file only. A [`Cutter`] that knows the extents of
//! an older state yields what a cutter without that knowledge yields; it only reads less. Each run of data between
//! holes is cut by itself. The cutter does no I/O: it asks for bytes and is fed.

use std::collections::HashMap;
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use fastcdc::v2020::FastCDC;

use crate::error::Result;
use crate::id::{IdKey, PlainDigest};
use crate::limits::{CHUNK_AVERAGE, CHUNK_MAX, CHUNK_MIN, HOLE_UNIT};
use crate::object::{ChunkRef, Extent};

#[cfg(test)]
mod tests;

/// The sizes that chunks are cut to, in bytes; even numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// No cut before this many bytes, except at the end.
    pub min: usize,
    /// Cuts become likelier here.
    pub average: usize,
    /// Always a cut here.
    pub max: usize,
}

impl Sizes {
    /// The sizes of this format.
    pub const FORMAT: Sizes = Sizes { min: CHUNK_MIN, average: CHUNK_AVERAGE, max: CHUNK_MAX };
}

/// The length of the first chunk of `window`, which holds the next [`Sizes::max`] bytes or all to the end.
fn first_cut(window: &[u8], sizes: Sizes) -> usize {
    FastCDC::new(window, sizes.min, sizes.average, sizes.max).cut(0, window.len()).1
}

/// The name, digest and length of a chunk.
pub fn chunk_ref(key: &IdKey, content: &[u8]) -> ChunkRef {
    ChunkRef { id: key.chunk_id(content), digest: PlainDigest::of(content), length: content.len() as u32 }
}

/// What a cutter says next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It needs these bytes of the file: answer with [`Cutter::feed`].
    Read(Range<u64>),
    /// A chunk that was cut from bytes that were read.
    New(Bytes),
    /// A chunk of the older state; its bytes were not looked at.
    Kept(ChunkRef),
    /// That many bytes of a hole.
    Hole(u64),
}

/// Cuts one file, using what is known of an older state of it.
#[derive(Debug)]
pub struct Cutter {
    sizes: Sizes,
    /// The parts of the file, in order, without gaps.
    parts: std::vec::IntoIter<Part>,
    current: Option<Part>,
    /// Chunks of the older state by their first byte.
    old: HashMap<u64, OldChunk>,
    /// What changed since then, sorted.
    changed: Vec<Range<u64>>,
    /// Next byte to be cut.
    position: u64,
    /// Bytes from `position` on that were fed.
    window: BytesMut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    end: u64,
    hole: bool,
}

#[derive(Debug, Clone, Copy)]
struct OldChunk {
    chunk: ChunkRef,
    /// End of the run of data that it belonged to.
    run_end: u64,
}

impl Cutter {
    /// Cuts a file of `size` bytes with these holes (sorted, apart from each other), of which nothing is known.
    /// Holes count in whole units of [`HOLE_UNIT`]; what is left over at their edges is cut as zeros.
    pub fn new(size: u64, holes: &[Range<u64>]) -> Self {
        Cutter::with_sizes(Sizes::FORMAT, size, holes)
    }

    /// Like [`Cutter::new`] with other sizes.
    pub fn with_sizes(sizes: Sizes, size: u64, holes: &[Range<u64>]) -> Self {
        Cutter {
            sizes,
            parts: parts(size, holes).into_iter(),
            current: None,
            old: HashMap::new(),
            changed: Vec::new(),
            position: 0,
            window: BytesMut::new(),
        }
    }

    /// Tells the extents of an older state of the file and where its bytes may differ since (sorted; everything between
    /// the older and the present size counts as changed by itself).
    pub fn knowing(mut self, old: &[Extent], changed: &[Range<u64>]) -> Self {
        let mut run = Vec::new();
        let mut position = 0;
        for extent in old {
            match extent {
                Extent::Chunk(chunk) => run.push((position, *chunk)),
                Extent::Hole(_) => self.keep_run(&mut run, position),
            }
            position += extent.length();
        }
        self.keep_run(&mut run, position);
        self.changed = changed.to_vec();
        self
    }

    fn keep_run(&mut self, run: &mut Vec<(u64, ChunkRef)>, run_end: u64) {
        self.old.extend(run.drain(..).map(|(start, chunk)| (start, OldChunk { chunk, run_end })));
    }

    /// The next step; `None` at the end of the file.
    pub fn step(&mut self) -> Option<Step> {
        let part = match self.current {
            Some(part) if part.end > self.position => part,
            _ => {
                let part = self.parts.next()?;
                self.current = Some(part);
                part
            }
        };
        let rest = part.end - self.position;
        if part.hole {
            self.position = part.end;
            return Some(Step::Hole(rest));
        }
        if let Some(chunk) = self.unchanged(part.end) {
            self.advance(chunk.length as usize);
            return Some(Step::Kept(chunk));
        }
        let wanted = rest.min(self.sizes.max as u64) as usize;
        if self.window.len() < wanted {
            return Some(Step::Read(self.position + self.window.len() as u64..self.position + wanted as u64));
        }
        let length = first_cut(&self.window[..wanted], self.sizes);
        let chunk = self.window.split_to(length).freeze();
        self.position += length as u64;
        Some(Step::New(chunk))
    }

    /// Takes bytes from the start of the range that [`Step::Read`] asked for; fewer than asked for are fine.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.window.extend_from_slice(bytes);
    }

    fn advance(&mut self, length: usize) {
        self.window.advance(length.min(self.window.len()));
        self.position += length as u64;
    }

    /// The old chunk that starts here, if a cut from here must end where it ends.
    ///
    /// FastCDC looks at a chunk's bytes and at up to two behind it, and at the end of the run if that is nearer.
    fn unchanged(&self, run_end: u64) -> Option<ChunkRef> {
        let OldChunk { chunk, run_end: old_end } = *self.old.get(&self.position)?;
        let seen = self.position + u64::from(chunk.length) + 2;
        let same_run = run_end == old_end || seen <= run_end.min(old_end);
        let touched = {
            let next = self.changed.partition_point(|range| range.end <= self.position);
            self.changed[next..].iter().find(|range| !range.is_empty()).is_some_and(|range| range.start < seen)
        };
        (same_run && !touched).then_some(chunk)
    }

    /// Runs to the end, reading with `read` (offset, length) and handing each piece to `piece`.
    pub fn run(
        mut self,
        mut read: impl FnMut(u64, usize) -> Result<Bytes>,
        mut piece: impl FnMut(Step) -> Result<()>,
    ) -> Result<()> {
        while let Some(step) = self.step() {
            match step {
                Step::Read(range) => {
                    let bytes = read(range.start, (range.end - range.start) as usize)?;
                    self.feed(&bytes);
                }
                other => piece(other)?,
            }
        }
        Ok(())
    }
}

/// Data and holes of a file in order, holes trimmed to whole units.
fn parts(size: u64, holes: &[Range<u64>]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut position = 0;
    for hole in holes {
        let start = hole.start.next_multiple_of(HOLE_UNIT).max(position);
        let end = if hole.end >= size { size } else { hole.end / HOLE_UNIT * HOLE_UNIT };
        if start >= end {
            continue;
        }
        match parts.last_mut() {
            Some(last) if last.hole && start == position => last.end = end,
            _ => {
                if start > position {
                    parts.push(Part { end: start, hole: false });
                }
                parts.push(Part { end, hole: true });
            }
        }
        position = end;
    }
    if position < size {
        parts.push(Part { end: size, hole: false });
    }
    parts
}
