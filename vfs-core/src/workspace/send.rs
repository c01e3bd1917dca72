//! What a checkpoint sends: content in batches, then the changed inodes that speak of it.

use std::collections::HashMap;

use bytes::Bytes;

use super::content::{ContentCutter, FileView};
use super::publish::{NodeCut, OverlayCut};
use crate::base::{Lease, Publisher};
use crate::change::NodeChange;
use crate::chunk::Step;
use crate::error::{Error, Kind, Result};
use crate::limits::{INLINE_MAX, PUBLISH_BATCH_BYTES, XATTR_INLINE_MAX};
use crate::object::{Blob, Body, ChunkRef, Content, Extent, Ino, XattrsRef};

/// What was sent for one inode.
pub(super) struct Sent {
    pub(super) content: SentContent,
    xattrs: Option<XattrsRef>,
}

pub(super) enum SentContent {
    Content(Content),
    Extents(Blob),
}

/// A place that waits for the name of a chunk that is on its way.
enum Slot {
    Known(Extent),
    Pending(usize),
}

/// Sends content in batches and remembers what became of it.
pub(super) struct Sender<'a> {
    lease: &'a Lease,
    publisher: &'a dyn Publisher,
    cut: &'a OverlayCut,
    chunks: Vec<(Ino, Wanted, Bytes)>,
    bytes: usize,
    sent: HashMap<Ino, Sent>,
}

/// What a chunk is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Whole,
    Xattrs,
}

impl<'a> Sender<'a> {
    pub(super) fn new(lease: &'a Lease, publisher: &'a dyn Publisher, cut: &'a OverlayCut) -> Sender<'a> {
        Sender { lease, publisher, cut, chunks: Vec::new(), bytes: 0, sent: HashMap::new() }
    }

    /// What became of all that was sent.
    pub(super) fn finish(self) -> HashMap<Ino, Sent> {
        self.sent
    }

    /// Sends what one inode holds.
    pub(super) async fn content(&mut self, node: &NodeCut) -> Result<()> {
        let ino = node.node.ino;
        if let Some(view) = &node.file {
            self.file(ino, view).await?;
        }
        if let Some(target) = &node.symlink {
            self.small(ino, Wanted::Whole, target, INLINE_MAX).await?;
        }
        if let Some(xattrs) = &node.xattrs {
            self.small(ino, Wanted::Xattrs, xattrs, XATTR_INLINE_MAX).await?;
        }
        Ok(())
    }

    async fn small(&mut self, ino: Ino, wanted: Wanted, bytes: &Bytes, inline_max: usize) -> Result<()> {
        if bytes.len() > inline_max {
            return self.queue(ino, wanted, bytes.clone()).await;
        }
        let sent = self.entry(ino);
        match wanted {
            Wanted::Whole => sent.content = SentContent::Content(Content::Inline(bytes.clone())),
            Wanted::Xattrs => sent.xattrs = Some(XattrsRef::Inline(bytes.clone())),
        }
        Ok(())
    }

    async fn file(&mut self, ino: Ino, view: &FileView) -> Result<()> {
        let cache = self.cut.cache.clone();
        let mut cutter = ContentCutter::new(view, &cache, &self.cut.reader).await?;
        if let Some(bytes) = cutter.inline().await? {
            self.entry(ino).content = SentContent::Content(Content::Inline(bytes));
            return Ok(());
        }
        let mut pieces = Pieces { slots: Vec::new(), waiting: Vec::new(), bytes: 0 };
        while let Some(step) = cutter.next().await? {
            pieces.add(step);
            if pieces.bytes >= PUBLISH_BATCH_BYTES {
                pieces.send(self.lease, self.publisher, self.cut.position).await?;
            }
        }
        // A file of one new chunk travels with others; the pieces of a larger one are sent on their own.
        if let [Slot::Pending(_)] = &pieces.slots[..]
            && let Some(bytes) = pieces.waiting.pop()
        {
            return self.queue(ino, Wanted::Whole, bytes).await;
        }
        pieces.send(self.lease, self.publisher, self.cut.position).await?;
        let blob = Blob::new(pieces.slots.into_iter().filter_map(|slot| match slot {
            Slot::Known(extent) => Some(extent),
            Slot::Pending(_) => None,
        }));
        self.entry(ino).content = match blob.extents() {
            [Extent::Chunk(chunk)] => SentContent::Content(Content::Chunk(*chunk)),
            _ => SentContent::Extents(blob),
        };
        Ok(())
    }

    fn entry(&mut self, ino: Ino) -> &mut Sent {
        self.sent.entry(ino).or_insert(Sent { content: SentContent::Content(Content::EMPTY), xattrs: None })
    }

    async fn queue(&mut self, ino: Ino, wanted: Wanted, bytes: Bytes) -> Result<()> {
        self.bytes += bytes.len();
        self.chunks.push((ino, wanted, bytes));
        if self.bytes >= PUBLISH_BATCH_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Sends what still waits.
    pub(super) async fn flush(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.chunks);
        self.bytes = 0;
        let contents = waiting.iter().map(|(_, _, bytes)| bytes.clone()).collect();
        let named = put_chunks(self.lease, self.publisher, self.cut.position, contents).await?;
        for ((ino, wanted, _), chunk) in waiting.into_iter().zip(named) {
            let sent = self.entry(ino);
            match wanted {
                Wanted::Whole => sent.content = SentContent::Content(Content::Chunk(chunk)),
                Wanted::Xattrs => sent.xattrs = Some(XattrsRef::Chunk(chunk)),
            }
        }
        Ok(())
    }
}

/// The pieces of one large file.
struct Pieces {
    slots: Vec<Slot>,
    waiting: Vec<Bytes>,
    bytes: usize,
}

impl Pieces {
    fn add(&mut self, step: Step) {
        self.slots.push(match step {
            Step::Kept(chunk) => Slot::Known(Extent::Chunk(chunk)),
            Step::Hole(length) => Slot::Known(Extent::Hole(length)),
            Step::New(bytes) => {
                self.bytes += bytes.len();
                self.waiting.push(bytes);
                Slot::Pending(self.waiting.len() - 1)
            }
            Step::Read(_) => unreachable!("because the content cutter answers reads itself"),
        });
    }

