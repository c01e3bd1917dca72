//! The mount's side: leases, objects in bulk, and the steps of a publish, as `vfs_core::base::Publisher` has them.
//!
//! Workspaces are named by id here. Whether a lease is still good is for the repo to say, in the publish's transaction.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use vfs_core::base::{Base, Publisher};
use vfs_core::change::ChangeSet;
use vfs_core::id::{BlobId, ObjectId, ObjectKind, TreeId, WorkspaceId};
use vfs_core::limits::CHUNK_MAX;
use vfs_core::objects::Objects;
use vfs_core::{Error, Kind, Result};

use super::ServerState;
use super::error::{ApiResult, Body, JsonBody, Path, Query};
use super::files::free::{self, is_engine};
use crate::limits::{BATCH_CHUNKS_MAX, BATCH_ITEMS_MAX};
use crate::wire::ErrorBody;
use crate::wire::frames;
use crate::wire::mount::{
    AttachRequest, Attached, BeginRequest, Inos, InosRequest, LeaseQuery, Note, PublishedBody, workspace_id,
};

/// Most inode numbers that one request takes: 16 of the ranges that a mount takes at a time.
const INOS_MAX: u64 = 16 * vfs_core::limits::INO_RANGE;

/// Binds a holder to a workspace. The same holder gets a new epoch at once.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace}/attach", tag = "mount", request_body = AttachRequest,
    params(("workspace" = String, Path, description = "Name or id")),
    responses(
        (status = OK, body = Attached),
        (status = NOT_FOUND, body = ErrorBody),
        (status = LOCKED, description = "Somebody else holds it", body = ErrorBody),
    ),
)]
pub(super) async fn attach(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    JsonBody(request): JsonBody<AttachRequest>,
) -> ApiResult<Json<Attached>> {
    let workspace = state.repo().workspace(&name).await?;
    if is_engine(workspace.id, request.holder) {
        return Err(Error::new(Kind::Invalid, "this holder id is an engine's own").into());
    }
    let claim = state.free().claim(workspace.id).await;
    let attached = free::attach(&state, &workspace, &claim, request.holder, &request.description()).await?;
    Ok(Json(attached.into()))
}

/// Gives a lease back; fine if it is gone already.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace}/detach", tag = "mount",
    params(("workspace" = String, Path, description = "The workspace's id"), LeaseQuery),
    responses((status = NO_CONTENT)),
)]
pub(super) async fn detach(
    State(state): State<ServerState>,
    Path(workspace): Path<String>,
    Query(lease): Query<LeaseQuery>,
) -> ApiResult<StatusCode> {
    state.repo().detach(&lease.lease(workspace_id(&workspace)?)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tree nodes by id: frames of ids in, frames of canonical bytes out, in the same order.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace}/trees", tag = "mount",
    params(("workspace" = String, Path, description = "The workspace's id")),
    request_body(content = Vec<u8>, content_type = "application/vnd.esker.frames"),
    responses(
        (status = OK, body = Vec<u8>, content_type = "application/vnd.esker.frames"),
        (status = NOT_FOUND, body = ErrorBody),
    ),
)]
pub(super) async fn trees(
    State(state): State<ServerState>,
    Path(workspace): Path<String>,
    Body(body): Body,
) -> ApiResult<impl IntoResponse> {
    workspace_id(&workspace)?;
    Ok(objects(&state, ObjectKind::Tree, TreeId::LENGTH, body).await?)
}

/// Blobs by id: frames of ids in, frames of canonical bytes out, in the same order.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace}/blobs", tag = "mount",
    params(("workspace" = String, Path, description = "The workspace's id")),
    request_body(content = Vec<u8>, content_type = "application/vnd.esker.frames"),
    responses(
        (status = OK, body = Vec<u8>, content_type = "application/vnd.esker.frames"),
        (status = NOT_FOUND, body = ErrorBody),
    ),
)]
pub(super) async fn blobs(
    State(state): State<ServerState>,
    Path(workspace): Path<String>,
    Body(body): Body,
) -> ApiResult<impl IntoResponse> {
    workspace_id(&workspace)?;
    Ok(objects(&state, ObjectKind::Blob, BlobId::LENGTH, body).await?)
}

