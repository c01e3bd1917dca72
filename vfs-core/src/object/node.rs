//! What a tree entry says about one inode.

use bytes::Bytes;

use super::codec::{Reader, Writer};
use crate::clock::Time;
use crate::error::Result;
use crate::id::{BlobId, ChunkId, ContentDigest, PlainDigest, TreeId};
use crate::limits::{CHUNK_MAX, FILE_SIZE_MAX, INLINE_MAX, SYMLINK_MAX, XATTR_INLINE_MAX};

/// An inode number: unique in the repo, never reused. The root of every workspace is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Ino(pub u64);

impl Ino {
    /// The root directory of every workspace.
    pub const ROOT: Ino = Ino(1);
}

/// One inode: its attributes and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Inode number.
    pub ino: Ino,
    /// Permission bits with setuid, setgid and sticky: 12 bits.
    pub mode: u16,
    /// Owner as seen where it was written.
    pub uid: u32,
    /// Group as seen where it was written.
    pub gid: u32,
    /// Names of the inode; 1 unless it is in the link table. Always 1 for directories (see [`Totals::subdirs`]).
    pub nlink: u32,
    /// When the content changed.
    pub mtime: Time,
    /// When the inode changed.
    pub ctime: Time,
    /// What kind of file it is and what it holds.
    pub body: Body,
    /// Extended attributes.
    pub xattrs: XattrsRef,
}

/// The kinds of file with what each holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A regular file.
    File(Content),
    /// A directory.
    Directory(Subtree),
    /// A symbolic link; the content is its target.
    Symlink(Content),
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device, kept inert.
    CharDevice(u32),
    /// A block device, kept inert.
    BlockDevice(u32),
}

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// At most [`INLINE_MAX`] bytes, right here.
    Inline(Bytes),
    /// One chunk.
    Chunk(ChunkRef),
    /// A list of extents.
    Blob {
        /// Names the list.
        id: BlobId,
        /// Length of the content in bytes.
        size: u64,
    },
}

/// A chunk as trees and blobs refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkRef {
    /// Its name in the store.
    pub id: ChunkId,
    /// What a mount checks it by.
    pub digest: PlainDigest,
    /// Its length in bytes, 1 to [`CHUNK_MAX`].
    pub length: u32,
}

/// A directory's entries: the root node of its tree and what they add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subtree {
    /// The root node.
    pub tree: TreeId,
    /// What it holds, without times and inode numbers.
    pub digest: ContentDigest,
    /// Sums over the entries.
    pub totals: Totals,
}

/// Sums over the entries of a tree node and all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Entries of the directory itself.
    pub entries: u64,
    /// Entries that are directories: a directory has `2 + subdirs` links.
    pub subdirs: u64,
    /// Entries at any depth.
    pub nodes: u64,
    /// Sizes of files at any depth; a hard-linked file counts in the link table, not here.
    pub bytes: u64,
    /// Entries at any depth that point into the link table.
    pub links: u64,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        self.entries = self.entries.saturating_add(other.entries);
        self.subdirs = self.subdirs.saturating_add(other.subdirs);
        self.nodes = self.nodes.saturating_add(other.nodes);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.links = self.links.saturating_add(other.links);
    }
}

/// Where an inode's extended attributes are: see [`super::xattrs`] for their encoding.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum XattrsRef {
    /// There are none.
    #[default]
    None,
    /// At most [`XATTR_INLINE_MAX`] encoded bytes, right here.
    Inline(Bytes),
    /// A chunk that holds the encoded list.
    Chunk(ChunkRef),
}

/// The kinds of file, as `d_type` and `st_mode` know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl Body {
    /// The kind of file.
    pub fn kind(&self) -> FileKind {
        match self {
            Body::File(_) => FileKind::File,
            Body::Directory(_) => FileKind::Directory,
            Body::Symlink(_) => FileKind::Symlink,
            Body::Fifo => FileKind::Fifo,
            Body::Socket => FileKind::Socket,
            Body::CharDevice(_) => FileKind::CharDevice,
            Body::BlockDevice(_) => FileKind::BlockDevice,
        }
    }
}

