//! Pure maps between fuser's values and the workspace's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{Errno, FileAttr, FileType, INodeNo, RenameFlags, TimeOrNow};
use vfs_core::Error;
use vfs_core::clock::Time;
use vfs_core::object::{FileKind, Ino};
use vfs_core::workspace::{Allocate, Attr, RenameMode, Seek, SetXattr, TimeChange};

/// What `stat` calls the best size of a read; ext4's answer, which programs are used to.
pub(crate) const BLOCK_BYTES: u32 = 4096;

pub(crate) fn ino(node: INodeNo) -> Ino {
    Ino(node.0)
}

pub(crate) fn errno(error: &Error) -> Errno {
    Errno::from_i32(error.kind().errno())
}

pub(crate) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::File => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

/// The kind in the type bits of a mode, as mknod(2) takes it; no type bits mean a regular file.
pub(crate) fn kind_of_mode(mode: u32) -> Option<FileKind> {
    match mode & 0o170_000 {
        0 | 0o100_000 => Some(FileKind::File),
        0o010_000 => Some(FileKind::Fifo),
        0o140_000 => Some(FileKind::Socket),
        0o020_000 => Some(FileKind::CharDevice),
        0o060_000 => Some(FileKind::BlockDevice),
        _ => None,
    }
}

/// Permission bits with setuid, setgid and sticky.
pub(crate) fn permissions(mode: u32) -> u16 {
    (mode & 0o7777) as u16
}

/// Attributes as the kernel wants them, shown as `owner` if there is one.
pub(crate) fn attr(attr: &Attr, owner: Option<(u32, u32)>) -> FileAttr {
    let (uid, gid) = owner.unwrap_or((attr.uid, attr.gid));
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size,
        blocks: attr.blocks,
        atime: to_system(attr.atime),
        mtime: to_system(attr.mtime),
        ctime: to_system(attr.ctime),
        crtime: UNIX_EPOCH,
        kind: file_type(attr.kind),
        perm: attr.mode,
        nlink: attr.nlink,
        uid,
        gid,
        rdev: attr.rdev,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

/// Attributes of which the kernel uses the number and the kind only.
pub(crate) fn only_number_and_kind(ino: Ino, kind: FileKind) -> FileAttr {
    FileAttr {
        ino: INodeNo(ino.0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: file_type(kind),
        perm: 0,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

/// Inode 0: the name is absent.
pub(crate) fn absent() -> FileAttr {
    only_number_and_kind(Ino(0), FileKind::File)
}

/// A time for the kernel.
pub(crate) fn to_system(time: Time) -> SystemTime {
    let whole = Duration::from_secs(time.seconds.unsigned_abs());
    let second = if time.seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    second.and_then(|second| second.checked_add(Duration::from_nanos(time.nanos.into()))).unwrap_or(UNIX_EPOCH)
}

/// A time from the kernel. fuser 0.18 takes the nanoseconds of a moment before 1970 in the wrong direction
/// (`-1 s + 0.5 s` arrives as `-1 s - 0.5 s`); this takes them back.
pub(crate) fn from_fuser(time: SystemTime) -> Time {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Time { seconds: after.as_secs() as i64, nanos: after.subsec_nanos() },
        Err(before) => {
            let distance = before.duration();
            Time { seconds: (distance.as_secs() as i64).wrapping_neg(), nanos: distance.subsec_nanos() }
        }
    }
}

pub(crate) fn time_change(time: TimeOrNow) -> TimeChange {
    match time {
        TimeOrNow::Now => TimeChange::Now,
        TimeOrNow::SpecificTime(time) => TimeChange::At(from_fuser(time)),
    }
}

/// renameat2(2)'s flags; `None` for those not offered (whiteouts, combinations).
pub(crate) fn rename_mode(flags: RenameFlags) -> Option<RenameMode> {
    match flags {
        none if none.is_empty() => Some(RenameMode::Replace),
        RenameFlags::RENAME_NOREPLACE => Some(RenameMode::NoReplace),
        RenameFlags::RENAME_EXCHANGE => Some(RenameMode::Exchange),
        _ => None,
    }
}

/// setxattr(2)'s flags.
pub(crate) fn set_xattr(flags: i32) -> Option<SetXattr> {
    match flags {
        0 => Some(SetXattr::Any),
        1 => Some(SetXattr::Create),
        2 => Some(SetXattr::Replace),
        _ => None,
    }
}

/// fallocate(2)'s modes; `None` for those not offered.
pub(crate) fn allocate(mode: i32) -> Option<Allocate> {
    const KEEP_SIZE: i32 = 0x01;
    const PUNCH_HOLE: i32 = 0x02;
    const ZERO_RANGE: i32 = 0x10;
    let keep_size = mode & KEEP_SIZE != 0;
    match mode & !KEEP_SIZE {
        0 => Some(Allocate::Reserve { keep_size }),
        PUNCH_HOLE if keep_size => Some(Allocate::PunchHole),
        ZERO_RANGE => Some(Allocate::ZeroRange { keep_size }),
        _ => None,
    }
}

/// lseek(2)'s `SEEK_DATA` and `SEEK_HOLE`; the kernel answers the others itself.
pub(crate) fn seek(whence: i32) -> Option<Seek> {
    match whence {
        3 => Some(Seek::Data),
        4 => Some(Seek::Hole),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
