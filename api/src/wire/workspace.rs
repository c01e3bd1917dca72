//! Workspaces, their history, and the engine's own status.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use vfs_core::id::{HolderId, SnapshotId, WorkspaceId};
use vfs_core::repo::{HistoryRow, LeaseInfo, WorkspaceInfo};

use super::mount::Note;
use super::name::Time;

/// What `esker status` shows of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EngineStatus {
    /// The engine's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Its data folder.
    pub data_folder: String,
    /// The bucket's URL, without credentials.
    pub bucket: String,
    /// Seconds since it began to serve.
    pub uptime_s: u64,
    /// Holders whose control connection is open.
    pub holders: u64,
    /// Requests under way, this one not counted.
    pub clients: u64,
}

/// A named, writable tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Workspace {
    /// Its id; stays when it is renamed.
    #[schema(value_type = String)]
    pub id: WorkspaceId,
    /// Its name.
    pub name: String,
    /// Where it came from, as the caller said it.
    pub source: Option<String>,
    /// The snapshot its ref points at.
    #[schema(value_type = String)]
    pub head: SnapshotId,
    /// When it was made.
    pub created: Time,
    /// Who holds it, if anybody does.
    pub holder: Option<Holder>,
}

/// Who holds a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Holder {
    /// The holder's id.
    #[schema(value_type = String)]
    pub holder: HolderId,
    /// The epoch of its lease.
    pub epoch: u64,
    /// Its machine.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// Where it is mounted there.
    pub mountpoint: String,
    /// When it was last heard of.
    pub last_seen: Time,
    /// Its control connection is open.
    pub connected: bool,
}

impl From<WorkspaceInfo> for Workspace {
    fn from(info: WorkspaceInfo) -> Self {
        Workspace {
            id: info.id,
            name: info.name,
            source: info.source,
            head: info.head,
            created: info.created.into(),
            holder: info.holder.map(Holder::from),
        }
    }
}

impl From<LeaseInfo> for Holder {
    fn from(info: LeaseInfo) -> Self {
        Holder {
            holder: info.holder,
            epoch: info.epoch,
            host: info.host,
            pid: info.pid,
            mountpoint: info.mountpoint,
            last_seen: info.last_seen.into(),
            connected: info.connected,
        }
    }
}

/// All workspaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Workspaces {
    /// By name.
    pub workspaces: Vec<Workspace>,
}

/// Makes a workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateWorkspace {
    /// Its name.
    pub name: String,
    /// The state to start from, as `WORKSPACE` or `WORKSPACE@SNAPSHOT`; empty without it.
    #[serde(default)]
    pub from: Option<String>,
    /// Where it comes from, for lists; what `from` says unless given.
    #[serde(default)]
    pub source: Option<String>,
}

/// Makes a workspace on another one's snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForkWorkspace {
    /// The new workspace's name.
    pub name: String,
    /// The snapshot, a prefix of it or `HEAD`; without it, what the holder shows now (by a barrier), else the head.
    #[serde(default)]
    pub snapshot: Option<String>,
}

/// Brings an older state back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreWorkspace {
    /// The snapshot, a prefix of it or `HEAD`.
    pub snapshot: String,
    /// Who asks for it.
    #[serde(default)]
    pub author: String,
    /// Why.
    #[serde(default)]
    pub message: String,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Restored {
    /// The state before, kept in the history; `None` if it was there already.
    #[schema(value_type = Option<String>)]
    pub safety: Option<SnapshotId>,
    /// The new head.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
    /// A mount shows it already.
    pub mounted: bool,
}

/// Asks for everything written so far as a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// What is said about it.
    #[serde(default)]
    pub note: Note,
    /// Make no snapshot if nothing was written since this one, which is then the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub unless: Option<SnapshotId>,
}

/// A published snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checkpointed {
    /// Its id.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
    /// A holder published it just now; otherwise it is the head of a workspace that nobody holds.
    pub attached: bool,
}

/// Which rows of a history are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// Automatic snapshots as well.
    #[serde(default)]
    pub all: bool,
    /// How many rows at most; 100 unless said, 10,000 at most.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// A workspace's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Log {
    /// Newest first.
    pub rows: Vec<LogRow>,
}

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogRow {
    /// Counts up from 1; thinned rows leave gaps.
    pub sequence: u64,
    /// The snapshot.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
    /// When it was published.
    pub time: Time,
    /// Made by the mount on its own.
    pub automatic: bool,
    /// Who asked for it.
    pub author: String,
    /// Why.
    pub message: String,
    /// The session that wrote it; empty if none did.
    pub session: String,
    /// The turn of the session.
    pub turn: String,
    /// The names that keep the snapshot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl From<HistoryRow> for LogRow {
    fn from(row: HistoryRow) -> Self {
        LogRow {
            sequence: row.sequence,
            snapshot: row.snapshot,
            time: row.time.into(),
            automatic: row.automatic,
            author: row.author,
            message: row.message,
            session: row.session,
            turn: row.turn,
            tags: Vec::new(),
        }
    }
}
