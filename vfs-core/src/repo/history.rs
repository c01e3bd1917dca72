//! Looking back: histories and the snapshots that a prefix names.

use std::collections::{BTreeSet, HashSet};

use super::{HistoryRow, Repo, tags};
use crate::db::{history, refs};
use crate::error::{Error, Kind, Result};
use crate::id::{SnapshotId, WorkspaceId};
use crate::limits::ANCESTORS_MAX;

const PREFIX_MIN: usize = 4;

impl Repo {
    pub(super) async fn read_history(&self, id: WorkspaceId, all: bool, limit: u32) -> Result<Vec<HistoryRow>> {
        let mut connection = self.database().read().await?;
        refs::get(&mut connection, id).await?;
        history::newest(&mut connection, id, all, limit.into()).await
    }

    pub(super) async fn find_snapshot(&self, workspace: WorkspaceId, prefix: &str) -> Result<SnapshotId> {
        if prefix == "HEAD" {
            return self.head(workspace).await;
        }
        if tags::is_tag_name(prefix) {
            return self.find_tag(workspace, prefix).await;
        }
        let prefix = prefix.to_ascii_lowercase();
        let plausible = (PREFIX_MIN..=SnapshotId::LENGTH * 2).contains(&prefix.len())
            && prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !plausible {
            let message = format!("{prefix:?} names no snapshot: use HEAD or at least {PREFIX_MIN} hexadecimal digits");
            return Err(Error::new(Kind::Invalid, message));
        }
        let rows = self.read_history(workspace, true, u32::MAX).await?;
        let aside = self.side_refs(workspace).await?;
        let named = rows.iter().map(|row| row.snapshot).chain(aside.into_iter().map(|row| row.snapshot));
        let mut found: BTreeSet<SnapshotId> = matching(named, &prefix);
        if found.is_empty()
            && let Some(oldest) = rows.last()
        {
            found = self.matching_ancestors(oldest.snapshot, &prefix).await?;
        }
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (Some(snapshot), None) => Ok(snapshot),
            (None, _) => Err(Error::new(Kind::NotFound, format!("no snapshot of this workspace starts with {prefix}"))),
            (Some(_), Some(_)) => {
                Err(Error::new(Kind::Invalid, format!("several snapshots start with {prefix}: use more digits")))
            }
        }
    }

    /// Snapshots before a fork. Only those that some history still holds: gc may have taken the others.
    async fn matching_ancestors(&self, from: SnapshotId, prefix: &str) -> Result<BTreeSet<SnapshotId>> {
        let (mut seen, mut stack) = (HashSet::from([from]), vec![from]);
        while let Some(id) = stack.pop() {
            let snapshot = match self.snapshot(id).await {
                Ok(snapshot) => snapshot,
                Err(error) if error.kind() == Kind::NotFound => continue,
                Err(error) => return Err(error),
            };
            stack.extend(snapshot.parents.into_iter().filter(|parent| seen.insert(*parent)));
            if seen.len() > ANCESTORS_MAX {
                break;
            }
        }
        let mut held = BTreeSet::new();
        let mut connection = self.database().read().await?;
        for id in matching(seen.into_iter(), prefix) {
            if history::holds(&mut connection, self.inner.tenant_number, id).await? {
                held.insert(id);
            }
        }
        Ok(held)
    }
}

fn matching(ids: impl Iterator<Item = SnapshotId>, prefix: &str) -> BTreeSet<SnapshotId> {
    ids.filter(|id| id.to_hex().starts_with(prefix)).collect()
}
