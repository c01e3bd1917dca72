//! The tree that an archive makes, in memory, until its last member has come: members come in any order.
//!
//! Keeps true: every name is below the root. Nothing is followed: a path through a symlink, or through anything but a
//! directory, is refused, and a hard link names a file that came before.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::members::{Member, MemberKind};
use super::source::{invalid, too_much};
use crate::clock::Time;
use crate::error::Result;
use crate::import::assemble::Numbers;
use crate::import::beside::{Earlier, Frame};
use crate::import::{Imported, InoSource};
use crate::limits::{DEPTH_MAX, LINK_MAX, TAR_BYTES_MAX, TAR_MEMBERS_MAX, TAR_TREE_BYTES_MAX};
use crate::name::Name;
use crate::object::tree::link_name;
use crate::object::{Body, Content, Entry, FileKind, Ino, Node, Snapshot, Subtree, Target, XattrsRef};
use crate::objects::NewObjects;
use crate::tree::{self, Builder};

const ROOT: usize = 0;
/// Memory of one node with its place in its directory, besides names and contents.
const NODE_BYTES: u64 = 320;

struct Planted {
    mode: u16,
    uid: u32,
    gid: u32,
    mtime: Time,
    xattrs: XattrsRef,
    what: What,
    names: u32,
}

enum What {
    Directory(BTreeMap<Name, usize>),
    File(Content),
    Symlink(Content),
    Fifo,
}

/// The tree.
pub(super) struct Plant {
    nodes: Vec<Planted>,
    members: u64,
    /// Memory taken, about.
    taken: u64,
    /// Bytes of files.
    pub(super) bytes: u64,
    time: Time,
}

impl Plant {
    /// Only a root, as the earlier snapshot has it.
    pub(super) fn new(previous: Option<&Snapshot>, time: Time) -> Self {
        let mut root = directory(time);
        if let Some(Snapshot { root: earlier, .. }) = previous {
            (root.mode, root.uid, root.gid) = (earlier.mode, earlier.uid, earlier.gid);
            (root.mtime, root.xattrs) = (earlier.mtime, earlier.xattrs.clone());
        }
        Plant { nodes: vec![root], members: 0, taken: 0, bytes: 0, time }
    }

    pub(super) fn len(&self) -> u64 {
        self.members
    }

    /// Takes a member whose content is stored.
    pub(super) fn take(&mut self, member: &Member, content: Option<Content>, xattrs: XattrsRef) -> Result<()> {
        self.members += 1;
        if self.members > TAR_MEMBERS_MAX {
            return Err(too_much(format!("it has over {TAR_MEMBERS_MAX} members")));
        }
        let names = names_of(&member.path)?;
        let what = match member.kind {
            MemberKind::Directory => What::Directory(BTreeMap::new()),
            MemberKind::File => What::File(content.unwrap_or(Content::EMPTY)),
            MemberKind::Symlink => What::Symlink(content.unwrap_or(Content::EMPTY)),
            MemberKind::Fifo => What::Fifo,
            MemberKind::HardLink => return self.link(member, &names),
            MemberKind::Device | MemberKind::Label => return Ok(()),
        };
        self.weigh(NODE_BYTES + weight(&what) + xattrs_weight(&xattrs))?;
        if let What::File(content) = &what {
            self.bytes = self.bytes.saturating_add(content.size());
            if self.bytes > TAR_BYTES_MAX {
                return Err(too_much(format!("its files have over {TAR_BYTES_MAX} bytes")));
            }
        }
        let (mode, uid, gid, mtime) = (member.mode, member.uid, member.gid, member.mtime);
        let planted = Planted { mode, uid, gid, mtime, xattrs, what, names: 1 };
        let Some((name, above)) = names.split_last() else {
            // The root itself.
            return match planted.what {
                What::Directory(_) => {
                    self.cover(ROOT, planted);
                    Ok(())
                }
                _ => Err(invalid("its root is not a directory")),
            };
        };
        let parent = self.descend(above, &member.path)?;
        match (self.child(parent, name), &planted.what) {
            (Some(old), What::Directory(_)) if self.is_directory(old) => self.cover(old, planted),
            (Some(old), _) if self.is_directory(old) && !self.is_empty(old) => {
                return Err(invalid(format!("{} replaces a directory with names in it", shown(&member.path))));
            }
            _ => {
                self.nodes.push(planted);
                let index = self.nodes.len() - 1;
                self.put(parent, name, index)?;
            }
        }
        Ok(())
    }

