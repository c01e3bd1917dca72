//! One request of the kernel → one operation of the workspace → one reply.
//!
//! * A hit is answered on the session's thread; only a miss becomes a task (see [`answer`]).
//! * `open`, `opendir` and `flush` answer ENOSYS, which holds for the whole connection: the kernel never asks again.
//!   So there are no handles, and nothing here knows who has what open; the kernel's references (`forget`) do.
//! * `getxattr` never answers ENOSYS: it would end extended attributes for the mount.
//! * The kernel checks permissions (`default_permissions`). What it leaves to the daemon is clearing setuid and setgid;
//!   fuser hides the kernel's word on truncation and chown, so that is decided here as ext4 does.

mod answer;
mod listing;
mod operations;
mod send;

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek,
    ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use vfs_core::object::FileKind;
use vfs_core::workspace::{SetAttr, Workspace};

pub(crate) use answer::Core;
use listing::Page;
use operations::Maker;
use send::{send_attr, send_bytes, send_entry, send_found, send_ok, send_xattr};

use crate::acl;
use crate::counters::Operation as Op;
use crate::limits::{BACKGROUND_MAX, CACHE_TTL, REQUEST_MAX};
use crate::translate as to;

/// Inode numbers are never reused, so no generation is needed to tell two inodes apart.
const GENERATION: Generation = Generation(0);
/// There are no handles.
const HANDLE: FileHandle = FileHandle(0);

/// What fuser calls for each request.
pub(crate) struct Translator {
    pub(crate) core: Arc<Core>,
    /// The kernel takes ENOSYS for "no need to open", as all do since Linux 3.15 and 5.1.
    without_open: bool,
    without_opendir: bool,
}

impl Translator {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Translator { core, without_open: false, without_opendir: false }
    }
}

