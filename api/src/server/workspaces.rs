//! Workspaces: make, list, fork, restore, checkpoint, delete.
//!
//! A command that names a workspace means its holder's live state. So whatever needs it asks the live holder for a
//! barrier, and if a holder has the lease but cannot be asked, the answer is `Unavailable`, never an old state.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use vfs_core::base::PublishNote;
use vfs_core::id::SnapshotId;
use vfs_core::limits::LEASE_TTL;
use vfs_core::repo::{LeaseInfo, WorkspaceInfo};
use vfs_core::{Error, Kind, Result};

use super::ServerState;
use super::control::Holder;
use super::error::{ApiResult, JsonBody, Path, Query};
use super::files::free::{is_engine, reclaim};
use super::snapshots::{HEAD, parse_spec};
use crate::limits::{LOG_DEFAULT, LOG_MAX};
use crate::wire::ErrorBody;
use crate::wire::workspace::{
    Checkpoint, Checkpointed, CreateWorkspace, ForkWorkspace, Log, LogQuery, LogRow, RestoreWorkspace, Restored,
    Workspace, Workspaces,
};

/// All workspaces, by name.
#[utoipa::path(get, path = "/v1/workspaces", tag = "workspaces", responses((status = OK, body = Workspaces)))]
pub(super) async fn list(State(state): State<ServerState>) -> ApiResult<Json<Workspaces>> {
    let workspaces = state.repo().workspaces().await?;
    Ok(Json(Workspaces { workspaces: workspaces.into_iter().map(Workspace::from).collect() }))
}

/// Makes a workspace: empty, or on the published state of another one.
#[utoipa::path(
    post, path = "/v1/workspaces", tag = "workspaces", request_body = CreateWorkspace,
    responses(
        (status = CREATED, body = Workspace),
        (status = CONFLICT, description = "The name is taken", body = ErrorBody),
        (status = NOT_FOUND, description = "There is no such state to start from", body = ErrorBody),
    ),
)]
pub(super) async fn create(
    State(state): State<ServerState>,
    JsonBody(request): JsonBody<CreateWorkspace>,
) -> ApiResult<(StatusCode, Json<Workspace>)> {
    let repo = state.repo();
    let at = match &request.from {
        None => None,
        Some(spec) => {
            let (workspace, snapshot) = parse_spec(spec);
            let workspace = repo.workspace(workspace).await?;
            Some(repo.resolve_snapshot(workspace.id, snapshot.unwrap_or(HEAD)).await?)
        }
    };
    let source = request.source.as_deref().or(request.from.as_deref());
    let made = repo.create_workspace(&request.name, source, at).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// One workspace.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace}", tag = "workspaces",
    params(("workspace" = String, Path, description = "Name or id")),
    responses((status = OK, body = Workspace), (status = NOT_FOUND, body = ErrorBody)),
)]
pub(super) async fn get(State(state): State<ServerState>, Path(name): Path<String>) -> ApiResult<Json<Workspace>> {
    Ok(Json(state.repo().workspace(&name).await?.into()))
}

/// Removes a workspace and its history.
#[utoipa::path(
    delete, path = "/v1/workspaces/{workspace}", tag = "workspaces",
    params(("workspace" = String, Path, description = "Name or id")),
    responses(
        (status = NO_CONTENT, description = "It is gone"),
        (status = NOT_FOUND, body = ErrorBody),
        (status = LOCKED, description = "Somebody holds it", body = ErrorBody),
    ),
)]
pub(super) async fn delete(State(state): State<ServerState>, Path(name): Path<String>) -> ApiResult<StatusCode> {
    let workspace = state.repo().workspace(&name).await?;
    let claim = state.free().claim(workspace.id).await;
    reclaim(&state, &state.repo().workspace(&workspace.id.to_hex()).await?, &claim).await?;
    state.repo().delete_workspace(workspace.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The newest rows of a workspace's history.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace}/log", tag = "workspaces",
    params(("workspace" = String, Path, description = "Name or id"), LogQuery),
    responses((status = OK, body = Log), (status = NOT_FOUND, body = ErrorBody)),
)]
pub(super) async fn log(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    Query(query): Query<LogQuery>,
) -> ApiResult<Json<Log>> {
    let limit = query.limit.unwrap_or(LOG_DEFAULT);
    if !(1..=LOG_MAX).contains(&limit) {
        return Err(Error::new(Kind::Invalid, format!("a log's limit must be from 1 to {LOG_MAX}")).into());
    }
    let workspace = state.repo().workspace(&name).await?;
    let rows = state.repo().history(workspace.id, query.all, limit).await?;
    let mut rows: Vec<LogRow> = rows.into_iter().map(LogRow::from).collect();
    for tag in state.repo().tags(workspace.id).await? {
        let tagged = rows.iter_mut().filter(|row| row.snapshot == tag.snapshot);
        tagged.for_each(|row| row.tags.push(tag.name.clone()));
    }
    Ok(Json(Log { rows }))
}