    async fn send(&mut self, lease: &Lease, publisher: &dyn Publisher, position: u64) -> Result<()> {
        let named = put_chunks(lease, publisher, position, std::mem::take(&mut self.waiting)).await?;
        self.bytes = 0;
        for slot in &mut self.slots {
            if let Slot::Pending(index) = slot {
                *slot = Slot::Known(Extent::Chunk(named[*index]));
            }
        }
        Ok(())
    }
}

async fn put_chunks(
    lease: &Lease,
    publisher: &dyn Publisher,
    position: u64,
    contents: Vec<Bytes>,
) -> Result<Vec<ChunkRef>> {
    if contents.is_empty() {
        return Ok(Vec::new());
    }
    let count = contents.len();
    let named = publisher.put_chunks(lease, position, contents).await?;
    if named.len() != count {
        return Err(Error::new(Kind::Internal, "the engine named another number of chunks than it was sent"));
    }
    Ok(named)
}

pub(super) fn change_of(cut: &NodeCut, sent: Option<&Sent>) -> NodeChange {
    let mut node = cut.node.clone();
    let mut extents = None;
    if let Some(sent) = sent {
        if let Some(xattrs) = &sent.xattrs {
            node.xattrs = xattrs.clone();
        }
        let content = match &sent.content {
            SentContent::Content(content) => content.clone(),
            SentContent::Extents(blob) => {
                extents = Some(blob.clone());
                Content::EMPTY
            }
        };
        match &mut node.body {
            Body::File(body) if cut.file.is_some() => *body = content,
            Body::Symlink(body) if cut.symlink.is_some() => *body = content,
            _ => {}
        }
    }
    NodeChange { node, extents, linked: cut.linked }
}
