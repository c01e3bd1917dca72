//! The engine itself: status, shutdown, and the description of this API.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::ServerState;
use super::auth::Local;
use super::state::without_credentials;
use crate::VERSION;
use crate::wire::workspace::EngineStatus;

/// What the engine is and how busy it is. Answered to clients of every version.
#[utoipa::path(get, path = "/v1/status", tag = "engine", responses((status = OK, body = EngineStatus)))]
pub(super) async fn status(State(state): State<ServerState>) -> Json<EngineStatus> {
    let (requests, _) = state.activity().counts();
    let info = state.info();
    Json(EngineStatus {
        version: VERSION.to_owned(),
        pid: std::process::id(),
        data_folder: info.data_folder.display().to_string(),
        bucket: without_credentials(&info.bucket),
        uptime_s: state.uptime().as_secs(),
        holders: state.holders().len() as u64,
        clients: requests.saturating_sub(1),
    })
}

/// Asks the engine to finish what is under way and to leave. Answered to clients of every version, socket only.
#[utoipa::path(
    post, path = "/v1/shutdown", tag = "engine",
    responses((status = ACCEPTED, description = "It will"), (status = FORBIDDEN, body = crate::wire::ErrorBody)),
)]
pub(super) async fn shutdown(_: Local, State(state): State<ServerState>) -> StatusCode {
    tracing::info!("asked to stop");
    state.stop();
    StatusCode::ACCEPTED
}

/// This description.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "engine", responses((status = OK, body = Object)))]
pub(super) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(super::openapi())
}
