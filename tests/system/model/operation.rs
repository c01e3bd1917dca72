//! What can be done to a folder, and what comes out.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

/// Times before this moment were set on purpose and must be kept exactly; later ones are the clock's.
pub(crate) const SET_TIME_END: i64 = 1_500_000_000;

/// Open files a side can hold.
pub(crate) const SLOTS: usize = 6;

/// One call (sometimes open, call, close). Paths are relative to the side's folder.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Create { path: PathBuf, mode: u32, exclusive: bool },
    Open { path: PathBuf, slot: usize, append: bool, truncate: bool },
    Close { slot: usize },
    SlotWrite { slot: usize, offset: u64, length: usize, fill: u8 },
    SlotRead { slot: usize, offset: u64, length: usize },
    SlotTruncate { slot: usize, length: u64 },
    SlotStat { slot: usize },
    SlotSync { slot: usize, data_only: bool },
    SlotAllocate { slot: usize, how: How, offset: u64, length: u64 },
    Write { path: PathBuf, offset: u64, length: usize, fill: u8 },
    Append { path: PathBuf, length: usize, fill: u8 },
    Read { path: PathBuf, offset: u64, length: usize },
    Truncate { path: PathBuf, length: u64 },
    Mkdir { path: PathBuf, mode: u32 },
    Rmdir { path: PathBuf },
    Unlink { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf, flag: Flag },
    Link { from: PathBuf, to: PathBuf },
    Symlink { target: PathBuf, path: PathBuf },
    Readlink { path: PathBuf },
    Mkfifo { path: PathBuf, mode: u32 },
    Chmod { path: PathBuf, mode: u32 },
    Chown { path: PathBuf, uid: u32, gid: u32 },
    SetTimes { path: PathBuf, seconds: i64, nanos: i64 },
    SetXattr { path: PathBuf, name: &'static str, length: usize, only: Only },
    GetXattr { path: PathBuf, name: &'static str },
    RemoveXattr { path: PathBuf, name: &'static str },
    ListXattr { path: PathBuf },
    Stat { path: PathBuf, follow: bool },
    List { path: PathBuf },
    SyncFolder { path: PathBuf },
}

/// Modes of `fallocate`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum How {
    Reserve,
    ReserveKeepSize,
    Punch,
    Zero,
}

/// Flags of `renameat2`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Flag {
    None,
    NoReplace,
    Exchange,
}

/// Flags of `setxattr`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Only {
    Any,
    New,
    Existing,
}

/// What came out; equal on both sides or something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It worked.
    Done(Value),
    /// The errno.
    Failed(i32),
    /// No file in this slot.
    NoSlot,
}

/// What a call returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Nothing,
    Count(usize),
    Bytes(Vec<u8>),
    Names(BTreeSet<OsString>),
    Stat(Stat),
}

/// The attributes that must agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) mode: u32,
    pub(crate) links: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// 0 for directories: each filesystem counts its own way.
    pub(crate) size: u64,
    /// `None` if the clock set it.
    pub(crate) mtime: Option<(i64, i64)>,
}

impl Outcome {
    /// Whether the filesystem's process is gone: not an answer of the filesystem.
    pub(crate) fn is_lost(&self) -> bool {
        use rustix::io::Errno;
        let gone = [Errno::NOTCONN, Errno::CONNABORTED, Errno::NODEV];
        matches!(self, Outcome::Failed(errno) if gone.iter().any(|gone| gone.raw_os_error() == *errno))
    }

    /// For the history: long contents are left out.
    pub(crate) fn short(&self) -> String {
        match self {
            Outcome::Done(Value::Bytes(bytes)) => format!("{} bytes", bytes.len()),
            Outcome::Failed(errno) => format!("{}", std::io::Error::from_raw_os_error(*errno)),
            other => format!("{other:?}"),
        }
    }
}
