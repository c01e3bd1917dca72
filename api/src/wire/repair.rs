//! Repair: what is asked for and what was done.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::transfer::LocalPath;

/// Asks for a repair.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RepairRequest {
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// Write what is left of lost files below this folder of the engine's machine (Unix socket only).
    #[serde(default)]
    pub salvage: Option<LocalPath>,
}

/// What repair did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RepairReport {
    /// Packs read.
    pub packs: u64,
    /// Packs that the index had no row for, or a wrong one.
    pub index_packs: u64,
    /// Objects that the index did not have, or had elsewhere than they are.
    pub found_objects: u64,
    /// Rows of objects that are in no pack any more.
    pub lost_objects: u64,
    /// Objects that were copied out of damaged packs.
    pub copied_objects: u64,
    /// Packs that hold nothing which cannot be read elsewhere; gc removes them after its grace period.
    pub abandoned_packs: u64,
    /// Rows written anew or removed, a line each.
    pub rows: Vec<String>,
    /// Workspaces that have a new head, a line each.
    pub heads: Vec<String>,
    /// Side refs made for snapshots that lack something, as `workspace@name`.
    pub kept: Vec<String>,
    /// Every path that is lost and was not known to be.
    pub lost: Vec<LostPath>,
    /// Files written to the salvage folder.
    pub salvaged_files: u64,
    /// Nothing was changed: this is what a repair would do.
    pub dry_run: bool,
    /// There was nothing to do.
    pub idle: bool,
}

/// A path of a snapshot that cannot be read any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LostPath {
    /// The workspace.
    pub workspace: String,
    /// The snapshot.
    pub snapshot: String,
    /// The path in it, from `/`.
    pub path: String,
    /// What of it is lost: `file`, `directory`, `attributes`, `names`, `snapshot`.
    pub what: String,
    /// All of that in words, as `workspace@snapshot:path`.
    pub text: String,
}

impl From<vfs_core::repair::LostPath> for LostPath {
    fn from(lost: vfs_core::repair::LostPath) -> Self {
        use vfs_core::repair::LostWhat;
        let text = lost.to_string();
        let what = match lost.what {
            LostWhat::File => "file",
            LostWhat::Directory => "directory",
            LostWhat::Attributes => "attributes",
            LostWhat::Names { .. } => "names",
            LostWhat::Snapshot => "snapshot",
        };
        LostPath { workspace: lost.workspace, snapshot: lost.snapshot, path: lost.path, what: what.into(), text }
    }
}

impl From<vfs_core::repair::RepairReport> for RepairReport {
    fn from(report: vfs_core::repair::RepairReport) -> Self {
        RepairReport {
            idle: report.is_idle(),
            packs: report.packs,
            index_packs: report.index_packs,
            found_objects: report.found_objects,
            lost_objects: report.lost_objects,
            copied_objects: report.copied_objects,
            abandoned_packs: report.abandoned_packs,
            rows: report.rows,
            heads: report.heads,
            kept: report.kept,
            lost: report.lost.into_iter().map(LostPath::from).collect(),
            salvaged_files: report.salvaged_files,
            dry_run: report.dry_run,
        }
    }
}
