//! A directory with some names changed: reads and writes only the nodes around the changes.
//!
//! Works level by level from the leaves up. On each level the cutter runs again from the start of the first touched node
//! until one of its cuts falls on an old one; behind that, nothing can differ, so it goes on at the next change. What
//! changed on a level (nodes gone, nodes new, by first name) is the list of changes of the level above.

use std::collections::{BTreeMap, HashMap};
use std::iter::Peekable;
use std::sync::Arc;

use super::builder::{Builder, Item, seal};
use super::{SharedNode, read_child, read_node};
use crate::error::Result;
use crate::id::TreeId;
use crate::name::Name;
use crate::object::tree::Cutter;
use crate::object::{Child, Entry, Subtree, Target, TreeNode};
use crate::objects::NewObjects;

/// Names with what they stand for from now on, or `None` where they are gone.
pub type Changes = BTreeMap<Name, Option<Target>>;

type ItemChanges = BTreeMap<Name, Option<Item>>;

/// The directory `base` with `changes`. Removing a name that is not there changes nothing.
pub async fn edit(objects: &dyn NewObjects, base: Option<TreeId>, changes: Changes) -> Result<Subtree> {
    let mut changes: ItemChanges = changes
        .into_iter()
        .map(|(name, target)| {
            let item = target.map(|target| Item::Entry(Entry { name: name.clone(), target }));
            (name, item)
        })
        .collect();
    let root = match base {
        Some(base) => Some((base, Arc::new(read_node(objects, base).await?))),
        None => None,
    };
    let Some((base, root)) = root.filter(|(_, root)| **root != TreeNode::EMPTY) else {
        return from_nothing(objects, 0, changes).await;
    };
    let unchanged = Subtree { tree: base, digest: root.digest(objects.key()), totals: root.totals() };
    let top = root.level();
    let mut cursor = Cursor { objects, root: (base, root), path: Vec::new(), level: 0, interior: HashMap::new() };
    for level in 0..=top {
        cursor.level = level;
        let (old, new) = edit_level(&mut cursor, changes).await?;
        // The root's level keeps its unchanged nodes: the levels above it are made from all of them.
        changes = if level < top || new.len() < 2 { difference(old, new) } else { new };
        if changes.is_empty() {
            return Ok(unchanged);
        }
    }
    let subtree = from_nothing(objects, usize::from(top) + 1, changes).await?;
    without_only_children(objects, subtree).await
}

/// A tree of which all items of one level are given.
async fn from_nothing(objects: &dyn NewObjects, level: usize, items: ItemChanges) -> Result<Subtree> {
    let mut builder = Builder::new(objects);
    for item in items.into_values().flatten() {
        builder.push_item(level, item).await?;
    }
    builder.finish().await
}

/// Goes down where a root has one child only: a full build would have stopped there.
async fn without_only_children(objects: &dyn NewObjects, mut subtree: Subtree) -> Result<Subtree> {
    loop {
        match read_node(objects, subtree.tree).await? {
            TreeNode::Interior { children, .. } if children.len() == 1 => subtree = children[0].subtree,
            _ => return Ok(subtree),
        }
    }
}

/// Applies changes to one level; returns the nodes that were touched and those that stand in their place.
async fn edit_level(cursor: &mut Cursor<'_>, changes: ItemChanges) -> Result<(HashMap<Name, TreeId>, ItemChanges)> {
    let mut changes = changes.into_iter().peekable();
    let mut old: HashMap<Name, TreeId> = HashMap::new();
    let mut new: ItemChanges = BTreeMap::new();
    while let Some((name, _)) = changes.peek() {
        let mut current = cursor.seek(&name.clone()).await?;
        let mut cutter = Cutter::default();
        let mut open = Vec::new();
        loop {
            let (id, items) = current;
            if let Some(first) = items.first() {
                old.insert(first.name().clone(), id);
            }
            let limit = cursor.next_first().cloned();
            for item in merge(items, &mut changes, limit.as_ref()) {
                let ends = cutter.ends_after(cursor.level, item.name());
                open.push(item);
                if ends {
                    let child = seal(cursor.objects, cursor.level, std::mem::take(&mut open)).await?;
                    new.insert(child.first.clone(), Some(Item::Child(child)));
                }
            }
            if open.is_empty() {
                break;
            }
            match cursor.next().await? {
                Some(next) => current = next,
                None => {
                    let child = seal(cursor.objects, cursor.level, open).await?;
                    new.insert(child.first.clone(), Some(Item::Child(child)));
                    break;
                }
            }
        }
    }
    Ok((old, new))
}