/// Chunks by reference: frames of references (id, plain digest, length) in, frames of content out, in the same order.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace}/chunks", tag = "mount",
    params(("workspace" = String, Path, description = "The workspace's id")),
    request_body(content = Vec<u8>, content_type = "application/vnd.esker.frames"),
    responses(
        (status = OK, body = Vec<u8>, content_type = "application/vnd.esker.frames"),
        (status = NOT_FOUND, body = ErrorBody),
    ),
)]
pub(super) async fn chunks(
    State(state): State<ServerState>,
    Path(workspace): Path<String>,
    Body(body): Body,
) -> ApiResult<impl IntoResponse> {
    workspace_id(&workspace)?;
    let items = frames::decode(body, BATCH_CHUNKS_MAX, frames::CHUNK_REF_LENGTH)?;
    let chunks = items.iter().map(|item| frames::chunk_ref_from_item(item)).collect::<Result<Vec<_>>>()?;
    Ok(framed(&state.repo().chunks(&chunks).await?))
}

/// Takes a range of fresh inode numbers.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace}/inos", tag = "mount", request_body = InosRequest,
    params(("workspace" = String, Path, description = "The workspace's id"), LeaseQuery),
    responses((status = OK, body = Inos), (status = CONFLICT, description = "The lease is lost", body = ErrorBody)),
)]
pub(super) async fn inos(
    State(state): State<ServerState>,
    Path(workspace): Path<String>,
    Query(lease): Query<LeaseQuery>,
    JsonBody(request): JsonBody<InosRequest>,
) -> ApiResult<Json<Inos>> {
    if !(1..=INOS_MAX).contains(&request.count) {
        return Err(Error::new(Kind::Invalid, format!("1 to {INOS_MAX} inode numbers are given at a time")).into());
    }
    let lease = lease.lease(workspace_id(&workspace)?);
    let first = state.repo().allocate_inos(&lease, request.count).await?;
    Ok(Json(Inos { first: first.0 }))
}

/// Opens a publish of everything up to a journal position. May be repeated.
#[utoipa::path(
    put, path = "/v1/workspaces/{workspace}/publish/{position}", tag = "mount", request_body = BeginRequest,
    params(
        ("workspace" = String, Path, description = "The workspace's id"),
        ("position" = u64, Path, description = "The journal position"),
        LeaseQuery,
    ),
    responses(
        (status = NO_CONTENT, description = "It is open"),
        (status = CONFLICT, description = "The lease is lost, or the ref has moved", body = ErrorBody),
    ),
)]
pub(super) async fn begin(
    State(state): State<ServerState>,
    step: Step,
    Query(lease): Query<LeaseQuery>,
    JsonBody(request): JsonBody<BeginRequest>,
) -> ApiResult<StatusCode> {
    state.repo().begin(&lease.lease(step.workspace), request.base, step.position).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Stores content: frames of chunks in, frames of their references out, in the same order. May be repeated.
#[utoipa::path(
    put, path = "/v1/workspaces/{workspace}/publish/{position}/chunks", tag = "mount",
    params(
        ("workspace" = String, Path, description = "The workspace's id"),
        ("position" = u64, Path, description = "The journal position"),
        LeaseQuery,
    ),
    request_body(content = Vec<u8>, content_type = "application/vnd.esker.frames"),
    responses(
        (status = OK, body = Vec<u8>, content_type = "application/vnd.esker.frames"),
        (status = CONFLICT, description = "The lease is lost, or the publish was not begun", body = ErrorBody),
    ),
)]
pub(super) async fn put_chunks(
    State(state): State<ServerState>,
    step: Step,
    Query(lease): Query<LeaseQuery>,
    Body(body): Body,
) -> ApiResult<impl IntoResponse> {
    let chunks = frames::decode(body, BATCH_CHUNKS_MAX, CHUNK_MAX)?;
    // Frames are slices of the request's body; whatever keeps one would keep all of it, but they leave together.
    let stored = state.repo().put_chunks(&lease.lease(step.workspace), step.position, chunks).await?;
    let items: Vec<_> = stored.iter().map(frames::chunk_ref_to_item).collect();
    Ok(framed(&items))
}

