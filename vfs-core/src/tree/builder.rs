//! A directory from its sorted entries, streaming: at most one open node a level is in memory.

use bytes::Bytes;

use crate::error::{Error, Kind, Result};
use crate::id::{ObjectKind, TreeId};
use crate::limits::TREE_NODE_MAX;
use crate::name::Name;
use crate::object::tree::Cutter;
use crate::object::{Child, Entry, Subtree, TreeNode};
use crate::objects::NewObjects;

/// What a node of any level holds.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Entry(Entry),
    Child(Child),
}

impl Item {
    pub(super) fn name(&self) -> &Name {
        match self {
            Item::Entry(entry) => &entry.name,
            Item::Child(child) => &child.first,
        }
    }
}

/// Stores a node of these items; returns it as its parent refers to it.
pub(super) async fn seal(objects: &dyn NewObjects, level: u8, items: Vec<Item>) -> Result<Child> {
    let first = items.first().expect("because only the empty directory has an empty node").name().clone();
    let node = if level == 0 {
        TreeNode::Leaf(
            items.into_iter().filter_map(|item| if let Item::Entry(e) = item { Some(e) } else { None }).collect(),
        )
    } else {
        let children = items.into_iter().filter_map(|item| if let Item::Child(c) = item { Some(c) } else { None });
        TreeNode::Interior { level, children: children.collect() }
    };
    Ok(Child { first, subtree: store(objects, &node).await? })
}

/// Stores a node.
pub(super) async fn store(objects: &dyn NewObjects, node: &TreeNode) -> Result<Subtree> {
    let bytes = node.encode();
    if bytes.len() > TREE_NODE_MAX {
        return Err(Error::new(Kind::Invalid, format!("a tree node would have {} bytes", bytes.len())));
    }
    let id = objects.add(ObjectKind::Tree, Bytes::from(bytes)).await?;
    Ok(Subtree { tree: TreeId::from_bytes(id.hash), digest: node.digest(objects.key()), totals: node.totals() })
}

#[derive(Default)]
struct Level {
    cutter: Cutter,
    items: Vec<Item>,
}

/// Takes entries in order of their names and stores the nodes of their tree.
pub struct Builder<'a> {
    objects: &'a dyn NewObjects,
    levels: Vec<Level>,
    last: Option<Name>,
}

impl<'a> Builder<'a> {
    /// A directory without entries so far.
    pub fn new(objects: &'a dyn NewObjects) -> Self {
        Builder { objects, levels: Vec::new(), last: None }
    }

    /// Adds an entry, whose name must be greater than all before.
    pub async fn push(&mut self, entry: Entry) -> Result<()> {
        if self.last.as_ref().is_some_and(|last| *last >= entry.name) {
            return Err(Error::new(Kind::Invalid, format!("the name {:?} is out of order", entry.name)));
        }
        self.last = Some(entry.name.clone());
        self.push_item(0, Item::Entry(entry)).await
    }

    /// Adds an item at `level`, for the editor, which hands in whole nodes.
    pub(super) async fn push_item(&mut self, mut level: usize, mut item: Item) -> Result<()> {
        loop {
            if self.levels.len() <= level {
                self.levels.resize_with(level + 1, Level::default);
            }
            let open = &mut self.levels[level];
            let ends = open.cutter.ends_after(level as u8, item.name());
            open.items.push(item);
            if !ends {
                return Ok(());
            }
            let items = std::mem::take(&mut open.items);
            item = Item::Child(seal(self.objects, level as u8, items).await?);
            level += 1;
        }
    }

    /// Stores what is still open; returns the directory.
    pub async fn finish(mut self) -> Result<Subtree> {
        let mut level = 0;
        while level < self.levels.len() {
            let items = std::mem::take(&mut self.levels[level].items);
            let top = level + 1 == self.levels.len();
            match items.as_slice() {
                // The only node of the level below is the root.
                [Item::Child(child)] if top => return Ok(child.subtree),
                [] => {}
                _ => {
                    let child = seal(self.objects, level as u8, items).await?;
                    if top {
                        return Ok(child.subtree);
                    }
                    self.push_item(level + 1, Item::Child(child)).await?;
                }
            }
            level += 1;
        }
        store(self.objects, &TreeNode::EMPTY).await
    }
}

/// Stores a directory of these entries, sorted by name.
pub async fn build(objects: &dyn NewObjects, entries: impl IntoIterator<Item = Entry>) -> Result<Subtree> {
    let mut builder = Builder::new(objects);
    for entry in entries {
        builder.push(entry).await?;
    }
    builder.finish().await
}
