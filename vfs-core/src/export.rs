//! A snapshot into a local folder, exactly: kinds, modes, owners, times, links, attributes, holes.
//!
//! ```text
//! plan      the tree in order, cut into parcels of steps; tree nodes are read ahead
//! fill      the contents that a parcel needs, one request for all of them, a few parcels at the same time
//! writer    one thread: does the steps, in order
//! ```
//!
//! Memory is bounded by the depth of the tree, a few parcels, and the files with several names.
//! Writes below the target only: every name is made relative to an open directory, and nothing that exists is followed
//! or replaced. Directories get their mode and times last, when nothing is made in them any more.
//! With `fsync`, everything is on disk when the export returns; one sync of the file system costs far less than one a file.

mod archive;
mod plan;
mod write;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc::channel;

use crate::ahead::ahead;
use crate::error::{Error, Kind, Result};
use crate::limits::SYMLINK_MAX;
use crate::object::{Body, ChunkRef, Content, Node, Snapshot, Xattrs, XattrsRef};
use crate::objects::Objects;
use crate::progress::{OnProgress, Progress};
use writer::Writer;

/// Chunks of one file that are read in one request.
const CHUNKS_AT_ONCE: usize = 4;
/// Parcels whose contents are read at the same time.
const PARCELS_AT_ONCE: usize = 3;

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
    let total = Some(root.totals.nodes);
    let (path, owner) = (target.to_owned(), options.owner);
    let directory = blocking(move || write::make_target(&path)).await?;
    let (planned, parcels) = channel(1);
    let (ready, waiting) = channel(1);
    let (reports, mut written) = channel(1);
    let writer = tokio::task::spawn_blocking(move || {
        Writer::new(directory, owner).run(waiting, |report| reports.blocking_send(report).is_ok())
    });
    let (ahead, mut filled) = ahead(PARCELS_AT_ONCE);
    let plan = plan::plan(objects, snapshot, planned);
    let parcels =
        futures::stream::unfold(parcels, async |mut parcels| parcels.recv().await.map(|next| (next, parcels)));
    let fill = ahead.run(parcels.map(|parcel| parcel.fill(objects)));
    let hand_over = async move {
        while let Some(parcel) = filled.next().await {
            // The writer says why it stopped.
            ready.send(parcel).await.map_err(|_| died())?;
        }
        Ok(())
    };
    // It owns the channel: if another part fails, the writer must not wait for somebody to read its reports.
    let count = async move {
        let mut exported = Exported::default();
        while let Some(report) = written.recv().await {
            exported.add(report);
            progress(Progress { what: "files", done: exported.names, total });
        }
        Ok(exported)
    };
    let outcome = futures::future::try_join4(plan, fill, hand_over, count).await;
    let root = writer.await.map_err(|error| died().because(error))??;
    let ((), (), (), exported) = outcome?;
    if options.fsync {
        let target = target.to_owned();
        blocking(move || write::sync(&root, &target)).await?;
    }
    Ok(exported)
}

fn died() -> Error {
    Error::new(Kind::Internal, "a thread that writes an export died")
}

/// Runs on a blocking thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| died().because(error))?
}

impl Exported {
    fn add(&mut self, more: Exported) {
        self.names += more.names;
        self.bytes += more.bytes;
        self.skipped.extend(more.skipped);
    }
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
