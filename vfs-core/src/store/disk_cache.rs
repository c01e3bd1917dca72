//! What was read from a remote bucket, kept on this machine's disk.
//!
//! One sparse file for each pack, `<data>/cache/<pack id>.pack`, with the stored bytes (encrypted where the repo is) at
//! the offsets that they have in the pack. Which of them are there is known from a map in memory, made anew at start
//! from the holes of the files. Nothing is ever synced and nothing here is trusted: whoever reads verifies each object,
//! and says [`DiskCache::forget`] where it is wrong. It is never an error that something is not here.
//!
//! * Bounded: room is reserved before anything is written; the packs used longest ago make room, whole. Names and open
//!   files are bounded too (a reader that still has the file of an evicted pack open keeps its room a moment longer).
//! * One engine has the folder (flock). Files are opened relative to the folder that was locked: if that is removed or
//!   replaced, nothing goes to whatever stands there now.
//! * A full disk or a folder that is gone ends the caching: what was kept is given back, reads go to the bucket.
//!
//! All functions block for as long as the disk takes: call them off the async threads.

mod extents;
mod files;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use self::extents::{Extents, room};
use self::files::Folder;
use crate::bucket::Counter;
use crate::error::Result;
use crate::id::PackId;
use crate::limits::{CACHE_FILES_OPEN_MAX, CACHE_PACKS_MAX};

/// The cache of one engine.
pub(crate) struct DiskCache {
    folder: Folder,
    limit_bytes: u64,
    state: Mutex<State>,
    pub(super) hits: Counter,
    pub(super) misses: Counter,
    pub(super) hit_bytes: Counter,
    pub(super) wrong: Counter,
}

#[derive(Default)]
struct State {
    packs: HashMap<PackId, Cached>,
    /// Least recently used first.
    by_use: BTreeMap<u64, PackId>,
    open: HashSet<PackId>,
    tick: u64,
    /// What all files take, and what is reserved for writes that go on.
    bytes: u64,
    stopped: bool,
}

/// What there is of one pack.
struct Cached {
    used: u64,
    /// When this file was made: tells it from a later one of the same pack.
    born: u64,
    valid: Extents,
    /// Wrong bytes are not valid any more, but still take room.
    written: Extents,
    reserved_bytes: u64,
    file: Option<Arc<File>>,
}

/// How the cache does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DiskCacheStatistics {
    /// Objects found here, and right.
    pub hits: u64,
    /// Objects that had to be fetched.
    pub misses: u64,
    /// Stored bytes of the objects found.
    pub hit_bytes: u64,
    /// Objects that were here with wrong bytes; they were fetched anew.
    pub wrong: u64,
    /// Room taken on the disk.
    pub bytes: u64,
    /// Room that may be taken.
    pub limit_bytes: u64,
    /// Packs of which something is here.
    pub packs: u64,
    /// The disk was full or the folder gone: nothing is kept any more.
    pub stopped: bool,
}

impl DiskCache {
    /// Opens the cache in a folder; made if need be. `Busy` if another engine has it.
    pub(crate) fn open(folder: &Path, limit_bytes: u64) -> Result<DiskCache> {
        let folder = Folder::open(folder)?;
        let cache = DiskCache {
            limit_bytes,
            state: Mutex::default(),
            hits: Counter::default(),
            misses: Counter::default(),
            hit_bytes: Counter::default(),
            wrong: Counter::default(),
            folder,
        };
        for (pack, ranges) in cache.folder.kept()? {
            let mut state = cache.state.lock();
            state.know(pack);
            ranges.into_iter().for_each(|range| state.add(pack, range));
            cache.make_room(&mut state, 0, pack);
        }
        Ok(cache)
    }

    /// What is here of a pack, if all of the range is. Not verified.
    pub(crate) fn read(&self, pack: PackId, range: Range<u64>) -> Option<Bytes> {
        let file = {
            let mut state = self.state.lock();
            if !state.packs.get(&pack)?.valid.hold(&range) {
                return None;
            }
            state.touch(pack);
            self.file(&mut state, pack)
        };
        let read = file.and_then(|file| {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.read_exact_at(&mut bytes, range.start)?;
            Ok(bytes)
        });
        match read {
            Ok(bytes) => Some(bytes.into()),
            // Cut off or removed under our hands: as if it had never been here.
            Err(_) => {
                self.evict(&mut self.state.lock(), pack);
                None
            }
        }
    }

    /// Whether all of a range is here.
    pub(crate) fn holds(&self, pack: PackId, range: &Range<u64>) -> bool {
        self.state.lock().packs.get(&pack).is_some_and(|cached| cached.valid.hold(range))
    }

    /// Keeps bytes of a pack, if there is room to be made.
    pub(crate) fn write(&self, pack: PackId, start: u64, bytes: &[u8]) {
        let range = start..start + bytes.len() as u64;
        let reserved = room(&range);
        let (file, born) = {
            let mut state = self.state.lock();
            if state.stopped || bytes.is_empty() || reserved > self.limit_bytes || holds(&state, pack, &range) {
                return;
            }
            state.know(pack);
            if !self.make_room(&mut state, reserved, pack) {
                return;
            }
            match self.file(&mut state, pack) {
                Ok(file) => {
                    let born = state.reserve(pack, reserved);
                    (file, born)
                }
                Err(error) => return self.give_up(&mut state, pack, &error),
            }
        };
        let written = file.write_all_at(bytes, start);
        let mut state = self.state.lock();
        // Evicted meanwhile: its room is given back already.
        if state.packs.get(&pack).is_none_or(|cached| cached.born != born) {
            return;
        }
        state.release(pack, reserved);
        match written {
            Ok(()) => {
                state.add(pack, range);
                self.make_room(&mut state, 0, pack);
            }
            Err(error) => self.give_up(&mut state, pack, &error),
        }
    }

