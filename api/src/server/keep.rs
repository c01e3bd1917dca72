//! Tags, readers and rules of retention: what is kept of histories.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::ServerState;
use super::error::{ApiResult, JsonBody, Path};
use crate::wire::ErrorBody;
use crate::wire::keep::{AddTag, Reading, Retention, Rules, Tag, Tags};

/// The tags of a workspace, by name.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace}/tags", tag = "workspaces",
    params(("workspace" = String, Path, description = "Name or id")),
    responses((status = OK, body = Tags), (status = NOT_FOUND, body = ErrorBody)),
)]
pub(super) async fn list_tags(State(state): State<ServerState>, Path(name): Path<String>) -> ApiResult<Json<Tags>> {
    let workspace = state.repo().workspace(&name).await?;
    let tags = state.repo().tags(workspace.id).await?;
    Ok(Json(Tags { tags: tags.into_iter().map(Tag::from).collect() }))
}

/// Gives a snapshot a name that keeps it.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace}/tags", tag = "workspaces", request_body = AddTag,
    params(("workspace" = String, Path, description = "Name or id")),
    responses(
        (status = CREATED, body = Tag),
        (status = BAD_REQUEST, description = "That cannot be a tag", body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody),
        (status = CONFLICT, description = "The name stands for another snapshot", body = ErrorBody),
    ),
)]
pub(super) async fn add_tag(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    JsonBody(request): JsonBody<AddTag>,
) -> ApiResult<(StatusCode, Json<Tag>)> {
    let repo = state.repo();
    let workspace = repo.workspace(&name).await?;
    let snapshot = repo.resolve_snapshot(workspace.id, &request.snapshot).await?;
    let tag = repo.add_tag(workspace.id, &request.name, snapshot).await?;
    Ok((StatusCode::CREATED, Json(tag.into())))
}

/// Removes a tag; its snapshot goes when nothing else keeps it.
#[utoipa::path(
    delete, path = "/v1/workspaces/{workspace}/tags/{tag}", tag = "workspaces",
    params(
        ("workspace" = String, Path, description = "Name or id"),
        ("tag" = String, Path, description = "The tag"),
    ),
    responses((status = NO_CONTENT, description = "It is gone"), (status = NOT_FOUND, body = ErrorBody)),
)]
pub(super) async fn remove_tag(
    State(state): State<ServerState>,
    Path((name, tag)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    let workspace = state.repo().workspace(&name).await?;
    state.repo().remove_tag(workspace.id, &tag).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Keeps a snapshot for a day for somebody who reads it, whatever becomes of its history; to be said again and again.
#[utoipa::path(
    put, path = "/v1/workspaces/{workspace}/readers/{reader}", tag = "workspaces", request_body = Reading,
    params(
        ("workspace" = String, Path, description = "Name or id"),
        ("reader" = String, Path, description = "Who reads: 32 random hexadecimal digits"),
    ),
    responses(
        (status = NO_CONTENT, description = "It stays"),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = NOT_FOUND, description = "Nothing keeps this snapshot any more", body = ErrorBody),
    ),
)]
pub(super) async fn keep_reading(
    State(state): State<ServerState>,
    Path((name, reader)): Path<(String, String)>,
    JsonBody(reading): JsonBody<Reading>,
) -> ApiResult<StatusCode> {
    let workspace = state.repo().workspace(&name).await?.id;
    state.repo().keep_reading(reader.parse()?, workspace, reading.snapshot).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The reader has read enough.
#[utoipa::path(
    delete, path = "/v1/workspaces/{workspace}/readers/{reader}", tag = "workspaces",
    params(
        ("workspace" = String, Path, description = "Name or id"),
        ("reader" = String, Path, description = "Who read"),
    ),
    responses(
        (status = NO_CONTENT, description = "It is forgotten"),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody),
    ),
)]
pub(super) async fn end_reading(
    State(state): State<ServerState>,
    Path((name, reader)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    state.repo().workspace(&name).await?;
    state.repo().end_reading(reader.parse()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The rules for workspaces that have none of their own.
#[utoipa::path(get, path = "/v1/retention", tag = "maintenance", responses((status = OK, body = Retention)))]
pub(super) async fn get_all(State(state): State<ServerState>) -> ApiResult<Json<Retention>> {
    Ok(Json(state.repo().retention(None).await?.into()))
}

/// Sets the rules for workspaces that have none of their own. gc applies them.
#[utoipa::path(
    put, path = "/v1/retention", tag = "maintenance", request_body = Rules,
    responses((status = OK, body = Retention), (status = BAD_REQUEST, body = ErrorBody)),
)]
pub(super) async fn set_all(
    State(state): State<ServerState>,
    JsonBody(rules): JsonBody<Rules>,
) -> ApiResult<Json<Retention>> {
    state.repo().set_retention(None, Some(rules.into())).await?;
    Ok(Json(state.repo().retention(None).await?.into()))
}

/// Takes the rules for all workspaces away.
#[utoipa::path(delete, path = "/v1/retention", tag = "maintenance", responses((status = OK, body = Retention)))]
pub(super) async fn clear_all(State(state): State<ServerState>) -> ApiResult<Json<Retention>> {
    state.repo().set_retention(None, None).await?;
    Ok(Json(state.repo().retention(None).await?.into()))
}

/// The rules of one workspace.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace}/retention", tag = "workspaces",
    params(("workspace" = String, Path, description = "Name or id")),
    responses((status = OK, body = Retention), (status = NOT_FOUND, body = ErrorBody)),
)]
pub(super) async fn get(State(state): State<ServerState>, Path(name): Path<String>) -> ApiResult<Json<Retention>> {
    let id = state.repo().workspace(&name).await?.id;
    Ok(Json(state.repo().retention(Some(id)).await?.into()))
}

/// Sets the rules of one workspace, instead of those for all. gc applies them.
#[utoipa::path(
    put, path = "/v1/workspaces/{workspace}/retention", tag = "workspaces", request_body = Rules,
    params(("workspace" = String, Path, description = "Name or id")),
    responses(
        (status = OK, body = Retention),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody),
    ),
)]
pub(super) async fn set(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    JsonBody(rules): JsonBody<Rules>,
) -> ApiResult<Json<Retention>> {
    let id = state.repo().workspace(&name).await?.id;
    state.repo().set_retention(Some(id), Some(rules.into())).await?;
    Ok(Json(state.repo().retention(Some(id)).await?.into()))
}

/// Takes the rules of one workspace away; those for all hold again.
#[utoipa::path(
    delete, path = "/v1/workspaces/{workspace}/retention", tag = "workspaces",
    params(("workspace" = String, Path, description = "Name or id")),
    responses((status = OK, body = Retention), (status = NOT_FOUND, body = ErrorBody)),
)]
pub(super) async fn clear(State(state): State<ServerState>, Path(name): Path<String>) -> ApiResult<Json<Retention>> {
    let id = state.repo().workspace(&name).await?.id;
    state.repo().set_retention(Some(id), None).await?;
    Ok(Json(state.repo().retention(Some(id)).await?.into()))
}
