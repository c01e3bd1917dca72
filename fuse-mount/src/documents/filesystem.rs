//! One request of the kernel → one operation on documents → one reply.
//!
//! * `open`, `flush` and `release` are answered for real: a close is when a document is stored, and what it answers is
//!   what the caller hears. `O_TRUNC` comes with the open (`FUSE_ATOMIC_O_TRUNC`), so it is part of the same write.
//! * Nothing is cached by the kernel: `FOPEN_DIRECT_IO`, and no time to live for names and attributes, because others
//!   change the same documents. Absent names likewise.
//! * Reads and writes of an open document are answered from memory at once, everything else by a task.
//! * Extended attributes: ENOSYS, which the kernel takes for "this file system has none" and does not ask again.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::OFlags;

use super::core::Core;
use super::names::{ROOT, child};
use crate::counters::Operation as Op;
use crate::limits::{BACKGROUND_MAX, DOCUMENTS_FREE_BYTES, REQUEST_MAX};
use crate::translate as to;

/// Nothing may be believed for longer than it takes to ask.
const TTL: Duration = Duration::ZERO;
/// Numbers are not used twice.
const GENERATION: Generation = Generation(0);

/// What fuser calls for each request.
pub(super) struct Translator {
    core: Arc<Core>,
}

impl Translator {
    pub(super) fn new(core: Arc<Core>) -> Translator {
        Translator { core }
    }

    /// The path of a name, or why there can be none.
    fn path(&self, parent: INodeNo, name: &OsStr) -> Result<String, Errno> {
        child(&self.core.state.lock().directory(parent.0)?, name)
    }

    /// Runs an operation that only succeeds or fails.
    fn change(&self, reply: ReplyEmpty, work: impl Future<Output = Result<(), Errno>> + Send + 'static) {
        self.core.answer(work, move |done| done_or_not(reply, done));
    }
}

