//! A workspace in the hands of its holder: base snapshot + overlay + journal.

mod answer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

pub use answer::{
    Allocate, Answer, Attr, Listed, Miss, NewNode, RenameMode, Seek, SetAttr, SetXattr, Statfs, Stop, TimeChange,
};

use crate::base::{Attached, PublishNote, Publisher};
use crate::clock::Clock;
use crate::error::Result;
use crate::id::{HolderId, SnapshotId, WorkspaceId};
use crate::name::Name;
use crate::object::{Ino, Snapshot};

/// A holder's locked folder.
#[derive(Debug)]
pub struct HolderFolder {
    path: PathBuf,
}

/// Who has the folder, for the message to whoever wants it next.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HolderInfo {
    /// Process id.
    pub pid: u32,
    /// Where the workspace is mounted.
    pub mountpoint: PathBuf,
}

impl HolderFolder {
    /// Locks `path` (made if need be), which belongs to `workspace`. `Busy` names the pid and the mount point of the process that has it.
    pub fn lock(path: &Path, workspace: WorkspaceId, info: &HolderInfo) -> Result<HolderFolder> {
        let _ = (workspace, info);
        Ok(HolderFolder { path: path.to_owned() })
    }

    /// Who holds the folder now, if anybody does.
    pub fn holder(path: &Path) -> Option<HolderInfo> {
        let _ = path;
        None
    }

    /// The id of this holder: made once, kept in the folder.
    pub fn holder_id(&self) -> HolderId {
        let _ = &self.path;
        unimplemented!()
    }
}

/// An invalidation the kernel must be told after the base was swapped. Children before parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invalidation {
    /// Attributes and content of an inode.
    Inode(Ino),
    /// A name of a directory.
    Entry(Ino, Name),
}

/// What `esker status` shows of a mount.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Status {
    /// The snapshot below the overlay.
    pub base: SnapshotId,
    /// Epoch of the lease.
    pub epoch: u64,
    /// Inodes changed since the base.
    pub changed_inodes: u64,
    /// Bytes in the journal that are not published.
    pub journal_bytes: u64,
    /// Of those, bytes not yet synced to disk.
    pub unsynced_bytes: u64,
    /// Inodes in memory.
    pub known_inodes: u64,
    /// Bytes of tree nodes, blobs and content cached in memory.
    pub cache_bytes: u64,
}

/// A workspace that can be read and written.
pub struct Workspace {}

