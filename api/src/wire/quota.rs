//! Quotas: how much a workspace, or all together, may hold.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use vfs_core::quota;

/// A quota and what is held under it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Quota {
    /// Most bytes of files; none: no limit.
    pub bytes: Option<u64>,
    /// Most inodes of any kind; none: no limit.
    pub files: Option<u64>,
    /// Bytes of files that are held.
    pub used_bytes: u64,
    /// Inodes that are held.
    pub used_files: u64,
}

impl From<(quota::Quota, quota::Usage)> for Quota {
    fn from((quota, usage): (quota::Quota, quota::Usage)) -> Self {
        Quota { bytes: quota.bytes, files: quota.files, used_bytes: usage.bytes, used_files: usage.files }
    }
}

/// Sets a quota as a whole: what is not named has no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetQuota {
    /// Most bytes of files.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Most inodes of any kind.
    #[serde(default)]
    pub files: Option<u64>,
}

impl From<SetQuota> for quota::Quota {
    fn from(set: SetQuota) -> Self {
        quota::Quota { bytes: set.bytes, files: set.files }
    }
}