/// Publishes everything written so far. Without a holder, that is the head.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace}/checkpoint", tag = "workspaces", request_body = Checkpoint,
    params(("workspace" = String, Path, description = "Name or id")),
    responses(
        (status = OK, body = Checkpointed),
        (status = NOT_FOUND, body = ErrorBody),
        (status = SERVICE_UNAVAILABLE, description = "The holder cannot be asked now", body = ErrorBody),
    ),
)]
pub(super) async fn checkpoint(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    JsonBody(request): JsonBody<Checkpoint>,
) -> ApiResult<Json<Checkpointed>> {
    let workspace = state.repo().workspace(&name).await?;
    let note = PublishNote::from(request.note);
    if let Some(before) = request.unless {
        // Also what an automatic checkpoint has published since then counts as written.
        let automatic = PublishNote { automatic: true, message: String::new(), ..note.clone() };
        let (snapshot, attached) = live_state(&state, &workspace, automatic).await?;
        if snapshot == before {
            return Ok(Json(Checkpointed { snapshot, attached }));
        }
    }
    let (snapshot, attached) = live_state(&state, &workspace, note).await?;
    Ok(Json(Checkpointed { snapshot, attached }))
}

/// Makes a workspace on another one's state; copies nothing.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace}/fork", tag = "workspaces", request_body = ForkWorkspace,
    params(("workspace" = String, Path, description = "Name or id of the origin")),
    responses(
        (status = CREATED, body = Workspace),
        (status = NOT_FOUND, body = ErrorBody),
        (status = CONFLICT, description = "The name is taken", body = ErrorBody),
        (status = SERVICE_UNAVAILABLE, description = "The holder cannot be asked now", body = ErrorBody),
    ),
)]
pub(super) async fn fork(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    JsonBody(request): JsonBody<ForkWorkspace>,
) -> ApiResult<(StatusCode, Json<Workspace>)> {
    let repo = state.repo();
    let origin = repo.workspace(&name).await?;
    let at = match &request.snapshot {
        Some(snapshot) => repo.resolve_snapshot(origin.id, snapshot).await?,
        None => {
            let note = PublishNote { message: format!("fork to {}", request.name), ..PublishNote::default() };
            live_state(&state, &origin, note).await?.0
        }
    };
    let source = format!("{}@{}", origin.name, &at.to_hex()[..12]);
    let made = repo.create_workspace(&request.name, Some(&source), Some(at)).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// Brings an older state back; the state before stays in the history.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace}/restore", tag = "workspaces", request_body = RestoreWorkspace,
    params(("workspace" = String, Path, description = "Name or id")),
    responses(
        (status = OK, body = Restored),
        (status = NOT_FOUND, body = ErrorBody),
        (status = CONFLICT, description = "It was written meanwhile: restore again", body = ErrorBody),
        (status = SERVICE_UNAVAILABLE, description = "The holder cannot be asked now", body = ErrorBody),
    ),
)]
pub(super) async fn restore(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    JsonBody(request): JsonBody<RestoreWorkspace>,
) -> ApiResult<Json<Restored>> {
    let repo = state.repo();
    let workspace = repo.workspace(&name).await?;
    let to = repo.resolve_snapshot(workspace.id, &request.snapshot).await?;
    let note = PublishNote { author: request.author, message: request.message, ..PublishNote::default() };
    // Whoever restores over a mount that is gone for good says what counts; its journal is kept aside by the next mount.
    let is_gone = workspace.holder.as_ref().is_some_and(|lease| !is_fresh(&state, lease));
    let holder = if is_gone { state.holders().get(workspace.id) } else { reachable_holder(&state, &workspace)? };
    match holder {
        Some(holder) => Ok(Json(restore_attached(&state, &holder, to, note).await?)),
        None => {
            let claim = state.free().claim(workspace.id).await;
            reclaim(&state, &repo.workspace(&workspace.id.to_hex()).await?, &claim).await?;
            let done = repo.restore(workspace.id, None, to, note).await?;
            Ok(Json(Restored { safety: done.safety, snapshot: done.snapshot, mounted: false }))
        }
    }
}

