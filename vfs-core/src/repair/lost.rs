//! Which paths of snapshots cannot be read. Each tree is walked once, however many snapshots share it; no recursion, since
//! trees are as deep as whoever wrote them liked.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::vec;

use super::{LostWhat, View};
use crate::check::half;
use crate::error::Result;
use crate::id::{BlobId, ObjectId, SnapshotId, TreeId};
use crate::name::Name;
use crate::object::tree::link_name;
use crate::object::{Blob, Body, Content, Entry, Extent, Ino, Node, Snapshot, Subtree, Target, TreeNode, XattrsRef};

/// A path from a directory down.
pub(crate) type Path = Vec<Name>;

/// One thing that is lost.
#[derive(Debug, Clone)]
pub(crate) struct Loss {
    /// Where; for [`LostWhat::Names`] the directory.
    pub(crate) path: Path,
    pub(crate) what: LostWhat,
    /// Of a file: what is left of it may be salvaged.
    pub(crate) content: Option<Content>,
}

/// What a snapshot lacks.
pub(crate) enum Taint {
    /// Its own object, or the root directory, cannot be read.
    All,
    /// These; none if it is whole.
    Some(Snapshot, Vec<Loss>),
}

/// Finds losses, and remembers what it has walked.
pub(crate) struct Losses<'a> {
    view: &'a View<'a>,
    whole: HashSet<[u8; 16]>,
    tainted: HashMap<TreeId, Arc<Vec<Loss>>>,
    /// The highest inode number of everything walked.
    pub(crate) ino_max: u64,
}

/// A tree below another one.
struct Below {
    tree: TreeId,
    /// A directory's name; `None`: another node of the same directory.
    name: Option<Name>,
    /// The names that such a node holds.
    names: LostWhat,
}

/// A tree on the way.
struct Frame {
    tree: TreeId,
    name: Option<Name>,
    below: vec::IntoIter<Below>,
    losses: Vec<Loss>,
}

