//! A snapshot, or a part of it, as a tar stream in PAX format: GNU tar, bsdtar and Python read it.
//!
//! Times to the nanosecond, owners, modes, extended attributes (`SCHILY.xattr.`), hard links and holes (GNU sparse 1.0) are in
//! it; the time of the last change too, though nobody can set it. Directories come before what is in them. Memory is
//! bounded by the depth of the tree and by the files with several names.

use std::collections::HashMap;
use std::io::{BufWriter, Write};

use bytes::Bytes;
use tar::{EntryType, Header};
use tokio::sync::mpsc::{Sender, channel};

use super::{CHUNKS_AT_ONCE, Exported, read_short, read_xattrs, right_length};
use crate::clock::Time;
use crate::error::{Error, Kind, Result};
use crate::limits::DEPTH_MAX;
use crate::name::TreePath;
use crate::object::{Blob, Body, ChunkRef, Content, Entry, Extent, Ino, Node, Snapshot, Target};
use crate::objects::Objects;
use crate::progress::{OnProgress, Progress};
use crate::tree::{self, Entries};

const BLOCK: usize = 512;
/// Programs expect an archive in records of this many blocks.
const RECORD: u64 = 20 * BLOCK as u64;
/// Parts that wait for the writer; each is a chunk at most.
const PARTS_AHEAD: usize = 8;
/// The longest name and link that the oldest part of a header has room for.
const SHORT_NAME: usize = 100;
/// The largest numbers of a header: 7 and 11 octal digits.
const SMALL_NUMBER: u64 = 0o777_7777;
const LARGE_NUMBER: u64 = 0o777_7777_7777;

/// Writes what `path` names in `snapshot` (a directory without its own name) to `output`.
pub async fn export_archive(
    objects: &dyn Objects,
    snapshot: &Snapshot,
    path: &TreePath,
    output: impl Write + Send + 'static,
    progress: &OnProgress,
) -> Result<Exported> {
    let node = tree::resolve(objects, snapshot, path).await?;
    let (sender, mut parts) = channel::<Bytes>(PARTS_AHEAD);
    let writer = tokio::task::spawn_blocking(move || {
        let failed = |error| Error::io("the archive cannot be written", error);
        let mut output = BufWriter::with_capacity(256 * 1024, output);
        while let Some(part) = parts.blocking_recv() {
            output.write_all(&part).map_err(failed)?;
        }
        output.flush().map_err(failed)
    });
    let mut archive = Archive {
        objects,
        snapshot,
        progress,
        sender,
        written: 0,
        linked: HashMap::new(),
        exported: Exported::default(),
    };
    let made = match (&node.body, path.names().last()) {
        (Body::Directory(_), _) => archive.directory(&node).await,
        (_, Some(name)) => {
            let target = Target::Node(node);
            archive.name(Vec::new(), Entry { name: name.clone(), target }).await.map(drop)
        }
        (_, None) => Err(Error::corrupt("the root of a snapshot is not a directory")),
    };
    let made = match made {
        Ok(()) => archive.end().await,
        failed => failed,
    };
    let exported = archive.exported;
    drop(archive.sender);
    let written = writer.await;
    written.map_err(|error| Error::new(Kind::Internal, "a thread that writes an archive died").because(error))??;
    made.map(|()| exported)
}

struct Archive<'a> {
    objects: &'a dyn Objects,
    snapshot: &'a Snapshot,
    progress: &'a OnProgress,
    sender: Sender<Bytes>,
    written: u64,
    /// Where inodes with several names were written.
    linked: HashMap<Ino, Vec<u8>>,
    exported: Exported,
}

/// What is known of a member besides its node.
struct Member<'a> {
    path: &'a [u8],
    kind: EntryType,
    link: &'a [u8],
    /// Bytes that follow.
    stored: u64,
    /// The size of the file, if it is stored without its holes.
    sparse: Option<u64>,
}