impl Content {
    /// No bytes.
    pub const EMPTY: Content = Content::Inline(Bytes::new());

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Content::Inline(bytes) => bytes.len() as u64,
            Content::Chunk(chunk) => chunk.length.into(),
            Content::Blob { size, .. } => *size,
        }
    }

    fn encode(&self, writer: &mut Writer) {
        match self {
            Content::Inline(bytes) => {
                writer.u8(0);
                writer.bytes(bytes);
            }
            Content::Chunk(chunk) => {
                writer.u8(1);
                chunk.encode(writer);
            }
            Content::Blob { id, size } => {
                writer.u8(2);
                writer.fixed(id.as_bytes());
                writer.varint(*size);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Content> {
        match reader.u8()? {
            0 => reader.owned_bytes(INLINE_MAX).map(Content::Inline),
            1 => ChunkRef::decode(reader).map(Content::Chunk),
            2 => {
                let id = BlobId::from_bytes(reader.array()?);
                let size = reader.varint()?;
                if size > FILE_SIZE_MAX {
                    return Err(reader.corrupt("holds a file over the largest size"));
                }
                Ok(Content::Blob { id, size })
            }
            tag => Err(reader.corrupt(format!("holds content of the unknown kind {tag}"))),
        }
    }
}

impl ChunkRef {
    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.fixed(self.id.as_bytes());
        writer.fixed(self.digest.as_bytes());
        writer.varint(self.length.into());
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<ChunkRef> {
        let id = ChunkId::from_bytes(reader.array()?);
        let digest = PlainDigest::from_bytes(reader.array()?);
        let length = reader.varint_u32()?;
        if length == 0 || length as usize > CHUNK_MAX {
            return Err(reader.corrupt(format!("refers to a chunk of {length} bytes")));
        }
        Ok(ChunkRef { id, digest, length })
    }
}

impl Subtree {
    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.fixed(self.tree.as_bytes());
        writer.fixed(self.digest.as_bytes());
        self.totals.encode(writer);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Subtree> {
        Ok(Subtree {
            tree: TreeId::from_bytes(reader.array()?),
            digest: ContentDigest::from_bytes(reader.array()?),
            totals: Totals::decode(reader)?,
        })
    }
}

impl Totals {
    fn encode(&self, writer: &mut Writer) {
        for value in [self.entries, self.subdirs, self.nodes, self.bytes, self.links] {
            writer.varint(value);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Totals> {
        Ok(Totals {
            entries: reader.varint()?,
            subdirs: reader.varint()?,
            nodes: reader.varint()?,
            bytes: reader.varint()?,
            links: reader.varint()?,
        })
    }
}

impl XattrsRef {
    fn encode(&self, writer: &mut Writer) {
        match self {
            XattrsRef::None => writer.u8(0),
            XattrsRef::Inline(bytes) => {
                writer.u8(1);
                writer.bytes(bytes);
            }
            XattrsRef::Chunk(chunk) => {
                writer.u8(2);
                chunk.encode(writer);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<XattrsRef> {
        match reader.u8()? {
            0 => Ok(XattrsRef::None),
            1 => reader.owned_bytes(XATTR_INLINE_MAX).map(XattrsRef::Inline),
            2 => ChunkRef::decode(reader).map(XattrsRef::Chunk),
            tag => Err(reader.corrupt(format!("holds attributes of the unknown kind {tag}"))),
        }
    }
}

impl FileKind {
    const TAGS: [(FileKind, u8, u32); 7] = [
        (FileKind::File, 1, 0o100_000),
        (FileKind::Directory, 2, 0o040_000),
        (FileKind::Symlink, 3, 0o120_000),
        (FileKind::Fifo, 4, 0o010_000),
        (FileKind::Socket, 5, 0o140_000),
        (FileKind::CharDevice, 6, 0o020_000),
        (FileKind::BlockDevice, 7, 0o060_000),
    ];

    /// The tag of this kind in canonical bytes.
    pub fn tag(self) -> u8 {
        Self::TAGS.iter().find(|row| row.0 == self).expect("every kind has a row").1
    }

    /// The `S_IFMT` bits of this kind.
    pub fn format_bits(self) -> u32 {
        Self::TAGS.iter().find(|row| row.0 == self).expect("every kind has a row").2
    }

    /// The kind with this tag.
    pub fn from_tag(tag: u8) -> Option<FileKind> {
        Self::TAGS.iter().find(|row| row.1 == tag).map(|row| row.0)
    }

    /// The kind that `st_mode` names.
    pub fn from_mode(st_mode: u32) -> Option<FileKind> {
        Self::TAGS.iter().find(|row| row.2 == st_mode & 0o170_000).map(|row| row.0)
    }
}

impl Node {
    /// Size as `stat` shows it.
    pub fn size(&self) -> u64 {
        match &self.body {
            Body::File(content) | Body::Symlink(content) => content.size(),
            Body::Directory(_) => 4096,
            _ => 0,
        }
    }

    /// Links as `stat` shows them.
    pub fn stat_nlink(&self) -> u32 {
        match &self.body {
            Body::Directory(subtree) => (subtree.totals.subdirs + 2).min(u32::MAX.into()) as u32,
            _ => self.nlink,
        }
    }

    /// Appends the canonical bytes of this node.
    pub fn encode(&self, writer: &mut Writer) {
        writer.u8(self.body.kind().tag());
        writer.varint(self.ino.0);
        writer.varint(self.mode.into());
        writer.varint(self.uid.into());
        writer.varint(self.gid.into());
        writer.varint(self.nlink.into());
        writer.time(self.mtime);
        writer.time(self.ctime);
        match &self.body {
            Body::File(content) | Body::Symlink(content) => content.encode(writer),
            Body::Directory(subtree) => subtree.encode(writer),
            Body::CharDevice(rdev) | Body::BlockDevice(rdev) => writer.varint((*rdev).into()),
            Body::Fifo | Body::Socket => {}
        }
        self.xattrs.encode(writer);
    }

    /// Reads a node whose kind tag was already read.
    pub fn decode_after_tag(tag: u8, reader: &mut Reader<'_>) -> Result<Node> {
        let Some(kind) = FileKind::from_tag(tag) else {
            return Err(reader.corrupt(format!("holds a file of the unknown kind {tag}")));
        };
        let ino = Ino(reader.varint()?);
        let mode = reader.varint()?;
        if ino.0 == 0 || mode > 0o7777 {
            return Err(reader.corrupt("holds an inode number or mode out of range"));
        }
        Ok(Node {
            ino,
            mode: mode as u16,
            uid: reader.varint_u32()?,
            gid: reader.varint_u32()?,
            nlink: reader.varint_u32()?,
            mtime: reader.time()?,
            ctime: reader.time()?,
            body: match kind {
                FileKind::File => Body::File(Content::decode(reader)?),
                FileKind::Directory => Body::Directory(Subtree::decode(reader)?),
                FileKind::Symlink => match Content::decode(reader)? {
                    Content::Blob { .. } => return Err(reader.corrupt("holds a symbolic link of several chunks")),
                    content if content.size() > SYMLINK_MAX as u64 => {
                        return Err(reader.corrupt("holds a symbolic link over the longest path"));
                    }
                    content => Body::Symlink(content),
                },
                FileKind::Fifo => Body::Fifo,
                FileKind::Socket => Body::Socket,
                FileKind::CharDevice => Body::CharDevice(reader.varint_u32()?),
                FileKind::BlockDevice => Body::BlockDevice(reader.varint_u32()?),
            },
            xattrs: XattrsRef::decode(reader)?,
        })
    }

    /// Reads a node.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Node> {
        let tag = reader.u8()?;
        Node::decode_after_tag(tag, reader)
    }

    /// Feeds what the content digest covers: all but times and the inode number.
    pub(super) fn digest_into(&self, hasher: &mut blake3::Hasher) {
        let mut writer = Writer::default();
        writer.u8(self.body.kind().tag());
        writer.varint(self.mode.into());
        writer.varint(self.uid.into());
        writer.varint(self.gid.into());
        match &self.body {
            Body::File(content) | Body::Symlink(content) => content.encode(&mut writer),
            Body::Directory(subtree) => writer.fixed(subtree.digest.as_bytes()),
            Body::CharDevice(rdev) | Body::BlockDevice(rdev) => writer.varint((*rdev).into()),
            Body::Fifo | Body::Socket => {}
        }
        self.xattrs.encode(&mut writer);
        hasher.update(&writer.finish());
    }

    /// Whether two nodes hold the same: kind, mode, owner, content and attributes, but not times and inode number.
    pub fn same_content(&self, other: &Node) -> bool {
        let body = match (&self.body, &other.body) {
            (Body::Directory(ours), Body::Directory(theirs)) => ours.digest == theirs.digest,
            (ours, theirs) => ours == theirs,
        };
        body && (self.mode, self.uid, self.gid) == (other.mode, other.uid, other.gid) && self.xattrs == other.xattrs
    }
}
