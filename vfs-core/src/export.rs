//! A snapshot into a local folder, exactly: kinds, modes, owners, times, links, attributes, holes.
//!
//! Writes below the target only: every name is made relative to an open directory, and nothing that exists is followed
//! or replaced. Directories get their mode and times last, when nothing is made in them any more.
//! With `fsync`, everything is on disk when the export returns; one sync of the file system costs far less than one a file.

mod archive;
mod write;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use crate::error::{Error, Kind, Result};
use crate::limits::{DEPTH_MAX, SYMLINK_MAX};
use crate::name::Name;
use crate::object::{Blob, Body, ChunkRef, Content, Extent, Ino, Node, Snapshot, Target, Xattrs, XattrsRef};
use crate::objects::Objects;
use crate::progress::{OnProgress, Progress};
use crate::tree::{self, Entries};

/// Files that are written at the same time; each holds a few chunks.
const FILES_AT_ONCE: usize = 8;
/// Small files of one leaf that are read in one request and written in one go, and their bytes.
const SMALL_AT_ONCE: usize = 32;
/// See [`SMALL_AT_ONCE`].
const SMALL_BYTES: u64 = 4 * 1024 * 1024;
/// Chunks of one file that are read in one request.
const CHUNKS_AT_ONCE: usize = 4;

pub use archive::export_archive;

/// How a snapshot is exported.
#[derive(Debug, Clone, Copy)]
pub struct ExportOptions {
    /// Give files the owners they have in the snapshot; needs root. Otherwise they belong to this process.
    pub owner: bool,
    /// Everything is on disk when the export returns.
    pub fsync: bool,
}

impl Default for ExportOptions {
    fn default() -> Self {
        ExportOptions { owner: rustix::process::geteuid().is_root(), fsync: true }
    }
}

/// What an export wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// Names of any kind.
    pub names: u64,
    /// Bytes of files, hard links once.
    pub bytes: u64,
    /// What could not be written as it is in the snapshot, with the reason: for a warning each.
    pub skipped: Vec<(PathBuf, String)>,
}

/// Writes `snapshot` into `target`, which is made, or must be empty.
pub async fn export(
    objects: &dyn Objects,
    snapshot: &Snapshot,
    target: &Path,
    options: ExportOptions,
    progress: &OnProgress,
) -> Result<Exported> {
    let Body::Directory(root) = &snapshot.root.body else {
        return Err(Error::corrupt("the root of a snapshot is not a directory"));
    };
    let directory = {
        let target = target.to_owned();
        write::blocking(move || write::make_target(&target)).await?
    };
    let mut export = Export {
        objects,
        snapshot,
        options,
        progress,
        total: root.totals.nodes,
        root: Arc::new(directory),
        stack: Vec::new(),
        linked: HashMap::new(),
        exported: Exported::default(),
    };
    export.enter(PathBuf::new(), snapshot.root.clone(), export.root.clone())?;
    export.run().await?;
    if options.fsync {
        let (root, target) = (export.root.clone(), target.to_owned());
        write::blocking(move || write::sync(&root, &target)).await?;
    }
    Ok(export.exported)
}

/// A directory that is being filled.
struct Frame<'a> {
    path: PathBuf,
    directory: Arc<OwnedFd>,
    node: Node,
    entries: Entries<'a>,
    /// Directories of the leaf that was read last.
    below: Vec<(Name, Node)>,
}

struct Export<'a> {
    objects: &'a dyn Objects,
    snapshot: &'a Snapshot,
    options: ExportOptions,
    progress: &'a OnProgress,
    total: u64,
    root: Arc<OwnedFd>,
    stack: Vec<Frame<'a>>,
    /// Where inodes with several names were written.
    linked: HashMap<Ino, PathBuf>,
    exported: Exported,
}

/// What writing one name said.
struct Written {
    bytes: u64,
    skipped: Vec<(PathBuf, String)>,
}

impl<'a> Export<'a> {
    fn enter(&mut self, path: PathBuf, node: Node, directory: Arc<OwnedFd>) -> Result<()> {
        if self.stack.len() > DEPTH_MAX {
            return Err(Error::new(Kind::LimitExceeded, format!("directories are nested over {DEPTH_MAX} deep")));
        }
        let Body::Directory(subtree) = &node.body else {
            return Err(Error::new(Kind::Internal, "something other than a directory was entered"));
        };
        let entries = Entries::new(self.objects, subtree.tree);
        self.stack.push(Frame { path, directory, node, entries, below: Vec::new() });
        Ok(())
    }

