//! What an operation on a workspace gives back, and what it takes.

use crate::clock::Time;
use crate::error::Error;
use crate::id::{BlobId, TreeId};
use crate::object::{ChunkRef, FileKind, Ino};

/// An operation's answer, or why there is none yet.
pub type Answer<T> = std::result::Result<T, Stop>;

/// Why an operation did not answer from memory.
#[derive(Debug)]
pub enum Stop {
    /// Something of the base is not in memory: fetch it with [`super::Workspace::fill`], then ask again. Nothing was changed.
    Miss(Miss),
    /// The operation failed.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error)
    }
}

/// What has to be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Miss {
    /// Nodes of a tree.
    Trees(Vec<TreeId>),
    /// The extents of a file.
    Blob(BlobId),
    /// Content.
    Chunks(Vec<ChunkRef>),
    /// All names of a large directory.
    Names(Ino),
    /// Fresh inode numbers.
    Inos,
    /// The workspace stands still for a moment, for a restore.
    Thaw,
}

/// What `stat` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: Ino,
    /// Kind of file.
    pub kind: FileKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node.
    pub rdev: u32,
    /// Size in bytes.
    pub size: u64,
    /// Allocated units of 512 bytes; holes take none.
    pub blocks: u64,
    /// Names (a directory: 2 and its subdirectories).
    pub nlink: u32,
    /// Last access as far as it was set.
    pub atime: Time,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
}

/// Attributes to change; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size: truncates or extends with a hole.
    pub size: Option<u64>,
    /// Access time.
    pub atime: Option<TimeChange>,
    /// Modification time.
    pub mtime: Option<TimeChange>,
    /// Clear setuid and setgid, as a write or chown by an unprivileged caller does.
    pub kill_privileges: bool,
}

/// A time to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeChange {
    /// The present.
    Now,
    /// This moment.
    At(Time),
}

/// A new inode.
#[derive(Debug, Clone, Copy)]
pub struct NewNode<'a> {
    /// Kind of file.
    pub kind: FileKind,
    /// Permission bits, umask applied.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group; a set-group-id parent overrides it.
    pub gid: u32,
    /// Device number of a device node.
    pub rdev: u32,
    /// Target of a symlink.
    pub target: &'a [u8],
}

/// What happens when the new name of a rename exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameMode {
    /// It is replaced.
    Replace,
    /// The rename is refused.
    NoReplace,
    /// The two change places.
    Exchange,
}

/// What `fallocate` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocate {
    /// Reserve; the file grows if `keep_size` is not set. Space is not really reserved.
    Reserve {
        /// Leave the size as it is.
        keep_size: bool,
    },
    /// Make a hole; the size stays.
    PunchHole,
    /// Write zeros; the file grows if `keep_size` is not set.
    ZeroRange {
        /// Leave the size as it is.
        keep_size: bool,
    },
}

/// What `lseek` looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// The next byte that is not in a hole.
    Data,
    /// The next hole; the end of the file counts as one.
    Hole,
}

/// How `setxattr` treats an attribute that exists, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetXattr {
    /// Create or replace.
    Any,
    /// Only create.
    Create,
    /// Only replace.
    Replace,
}

/// One name of a directory listing.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a> {
    /// The name, also `.` and `..`.
    pub name: &'a [u8],
    /// Inode number.
    pub ino: Ino,
    /// Kind of file.
    pub kind: FileKind,
    /// Where the listing goes on after this name.
    pub cookie: u64,
    /// The attributes, in a listing with attributes and if they are in memory.
    pub attr: Option<Attr>,
}

/// Sizes of the whole workspace, in bytes and inodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statfs {
    /// Bytes that files hold and may hold.
    pub total_bytes: u64,
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// Inodes that there are and may be.
    pub total_inodes: u64,
    /// Inodes that may still be made.
    pub free_inodes: u64,
}
