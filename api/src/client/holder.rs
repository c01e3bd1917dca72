//! One workspace in the hands of a mount: `Base` and `Publisher` over HTTP.
//!
//! Everything here may be repeated, so it is: with growing pauses while the engine is away, until the deadline. Chunks
//! are checked by their plain digest, trees and blobs are decoded strictly; what fails that is `Corrupt`, not retried.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use reqwest::Method;
use vfs_core::base::{Attached, Base, Lease, PublishNote, Published, Publisher};
use vfs_core::change::ChangeSet;
use vfs_core::id::{BlobId, HolderId, PlainDigest, SnapshotId, TreeId, WorkspaceId};
use vfs_core::limits::{CHUNK_MAX, MISS_DEADLINE, TREE_NODE_MAX};
use vfs_core::object::{Blob, ChunkRef, Ino, TreeNode};
use vfs_core::repo::HolderDescription;
use vfs_core::{Error, Kind, Result};

use super::calls::workspace_path;
use super::transport::{Client, Effort};
use crate::limits::{
    BATCH_CHUNK_BYTES, BATCH_CHUNKS_MAX, BATCH_ITEMS_MAX, BLOB_FRAME_MAX, CHANGES_PART_BYTES, COMMIT_DEADLINE,
    PUBLISH_DEADLINE, READ_AHEAD,
};
use crate::wire::frames;
use crate::wire::mount::{self, AttachRequest, BeginRequest, Inos, InosRequest, Note, PublishedBody};

/// Reads of which a mount waits.
const READ: Effort = Effort::persistent(MISS_DEADLINE);
/// Steps of a publish.
const STEP: Effort = Effort::persistent(PUBLISH_DEADLINE);
/// The last step of a publish.
const COMMIT: Effort = Effort::persistent(COMMIT_DEADLINE);

/// One workspace at an engine. Clones share their connections.
#[derive(Clone)]
pub struct WorkspaceClient {
    client: Client,
    workspace: WorkspaceId,
}

impl WorkspaceClient {
    pub(super) fn new(client: Client, workspace: WorkspaceId) -> Self {
        WorkspaceClient { client, workspace }
    }

    /// The client below.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The workspace.
    pub fn workspace(&self) -> WorkspaceId {
        self.workspace
    }

    /// Binds a holder to the workspace; the same holder gets a new epoch at once.
    pub async fn attach(&self, holder: HolderId, who: &HolderDescription) -> Result<Attached> {
        let request = AttachRequest::new(holder, who);
        let effort = Effort { patient: false, ..STEP };
        let attached: mount::Attached = self.client.post(&self.path("/attach"), &request, effort).await?;
        attached.try_into()
    }

    /// Gives the lease back; fine if it is gone already.
    pub async fn detach(&self, lease: &Lease) -> Result<()> {
        let effort = Effort { patient: false, ..STEP };
        self.client.json(Method::POST, &self.leased("/detach", lease), None::<&()>, effort).await
    }

    fn path(&self, rest: &str) -> String {
        workspace_path(&self.workspace.to_hex(), rest)
    }

    /// A path with the lease in its query.
    pub(super) fn leased(&self, rest: &str, lease: &Lease) -> String {
        self.path(&format!("{rest}?holder={}&epoch={}", lease.holder, lease.epoch))
    }

    fn step(&self, position: u64, step: &str, lease: &Lease) -> String {
        self.leased(&format!("/publish/{position}{step}"), lease)
    }

    /// Sends frames and reads as many back.
    async fn frames<I: AsRef<[u8]>>(
        &self,
        method: Method,
        path: &str,
        items: &[I],
        item_max: usize,
        effort: Effort,
    ) -> Result<Vec<Bytes>> {
        let body = frames::encode(items);
        let answer = self.client.send_and_read(method, path, frames::CONTENT_TYPE, Some(body), effort).await?;
        let answer = frames::decode(answer, items.len(), item_max).map_err(|error| nonsense(path).because(error))?;
        if answer.len() == items.len() { Ok(answer) } else { Err(nonsense(path)) }
    }

    async fn read_trees(self, ids: Vec<TreeId>) -> Result<Vec<Arc<TreeNode>>> {
        let items: Vec<_> = ids.iter().map(TreeId::as_bytes).collect();
        let nodes = self.frames(Method::POST, &self.path("/trees"), &items, TREE_NODE_MAX, READ).await?;
        nodes.iter().map(|bytes| TreeNode::decode(bytes).map(Arc::new)).collect()
    }

    async fn read_chunks(self, chunks: Vec<ChunkRef>) -> Result<Vec<Bytes>> {
        let items: Vec<_> = chunks.iter().map(frames::chunk_ref_to_item).collect();
        let contents = self.frames(Method::POST, &self.path("/chunks"), &items, CHUNK_MAX, READ).await?;
        off_worker(move || {
            chunks.iter().zip(&contents).try_for_each(|(chunk, content)| check_chunk(chunk, content))?;
            // Each frame is a slice of the whole answer; a cache that keeps one must not keep the others alive.
            Ok(if contents.len() == 1 {
                contents
            } else {
                contents.iter().map(|content| Bytes::copy_from_slice(content)).collect()
            })
        })
        .await
    }

    async fn write_chunks(self, lease: Lease, position: u64, chunks: Vec<Bytes>) -> Result<Vec<ChunkRef>> {
        let path = self.step(position, "/chunks", &lease);
        let stored = self.frames(Method::PUT, &path, &chunks, frames::CHUNK_REF_LENGTH, STEP).await?;
        off_worker(move || {
            let check = |(item, content): (&Bytes, &Bytes)| {
                let chunk = frames::chunk_ref_from_item(item)?;
                check_chunk(&chunk, content)?;
                Ok(chunk)
            };
            stored.iter().zip(&chunks).map(check).collect()
        })
        .await
    }
}

