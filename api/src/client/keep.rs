//! Tags, readers and rules of retention.

use reqwest::Method;
use vfs_core::Result;
use vfs_core::id::{ReaderId, SnapshotId, WorkspaceId};

use super::calls::workspace_path;
use super::transport::{Client, Effort};
use crate::wire::keep::{AddTag, Reading, Retention, Rules, Tag, Tags};
use crate::wire::name::to_segment;

impl Client {
    /// The tags of a workspace, by name.
    pub async fn tags(&self, workspace: &str) -> Result<Vec<Tag>> {
        self.get::<Tags>(&workspace_path(workspace, "/tags")).await.map(|list| list.tags)
    }

    /// Gives a snapshot a name that keeps it.
    pub async fn add_tag(&self, workspace: &str, request: &AddTag) -> Result<Tag> {
        self.post(&workspace_path(workspace, "/tags"), request, Effort::ONCE).await
    }

    /// Removes a tag.
    pub async fn remove_tag(&self, workspace: &str, tag: &str) -> Result<()> {
        let path = workspace_path(workspace, &format!("/tags/{}", to_segment(tag)));
        self.json(Method::DELETE, &path, None::<&()>, Effort::ONCE).await
    }

    /// Keeps a snapshot for a day for somebody who reads it; to be said again and again.
    pub async fn keep_reading(&self, reader: ReaderId, workspace: WorkspaceId, snapshot: SnapshotId) -> Result<()> {
        self.json(Method::PUT, &reader_path(workspace, reader), Some(&Reading { snapshot }), Effort::READ).await
    }

    /// The reader has read enough.
    pub async fn end_reading(&self, reader: ReaderId, workspace: WorkspaceId) -> Result<()> {
        self.json(Method::DELETE, &reader_path(workspace, reader), None::<&()>, Effort::ONCE).await
    }

    /// The retention rules of a workspace, or those for all.
    pub async fn retention(&self, workspace: Option<&str>) -> Result<Retention> {
        self.get(&retention_path(workspace)).await
    }

    /// Sets the retention rules of a workspace, or those for all.
    pub async fn set_retention(&self, workspace: Option<&str>, rules: &Rules) -> Result<Retention> {
        self.json(Method::PUT, &retention_path(workspace), Some(rules), Effort::ONCE).await
    }

    /// Takes the retention rules of a workspace, or those for all, away.
    pub async fn clear_retention(&self, workspace: Option<&str>) -> Result<Retention> {
        self.json(Method::DELETE, &retention_path(workspace), None::<&()>, Effort::ONCE).await
    }
}

fn retention_path(workspace: Option<&str>) -> String {
    workspace.map_or_else(|| "/v1/retention".to_owned(), |name| workspace_path(name, "/retention"))
}

fn reader_path(workspace: WorkspaceId, reader: ReaderId) -> String {
    workspace_path(&workspace.to_hex(), &format!("/readers/{reader}"))
}
