//! From a tree to parcels: steps for the writer, in order, with what has to be read for them.
//!
//! A parcel holds many small files, also of several directories, or a part of a large one.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use super::{read_short, right_length};
use crate::error::{Error, Kind, Result};
use crate::id::{BlobId, ObjectId};
use crate::limits::DEPTH_MAX;
use crate::name::Name;
use crate::object::{Blob, Body, ChunkRef, Content, Entry, Extent, Ino, Node, Snapshot, Target, XattrsRef};
use crate::objects::Objects;
use crate::tree::{self, Entries, TreesAhead};

/// Bytes and steps of one parcel.
const PARCEL_BYTES: u64 = 4 << 20;
/// See [`PARCEL_BYTES`].
const PARCEL_STEPS: usize = 1024;
/// The lists of chunks of files up to this size are read many at a time.
const BLOBS_TOGETHER_BYTES: u64 = 16 << 20;

/// Bytes that are here, or that have to be read.
#[derive(Debug)]
pub(super) enum Piece {
    Here(Bytes),
    Chunk(ChunkRef),
}

impl Piece {
    /// What it holds, once its parcel was filled.
    pub(super) fn bytes(&self) -> Result<&Bytes> {
        match self {
            Piece::Here(bytes) => Ok(bytes),
            Piece::Chunk(chunk) => Err(Error::new(Kind::Internal, format!("chunk {} was not read", chunk.id))),
        }
    }

    fn length(&self) -> u64 {
        match self {
            Piece::Here(bytes) => bytes.len() as u64,
            Piece::Chunk(chunk) => chunk.length.into(),
        }
    }

    fn chunk(&self) -> Option<&ChunkRef> {
        match self {
            Piece::Here(_) => None,
            Piece::Chunk(chunk) => Some(chunk),
        }
    }

    fn of_xattrs(node: &Node) -> Piece {
        match &node.xattrs {
            XattrsRef::None => Piece::Here(Bytes::new()),
            XattrsRef::Inline(bytes) => Piece::Here(bytes.clone()),
            XattrsRef::Chunk(chunk) => Piece::Chunk(*chunk),
        }
    }
}

/// One thing to be done. Names are those of the directory that was entered last and not left.
#[derive(Debug)]
pub(super) enum Step {
    /// Make a directory and go into it.
    Enter(Name),
    /// Give the directory its attributes, mode and times, and go back.
    Leave { node: Node, xattrs: Piece },
    /// Make a file; what follows until `Close` is its content.
    Open(Name),
    /// Write at this offset.
    Write(u64, Piece),
    /// Give the file its length, attributes, mode and times.
    Close { name: Name, node: Node, xattrs: Piece },
    /// Make a symbolic link.
    Symlink { name: Name, node: Node, target: Bytes, xattrs: Piece },
    /// Make a FIFO or a socket.
    Special { name: Name, node: Node, xattrs: Piece },
    /// Give a file that was made before another name.
    Link { first: PathBuf, name: Name },
    /// Say that something is left out.
    Skip(PathBuf, &'static str),
}

impl Step {
    fn pieces(&mut self) -> impl Iterator<Item = &mut Piece> {
        match self {
            Step::Write(_, piece)
            | Step::Leave { xattrs: piece, .. }
            | Step::Close { xattrs: piece, .. }
            | Step::Symlink { xattrs: piece, .. }
            | Step::Special { xattrs: piece, .. } => Some(piece),
            Step::Enter(_) | Step::Open(_) | Step::Link { .. } | Step::Skip(..) => None,
        }
        .into_iter()
    }
}

/// Steps that belong together for no other reason than that they follow each other.
#[derive(Debug, Default)]
pub(super) struct Parcel {
    pub(super) steps: Vec<Step>,
    bytes: u64,
}

impl Parcel {
    /// Reads all that its steps need.
    pub(super) async fn fill(mut self, objects: &dyn Objects) -> Result<Parcel> {
        let needed: Vec<ChunkRef> =
            self.steps.iter_mut().flat_map(Step::pieces).filter_map(|piece| piece.chunk().copied()).collect();
        if needed.is_empty() {
            return Ok(self);
        }
        let ids: Vec<ObjectId> = needed.iter().map(|chunk| chunk.id.into()).collect();
        let mut read = objects.read_many(&ids).await?.into_iter();
        for piece in self.steps.iter_mut().flat_map(Step::pieces) {
            if let Some(chunk) = piece.chunk().copied() {
                *piece = Piece::Here(right_length(&chunk, read.next().unwrap_or_default())?);
            }
        }
        Ok(self)
    }
}

/// Plans the whole snapshot. Ends early if nobody takes the parcels.
pub(super) async fn plan(objects: &dyn Objects, snapshot: &Snapshot, parcels: Sender<Parcel>) -> Result<()> {
    let ahead = TreesAhead::new(objects);
    let mut plan = Plan {
        objects,
        ahead: &ahead,
        snapshot,
        parcels,
        parcel: Parcel::default(),
        stack: Vec::new(),
        linked: HashMap::new(),
    };
    plan.enter(PathBuf::new(), snapshot.root.clone())?;
    while plan.stack.last().is_some() {
        plan.next().await?;
    }
    plan.send().await
}

/// A directory on the way.
struct Frame<'a> {
    path: PathBuf,
    node: Node,
    entries: Entries<'a>,
    leaf: std::vec::IntoIter<Entry>,
    /// Lists of chunks of files in this leaf.
    blobs: HashMap<BlobId, Blob>,
}