impl Archive<'_> {
    async fn send(&mut self, part: impl Into<Bytes>) -> Result<()> {
        let part = part.into();
        self.written += part.len() as u64;
        // The writer says why it stopped.
        self.sender.send(part).await.map_err(|_| Error::new(Kind::Unavailable, "the archive's writer has stopped"))
    }

    async fn pad(&mut self, length: u64) -> Result<()> {
        let missing = length.next_multiple_of(BLOCK as u64) - length;
        if missing > 0 { self.send(vec![0; missing as usize]).await } else { Ok(()) }
    }

    async fn end(&mut self) -> Result<()> {
        self.send(vec![0; 2 * BLOCK]).await?;
        let missing = self.written.next_multiple_of(RECORD) - self.written;
        self.send(vec![0; missing as usize]).await
    }

    /// Everything below a directory, and it itself as `./`.
    async fn directory(&mut self, root: &Node) -> Result<()> {
        self.member(root, Member { path: b"./", kind: EntryType::Directory, link: b"", stored: 0, sparse: None })
            .await?;
        let objects = self.objects;
        let entries = |node: &Node| match &node.body {
            Body::Directory(subtree) => Some(Entries::new(objects, subtree.tree)),
            _ => None,
        };
        let mut stack: Vec<(Vec<u8>, Entries<'_>)> =
            entries(root).map(|entries| (Vec::new(), entries)).into_iter().collect();
        while let Some((path, below)) = stack.last_mut() {
            let Some(entry) = below.next().await? else {
                stack.pop();
                continue;
            };
            let above = path.clone();
            if let Some((path, node)) = self.name(above, entry).await? {
                if stack.len() > DEPTH_MAX {
                    return Err(Error::new(
                        Kind::LimitExceeded,
                        format!("directories are nested over {DEPTH_MAX} deep"),
                    ));
                }
                stack.extend(entries(&node).map(|entries| (path, entries)));
            }
        }
        Ok(())
    }

    /// One name; of a directory, its path and node, to go on below.
    async fn name(&mut self, mut path: Vec<u8>, entry: Entry) -> Result<Option<(Vec<u8>, Node)>> {
        path.extend_from_slice(entry.name.as_bytes());
        let shown = || String::from_utf8_lossy(&path).into_owned().into();
        let node = match entry.target {
            Target::Node(node) => node,
            Target::Link(ino) => {
                let node = tree::linked(self.objects, self.snapshot.links.as_ref(), ino).await?;
                if let Some(first) = self.linked.get(&ino).cloned() {
                    let (kind, link) = (EntryType::Link, first.as_slice());
                    self.member(&node, Member { path: &path, kind, link, stored: 0, sparse: None }).await?;
                    return Ok(None);
                }
                // What is left out is left out under each of its names.
                if matches!(node.body, Body::File(_) | Body::Symlink(_) | Body::Fifo) {
                    self.linked.insert(ino, path.clone());
                }
                node
            }
        };
        let simple = |kind| Member { path: &path, kind, link: b"", stored: 0, sparse: None };
        match &node.body {
            Body::Directory(_) => {
                path.push(b'/');
                let kind = EntryType::Directory;
                self.member(&node, Member { path: &path, kind, link: b"", stored: 0, sparse: None }).await?;
                return Ok(Some((path, node)));
            }
            Body::File(content) => self.file(&path, &node, content).await?,
            Body::Symlink(content) => {
                let target = read_short(self.objects, content).await?;
                self.member(&node, Member { link: &target, ..simple(EntryType::Symlink) }).await?;
            }
            Body::Fifo => self.member(&node, simple(EntryType::Fifo)).await?,
            Body::Socket => self.exported.skipped.push((shown(), "sockets are not exported".into())),
            Body::CharDevice(_) | Body::BlockDevice(_) => {
                self.exported.skipped.push((shown(), "device nodes are not exported".into()));
            }
        }
        Ok(None)
    }

    async fn file(&mut self, path: &[u8], node: &Node, content: &Content) -> Result<()> {
        let blob = match content {
            Content::Inline(bytes) => {
                let stored = bytes.len() as u64;
                let kind = EntryType::Regular;
                self.member(node, Member { path, kind, link: b"", stored, sparse: None }).await?;
                self.send(bytes.clone()).await?;
                self.exported.bytes += stored;
                return self.pad(stored).await;
            }
            Content::Chunk(chunk) => Blob::new([Extent::Chunk(*chunk)]),
            Content::Blob { id, size } => {
                let blob = Blob::decode(&self.objects.read((*id).into()).await?)?;
                if blob.size() != *size {
                    return Err(Error::corrupt(format!("blob {id} has another size than its file")));
                }
                blob
            }
        };
        let has_holes = blob.extents().iter().any(|extent| matches!(extent, Extent::Hole(_)));
        let map = if has_holes { sparse_map(&blob) } else { Vec::new() };
        let chunks: Vec<ChunkRef> = blob
            .extents()
            .iter()
            .filter_map(|extent| match extent {
                Extent::Chunk(chunk) => Some(*chunk),
                Extent::Hole(_) => None,
            })
            .collect();
        let data: u64 = chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
        let stored = data + map.len() as u64;
        let sparse = has_holes.then(|| blob.size());
        self.member(node, Member { path, kind: EntryType::Regular, link: b"", stored, sparse }).await?;
        if !map.is_empty() {
            self.send(map).await?;
        }
        for group in chunks.chunks(CHUNKS_AT_ONCE) {
            let ids: Vec<_> = group.iter().map(|chunk| chunk.id.into()).collect();
            for (chunk, bytes) in group.iter().zip(self.objects.read_many(&ids).await?) {
                self.send(right_length(chunk, bytes)?).await?;
            }
        }
        self.exported.bytes += blob.size();
        self.pad(stored).await
    }

    /// The headers of a member.
    async fn member(&mut self, node: &Node, member: Member<'_>) -> Result<()> {
        let mut records = Vec::new();
        let mut header = Header::new_ustar();
        header.set_entry_type(member.kind);
        header.set_mode(node.mode.into());
        let small = |number: u64, max: u64, key: &str, records: &mut Vec<u8>| {
            if number > max {
                record(records, key.as_bytes(), number.to_string().as_bytes());
            }
            if number > max { 0 } else { number }
        };
        header.set_uid(small(node.uid.into(), SMALL_NUMBER, "uid", &mut records));
        header.set_gid(small(node.gid.into(), SMALL_NUMBER, "gid", &mut records));
        header.set_size(small(member.stored, LARGE_NUMBER, "size", &mut records));
        let whole = u64::try_from(node.mtime.seconds).ok().filter(|seconds| *seconds <= LARGE_NUMBER);
        header.set_mtime(whole.unwrap_or(0));
        if whole.is_none() || node.mtime.nanos > 0 {
            record(&mut records, b"mtime", decimal(node.mtime).as_bytes());
        }
        record(&mut records, b"ctime", decimal(node.ctime).as_bytes());
        let mut name = member.path;
        if let Some(size) = member.sparse {
            record(&mut records, b"GNU.sparse.major", b"1");
            record(&mut records, b"GNU.sparse.minor", b"0");
            record(&mut records, b"GNU.sparse.name", member.path);
            record(&mut records, b"GNU.sparse.realsize", size.to_string().as_bytes());
        } else if name.len() > SHORT_NAME {
            record(&mut records, b"path", name);
        }
        name = &name[..name.len().min(SHORT_NAME)];
        let link = &member.link[..member.link.len().min(SHORT_NAME)];
        if member.link.len() > SHORT_NAME {
            record(&mut records, b"linkpath", member.link);
        }
        if member.kind != EntryType::Link {
            for (key, value) in read_xattrs(self.objects, node).await?.iter() {
                record(&mut records, &[b"SCHILY.xattr.".as_slice(), &encoded(key)].concat(), value);
            }
        }
        let mut extension = Header::new_ustar();
        extension.set_entry_type(EntryType::XHeader);
        extension.set_size(records.len() as u64);
        extension.set_mode(0o644);
        put_bytes(&mut extension, 0, b"./PaxHeaders/member");
        extension.set_cksum();
        put_bytes(&mut header, 0, name);
        put_bytes(&mut header, 157, link);
        header.set_cksum();
        let mut part = extension.as_bytes().to_vec();
        part.extend_from_slice(&records);
        part.resize(part.len().next_multiple_of(BLOCK), 0);
        part.extend_from_slice(header.as_bytes());
        self.send(part).await?;
        self.exported.names += u64::from(member.path != b"./");
        (self.progress)(Progress { what: "files", done: self.exported.names, total: None });
        Ok(())
    }
}

