//! All names of a directory in order, a leaf at a time.

use std::vec;

use super::{read_children, read_node};
use crate::error::Result;
use crate::id::TreeId;
use crate::object::{Child, Entry, TreeNode};
use crate::objects::Objects;

/// Leaves that are read ahead in one request: some 100 KiB of entries.
const AHEAD: usize = 16;

/// Streams the entries of one directory in order of their names.
pub struct Entries<'a> {
    objects: &'a dyn Objects,
    root: Option<TreeId>,
    after: Option<Vec<u8>>,
    /// Interior nodes from the root down, each with its level and the children still to visit.
    stack: Vec<(u8, vec::IntoIter<Child>)>,
    leaves: vec::IntoIter<Vec<Entry>>,
    current: vec::IntoIter<Entry>,
}

impl<'a> Entries<'a> {
    /// All entries of `tree`.
    pub fn new(objects: &'a dyn Objects, tree: TreeId) -> Self {
        Entries {
            objects,
            root: Some(tree),
            after: None,
            stack: Vec::new(),
            leaves: Vec::new().into_iter(),
            current: Vec::new().into_iter(),
        }
    }

    /// The entries of `tree` whose names are greater than `name`.
    pub fn after(objects: &'a dyn Objects, tree: TreeId, name: &[u8]) -> Self {
        Entries { after: Some(name.to_vec()), ..Entries::new(objects, tree) }
    }

    /// The next entry.
    pub async fn next(&mut self) -> Result<Option<Entry>> {
        loop {
            if let Some(entry) = self.current.next() {
                return Ok(Some(entry));
            }
            match self.next_leaf().await? {
                Some(entries) => self.current = entries.into_iter(),
                None => return Ok(None),
            }
        }
    }

    /// The entries of the next leaf that were not yet given out; `None` at the end.
    pub async fn next_leaf(&mut self) -> Result<Option<Vec<Entry>>> {
        let rest: Vec<Entry> = std::mem::take(&mut self.current).collect();
        if !rest.is_empty() {
            return Ok(Some(rest));
        }
        loop {
            for mut entries in self.leaves.by_ref() {
                if let Some(after) = &self.after {
                    entries.retain(|entry| entry.name.as_bytes() > after.as_slice());
                }
                if !entries.is_empty() {
                    return Ok(Some(entries));
                }
            }
            if !self.advance().await? {
                return Ok(None);
            }
        }
    }

    /// Reads the next nodes on the way; false at the end.
    async fn advance(&mut self) -> Result<bool> {
        if let Some(root) = self.root.take() {
            let node = read_node(self.objects, root).await?;
            self.take_nodes(vec![node]);
            return Ok(true);
        }
        let Some((level, children)) = self.stack.last_mut() else { return Ok(false) };
        let level = *level;
        let wanted: Vec<Child> = children.take(if level == 1 { AHEAD } else { 1 }).collect();
        if wanted.is_empty() {
            self.stack.pop();
            return Ok(true);
        }
        let nodes = read_children(self.objects, level, &wanted).await?;
        self.take_nodes(nodes);
        Ok(true)
    }

    fn take_nodes(&mut self, nodes: Vec<TreeNode>) {
        let mut leaves = Vec::new();
        for node in nodes {
            match node {
                TreeNode::Leaf(entries) => leaves.push(entries),
                TreeNode::Interior { level, mut children } => {
                    if let Some(after) = &self.after {
                        let start = children.partition_point(|child| child.first.as_bytes() <= after.as_slice());
                        children.drain(..start.saturating_sub(1));
                    }
                    self.stack.push((level, children.into_iter()));
                }
            }
        }
        self.leaves = leaves.into_iter();
    }
}
