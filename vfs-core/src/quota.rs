//! Quotas: how much a workspace, or all workspaces of a tenant, may hold.
//!
//! Counted is what a snapshot says of itself: bytes are the sizes of its files (holes and content that others share count in
//! full, a file with several names once), files are inodes of any kind but the root. What deleting frees is free at
//! once; older snapshots cost nothing. A change that takes nothing more is never refused, however low a quota is set.
//!
//! | who checks | when | what |
//! |---|---|---|
//! | the holder | before it journals a change | the workspace's quota, and what the tenant had left when it attached |
//! | the engine | in the transaction that moves a ref | the workspace's quota; the tenant's too, but for a holder's publish |
//!
//! So an acknowledged write is not refused later because of what other workspaces did meanwhile. Several holders of one
//! tenant may together pass its quota, each by at most what was left when it attached. A workspace's quota that is lowered
//! below what a live holder has written keeps its publishes waiting in the journal, until it is raised or something
//! is deleted.

use crate::error::{Error, Kind, Result};
use crate::object::{Body, Snapshot};

/// The most that may be held; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Quota {
    /// Bytes of files.
    pub bytes: Option<u64>,
    /// Inodes of any kind.
    pub files: Option<u64>,
}

/// What is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Bytes of files.
    pub bytes: u64,
    /// Inodes of any kind, without the root.
    pub files: u64,
}

impl Usage {
    /// What a snapshot holds.
    pub fn of(snapshot: &Snapshot) -> Usage {
        let Body::Directory(root) = &snapshot.root.body else { return Usage::default() };
        let linked = snapshot.links.map(|links| links.totals).unwrap_or_default();
        Usage {
            bytes: root.totals.bytes.saturating_add(linked.bytes),
            files: root.totals.nodes.saturating_sub(root.totals.links).saturating_add(linked.nodes),
        }
    }

    /// Both together.
    pub fn plus(self, other: Usage) -> Usage {
        Usage { bytes: self.bytes.saturating_add(other.bytes), files: self.files.saturating_add(other.files) }
    }

    /// What remains of this without `other`.
    pub fn minus(self, other: Usage) -> Usage {
        Usage { bytes: self.bytes.saturating_sub(other.bytes), files: self.files.saturating_sub(other.files) }
    }
}

impl Quota {
    /// No limit.
    pub const NONE: Quota = Quota { bytes: None, files: None };

    /// Whether anything is limited.
    pub fn is_set(&self) -> bool {
        *self != Quota::NONE
    }

    /// The tighter of both.
    pub fn and(self, other: Quota) -> Quota {
        let tighter = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Quota { bytes: tighter(self.bytes, other.bytes), files: tighter(self.files, other.files) }
    }

    /// What one member may come to, which holds `own` of the `all` that its group holds under this quota.
    pub fn share(self, own: Usage, all: Usage) -> Quota {
        let others = all.minus(own);
        Quota {
            bytes: self.bytes.map(|max| max.saturating_sub(others.bytes)),
            files: self.files.map(|max| max.saturating_sub(others.files)),
        }
    }

    /// Refuses to go from `before` to `after` if that takes more, and more than there may be. `whose` holds it.
    pub fn check(self, whose: &str, before: Usage, after: Usage) -> Result<()> {
        let refuse = |what: &str, after: u64, max: u64, option: &str| {
            let context = format!(
                "the quota of {whose} is full: it would hold {after} {what}, {max} are allowed; delete something, or let \
                 whoever runs the engine raise it with `esker quota set {option}`"
            );
            Err(Error::new(Kind::QuotaExceeded, context))
        };
        match (self.bytes, self.files) {
            (Some(max), _) if after.bytes > max && after.bytes > before.bytes => {
                refuse("bytes", after.bytes, max, "--bytes")
            }
            (_, Some(max)) if after.files > max && after.files > before.files => {
                refuse("files", after.files, max, "--files")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_nothing_more_is_never_refused() {
        let quota = Quota { bytes: Some(100), files: Some(10) };
        let at = |bytes, files| Usage { bytes, files };
        assert!(quota.check("w", at(0, 0), at(100, 10)).is_ok());
        assert_eq!(quota.check("w", at(0, 0), at(101, 0)).unwrap_err().kind(), Kind::QuotaExceeded);
        assert_eq!(quota.check("w", at(0, 9), at(0, 11)).unwrap_err().kind(), Kind::QuotaExceeded);
        assert!(
            quota.check("w", at(500, 50), at(500, 50)).is_ok() && quota.check("w", at(500, 50), at(400, 20)).is_ok()
        );
        assert!(quota.check("w", at(500, 50), at(400, 51)).is_err(), "fewer bytes do not pay for more files");
        assert!(Quota::NONE.check("w", at(0, 0), at(u64::MAX, u64::MAX)).is_ok());
    }

    #[test]
    fn a_share_is_what_the_others_leave() {
        let tenant = Quota { bytes: Some(100), files: None };
        let at = |bytes| Usage { bytes, files: 1 };
        assert_eq!(tenant.share(at(20), at(70)), Quota { bytes: Some(50), files: None });
        assert_eq!(tenant.share(at(20), at(700)).bytes, Some(0));
        let own = Quota { bytes: Some(60), files: Some(5) };
        assert_eq!(own.and(tenant.share(at(20), at(70))), Quota { bytes: Some(50), files: Some(5) });
    }
}
