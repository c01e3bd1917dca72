//! Puts together what the threads read: chunks, blobs, trees, the link table, inode numbers.
//!
//! Content of several files is added at once, but names are taken in order, so that the same folder gives the same
//! objects, and inode numbers are given out in that order too.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc::Receiver;

use super::read::{Event, Held, Piece, Read};
use super::walk::Meta;
use super::{Imported, InoSource, Scanned};
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
use crate::tree::{self, Builder, Entries};

/// Files whose content is added at the same time; each has at most a few MiB on the way.
pub(super) const FILES_AT_ONCE: usize = 8;

/// An event whose content is stored.
enum Ready {
    Enter { name: Option<Name>, meta: Meta, xattrs: XattrsRef },
    Name { name: Name, path: PathBuf, read: ReadyName },
    Leave,
    Skipped(PathBuf, String),
}

enum ReadyName {
    Node { meta: Meta, content: Option<Content>, xattrs: XattrsRef, warnings: Vec<String> },
    Skipped(String),
    Gone,
}

/// Turns events into trees. Stops the reading threads when it ends, by dropping `events`.
pub(super) async fn assemble(
    objects: &dyn NewObjects,
    inos: &dyn InoSource,
    previous: Option<&Snapshot>,
    scanned: &Scanned,
    events: Receiver<Event>,
    progress: &OnProgress,
) -> Result<Imported> {
    let events = futures::stream::unfold(events, async |mut events| events.recv().await.map(|event| (event, events)));
    let ready = events.map(|event| make_ready(objects, event)).buffered(FILES_AT_ONCE);
    futures::pin_mut!(ready);
    let mut assembler = Assembler {
        objects,
        numbers: Numbers { inos, next: Ino(0), left: 0, expected: scanned.names, used: HashSet::new() },
        previous,
        scanned,
        stack: Vec::new(),
        links: HashMap::new(),
        skipped: Vec::new(),
        done: Totals::default(),
        root: None,
        progress,
    };
    while let Some(event) = ready.next().await {
        assembler.take(event?).await?;
    }
    assembler.finish().await
}

async fn make_ready(objects: &dyn NewObjects, event: Event) -> Result<Ready> {
    Ok(match event {
        Event::Enter { name, meta, xattrs } => {
            Ready::Enter { name, meta, xattrs: store_xattrs(objects, &xattrs).await? }
        }
        Event::Name { name, path, pieces } => Ready::Name { name, path, read: receive(objects, pieces).await? },
        Event::Leave => Ready::Leave,
        Event::Skipped(path, why) => Ready::Skipped(path, why),
        Event::Failed(error) => return Err(error),
    })
}

/// Stores the pieces of one name.
async fn receive(objects: &dyn NewObjects, mut pieces: Receiver<Piece>) -> Result<ReadyName> {
    let mut extents = Vec::new();
    while let Some(piece) = pieces.recv().await {
        match piece {
            Piece::Chunk(bytes, digest) => extents.push(Extent::Chunk(store_chunk(objects, bytes, digest).await?)),
            Piece::Hole(length) => extents.push(Extent::Hole(length)),
            Piece::Again => extents.clear(),
            Piece::Done(Read::Node { meta, content, xattrs, warnings }) => {
                let content = match content {
                    Held::Here(bytes) => Some(store_short(objects, bytes).await?),
                    Held::Pieces => match store_extents(objects, extents).await? {
                        Some(content) => Some(content),
                        None => return Ok(ReadyName::Skipped(format!("its extents need over {OBJECT_MAX} bytes"))),
                    },
                    Held::Elsewhere => None,
                };
                let xattrs = store_xattrs(objects, &xattrs).await?;
                return Ok(ReadyName::Node { meta, content, xattrs, warnings });
            }
            Piece::Done(Read::Skipped(why)) => return Ok(ReadyName::Skipped(why)),
            Piece::Done(Read::Gone) => return Ok(ReadyName::Gone),
            Piece::Done(Read::Failed(error)) => return Err(error),
        }
    }
    Err(Error::new(Kind::Internal, "a thread that reads files has died"))
}

async fn store_chunk(objects: &dyn NewObjects, bytes: Bytes, digest: PlainDigest) -> Result<ChunkRef> {
    let length = bytes.len() as u32;
    let id = ChunkId::from_bytes(objects.add(ObjectKind::Chunk, bytes).await?.hash);
    Ok(ChunkRef { id, digest, length })
}

async fn store_short(objects: &dyn NewObjects, bytes: Bytes) -> Result<Content> {
    if bytes.len() <= INLINE_MAX {
        return Ok(Content::Inline(bytes));
    }
    let digest = PlainDigest::of(&bytes);
    store_chunk(objects, bytes, digest).await.map(Content::Chunk)
}

