//! From a change set to the trees of a new snapshot.
//!
//! The engine runs this on what a mount sent, so nothing in a [`ChangeSet`] is believed: digests and sums are computed,
//! base trees are read again, and what does not fit together is refused before anything is built. It knows no ref and
//! no database; whoever calls it stores the snapshot and moves the ref.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;

use crate::change::{ChangeSet, DirectoryChange, NodeChange};
use crate::error::{Error, Kind, Result};
use crate::id::{BlobId, ObjectKind};
use crate::limits::{
    CHUNK_MAX, DEPTH_MAX, FILE_SIZE_MAX, INLINE_MAX, LINK_MAX, OBJECT_MAX, SYMLINK_MAX, XATTR_INLINE_MAX,
    XATTR_TOTAL_MAX,
};
use crate::object::tree::link_name;
use crate::object::{Blob, Body, ChunkRef, Content, Extent, Ino, Node, Snapshot, Subtree, Target, XattrsRef};
use crate::objects::NewObjects;
use crate::tree::{self, Changes};

#[cfg(test)]
mod tests;

/// What a new snapshot is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The root directory.
    pub root: Node,
    /// The link table; `None` if it is empty.
    pub links: Option<Subtree>,
    /// The new tree of every directory that the change set changes or makes.
    pub trees: Vec<(Ino, Subtree)>,
    /// The blob of every file whose extents were sent.
    pub blobs: Vec<(Ino, BlobId)>,
}

/// Applies `changes` to `base` and adds the new trees and blobs to `objects`.
pub async fn build(objects: &dyn NewObjects, base: &Snapshot, changes: &ChangeSet) -> Result<Built> {
    let index = Index::new(changes)?;
    let plan = index.plan()?;
    let mut build = Build { objects, index, done: HashMap::new(), trees: Vec::new(), blobs: Vec::new() };
    build.files(changes).await?;
    for ino in plan {
        build.directory(ino).await?;
    }
    let links = build.links(base, changes).await?;
    let root = build.node(Ino::ROOT)?.clone();
    Ok(Built { root, links, trees: build.trees, blobs: build.blobs })
}

fn invalid(why: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, format!("the changes do not fit together: {}", why.into()))
}

/// The change set by inode number, checked part by part.
struct Index<'a> {
    nodes: HashMap<Ino, &'a NodeChange>,
    directories: HashMap<Ino, &'a DirectoryChange>,
}

impl<'a> Index<'a> {
    fn new(changes: &'a ChangeSet) -> Result<Self> {
        let mut index = Index { nodes: HashMap::new(), directories: HashMap::new() };
        for change in &changes.nodes {
            check_node(change)?;
            if index.nodes.insert(change.node.ino, change).is_some() {
                return Err(invalid(format!("inode {} is there twice", change.node.ino.0)));
            }
        }
        for directory in &changes.directories {
            let ino = directory.ino.0;
            check_names(directory)?;
            let is_directory = index.nodes.get(&directory.ino).is_some_and(|change| is_directory(&change.node));
            if !is_directory {
                return Err(invalid(format!("inode {ino} has changed names but is not a directory")));
            }
            if index.directories.insert(directory.ino, directory).is_some() {
                return Err(invalid(format!("the names of inode {ino} are there twice")));
            }
        }
        for ino in &changes.unlinked {
            if index.nodes.get(ino).is_some_and(|change| change.linked) {
                return Err(invalid(format!("inode {} both enters and leaves the link table", ino.0)));
            }
        }
        Ok(index)
    }