    /// These bytes are not what they should be: they are not here any more.
    pub(crate) fn forget(&self, pack: PackId, range: &Range<u64>) {
        if let Some(cached) = self.state.lock().packs.get_mut(&pack) {
            cached.valid.remove(range);
        }
    }

    pub(crate) fn statistics(&self) -> DiskCacheStatistics {
        let state = self.state.lock();
        DiskCacheStatistics {
            hits: self.hits.get(),
            misses: self.misses.get(),
            hit_bytes: self.hit_bytes.get(),
            wrong: self.wrong.get(),
            bytes: state.bytes,
            limit_bytes: self.limit_bytes,
            packs: state.packs.len() as u64,
            stopped: state.stopped,
        }
    }

    /// The file of a pack; the one used longest ago is closed for it.
    fn file(&self, state: &mut State, pack: PackId) -> std::io::Result<Arc<File>> {
        if let Some(file) = state.packs.get(&pack).and_then(|cached| cached.file.clone()) {
            return Ok(file);
        }
        if state.open.len() >= CACHE_FILES_OPEN_MAX {
            let used = |pack: &PackId| state.packs.get(pack).map(|cached| cached.used);
            if let Some(oldest) = state.open.iter().copied().min_by_key(used) {
                state.close(oldest);
            }
        }
        let file = Arc::new(self.folder.file(pack)?);
        if let Some(cached) = state.packs.get_mut(&pack) {
            cached.file = Some(file.clone());
            state.open.insert(pack);
        }
        Ok(file)
    }

    /// Evicts what was used longest ago until there is room for so many bytes more, but not `keep` unless nothing else
    /// is left. False if writes that go on have reserved it all.
    fn make_room(&self, state: &mut State, bytes: u64, keep: PackId) -> bool {
        while state.bytes + bytes > self.limit_bytes || state.packs.len() > CACHE_PACKS_MAX {
            let oldest = state.by_use.values().copied().find(|pack| *pack != keep);
            match oldest {
                Some(oldest) => self.evict(state, oldest),
                None if state.packs.get(&keep).is_some_and(|cached| cached.written.room_bytes() > 0) => {
                    self.evict(state, keep);
                    state.know(keep);
                }
                None => return false,
            }
        }
        true
    }

    fn evict(&self, state: &mut State, pack: PackId) {
        state.close(pack);
        let Some(cached) = state.packs.remove(&pack) else { return };
        state.by_use.remove(&cached.used);
        state.bytes -= cached.written.room_bytes() + cached.reserved_bytes;
        self.folder.remove(pack);
    }

    /// Out of descriptors is a bad moment; anything else is a bad disk.
    fn give_up(&self, state: &mut State, pack: PackId, error: &std::io::Error) {
        let too_many = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].map(rustix::io::Errno::raw_os_error);
        if error.raw_os_error().is_some_and(|code| too_many.contains(&code)) {
            return self.evict(state, pack);
        }
        if !state.stopped {
            tracing::warn!(folder = %self.folder.path().display(), %error, "nothing is cached on disk any more");
        }
        state.stopped = true;
        // Others may need the room more.
        let all: Vec<PackId> = state.packs.keys().copied().collect();
        all.into_iter().for_each(|pack| self.evict(state, pack));
    }

    #[cfg(test)]
    fn open_files(&self) -> usize {
        self.state.lock().open.len()
    }
}

fn holds(state: &State, pack: PackId, range: &Range<u64>) -> bool {
    state.packs.get(&pack).is_some_and(|cached| cached.valid.hold(range))
}

impl State {
    /// Sees to it that a pack has an entry, and that it is the one used last.
    fn know(&mut self, pack: PackId) {
        if !self.packs.contains_key(&pack) {
            self.tick += 1;
            let (used, born) = (self.tick, self.tick);
            let (valid, written) = (Extents::default(), Extents::default());
            self.packs.insert(pack, Cached { used, born, valid, written, reserved_bytes: 0, file: None });
            self.by_use.insert(used, pack);
        }
        self.touch(pack);
    }

    fn touch(&mut self, pack: PackId) {
        let Some(cached) = self.packs.get_mut(&pack) else { return };
        self.tick += 1;
        self.by_use.remove(&cached.used);
        cached.used = self.tick;
        self.by_use.insert(self.tick, pack);
    }

    fn add(&mut self, pack: PackId, range: Range<u64>) {
        let Some(cached) = self.packs.get_mut(&pack) else { return };
        let before = cached.written.room_bytes();
        cached.valid.add(range.clone());
        cached.written.add(range);
        self.bytes = self.bytes - before + cached.written.room_bytes();
    }

    /// Returns when the file was made.
    fn reserve(&mut self, pack: PackId, bytes: u64) -> u64 {
        self.bytes += bytes;
        self.packs.get_mut(&pack).map_or(0, |cached| {
            cached.reserved_bytes += bytes;
            cached.born
        })
    }

    fn release(&mut self, pack: PackId, bytes: u64) {
        self.bytes -= bytes;
        if let Some(cached) = self.packs.get_mut(&pack) {
            cached.reserved_bytes -= bytes;
        }
    }

    fn close(&mut self, pack: PackId) {
        if self.open.remove(&pack)
            && let Some(cached) = self.packs.get_mut(&pack)
        {
            cached.file = None;
        }
    }
}
