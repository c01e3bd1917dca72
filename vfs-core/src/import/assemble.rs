//! Puts together what the threads read: chunks, blobs, trees, the link table, inode numbers.
//!
//! Content of several files is added at once, but names are taken in order, so that the same folder gives the same
//! objects, and inode numbers are given out in that order too.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc::{Receiver, channel};

use super::beside::{Beside, Earlier, Found, How, Step};
use super::read::{Event, Held, Piece, Read, Readers, dead};
use super::reuse::{Remembering, Reusing};
use super::walk::Meta;
use super::{Imported, InoSource, Scanned};
use crate::ahead::ahead;
use crate::error::{Error, Kind, Result};
use crate::id::{BlobId, ChunkId, ObjectKind, PlainDigest};
use crate::limits::{INLINE_MAX, INO_RANGE, LINK_MAX, OBJECT_MAX, XATTR_INLINE_MAX};
use crate::name::Name;
use crate::object::tree::link_name;
use crate::object::{
    Blob, Body, ChunkRef, Content, Entry, Extent, FileKind, Ino, Node, Snapshot, Subtree, Target, Totals, Xattrs,
    XattrsRef,
};
use crate::objects::NewObjects;
use crate::progress::{OnProgress, Progress};
use crate::tree::{self, Builder};

/// Large files, or groups of small ones, whose content is added at the same time; each has at most a few MiB on the way.
pub(super) const FILES_AT_ONCE: usize = 8;

/// Steps that are decided ahead of the reading.
const STEPS_AHEAD: usize = 16;

/// A step whose content is stored.
enum Ready {
    Enter { name: Option<Name>, meta: Meta, xattrs: XattrsRef, earlier: Option<Earlier> },
    Names { path: Arc<Path>, names: Vec<ReadyName> },
    Leave,
    Skipped(PathBuf, String),
}

struct ReadyName {
    name: Name,
    earlier: Option<Earlier>,
    read: ReadyRead,
}

enum ReadyRead {
    Node { meta: Meta, content: Option<Content>, xattrs: XattrsRef, warnings: Vec<String> },
    Skipped(String),
    Gone,
}

