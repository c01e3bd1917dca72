//! Check and gc.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use vfs_core::limits::GC_GRACE;
use vfs_core::repo::{CheckOptions, GcOptions};

use super::ServerState;
use super::error::{ApiResult, JsonBody};
use super::jobs::stream_of;
use crate::wire::JobLine;
use crate::wire::job::{CheckReport, CheckRequest, GcReport, GcRequest};

/// Looks for damage; changes nothing. Damage is a finding, not an error.
#[utoipa::path(
    post, path = "/v1/check", tag = "maintenance", request_body = CheckRequest,
    responses((status = OK, description = "Lines", body = JobLine<CheckReport>, content_type = "application/x-ndjson")),
)]
pub(super) async fn check(
    State(state): State<ServerState>,
    JsonBody(request): JsonBody<CheckRequest>,
) -> ApiResult<Response> {
    Ok(stream_of(|report| async move {
        let options = CheckOptions { full: request.full };
        Ok(CheckReport::from(state.repo().check(options, &*report).await?))
    }))
}

/// Condemns packs that nothing reaches and deletes those whose grace period is over.
#[utoipa::path(
    post, path = "/v1/gc", tag = "maintenance", request_body = GcRequest,
    responses((status = OK, description = "Lines", body = JobLine<GcReport>, content_type = "application/x-ndjson")),
)]
pub(super) async fn gc(
    State(state): State<ServerState>,
    JsonBody(request): JsonBody<GcRequest>,
) -> ApiResult<Response> {
    Ok(stream_of(|report| async move {
        let grace = request.grace_s.map_or(GC_GRACE, Duration::from_secs);
        let options = GcOptions { grace, delete: request.delete, ..GcOptions::default() };
        Ok(GcReport::from(state.repo().gc(options, &*report).await?))
    }))
}
