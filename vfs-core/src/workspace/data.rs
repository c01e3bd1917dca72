//! Operations on content: read, write, allocate, seek.

use bytes::{Bytes, BytesMut};

use super::Workspace;
use super::answer::{Allocate, Answer, Miss, Seek, Stop};
use super::attributes::without_privileges;
use super::cache::CachedBase;
use super::extents::Source;
use super::inode::{FileBody, Inode, InodeBody};
use super::journal::JournalReader;
use super::record::Record;
use super::state::State;
use crate::error::{Error, Kind, Result};
use crate::limits::{FILE_SIZE_MAX, PREFETCH_BYTES, PREFETCH_CHUNKS};
use crate::object::{Blob, Body, ChunkRef, Content, Extent, Ino, Target, TreeNode};

/// One run of content, ready to be copied without the workspace's lock.
enum Run {
    Journal { position: u64, length: usize },
    Zeros(usize),
    Bytes(Bytes),
}

impl Workspace {
    /// Content; shorter than `size` only at the end of the file.
    pub fn read(&self, ino: Ino, offset: u64, size: usize) -> Answer<Bytes> {
        let (runs, reader) = {
            let state = self.state.lock();
            let inode = state.inode(ino)?;
            let file = file_of(inode)?;
            let length = file.size.saturating_sub(offset).min(size as u64);
            let runs = match state.runs(file, offset, length) {
                Err(Stop::Miss(Miss::Chunks(missing))) => {
                    return Err(Stop::Miss(Miss::Chunks(state.with_neighbours(inode, missing))));
                }
                other => other?,
            };
            let journalled = runs.iter().any(|run| matches!(run, Run::Journal { .. }));
            (runs, journalled.then(|| state.journal.as_ref().map(|journal| journal.reader())).flatten())
        };
        Ok(assemble(runs, reader)?)
    }

    /// Writes content; clears setuid and setgid if asked.
    pub fn write(&self, ino: Ino, offset: u64, data: &[u8], kill_privileges: bool) -> Answer<()> {
        let mut state = self.state.lock();
        state.check_writable()?;
        let inode = state.inode(ino)?;
        file_of(inode)?;
        check_range(offset, data.len() as u64)?;
        if data.is_empty() {
            return Ok(());
        }
        let mode = if kill_privileges { without_privileges(inode.mode) } else { None };
        let length = data.len() as u64;
        state.check_size(ino, file_of(inode)?.size.max(offset + length))?;
        state.adopt(ino)?;
        state.change(&Record::Write { ino, offset, mode, time: self.clock.now(), length }, data)?;
        self.note_change();
        Ok(())
    }

    /// Reserves, punches or zeroes.
    pub fn allocate(&self, ino: Ino, offset: u64, length: u64, how: Allocate) -> Answer<()> {
        let mut state = self.state.lock();
        state.check_writable()?;
        let inode = state.inode(ino)?;
        let size = file_of(inode)?.size;
        if length == 0 {
            return Err(Error::new(Kind::Invalid, "a range of no bytes cannot be allocated").into());
        }
        check_range(offset, length)?;
        let (end, time) = (offset + length, self.clock.now());
        let mode = without_privileges(inode.mode);
        let grown = |keep_size: bool| if keep_size { size } else { size.max(end) };
        let (zeros, new_size) = match how {
            Allocate::Reserve { keep_size } => (0, grown(keep_size)),
            Allocate::PunchHole => (end.min(size).saturating_sub(offset), size),
            Allocate::ZeroRange { keep_size } => (end.min(grown(keep_size)).saturating_sub(offset), grown(keep_size)),
        };
        // A hole beyond the end changes nothing; a reservation that changes nothing still moves the times, as on ext4.
        if zeros == 0 && how == Allocate::PunchHole {
            return Ok(());
        }
        state.check_size(ino, new_size)?;
        state.adopt(ino)?;
        let record = Record::Zero { ino, offset, length: zeros, size: new_size, mode, time };
        state.change(&record, &[])?;
        self.note_change();
        Ok(())
    }

    /// Finds data or a hole from `offset` on. `NotFound` (ENXIO for a mount) where there is none.
    pub fn seek(&self, ino: Ino, offset: u64, what: Seek) -> Answer<u64> {
        let state = self.state.lock();
        let file = file_of(state.inode(ino)?)?;
        if offset >= file.size {
            return Err(Error::new(Kind::NotFound, "the offset is beyond the end of the file").into());
        }
        let mut at = offset;
        for (length, hole) in state.holes(file, offset)? {
            if hole == (what == Seek::Hole) {
                return Ok(at);
            }
            at += length;
        }
        match what {
            Seek::Hole => Ok(file.size),
            Seek::Data => Err(Error::new(Kind::NotFound, "there is no more data").into()),
        }
    }
}

fn file_of(inode: &Inode) -> Result<&FileBody> {
    match &inode.body {
        InodeBody::File(file) => Ok(file),
        InodeBody::Directory(_) => Err(Error::new(Kind::IsADirectory, "a directory has no content")),
        _ => Err(Error::new(Kind::Invalid, "only a file has content")),
    }
}

fn check_range(offset: u64, length: u64) -> Result<()> {
    match offset.checked_add(length) {
        Some(end) if end <= FILE_SIZE_MAX => Ok(()),
        _ => Err(Error::new(Kind::TooLarge, "the file would be too large")),
    }
}