fn done_or_not(reply: ReplyEmpty, done: Result<(), Errno>) {
    match done {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

fn entry_or_not(reply: ReplyEntry, found: Result<FileAttr, Errno>) {
    match found {
        Ok(attributes) => reply.entry(&TTL, &attributes, GENERATION),
        Err(errno) => reply.error(errno),
    }
}

fn attributes_or_not(reply: ReplyAttr, found: Result<FileAttr, Errno>) {
    match found {
        Ok(attributes) => reply.attr(&TTL, &attributes),
        Err(errno) => reply.error(errno),
    }
}

fn flags_of(flags: i32) -> OFlags {
    OFlags::from_bits_retain(flags.cast_unsigned())
}

impl Filesystem for Translator {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let refused = || io::Error::from_raw_os_error(Errno::EINVAL.code());
        config.add_capabilities(InitFlags::FUSE_ATOMIC_O_TRUNC).map_err(|_| refused())?;
        config.set_max_write(REQUEST_MAX).map_err(|_| refused())?;
        config.set_max_background(BACKGROUND_MAX).map_err(|_| refused())?;
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.core.counters.count(Op::Lookup);
        let (core, name) = (self.core.clone(), name.to_owned());
        self.core.answer(async move { core.lookup(parent.0, &name).await }, |found| entry_or_not(reply, found));
    }

    fn forget(&self, _: &Request, node: INodeNo, count: u64) {
        self.core.counters.count(Op::Forget);
        self.core.state.lock().names.forget(node.0, count);
    }

    fn getattr(&self, _: &Request, node: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        self.core.counters.count(Op::Getattr);
        if let Some(handle) = handle {
            return attributes_or_not(reply, self.core.attributes_of(handle.0));
        }
        if node.0 == ROOT {
            // Also when the store is away: this is how a living mount is told from a dead one.
            return reply.attr(&TTL, &self.core.attributes(ROOT, &super::core::Entry::Directory));
        }
        let core = self.core.clone();
        self.core.answer(async move { core.getattr(node.0).await }, |found| attributes_or_not(reply, found));
    }

    /// Sizes are changed; modes, owners and times are the store's, and a wish for others is heard without effect.
    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.core.counters.count(Op::Setattr);
        if let Some(handle) = handle {
            let resized = self.core.opened(handle.0).and_then(|open| match size {
                Some(_) if !open.can_write => Err(Errno::EBADF),
                Some(size) => open.buffer.lock().resize(size, self.core.now()),
                None => Ok(()),
            });
            return attributes_or_not(reply, resized.and_then(|()| self.core.attributes_of(handle.0)));
        }
        let core = self.core.clone();
        let work = async move {
            if let Some(size) = size {
                core.truncate(node.0, size).await?;
            }
            core.getattr(node.0).await
        };
        self.core.answer(work, |found| attributes_or_not(reply, found));
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: u32, reply: ReplyEntry) {
        self.core.counters.count(Op::Mknod);
        reply.error(Errno::EPERM);
    }

    fn symlink(&self, _: &Request, _: INodeNo, _: &OsStr, _: &Path, reply: ReplyEntry) {
        self.core.counters.count(Op::Symlink);
        reply.error(Errno::EPERM);
    }

    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        self.core.counters.count(Op::Link);
        reply.error(Errno::EPERM);
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        self.core.counters.count(Op::Mkdir);
        let (core, path) = (self.core.clone(), self.path(parent, name));
        self.core.answer(async move { core.make_directory(path?).await }, |made| entry_or_not(reply, made));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.core.counters.count(Op::Unlink);
        let (core, path) = (self.core.clone(), self.path(parent, name));
        self.change(reply, async move { core.unlink(path?).await });
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.core.counters.count(Op::Rmdir);
        let (core, path) = (self.core.clone(), self.path(parent, name));
        self.change(reply, async move { core.remove_directory(path?).await });
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.core.counters.count(Op::Rename);
        let replaces = match flags {
            none if none.is_empty() => true,
            RenameFlags::RENAME_NOREPLACE => false,
            _ => return reply.error(Errno::EINVAL),
        };
        let (core, from, to) = (self.core.clone(), self.path(parent, name), self.path(new_parent, new_name));
        self.change(reply, async move { core.rename(from?, to?, replaces).await });
    }

    fn open(&self, _: &Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.core.counters.count(Op::Open);
        let core = self.core.clone();
        let work = async move { core.open(node.0, flags_of(flags.0)).await };
        self.core.answer(work, |opened| match opened {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::FOPEN_DIRECT_IO),
            Err(errno) => reply.error(errno),
        });
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, flags: i32, reply: ReplyCreate) {
        self.core.counters.count(Op::Create);
        let (core, path) = (self.core.clone(), self.path(parent, name));
        let work = async move {
            let created = core.create(path?, flags_of(flags)).await?;
            core.state.lock().names.remember(created.0.ino.0);
            Ok(created)
        };
        self.core.answer(work, |created| match created {
            Ok((attributes, handle)) => {
                reply.created(&TTL, &attributes, GENERATION, FileHandle(handle), FopenFlags::FOPEN_DIRECT_IO);
            }
            Err(errno) => reply.error(errno),
        });
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.core.counters.count(Op::Read);
        match self.core.opened(handle.0) {
            Ok(open) => reply.data(open.buffer.lock().read(offset, size as usize)),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.core.counters.count(Op::Write);
        // The kernel's idea of the end may be older than what was opened.
        let offset = (!flags_of(flags.0).contains(OFlags::APPEND)).then_some(offset);
        let written = self.core.opened(handle.0).and_then(|open| match open.can_write {
            true => open.buffer.lock().write(offset, data, self.core.now()),
            false => Err(Errno::EBADF),
        });
        match written {
            Ok(()) => reply.written(data.len() as u32),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, handle: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        self.core.counters.count(Op::Flush);
        let open = match self.core.opened(handle.0) {
            Ok(open) => open,
            Err(errno) => return reply.error(errno),
        };
        if !open.buffer.lock().sends_at_close() {
            return reply.ok();
        }
        let core = self.core.clone();
        self.change(reply, async move { core.send(&open).await });
    }

    fn fsync(&self, _: &Request, _: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        self.core.counters.count(Op::Fsync);
        let (core, open) = (self.core.clone(), self.core.opened(handle.0));
        self.change(reply, async move { core.send(&*open?).await });
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.core.counters.count(Op::Release);
        let Ok(open) = self.core.opened(handle.0) else { return reply.ok() };
        let path = {
            let buffer = open.buffer.lock();
            buffer.path.clone().filter(|_| buffer.is_unsent())
        };
        let Some(path) = path else {
            self.core.close(handle.0, Ok(()));
            return reply.ok();
        };
        // Marked here, on the session's thread: the next open of this path comes after it.
        self.core.leaves(&path);
        let (core, after) = (self.core.clone(), self.core.clone());
        self.core.answer(async move { core.send(&open).await }, move |stored| {
            after.close(handle.0, stored);
            after.arrives(&path);
            // The kernel does not pass an error on.
            reply.ok();
        });
    }

    fn opendir(&self, _: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.core.counters.count(Op::Opendir);
        let core = self.core.clone();
        self.core.answer(async move { core.open_directory(node.0).await }, |opened| match opened {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        });
    }

    fn readdir(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.core.counters.count(Op::Readdir);
        let list = self.core.state.lock().folders.get(&handle.0).cloned();
        let Some(list) = list else { return reply.error(Errno::EBADF) };
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        for (at, listed) in list.iter().enumerate().skip(start) {
            let kind = if listed.is_directory { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(listed.number), at as u64 + 1, kind, &listed.name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.core.counters.count(Op::Releasedir);
        self.core.state.lock().folders.remove(&handle.0);
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        // Names are changed in the store before the change is answered.
        self.core.counters.count(Op::Fsyncdir);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.core.counters.count(Op::Statfs);
        let (files, bytes) = self.core.state.lock().listing.totals();
        let block = u64::from(to::BLOCK_BYTES);
        let (used, free) = (bytes.div_ceil(block), DOCUMENTS_FREE_BYTES / block);
        let name_max = vfs_core::limits::NAME_MAX as u32;
        reply.statfs(used + free, free, free, files + free, free, to::BLOCK_BYTES, name_max, to::BLOCK_BYTES);
    }

    fn access(&self, _: &Request, node: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        self.core.counters.count(Op::Access);
        let core = self.core.clone();
        let (writes, executes) = (mask.contains(AccessFlags::W_OK), mask.contains(AccessFlags::X_OK));
        self.change(reply, async move { core.access(node.0, writes, executes).await });
    }
}