    fn get(&self, ino: Ino) -> Result<&'a NodeChange> {
        self.nodes.get(&ino).copied().ok_or_else(|| invalid(format!("inode {} is named but not there", ino.0)))
    }

    /// The directories to build, children first. Every node that is not linked is reached by exactly one name.
    fn plan(&self) -> Result<Vec<Ino>> {
        let root = self.get(Ino::ROOT)?;
        if !is_directory(&root.node) || root.linked {
            return Err(invalid("inode 1, the root, is not a directory"));
        }
        let mut reached = HashSet::from([Ino::ROOT]);
        let mut order = Vec::new();
        let mut stack = vec![(Ino::ROOT, 0)];
        // Parents are noted before their children, so the order backwards has children first.
        while let Some((ino, depth)) = stack.pop() {
            if depth > DEPTH_MAX {
                return Err(Error::new(Kind::LimitExceeded, format!("directories are nested over {DEPTH_MAX} deep")));
            }
            order.push(ino);
            for (name, child) in self.directories.get(&ino).map_or(&[][..], |directory| &directory.upserts) {
                let change = self.get(*child)?;
                if change.linked {
                    continue;
                }
                if !reached.insert(*child) {
                    return Err(invalid(format!("inode {} is reached twice, also as {name:?}", child.0)));
                }
                if is_directory(&change.node) {
                    stack.push((*child, depth + 1));
                }
            }
        }
        let lost = self.nodes.values().find(|change| !change.linked && !reached.contains(&change.node.ino));
        if let Some(lost) = lost {
            return Err(invalid(format!("no name leads to the changed inode {}", lost.node.ino.0)));
        }
        order.reverse();
        Ok(order)
    }
}

struct Build<'a> {
    objects: &'a dyn NewObjects,
    index: Index<'a>,
    /// Nodes whose body is complete: directories that were built and files whose blob was stored.
    done: HashMap<Ino, Node>,
    trees: Vec<(Ino, Subtree)>,
    blobs: Vec<(Ino, BlobId)>,
}

impl Build<'_> {
    /// The finished node of an inode.
    fn node(&self, ino: Ino) -> Result<&Node> {
        match self.done.get(&ino) {
            Some(node) => Ok(node),
            None => Ok(&self.index.get(ino)?.node),
        }
    }

    /// Stores the extents of files that are more than one chunk.
    async fn files(&mut self, changes: &ChangeSet) -> Result<()> {
        for change in &changes.nodes {
            let Some(extents) = &change.extents else { continue };
            let bytes = Bytes::from(extents.encode());
            if bytes.len() > OBJECT_MAX {
                return Err(Error::new(
                    Kind::LimitExceeded,
                    format!("inode {} has more extents than fit into {OBJECT_MAX} bytes", change.node.ino.0),
                ));
            }
            let id = BlobId::from_bytes(self.objects.add(ObjectKind::Blob, bytes).await?.hash);
            let body = Body::File(Content::Blob { id, size: extents.size() });
            self.blobs.push((change.node.ino, id));
            self.done.insert(change.node.ino, Node { body, ..change.node.clone() });
        }
        Ok(())
    }

    /// Stores the tree of a directory whose changed children are finished.
    async fn directory(&mut self, ino: Ino) -> Result<()> {
        let change = self.index.get(ino)?;
        let base = change.base_tree();
        let names = self.index.directories.get(&ino).copied();
        let subtree = match (base, names) {
            (Some(base), None) => tree::subtree(self.objects, base).await?,
            (base, names) => {
                let changes = names.map_or(Ok(Changes::new()), |names| self.tree_changes(names))?;
                tree::edit(self.objects, base, changes).await?
            }
        };
        if base.is_none() || names.is_some() {
            self.trees.push((ino, subtree));
        }
        self.done.insert(ino, Node { body: Body::Directory(subtree), nlink: 1, ..change.node.clone() });
        Ok(())
    }

    fn tree_changes(&self, directory: &DirectoryChange) -> Result<Changes> {
        let mut changes = Changes::new();
        for (name, ino) in &directory.upserts {
            let target = match self.index.get(*ino)?.linked {
                true => Target::Link(*ino),
                false => Target::Node(Node { nlink: 1, ..self.node(*ino)?.clone() }),
            };
            changes.insert(name.clone(), Some(target));
        }
        changes.extend(directory.removals.iter().map(|name| (name.clone(), None)));
        Ok(changes)
    }

    /// The base's link table with linked nodes in and unlinked ones out.
    async fn links(&self, base: &Snapshot, changes: &ChangeSet) -> Result<Option<Subtree>> {
        let mut edits = Changes::new();
        for change in changes.nodes.iter().filter(|change| change.linked) {
            let ino = change.node.ino;
            edits.insert(link_name(ino), Some(Target::Node(self.node(ino)?.clone())));
        }
        edits.extend(changes.unlinked.iter().map(|ino| (link_name(*ino), None)));
        if edits.is_empty() {
            return Ok(base.links);
        }
        let subtree = tree::edit(self.objects, base.links.map(|links| links.tree), edits).await?;
        Ok(Some(subtree).filter(|subtree| subtree.totals.entries > 0))
    }
}