/// Adds a part of the changed inodes and directories, as the bytes of a change set. May be repeated.
#[utoipa::path(
    put, path = "/v1/workspaces/{workspace}/publish/{position}/changes", tag = "mount",
    params(
        ("workspace" = String, Path, description = "The workspace's id"),
        ("position" = u64, Path, description = "The journal position"),
        LeaseQuery,
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = NO_CONTENT, description = "It is kept until the commit"),
        (status = CONFLICT, description = "The lease is lost, or the publish was not begun", body = ErrorBody),
    ),
)]
pub(super) async fn put_changes(
    State(state): State<ServerState>,
    step: Step,
    Query(lease): Query<LeaseQuery>,
    Body(body): Body,
) -> ApiResult<StatusCode> {
    let changes = decode_changes(&body)?;
    state.repo().put_changes(&lease.lease(step.workspace), step.position, changes).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Builds the trees, makes all durable, moves the ref. May be repeated: the answer is the same.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace}/publish/{position}/commit", tag = "mount", request_body = Note,
    params(
        ("workspace" = String, Path, description = "The workspace's id"),
        ("position" = u64, Path, description = "The journal position"),
        LeaseQuery,
    ),
    responses(
        (status = OK, body = PublishedBody),
        (status = CONFLICT, description = "The lease is lost, or the ref has moved", body = ErrorBody),
    ),
)]
pub(super) async fn commit(
    State(state): State<ServerState>,
    step: Step,
    Query(lease): Query<LeaseQuery>,
    JsonBody(note): JsonBody<Note>,
) -> ApiResult<Json<PublishedBody>> {
    let published = state.repo().commit(&lease.lease(step.workspace), step.position, note.into()).await?;
    Ok(Json(published.into()))
}

/// The publish that a URL names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    workspace: WorkspaceId,
    position: u64,
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Step {
    type Rejection = super::error::ApiError;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> ApiResult<Self> {
        let Path((workspace, position)) = Path::<(String, String)>::from_request_parts(parts, state).await?;
        let position = position.parse().map_err(|error: std::num::ParseIntError| {
            Error::new(Kind::Invalid, format!("{position:?} is not a journal position")).because(error)
        })?;
        Ok(Step { workspace: workspace_id(&workspace)?, position })
    }
}

/// A change set that cannot be read is the sender's mistake, not damage of ours.
fn decode_changes(body: &[u8]) -> Result<ChangeSet> {
    ChangeSet::decode(body).map_err(|error| match error.kind() {
        Kind::Corrupt => Error::new(Kind::Invalid, error.context()).because(error),
        _ => error,
    })
}

async fn objects(
    state: &ServerState,
    kind: ObjectKind,
    id_length: usize,
    body: Bytes,
) -> Result<impl IntoResponse + use<>> {
    let ids = frames::decode(body, BATCH_ITEMS_MAX, id_length)?;
    let id = |item: &Bytes| match item[..].try_into() {
        Ok(hash) => Ok(ObjectId { kind, hash }),
        Err(_) => Err(Error::new(Kind::Invalid, format!("an item of a batch is not the id of a {}", kind.as_str()))),
    };
    let ids = ids.iter().map(id).collect::<Result<Vec<_>>>()?;
    Ok(framed(&state.repo().store().read_many(&ids).await?))
}

fn framed<I: AsRef<[u8]>>(items: &[I]) -> impl IntoResponse + use<I> {
    ([(header::CONTENT_TYPE, frames::CONTENT_TYPE)], frames::encode(items))
}
