//! What differs between two states.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use vfs_core::diff::{Change, ChangeKind};
use vfs_core::id::SnapshotId;
use vfs_core::object::Node;

use super::name::{Time, to_text};
use super::snapshot::kind_word;

/// The two states, each as `WORKSPACE`, `WORKSPACE@SNAPSHOT` or the whole id of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DiffQuery {
    /// The earlier state.
    pub from: String,
    /// The later state.
    pub to: String,
    /// At most so many changes; 10,000 unless said, 100,000 at most.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// What differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Diff {
    /// The earlier snapshot.
    #[schema(value_type = String)]
    pub from: SnapshotId,
    /// The later snapshot.
    #[schema(value_type = String)]
    pub to: SnapshotId,
    /// The differences in order of their paths. Times and inode numbers do not count.
    pub changes: Vec<DiffChange>,
    /// There are more than the limit.
    pub more: bool,
}

/// One path that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiffChange {
    /// The path; lossy where it is not UTF-8. The root is empty.
    pub path: String,
    /// The path's bytes in hexadecimal, where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// `added`, `removed`, `modified` or `type_changed`.
    pub change: String,
    /// What was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<DiffSide>,
    /// What is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<DiffSide>,
}

/// One side of a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiffSide {
    /// The kind of file.
    pub kind: String,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// When the content changed.
    pub mtime: Time,
}

impl From<&Node> for DiffSide {
    fn from(node: &Node) -> Self {
        DiffSide {
            kind: kind_word(node.body.kind()).to_owned(),
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            size: node.size(),
            mtime: node.mtime.into(),
        }
    }
}

impl From<&Change> for DiffChange {
    fn from(change: &Change) -> Self {
        let (path, path_hex) = to_text(&change.path.to_bytes());
        let word = match change.kind {
            ChangeKind::Added => "added",
            ChangeKind::Removed => "removed",
            ChangeKind::Modified => "modified",
            ChangeKind::TypeChanged => "type_changed",
        };
        DiffChange {
            path,
            path_hex,
            change: word.to_owned(),
            before: change.before.as_ref().map(DiffSide::from),
            after: change.after.as_ref().map(DiffSide::from),
        }
    }
}
