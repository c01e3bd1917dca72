//! A directory as a tree of nodes, cut where the *names* say so.
//!
//! A node holds at most [`TREE_FANOUT_MAX`] items. Whether a node ends after an item depends on that item's name and
//! on the number of items since the last cut, never on what the entries hold. So equal sets of names are cut alike
//! whatever their history, the content digest of a directory is well defined, and a changed name moves only the cuts
//! next to it. The same structure, with inode numbers as names, is the link table of a snapshot.

use super::codec::{Reader, Writer};
use super::node::{Body, Ino, Node, Subtree, Totals};
use crate::error::Result;
use crate::id::{ContentDigest, IdKey};
use crate::limits::{NAME_MAX, TREE_FANOUT_MAX, TREE_FANOUT_MIN, TREE_NODE_MAX};
use crate::name::Name;

const TAG: u8 = b'T';
const VERSION: u8 = 0;
const LINK_TAG: u8 = 0;
/// Deepest tree of nodes: 8^16 names are more than anybody has.
const LEVEL_MAX: u8 = 16;

/// One name of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: Name,
    /// What it names.
    pub target: Target,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The inode with this single name.
    Node(Node),
    /// An inode of the snapshot's link table.
    Link(Ino),
}

/// One node of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeNode {
    /// Entries, sorted by name.
    Leaf(Vec<Entry>),
    /// Child nodes, sorted by first name.
    Interior {
        /// 1 above leaves, and so on.
        level: u8,
        /// The children.
        children: Vec<Child>,
    },
}

/// A child of an interior node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// The least name below it.
    pub first: Name,
    /// The child with its digest and sums.
    pub subtree: Subtree,
}

impl Entry {
    /// What this entry adds to the sums of its node.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { entries: 1, nodes: 1, ..Totals::default() };
        match &self.target {
            Target::Link(_) => totals.links = 1,
            Target::Node(node) => match &node.body {
                Body::File(content) => totals.bytes = content.size(),
                Body::Directory(subtree) => {
                    totals.subdirs = 1;
                    totals.nodes = totals.nodes.saturating_add(subtree.totals.nodes);
                    totals.bytes = subtree.totals.bytes;
                    totals.links = subtree.totals.links;
                }
                _ => {}
            },
        }
        totals
    }
}

impl TreeNode {
    /// A directory without entries.
    pub const EMPTY: TreeNode = TreeNode::Leaf(Vec::new());

    /// 0 for leaves.
    pub fn level(&self) -> u8 {
        match self {
            TreeNode::Leaf(_) => 0,
            TreeNode::Interior { level, .. } => *level,
        }
    }