async fn store_extents(objects: &dyn NewObjects, extents: Vec<Extent>) -> Result<Option<Content>> {
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

async fn store_xattrs(objects: &dyn NewObjects, xattrs: &Xattrs) -> Result<XattrsRef> {
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
struct Numbers<'a> {
    inos: &'a dyn InoSource,
    next: Ino,
    left: u64,
    /// Names that are still expected: as many numbers may be needed.
    expected: u64,
    /// Numbers kept for names that the earlier snapshot has in its link table, where one number stands at several names.
    used: HashSet<Ino>,
}

impl Numbers<'_> {
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
    previous: Option<Previous<'a>>,
}

/// The same directory in the earlier snapshot.
struct Previous<'a> {
    entries: Entries<'a>,
    next: Option<Entry>,
}

impl Previous<'_> {
    /// The entry `name`; names are asked for in order.
    async fn find(&mut self, name: &Name) -> Result<Option<Entry>> {
        while self.next.as_ref().is_none_or(|entry| entry.name < *name) {
            self.next = self.entries.next().await?;
            if self.next.is_none() {
                return Ok(None);
            }
        }
        Ok(self.next.as_ref().filter(|entry| entry.name == *name).cloned())
    }
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
    previous: Option<&'a Snapshot>,
    scanned: &'a Scanned,
    stack: Vec<Frame<'a>>,
    links: HashMap<(u64, u64), Linked>,
    skipped: Vec<(PathBuf, String)>,
    done: Totals,
    root: Option<Node>,
    progress: &'a OnProgress,
}

impl<'a> Assembler<'a> {
    async fn take(&mut self, ready: Ready) -> Result<()> {
        match ready {
            Ready::Enter { name, meta, xattrs } => self.enter(name, meta, xattrs).await,
            Ready::Leave => self.leave().await,
            Ready::Skipped(path, why) => {
                self.skipped.push((path, why));
                Ok(())
            }
            Ready::Name { name, path, read } => match read {
                ReadyName::Gone => Ok(()),
                ReadyName::Skipped(why) => {
                    self.skipped.push((path, why));
                    Ok(())
                }
                ReadyName::Node { meta, content, xattrs, warnings } => {
                    self.skipped.extend(warnings.into_iter().map(|why| (path.clone(), why)));
                    let several = meta.nlink > 1 && self.scanned.several.contains_key(&meta.place);
                    let target = match several {
                        true => self.several(&name, meta, content, xattrs).await?,
                        false => Target::Node(self.single(&name, meta, content, xattrs).await?),
                    };
                    self.add(Entry { name, target }).await
                }
            },
        }
    }

    async fn enter(&mut self, name: Option<Name>, meta: Meta, xattrs: XattrsRef) -> Result<()> {
        let earlier = match &name {
            Some(name) => self.earlier(name, FileKind::Directory).await?,
            None => self.previous.map(|snapshot| snapshot.root.clone()),
        };
        let tree = match earlier.as_ref().map(|node| &node.body) {
            Some(Body::Directory(subtree)) => Some(subtree.tree),
            _ => None,
        };
        let ino = match (&name, earlier) {
            (None, _) => Ino::ROOT,
            (Some(_), Some(earlier)) => earlier.ino,
            (Some(_), None) => self.numbers.fresh().await?,
        };
        let previous = tree.map(|tree| Previous { entries: Entries::new(self.objects, tree), next: None });
        let node = node(ino, &meta, Body::Fifo, xattrs);
        self.stack.push(Frame { name, node, builder: Builder::new(self.objects), previous });
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

    /// What the earlier snapshot has under `name` in this directory, if it is of the same kind.
    async fn earlier(&mut self, name: &Name, kind: FileKind) -> Result<Option<Node>> {
        let Some(previous) = self.stack.last_mut().and_then(|frame| frame.previous.as_mut()) else { return Ok(None) };
        let Some(entry) = previous.find(name).await? else { return Ok(None) };
        let linked = matches!(entry.target, Target::Link(_));
        let links = self.previous.and_then(|snapshot| snapshot.links.as_ref());
        let node = tree::target_node(self.objects, links, entry.target).await?;
        let free = node.body.kind() == kind && (!linked || self.numbers.used.insert(node.ino));
        Ok(free.then_some(node))
    }

    async fn number(&mut self, name: &Name, kind: FileKind) -> Result<Ino> {
        match self.earlier(name, kind).await? {
            Some(earlier) => Ok(earlier.ino),
            None => self.numbers.fresh().await,
        }
    }

    async fn single(&mut self, name: &Name, meta: Meta, content: Option<Content>, xattrs: XattrsRef) -> Result<Node> {
        let ino = self.number(name, meta.kind).await?;
        Ok(node(ino, &meta, body(&meta, content)?, xattrs))
    }

    /// One name of an inode that has several.
    async fn several(
        &mut self,
        name: &Name,
        meta: Meta,
        content: Option<Content>,
        xattrs: XattrsRef,
    ) -> Result<Target> {
        if !self.links.contains_key(&meta.place) {
            let ino = self.number(name, meta.kind).await?;
            self.links.insert(meta.place, Linked { ino, names: 0, node: None });
        }
        let linked = self.links.get_mut(&meta.place).expect("because it was just inserted");
        linked.names += 1;
        if linked.node.is_none() && (content.is_some() || meta.kind != FileKind::File) {
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