impl<'a> Losses<'a> {
    pub(crate) fn new(view: &'a View<'a>) -> Losses<'a> {
        Losses { view, whole: HashSet::new(), tainted: HashMap::new(), ino_max: 0 }
    }

    pub(super) fn view(&self) -> &'a View<'a> {
        self.view
    }

    /// What a tree that was walked lacks; `None` if it could not be read.
    pub(super) fn tainted_tree(&self, tree: TreeId) -> Option<Arc<Vec<Loss>>> {
        self.known(tree)
    }

    /// What a snapshot lacks.
    pub(crate) async fn of(&mut self, id: SnapshotId) -> Result<Taint> {
        let Some(bytes) = self.view.read_one(id.into()).await? else { return Ok(Taint::All) };
        let Ok(snapshot) = Snapshot::decode(&bytes) else { return Ok(Taint::All) };
        let Body::Directory(root) = &snapshot.root.body else { return Ok(Taint::All) };
        let Some(found) = self.of_tree(root.tree).await? else { return Ok(Taint::All) };
        let mut losses = found.to_vec();
        if let XattrsRef::Chunk(chunk) = &snapshot.root.xattrs
            && self.view.locate(&[chunk.id.into()]).await?.is_empty()
        {
            losses.push(Loss { path: Vec::new(), what: LostWhat::Attributes, content: None });
        }
        if let Some(links) = snapshot.links {
            losses.extend(self.of_links(root.tree, links).await?);
        }
        Ok(Taint::Some(snapshot, losses))
    }

    /// Names of inodes that the link table has lost.
    async fn of_links(&mut self, root: TreeId, links: Subtree) -> Result<Vec<Loss>> {
        let in_table = self.of_tree(links.tree).await?;
        if in_table.as_ref().is_some_and(|losses| losses.is_empty()) {
            return Ok(Vec::new());
        }
        let lost = LostLinks::new(in_table.as_deref().map(Vec::as_slice));
        let mut found = Vec::new();
        let mut waiting: Vec<(TreeId, Path)> = vec![(root, Vec::new())];
        while let Some((tree, path)) = waiting.pop() {
            let Some(bytes) = self.view.read_one(tree.into()).await? else { continue };
            match TreeNode::decode(&bytes) {
                Ok(TreeNode::Leaf(entries)) => {
                    for Entry { name, target } in entries {
                        let mut path = path.clone();
                        path.push(name);
                        match target {
                            Target::Link(ino) => found.extend(lost.at(ino, path)),
                            Target::Node(Node { body: Body::Directory(below), .. }) if below.totals.links > 0 => {
                                waiting.push((below.tree, path));
                            }
                            Target::Node(_) => {}
                        }
                    }
                }
                Ok(TreeNode::Interior { children, .. }) => {
                    let with_links = children.into_iter().filter(|child| child.subtree.totals.links > 0);
                    waiting.extend(with_links.map(|child| (child.subtree.tree, path.clone())));
                }
                Err(_) => {}
            }
        }
        Ok(found)
    }

    /// What a tree lacks; `None` if its own first node cannot be read.
    pub(crate) async fn of_tree(&mut self, tree: TreeId) -> Result<Option<Arc<Vec<Loss>>>> {
        if let Some(known) = self.known(tree) {
            return Ok(Some(known));
        }
        let Some(frame) = self.enter(tree, None).await? else { return Ok(None) };
        let mut stack = vec![frame];
        loop {
            let Some(top) = stack.last_mut() else { return Ok(Some(Arc::default())) };
            let Some(below) = top.below.next() else {
                let Some(Frame { tree, name, losses, .. }) = stack.pop() else { return Ok(Some(Arc::default())) };
                let losses = self.remember(tree, losses);
                match stack.last_mut() {
                    Some(parent) => parent.losses.extend(below_name(&losses, name.as_ref())),
                    None => return Ok(Some(losses)),
                }
                continue;
            };
            if let Some(known) = self.known(below.tree) {
                top.losses.extend(below_name(&known, below.name.as_ref()));
                continue;
            }
            match self.enter(below.tree, below.name.clone()).await? {
                Some(frame) => stack.push(frame),
                None => {
                    top.losses.push(Loss { path: below.name.into_iter().collect(), what: below.names, content: None })
                }
            }
        }
    }

    fn known(&self, tree: TreeId) -> Option<Arc<Vec<Loss>>> {
        if self.whole.contains(&half(&tree.into())) {
            return Some(Arc::default());
        }
        self.tainted.get(&tree).cloned()
    }

    fn remember(&mut self, tree: TreeId, losses: Vec<Loss>) -> Arc<Vec<Loss>> {
        if losses.is_empty() {
            self.whole.insert(half(&tree.into()));
            return Arc::default();
        }
        let losses = Arc::new(losses);
        self.tainted.insert(tree, losses.clone());
        losses
    }

    /// Reads a node; `None` if that cannot be done.
    async fn enter(&mut self, tree: TreeId, name: Option<Name>) -> Result<Option<Frame>> {
        let Some(bytes) = self.view.read_one(tree.into()).await? else { return Ok(None) };
        let Ok(node) = TreeNode::decode(&bytes) else { return Ok(None) };
        let (mut below, mut losses) = (Vec::new(), Vec::new());
        match node {
            TreeNode::Interior { children, .. } => {
                for (index, child) in children.iter().enumerate() {
                    let to = children.get(index + 1).map(|next| next.first.to_string());
                    let names = LostWhat::Names { from: child.first.to_string(), to };
                    below.push(Below { tree: child.subtree.tree, name: None, names });
                }
            }
            TreeNode::Leaf(entries) => {
                for Entry { name, target } in &entries {
                    let Target::Node(node) = target else { continue };
                    self.ino_max = self.ino_max.max(node.ino.0);
                    if let Body::Directory(subtree) = &node.body {
                        let names = LostWhat::Directory;
                        below.push(Below { tree: subtree.tree, name: Some(name.clone()), names });
                    }
                }
                losses = self.of_entries(entries).await?;
            }
        }
        Ok(Some(Frame { tree, name, below: below.into_iter(), losses }))
    }

    /// Contents and attributes that the entries of one leaf lack.
    async fn of_entries(&mut self, entries: Vec<Entry>) -> Result<Vec<Loss>> {
        let (mut chunks, mut blobs): (BTreeSet<ObjectId>, BTreeSet<ObjectId>) = Default::default();
        for node in entries.iter().filter_map(|entry| node_of(&entry.target)) {
            if let XattrsRef::Chunk(chunk) = &node.xattrs {
                chunks.insert(chunk.id.into());
            }
            match content_of(node) {
                Some(Content::Chunk(chunk)) => drop(chunks.insert(chunk.id.into())),
                Some(Content::Blob { id, .. }) => drop(blobs.insert((*id).into())),
                _ => {}
            }
        }
        let read = self.read_blobs(&blobs).await?;
        chunks.extend(read.values().flatten().copied());
        let asked: Vec<ObjectId> = chunks.into_iter().collect();
        let there = self.view.locate(&asked).await?;
        let is_lost = |content: &Content| match content {
            Content::Inline(_) => false,
            Content::Chunk(chunk) => !there.contains_key(&chunk.id.into()),
            Content::Blob { id, .. } => {
                read.get(id).is_none_or(|chunks| chunks.iter().any(|chunk| !there.contains_key(chunk)))
            }
        };
        let mut losses = Vec::new();
        for Entry { name, target } in &entries {
            let Some(node) = node_of(target) else { continue };
            let path = vec![name.clone()];
            match content_of(node) {
                Some(content) if is_lost(content) => {
                    losses.push(Loss { path, what: LostWhat::File, content: Some(content.clone()) });
                }
                _ => {
                    if let XattrsRef::Chunk(chunk) = &node.xattrs
                        && !there.contains_key(&chunk.id.into())
                    {
                        losses.push(Loss { path, what: LostWhat::Attributes, content: None });
                    }
                }
            }
        }
        Ok(losses)
    }

    /// The chunks of these blobs; those that cannot be read are left out.
    async fn read_blobs(&self, blobs: &BTreeSet<ObjectId>) -> Result<BTreeMap<BlobId, Vec<ObjectId>>> {
        let ids: Vec<ObjectId> = blobs.iter().copied().collect();
        let read = self.view.read(&ids).await?;
        let chunks = |bytes: &[u8]| -> Option<Vec<ObjectId>> {
            let chunk = |extent: &Extent| match extent {
                Extent::Chunk(chunk) => Some(chunk.id.into()),
                Extent::Hole(_) => None,
            };
            Some(Blob::decode(bytes).ok()?.extents().iter().filter_map(chunk).collect())
        };
        let pairs = ids.iter().zip(read);
        Ok(pairs.filter_map(|(id, bytes)| Some((BlobId::from_bytes(id.hash), chunks(&bytes?)?))).collect())
    }
}

