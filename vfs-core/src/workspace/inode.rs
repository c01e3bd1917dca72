//! One inode in memory: known to the kernel, changed since the base, or both.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::answer::Attr;
use super::extents::Extents;
use super::listing::Listings;
use crate::clock::Time;
use crate::id::TreeId;
use crate::name::Name;
use crate::object::{Body, Content, FileKind, Ino, Node, Subtree, Xattrs, XattrsRef};

/// Position 0 in `changed_at`: as the base has it.
pub(super) const UNCHANGED: u64 = 0;

/// An inode in memory.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) nlink: u32,
    pub(super) mtime: Time,
    pub(super) ctime: Time,
    pub(super) atime: Option<Time>,
    pub(super) body: InodeBody,
    pub(super) xattrs: InodeXattrs,
    /// Where it is; for an inode of the link table the place it was last seen.
    pub(super) parent: Option<(Ino, Name)>,
    /// Its node is in the link table.
    pub(super) linked: bool,
    /// All names of an inode that got its second one here: once it is down to one, it leaves the link table.
    pub(super) names: Option<Vec<(Ino, Name)>>,
    /// References that the kernel holds.
    pub(super) references: u64,
    /// Inodes in memory whose parent this is; while there are any, it stays.
    pub(super) residents: u32,
    /// Journal position of the last change, [`UNCHANGED`] if there is none since the base.
    pub(super) changed_at: u64,
    /// The checkpoint period in which the journal was told where it is.
    pub(super) adopted: u32,
}

/// What an inode holds.
#[derive(Debug)]
pub(super) enum InodeBody {
    File(Box<FileBody>),
    Directory(Box<DirectoryBody>),
    Symlink(SymlinkBody),
    Fifo,
    Socket,
    CharDevice(u32),
    BlockDevice(u32),
}

/// A file: base content below `base_limit`, covered by the overlay.
#[derive(Debug)]
pub(super) struct FileBody {
    pub(super) base: Content,
    pub(super) base_limit: u64,
    pub(super) size: u64,
    pub(super) overlay: Extents,
    /// Smallest size since the last cut: what a published base may show at the most.
    pub(super) low_size: u64,
}

/// A directory: the base tree and the names that changed since.
#[derive(Debug, Default)]
pub(super) struct DirectoryBody {
    pub(super) base: Option<TreeId>,
    pub(super) changes: BTreeMap<Name, NameChange>,
    pub(super) entries: u64,
    pub(super) base_entries: u64,
    pub(super) subdirs: u64,
    pub(super) listings: Listings,
}

/// A name that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NameChange {
    /// What it stands for now; `None`: it is gone.
    pub(super) ino: Option<Ino>,
    /// Journal position of the change.
    pub(super) at: u64,
}

/// A symlink's target, as the base has it or as it was made.
#[derive(Debug, Clone)]
pub(super) enum SymlinkBody {
    Base(Content),
    Own(Bytes),
}

/// Extended attributes, as the base has them or changed.
#[derive(Debug, Clone)]
pub(super) enum InodeXattrs {
    Base(XattrsRef),
    Own(Arc<Xattrs>),
}

impl Inode {
    /// An inode of the base.
    pub(super) fn from_node(node: &Node, parent: Option<(Ino, Name)>, linked: bool) -> Inode {
        Inode {
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            nlink: node.nlink,
            mtime: node.mtime,
            ctime: node.ctime,
            atime: None,
            body: InodeBody::from_base(&node.body),
            xattrs: InodeXattrs::Base(node.xattrs.clone()),
            parent,
            linked,
            names: None,
            references: 0,
            residents: 0,
            changed_at: UNCHANGED,
            adopted: 0,
        }
    }

    /// A new inode, without a name yet.
    pub(super) fn new(body: InodeBody, mode: u16, owner: (u32, u32), time: Time, changed_at: u64) -> Inode {
        Inode {
            mode,
            uid: owner.0,
            gid: owner.1,
            nlink: 0,
            mtime: time,
            ctime: time,
            atime: None,
            body,
            xattrs: InodeXattrs::Own(Arc::new(Xattrs::default())),
            parent: None,
            linked: false,
            names: None,
            references: 0,
            residents: 0,
            changed_at,
            adopted: 0,
        }
    }

    pub(super) fn kind(&self) -> FileKind {
        match &self.body {
            InodeBody::File(_) => FileKind::File,
            InodeBody::Directory(_) => FileKind::Directory,
            InodeBody::Symlink(_) => FileKind::Symlink,
            InodeBody::Fifo => FileKind::Fifo,
            InodeBody::Socket => FileKind::Socket,
            InodeBody::CharDevice(_) => FileKind::CharDevice,
            InodeBody::BlockDevice(_) => FileKind::BlockDevice,
        }
    }

