//! Tree nodes that a walk will ask for, read many at a time.
//!
//! A walk asks for one directory after another, and each question costs a look into the index and a read. Here what a node
//! leads to is read with it, level by level, as far as [`TREES_AHEAD_BYTES`] goes, and kept until it is asked for. A walk over
//! everything asks for each node once, so what was given out is forgotten.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::error::Result;
use crate::id::{IdKey, ObjectId, ObjectKind};
use crate::limits::{TREES_AHEAD, TREES_AHEAD_BYTES};
use crate::object::{Body, Target, TreeNode};
use crate::objects::Objects;

/// Nodes of one request.
const READ_AT_ONCE: usize = 256;

/// Objects whose tree nodes are read ahead.
pub(crate) struct TreesAhead<'a> {
    objects: &'a dyn Objects,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    nodes: HashMap<ObjectId, Ahead>,
    bytes: usize,
}

/// A node that was read and not asked for yet.
struct Ahead {
    bytes: Bytes,
    /// What it leads to was read, too.
    followed: bool,
}

impl<'a> TreesAhead<'a> {
    pub(crate) fn new(objects: &'a dyn Objects) -> Self {
        TreesAhead { objects, held: Mutex::default() }
    }

    /// Reads what these nodes lead to, and what that leads to. Only saves time: whatever cannot be read, or makes no
    /// sense, is left to whoever asks for it.
    async fn follow(&self, nodes: Vec<Bytes>) {
        let mut level: Vec<ObjectId> = nodes.iter().flat_map(|node| below(node)).collect();
        while !level.is_empty() {
            {
                let held = self.held.lock();
                level.retain(|id| !held.nodes.contains_key(id));
                level.truncate(TREES_AHEAD.saturating_sub(held.nodes.len()));
            }
            let (mut next, mut left) = (Vec::new(), level.len());
            for ids in level.chunks(READ_AT_ONCE) {
                let Ok(read) = self.objects.read_many(ids).await else { return };
                left -= ids.len();
                if !self.hold(ids, read, left, &mut next) {
                    return;
                }
            }
            level = next;
        }
    }

    /// Keeps nodes and notes what they lead to in `next`, as long as there is room for it beside `left` others of this
    /// level. Returns whether there is room for more.
    fn hold(&self, ids: &[ObjectId], read: Vec<Bytes>, left: usize, next: &mut Vec<ObjectId>) -> bool {
        let mut held = self.held.lock();
        for (id, bytes) in ids.iter().zip(read) {
            let below = below(&bytes);
            let followed = held.nodes.len() + left + next.len() + below.len() < TREES_AHEAD;
            if followed {
                next.extend(below);
            }
            held.bytes += bytes.len();
            if let Some(before) = held.nodes.insert(*id, Ahead { bytes, followed }) {
                held.bytes -= before.bytes.len();
            }
        }
        held.bytes < TREES_AHEAD_BYTES
    }

    /// Takes what is held of these; forgets everything if what is held is of no use any more.
    fn take(&self, ids: &[ObjectId]) -> Vec<Option<Ahead>> {
        let mut held = self.held.lock();
        let taken: Vec<Option<Ahead>> = ids.iter().map(|id| held.nodes.remove(id)).collect();
        held.bytes -= taken.iter().flatten().map(|ahead| ahead.bytes.len()).sum::<usize>();
        let is_full = held.bytes >= TREES_AHEAD_BYTES || held.nodes.len() >= TREES_AHEAD;
        if is_full && taken.iter().any(Option::is_none) {
            *held = Held::default();
        }
        taken
    }
}

/// The nodes that a node leads to: its children, or its directories.
fn below(node: &[u8]) -> Vec<ObjectId> {
    match TreeNode::decode(node) {
        Ok(TreeNode::Interior { children, .. }) => children.iter().map(|child| child.subtree.tree.into()).collect(),
        Ok(TreeNode::Leaf(entries)) => entries
            .iter()
            .filter_map(|entry| match &entry.target {
                Target::Node(node) => match &node.body {
                    Body::Directory(subtree) => Some(subtree.tree.into()),
                    _ => None,
                },
                Target::Link(_) => None,
            })
            .collect(),
        Err(_) => Vec::new(),
    }
}

#[async_trait]
impl Objects for TreesAhead<'_> {
    fn key(&self) -> &IdKey {
        self.objects.key()
    }

    async fn read_many(&self, ids: &[ObjectId]) -> Result<Vec<Bytes>> {
        if ids.iter().any(|id| id.kind != ObjectKind::Tree) {
            return self.objects.read_many(ids).await;
        }
        let taken = self.take(ids);
        let missing: Vec<ObjectId> =
            ids.iter().zip(&taken).filter(|(_, ahead)| ahead.is_none()).map(|(id, _)| *id).collect();
        let mut read = match missing.is_empty() {
            true => Vec::new(),
            false => self.objects.read_many(&missing).await?,
        }
        .into_iter();
        let mut new = Vec::new();
        let mut found = Vec::with_capacity(ids.len());
        for ahead in taken {
            let (bytes, followed) = match ahead {
                Some(Ahead { bytes, followed }) => (bytes, followed),
                None => (read.next().unwrap_or_default(), false),
            };
            if !followed {
                new.push(bytes.clone());
            }
            found.push(bytes);
        }
        if !new.is_empty() {
            self.follow(new).await;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