    fn link(&mut self, member: &Member, names: &[Name]) -> Result<()> {
        let missing = || {
            let (path, link) = (shown(&member.path), shown(&member.link));
            invalid(format!("{path} is a hard link to {link}, which is no file that came before it"))
        };
        let mut target = ROOT;
        for name in names_of(&member.link)? {
            target = self.child(target, &name).ok_or_else(missing)?;
        }
        let Some((name, above)) = names.split_last().filter(|_| !self.is_directory(target)) else {
            return Err(missing());
        };
        let parent = self.descend(above, &member.path)?;
        match self.child(parent, name) {
            Some(old) if old == target => return Ok(()),
            Some(old) if self.is_directory(old) => return Err(missing()),
            _ => {}
        }
        self.nodes[target].names += 1;
        if self.nodes[target].names > LINK_MAX {
            return Err(too_much(format!("a file has over {LINK_MAX} names")));
        }
        self.put(parent, name, target)
    }

    fn weigh(&mut self, more: u64) -> Result<()> {
        self.taken += more;
        match self.taken > TAR_TREE_BYTES_MAX {
            true => Err(too_much("its names and attributes need more memory than there may be: import it in parts")),
            false => Ok(()),
        }
    }

    fn is_directory(&self, index: usize) -> bool {
        matches!(self.nodes[index].what, What::Directory(_))
    }

    fn is_empty(&self, index: usize) -> bool {
        matches!(&self.nodes[index].what, What::Directory(names) if names.is_empty())
    }

    fn child(&self, parent: usize, name: &Name) -> Option<usize> {
        match &self.nodes[parent].what {
            What::Directory(names) => names.get(name).copied(),
            _ => None,
        }
    }

    /// Gives a directory the attributes that a later member says.
    fn cover(&mut self, index: usize, planted: Planted) {
        let old = &mut self.nodes[index];
        let what = std::mem::replace(&mut old.what, What::Fifo);
        *old = Planted { what, ..planted };
    }

    fn put(&mut self, parent: usize, name: &Name, index: usize) -> Result<()> {
        self.weigh(2 * name.as_bytes().len() as u64 + 64)?;
        let What::Directory(names) = &mut self.nodes[parent].what else {
            return Err(invalid("a name lies below something that is no directory"));
        };
        if let Some(old) = names.insert(name.clone(), index) {
            self.nodes[old].names -= 1;
        }
        Ok(())
    }

    /// The directory that these names lead to; those that did not come yet are made.
    fn descend(&mut self, names: &[Name], path: &[u8]) -> Result<usize> {
        let mut at = ROOT;
        for name in names {
            at = match self.child(at, name) {
                Some(next) if self.is_directory(next) => next,
                Some(_) => {
                    return Err(invalid(format!("{} lies below {name}, which is no directory", shown(path))));
                }
                None => {
                    self.weigh(NODE_BYTES)?;
                    self.nodes.push(directory(self.time));
                    let next = self.nodes.len() - 1;
                    self.put(at, name, next)?;
                    next
                }
            };
        }
        Ok(at)
    }

    /// Stores the trees. What is as in the earlier snapshot keeps its number and its time of change; everything else was
    /// changed now: an archive cannot say otherwise, or a later import would believe it.
    pub(super) async fn store(
        mut self,
        objects: &dyn NewObjects,
        inos: &dyn InoSource,
        previous: Option<&Snapshot>,
        skipped: Vec<(std::path::PathBuf, String)>,
    ) -> Result<Imported> {
        let links = previous.and_then(|snapshot| snapshot.links.as_ref());
        let mut numbers = Numbers::new(inos, self.nodes.len() as u64);
        let mut linked: HashMap<usize, Node> = HashMap::new();
        let mut seen = HashSet::new();
        let earlier_root = previous.map(|snapshot| Earlier { node: snapshot.root.clone(), linked: false });
        let mut stack = vec![self.open(objects, None, ROOT, Ino::ROOT, earlier_root)];
        loop {
            let Some(level) = stack.last_mut() else { return Err(invalid("it has no root")) };
            let Some((name, index)) = level.names.next() else {
                let Some(level) = stack.pop() else { return Err(invalid("it has no root")) };
                let body = Body::Directory(level.builder.finish().await?);
                let node = self.node(level.index, level.ino, body, level.earlier.as_ref());
                let Some(name) = level.name else { return finish(objects, node, linked, skipped).await };
                let above = stack.last_mut().ok_or_else(|| invalid("it has no root"))?;
                above.builder.push(Entry { name, target: Target::Node(node) }).await?;
                continue;
            };
            let earlier = match &mut level.beside {
                Some(beside) => beside.find(objects, links, &name).await?,
                None => None,
            };
            if self.is_directory(index) {
                if stack.len() > DEPTH_MAX || !seen.insert(index) {
                    return Err(too_much("its directories are nested too deep"));
                }
                let ino = numbers.give(earlier.as_ref(), FileKind::Directory).await?;
                stack.push(self.open(objects, Some(name), index, ino, earlier));
                continue;
            }
            let (kind, body) = match &self.nodes[index].what {
                What::File(content) => (FileKind::File, Body::File(content.clone())),
                What::Symlink(content) => (FileKind::Symlink, Body::Symlink(content.clone())),
                _ => (FileKind::Fifo, Body::Fifo),
            };
            let several = self.nodes[index].names > 1;
            let target = match linked.get(&index) {
                Some(node) => Target::Link(node.ino),
                None => {
                    let ino = numbers.give(earlier.as_ref(), kind).await?;
                    let node = self.node(index, ino, body, earlier.as_ref());
                    if several {
                        linked.insert(index, node);
                        Target::Link(ino)
                    } else {
                        Target::Node(node)
                    }
                }
            };
            level.builder.push(Entry { name, target }).await?;
        }
    }

