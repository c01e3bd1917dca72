//! The folder of the disk cache and the sparse files in it.

use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, SeekFrom, flock, openat, seek, unlinkat};
use rustix::io::Errno;

use crate::bucket::make_private_folder;
use crate::error::{Error, Kind, Result};
use crate::id::PackId;

const LOCK: &str = "lock";

/// The locked folder. Everything is opened relative to it.
pub(super) struct Folder {
    path: PathBuf,
    folder: OwnedFd,
    _lock: File,
}

impl Folder {
    /// Makes and locks a folder.
    pub(super) fn open(path: &Path) -> Result<Folder> {
        make_private_folder(path)?;
        let failed =
            |error: Errno| Error::io(format!("the cache folder {} cannot be used", path.display()), error.into());
        let folder = rustix::fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let lock = openat(&folder, LOCK, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Folder { path: path.to_owned(), folder, _lock: lock.into() }),
            Err(Errno::WOULDBLOCK) => {
                let message = format!("the cache folder {} is in use by another engine", path.display());
                Err(Error::new(Kind::Busy, message))
            }
            Err(error) => Err(failed(error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file of a pack; made if need be.
    pub(super) fn file(&self, pack: PackId) -> std::io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = File::from(openat(&self.folder, name(pack), flags, Mode::RUSR | Mode::WUSR)?);
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("something else stands where a cached pack should be"));
        }
        Ok(file)
    }

    /// Removes the file of a pack, if there is one.
    pub(super) fn remove(&self, pack: PackId) {
        let _ = unlinkat(&self.folder, name(pack), AtFlags::empty());
    }

    /// What an earlier engine kept: each pack with the parts of its file that are no holes, longest unused first. What
    /// cannot be read is removed.
    pub(super) fn kept(&self) -> Result<Vec<(PackId, Vec<Range<u64>>)>> {
        let failed = |error| Error::io(format!("the cache folder {} could not be read", self.path.display()), error);
        let mut kept = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Some(pack) = pack_of(&entry.file_name().to_string_lossy()) else { continue };
            match self.parts(pack) {
                Ok((used, parts)) => kept.push((used, pack, parts)),
                Err(_) => self.remove(pack),
            }
        }
        kept.sort_unstable_by_key(|(used, pack, _)| (*used, *pack));
        Ok(kept.into_iter().map(|(_, pack, parts)| (pack, parts)).collect())
    }

    fn parts(&self, pack: PackId) -> std::io::Result<(SystemTime, Vec<Range<u64>>)> {
        let file = self.file(pack)?;
        let (metadata, mut parts, mut at) = (file.metadata()?, Vec::new(), 0);
        while at < metadata.size() {
            let start = match seek(&file, SeekFrom::Data(at)) {
                Ok(start) => start,
                // The rest is one hole.
                Err(Errno::NXIO) => break,
                Err(error) => return Err(error.into()),
            };
            at = seek(&file, SeekFrom::Hole(start))?;
            parts.push(start..at);
        }
        Ok((metadata.modified()?, parts))
    }
}

fn name(pack: PackId) -> String {
    format!("{}.pack", pack.to_hex())
}

fn pack_of(name: &str) -> Option<PackId> {
    name.strip_suffix(".pack")?.parse().ok()
}