/// The holder publishes what it has and stands still, the ref moves under its lease, the holder shows the new state.
async fn restore_attached(state: &ServerState, holder: &Holder, to: SnapshotId, note: PublishNote) -> Result<Restored> {
    let message = format!("before restoring {}", &to.to_hex()[..12]);
    let safety = PublishNote { author: note.author.clone(), message, ..PublishNote::default() };
    let before = holder.barrier_and_freeze(safety).await?;
    let lease = *holder.lease();
    let done = match state.repo().restore(lease.workspace, Some(&lease), to, note).await {
        Ok(done) => done,
        Err(error) => return Err(thawed(holder, error).await),
    };
    if let Err(error) = holder.swap_base(done.snapshot).await {
        let context = format!(
            "the workspace now stands on {}, but its mount does not show it: {}. The state before is {before}; mount it again",
            done.snapshot,
            error.context(),
        );
        return Err(thawed(holder, Error::new(error.kind(), context).because(error)).await);
    }
    Ok(Restored { safety: Some(done.safety.unwrap_or(before)), snapshot: done.snapshot, mounted: true })
}

/// Lets changes through again after a restore that failed. A holder that cannot be reached thaws by itself.
async fn thawed(holder: &Holder, error: Error) -> Error {
    if let Err(also) = holder.thaw().await {
        super::error::log(&also);
    }
    error
}

/// What the holder shows now, published; or the head where nobody holds the workspace. Whether somebody does.
pub(super) async fn live_state(
    state: &ServerState,
    workspace: &WorkspaceInfo,
    note: PublishNote,
) -> Result<(SnapshotId, bool)> {
    match reachable_holder(state, workspace)? {
        Some(holder) => Ok((holder.barrier(note).await?, true)),
        None => Ok((workspace.head, false)),
    }
}

/// The live holder, if anybody holds the workspace; `Unavailable` if somebody does who cannot be asked now, or did and
/// never gave it back.
pub(super) fn reachable_holder(state: &ServerState, workspace: &WorkspaceInfo) -> Result<Option<Holder>> {
    if let Some(holder) = state.holders().get(workspace.id) {
        return Ok(Some(holder));
    }
    match &workspace.holder {
        // An engine, for a moment; what it is about to write is not acknowledged yet.
        Some(lease) if is_engine(workspace.id, lease.holder) => Ok(None),
        Some(lease) if is_fresh(state, lease) => Err(Error::new(
            Kind::Unavailable,
            format!(
                "{} is held by process {} on {} (at {}), which is not connected now; try again, or name a snapshot",
                workspace.name, lease.pid, lease.host, lease.mountpoint
            ),
        )),
        // What it had written and not published is in its journal: others must neither miss it nor write past it.
        Some(lease) => Err(Error::new(
            Kind::Unavailable,
            format!(
                "{} was mounted on {} (at {}) and never given back: mount it again there, which brings back what was \
                 not published (elsewhere: without it), or name a snapshot such as {}@HEAD",
                workspace.name, lease.host, lease.mountpoint, workspace.name
            ),
        )),
        None => Ok(None),
    }
}

/// A holder that was heard of less than a lease's life ago may come back with unpublished work.
pub(super) fn is_fresh(state: &ServerState, lease: &LeaseInfo) -> bool {
    let silent_ns = state.clock().now().as_nanos() - lease.last_seen.as_nanos();
    lease.connected || silent_ns.unsigned_abs() < LEASE_TTL.as_nanos()
}
