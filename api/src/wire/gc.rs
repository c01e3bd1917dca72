//! Garbage collection: what is asked for, and what it found and did.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use vfs_core::id::SnapshotId;

/// Asks for garbage collection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GcRequest {
    /// Packs younger than this stay, in seconds; a day unless said.
    #[serde(default)]
    pub grace_s: Option<u64>,
    /// Really delete; otherwise only condemn and report.
    #[serde(default)]
    pub delete: bool,
    /// Change nothing at all, say what would go.
    #[serde(default)]
    pub dry_run: bool,
    /// Copy what lives in packs of which less than so many percent is alive; 50 unless said, 0 copies nothing.
    #[serde(default)]
    pub repack_below_percent: Option<u8>,
}

/// What gc found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GcReport {
    /// Snapshots that everything was marked from.
    #[serde(default)]
    pub roots: u64,
    /// Objects reached.
    #[serde(default)]
    pub reachable_objects: u64,
    /// Their bytes as they are stored.
    #[serde(default)]
    pub reachable_bytes: u64,
    /// Objects in the index that nothing reaches.
    #[serde(default)]
    pub unreachable_objects: u64,
    /// Their bytes as they are stored.
    #[serde(default)]
    pub unreachable_bytes: u64,
    /// Packs in the index.
    #[serde(default)]
    pub packs: u64,
    /// Their bytes.
    #[serde(default)]
    pub pack_bytes: u64,
    /// Packs that this run condemned.
    #[serde(default)]
    pub condemned_packs: u64,
    /// Packs that go, but are still in their grace period.
    #[serde(default)]
    pub waiting_packs: u64,
    /// Their bytes.
    #[serde(default)]
    pub waiting_bytes: u64,
    /// Packs in the bucket that the index does not know.
    #[serde(default)]
    pub orphan_packs: u64,
    /// Packs deleted (or, without `delete` or in a dry run, that would be).
    #[serde(default)]
    pub deletable_packs: u64,
    /// Their bytes.
    #[serde(default)]
    pub deletable_bytes: u64,
    /// Packs whose living objects were copied (in a dry run: would be); they go after the grace period.
    #[serde(default)]
    pub repacked_packs: u64,
    /// Their bytes.
    #[serde(default)]
    pub repacked_bytes: u64,
    /// Bytes of the packs that the copies are in; in a dry run, of the objects that would be copied.
    #[serde(default)]
    pub copied_bytes: u64,
    /// Ref log objects of rows that are gone, deleted.
    #[serde(default)]
    pub reflog_objects: u64,
    /// Their bytes.
    #[serde(default)]
    pub reflog_bytes: u64,
    /// Attach bundles of snapshots that are gone, deleted.
    #[serde(default)]
    pub bundles: u64,
    /// Their bytes.
    #[serde(default)]
    pub bundle_bytes: u64,
    /// Whether packs were deleted.
    #[serde(default)]
    pub deleted: bool,
    /// Nothing was changed.
    #[serde(default)]
    pub dry_run: bool,
    /// History rows that retention removed (in a dry run: would remove), by workspace.
    #[serde(default)]
    pub removed_rows: Vec<RemovedRows>,
}

/// History rows of one workspace that retention removes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovedRows {
    /// The workspace's name.
    pub workspace: String,
    /// How many rows.
    pub rows: u64,
    /// The snapshots of the newest of them.
    #[schema(value_type = Vec<String>)]
    pub snapshots: Vec<SnapshotId>,
}

impl From<vfs_core::repo::RemovedRows> for RemovedRows {
    fn from(removed: vfs_core::repo::RemovedRows) -> Self {
        RemovedRows { workspace: removed.workspace, rows: removed.rows, snapshots: removed.snapshots }
    }
}

impl From<vfs_core::repo::GcReport> for GcReport {
    fn from(report: vfs_core::repo::GcReport) -> Self {
        GcReport {
            roots: report.roots,
            reachable_objects: report.reachable_objects,
            reachable_bytes: report.reachable_bytes,
            unreachable_objects: report.unreachable_objects,
            unreachable_bytes: report.unreachable_bytes,
            packs: report.packs,
            pack_bytes: report.pack_bytes,
            condemned_packs: report.condemned_packs,
            waiting_packs: report.waiting_packs,
            waiting_bytes: report.waiting_bytes,
            orphan_packs: report.orphan_packs,
            deletable_packs: report.deletable_packs,
            deletable_bytes: report.deletable_bytes,
            repacked_packs: report.repacked_packs,
            repacked_bytes: report.repacked_bytes,
            copied_bytes: report.copied_bytes,
            reflog_objects: report.reflog_objects,
            reflog_bytes: report.reflog_bytes,
            bundles: report.bundles,
            bundle_bytes: report.bundle_bytes,
            deleted: report.deleted,
            dry_run: report.dry_run,
            removed_rows: report.removed_rows.into_iter().map(RemovedRows::from).collect(),
        }
    }
}
