//! A typed method for each thing that people and scripts ask an engine.

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use vfs_core::base::PublishNote;
use vfs_core::id::{SnapshotId, WorkspaceId};
use vfs_core::object::Snapshot as CoreSnapshot;
use vfs_core::{Error, Kind, Result};

use super::answer::broken;
use super::holder::WorkspaceClient;
use super::transport::{Client, Effort};
use crate::limits::{BARRIER_DEADLINE, SWAP_DEADLINE};
use crate::wire::admin::AdminLink;
use crate::wire::diff::Diff;
use crate::wire::job::{CheckReport, CheckRequest, GcReport, GcRequest, Progress};
use crate::wire::name::{to_query, to_segment};
use crate::wire::quota::{Quota, SetQuota};
use crate::wire::repair::{RepairReport, RepairRequest};
use crate::wire::snapshot::{Listing, Resolved, Snapshot};
use crate::wire::stats::Stats;
use crate::wire::transfer::{
    ExportRequest, ExportTarRequest, Exported, ImportRequest, ImportTarRequest, Imported, ScanRequest, Scanned,
};
use crate::wire::workspace::{
    Checkpoint, Checkpointed, CreateWorkspace, EngineStatus, ForkWorkspace, Log, LogRow, RestoreWorkspace, Restored,
    Workspace, Workspaces,
};

impl Client {
    /// What the engine is and how busy it is.
    pub async fn status(&self) -> Result<EngineStatus> {
        self.get("/v1/status").await
    }

    /// Asks the engine to finish what is under way and to leave.
    pub async fn shutdown(&self) -> Result<()> {
        self.post("/v1/shutdown", &(), Effort::ONCE).await
    }

    /// The description of the engine's API.
    pub async fn openapi(&self) -> Result<serde_json::Value> {
        self.get("/v1/openapi.json").await
    }

    /// A link to the admin page; over the socket only.
    pub async fn admin_link(&self) -> Result<AdminLink> {
        self.post("/v1/admin/link", &(), Effort::ONCE).await
    }

    /// All workspaces, by name.
    pub async fn workspaces(&self) -> Result<Vec<Workspace>> {
        self.get::<Workspaces>("/v1/workspaces").await.map(|list| list.workspaces)
    }

    /// One workspace, by name or id.
    pub async fn workspace(&self, name: &str) -> Result<Workspace> {
        self.get(&workspace_path(name, "")).await
    }

    /// Makes a workspace.
    pub async fn create_workspace(&self, request: &CreateWorkspace) -> Result<Workspace> {
        self.post("/v1/workspaces", request, Effort::ONCE).await
    }

    /// Removes a workspace and its history.
    pub async fn delete_workspace(&self, name: &str) -> Result<()> {
        self.json(Method::DELETE, &workspace_path(name, ""), None::<&()>, Effort::ONCE).await
    }

    /// The newest `limit` rows of a workspace's history; automatic ones only with `all`.
    pub async fn log(&self, name: &str, all: bool, limit: u32) -> Result<Vec<LogRow>> {
        let path = workspace_path(name, &format!("/log?all={all}&limit={limit}"));
        self.get::<Log>(&path).await.map(|log| log.rows)
    }

    /// Publishes everything written so far in a workspace.
    pub async fn checkpoint(&self, name: &str, note: PublishNote) -> Result<Checkpointed> {
        self.checkpoint_unless(name, note, None).await
    }

    /// The same, but without a new snapshot if nothing was written since `unless`.
    pub async fn checkpoint_unless(
        &self,
        name: &str,
        note: PublishNote,
        unless: Option<SnapshotId>,
    ) -> Result<Checkpointed> {
        let request = Checkpoint { note: note.into(), unless };
        self.post(&workspace_path(name, "/checkpoint"), &request, Effort::ONCE.within(BARRIER_DEADLINE)).await
    }

    /// Makes a workspace on the state of another one.
    pub async fn fork(&self, origin: &str, request: &ForkWorkspace) -> Result<Workspace> {
        self.post(&workspace_path(origin, "/fork"), request, Effort::ONCE.within(BARRIER_DEADLINE)).await
    }

    /// Brings an older state of a workspace back.
    pub async fn restore(&self, name: &str, request: &RestoreWorkspace) -> Result<Restored> {
        let effort = Effort::ONCE.within(BARRIER_DEADLINE.saturating_add(SWAP_DEADLINE));
        self.post(&workspace_path(name, "/restore"), request, effort).await
    }

    /// Finds what `WORKSPACE` or `WORKSPACE@SNAPSHOT` names.
    pub async fn resolve(&self, spec: &str) -> Result<Resolved> {
        self.get(&format!("/v1/resolve?spec={}", to_query(spec.as_bytes()))).await
    }

    /// One snapshot.
    pub async fn snapshot(&self, id: SnapshotId) -> Result<Snapshot> {
        self.get(&format!("/v1/snapshots/{id}")).await
    }

    /// One snapshot as it is stored.
    pub async fn snapshot_object(&self, id: SnapshotId) -> Result<CoreSnapshot> {
        let path = format!("/v1/snapshots/{id}/object");
        CoreSnapshot::decode(&self.bytes(Method::GET, &path, None::<&()>, Effort::READ).await?)
    }

    /// What a path of a snapshot names, and a page of its entries.
    pub async fn list(&self, id: SnapshotId, path: &[u8], after: Option<&[u8]>, limit: u32) -> Result<Listing> {
        let after = after.map_or(String::new(), |name| format!("&after={}", to_query(name)));
        self.get(&format!("/v1/snapshots/{id}/list?path={}&limit={limit}{after}", to_query(path))).await
    }

