//! What the tables hold, as values, and the hash that guards the rows that matter.

use crate::clock::Time;
use crate::error::{Error, Result};
use crate::id::{HolderId, ObjectKind, PackId, SnapshotId, WorkspaceId};
use crate::pack::{PackClass, PackEntry};

/// Objects of one kind in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindTotals {
    /// Their kind.
    pub kind: ObjectKind,
    /// How many.
    pub objects: u64,
    /// Their canonical bytes.
    pub plain_bytes: u64,
    /// The same as stored.
    pub stored_bytes: u64,
}

/// A workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceRow {
    /// Its id.
    pub id: WorkspaceId,
    /// Its name.
    pub name: String,
    /// Where it came from.
    pub source: Option<String>,
    /// When it was made.
    pub created: Time,
}

/// A workspace's ref.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefRow {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// What it points at.
    pub snapshot: SnapshotId,
    /// The newest epoch that was given to a holder; 0 before the first.
    pub epoch: u64,
    /// Counts the moves; the newest history row has it.
    pub sequence: u64,
    /// Who published the head, and its journal position; `None` if no holder did.
    pub covered: Option<(HolderId, u64)>,
}

/// A workspace's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Whose it is.
    pub holder: HolderId,
    /// Its epoch.
    pub epoch: u64,
    /// The holder's machine.
    pub host: String,
    /// The holder's process.
    pub pid: u32,
    /// Where it is mounted there.
    pub mountpoint: String,
    /// When it was last heard of.
    pub last_seen: Time,
    /// The snapshot below its overlay, which gc keeps.
    pub base: SnapshotId,
}

/// One line of a workspace's history.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HistoryRow {
    /// Counts up from 1; thinned rows leave gaps.
    pub sequence: u64,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// When it was published.
    pub time: Time,
    /// Made by the mount on its own; hidden and thinned.
    pub automatic: bool,
    /// Why.
    pub message: String,
    /// Who asked for it.
    pub author: String,
    /// The session that wrote it; empty if none did.
    pub session: String,
    /// The turn of the session.
    pub turn: String,
}

/// A pack of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackRow {
    /// Its name.
    pub id: PackId,
    /// What it holds.
    pub class: PackClass,
    /// Its length in bytes.
    pub size: u64,
    /// How many objects it holds.
    pub objects: u64,
    /// When it was registered.
    pub created: Time,
    /// When gc found it unreachable, if it did.
    pub condemned: Option<Time>,
    /// What lived in it was copied elsewhere; it is never revived.
    pub emptied: bool,
}

/// A pack in the bucket that the index does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrphanRow {
    /// Its name.
    pub id: PackId,
    /// When gc first saw it.
    pub seen: Time,
    /// It is being deleted, or was: registering it is refused.
    pub dead: bool,
}

/// A document: which of its versions count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRow {
    /// Whose it is.
    pub scope: String,
    /// Its path.
    pub path: String,
    /// The newest version that is not a side version.
    pub head: u64,
    /// The newest version of all; none is missing below it.
    pub newest: u64,
}

/// One version of a document, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRow {
    /// Whose it is.
    pub scope: String,
    /// Its path.
    pub path: String,
    /// From 1, unique within the document.
    pub version: u64,
    /// The version it was based on; 0 if there was none.
    pub base: u64,
    /// Size of the content in bytes.
    pub size: u64,
    /// BLAKE3 of the content.
    pub digest: [u8; 32],
    /// It deletes the document; its content is empty.
    pub deleted: bool,
    /// Kept beside the head after a conflict.
    pub side: bool,
    /// When it was written.
    pub time: Time,
    /// Who wrote it.
    pub author: String,
    /// The session that wrote it; empty if none did.
    pub session: String,
    /// The turn of the session; 0 if none.
    pub turn: u64,
    /// The tool call of the turn.
    pub tool_call: String,
    /// Digest of what was asked for, by which a repetition is recognised.
    pub request: [u8; 32],
}

/// Where an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// The pack.
    pub pack: PackId,
    /// The place in it.
    pub entry: PackEntry,
}

/// The hash of a row: all its columns, each with its length, under the table's name.
pub(super) fn row_hash(table: &str, columns: &[&[u8]]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new_derive_key("esker v0 row hash");
    for part in std::iter::once(&table.as_bytes()).chain(columns) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().as_bytes().to_vec()
}

pub(super) fn check_row(table: &str, found: &[u8], expected: &[u8]) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::corrupt(format!("a row of the table {table} does not match its hash: the database is damaged")))
}

impl RefRow {
    pub(super) fn hash(&self) -> Vec<u8> {
        let (holder, position) = match &self.covered {
            Some((holder, position)) => (&holder.as_bytes()[..], *position),
            None => (&[][..], 0),
        };
        row_hash(
            "refs",
            &[
                self.workspace.as_bytes(),
                self.snapshot.as_bytes(),
                &self.epoch.to_le_bytes(),
                &self.sequence.to_le_bytes(),
                holder,
                &position.to_le_bytes(),
            ],
        )
    }
}

impl LeaseRow {
    pub(super) fn hash(&self) -> Vec<u8> {
        row_hash(
            "leases",
            &[
                self.workspace.as_bytes(),
                self.holder.as_bytes(),
                &self.epoch.to_le_bytes(),
                self.host.as_bytes(),
                &self.pid.to_le_bytes(),
                self.mountpoint.as_bytes(),
                &self.last_seen.as_nanos().to_le_bytes(),
                self.base.as_bytes(),
            ],
        )
    }
}

impl HistoryRow {
    pub(super) fn hash(&self, workspace: WorkspaceId) -> Vec<u8> {
        row_hash(
            "history",
            &[
                workspace.as_bytes(),
                &self.sequence.to_le_bytes(),
                self.snapshot.as_bytes(),
                &self.time.as_nanos().to_le_bytes(),
                &[self.automatic.into()],
                self.message.as_bytes(),
                self.author.as_bytes(),
                self.session.as_bytes(),
                self.turn.as_bytes(),
            ],
        )
    }
}

impl DocumentRow {
    pub(super) fn hash(&self, tenant: i64) -> Vec<u8> {
        row_hash(
            "documents",
            &[
                &tenant.to_le_bytes(),
                self.scope.as_bytes(),
                self.path.as_bytes(),
                &self.head.to_le_bytes(),
                &self.newest.to_le_bytes(),
            ],
        )
    }
}

impl VersionRow {
    /// Covers the content through its digest.
    pub(super) fn hash(&self, tenant: i64) -> Vec<u8> {
        row_hash(
            "document_versions",
            &[
                &tenant.to_le_bytes(),
                self.scope.as_bytes(),
                self.path.as_bytes(),
                &self.version.to_le_bytes(),
                &self.base.to_le_bytes(),
                &self.size.to_le_bytes(),
                &self.digest,
                &[self.deleted.into()],
                &[self.side.into()],
                &self.time.as_nanos().to_le_bytes(),
                self.author.as_bytes(),
                self.session.as_bytes(),
                &self.turn.to_le_bytes(),
                self.tool_call.as_bytes(),
                &self.request,
            ],
        )
    }
}
