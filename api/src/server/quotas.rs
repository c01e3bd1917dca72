//! Quotas of workspaces, and of all together.

use axum::Json;
use axum::extract::State;
use vfs_core::Error;

use super::ServerState;
use super::error::{ApiResult, JsonBody, Path};
use crate::wire::ErrorBody;
use crate::wire::quota::{Quota, SetQuota};

/// Quota and usage of all workspaces together.
#[utoipa::path(get, path = "/v1/quota", tag = "maintenance", responses((status = OK, body = Quota)))]
pub(super) async fn get_all(State(state): State<ServerState>) -> ApiResult<Json<Quota>> {
    Ok(Json(state.repo().quota(None).await?.into()))
}

/// Sets the quota of all workspaces together.
#[utoipa::path(
    put, path = "/v1/quota", tag = "maintenance", request_body = SetQuota,
    responses((status = OK, body = Quota), (status = BAD_REQUEST, body = ErrorBody)),
)]
pub(super) async fn set_all(
    State(state): State<ServerState>,
    JsonBody(request): JsonBody<SetQuota>,
) -> ApiResult<Json<Quota>> {
    state.repo().set_quota(None, checked(request)?.into()).await?;
    Ok(Json(state.repo().quota(None).await?.into()))
}

/// Quota and usage of one workspace.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace}/quota", tag = "workspaces",
    params(("workspace" = String, Path, description = "Name or id")),
    responses((status = OK, body = Quota), (status = NOT_FOUND, body = ErrorBody)),
)]
pub(super) async fn get(State(state): State<ServerState>, Path(name): Path<String>) -> ApiResult<Json<Quota>> {
    let id = state.repo().workspace(&name).await?.id;
    Ok(Json(state.repo().quota(Some(id)).await?.into()))
}

/// Sets the quota of one workspace. A mount learns of it when it attaches again.
#[utoipa::path(
    put, path = "/v1/workspaces/{workspace}/quota", tag = "workspaces", request_body = SetQuota,
    params(("workspace" = String, Path, description = "Name or id")),
    responses(
        (status = OK, body = Quota),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody),
    ),
)]
pub(super) async fn set(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    JsonBody(request): JsonBody<SetQuota>,
) -> ApiResult<Json<Quota>> {
    let id = state.repo().workspace(&name).await?.id;
    state.repo().set_quota(Some(id), checked(request)?.into()).await?;
    Ok(Json(state.repo().quota(Some(id)).await?.into()))
}

/// The database has numbers of 63 bits.
fn checked(request: SetQuota) -> Result<SetQuota, Error> {
    let too_large = |max: Option<u64>| max.is_some_and(|max| i64::try_from(max).is_err());
    match too_large(request.bytes) || too_large(request.files) {
        true => Err(Error::new(vfs_core::Kind::Invalid, "a quota is below 2^63; leave it out for no limit")),
        false => Ok(request),
    }
}
