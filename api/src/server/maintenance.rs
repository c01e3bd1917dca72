//! Check, repair and gc.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use vfs_core::limits::{GC_GRACE, REPACK_BELOW_PERCENT};
use vfs_core::repair::RepairOptions;
use vfs_core::repo::{CheckOptions, GcOptions, Share};
use vfs_core::{Error, Kind, Result};

use super::ServerState;
use super::auth::Local;
use super::error::{ApiResult, JsonBody};
use super::jobs::stream_of;
use crate::wire::JobLine;
use crate::wire::job::{CheckReport, CheckRequest, GcReport, GcRequest};
use crate::wire::repair::{RepairReport, RepairRequest};

/// Looks for damage; changes nothing. Damage is a finding, not an error.
#[utoipa::path(
    post, path = "/v1/check", tag = "maintenance", request_body = CheckRequest,
    responses((status = OK, description = "Lines", body = JobLine<CheckReport>, content_type = "application/x-ndjson")),
)]
pub(super) async fn check(
    State(state): State<ServerState>,
    JsonBody(request): JsonBody<CheckRequest>,
) -> ApiResult<Response> {
    let share = share(&request)?;
    Ok(stream_of(|report| async move {
        let repo = state.repo();
        Ok(CheckReport::from(match share {
            Some(share) => repo.check_share(share, &*report).await?,
            None => repo.check(CheckOptions { full: false }, &*report).await?,
        }))
    }))
}

/// The share of the packs whose bytes are read, if any is.
fn share(request: &CheckRequest) -> Result<Option<Share>> {
    let part = request.part.map(|part| (part.part, part.parts));
    let share = Share { resume: request.resume, older_than: request.older_than_s.map(Duration::from_secs), part };
    share.validate()?;
    if !request.full && share != Share::default() {
        return Err(Error::new(Kind::Invalid, "only a full check reads shares: ask for it with full"));
    }
    Ok(request.full.then_some(share))
}

/// Undoes damage as far as that is possible, and says what is lost. `409` while somebody holds a workspace.
#[utoipa::path(
    post, path = "/v1/repair", tag = "maintenance", request_body = RepairRequest,
    responses((status = OK, description = "Lines", body = JobLine<RepairReport>, content_type = "application/x-ndjson")),
)]
pub(super) async fn repair(
    local: ApiResult<Local>,
    State(state): State<ServerState>,
    JsonBody(request): JsonBody<RepairRequest>,
) -> ApiResult<Response> {
    let salvage = match &request.salvage {
        Some(folder) => {
            local?;
            Some(folder.to_path()?)
        }
        None => None,
    };
    Ok(stream_of(|report| async move {
        let options = RepairOptions { dry_run: request.dry_run, salvage };
        Ok(RepairReport::from(vfs_core::repair::repair(state.repo(), &options, &*report).await?))
    }))
}

/// Removes history rows that no rule of retention keeps, condemns packs that nothing reaches and deletes those whose grace
/// period is over, and copies what lives in packs that are mostly garbage.
#[utoipa::path(
    post, path = "/v1/gc", tag = "maintenance", request_body = GcRequest,
    responses((status = OK, description = "Lines", body = JobLine<GcReport>, content_type = "application/x-ndjson")),
)]
pub(super) async fn gc(
    State(state): State<ServerState>,
    JsonBody(request): JsonBody<GcRequest>,
) -> ApiResult<Response> {
    let options = GcOptions {
        grace: request.grace_s.map_or(GC_GRACE, Duration::from_secs),
        delete: request.delete,
        dry_run: request.dry_run,
        repack_below_percent: request.repack_below_percent.unwrap_or(REPACK_BELOW_PERCENT),
    };
    if options.repack_below_percent > 100 {
        return Err(Error::new(Kind::Invalid, "repack_below_percent is from 0 to 100").into());
    }
    Ok(stream_of(|report| async move { Ok(GcReport::from(state.repo().gc(options, &*report).await?)) }))
}
