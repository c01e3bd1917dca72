//! Walks the earlier snapshot beside the folder, and decides what has to be read.
//!
//! A name keeps content and attributes of the earlier snapshot, without being opened, if kind, size, mode, owner, and to the
//! nanosecond mtime and ctime are what they were, and both times are older than the earlier snapshot. The kernel moves ctime
//! with every change of content, attributes or name, and no program can set it; git, restic and borg trust it as well.
//! What this cannot see: file systems without a ctime of their own (FAT, some of the network), a clock that was set back to
//! the very nanosecond, bytes that changed on the disk by themselves, and writes through a shared mapping whose pages
//! have not been written back. [`super::ImportOptions::reread`] reads everything.

use std::collections::{HashSet, VecDeque};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc::Receiver;

use super::Scanned;
use super::read::{Event, Names, SMALL_MAX};
use super::walk::Meta;
use crate::error::Result;
use crate::limits::CHUNK_MAX;
use crate::name::Name;
use crate::object::{Body, Entry, FileKind, Node, Snapshot, Subtree, Target, Xattrs};
use crate::objects::Objects;
use crate::tree::{self, Entries};

/// Small files that are read as one job.
const SMALL_AT_ONCE: usize = 32;
/// Their bytes.
const SMALL_BYTES: u64 = CHUNK_MAX as u64;

/// What the earlier snapshot has under a name.
pub(super) struct Earlier {
    pub(super) node: Node,
    /// It is in the link table.
    pub(super) linked: bool,
}

/// A name of the folder.
pub(super) struct Found {
    pub(super) name: Name,
    pub(super) meta: Meta,
    pub(super) earlier: Option<Earlier>,
    pub(super) how: How,
}

impl Found {
    /// Whether it has to be read by itself.
    pub(super) fn is_large(&self) -> bool {
        self.how == How::Read && self.meta.kind == FileKind::File && self.meta.size > SMALL_MAX
    }
}

/// Where the content of a name comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// From the earlier snapshot, which has the same.
    Same,
    /// From another name of the same inode.
    Elsewhere,
    /// From the folder.
    Read,
}

/// One step of the assembly, in order.
pub(super) enum Step {
    Enter {
        name: Option<Name>,
        meta: Meta,
        xattrs: Xattrs,
        earlier: Option<Earlier>,
    },
    /// Names that need no reading, or small ones that are read in one go, or one large one.
    Names {
        path: Arc<Path>,
        directory: Arc<OwnedFd>,
        found: Vec<Found>,
    },
    Leave,
    Skipped(PathBuf, String),
}

/// A directory of the earlier snapshot, and how far it was walked.
pub(super) struct Frame<'a> {
    entries: Entries<'a>,
    leaf: std::vec::IntoIter<Entry>,
    next: Option<Entry>,
}

/// The walk beside.
pub(super) struct Beside<'a> {
    objects: &'a dyn Objects,
    /// For the link table, which is not walked: names are looked up in it.
    links: &'a dyn Objects,
    events: Receiver<Event>,
    previous: Option<&'a Snapshot>,
    reread: bool,
    scanned: &'a Scanned,
    /// Inodes with several names whose content comes with an earlier name.
    claimed: HashSet<(u64, u64)>,
    stack: Vec<Option<Frame<'a>>>,
    ready: VecDeque<Step>,
}

impl<'a> Beside<'a> {
    pub(super) fn new(
        objects: &'a dyn Objects,
        links: &'a dyn Objects,
        events: Receiver<Event>,
        previous: Option<&'a Snapshot>,
        reread: bool,
        scanned: &'a Scanned,
    ) -> Self {
        let (claimed, stack, ready) = (HashSet::new(), Vec::new(), VecDeque::new());
        Beside { objects, links, events, previous, reread, scanned, claimed, stack, ready }
    }