    pub(super) fn size(&self) -> u64 {
        match &self.body {
            InodeBody::File(file) => file.size,
            InodeBody::Directory(_) => 4096,
            InodeBody::Symlink(SymlinkBody::Base(content)) => content.size(),
            InodeBody::Symlink(SymlinkBody::Own(target)) => target.len() as u64,
            _ => 0,
        }
    }

    pub(super) fn attr(&self, ino: Ino) -> Attr {
        let size = self.size();
        let bytes = match &self.body {
            InodeBody::File(file) => file.allocated_bytes(),
            InodeBody::Directory(_) => size,
            _ => 0,
        };
        Attr {
            ino,
            kind: self.kind(),
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            rdev: match self.body {
                InodeBody::CharDevice(rdev) | InodeBody::BlockDevice(rdev) => rdev,
                _ => 0,
            },
            size,
            // Whole blocks of 4 KiB, as a disk would give them.
            blocks: bytes.div_ceil(4096) * 8,
            nlink: match &self.body {
                InodeBody::Directory(directory) if self.nlink > 0 => {
                    (directory.subdirs + 2).min(u32::MAX.into()) as u32
                }
                _ => self.nlink,
            },
            atime: self.atime.unwrap_or(self.mtime),
            mtime: self.mtime,
            ctime: self.ctime,
        }
    }

    pub(super) fn file(&self) -> Option<&FileBody> {
        match &self.body {
            InodeBody::File(file) => Some(file),
            _ => None,
        }
    }

    pub(super) fn file_mut(&mut self) -> Option<&mut FileBody> {
        match &mut self.body {
            InodeBody::File(file) => Some(file),
            _ => None,
        }
    }

    pub(super) fn directory(&self) -> Option<&DirectoryBody> {
        match &self.body {
            InodeBody::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    pub(super) fn directory_mut(&mut self) -> Option<&mut DirectoryBody> {
        match &mut self.body {
            InodeBody::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.body, InodeBody::Directory(_))
    }
}

impl InodeBody {
    pub(super) fn from_base(body: &Body) -> InodeBody {
        match body {
            Body::File(content) => InodeBody::File(Box::new(FileBody::from_base(content.clone()))),
            Body::Directory(subtree) => InodeBody::Directory(Box::new(DirectoryBody::from_base(subtree))),
            Body::Symlink(content) => InodeBody::Symlink(SymlinkBody::Base(content.clone())),
            Body::Fifo => InodeBody::Fifo,
            Body::Socket => InodeBody::Socket,
            Body::CharDevice(rdev) => InodeBody::CharDevice(*rdev),
            Body::BlockDevice(rdev) => InodeBody::BlockDevice(*rdev),
        }
    }

    /// What a new inode of this kind holds.
    pub(super) fn new(kind: FileKind, rdev: u32, target: &[u8]) -> InodeBody {
        match kind {
            FileKind::File => InodeBody::File(Box::new(FileBody::from_base(Content::EMPTY))),
            FileKind::Directory => InodeBody::Directory(Box::default()),
            FileKind::Symlink => InodeBody::Symlink(SymlinkBody::Own(Bytes::copy_from_slice(target))),
            FileKind::Fifo => InodeBody::Fifo,
            FileKind::Socket => InodeBody::Socket,
            FileKind::CharDevice => InodeBody::CharDevice(rdev),
            FileKind::BlockDevice => InodeBody::BlockDevice(rdev),
        }
    }
}

impl FileBody {
    pub(super) fn from_base(base: Content) -> FileBody {
        let size = base.size();
        FileBody { base, base_limit: size, size, overlay: Extents::default(), low_size: size }
    }

    /// Changes the size; what is beyond a smaller one is gone for good.
    pub(super) fn resize(&mut self, size: u64) {
        if size < self.size {
            self.overlay.truncate(size);
            self.base_limit = self.base_limit.min(size);
            self.low_size = self.low_size.min(size);
        }
        self.size = size;
    }

    /// Bytes that are not in a hole, as far as it is known without asking the base.
    fn allocated_bytes(&self) -> u64 {
        if self.overlay.is_empty() && self.base_limit == self.size {
            return self.size;
        }
        let visible = self.overlay.plan(0, self.size, self.base_limit);
        visible.iter().filter(|(_, source)| *source != super::extents::Source::Hole).map(|(length, _)| length).sum()
    }
}

impl DirectoryBody {
    fn from_base(subtree: &Subtree) -> DirectoryBody {
        DirectoryBody {
            base: Some(subtree.tree),
            entries: subtree.totals.entries,
            base_entries: subtree.totals.entries,
            subdirs: subtree.totals.subdirs,
            ..DirectoryBody::default()
        }
    }

    /// Lets `name` stand for `ino`, or for nothing.
    pub(super) fn set(&mut self, name: Name, ino: Option<Ino>, at: u64) {
        self.changes.insert(name, NameChange { ino, at });
        self.listings.note_change();
    }
}
