//! What a mount and the engine say to each other about leases and publishes. Contents travel in [`super::frames`].

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use vfs_core::base::{Lease, PublishNote, Published};
use vfs_core::id::{BlobId, ContentDigest, HolderId, SnapshotId, TreeId, WorkspaceId};
use vfs_core::object::{Ino, Snapshot, Totals};
use vfs_core::quota::Quota;
use vfs_core::repo::HolderDescription;
use vfs_core::{Error, Kind, Result};

/// Asks for a workspace's lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AttachRequest {
    /// The holder; the same one gets a new epoch at once.
    #[schema(value_type = String)]
    pub holder: HolderId,
    /// Its machine.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// Where the workspace is mounted there.
    pub mountpoint: String,
}

impl AttachRequest {
    /// A holder that describes itself.
    pub fn new(holder: HolderId, who: &HolderDescription) -> Self {
        AttachRequest { holder, host: who.host.clone(), pid: who.pid, mountpoint: who.mountpoint.clone() }
    }

    /// What the holder says about itself.
    pub fn description(&self) -> HolderDescription {
        HolderDescription { host: self.host.clone(), pid: self.pid, mountpoint: self.mountpoint.clone() }
    }
}

/// A lease, and what it stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attached {
    /// The workspace's id.
    #[schema(value_type = String)]
    pub workspace: WorkspaceId,
    /// The holder.
    #[schema(value_type = String)]
    pub holder: HolderId,
    /// Grows with every attach.
    pub epoch: u64,
    /// The workspace's name.
    pub name: String,
    /// The snapshot that its ref points at.
    #[schema(value_type = String)]
    pub head: SnapshotId,
    /// That snapshot's canonical bytes in hexadecimal.
    pub snapshot_hex: String,
    /// Journal position up to which this holder has published.
    pub position: u64,
    /// Bytes that the workspace may come to; none: as many as there are.
    #[serde(default)]
    pub quota_bytes: Option<u64>,
    /// Files that it may come to.
    #[serde(default)]
    pub quota_files: Option<u64>,
}

impl From<vfs_core::base::Attached> for Attached {
    fn from(attached: vfs_core::base::Attached) -> Self {
        Attached {
            workspace: attached.lease.workspace,
            holder: attached.lease.holder,
            epoch: attached.lease.epoch,
            name: attached.name,
            head: attached.head,
            snapshot_hex: hex::encode(attached.snapshot.encode()),
            position: attached.position,
            quota_bytes: attached.quota.bytes,
            quota_files: attached.quota.files,
        }
    }
}

impl TryFrom<Attached> for vfs_core::base::Attached {
    type Error = Error;

    fn try_from(attached: Attached) -> Result<Self> {
        let snapshot = hex::decode(&attached.snapshot_hex).map_err(|error| {
            Error::corrupt("an attach was answered with a snapshot in no hexadecimal").because(error)
        })?;
        Ok(vfs_core::base::Attached {
            lease: Lease { workspace: attached.workspace, holder: attached.holder, epoch: attached.epoch },
            name: attached.name,
            head: attached.head,
            snapshot: Snapshot::decode(&snapshot)?,
            position: attached.position,
            quota: Quota { bytes: attached.quota_bytes, files: attached.quota_files },
        })
    }
}

/// Names a lease of the workspace in the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LeaseQuery {
    /// The holder.
    #[param(value_type = String)]
    pub holder: HolderId,
    /// The epoch of its lease.
    pub epoch: u64,
}

impl LeaseQuery {
    /// The lease on `workspace`.
    pub fn lease(&self, workspace: WorkspaceId) -> Lease {
        Lease { workspace, holder: self.holder, epoch: self.epoch }
    }
}

impl From<&Lease> for LeaseQuery {
    fn from(lease: &Lease) -> Self {
        LeaseQuery { holder: lease.holder, epoch: lease.epoch }
    }
}

/// Asks for fresh inode numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InosRequest {
    /// How many.
    pub count: u64,
}

/// Fresh inode numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Inos {
    /// The first of the range.
    pub first: u64,
}

