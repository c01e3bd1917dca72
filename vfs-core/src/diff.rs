//! What differs between two snapshots, by content.
//!
//! Walks both trees side by side and skips whatever has equal content digests, so the cost is that of what changed.
//! Times and inode numbers do not count; modes, owners and extended attributes do. Inodes with several names count by
//! what the link tables say: only directories that hold such names are walked when the tables differ.

use std::cmp::Ordering;
use std::collections::HashSet;

use crate::error::{Error, Kind, Result};
use crate::id::TreeId;
use crate::limits::DEPTH_MAX;
use crate::name::{Name, TreePath};
use crate::object::{Body, Child, Content, Entry, Ino, Node, Snapshot, Subtree, Target, TreeNode};
use crate::objects::Objects;
use crate::tree;

#[cfg(test)]
mod tests;

/// One path that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub path: TreePath,
    /// How.
    pub kind: ChangeKind,
    /// What was there.
    pub before: Option<Node>,
    /// What is there.
    pub after: Option<Node>,
}

/// How a path differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Content, mode, owner or extended attributes differ (of a directory: not its names).
    Modified,
    /// It is of another kind, a symlink instead of a file.
    TypeChanged,
}

/// The differences in order of their paths, one after another.
pub struct Diff<'a> {
    objects: &'a dyn Objects,
    before: Option<Subtree>,
    after: Option<Subtree>,
    /// Inodes whose node differs between the link tables; `None` while the tables themselves are compared.
    links: Option<HashSet<Ino>>,
    first: Option<Change>,
    stack: Vec<Pair>,
}

/// A directory on both sides, or on one.
struct Pair {
    path: TreePath,
    before: Side,
    after: Side,
}

/// What is left to visit of one directory: nodes and entries, the next one last.
#[derive(Default)]
struct Side(Vec<Item>);

enum Item {
    /// A node with the level of its parent.
    Node(u8, Child),
    Entry(Entry),
}

impl Item {
    fn name(&self) -> &Name {
        match self {
            Item::Node(_, child) => &child.first,
            Item::Entry(entry) => &entry.name,
        }
    }
}

/// What the next items of both sides ask for.
enum Move {
    SkipBoth,
    OpenBefore,
    OpenAfter,
    OpenBoth,
    TakeBefore,
    TakeAfter,
    TakeBoth,
    Done,
}

impl<'a> Diff<'a> {
    /// Compares two snapshots of one tenant.
    pub async fn new(objects: &'a dyn Objects, before: &Snapshot, after: &Snapshot) -> Result<Diff<'a>> {
        let mut diff = Diff {
            objects,
            before: before.links,
            after: after.links,
            links: Some(changed_links(objects, before.links, after.links).await?),
            first: None,
            stack: Vec::new(),
        };
        diff.first = diff.compare(TreePath::default(), Some(before.root.clone()), Some(after.root.clone())).await?;
        Ok(diff)
    }

    /// The next difference.
    pub async fn next(&mut self) -> Result<Option<Change>> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        while let Some(pair) = self.stack.last_mut() {
            let any_link_differs = self.links.as_ref().is_some_and(|links| !links.is_empty());
            let (before, after) = match pair.next_move(any_link_differs) {
                Move::Done => {
                    self.stack.pop();
                    continue;
                }
                Move::SkipBoth => {
                    pair.before.0.pop();
                    pair.after.0.pop();
                    continue;
                }
                Move::OpenBefore => {
                    pair.before.open(self.objects).await?;
                    continue;
                }
                Move::OpenAfter => {
                    pair.after.open(self.objects).await?;
                    continue;
                }
                Move::OpenBoth => {
                    pair.before.open(self.objects).await?;
                    pair.after.open(self.objects).await?;
                    continue;
                }
                Move::TakeBefore => (pair.before.take(), None),
                Move::TakeAfter => (None, pair.after.take()),
                Move::TakeBoth => (pair.before.take(), pair.after.take()),
            };
            if let Some(change) = self.entries(before, after).await? {
                return Ok(Some(change));
            }
        }
        Ok(None)
    }