impl Workspace {
    /// Opens the overlay in `folder` on the attached base: replays the journal, or starts a new one.
    pub async fn open(
        folder: HolderFolder,
        attached: Attached,
        base: Arc<dyn Publisher>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Workspace>> {
        let _ = (folder, attached, base, clock);
        unimplemented!()
    }

    /// Shows a snapshot without an overlay; every change answers EROFS (`Unsupported`... `Denied`).
    pub async fn open_read_only(
        snapshot: Snapshot,
        base: Arc<dyn crate::base::Base>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Workspace>> {
        let _ = (snapshot, base, clock);
        unimplemented!()
    }

    /// Fetches what was missing; bounded by the miss deadline (`Unavailable`).
    pub async fn fill(&self, miss: Miss) -> Result<()> {
        let _ = miss;
        unimplemented!()
    }

    /// Finds a name and counts one reference of the kernel to its inode.
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> Answer<Attr> {
        let _ = (parent, name);
        unimplemented!()
    }
    /// Takes back `count` references.
    pub fn forget(&self, ino: Ino, count: u64) {
        let _ = (ino, count);
    }
    /// The attributes of an inode.
    pub fn getattr(&self, ino: Ino) -> Answer<Attr> {
        let _ = ino;
        unimplemented!()
    }
    /// Changes attributes.
    pub fn setattr(&self, ino: Ino, change: &SetAttr) -> Answer<Attr> {
        let _ = (ino, change);
        unimplemented!()
    }
    /// The target of a symlink.
    pub fn readlink(&self, ino: Ino) -> Answer<Bytes> {
        let _ = ino;
        unimplemented!()
    }
    /// Makes a file, directory, symlink or special file and counts one reference to it.
    pub fn make(&self, parent: Ino, name: &[u8], new: &NewNode<'_>) -> Answer<Attr> {
        let _ = (parent, name, new);
        unimplemented!()
    }
    /// Gives an inode one more name and counts one reference to it.
    pub fn link(&self, ino: Ino, parent: Ino, name: &[u8]) -> Answer<Attr> {
        let _ = (ino, parent, name);
        unimplemented!()
    }
    /// Removes a name that is not a directory.
    pub fn unlink(&self, parent: Ino, name: &[u8]) -> Answer<()> {
        let _ = (parent, name);
        unimplemented!()
    }
    /// Removes an empty directory.
    pub fn rmdir(&self, parent: Ino, name: &[u8]) -> Answer<()> {
        let _ = (parent, name);
        unimplemented!()
    }
    /// Moves a name.
    pub fn rename(&self, parent: Ino, name: &[u8], new_parent: Ino, new_name: &[u8], mode: RenameMode) -> Answer<()> {
        let _ = (parent, name, new_parent, new_name, mode);
        unimplemented!()
    }
    /// Content; shorter than `size` only at the end of the file.
    pub fn read(&self, ino: Ino, offset: u64, size: usize) -> Answer<Bytes> {
        let _ = (ino, offset, size);
        unimplemented!()
    }
    /// Writes content; clears setuid and setgid if asked.
    pub fn write(&self, ino: Ino, offset: u64, data: &[u8], kill_privileges: bool) -> Answer<()> {
        let _ = (ino, offset, data, kill_privileges);
        unimplemented!()
    }
    /// Reserves, punches or zeroes.
    pub fn allocate(&self, ino: Ino, offset: u64, length: u64, how: Allocate) -> Answer<()> {
        let _ = (ino, offset, length, how);
        unimplemented!()
    }
    /// Finds data or a hole. Past the last data: `Error` with `ENXIO` meaning is `Kind::NotFound`.
    pub fn seek(&self, ino: Ino, offset: u64, what: Seek) -> Answer<u64> {
        let _ = (ino, offset, what);
        unimplemented!()
    }
    /// Lists names after `cookie` (0 starts, with `.` and `..`) until `add` returns false ("full, this one not taken").
    /// With `plus`, each entry taken (but `.` and `..`) that has attributes counts one reference of the kernel.
    pub fn list(&self, ino: Ino, cookie: u64, plus: bool, add: &mut dyn FnMut(Listed<'_>) -> bool) -> Answer<()> {
        let _ = (ino, cookie, plus, add);
        unimplemented!()
    }
    /// One extended attribute.
    pub fn getxattr(&self, ino: Ino, name: &[u8]) -> Answer<Bytes> {
        let _ = (ino, name);
        unimplemented!()
    }
    /// All names of extended attributes, each followed by NUL.
    pub fn listxattr(&self, ino: Ino) -> Answer<Bytes> {
        let _ = ino;
        unimplemented!()
    }
    /// Sets an extended attribute.
    pub fn setxattr(&self, ino: Ino, name: &[u8], value: &[u8], how: SetXattr) -> Answer<()> {
        let _ = (ino, name, value, how);
        unimplemented!()
    }
    /// Removes an extended attribute.
    pub fn removexattr(&self, ino: Ino, name: &[u8]) -> Answer<()> {
        let _ = (ino, name);
        unimplemented!()
    }
    /// Sizes of the workspace.
    pub fn statfs(&self) -> Statfs {
        unimplemented!()
    }
    /// Calls `done` from the committer thread once everything written so far is on disk (or at once with the error).
    pub fn sync(&self, ino: Ino, done: Box<dyn FnOnce(Result<()>) + Send>) {
        let _ = (ino, done);
    }
    /// Publishes everything written before the call; returns the snapshot (the base's if nothing changed).
    pub async fn checkpoint(&self, note: PublishNote) -> Result<SnapshotId> {
        let _ = note;
        unimplemented!()
    }
    /// Goes over to another snapshot (the overlay must be empty: checkpoint first; else `Busy`). Returns what the kernel must forget.
    pub async fn swap_base(&self, id: SnapshotId, snapshot: Snapshot) -> Result<Vec<Invalidation>> {
        let _ = (id, snapshot);
        unimplemented!()
    }
    /// Attributes changed since the base and not published, sizes, positions.
    pub fn status(&self) -> Status {
        unimplemented!()
    }
    /// When the overlay last changed and whether it holds anything unpublished: for automatic checkpoints.
    pub fn dirty_since(&self) -> Option<std::time::Instant> {
        None
    }
    /// Syncs the journal, stops the committer. Later calls fail.
    pub async fn close(&self) -> Result<()> {
        Ok(())
    }
}
