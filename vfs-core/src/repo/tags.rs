//! Tags: side refs that people make. A tag keeps its snapshot from retention and gc until it is removed.

use super::moves::not_in_history;
use super::workspaces::check_name;
use super::{Repo, TagInfo};
use crate::db::{SideRefRow, counters, history, refs, side_refs};
use crate::error::{Error, Kind, Result};
use crate::id::{SnapshotId, WorkspaceId};
use crate::limits::TAGS_MAX;

/// What the names of side refs that are tags begin with.
const TAG: &str = "tag/";
/// What stands for the newest snapshot.
const HEAD: &str = "HEAD";

/// Whether a word can be a tag: not if it may be the beginning of an id.
pub(super) fn is_tag_name(word: &str) -> bool {
    check_tag(word).is_ok()
}

fn check_tag(name: &str) -> Result<()> {
    check_name("tag", name)?;
    if name == HEAD || name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let message = format!("the tag name {name:?} means something else: it must not be HEAD, nor look like an id");
        return Err(Error::new(Kind::Invalid, message));
    }
    Ok(())
}

impl Repo {
    pub(super) async fn put_tag(&self, workspace: WorkspaceId, name: &str, snapshot: SnapshotId) -> Result<TagInfo> {
        check_tag(name)?;
        let row = SideRefRow { workspace, name: format!("{TAG}{name}"), snapshot, created: self.now() };
        let mut transaction = self.database().begin().await?;
        refs::get(&mut transaction, workspace).await?;
        let in_history = history::holding(&mut transaction, workspace, snapshot).await?.is_some();
        if !in_history && !history::holds(&mut transaction, self.inner.tenant_number, snapshot).await? {
            return Err(not_in_history(snapshot));
        }
        match side_refs::get(&mut transaction, workspace, &row.name).await? {
            Some(same) if same.snapshot == snapshot => return Ok(info(same)),
            Some(other) => {
                let short = &other.snapshot.to_hex()[..12];
                let message = format!("the tag {name} stands for {short}: remove it first, or use another name");
                return Err(Error::new(Kind::AlreadyExists, message));
            }
            None => {}
        }
        if side_refs::count(&mut transaction, workspace, TAG).await? >= TAGS_MAX {
            return Err(Error::new(
                Kind::LimitExceeded,
                format!("a workspace has at most {TAGS_MAX} tags: remove some"),
            ));
        }
        side_refs::put(&mut transaction, &row).await?;
        counters::take(&mut transaction, counters::ROOTS, 0, 1).await?;
        self.database().commit(transaction).await?;
        Ok(info(row))
    }

    pub(super) async fn list_tags(&self, workspace: WorkspaceId) -> Result<Vec<TagInfo>> {
        let rows = self.side_refs(workspace).await?;
        Ok(rows.into_iter().filter(|row| row.name.starts_with(TAG)).map(info).collect())
    }

    pub(super) async fn drop_tag(&self, workspace: WorkspaceId, name: &str) -> Result<()> {
        let mut transaction = self.database().begin().await?;
        refs::get(&mut transaction, workspace).await?;
        if !side_refs::remove(&mut transaction, workspace, &format!("{TAG}{name}")).await? {
            return Err(Error::new(Kind::NotFound, format!("there is no tag {name:?}")));
        }
        counters::take(&mut transaction, counters::ROOTS, 0, 1).await?;
        self.database().commit(transaction).await
    }

    pub(super) async fn find_tag(&self, workspace: WorkspaceId, name: &str) -> Result<SnapshotId> {
        let mut connection = self.database().read().await?;
        refs::get(&mut connection, workspace).await?;
        let row = side_refs::get(&mut connection, workspace, &format!("{TAG}{name}")).await?;
        let missing = || {
            let message = format!("{name:?} names no snapshot: use HEAD, a tag, or at least 4 hexadecimal digits");
            Error::new(Kind::NotFound, message)
        };
        Ok(row.ok_or_else(missing)?.snapshot)
    }

    pub(super) async fn side_refs(&self, workspace: WorkspaceId) -> Result<Vec<SideRefRow>> {
        let mut connection = self.database().read().await?;
        refs::get(&mut connection, workspace).await?;
        side_refs::all(&mut connection, workspace).await
    }
}

fn info(row: SideRefRow) -> TagInfo {
    let name = row.name.strip_prefix(TAG).unwrap_or(&row.name).to_owned();
    TagInfo { name, snapshot: row.snapshot, created: row.created }
}