    /// What differs between two states, each `WORKSPACE`, `WORKSPACE@SNAPSHOT` or a whole id; at most `limit` changes.
    pub async fn diff(&self, from: &str, to: &str, limit: u32) -> Result<Diff> {
        let (from, to) = (to_query(from.as_bytes()), to_query(to.as_bytes()));
        self.get(&format!("/v1/diff?from={from}&to={to}&limit={limit}")).await
    }

    /// A file's content from `start` up to but not including `end` (or to its end), as it arrives.
    ///
    /// A body that breaks off is asked for again from there: then the head says what is wrong.
    pub async fn content(
        &self,
        id: SnapshotId,
        path: &[u8],
        start: u64,
        end: Option<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + Unpin + use<>> {
        let body = self.content_once(id, path, start, end).await?;
        let (client, path) = (self.clone(), path.to_owned());
        let parts = stream::try_unfold((body.boxed(), start), move |(mut body, at)| {
            let (client, path) = (client.clone(), path.clone());
            async move {
                let part = match body.next().await {
                    None => return Ok(None),
                    Some(Ok(part)) => part,
                    Some(Err(_)) => {
                        body = client.content_once(id, &path, at, end).await?.boxed();
                        body.next().await.transpose()?.unwrap_or_default()
                    }
                };
                let next = at + part.len() as u64;
                Ok(Some((part, (body, next))))
            }
        });
        Ok(parts.boxed())
    }

    async fn content_once(
        &self,
        id: SnapshotId,
        path: &[u8],
        start: u64,
        end: Option<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + Unpin + use<>> {
        if end.is_some_and(|end| end <= start) {
            return Err(Error::new(Kind::Invalid, format!("the range {start}..{end:?} holds no bytes")));
        }
        let range = match (start, end) {
            (0, None) => None,
            (start, None) => Some(format!("bytes={start}-")),
            (start, Some(end)) => Some(format!("bytes={start}-{}", end - 1)),
        };
        let path = format!("/v1/snapshots/{id}/content?path={}", to_query(path));
        let response = self
            .stream_with(Method::GET, &path, None, Effort::READ, |request| match &range {
                Some(range) => request.header("range", range),
                None => request,
            })
            .await?;
        Ok(response.bytes_stream().map(|part| part.map_err(broken)).boxed())
    }

    /// Measures a folder of the engine's machine.
    pub async fn scan(&self, request: &ScanRequest, on_progress: impl FnMut(Progress)) -> Result<Scanned> {
        self.job("/v1/scan", request, on_progress).await
    }

    /// Takes a folder of the engine's machine into a workspace that nobody holds.
    pub async fn import(
        &self,
        name: &str,
        request: &ImportRequest,
        on_progress: impl FnMut(Progress),
    ) -> Result<Imported> {
        self.job(&workspace_path(name, "/import"), request, on_progress).await
    }

    /// Writes a snapshot into a folder of the engine's machine that is not there yet, or empty.
    pub async fn export(
        &self,
        id: SnapshotId,
        request: &ExportRequest,
        on_progress: impl FnMut(Progress),
    ) -> Result<Exported> {
        self.job(&format!("/v1/snapshots/{id}/export"), request, on_progress).await
    }

    /// Takes a tar archive of the engine's machine into a workspace that nobody holds.
    pub async fn import_tar(
        &self,
        name: &str,
        request: &ImportTarRequest,
        on_progress: impl FnMut(Progress),
    ) -> Result<Imported> {
        self.job(&workspace_path(name, "/import-tar"), request, on_progress).await
    }

    /// Writes a snapshot, or a part of it, as a tar archive on the engine's machine.
    pub async fn export_tar(
        &self,
        id: SnapshotId,
        request: &ExportTarRequest,
        on_progress: impl FnMut(Progress),
    ) -> Result<Exported> {
        self.job(&format!("/v1/snapshots/{id}/export-tar"), request, on_progress).await
    }

    /// Quota and usage of a workspace, or of all together.
    pub async fn quota(&self, workspace: Option<&str>) -> Result<Quota> {
        self.get(&quota_path(workspace)).await
    }

    /// Sets the quota of a workspace, or of all together.
    pub async fn set_quota(&self, workspace: Option<&str>, request: &SetQuota) -> Result<Quota> {
        self.json(Method::PUT, &quota_path(workspace), Some(request), Effort::ONCE).await
    }

    /// Looks for damage.
    pub async fn check(&self, request: &CheckRequest, on_progress: impl FnMut(Progress)) -> Result<CheckReport> {
        self.job("/v1/check", request, on_progress).await
    }

    /// How much there is, and what it takes.
    pub async fn stats(&self) -> Result<Stats> {
        self.get("/v1/stats").await
    }

    /// Undoes damage.
    pub async fn repair(&self, request: &RepairRequest, on_progress: impl FnMut(Progress)) -> Result<RepairReport> {
        self.job("/v1/repair", request, on_progress).await
    }

    /// Condemns and deletes packs that nothing reaches.
    pub async fn gc(&self, request: &GcRequest, on_progress: impl FnMut(Progress)) -> Result<GcReport> {
        self.job("/v1/gc", request, on_progress).await
    }

    /// The mount's side of one workspace: `Base` and `Publisher`.
    pub fn holder(&self, workspace: WorkspaceId) -> WorkspaceClient {
        WorkspaceClient::new(self.clone(), workspace)
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        effort: Effort,
    ) -> Result<T> {
        self.json(Method::POST, path, Some(body), effort).await
    }
}

fn quota_path(workspace: Option<&str>) -> String {
    workspace.map_or_else(|| "/v1/quota".to_owned(), |name| workspace_path(name, "/quota"))
}

/// The URL of a workspace, and what follows it.
pub(super) fn workspace_path(name: &str, rest: &str) -> String {
    format!("/v1/workspaces/{}{rest}", to_segment(name))
}