    /// Sums over all items.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        match self {
            TreeNode::Leaf(entries) => entries.iter().for_each(|entry| totals += entry.totals()),
            TreeNode::Interior { children, .. } => children.iter().for_each(|child| totals += child.subtree.totals),
        }
        totals
    }

    /// The entry with this name, in a leaf.
    pub fn entry(&self, name: &[u8]) -> Option<&Entry> {
        let TreeNode::Leaf(entries) = self else { return None };
        entries.binary_search_by(|entry| entry.name.as_bytes().cmp(name)).ok().map(|index| &entries[index])
    }

    /// The child that `name` is below if it exists, in an interior node.
    pub fn child(&self, name: &[u8]) -> Option<&Child> {
        let TreeNode::Interior { children, .. } = self else { return None };
        let after = children.partition_point(|child| child.first.as_bytes() <= name);
        children.get(after.checked_sub(1)?)
    }

    /// What the node holds, without times and inode numbers.
    pub fn digest(&self, key: &IdKey) -> ContentDigest {
        let mut hasher = key.content_digest();
        hasher.update(&[self.level()]);
        match self {
            TreeNode::Leaf(entries) => {
                for entry in entries {
                    digest_name(&mut hasher, &entry.name);
                    match &entry.target {
                        Target::Node(node) => node.digest_into(&mut hasher),
                        Target::Link(ino) => {
                            hasher.update(&[LINK_TAG]);
                            hasher.update(&ino.0.to_le_bytes());
                        }
                    }
                }
            }
            TreeNode::Interior { children, .. } => {
                for child in children {
                    digest_name(&mut hasher, &child.first);
                    hasher.update(child.subtree.digest.as_bytes());
                }
            }
        }
        ContentDigest::from_bytes(*hasher.finalize().as_bytes())
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_header(TAG, VERSION);
        writer.u8(self.level());
        match self {
            TreeNode::Leaf(entries) => {
                writer.varint(entries.len() as u64);
                for entry in entries {
                    writer.bytes(entry.name.as_bytes());
                    match &entry.target {
                        Target::Node(node) => node.encode(&mut writer),
                        Target::Link(ino) => {
                            writer.u8(LINK_TAG);
                            writer.varint(ino.0);
                        }
                    }
                }
            }
            TreeNode::Interior { children, .. } => {
                writer.varint(children.len() as u64);
                for child in children {
                    writer.bytes(child.first.as_bytes());
                    child.subtree.encode(&mut writer);
                }
            }
        }
        writer.finish()
    }

    /// Reads canonical bytes; refuses names that are wrong or out of order.
    pub fn decode(bytes: &[u8]) -> Result<TreeNode> {
        let mut reader = Reader::with_header(bytes, "tree node", TAG, VERSION)?;
        if bytes.len() > TREE_NODE_MAX {
            return Err(reader.corrupt(format!("has {} bytes", bytes.len())));
        }
        let level = reader.u8()?;
        let count = reader.varint()?;
        if count > TREE_FANOUT_MAX as u64 || level > LEVEL_MAX {
            return Err(reader.corrupt(format!("has {count} items at level {level}")));
        }
        let node = if level == 0 {
            let mut entries: Vec<Entry> = Vec::with_capacity(count as usize);
            for _ in 0..count {
                let name = read_name(&mut reader, entries.last().map(|entry| &entry.name))?;
                let target = match reader.u8()? {
                    LINK_TAG => match reader.varint()? {
                        0 => return Err(reader.corrupt("points at inode 0")),
                        ino => Target::Link(Ino(ino)),
                    },
                    tag => Target::Node(Node::decode_after_tag(tag, &mut reader)?),
                };
                entries.push(Entry { name, target });
            }
            TreeNode::Leaf(entries)
        } else {
            let mut children: Vec<Child> = Vec::with_capacity(count as usize);
            for _ in 0..count {
                let first = read_name(&mut reader, children.last().map(|child| &child.first))?;
                children.push(Child { first, subtree: Subtree::decode(&mut reader)? });
            }
            if children.is_empty() {
                return Err(reader.corrupt("has no children"));
            }
            TreeNode::Interior { level, children }
        };
        reader.finish()?;
        Ok(node)
    }

    /// The node as a parent refers to it, with its canonical bytes.
    pub fn seal(&self, key: &IdKey) -> (Subtree, Vec<u8>) {
        let bytes = self.encode();
        (Subtree { tree: key.tree_id(&bytes), digest: self.digest(key), totals: self.totals() }, bytes)
    }
}

fn digest_name(hasher: &mut blake3::Hasher, name: &Name) {
    hasher.update(&[name.as_bytes().len() as u8]);
    hasher.update(name.as_bytes());
}

fn read_name(reader: &mut Reader<'_>, previous: Option<&Name>) -> Result<Name> {
    let bytes = reader.bytes(NAME_MAX)?;
    if previous.is_some_and(|previous| previous.as_bytes() >= bytes) {
        return Err(reader.corrupt("has names out of order"));
    }
    Name::new(bytes).map_err(|error| reader.corrupt("holds a name that is not allowed").because(error))
}

/// Decides, item after item, where the nodes of one level end.
#[derive(Debug, Default, Clone, Copy)]
pub struct Cutter {
    items: usize,
}

impl Cutter {
    /// Takes the next item's name at `level`; whether a node ends after it.
    pub fn ends_after(&mut self, level: u8, name: &Name) -> bool {
        self.items += 1;
        let ends = self.items >= TREE_FANOUT_MAX || (self.items >= TREE_FANOUT_MIN && is_boundary(level, name));
        if ends {
            self.items = 0;
        }
        ends
    }
}

/// One name in 32 ends a node.
fn is_boundary(level: u8, name: &Name) -> bool {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[level]);
    hasher.update(name.as_bytes());
    hasher.finalize().as_bytes()[0] & 31 == 0
}

/// The name of an inode in the link table: 16 hexadecimal digits, so that the order is that of the numbers.
pub fn link_name(ino: Ino) -> Name {
    Name::new(format!("{:016x}", ino.0).as_bytes()).expect("because hexadecimal digits are a valid name")
}