#[async_trait]
impl Base for WorkspaceClient {
    async fn trees(&self, ids: &[TreeId]) -> Result<Vec<Arc<TreeNode>>> {
        let batches: Vec<Vec<TreeId>> = ids.chunks(BATCH_ITEMS_MAX).map(<[_]>::to_vec).collect();
        let batches = batches.into_iter().map(|batch| self.clone().read_trees(batch));
        let nodes: Vec<_> = stream::iter(batches).buffered(READ_AHEAD).try_collect().await?;
        Ok(nodes.concat())
    }

    async fn blob(&self, id: BlobId) -> Result<Arc<Blob>> {
        let answer = self.frames(Method::POST, &self.path("/blobs"), &[id.as_bytes()], BLOB_FRAME_MAX, READ).await?;
        Ok(Arc::new(Blob::decode(&answer[0])?))
    }

    async fn chunks(&self, chunks: &[ChunkRef]) -> Result<Vec<Bytes>> {
        let lengths: Vec<usize> = chunks.iter().map(|chunk| chunk.length as usize).collect();
        let batches: Vec<_> = batches(&lengths).into_iter().map(|batch| chunks[batch].to_vec()).collect();
        let batches = batches.into_iter().map(|batch| self.clone().read_chunks(batch));
        let contents: Vec<_> = stream::iter(batches).buffered(READ_AHEAD).try_collect().await?;
        Ok(contents.concat())
    }
}

#[async_trait]
impl Publisher for WorkspaceClient {
    async fn allocate_inos(&self, lease: &Lease, count: u64) -> Result<Ino> {
        let request = InosRequest { count };
        let inos: Inos = self.client.post(&self.leased("/inos", lease), &request, STEP).await?;
        Ok(Ino(inos.first))
    }

    async fn begin(&self, lease: &Lease, base: SnapshotId, position: u64) -> Result<()> {
        let request = BeginRequest { base };
        self.client.json(Method::PUT, &self.step(position, "", lease), Some(&request), STEP).await
    }

    async fn put_chunks(&self, lease: &Lease, position: u64, chunks: Vec<Bytes>) -> Result<Vec<ChunkRef>> {
        if let Some(chunk) = chunks.iter().find(|chunk| chunk.is_empty() || chunk.len() > CHUNK_MAX) {
            return Err(Error::new(Kind::Invalid, format!("a chunk of {} bytes cannot be stored", chunk.len())));
        }
        let lengths: Vec<usize> = chunks.iter().map(Bytes::len).collect();
        let batches: Vec<_> = batches(&lengths).into_iter().map(|batch| chunks[batch].to_vec()).collect();
        let batches = batches.into_iter().map(|batch| self.clone().write_chunks(*lease, position, batch));
        let stored: Vec<_> = stream::iter(batches).buffered(2).try_collect().await?;
        Ok(stored.concat())
    }

    async fn put_changes(&self, lease: &Lease, position: u64, changes: ChangeSet) -> Result<()> {
        let path = self.step(position, "/changes", lease);
        for part in parts(changes) {
            let answer = self.client.send_and_read(Method::PUT, &path, "application/octet-stream", Some(part), STEP);
            answer.await?;
        }
        Ok(())
    }

    async fn commit(&self, lease: &Lease, position: u64, note: PublishNote) -> Result<Published> {
        let path = self.step(position, "/commit", lease);
        let published: PublishedBody = self.client.post(&path, &Note::from(note), COMMIT).await?;
        Ok(published.into())
    }
}

fn nonsense(path: &str) -> Error {
    Error::new(Kind::Internal, format!("the engine's answer to {path} makes no sense"))
}

fn check_chunk(chunk: &ChunkRef, content: &[u8]) -> Result<()> {
    if content.len() == chunk.length as usize && PlainDigest::of(content) == chunk.digest {
        return Ok(());
    }
    Err(Error::corrupt(format!("the engine sent other content than that of chunk {}", chunk.id)))
}

/// Runs hashing where it holds no request up.
async fn off_worker<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(Kind::Internal, "a check of content did not finish").because(error))?
}

/// Cuts items of these lengths into batches.
fn batches(lengths: &[usize]) -> Vec<std::ops::Range<usize>> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, length) in lengths.iter().enumerate() {
        if index > start && (index - start == BATCH_CHUNKS_MAX || bytes + length > BATCH_CHUNK_BYTES) {
            batches.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += length;
    }
    if start < lengths.len() {
        batches.push(start..lengths.len());
    }
    batches
}

/// Cuts a change set into encoded parts of about [`CHANGES_PART_BYTES`]; only a single item may be larger.
fn parts(changes: ChangeSet) -> Vec<Bytes> {
    let encoded = changes.encode();
    let items = changes.nodes.len() + changes.directories.len() + changes.unlinked.len();
    if encoded.len() <= CHANGES_PART_BYTES || items <= 1 {
        return vec![encoded.into()];
    }
    drop(encoded);
    // The first half of all items stays, whatever they are, so each half has fewer than the whole.
    let half = items / 2;
    let mut first = changes;
    let nodes = first.nodes.len().min(half);
    let directories = first.directories.len().min(half - nodes);
    let second = ChangeSet {
        nodes: first.nodes.split_off(nodes),
        directories: first.directories.split_off(directories),
        unlinked: first.unlinked.split_off(half - nodes - directories),
    };
    let mut all = parts(first);
    all.extend(parts(second));
    all
}

#[cfg(test)]
mod tests;