fn assemble(mut runs: Vec<Run>, reader: Option<JournalReader>) -> Result<Bytes> {
    if let [Run::Bytes(_)] = &runs[..]
        && let Some(Run::Bytes(bytes)) = runs.pop()
    {
        return Ok(bytes);
    }
    let total = runs.iter().map(Run::length).sum();
    let mut content = BytesMut::zeroed(total);
    let mut at = 0;
    for run in runs {
        let target = &mut content[at..at + run.length()];
        at += target.len();
        match run {
            Run::Zeros(_) => {}
            Run::Bytes(bytes) => target.copy_from_slice(&bytes),
            Run::Journal { position, .. } => {
                let reader = reader.as_ref().ok_or_else(|| Error::new(Kind::Internal, "no journal to read from"))?;
                reader.read_at(position, target)?;
            }
        }
    }
    Ok(content.freeze())
}

impl Run {
    fn length(&self) -> usize {
        match self {
            Run::Journal { length, .. } | Run::Zeros(length) => *length,
            Run::Bytes(bytes) => bytes.len(),
        }
    }
}

/// The extents of base content from `offset` on, within `length` bytes: chunk or hole, start inside it, bytes of it.
pub(super) fn overlapping(blob: &Blob, offset: u64, length: u64) -> Vec<(Extent, u64, u64)> {
    let end = offset + length;
    let mut found = Vec::new();
    let mut start = 0;
    for extent in blob.extents() {
        let next = start + extent.length();
        if next > offset && start < end {
            let from = offset.max(start);
            found.push((*extent, from - start, next.min(end) - from));
        }
        start = next;
        if start >= end {
            break;
        }
    }
    found
}

impl State {
    fn runs(&self, file: &FileBody, offset: u64, length: u64) -> Answer<Vec<Run>> {
        let mut runs = Vec::new();
        let mut missing = Vec::new();
        let mut at = offset;
        for (length, source) in file.overlay.plan(offset, length, file.base_limit) {
            match source {
                Source::Hole => runs.push(Run::Zeros(length as usize)),
                Source::Journal(position) => runs.push(Run::Journal { position, length: length as usize }),
                Source::Base(_) => base_runs(&self.cache, &file.base, at, length, &mut runs, &mut missing)?,
            }
            at += length;
        }
        if missing.is_empty() { Ok(runs) } else { Err(Stop::Miss(Miss::Chunks(missing))) }
    }

    /// Runs from `offset` to the end of the file: length and whether it is a hole.
    fn holes(&self, file: &FileBody, offset: u64) -> Answer<Vec<(u64, bool)>> {
        let mut runs = Vec::new();
        let mut at = offset;
        for (length, source) in file.overlay.plan(offset, file.size - offset, file.base_limit) {
            match (source, &file.base) {
                (Source::Hole, _) => runs.push((length, true)),
                (Source::Base(_), Content::Blob { id, .. }) => {
                    for (extent, _, length) in overlapping(&*self.cache.blob(*id)?, at, length) {
                        runs.push((length, matches!(extent, Extent::Hole(_))));
                    }
                }
                _ => runs.push((length, false)),
            }
            at += length;
        }
        Ok(runs)
    }

    /// Adds small files that follow in the directory: whoever reads one file of a directory reads the next, too.
    fn with_neighbours(&self, inode: &Inode, mut missing: Vec<ChunkRef>) -> Vec<ChunkRef> {
        let Some((parent, name)) = &inode.parent else { return missing };
        let Some(base) = self.inodes.get(parent).and_then(|parent| parent.directory()).and_then(|body| body.base)
        else {
            return missing;
        };
        let Ok(Some(leaf)) = self.cache.leaf(base, name.as_bytes()) else { return missing };
        let TreeNode::Leaf(entries) = &*leaf else { return missing };
        let mut bytes: u64 = missing.iter().map(|chunk| u64::from(chunk.length)).sum();
        for entry in entries.iter().filter(|entry| entry.name > *name) {
            let Target::Node(node) = &entry.target else { continue };
            let Body::File(Content::Chunk(chunk)) = &node.body else { continue };
            bytes += u64::from(chunk.length);
            if bytes > PREFETCH_BYTES || missing.len() >= PREFETCH_CHUNKS {
                break;
            }
            if self.cache.chunk(chunk).is_none() && !missing.contains(chunk) {
                missing.push(*chunk);
            }
        }
        missing
    }
}

fn base_runs(
    cache: &CachedBase,
    base: &Content,
    offset: u64,
    length: u64,
    runs: &mut Vec<Run>,
    missing: &mut Vec<ChunkRef>,
) -> Answer<()> {
    let chunk_run = |chunk: &ChunkRef, from: u64, length: u64| match cache.chunk(chunk) {
        Some(bytes) => Ok(Run::Bytes(bytes.slice(from as usize..(from + length) as usize))),
        None => Err(*chunk),
    };
    let found = match base {
        Content::Inline(bytes) => vec![Ok(Run::Bytes(bytes.slice(offset as usize..(offset + length) as usize)))],
        Content::Chunk(chunk) => vec![chunk_run(chunk, offset, length)],
        Content::Blob { id, .. } => overlapping(&*cache.blob(*id)?, offset, length)
            .into_iter()
            .map(|(extent, from, length)| match extent {
                Extent::Chunk(chunk) => chunk_run(&chunk, from, length),
                Extent::Hole(_) => Ok(Run::Zeros(length as usize)),
            })
            .collect(),
    };
    for run in found {
        match run {
            Ok(run) => runs.push(run),
            Err(chunk) => missing.push(chunk),
        }
    }
    Ok(())
}
