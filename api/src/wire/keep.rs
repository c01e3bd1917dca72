//! What is kept: tags, and rules of retention.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use vfs_core::id::SnapshotId;
use vfs_core::repo::{RetentionInfo, RetentionRules, TagInfo};

use super::name::Time;

/// A name that keeps a snapshot until it is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tag {
    /// The name, unique in the workspace.
    pub name: String,
    /// The snapshot.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
    /// When it was tagged.
    pub created: Time,
}

impl From<TagInfo> for Tag {
    fn from(info: TagInfo) -> Self {
        Tag { name: info.name, snapshot: info.snapshot, created: info.created.into() }
    }
}

/// The tags of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tags {
    /// By name.
    pub tags: Vec<Tag>,
}

/// What somebody reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// The snapshot's id.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
}

/// Gives a snapshot a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddTag {
    /// The name: letters, digits and . _ - +; not `HEAD`, and nothing that looks like the beginning of an id.
    pub name: String,
    /// The snapshot, a prefix of it, another tag or `HEAD`.
    pub snapshot: String,
}

/// Which rows of a history stay: those that one of the rules keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// The newest so many named rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u64>,
    /// The newest row of each of the newest so many hours (UTC) that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_hourly: Option<u64>,
    /// The same for days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_daily: Option<u64>,
    /// The same for weeks, which begin on Monday.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_weekly: Option<u64>,
    /// All rows that are at most so many seconds older than the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_within_s: Option<u64>,
}

impl From<RetentionRules> for Rules {
    fn from(rules: RetentionRules) -> Self {
        let RetentionRules { keep_last, keep_hourly, keep_daily, keep_weekly, keep_within_s } = rules;
        Rules { keep_last, keep_hourly, keep_daily, keep_weekly, keep_within_s }
    }
}

impl From<Rules> for RetentionRules {
    fn from(rules: Rules) -> Self {
        let Rules { keep_last, keep_hourly, keep_daily, keep_weekly, keep_within_s } = rules;
        RetentionRules { keep_last, keep_hourly, keep_daily, keep_weekly, keep_within_s }
    }
}

/// The rules of a workspace or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Retention {
    /// The rules that were set for this workspace, or for all.
    pub own: Option<Rules>,
    /// The rules that hold: the workspace's own, else those for all. Without any, everything stays.
    pub effective: Option<Rules>,
}

impl From<RetentionInfo> for Retention {
    fn from(info: RetentionInfo) -> Self {
        Retention { own: info.own.map(Rules::from), effective: info.effective.map(Rules::from) }
    }
}
