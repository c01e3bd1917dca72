//! The control connection: the engine asks, the holder answers (decision 0008).

use serde::{Deserialize, Serialize};
use vfs_core::id::SnapshotId;

use super::error::ErrorDetail;
use super::mount::Note;

/// One request of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlRequest {
    /// Comes back in the answer; unique on its connection.
    pub id: u64,
    /// What is asked for.
    #[serde(flatten)]
    pub call: ControlCall,
}

/// What an engine can ask a holder for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", content = "params", rename_all = "snake_case")]
pub enum ControlCall {
    /// Publish everything written before this; the answer is the snapshot's id.
    Barrier {
        /// What is said about the snapshot.
        note: Note,
        /// Let no change through after it, until `swap_base` or `thaw`.
        #[serde(default)]
        freeze: bool,
    },
    /// Let changes through again; the answer is `null`.
    Thaw,
    /// The answer is a `vfs_core::workspace::Status`.
    Status,
    /// Show another snapshot from now on; the answer is `null`.
    SwapBase {
        /// The snapshot, which the workspace's ref already points at.
        snapshot: SnapshotId,
    },
    /// Do something with the workspace's files; the answer is a `vfs_core::files::Answer`, given when a change is on disk
    /// and the kernel knows.
    Files {
        /// What.
        request: vfs_core::files::Request,
    },
    /// Publish, unmount, give the lease back; the answer is `null` and ends the connection.
    Release,
}

impl ControlCall {
    /// The word for it.
    pub fn method(&self) -> &'static str {
        match self {
            ControlCall::Barrier { .. } => "barrier",
            ControlCall::Thaw => "thaw",
            ControlCall::Status => "status",
            ControlCall::SwapBase { .. } => "swap_base",
            ControlCall::Files { .. } => "files",
            ControlCall::Release => "release",
        }
    }
}

/// One answer of the holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlAnswer {
    /// The id of the request.
    pub id: u64,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// How a request went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// What was asked for.
    Ok(serde_json::Value),
    /// Why not.
    Error(ErrorDetail),
}