    fn open<'a>(
        &mut self,
        objects: &'a dyn NewObjects,
        name: Option<Name>,
        index: usize,
        ino: Ino,
        earlier: Option<Earlier>,
    ) -> Level<'a> {
        let names = match &mut self.nodes[index].what {
            What::Directory(names) => std::mem::take(names),
            _ => BTreeMap::new(),
        };
        let beside = Frame::of(objects, earlier.as_ref().map(|earlier| &earlier.node));
        Level { name, index, ino, names: names.into_iter(), builder: Builder::new(objects), beside, earlier }
    }

    fn node(&self, index: usize, ino: Ino, body: Body, earlier: Option<&Earlier>) -> Node {
        let planted = &self.nodes[index];
        let node = Node {
            ino,
            mode: planted.mode,
            uid: planted.uid,
            gid: planted.gid,
            nlink: if matches!(body, Body::Directory(_)) { 1 } else { planted.names },
            mtime: planted.mtime,
            ctime: self.time,
            body,
            xattrs: planted.xattrs.clone(),
        };
        match earlier {
            Some(Earlier { node: before, .. }) if *before == Node { ctime: before.ctime, ..node.clone() } => {
                before.clone()
            }
            _ => node,
        }
    }
}

struct Level<'a> {
    name: Option<Name>,
    index: usize,
    ino: Ino,
    names: std::collections::btree_map::IntoIter<Name, usize>,
    builder: Builder<'a>,
    beside: Option<Frame<'a>>,
    earlier: Option<Earlier>,
}

async fn finish(
    objects: &dyn NewObjects,
    root: Node,
    linked: HashMap<usize, Node>,
    skipped: Vec<(std::path::PathBuf, String)>,
) -> Result<Imported> {
    let mut nodes: Vec<Entry> =
        linked.into_values().map(|node| Entry { name: link_name(node.ino), target: Target::Node(node) }).collect();
    nodes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let links: Option<Subtree> = match nodes.is_empty() {
        true => None,
        false => Some(tree::build(objects, nodes).await?),
    };
    let totals = match &root.body {
        Body::Directory(subtree) => subtree.totals,
        _ => return Err(invalid("its root is not a directory")),
    };
    Ok(Imported { root, links, totals, skipped })
}

fn directory(time: Time) -> Planted {
    let what = What::Directory(BTreeMap::new());
    Planted { mode: 0o755, uid: 0, gid: 0, mtime: time, xattrs: XattrsRef::None, what, names: 1 }
}

fn weight(what: &What) -> u64 {
    match what {
        What::File(Content::Inline(bytes)) | What::Symlink(Content::Inline(bytes)) => bytes.len() as u64,
        _ => 0,
    }
}

fn xattrs_weight(xattrs: &XattrsRef) -> u64 {
    if let XattrsRef::Inline(bytes) = xattrs { bytes.len() as u64 } else { 0 }
}

/// A path as an error shows it.
pub(super) fn shown(path: &[u8]) -> String {
    const SHOWN_MAX: usize = 200;
    format!("{:?}", String::from_utf8_lossy(&path[..path.len().min(SHOWN_MAX)]))
}

/// The names of a member's path. An absolute one, and one with `..`, leads out and is refused.
fn names_of(path: &[u8]) -> Result<Vec<Name>> {
    if path.first() == Some(&b'/') {
        return Err(invalid(format!("{} is an absolute name", shown(path))));
    }
    let mut names = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(invalid(format!("{} leads out of it", shown(path)))),
            part => names.push(Name::new(part).map_err(|error| invalid(error.context()).because(error))?),
        }
        if names.len() > DEPTH_MAX {
            return Err(too_much(format!("{} is nested over {DEPTH_MAX} directories deep", shown(path))));
        }
    }
    Ok(names)
}