    /// Compares what one name stands for on both sides.
    async fn entries(&mut self, before: Option<Entry>, after: Option<Entry>) -> Result<Option<Change>> {
        let parent = &self.stack.last().expect("because entries come from a pair").path;
        let name = before.as_ref().or(after.as_ref()).map(|entry| &entry.name);
        let path = parent.join(name.expect("because one side has an entry"));
        if let (Some(Target::Link(before)), Some(Target::Link(after))) =
            (before.as_ref().map(|entry| &entry.target), after.as_ref().map(|entry| &entry.target))
            && before == after
            && self.links.as_ref().is_none_or(|links| !links.contains(before))
        {
            return Ok(None);
        }
        let before = self.node(self.before, before).await?;
        let after = self.node(self.after, after).await?;
        self.compare(path, before, after).await
    }

    async fn node(&self, links: Option<Subtree>, entry: Option<Entry>) -> Result<Option<Node>> {
        match entry {
            Some(entry) => tree::target_node(self.objects, links.as_ref(), entry.target).await.map(Some),
            None => Ok(None),
        }
    }

    /// Notes what differs at `path`, and goes below where there is something to find.
    async fn compare(&mut self, path: TreePath, before: Option<Node>, after: Option<Node>) -> Result<Option<Change>> {
        self.descend(&path, directory(&before), directory(&after)).await?;
        let kind = match (&before, &after) {
            (None, Some(_)) => ChangeKind::Added,
            (Some(_), None) => ChangeKind::Removed,
            (Some(before), Some(after)) if before.body.kind() != after.body.kind() => ChangeKind::TypeChanged,
            (Some(before), Some(after)) if !same_alone(before, after) => ChangeKind::Modified,
            _ => return Ok(None),
        };
        Ok(Some(Change { path, kind, before, after }))
    }

    async fn descend(&mut self, path: &TreePath, before: Option<Subtree>, after: Option<Subtree>) -> Result<()> {
        if let (Some(before), Some(after)) = (before, after) {
            let any_link_differs = self.links.as_ref().is_some_and(|links| !links.is_empty());
            if same_below(&before, &after, any_link_differs) {
                return Ok(());
            }
        }
        if before.is_none() && after.is_none() {
            return Ok(());
        }
        if path.names().len() > DEPTH_MAX {
            return Err(Error::new(Kind::LimitExceeded, format!("directories are nested over {DEPTH_MAX} deep")));
        }
        let before = Side::root(self.objects, before.map(|subtree| subtree.tree)).await?;
        let after = Side::root(self.objects, after.map(|subtree| subtree.tree)).await?;
        self.stack.push(Pair { path: path.clone(), before, after });
        Ok(())
    }
}

/// All differences, at most `limit` of them; whether there are more.
pub async fn diff(
    objects: &dyn Objects,
    before: &Snapshot,
    after: &Snapshot,
    limit: usize,
) -> Result<(Vec<Change>, bool)> {
    let mut diff = Diff::new(objects, before, after).await?;
    let mut changes = Vec::new();
    while let Some(change) = diff.next().await? {
        if changes.len() == limit {
            return Ok((changes, true));
        }
        changes.push(change);
    }
    Ok((changes, false))
}

/// The inodes whose nodes differ between two link tables.
async fn changed_links(objects: &dyn Objects, before: Option<Subtree>, after: Option<Subtree>) -> Result<HashSet<Ino>> {
    let mut diff = Diff { objects, before: None, after: None, links: None, first: None, stack: Vec::new() };
    diff.descend(&TreePath::default(), before, after).await?;
    let mut changed = HashSet::new();
    while let Some(change) = diff.next().await? {
        changed.extend(change.before.or(change.after).map(|node| node.ino));
    }
    Ok(changed)
}