fn put_bytes(header: &mut Header, at: usize, bytes: &[u8]) {
    header.as_mut_bytes()[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Adds a PAX record, which begins with its own length.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// A key holds no `=`: GNU tar writes it so.
fn encoded(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'=' => out.extend_from_slice(b"%3D"),
            b'%' => out.extend_from_slice(b"%25"),
            byte => out.push(*byte),
        }
    }
    out
}

/// Seconds with nine digits behind the point.
fn decimal(time: Time) -> String {
    match (time.seconds, time.nanos) {
        (seconds, nanos) if seconds < 0 && nanos > 0 => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanos),
        (seconds, nanos) => format!("{seconds}.{nanos:09}"),
    }
}

/// Where the data of a file with holes belongs, as GNU tar writes it: it ends with an empty piece where the file ends with
/// a hole.
fn sparse_map(blob: &Blob) -> Vec<u8> {
    let mut pieces: Vec<(u64, u64)> = Vec::new();
    let mut at = 0;
    for extent in blob.extents() {
        if let Extent::Chunk(chunk) = extent {
            match pieces.last_mut() {
                Some((start, length)) if *start + *length == at => *length += u64::from(chunk.length),
                _ => pieces.push((at, chunk.length.into())),
            }
        }
        at += extent.length();
    }
    if pieces.last().is_none_or(|(start, length)| start + length < at) {
        pieces.push((at, 0));
    }
    let mut map = format!("{}\n", pieces.len()).into_bytes();
    for (start, length) in pieces {
        map.extend_from_slice(format!("{start}\n{length}\n").as_bytes());
    }
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}