    async fn run(&mut self) -> Result<()> {
        while let Some(frame) = self.stack.last_mut() {
            if let Some((name, node)) = frame.below.pop() {
                let path = frame.path.join(OsStr::from_bytes(name.as_bytes()));
                let parent = frame.directory.clone();
                let directory = write::blocking(move || write::make_directory(&parent, &name)).await?;
                self.count(0);
                self.enter(path, node, Arc::new(directory))?;
                continue;
            }
            match frame.entries.next_leaf().await? {
                Some(entries) => self.leaf(entries).await?,
                None => self.leave().await?,
            }
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) {
        self.exported.names += 1;
        self.exported.bytes += bytes;
        (self.progress)(Progress { what: "files", done: self.exported.names, total: Some(self.total) });
    }

    /// Writes the entries of one leaf, several at once; directories are kept for later, further hard links come last.
    async fn leaf(&mut self, entries: Vec<crate::object::Entry>) -> Result<()> {
        let frame = self.stack.last_mut().expect("because a leaf belongs to a directory");
        let (path, directory) = (frame.path.clone(), frame.directory.clone());
        let mut links = Vec::new();
        let mut files = Vec::new();
        for entry in entries {
            let at = path.join(OsStr::from_bytes(entry.name.as_bytes()));
            match entry.target {
                Target::Node(node) if matches!(node.body, Body::Directory(_)) => frame.below.push((entry.name, node)),
                Target::Node(node) => files.push((at, entry.name, node)),
                Target::Link(ino) => {
                    if let Some(first) = self.linked.get(&ino) {
                        links.push((first.clone(), entry.name));
                    } else {
                        let node = tree::linked(self.objects, self.snapshot.links.as_ref(), ino).await?;
                        self.linked.insert(ino, at.clone());
                        files.push((at, entry.name, node));
                    }
                }
            }
        }
        let (objects, options) = (self.objects, self.options);
        let writes = groups(files).into_iter().map(|group| {
            let directory = directory.clone();
            async move { write_group(objects, options, directory, group).await }
        });
        let written: Vec<Vec<Written>> = futures::stream::iter(writes).buffered(FILES_AT_ONCE).try_collect().await?;
        for Written { bytes, skipped } in written.into_iter().flatten() {
            self.count(bytes);
            self.exported.skipped.extend(skipped);
        }
        for (first, name) in links {
            let (root, directory) = (self.root.clone(), directory.clone());
            write::blocking(move || write::link(&root, &first, &directory, &name)).await?;
            self.count(0);
        }
        Ok(())
    }

    /// Gives a filled directory its attributes, mode and times.
    async fn leave(&mut self) -> Result<()> {
        let frame = self.stack.pop().expect("because only a directory is left");
        let xattrs = read_xattrs(self.objects, &frame.node).await?;
        let options = self.options;
        let warnings = write::blocking(move || {
            let warnings = write::finish_directory(&frame.directory, &frame.node, &xattrs, options)?;
            Ok(warnings.into_iter().map(|why| (frame.path.clone(), why)).collect::<Vec<_>>())
        });
        self.exported.skipped.extend(warnings.await?);
        Ok(())
    }
}

/// A name that is to be written.
type ToWrite = (PathBuf, Name, Node);

/// Parts the names of a leaf into groups: many small ones, or one large file.
fn groups(files: Vec<ToWrite>) -> Vec<Vec<ToWrite>> {
    let mut groups: Vec<Vec<ToWrite>> = Vec::new();
    let mut bytes = 0;
    for file in files {
        let size = if is_small(&file.2) { file.2.size() } else { SMALL_BYTES + 1 };
        bytes += size;
        match groups.last_mut() {
            Some(group) if group.len() < SMALL_AT_ONCE && bytes <= SMALL_BYTES => group.push(file),
            _ => {
                bytes = size;
                groups.push(vec![file]);
            }
        }
    }
    groups
}

/// Whether the content is one chunk at most.
fn is_small(node: &Node) -> bool {
    !matches!(node.body, Body::File(Content::Blob { .. }))
}

/// Writes names of one directory: small ones with one read and one hop to a writing thread.
async fn write_group(
    objects: &dyn Objects,
    options: ExportOptions,
    directory: Arc<OwnedFd>,
    group: Vec<ToWrite>,
) -> Result<Vec<Written>> {
    let (small, large): (Vec<_>, Vec<_>) =
        group.into_iter().partition(|(_, _, node)| matches!(node.body, Body::File(_)) && is_small(node));
    let mut written = write_small(objects, options, directory.clone(), small).await?;
    for (path, name, node) in large {
        written.push(write_name(objects, options, directory.clone(), path, name, node).await?);
    }
    Ok(written)
}

async fn write_small(
    objects: &dyn Objects,
    options: ExportOptions,
    directory: Arc<OwnedFd>,
    small: Vec<ToWrite>,
) -> Result<Vec<Written>> {
    let chunk_of = |node: &Node| match &node.body {
        Body::File(Content::Chunk(chunk)) => Some(*chunk),
        _ => None,
    };
    let chunks: Vec<ChunkRef> = small.iter().filter_map(|(_, _, node)| chunk_of(node)).collect();
    let ids: Vec<_> = chunks.iter().map(|chunk| chunk.id.into()).collect();
    let mut contents = if ids.is_empty() { Vec::new() } else { objects.read_many(&ids).await? }.into_iter();
    let mut ready = Vec::with_capacity(small.len());
    for (path, name, node) in small {
        let content = match (&node.body, chunk_of(&node)) {
            (_, Some(chunk)) => right_length(&chunk, contents.next().unwrap_or_default())?,
            (Body::File(Content::Inline(bytes)), None) => bytes.clone(),
            _ => return Err(Error::new(Kind::Internal, "a large file was written as a small one")),
        };
        ready.push((path, name, content, read_xattrs(objects, &node).await?, node));
    }
    if ready.is_empty() {
        return Ok(Vec::new());
    }
    let work = move || {
        let one = |(path, name, content, xattrs, node): (PathBuf, Name, Bytes, Xattrs, Node)| {
            let file = write::make_file(&directory, &name)?;
            write::write_at(&file, 0, &content)?;
            let warnings = write::finish_file(&file, &directory, &name, &node, &xattrs, options)?;
            let skipped = warnings.into_iter().map(|why| (path.clone(), why)).collect();
            Ok(Written { bytes: content.len() as u64, skipped })
        };
        ready.into_iter().map(one).collect()
    };
    write::blocking(work).await
}

/// Writes anything but a directory.
async fn write_name(
    objects: &dyn Objects,
    options: ExportOptions,
    directory: Arc<OwnedFd>,
    path: PathBuf,
    name: Name,
    node: Node,
) -> Result<Written> {
    let xattrs = read_xattrs(objects, &node).await?;
    let mut bytes = 0;
    let outcome = match &node.body {
        Body::File(content) => {
            bytes = content.size();
            let (at, made) = (directory.clone(), name.clone());
            let file = Arc::new(write::blocking(move || write::make_file(&at, &made)).await?);
            write_content(objects, &file, content).await?;
            write::blocking(move || write::finish_file(&file, &directory, &name, &node, &xattrs, options)).await?
        }
        Body::Symlink(content) => {
            let target = read_short(objects, content).await?;
            write::blocking(move || write::make_symlink(&directory, &name, &target, &node, &xattrs, options)).await?
        }
        Body::Fifo | Body::Socket => {
            write::blocking(move || write::make_special(&directory, &name, &node, &xattrs, options)).await?
        }
        Body::CharDevice(_) | Body::BlockDevice(_) => vec!["device nodes are not exported".to_string()],
        Body::Directory(_) => return Err(Error::new(Kind::Internal, "a directory was written as a file")),
    };
    Ok(Written { bytes, skipped: outcome.into_iter().map(|why| (path.clone(), why)).collect() })
}

async fn write_content(objects: &dyn Objects, file: &Arc<OwnedFd>, content: &Content) -> Result<()> {
    let blob = match content {
        Content::Inline(bytes) => {
            let (file, bytes) = (file.clone(), bytes.clone());
            return write::blocking(move || write::write_at(&file, 0, &bytes)).await;
        }
        Content::Chunk(chunk) => Blob::new([Extent::Chunk(*chunk)]),
        Content::Blob { id, size } => {
            let blob = Blob::decode(&objects.read((*id).into()).await?)?;
            if blob.size() != *size {
                return Err(Error::corrupt(format!("blob {id} has another size than its file")));
            }
            blob
        }
    };
    let mut offset = 0;
    let mut chunks: Vec<(u64, ChunkRef)> = Vec::new();
    for extent in blob.extents() {
        if let Extent::Chunk(chunk) = extent {
            chunks.push((offset, *chunk));
        }
        offset += extent.length();
    }
    for group in chunks.chunks(CHUNKS_AT_ONCE) {
        let ids: Vec<_> = group.iter().map(|(_, chunk)| chunk.id.into()).collect();
        let contents = objects.read_many(&ids).await?;
        let mut writes = Vec::with_capacity(group.len());
        for ((offset, chunk), bytes) in group.iter().zip(contents) {
            writes.push((*offset, right_length(chunk, bytes)?));
        }
        let file = file.clone();
        write::blocking(move || writes.iter().try_for_each(|(offset, bytes)| write::write_at(&file, *offset, bytes)))
            .await?;
    }
    let file = file.clone();
    write::blocking(move || write::set_length(&file, offset)).await
}

fn right_length(chunk: &ChunkRef, bytes: Bytes) -> Result<Bytes> {
    if bytes.len() == chunk.length as usize {
        return Ok(bytes);
    }
    Err(Error::corrupt(format!("chunk {} has {} bytes instead of {}", chunk.id, bytes.len(), chunk.length)))
}

/// The content of a symlink.
async fn read_short(objects: &dyn Objects, content: &Content) -> Result<Bytes> {
    match content {
        Content::Inline(bytes) => Ok(bytes.clone()),
        Content::Chunk(chunk) if chunk.length as usize <= SYMLINK_MAX => {
            right_length(chunk, objects.read(chunk.id.into()).await?)
        }
        _ => Err(Error::corrupt("the target of a symbolic link is too long")),
    }
}

async fn read_xattrs(objects: &dyn Objects, node: &Node) -> Result<Xattrs> {
    match &node.xattrs {
        XattrsRef::None => Ok(Xattrs::default()),
        XattrsRef::Inline(bytes) => Xattrs::decode(bytes),
        XattrsRef::Chunk(chunk) => Xattrs::decode(&right_length(chunk, objects.read(chunk.id.into()).await?)?),
    }
}