fn directory(node: &Option<Node>) -> Option<Subtree> {
    match node.as_ref().map(|node| &node.body) {
        Some(Body::Directory(subtree)) => Some(*subtree),
        _ => None,
    }
}

/// Whether nothing can differ below two subtrees.
fn same_below(before: &Subtree, after: &Subtree, any_link_differs: bool) -> bool {
    before.digest == after.digest && (!any_link_differs || before.totals.links == 0)
}

/// Whether two nodes of one kind are the same, names below a directory aside.
fn same_alone(before: &Node, after: &Node) -> bool {
    let plain = |node: &Node| match &node.body {
        Body::Directory(_) => Node { body: Body::File(Content::EMPTY), ..node.clone() },
        _ => node.clone(),
    };
    plain(before).same_content(&plain(after))
}

impl Pair {
    fn next_move(&self, any_link_differs: bool) -> Move {
        let (before, after) = match (self.before.0.last(), self.after.0.last()) {
            (None, None) => return Move::Done,
            (Some(Item::Node(..)), None) => return Move::OpenBefore,
            (Some(Item::Entry(_)), None) => return Move::TakeBefore,
            (None, Some(Item::Node(..))) => return Move::OpenAfter,
            (None, Some(Item::Entry(_))) => return Move::TakeAfter,
            (Some(before), Some(after)) => (before, after),
        };
        let order = before.name().cmp(after.name());
        match (before, after, order) {
            (Item::Node(_, ours), Item::Node(_, theirs), Ordering::Equal)
                if same_below(&ours.subtree, &theirs.subtree, any_link_differs) =>
            {
                Move::SkipBoth
            }
            (Item::Node(ours, _), Item::Node(theirs, _), _) => match ours.cmp(theirs) {
                Ordering::Greater => Move::OpenBefore,
                Ordering::Less => Move::OpenAfter,
                Ordering::Equal if order == Ordering::Less => Move::OpenBefore,
                Ordering::Equal if order == Ordering::Greater => Move::OpenAfter,
                Ordering::Equal => Move::OpenBoth,
            },
            (Item::Node(..), Item::Entry(_), Ordering::Greater) => Move::TakeAfter,
            (Item::Entry(_), Item::Node(..), Ordering::Less) => Move::TakeBefore,
            (Item::Node(..), Item::Entry(_), _) => Move::OpenBefore,
            (Item::Entry(_), Item::Node(..), _) => Move::OpenAfter,
            (Item::Entry(_), Item::Entry(_), Ordering::Less) => Move::TakeBefore,
            (Item::Entry(_), Item::Entry(_), Ordering::Greater) => Move::TakeAfter,
            (Item::Entry(_), Item::Entry(_), Ordering::Equal) => Move::TakeBoth,
        }
    }
}

impl Side {
    async fn root(objects: &dyn Objects, tree: Option<TreeId>) -> Result<Side> {
        let mut side = Side::default();
        if let Some(tree) = tree {
            side.push(tree::read_node(objects, tree).await?);
        }
        Ok(side)
    }

    /// Replaces the next item, a node, by what it holds.
    async fn open(&mut self, objects: &dyn Objects) -> Result<()> {
        if let Some(Item::Node(level, child)) = self.0.pop() {
            self.push(tree::read_child(objects, level, &child).await?);
        }
        Ok(())
    }

    fn push(&mut self, node: TreeNode) {
        match node {
            TreeNode::Leaf(entries) => self.0.extend(entries.into_iter().rev().map(Item::Entry)),
            TreeNode::Interior { level, children } => {
                self.0.extend(children.into_iter().rev().map(|child| Item::Node(level, child)));
            }
        }
    }

    fn take(&mut self) -> Option<Entry> {
        match self.0.pop() {
            Some(Item::Entry(entry)) => Some(entry),
            _ => None,
        }
    }
}
