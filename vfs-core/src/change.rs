//! What a publish carries: the changed inodes and directories of an overlay, and their bytes on the wire.
//!
//! The mount has no id key, so it cannot build trees. It says what changed by inode number; the engine builds the
//! directories bottom-up from the root. Every directory on the way from the root to a change is in the set.

use crate::clock::Time;
use crate::error::Result;
use crate::id::TreeId;
use crate::limits::NAME_MAX;
use crate::name::Name;
use crate::object::codec::{Reader, Writer};
use crate::object::node::{Body, Content, Node};
use crate::object::{Blob, Ino, Subtree, Totals, XattrsRef};

const TAG: u8 = b'C';
const VERSION: u8 = 0;

/// Changed inodes and directories.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangeSet {
    /// Every inode that an upsert or a linked change names. The root (inode 1) is always among them.
    pub nodes: Vec<NodeChange>,
    /// Directories whose entries changed; each one's inode is in `nodes` too.
    pub directories: Vec<DirectoryChange>,
    /// Inodes that leave the link table because their last name is gone.
    pub unlinked: Vec<Ino>,
}

/// The new state of one inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeChange {
    /// The inode. The body holds what is known: a file's content, or the place-holder
    /// [`Content::EMPTY`] where `extents` is set; a directory's base tree, or [`NodeChange::NEW_DIRECTORY`].
    pub node: Node,
    /// The extents of a file whose content changed and is more than one chunk.
    pub extents: Option<Blob>,
    /// It belongs into the link table; directory entries point there.
    pub linked: bool,
}

/// Changed names of one directory, relative to its base tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryChange {
    /// The directory.
    pub ino: Ino,
    /// Names that are new or stand for something changed, sorted.
    pub upserts: Vec<(Name, Ino)>,
    /// Names that are gone, sorted.
    pub removals: Vec<Name>,
}

impl NodeChange {
    /// The base of a directory that has none: all zero, which no tree is named.
    pub const NEW_DIRECTORY: Subtree = Subtree {
        tree: TreeId::from_bytes([0; 32]),
        digest: crate::id::ContentDigest::from_bytes([0; 32]),
        totals: Totals { entries: 0, subdirs: 0, nodes: 0, bytes: 0, links: 0 },
    };

    /// The tree that a changed directory stands on.
    pub fn base_tree(&self) -> Option<TreeId> {
        match &self.node.body {
            Body::Directory(subtree) if *subtree != Self::NEW_DIRECTORY => Some(subtree.tree),
            _ => None,
        }
    }
}

impl ChangeSet {
    /// The bytes sent to the engine.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_header(TAG, VERSION);
        writer.varint(self.nodes.len() as u64);
        for change in &self.nodes {
            change.node.encode(&mut writer);
            writer.u8(change.linked.into());
            writer.u8(change.extents.is_some().into());
            if let Some(extents) = &change.extents {
                writer.bytes(&extents.encode());
            }
        }
        writer.varint(self.directories.len() as u64);
        for directory in &self.directories {
            writer.varint(directory.ino.0);
            writer.varint(directory.upserts.len() as u64);
            for (name, ino) in &directory.upserts {
                writer.bytes(name.as_bytes());
                writer.varint(ino.0);
            }
            writer.varint(directory.removals.len() as u64);
            for name in &directory.removals {
                writer.bytes(name.as_bytes());
            }
        }
        writer.varint(self.unlinked.len() as u64);
        for ino in &self.unlinked {
            writer.varint(ino.0);
        }
        writer.finish()
    }

    /// Reads what [`ChangeSet::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<ChangeSet> {
        let mut reader = Reader::with_header(bytes, "change set", TAG, VERSION)?;
        let mut changes = ChangeSet::default();
        for _ in 0..reader.varint()? {
            changes.nodes.push(read_node(&mut reader)?);
        }
        for _ in 0..reader.varint()? {
            changes.directories.push(read_directory(&mut reader)?);
        }
        for _ in 0..reader.varint()? {
            changes.unlinked.push(Ino(reader.varint()?));
        }
        reader.finish()?;
        Ok(changes)
    }
}

fn read_node(reader: &mut Reader<'_>) -> Result<NodeChange> {
    let node = Node::decode(reader)?;
    let linked = reader.flag()?;
    let extents = if reader.flag()? {
        let length = reader.remaining();
        Some(Blob::decode(reader.bytes(length)?)?)
    } else {
        None
    };
    if extents.is_some() && !matches!(node.body, Body::File(Content::Inline(_))) {
        return Err(reader.corrupt("has extents for something that is not a file"));
    }
    Ok(NodeChange { node, extents, linked })
}

fn read_directory(reader: &mut Reader<'_>) -> Result<DirectoryChange> {
    let mut change = DirectoryChange { ino: Ino(reader.varint()?), upserts: Vec::new(), removals: Vec::new() };
    for _ in 0..reader.varint()? {
        let name = Name::new(reader.bytes(NAME_MAX)?)?;
        change.upserts.push((name, Ino(reader.varint()?)));
    }
    for _ in 0..reader.varint()? {
        change.removals.push(Name::new(reader.bytes(NAME_MAX)?)?);
    }
    let upserts_sorted = change.upserts.is_sorted_by(|a, b| a.0 < b.0);
    if !upserts_sorted || !change.removals.is_sorted_by(|a, b| a < b) {
        return Err(reader.corrupt("has names out of order"));
    }
    Ok(change)
}

/// An inode without content, for building changes.
pub fn bare_node(ino: Ino, body: Body, mode: u16, uid: u32, gid: u32, time: Time) -> Node {
    Node { ino, mode, uid, gid, nlink: 1, mtime: time, ctime: time, body, xattrs: XattrsRef::None }
}