fn is_directory(node: &Node) -> bool {
    matches!(node.body, Body::Directory(_))
}

fn check_names(directory: &DirectoryChange) -> Result<()> {
    let names: BTreeMap<_, _> = directory.upserts.iter().map(|(name, ino)| (name, ino)).collect();
    let sorted = directory.upserts.is_sorted_by(|a, b| a.0 < b.0) && directory.removals.is_sorted_by(|a, b| a < b);
    if !sorted {
        return Err(invalid(format!("the names of inode {} are out of order", directory.ino.0)));
    }
    match directory.removals.iter().find(|name| names.contains_key(name)) {
        Some(name) => Err(invalid(format!("{name:?} is both set and removed in inode {}", directory.ino.0))),
        None => Ok(()),
    }
}

/// Whether one node may go into a tree. Decoding checks the same; this covers changes that never were bytes.
fn check_node(change: &NodeChange) -> Result<()> {
    let node = &change.node;
    let refuse = |why: &str| Err(invalid(format!("inode {} {why}", node.ino.0)));
    if node.ino.0 == 0 || node.mode > 0o7777 {
        return refuse("has a number or a mode out of range");
    }
    if node.mtime.nanos >= 1_000_000_000 || node.ctime.nanos >= 1_000_000_000 {
        return refuse("has a time out of range");
    }
    if change.linked && is_directory(node) {
        return refuse("is a directory with several names");
    }
    if change.linked && !(1..=LINK_MAX).contains(&node.nlink) {
        return refuse("has a number of links out of range");
    }
    let xattrs = match &node.xattrs {
        XattrsRef::None => true,
        XattrsRef::Inline(bytes) => bytes.len() <= XATTR_INLINE_MAX,
        XattrsRef::Chunk(chunk) => is_chunk(chunk) && chunk.length as usize <= XATTR_TOTAL_MAX,
    };
    if !xattrs {
        return refuse("has extended attributes of a wrong length");
    }
    let body = match &node.body {
        Body::File(Content::Blob { size, .. }) => *size <= FILE_SIZE_MAX,
        Body::Symlink(Content::Blob { .. }) => false,
        Body::Symlink(content) if content.size() > SYMLINK_MAX as u64 => false,
        Body::File(content) | Body::Symlink(content) => is_content(content),
        _ => true,
    };
    if !body {
        return refuse("has content of a wrong length");
    }
    match &change.extents {
        Some(_) if node.body != Body::File(Content::EMPTY) => refuse("has extents and other content"),
        Some(extents) if !is_blob(extents) => refuse("has extents that are not those of a blob"),
        _ => Ok(()),
    }
}

fn is_chunk(chunk: &ChunkRef) -> bool {
    (1..=CHUNK_MAX).contains(&(chunk.length as usize))
}

fn is_content(content: &Content) -> bool {
    match content {
        Content::Inline(bytes) => bytes.len() <= INLINE_MAX,
        Content::Chunk(chunk) => is_chunk(chunk),
        Content::Blob { .. } => true,
    }
}

/// More than one chunk, or a hole: one chunk alone is named by itself, nothing is inline.
fn is_blob(blob: &Blob) -> bool {
    let chunks = blob.extents().iter().all(|extent| match extent {
        Extent::Chunk(chunk) => is_chunk(chunk),
        Extent::Hole(_) => true,
    });
    let size = blob.extents().iter().try_fold(0u64, |sum, extent| sum.checked_add(extent.length()));
    let alone = matches!(blob.extents(), [] | [Extent::Chunk(_)]);
    chunks && !alone && size.is_some_and(|size| size <= FILE_SIZE_MAX)
}