impl Filesystem for Translator {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Each alone: fuser refuses a set of which the kernel lacks one.
        let wanted = [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_EXPLICIT_INVAL_DATA,
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
            // A default ACL takes the umask's place, so the umask is ours to apply.
            InitFlags::FUSE_POSIX_ACL,
            InitFlags::FUSE_DONT_MASK,
        ];
        for flag in wanted {
            if config.add_capabilities(flag).is_err() {
                tracing::debug!(?flag, "this kernel lacks a FUSE capability");
            }
        }
        self.without_open = config.add_capabilities(InitFlags::FUSE_NO_OPEN_SUPPORT).is_ok();
        self.without_opendir = config.add_capabilities(InitFlags::FUSE_NO_OPENDIR_SUPPORT).is_ok();
        let refused = || io::Error::from_raw_os_error(Errno::EINVAL.code());
        config.set_max_write(REQUEST_MAX).map_err(|_| refused())?;
        config.set_max_background(BACKGROUND_MAX).map_err(|_| refused())?;
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.core.count(Op::Lookup);
        let parent = to::ino(parent);
        self.core.run(reply, [name.as_bytes()], move |w, [name]| operations::find(w, parent, name), send_found);
    }

    fn forget(&self, _: &Request, node: INodeNo, count: u64) {
        self.core.count(Op::Forget);
        self.core.workspace.forget(to::ino(node), count);
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.core.count(Op::Getattr);
        let ino = to::ino(node);
        self.core.run(reply, [], move |w, []| w.getattr(ino), send_attr);
    }

    fn setattr(
        &self,
        request: &Request,
        node: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.core.count(Op::Setattr);
        let ino = to::ino(node);
        let mut change = SetAttr {
            mode: mode.map(to::permissions),
            uid,
            gid,
            size,
            atime: atime.map(to::time_change),
            mtime: mtime.map(to::time_change),
            kill_privileges: size.is_some() && !is_privileged(request),
        };
        let chown = uid.is_some() || gid.is_some();
        if let Err(errno) = operations::hide_owner(&mut change, self.core.owner) {
            return reply.error(errno);
        }
        self.core.run(reply, [], move |w, []| operations::set_attr(w, ino, change, chown), send_attr);
    }

    fn readlink(&self, _: &Request, node: INodeNo, reply: ReplyData) {
        self.core.count(Op::Readlink);
        let ino = to::ino(node);
        self.core.run(reply, [], move |w, []| w.readlink(ino), send_bytes);
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        self.core.count(Op::Mknod);
        let Some(kind) = to::kind_of_mode(mode) else { return reply.error(Errno::EINVAL) };
        let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
        let maker = Maker::new(request, parent, kind, mode, umask, if is_device { rdev } else { 0 });
        self.core.run(reply, [name.as_bytes()], move |w, [name]| maker.make(w, name, b""), send_entry);
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        self.core.count(Op::Mkdir);
        let maker = Maker::new(request, parent, FileKind::Directory, mode, umask, 0);
        self.core.run(reply, [name.as_bytes()], move |w, [name]| maker.make(w, name, b""), send_entry);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        self.core.count(Op::Symlink);
        let maker = Maker::new(request, parent, FileKind::Symlink, 0o777, 0, 0);
        let bytes = [name.as_bytes(), target.as_os_str().as_bytes()];
        self.core.run(reply, bytes, move |w, [name, target]| maker.make(w, name, target), send_entry);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        self.core.count(Op::Create);
        let maker = Maker::new(request, parent, FileKind::File, mode, umask, 0);
        let operation = move |w: &Workspace, [name]: [&[u8]; 1]| operations::create(w, &maker, name, flags);
        self.core.run(reply, [name.as_bytes()], operation, |core, reply, attr| {
            // Once `open` was answered with ENOSYS the kernel sends no `release` either, so sending mknod instead of
            // create (ENOSYS here) saves nothing: measured.
            let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
            reply.created(&CACHE_TTL, &core.shown(&attr), GENERATION, HANDLE, flags);
        });
    }

    fn link(&self, _: &Request, node: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.core.count(Op::Link);
        let (ino, parent) = (to::ino(node), to::ino(parent));
        self.core.run(reply, [name.as_bytes()], move |w, [name]| w.link(ino, parent, name), send_entry);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.core.count(Op::Unlink);
        let parent = to::ino(parent);
        self.core.run(reply, [name.as_bytes()], move |w, [name]| w.unlink(parent, name), send_ok);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.core.count(Op::Rmdir);
        let parent = to::ino(parent);
        self.core.run(reply, [name.as_bytes()], move |w, [name]| w.rmdir(parent, name), send_ok);
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
        self.core.count(Op::Rename);
        let Some(mode) = to::rename_mode(flags) else { return reply.error(Errno::EINVAL) };
        let (parent, new_parent) = (to::ino(parent), to::ino(new_parent));
        let names = [name.as_bytes(), new_name.as_bytes()];
        self.core.run(reply, names, move |w, [old, new]| w.rename(parent, old, new_parent, new, mode), send_ok);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.core.count(Op::Open);
        if self.without_open {
            reply.error(Errno::ENOSYS);
        } else {
            reply.opened(HANDLE, FopenFlags::FOPEN_KEEP_CACHE);
        }
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.core.count(Op::Opendir);
        if self.without_opendir {
            reply.error(Errno::ENOSYS);
        } else {
            reply.opened(HANDLE, FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR);
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        self.core.count(Op::Flush);
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.core.count(Op::Release);
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, _: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.core.count(Op::Releasedir);
        reply.ok();
    }

    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.core.count(Op::Read);
        let ino = to::ino(node);
        self.core.run(reply, [], move |w, []| w.read(ino, offset, size as usize), send_bytes);
    }

    fn write(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.core.count(Op::Write);
        #[cfg(test)]
        std::thread::sleep(*self.core.write_delay.lock());
        let (ino, written) = (to::ino(node), data.len() as u32);
        let kill = flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        let operation = move |w: &Workspace, [data]: [&[u8]; 1]| w.write(ino, offset, data, kill);
        self.core.run(reply, [data], operation, move |_, reply, ()| reply.written(written));
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.core.count(Op::Fsync);
        self.core.sync(reply);
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.core.count(Op::Fsyncdir);
        self.core.sync(reply);
    }

    fn readdir(&self, _: &Request, node: INodeNo, _: FileHandle, offset: u64, reply: ReplyDirectory) {
        self.core.count(Op::Readdir);
        self.core.list(Page::plain(to::ino(node), offset, reply));
    }

    fn readdirplus(&self, _: &Request, node: INodeNo, _: FileHandle, offset: u64, reply: ReplyDirectoryPlus) {
        self.core.count(Op::Readdirplus);
        self.core.list(Page::plus(to::ino(node), offset, reply, self.core.owner));
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.core.count(Op::Statfs);
        let (sizes, block) = (self.core.workspace.statfs(), u64::from(to::BLOCK_BYTES));
        let (total, free) = (sizes.total_bytes / block, sizes.free_bytes / block);
        let name_max = vfs_core::limits::NAME_MAX as u32;
        let (inodes, free_inodes) = (sizes.total_inodes, sizes.free_inodes);
        reply.statfs(total, free, free, inodes, free_inodes, to::BLOCK_BYTES, name_max, to::BLOCK_BYTES);
    }

    fn setxattr(
        &self,
        request: &Request,
        node: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        self.core.count(Op::Setxattr);
        let Some(how) = to::set_xattr(flags) else { return reply.error(Errno::EINVAL) };
        let ino = to::ino(node);
        let bytes = [name.as_bytes(), value];
        if acl::is_acl(name.as_bytes()) {
            let (uid, gid) = (request.uid(), request.gid());
            let operation = move |w: &Workspace, [name, value]: [&[u8]; 2]| {
                let keeps_set_gid = uid == 0 || w.getattr(ino)?.gid == gid;
                acl::set(w, ino, name, value, keeps_set_gid)
            };
            return self.core.run(reply, bytes, operation, send_ok);
        }
        self.core.run(reply, bytes, move |w, [name, value]| w.setxattr(ino, name, value, how), send_ok);
    }

    fn getxattr(&self, _: &Request, node: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        self.core.count(Op::Getxattr);
        let ino = to::ino(node);
        let finish = move |_: &Core, reply: ReplyXattr, value: Bytes| send_xattr(reply, &value, size);
        self.core.run(reply, [name.as_bytes()], move |w, [name]| w.getxattr(ino, name), finish);
    }

    fn listxattr(&self, _: &Request, node: INodeNo, size: u32, reply: ReplyXattr) {
        self.core.count(Op::Listxattr);
        let ino = to::ino(node);
        let finish = move |_: &Core, reply: ReplyXattr, names: Bytes| send_xattr(reply, &names, size);
        self.core.run(reply, [], move |w, []| w.listxattr(ino), finish);
    }

    fn removexattr(&self, _: &Request, node: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.core.count(Op::Removexattr);
        let ino = to::ino(node);
        let operation = move |w: &Workspace, [name]: [&[u8]; 1]| {
            if acl::is_acl(name) { acl::remove(w, ino, name) } else { w.removexattr(ino, name) }
        };
        self.core.run(reply, [name.as_bytes()], operation, send_ok);
    }

    fn access(&self, _: &Request, _: INodeNo, _: fuser::AccessFlags, reply: ReplyEmpty) {
        self.core.count(Op::Access);
        reply.error(Errno::ENOSYS);
    }

    fn fallocate(
        &self,
        request: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.core.count(Op::Fallocate);
        let Some(how) = to::allocate(mode) else { return reply.error(Errno::EOPNOTSUPP) };
        let (ino, kill) = (to::ino(node), !is_privileged(request));
        self.core.run(reply, [], move |w, []| operations::allocate(w, ino, offset, length, how, kill), send_ok);
    }

    fn lseek(&self, _: &Request, node: INodeNo, _: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        self.core.count(Op::Lseek);
        let Some(what) = to::seek(whence) else { return reply.error(Errno::EINVAL) };
        let Ok(offset) = u64::try_from(offset) else { return reply.error(Errno::ENXIO) };
        let ino = to::ino(node);
        self.core.run(
            reply,
            [],
            move |w, []| operations::seek(w, ino, offset, what),
            |_, reply, found| match found {
                Some(offset) => reply.offset(offset as i64),
                None => reply.error(Errno::ENXIO),
            },
        );
    }

    fn copy_file_range(
        &self,
        request: &Request,
        from: INodeNo,
        _: FileHandle,
        from_offset: u64,
        into: INodeNo,
        _: FileHandle,
        into_offset: u64,
        length: u64,
        flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        self.core.count(Op::CopyFileRange);
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let (from, into, kill) = (to::ino(from), to::ino(into), !is_privileged(request));
        let operation = move |w: &Workspace, []: [&[u8]; 0]| {
            operations::copy(w, (from, from_offset), (into, into_offset), length, kill)
        };
        self.core.run(reply, [], operation, |_, reply, copied| reply.written(copied));
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        self.core.count(Op::Other);
        reply.error(Errno::ENOTTY);
    }

    fn poll(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: PollNotifier,
        _: PollEvents,
        _: PollFlags,
        reply: ReplyPoll,
    ) {
        // ENOSYS makes the kernel answer "always ready" by itself.
        self.core.count(Op::Other);
        reply.error(Errno::ENOSYS);
    }
}

/// Whether the caller keeps setuid and setgid where the kernel's word (CAP_FSETID) is hidden by fuser.
fn is_privileged(request: &Request) -> bool {
    request.uid() == 0
}