/// Turns events into trees. Stops the threads when it ends, by dropping `events` and the jobs' channel.
pub(super) async fn assemble(
    objects: &dyn NewObjects,
    inos: &dyn InoSource,
    previous: Option<&Snapshot>,
    scanned: &Arc<Scanned>,
    events: Receiver<Event>,
    reread: bool,
    progress: &OnProgress,
) -> Result<Imported> {
    let links = &Remembering::new(objects);
    let objects = &Reusing::new(links);
    let readers = &Readers::start(scanned);
    let mut beside = Beside::new(objects, links, events, previous, reread, scanned);
    let (sender, steps) = channel(STEPS_AHEAD);
    let look = async move {
        while let Some(step) = beside.next().await? {
            if sender.send(step).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let steps = futures::stream::unfold(steps, async |mut steps| steps.recv().await.map(|step| (step, steps)));
    let (ahead, mut ready) = ahead(FILES_AT_ONCE);
    let store = ahead.run(steps.map(|step| make_ready(objects, readers, step)));
    let mut assembler = Assembler {
        objects,
        numbers: Numbers::new(inos, scanned.names),
        scanned,
        stack: Vec::new(),
        links: HashMap::new(),
        skipped: Vec::new(),
        done: Totals::default(),
        root: None,
        progress,
    };
    let build = async move {
        while let Some(step) = ready.next().await {
            assembler.take(step).await?;
        }
        Ok(assembler)
    };
    let ((), (), assembler) = futures::future::try_join3(look, store, build).await?;
    assembler.finish().await
}

async fn make_ready(objects: &dyn NewObjects, readers: &Readers, step: Step) -> Result<Ready> {
    Ok(match step {
        Step::Enter { name, meta, xattrs, earlier } => {
            Ready::Enter { name, meta, xattrs: store_xattrs(objects, &xattrs).await?, earlier }
        }
        Step::Names { path, directory, found } => {
            let small = found.iter().filter(|found| found.how == How::Read && !found.is_large());
            let small: Vec<Name> = small.map(|found| found.name.clone()).collect();
            let mut read = match small.is_empty() {
                true => Vec::new(),
                false => readers.small(directory.clone(), small).await?,
            }
            .into_iter();
            let mut names = Vec::with_capacity(found.len());
            for found in found {
                let is_large = found.is_large();
                let Found { name, meta, earlier, how } = found;
                let warnings = Vec::new();
                let read = match (how, &earlier) {
                    (How::Same, Some(Earlier { node, .. })) => {
                        let (content, xattrs) = (Some(content_of(node)), node.xattrs.clone());
                        ReadyRead::Node { meta, content, xattrs, warnings }
                    }
                    (How::Elsewhere, _) => ReadyRead::Node { meta, content: None, xattrs: XattrsRef::None, warnings },
                    _ => match if is_large { Read::Large } else { read.next().ok_or_else(dead)? } {
                        Read::Large => receive(objects, readers.large(directory.clone(), name.clone()).await?).await?,
                        read => store(objects, read, Vec::new()).await?,
                    },
                };
                names.push(ReadyName { name, earlier, read });
            }
            Ready::Names { path, names }
        }
        Step::Leave => Ready::Leave,
        Step::Skipped(path, why) => Ready::Skipped(path, why),
    })
}

fn content_of(node: &Node) -> Content {
    match &node.body {
        Body::File(content) | Body::Symlink(content) => content.clone(),
        _ => Content::EMPTY,
    }
}

/// Stores the pieces of one large file.
async fn receive(objects: &dyn NewObjects, mut pieces: Receiver<Piece>) -> Result<ReadyRead> {
    let mut extents = Vec::new();
    while let Some(piece) = pieces.recv().await {
        match piece {
            Piece::Chunk(bytes, digest) => extents.push(Extent::Chunk(store_chunk(objects, bytes, digest).await?)),
            Piece::Hole(length) => extents.push(Extent::Hole(length)),
            Piece::Again => extents.clear(),
            Piece::Done(read) => return store(objects, read, extents).await,
        }
    }
    Err(dead())
}

/// Stores what was read of a name, of which `extents` are stored already.
async fn store(objects: &dyn NewObjects, read: Read, extents: Vec<Extent>) -> Result<ReadyRead> {
    match read {
        Read::Node { meta, content, xattrs, warnings } => {
            let content = match content {
                Held::Here(bytes) => store_short(objects, bytes).await?,
                Held::Chunk(bytes, digest) => Content::Chunk(store_chunk(objects, bytes, digest).await?),
                Held::Pieces => match store_extents(objects, extents).await? {
                    Some(content) => content,
                    None => return Ok(ReadyRead::Skipped(format!("its extents need over {OBJECT_MAX} bytes"))),
                },
            };
            let xattrs = store_xattrs(objects, &xattrs).await?;
            Ok(ReadyRead::Node { meta, content: Some(content), xattrs, warnings })
        }
        Read::Large => Err(Error::new(Kind::Internal, "a file was not read in pieces")),
        Read::Skipped(why) => Ok(ReadyRead::Skipped(why)),
        Read::Gone => Ok(ReadyRead::Gone),
        Read::Failed(error) => Err(error),
    }
}

pub(super) async fn store_chunk(objects: &dyn NewObjects, bytes: Bytes, digest: PlainDigest) -> Result<ChunkRef> {
    let length = bytes.len() as u32;
    let id = ChunkId::from_bytes(objects.add(ObjectKind::Chunk, bytes).await?.hash);
    Ok(ChunkRef { id, digest, length })
}

pub(super) async fn store_short(objects: &dyn NewObjects, bytes: Bytes) -> Result<Content> {
    if bytes.len() <= INLINE_MAX {
        return Ok(Content::Inline(bytes));
    }
    let digest = PlainDigest::of(&bytes);
    store_chunk(objects, bytes, digest).await.map(Content::Chunk)
}

pub(super) async fn store_extents(objects: &dyn NewObjects, extents: Vec<Extent>) -> Result<Option<Content>> {
    if let [Extent::Chunk(chunk)] = extents[..] {
        return Ok(Some(Content::Chunk(chunk)));
    }
    let blob = Blob::new(extents);
    let bytes = Bytes::from(blob.encode());
    if bytes.len() > OBJECT_MAX {
        return Ok(None);
    }
    let id = BlobId::from_bytes(objects.add(ObjectKind::Blob, bytes).await?.hash);
    Ok(Some(Content::Blob { id, size: blob.size() }))
}

pub(super) async fn store_xattrs(objects: &dyn NewObjects, xattrs: &Xattrs) -> Result<XattrsRef> {
    if xattrs.is_empty() {
        return Ok(XattrsRef::None);
    }
    let bytes = Bytes::from(xattrs.encode());
    if bytes.len() <= XATTR_INLINE_MAX {
        return Ok(XattrsRef::Inline(bytes));
    }
    let digest = PlainDigest::of(&bytes);
    store_chunk(objects, bytes, digest).await.map(XattrsRef::Chunk)
}

/// Gives out inode numbers.
pub(super) struct Numbers<'a> {
    inos: &'a dyn InoSource,
    next: Ino,
    left: u64,
    /// Names that are still expected: as many numbers may be needed.
    expected: u64,
    /// Numbers kept for names that the earlier snapshot has in its link table, where one number stands at several names.
    used: HashSet<Ino>,
}

impl<'a> Numbers<'a> {
    pub(super) fn new(inos: &'a dyn InoSource, expected: u64) -> Self {
        Numbers { inos, next: Ino(0), left: 0, expected, used: HashSet::new() }
    }

    /// The number that the earlier snapshot has for a name of this kind, else a fresh one.
    pub(super) async fn give(&mut self, earlier: Option<&Earlier>, kind: FileKind) -> Result<Ino> {
        match earlier {
            Some(Earlier { node, linked }) if node.body.kind() == kind && (!linked || self.used.insert(node.ino)) => {
                Ok(node.ino)
            }
            _ => self.fresh().await,
        }
    }

    async fn fresh(&mut self) -> Result<Ino> {
        if self.left == 0 {
            self.left = self.expected.clamp(1, INO_RANGE);
            self.next = self.inos.take(self.left).await?;
        }
        let ino = self.next;
        (self.next, self.left) = (Ino(ino.0 + 1), self.left - 1);
        Ok(ino)
    }
}

/// A directory that is being assembled.
struct Frame<'a> {
    name: Option<Name>,
    node: Node,
    builder: Builder<'a>,
}