/// Losses of a tree as the one above sees them.
fn below_name<'l>(losses: &'l [Loss], name: Option<&'l Name>) -> impl Iterator<Item = Loss> + 'l {
    losses.iter().map(move |loss| {
        let mut loss = loss.clone();
        if let Some(name) = name {
            loss.path.insert(0, name.clone());
        }
        loss
    })
}

fn node_of(target: &Target) -> Option<&Node> {
    match target {
        Target::Node(node) => Some(node),
        Target::Link(_) => None,
    }
}

fn content_of(node: &Node) -> Option<&Content> {
    match &node.body {
        Body::File(content) | Body::Symlink(content) => Some(content),
        _ => None,
    }
}

/// What a link table has lost.
struct LostLinks<'l> {
    /// `None`: all of it.
    losses: Option<&'l [Loss]>,
}

impl<'l> LostLinks<'l> {
    fn new(losses: Option<&'l [Loss]>) -> LostLinks<'l> {
        LostLinks { losses }
    }

    /// What is lost of an inode, at one of its paths.
    fn at(&self, ino: Ino, path: Path) -> Option<Loss> {
        let name = link_name(ino);
        let text = name.to_string();
        let Some(losses) = self.losses else { return Some(Loss { path, what: LostWhat::File, content: None }) };
        let hit = losses.iter().find(|loss| match &loss.what {
            LostWhat::Names { from, to } => *from <= text && to.as_ref().is_none_or(|to| text < *to),
            _ => loss.path.first() == Some(&name),
        })?;
        match &hit.what {
            LostWhat::Names { .. } => Some(Loss { path, what: LostWhat::File, content: None }),
            what => Some(Loss { path, what: what.clone(), content: hit.content.clone() }),
        }
    }
}
