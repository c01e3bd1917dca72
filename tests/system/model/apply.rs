//! One side: does operations on a folder by plain system calls.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    self as sys, AtFlags, CWD, FallocateFlags, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid,
    XattrFlags,
};
use rustix::io::{Errno, pread, pwrite};

use super::operation::{Flag, How, Only, Operation, Outcome, SET_TIME_END, SLOTS, Stat, Value};

/// A folder and the files held open in it.
pub(crate) struct Side {
    /// The folder.
    pub(crate) root: PathBuf,
    slots: Vec<Option<OwnedFd>>,
}

type Answer = Result<Value, Errno>;

impl Side {
    /// A folder without open files.
    pub(crate) fn new(root: &Path) -> Side {
        Side { root: root.to_owned(), slots: (0..SLOTS).map(|_| None).collect() }
    }

    /// Closes all files.
    pub(crate) fn close_all(&mut self) {
        self.slots.iter_mut().for_each(|slot| *slot = None);
    }

    /// Does one operation.
    pub(crate) fn apply(&mut self, operation: &Operation) -> Outcome {
        let answer = match operation {
            Operation::Open { path, slot, append, truncate } => self.open_slot(path, *slot, *append, *truncate),
            Operation::Close { slot } => {
                self.slots[*slot] = None;
                Ok(Value::Nothing)
            }
            Operation::SlotWrite { slot, .. }
            | Operation::SlotRead { slot, .. }
            | Operation::SlotTruncate { slot, .. }
            | Operation::SlotStat { slot }
            | Operation::SlotSync { slot, .. }
            | Operation::SlotAllocate { slot, .. } => match &self.slots[*slot] {
                None => return Outcome::NoSlot,
                Some(file) => on_file(file, operation),
            },
            Operation::Create { .. }
            | Operation::Write { .. }
            | Operation::Append { .. }
            | Operation::Read { .. }
            | Operation::Truncate { .. } => self.content(operation),
            _ => self.names(operation).unwrap_or_else(|| self.attributes(operation)),
        };
        match answer {
            Ok(value) => Outcome::Done(value),
            Err(errno) => Outcome::Failed(errno.raw_os_error()),
        }
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }

    fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        // Without NONBLOCK, opening a FIFO would wait for its other end.
        sys::open(self.at(path), flags | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::from_raw_mode(0o644))
    }

    fn open_slot(&mut self, path: &Path, slot: usize, append: bool, truncate: bool) -> Answer {
        let mut flags = OFlags::RDWR | OFlags::CREATE;
        flags.set(OFlags::APPEND, append);
        flags.set(OFlags::TRUNC, truncate);
        let file = self.open(path, flags)?;
        if !FileType::from_raw_mode(sys::fstat(&file)?.st_mode).is_file() {
            return Ok(Value::Nothing);
        }
        self.slots[slot] = Some(file);
        Ok(Value::Nothing)
    }

    fn content(&self, operation: &Operation) -> Answer {
        match operation {
            Operation::Create { path, mode, exclusive } => {
                let mut flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NONBLOCK;
                flags.set(OFlags::EXCL, *exclusive);
                sys::open(self.at(path), flags, Mode::from_raw_mode(*mode)).map(|_| Value::Nothing)
            }
            Operation::Write { path, offset, length, fill } => {
                let file = self.open(path, OFlags::WRONLY)?;
                pwrite(&file, &content(*fill, *length), *offset).map(Value::Count)
            }
            Operation::Append { path, length, fill } => {
                let file = self.open(path, OFlags::WRONLY | OFlags::APPEND)?;
                rustix::io::write(&file, &content(*fill, *length)).map(Value::Count)
            }
            Operation::Read { path, offset, length } => read(&self.open(path, OFlags::RDONLY)?, *offset, *length),
            Operation::Truncate { path, length } => {
                let file = self.open(path, OFlags::WRONLY)?;
                sys::ftruncate(&file, *length).map(|()| Value::Nothing)
            }
            _ => unreachable!("only operations on content come here"),
        }
    }

    /// Operations on names; `None` for all others.
    fn names(&self, operation: &Operation) -> Option<Answer> {
        let answer = match operation {
            Operation::Mkdir { path, mode } => sys::mkdir(self.at(path), Mode::from_raw_mode(*mode)),
            Operation::Rmdir { path } => sys::rmdir(self.at(path)),
            Operation::Unlink { path } => sys::unlink(self.at(path)),
            Operation::Rename { from, to, flag } => {
                let flags = match flag {
                    Flag::None => RenameFlags::empty(),
                    Flag::NoReplace => RenameFlags::NOREPLACE,
                    Flag::Exchange => RenameFlags::EXCHANGE,
                };
                sys::renameat_with(CWD, self.at(from), CWD, self.at(to), flags)
            }
            Operation::Link { from, to } => sys::linkat(CWD, self.at(from), CWD, self.at(to), AtFlags::empty()),
            Operation::Symlink { target, path } => sys::symlink(target, self.at(path)),
            Operation::Mkfifo { path, mode } => {
                sys::mknodat(CWD, self.at(path), FileType::Fifo, Mode::from_raw_mode(*mode), 0)
            }
            Operation::Readlink { path } => {
                return Some(sys::readlink(self.at(path), Vec::new()).map(|target| Value::Bytes(target.into_bytes())));
            }
            Operation::List { path } => return Some(self.list(path)),
            Operation::SyncFolder { path } => self.open(path, OFlags::RDONLY).and_then(sys::fsync),
            _ => return None,
        };
        Some(answer.map(|()| Value::Nothing))
    }

    fn list(&self, path: &Path) -> Answer {
        let folder = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = std::collections::BTreeSet::new();
        for entry in sys::Dir::read_from(&folder)? {
            let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
            // A name listed twice would go unseen in a set.
            if !names.insert(name) {
                return Err(Errno::NOTUNIQ);
            }
        }
        Ok(Value::Names(names))
    }

    fn attributes(&self, operation: &Operation) -> Answer {
        match operation {
            Operation::Chmod { path, mode } => sys::chmod(self.at(path), Mode::from_raw_mode(*mode))?,
            Operation::Chown { path, uid, gid } => {
                let (uid, gid) = (Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)));
                sys::chownat(CWD, self.at(path), uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Operation::SetTimes { path, seconds, nanos } => {
                let time = Timespec { tv_sec: *seconds, tv_nsec: *nanos as _ };
                let times = Timestamps { last_access: time, last_modification: time };
                sys::utimensat(CWD, self.at(path), &times, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Operation::SetXattr { path, name, length, only } => {
                let flags = match only {
                    Only::Any => XattrFlags::empty(),
                    Only::New => XattrFlags::CREATE,
                    Only::Existing => XattrFlags::REPLACE,
                };
                sys::lsetxattr(self.at(path), *name, &content(*length as u8, *length), flags)?;
            }
            Operation::RemoveXattr { path, name } => sys::lremovexattr(self.at(path), *name)?,
            Operation::GetXattr { path, name } => {
                let mut value = vec![0; 4096];
                let length = sys::lgetxattr(self.at(path), *name, &mut value)?;
                value.truncate(length);
                return Ok(Value::Bytes(value));
            }
            Operation::ListXattr { path } => return xattr_names(&self.at(path)).map(Value::Names),
            Operation::Stat { path, follow } => {
                let stat = if *follow { sys::stat(self.at(path)) } else { sys::lstat(self.at(path)) };
                return stat.map(|stat| Value::Stat(comparable(&stat)));
            }
            other => unreachable!("{other:?} is handled elsewhere"),
        }
        Ok(Value::Nothing)
    }
}

fn on_file(file: &OwnedFd, operation: &Operation) -> Answer {
    match operation {
        Operation::SlotWrite { offset, length, fill, .. } => {
            pwrite(file, &content(*fill, *length), *offset).map(Value::Count)
        }
        Operation::SlotRead { offset, length, .. } => read(file, *offset, *length),
        Operation::SlotTruncate { length, .. } => sys::ftruncate(file, *length).map(|()| Value::Nothing),
        Operation::SlotStat { .. } => sys::fstat(file).map(|stat| Value::Stat(comparable(&stat))),
        Operation::SlotSync { data_only: true, .. } => sys::fdatasync(file).map(|()| Value::Nothing),
        Operation::SlotSync { data_only: false, .. } => sys::fsync(file).map(|()| Value::Nothing),
        Operation::SlotAllocate { how, offset, length, .. } => {
            let flags = match how {
                How::Reserve => FallocateFlags::empty(),
                How::ReserveKeepSize => FallocateFlags::KEEP_SIZE,
                How::Punch => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                How::Zero => FallocateFlags::ZERO_RANGE,
            };
            sys::fallocate(file, flags, *offset, *length).map(|()| Value::Nothing)
        }
        _ => unreachable!("only operations on open files come here"),
    }
}

fn read(file: &OwnedFd, offset: u64, length: usize) -> Answer {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match pread(file, &mut bytes[filled..], offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(Value::Bytes(bytes))
}

/// Bytes that differ from place to place, so that a shifted or swapped block shows.
fn content(fill: u8, length: usize) -> Vec<u8> {
    (0..length).map(|index| fill.wrapping_add((index / 7) as u8).wrapping_mul(31) ^ (index >> 8) as u8).collect()
}

/// The names of a file's attributes that belong to users.
pub(crate) fn xattr_names(path: &Path) -> Result<std::collections::BTreeSet<OsString>, Errno> {
    let mut names = vec![0; 64 * 1024];
    let length = sys::llistxattr(path, &mut names)?;
    names.truncate(length);
    Ok(names
        .split(|&byte| byte == 0)
        .filter(|name| name.starts_with(b"user."))
        .map(|name| OsString::from_vec(name.to_vec()))
        .collect())
}

/// The part of the attributes on which two filesystems must agree.
pub(crate) fn comparable(stat: &sys::Stat) -> Stat {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let seconds = stat.st_mtime;
    // Truncating as root keeps setuid and setgid on ext4 and clears them here (docs/semantics.md).
    let incomparable = if kind.is_file() { 0o6000 } else { 0 };
    Stat {
        mode: stat.st_mode & !incomparable,
        links: stat.st_nlink,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: if kind.is_dir() { 0 } else { stat.st_size as u64 },
        mtime: (seconds < SET_TIME_END).then_some((seconds, stat.st_mtime_nsec as i64)),
    }
}