/// An inode with several names.
struct Linked {
    ino: Ino,
    names: u32,
    /// Known from the name whose content was read.
    node: Option<Node>,
}

struct Assembler<'a> {
    objects: &'a dyn NewObjects,
    numbers: Numbers<'a>,
    scanned: &'a Scanned,
    stack: Vec<Frame<'a>>,
    links: HashMap<(u64, u64), Linked>,
    skipped: Vec<(PathBuf, String)>,
    done: Totals,
    root: Option<Node>,
    progress: &'a OnProgress,
}

impl Assembler<'_> {
    async fn take(&mut self, ready: Ready) -> Result<()> {
        match ready {
            Ready::Enter { name, meta, xattrs, earlier } => self.enter(name, meta, xattrs, earlier).await,
            Ready::Leave => self.leave().await,
            Ready::Skipped(path, why) => {
                self.skipped.push((path, why));
                Ok(())
            }
            Ready::Names { path, names } => {
                for name in names {
                    self.name(&path, name).await?;
                }
                Ok(())
            }
        }
    }

    async fn name(&mut self, directory: &Path, found: ReadyName) -> Result<()> {
        let ReadyName { name, earlier, read } = found;
        let path = || directory.join(OsStr::from_bytes(name.as_bytes()));
        match read {
            ReadyRead::Gone => Ok(()),
            ReadyRead::Skipped(why) => {
                self.skipped.push((path(), why));
                Ok(())
            }
            ReadyRead::Node { meta, content, xattrs, warnings } => {
                self.skipped.extend(warnings.into_iter().map(|why| (path(), why)));
                let several = meta.nlink > 1 && self.scanned.several.contains_key(&meta.place);
                let target = match several {
                    true => self.several(earlier, meta, content, xattrs).await?,
                    false => Target::Node(self.single(earlier, meta, content, xattrs).await?),
                };
                self.add(Entry { name, target }).await
            }
        }
    }

    async fn enter(
        &mut self,
        name: Option<Name>,
        meta: Meta,
        xattrs: XattrsRef,
        earlier: Option<Earlier>,
    ) -> Result<()> {
        let ino = match &name {
            None => Ino::ROOT,
            Some(_) => self.numbers.give(earlier.as_ref(), FileKind::Directory).await?,
        };
        let node = node(ino, &meta, Body::Fifo, xattrs);
        self.stack.push(Frame { name, node, builder: Builder::new(self.objects) });
        Ok(())
    }

    async fn leave(&mut self) -> Result<()> {
        let frame = self.stack.pop().ok_or_else(out_of_order)?;
        let body = Body::Directory(frame.builder.finish().await?);
        let node = Node { body, ..frame.node };
        match frame.name {
            Some(name) => self.add(Entry { name, target: Target::Node(node) }).await,
            None => {
                self.root = Some(node);
                Ok(())
            }
        }
    }

    async fn add(&mut self, entry: Entry) -> Result<()> {
        self.numbers.expected = self.numbers.expected.saturating_sub(1);
        self.done.nodes += 1;
        if let Target::Node(Node { body: Body::File(content), .. }) = &entry.target {
            self.done.bytes += content.size();
        }
        self.stack.last_mut().ok_or_else(out_of_order)?.builder.push(entry).await?;
        (self.progress)(Progress { what: "files", done: self.done.nodes, total: Some(self.scanned.names) });
        (self.progress)(Progress { what: "bytes", done: self.done.bytes, total: Some(self.scanned.bytes) });
        Ok(())
    }

    async fn single(
        &mut self,
        earlier: Option<Earlier>,
        meta: Meta,
        content: Option<Content>,
        xattrs: XattrsRef,
    ) -> Result<Node> {
        let ino = self.numbers.give(earlier.as_ref(), meta.kind).await?;
        Ok(node(ino, &meta, body(&meta, content)?, xattrs))
    }

    /// One name of an inode that has several.
    async fn several(
        &mut self,
        earlier: Option<Earlier>,
        meta: Meta,
        content: Option<Content>,
        xattrs: XattrsRef,
    ) -> Result<Target> {
        if !self.links.contains_key(&meta.place) {
            let ino = self.numbers.give(earlier.as_ref(), meta.kind).await?;
            self.links.insert(meta.place, Linked { ino, names: 0, node: None });
        }
        let linked = self.links.get_mut(&meta.place).expect("because it was just inserted");
        linked.names += 1;
        if linked.node.is_none() && content.is_some() {
            let counted = content.as_ref().filter(|_| meta.kind == FileKind::File);
            self.done.bytes += counted.map_or(0, Content::size);
            linked.node = Some(node(linked.ino, &meta, body(&meta, content)?, xattrs));
        }
        Ok(Target::Link(linked.ino))
    }

    async fn finish(self) -> Result<Imported> {
        let Assembler { objects, links, root, skipped, .. } = self;
        let root = root.ok_or_else(out_of_order)?;
        let mut nodes = Vec::with_capacity(links.len());
        for Linked { ino, names, node } in links.into_values() {
            let node =
                node.ok_or_else(|| Error::new(Kind::Conflict, "a file with several names changed; try again"))?;
            if names > LINK_MAX {
                return Err(Error::new(Kind::TooManyLinks, format!("a file has over {LINK_MAX} names")));
            }
            nodes.push(Entry { name: link_name(ino), target: Target::Node(Node { nlink: names, ..node }) });
        }
        nodes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let links: Option<Subtree> = match nodes.is_empty() {
            true => None,
            false => Some(tree::build(objects, nodes).await?),
        };
        let totals = match &root.body {
            Body::Directory(subtree) => subtree.totals,
            _ => return Err(out_of_order()),
        };
        Ok(Imported { root, links, totals, skipped })
    }
}

fn out_of_order() -> Error {
    Error::new(Kind::Internal, "the walk of a folder came out of order")
}

fn node(ino: Ino, meta: &Meta, body: Body, xattrs: XattrsRef) -> Node {
    let (mode, uid, gid) = (meta.mode, meta.uid, meta.gid);
    Node { ino, mode, uid, gid, nlink: 1, mtime: meta.mtime, ctime: meta.ctime, body, xattrs }
}

fn body(meta: &Meta, content: Option<Content>) -> Result<Body> {
    match (meta.kind, content) {
        (FileKind::File, Some(content)) => Ok(Body::File(content)),
        (FileKind::Symlink, Some(content)) => Ok(Body::Symlink(content)),
        (FileKind::Fifo, _) => Ok(Body::Fifo),
        _ => Err(out_of_order()),
    }
}
