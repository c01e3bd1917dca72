//! Long work: a stream of JSON lines, progress first, the result or an error last.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::ErrorDetail;
pub use super::gc::{GcReport, GcRequest, RemovedRows};

/// The content type of JSON lines.
pub const CONTENT_TYPE: &str = "application/x-ndjson";

/// One line. A stream that ends without a `result` or an `error` was cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobLine<T> {
    /// How far the work has come; some lines may be left out.
    Progress(Progress),
    /// The work is done.
    Result(T),
    /// The work has failed.
    Error(ErrorDetail),
}

/// How far a piece of work has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// What is being counted: "files", "packs", "objects", ….
    pub what: String,
    /// Done so far.
    pub done: u64,
    /// All there are, where that is known.
    pub total: Option<u64>,
}

impl From<vfs_core::progress::Progress> for Progress {
    fn from(progress: vfs_core::progress::Progress) -> Self {
        Progress { what: progress.what.to_owned(), done: progress.done, total: progress.total }
    }
}

/// Asks for a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// Read every pack and every object, not only the index.
    #[serde(default)]
    pub full: bool,
    /// With `full`: go on where the last full check was interrupted.
    #[serde(default)]
    pub resume: bool,
    /// With `full`: only packs that were not read for so many seconds.
    #[serde(default)]
    pub older_than_s: Option<u64>,
    /// With `full`: only part `part` of `parts`, counted from 1.
    #[serde(default)]
    pub part: Option<CheckPart>,
}

/// A part of the packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckPart {
    /// Which, from 1.
    pub part: u32,
    /// Of how many.
    pub parts: u32,
}

/// What check found. Damage is a finding, not an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckReport {
    /// Workspaces looked at.
    pub workspaces: u64,
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Packs looked at.
    pub packs: u64,
    /// Of those, packs that were read in full by this run.
    #[serde(default)]
    pub read_packs: u64,
    /// Packs of the share that an interrupted run had read already.
    #[serde(default)]
    pub resumed_packs: u64,
    /// Packs that the index does not have and that gc will remove.
    #[serde(default)]
    pub waiting_orphans: u64,
    /// Objects that only snapshots kept by repair or rebuild lack.
    #[serde(default)]
    pub known_damages: u64,
    /// Objects reached from the snapshots.
    pub reachable_objects: u64,
    /// Objects whose bytes were read and verified.
    pub verified_objects: u64,
    /// Bytes read from the bucket.
    pub read_bytes: u64,
    /// Every damage found, each once.
    pub damages: Vec<Damage>,
}

/// One damage, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Damage {
    /// What is wrong.
    pub what: String,
    /// How bad it is.
    #[serde(default)]
    pub severity: Severity,
    /// What it hits: `workspace@snapshot:path`, at most a few of them.
    pub hits: Vec<String>,
}

/// How bad a damage is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It hits stored data that something reaches.
    #[default]
    Stored,
    /// It hits nothing.
    Nothing,
}

impl From<vfs_core::repo::Severity> for Severity {
    fn from(severity: vfs_core::repo::Severity) -> Self {
        match severity {
            vfs_core::repo::Severity::Stored => Severity::Stored,
            vfs_core::repo::Severity::Nothing => Severity::Nothing,
        }
    }
}

impl From<vfs_core::repo::CheckReport> for CheckReport {
    fn from(report: vfs_core::repo::CheckReport) -> Self {
        let damages = report.damages.into_iter().map(|damage| Damage {
            what: damage.what,
            severity: damage.severity.into(),
            hits: damage.hits,
        });
        CheckReport {
            workspaces: report.workspaces,
            snapshots: report.snapshots,
            packs: report.packs,
            read_packs: report.read_packs,
            resumed_packs: report.resumed_packs,
            waiting_orphans: report.waiting_orphans,
            known_damages: report.known_damages,
            reachable_objects: report.reachable_objects,
            verified_objects: report.verified_objects,
            read_bytes: report.read_bytes,
            damages: damages.collect(),
        }
    }
}