/// Old items with the changes below `limit`, in order.
fn merge(
    items: Vec<Item>,
    changes: &mut Peekable<impl Iterator<Item = (Name, Option<Item>)>>,
    limit: Option<&Name>,
) -> Vec<Item> {
    let mut merged = Vec::with_capacity(items.len());
    let mut items = items.into_iter().peekable();
    loop {
        let change = changes.peek().map(|(name, _)| name).filter(|name| limit.is_none_or(|limit| *name < limit));
        let Some(name) = change else {
            merged.extend(items);
            return merged;
        };
        if items.peek().is_some_and(|item| item.name() < name) {
            merged.extend(items.next());
            continue;
        }
        if items.peek().is_some_and(|item| item.name() == name) {
            items.next();
        }
        merged.extend(changes.next().and_then(|(_, item)| item));
    }
}

/// What the level above has to change: nodes that are gone, and nodes that are new or different.
fn difference(old: HashMap<Name, TreeId>, mut new: ItemChanges) -> ItemChanges {
    for (first, id) in old {
        match new.get(&first) {
            Some(Some(Item::Child(child))) if child.subtree.tree == id => {
                new.remove(&first);
            }
            Some(_) => {}
            None => {
                new.insert(first, None);
            }
        }
    }
    new
}

/// A place among the old nodes of one level.
struct Cursor<'a> {
    objects: &'a dyn NewObjects,
    root: (TreeId, SharedNode),
    /// Interior nodes from the root down to just above `level`, each with the index of the child that was taken.
    path: Vec<(SharedNode, usize)>,
    level: u8,
    /// Interior nodes that were read: some thirtieth of the tree at most.
    interior: HashMap<TreeId, SharedNode>,
}

impl Cursor<'_> {
    /// Goes to the node that `name` belongs into.
    async fn seek(&mut self, name: &Name) -> Result<(TreeId, Vec<Item>)> {
        self.path.clear();
        self.descend(self.root.clone(), |children| {
            children.partition_point(|child| child.first <= *name).saturating_sub(1)
        })
        .await
    }

    /// Goes to the next node of the level.
    async fn next(&mut self) -> Result<Option<(TreeId, Vec<Item>)>> {
        while let Some((node, index)) = self.path.pop() {
            let TreeNode::Interior { level, children } = &*node else { continue };
            if let Some(child) = children.get(index + 1) {
                let below = self.read(*level, child).await?;
                let id = child.subtree.tree;
                self.path.push((node, index + 1));
                return self.descend((id, below), |_| 0).await.map(Some);
            }
        }
        Ok(None)
    }

    /// The least name below the next node of the level.
    fn next_first(&self) -> Option<&Name> {
        self.path.iter().rev().find_map(|(node, index)| match &**node {
            TreeNode::Interior { children, .. } => children.get(index + 1).map(|child| &child.first),
            TreeNode::Leaf(_) => None,
        })
    }

    async fn descend(
        &mut self,
        from: (TreeId, SharedNode),
        choose: impl Fn(&[Child]) -> usize,
    ) -> Result<(TreeId, Vec<Item>)> {
        let (mut id, mut node) = from;
        loop {
            let (below_id, below) = match &*node {
                TreeNode::Interior { level, children } if *level > self.level => {
                    let index = choose(children);
                    let below = self.read(*level, &children[index]).await?;
                    self.path.push((node.clone(), index));
                    (children[index].subtree.tree, below)
                }
                TreeNode::Interior { children, .. } => {
                    return Ok((id, children.iter().cloned().map(Item::Child).collect()));
                }
                TreeNode::Leaf(entries) => return Ok((id, entries.iter().cloned().map(Item::Entry).collect())),
            };
            (id, node) = (below_id, below);
        }
    }

    async fn read(&mut self, level: u8, child: &Child) -> Result<SharedNode> {
        let id = child.subtree.tree;
        if let Some(node) = self.interior.get(&id) {
            return Ok(node.clone());
        }
        let node = Arc::new(read_child(self.objects, level, child).await?);
        if node.level() > 0 {
            self.interior.insert(id, node.clone());
        }
        Ok(node)
    }
}
