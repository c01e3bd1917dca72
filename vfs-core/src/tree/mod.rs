//! Directories over stored nodes: find a name, walk all of them, build, edit.
//!
//! Keeps true: what is built by [`Builder`] and what is reached by [`edit`] from any other state of the directory is the
//! same tree when the entries are the same. Memory is bounded by the depth of the tree and by what is changed, never by
//! the size of a directory.

mod ahead;
mod builder;
mod edit;
mod walk;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

pub(crate) use ahead::TreesAhead;
pub use builder::{Builder, build};
pub use edit::{Changes, edit};
pub use walk::Entries;

use crate::error::{Error, Kind, Result};
use crate::id::{ObjectId, TreeId};
use crate::name::TreePath;
use crate::object::tree::link_name;
use crate::object::{Body, Child, Entry, Ino, Node, Snapshot, Subtree, Target, TreeNode};
use crate::objects::Objects;

/// Reads one node of a tree.
pub async fn read_node(objects: &dyn Objects, id: TreeId) -> Result<TreeNode> {
    TreeNode::decode(&objects.read(id.into()).await?)
}

/// Reads the children of a node at `level`; each must be one level lower and start where its parent says.
async fn read_children(objects: &dyn Objects, level: u8, children: &[Child]) -> Result<Vec<TreeNode>> {
    let ids: Vec<ObjectId> = children.iter().map(|child| child.subtree.tree.into()).collect();
    let nodes = objects.read_many(&ids).await?;
    if nodes.len() != children.len() {
        return Err(Error::new(Kind::Internal, "a read of several objects returned another number of them"));
    }
    nodes.iter().zip(children).map(|(bytes, child)| check_child(level, child, TreeNode::decode(bytes)?)).collect()
}

/// Reads one child of a node at `level`.
pub(crate) async fn read_child(objects: &dyn Objects, level: u8, child: &Child) -> Result<TreeNode> {
    check_child(level, child, read_node(objects, child.subtree.tree).await?)
}

fn check_child(level: u8, child: &Child, node: TreeNode) -> Result<TreeNode> {
    let first = match &node {
        TreeNode::Leaf(entries) => entries.first().map(|entry| &entry.name),
        TreeNode::Interior { children, .. } => children.first().map(|child| &child.first),
    };
    if node.level() + 1 != level || first != Some(&child.first) {
        return Err(Error::corrupt(format!("the tree node {} is not where it belongs", child.subtree.tree)));
    }
    Ok(node)
}

/// Finds a name in a directory.
pub async fn lookup(objects: &dyn Objects, tree: TreeId, name: &[u8]) -> Result<Option<Entry>> {
    let mut node = read_node(objects, tree).await?;
    while node.level() > 0 {
        let Some(child) = node.child(name) else { return Ok(None) };
        node = read_child(objects, node.level(), child).await?;
    }
    Ok(node.entry(name).cloned())
}

/// The node of an inode in a link table.
pub async fn linked(objects: &dyn Objects, links: Option<&Subtree>, ino: Ino) -> Result<Node> {
    let missing = || Error::corrupt(format!("inode {} has several names but is not in the link table", ino.0));
    let links = links.ok_or_else(missing)?;
    match lookup(objects, links.tree, link_name(ino).as_bytes()).await? {
        Some(Entry { target: Target::Node(node), .. }) if node.ino == ino => Ok(node),
        _ => Err(missing()),
    }
}

/// The node that a directory entry stands for.
pub async fn target_node(objects: &dyn Objects, links: Option<&Subtree>, target: Target) -> Result<Node> {
    match target {
        Target::Node(node) => Ok(node),
        Target::Link(ino) => linked(objects, links, ino).await,
    }
}

/// Finds what a path of a snapshot names. Symbolic links are not followed.
pub async fn resolve(objects: &dyn Objects, snapshot: &Snapshot, path: &TreePath) -> Result<Node> {
    let mut node = snapshot.root.clone();
    for name in path.names() {
        let Body::Directory(subtree) = &node.body else {
            return Err(Error::new(Kind::NotADirectory, format!("a part of {path} before {name} is not a directory")));
        };
        let Some(entry) = lookup(objects, subtree.tree, name.as_bytes()).await? else {
            return Err(Error::new(Kind::NotFound, format!("{path} does not exist in this snapshot")));
        };
        node = target_node(objects, snapshot.links.as_ref(), entry.target).await?;
    }
    Ok(node)
}

/// What a tree holds and adds up to, computed from its root node instead of believed.
pub async fn subtree(objects: &dyn Objects, tree: TreeId) -> Result<Subtree> {
    let node = read_node(objects, tree).await?;
    Ok(Subtree { tree, digest: node.digest(objects.key()), totals: node.totals() })
}

/// A shared node, as the editor caches it.
type SharedNode = Arc<TreeNode>;