struct Plan<'a> {
    objects: &'a dyn Objects,
    ahead: &'a TreesAhead<'a>,
    snapshot: &'a Snapshot,
    parcels: Sender<Parcel>,
    parcel: Parcel,
    stack: Vec<Frame<'a>>,
    /// Where inodes with several names were written.
    linked: HashMap<Ino, PathBuf>,
}

impl Plan<'_> {
    fn enter(&mut self, path: PathBuf, node: Node) -> Result<()> {
        if self.stack.len() > DEPTH_MAX {
            return Err(Error::new(Kind::LimitExceeded, format!("directories are nested over {DEPTH_MAX} deep")));
        }
        let Body::Directory(subtree) = &node.body else {
            return Err(Error::new(Kind::Internal, "something other than a directory was entered"));
        };
        let entries = Entries::new(self.ahead, subtree.tree);
        let (leaf, blobs) = (Vec::new().into_iter(), HashMap::new());
        self.stack.push(Frame { path, node, entries, leaf, blobs });
        Ok(())
    }

    /// Goes one name further.
    async fn next(&mut self) -> Result<()> {
        let frame = self.stack.last_mut().expect("because somebody looked");
        if let Some(entry) = frame.leaf.next() {
            let path = frame.path.join(OsStr::from_bytes(entry.name.as_bytes()));
            return self.entry(path, entry).await;
        }
        match frame.entries.next_leaf().await? {
            Some(entries) => {
                frame.blobs = read_blobs(self.objects, &entries).await?;
                frame.leaf = entries.into_iter();
                Ok(())
            }
            None => {
                let Frame { node, .. } = self.stack.pop().expect("because it was there");
                let xattrs = Piece::of_xattrs(&node);
                self.step(Step::Leave { node, xattrs }).await
            }
        }
    }

    async fn entry(&mut self, path: PathBuf, Entry { name, target }: Entry) -> Result<()> {
        let node = match target {
            Target::Node(node) => node,
            Target::Link(ino) => match self.linked.get(&ino) {
                Some(first) => return self.step(Step::Link { first: first.clone(), name }).await,
                None => {
                    let node = tree::linked(self.objects, self.snapshot.links.as_ref(), ino).await?;
                    // A device is left out under each of its names.
                    if !matches!(node.body, Body::CharDevice(_) | Body::BlockDevice(_)) {
                        self.linked.insert(ino, path.clone());
                    }
                    node
                }
            },
        };
        let xattrs = Piece::of_xattrs(&node);
        match &node.body {
            Body::Directory(_) => {
                self.step(Step::Enter(name)).await?;
                self.enter(path, node)
            }
            Body::File(content) => {
                self.step(Step::Open(name.clone())).await?;
                self.content(&path, content.clone()).await?;
                self.step(Step::Close { name, node, xattrs }).await
            }
            Body::Symlink(content) => {
                let target = read_short(self.objects, content).await?;
                self.step(Step::Symlink { name, node, target, xattrs }).await
            }
            Body::Fifo | Body::Socket => self.step(Step::Special { name, node, xattrs }).await,
            Body::CharDevice(_) | Body::BlockDevice(_) => {
                self.step(Step::Skip(path, "device nodes are not exported")).await
            }
        }
    }

    async fn content(&mut self, path: &Path, content: Content) -> Result<()> {
        let blob = match content {
            Content::Inline(bytes) if bytes.is_empty() => return Ok(()),
            Content::Inline(bytes) => return self.step(Step::Write(0, Piece::Here(bytes))).await,
            Content::Chunk(chunk) => return self.step(Step::Write(0, Piece::Chunk(chunk))).await,
            Content::Blob { id, size } => {
                let known = self.stack.last_mut().and_then(|frame| frame.blobs.remove(&id));
                let blob = match known {
                    Some(blob) => blob,
                    None => Blob::decode(&self.objects.read(id.into()).await?)?,
                };
                if blob.size() != size {
                    let why = format!("blob {id} of {} has another size than its file", path.display());
                    return Err(Error::corrupt(why));
                }
                blob
            }
        };
        let mut offset = 0;
        for extent in blob.extents() {
            if let Extent::Chunk(chunk) = extent {
                self.step(Step::Write(offset, Piece::Chunk(*chunk))).await?;
            }
            offset += extent.length();
        }
        Ok(())
    }

    async fn step(&mut self, mut step: Step) -> Result<()> {
        self.parcel.bytes += step.pieces().map(|piece| piece.length()).sum::<u64>();
        self.parcel.steps.push(step);
        match self.parcel.bytes >= PARCEL_BYTES || self.parcel.steps.len() >= PARCEL_STEPS {
            true => self.send().await,
            false => Ok(()),
        }
    }

    async fn send(&mut self) -> Result<()> {
        // Whoever takes them says why it stopped.
        self.parcels.send(std::mem::take(&mut self.parcel)).await.map_err(|_| super::died())
    }
}

/// The lists of chunks of all files of a leaf but the large ones.
async fn read_blobs(objects: &dyn Objects, entries: &[Entry]) -> Result<HashMap<BlobId, Blob>> {
    let ids: Vec<BlobId> = entries
        .iter()
        .filter_map(|entry| match &entry.target {
            Target::Node(Node { body: Body::File(Content::Blob { id, size }), .. }) => {
                (*size <= BLOBS_TOGETHER_BYTES).then_some(*id)
            }
            _ => None,
        })
        .collect();
    let objects_ids: Vec<ObjectId> = ids.iter().map(|id| (*id).into()).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let read = objects.read_many(&objects_ids).await?;
    ids.into_iter().zip(read).map(|(id, bytes)| Ok((id, Blob::decode(&bytes)?))).collect()
}