    /// The next step; `None` when the walk is over.
    pub(super) async fn next(&mut self) -> Result<Option<Step>> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Ok(Some(step));
            }
            match self.events.recv().await {
                None => return Ok(None),
                Some(Event::Failed(error)) => return Err(error),
                Some(Event::Skipped(path, why)) => self.ready.push_back(Step::Skipped(path, why)),
                Some(Event::Leave) => {
                    self.stack.pop();
                    self.ready.push_back(Step::Leave);
                }
                Some(Event::Enter { name, meta, xattrs }) => self.enter(name, meta, xattrs).await?,
                Some(Event::Names(names)) => self.names(names).await?,
            }
        }
    }

    async fn enter(&mut self, name: Option<Name>, meta: Meta, xattrs: Xattrs) -> Result<()> {
        let earlier = match &name {
            Some(name) => self.find(name).await?.filter(|earlier| earlier.node.body.kind() == FileKind::Directory),
            None => self.previous.map(|snapshot| Earlier { node: snapshot.root.clone(), linked: false }),
        };
        self.stack.push(Frame::of(self.objects, earlier.as_ref().map(|earlier| &earlier.node)));
        self.ready.push_back(Step::Enter { name, meta, xattrs, earlier });
        Ok(())
    }

    async fn names(&mut self, names: Names) -> Result<()> {
        let Names { path, directory, list } = names;
        let (mut group, mut bytes): (Vec<Found>, u64) = (Vec::new(), 0);
        let step = |found| Step::Names { path: path.clone(), directory: directory.clone(), found };
        for (name, meta) in list {
            let earlier = self.find(&name).await?.filter(|earlier| earlier.node.body.kind() == meta.kind);
            let how = self.how(&meta, earlier.as_ref());
            let found = Found { name, meta, earlier, how };
            let read = found.how == How::Read;
            let other = group.last().is_some_and(|last| (last.how == How::Read) != read);
            let full = read && (group.len() >= SMALL_AT_ONCE || bytes + meta.size > SMALL_BYTES);
            // A large file makes its group full, so it is alone in it.
            if !group.is_empty() && (other || full || found.is_large()) {
                self.ready.push_back(step(std::mem::take(&mut group)));
                bytes = 0;
            }
            bytes += match () {
                () if found.is_large() => SMALL_BYTES + 1,
                () if read => meta.size,
                () => 0,
            };
            group.push(found);
        }
        if !group.is_empty() {
            self.ready.push_back(step(group));
        }
        Ok(())
    }

    fn how(&mut self, meta: &Meta, earlier: Option<&Earlier>) -> How {
        let several = meta.nlink > 1 && self.scanned.several.contains_key(&meta.place);
        if several && !self.claimed.insert(meta.place) {
            return How::Elsewhere;
        }
        match earlier {
            Some(earlier) if !self.reread && self.is_unchanged(&earlier.node, meta) => How::Same,
            _ => How::Read,
        }
    }

    fn is_unchanged(&self, earlier: &Node, meta: &Meta) -> bool {
        // Times that are not older say nothing: they were set, or the clock was.
        let older = |snapshot: &Snapshot| meta.mtime < snapshot.time && meta.ctime < snapshot.time;
        let size = match meta.kind {
            FileKind::File | FileKind::Symlink => earlier.size() == meta.size,
            _ => true,
        };
        self.previous.is_some_and(older)
            && size
            && (earlier.mtime, earlier.ctime) == (meta.mtime, meta.ctime)
            && (earlier.mode, earlier.uid, earlier.gid) == (meta.mode, meta.uid, meta.gid)
    }

    /// What the earlier snapshot has under `name` in the present directory; names are asked for in order.
    async fn find(&mut self, name: &Name) -> Result<Option<Earlier>> {
        let links = self.previous.and_then(|snapshot| snapshot.links.as_ref());
        match self.stack.last_mut() {
            Some(Some(frame)) => frame.find(self.links, links, name).await,
            _ => Ok(None),
        }
    }
}

impl<'a> Frame<'a> {
    /// The directory of the earlier snapshot that `earlier` is, if it is one.
    pub(super) fn of(objects: &'a dyn Objects, earlier: Option<&Node>) -> Option<Frame<'a>> {
        match earlier.map(|node| &node.body) {
            Some(Body::Directory(subtree)) => {
                Some(Frame { entries: Entries::new(objects, subtree.tree), leaf: Vec::new().into_iter(), next: None })
            }
            _ => None,
        }
    }

    /// What the directory has under `name`; names are asked for in order.
    pub(super) async fn find(
        &mut self,
        objects: &dyn Objects,
        links: Option<&Subtree>,
        name: &Name,
    ) -> Result<Option<Earlier>> {
        while self.next.as_ref().is_none_or(|entry| entry.name < *name) {
            self.next = self.advance().await?;
            if self.next.is_none() {
                return Ok(None);
            }
        }
        let Some(entry) = self.next.as_ref().filter(|entry| entry.name == *name) else { return Ok(None) };
        let linked = matches!(entry.target, Target::Link(_));
        let node = tree::target_node(objects, links, entry.target.clone()).await?;
        Ok(Some(Earlier { node, linked }))
    }

    async fn advance(&mut self) -> Result<Option<Entry>> {
        if let Some(entry) = self.leaf.next() {
            return Ok(Some(entry));
        }
        let Some(leaf) = self.entries.next_leaf().await? else { return Ok(None) };
        self.leaf = leaf.into_iter();
        Ok(self.leaf.next())
    }
}
