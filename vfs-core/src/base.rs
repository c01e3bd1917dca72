//! What a workspace stands on: immutable objects, read from wherever they are, and a way to publish new ones.
//!
//! Both traits have two implementations: the repo itself, inside an engine, and the API client, inside a mount.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::change::ChangeSet;
use crate::error::Result;
use crate::id::{BlobId, HolderId, SnapshotId, TreeId, WorkspaceId};
use crate::object::{Blob, ChunkRef, Ino, Provenance, Snapshot, Subtree, TreeNode};
use crate::quota::Quota;

/// Reads immutable objects. Answers are verified: by id where the key is known, by plain digest elsewhere.
#[async_trait]
pub trait Base: Send + Sync + 'static {
    /// Tree nodes, in the order asked for.
    async fn trees(&self, ids: &[TreeId]) -> Result<Vec<Arc<TreeNode>>>;

    /// One blob.
    async fn blob(&self, id: BlobId) -> Result<Arc<Blob>>;

    /// Chunks, in the order asked for.
    async fn chunks(&self, chunks: &[ChunkRef]) -> Result<Vec<Bytes>>;
}

/// The right to publish a workspace, fenced by a growing epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Lease {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Who holds it.
    pub holder: HolderId,
    /// Grows with every attach; an older one is refused with `LeaseLost`.
    pub epoch: u64,
}

/// What a holder gets when it attaches.
#[derive(Debug, Clone)]
pub struct Attached {
    /// The right to publish.
    pub lease: Lease,
    /// Name of the workspace.
    pub name: String,
    /// The id of the snapshot the workspace's ref points at.
    pub head: SnapshotId,
    /// That snapshot.
    pub snapshot: Snapshot,
    /// Journal position up to which this holder has published, 0 if the head is not this holder's work.
    pub position: u64,
    /// What the workspace may come to.
    pub quota: Quota,
}

/// What is said about a snapshot when it is published.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct PublishNote {
    /// Who asked for it.
    pub author: String,
    /// Why.
    pub message: String,
    /// Made by the mount on its own.
    pub automatic: bool,
    /// The session that wrote it, if one did.
    #[serde(default)]
    pub session: String,
    /// The turn of the session.
    #[serde(default)]
    pub turn: String,
    /// The tool call of the turn.
    #[serde(default)]
    pub tool_call: String,
}

impl PublishNote {
    /// The part that goes into the snapshot's provenance.
    pub fn provenance(&self) -> Provenance {
        Provenance { session: self.session.clone(), turn: self.turn.clone(), tool_call: self.tool_call.clone() }
    }
}

/// The outcome of a publish: the new snapshot, and the names of what was changed in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The snapshot that the workspace's ref now points at.
    pub snapshot: SnapshotId,
    /// The new tree of every directory of the change set.
    pub trees: Vec<(Ino, Subtree)>,
    /// The blob of every file whose extents were sent.
    pub blobs: Vec<(Ino, BlobId)>,
    /// The link table of the new snapshot.
    pub links: Option<Subtree>,
}

/// Makes new objects and moves the ref of a workspace.
///
/// A publish is named by its lease and the journal position it covers. Each step may be repeated; a publish whose
/// answer was lost is begun again with the same position and base, sends the same changes and gets the same answer.
/// A session that the engine has forgotten (it restarted) answers `Conflict`: begin again.
#[async_trait]
pub trait Publisher: Base {
    /// Takes a range of `count` fresh inode numbers; returns the first.
    async fn allocate_inos(&self, lease: &Lease, count: u64) -> Result<Ino>;

    /// Opens a publish of everything up to `position` on top of `base`.
    async fn begin(&self, lease: &Lease, base: SnapshotId, position: u64) -> Result<()>;

    /// Stores content that the mount has cut; returns the chunks' names in the same order.
    async fn put_chunks(&self, lease: &Lease, position: u64, chunks: Vec<Bytes>) -> Result<Vec<ChunkRef>>;

    /// Adds a part of the changed inodes and directories.
    async fn put_changes(&self, lease: &Lease, position: u64, changes: ChangeSet) -> Result<()>;

    /// Builds the trees, makes all durable, moves the ref.
    async fn commit(&self, lease: &Lease, position: u64, note: PublishNote) -> Result<Published>;
}