/// Begins a publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginRequest {
    /// The snapshot that the changes are relative to.
    #[schema(value_type = String)]
    pub base: SnapshotId,
}

/// What is said about a snapshot when it is published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// Who asked for it.
    #[serde(default)]
    pub author: String,
    /// Why.
    #[serde(default)]
    pub message: String,
    /// Made by the mount on its own.
    #[serde(default)]
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

impl From<PublishNote> for Note {
    fn from(note: PublishNote) -> Self {
        let PublishNote { author, message, automatic, session, turn, tool_call } = note;
        Note { author, message, automatic, session, turn, tool_call }
    }
}

impl From<Note> for PublishNote {
    fn from(note: Note) -> Self {
        let Note { author, message, automatic, session, turn, tool_call } = note;
        PublishNote { author, message, automatic, session, turn, tool_call }
    }
}

/// The outcome of a publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishedBody {
    /// The snapshot that the workspace's ref now points at.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
    /// The new tree of every directory of the change set.
    pub trees: Vec<DirectoryTree>,
    /// The blob of every file whose extents were sent.
    pub blobs: Vec<FileBlob>,
    /// The link table of the new snapshot.
    pub links: Option<Subtree>,
}

/// The tree of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DirectoryTree {
    /// Its inode number.
    pub ino: u64,
    /// Its tree.
    pub subtree: Subtree,
}

/// The blob of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileBlob {
    /// Its inode number.
    pub ino: u64,
    /// Its blob.
    #[schema(value_type = String)]
    pub blob: BlobId,
}

/// A directory's entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Subtree {
    /// The root node.
    #[schema(value_type = String)]
    pub tree: TreeId,
    /// What it holds, without times and inode numbers.
    #[schema(value_type = String)]
    pub digest: ContentDigest,
    /// Entries of the directory itself.
    pub entries: u64,
    /// Entries that are directories.
    pub subdirs: u64,
    /// Entries at any depth.
    pub nodes: u64,
    /// Sizes of files at any depth.
    pub bytes: u64,
    /// Entries at any depth that point into the link table.
    pub links: u64,
}

impl From<&vfs_core::object::Subtree> for Subtree {
    fn from(subtree: &vfs_core::object::Subtree) -> Self {
        let Totals { entries, subdirs, nodes, bytes, links } = subtree.totals;
        Subtree { tree: subtree.tree, digest: subtree.digest, entries, subdirs, nodes, bytes, links }
    }
}

impl From<&Subtree> for vfs_core::object::Subtree {
    fn from(subtree: &Subtree) -> Self {
        let &Subtree { tree, digest, entries, subdirs, nodes, bytes, links } = subtree;
        vfs_core::object::Subtree { tree, digest, totals: Totals { entries, subdirs, nodes, bytes, links } }
    }
}

impl From<Published> for PublishedBody {
    fn from(published: Published) -> Self {
        let tree = |(ino, subtree): &(Ino, _)| DirectoryTree { ino: ino.0, subtree: Subtree::from(subtree) };
        PublishedBody {
            snapshot: published.snapshot,
            trees: published.trees.iter().map(tree).collect(),
            blobs: published.blobs.iter().map(|&(ino, blob)| FileBlob { ino: ino.0, blob }).collect(),
            links: published.links.as_ref().map(Subtree::from),
        }
    }
}

impl From<PublishedBody> for Published {
    fn from(body: PublishedBody) -> Self {
        Published {
            snapshot: body.snapshot,
            trees: body.trees.iter().map(|tree| (Ino(tree.ino), (&tree.subtree).into())).collect(),
            blobs: body.blobs.iter().map(|file| (Ino(file.ino), file.blob)).collect(),
            links: body.links.as_ref().map(vfs_core::object::Subtree::from),
        }
    }
}

/// Refuses a URL whose workspace is not an id: the mount's side names workspaces by id, without a query.
pub fn workspace_id(segment: &str) -> Result<WorkspaceId> {
    segment.parse().map_err(|error: Error| {
        Error::new(Kind::Invalid, format!("{segment:?} is not the id of a workspace")).because(error)
    })
}
