//! The link that lets a browser in to the admin page.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::Json;
use axum::extract::State;

use super::ServerState;
use super::auth::Local;
use super::error::ApiResult;
use crate::limits::CODE_LIFE;
use crate::wire::ErrorBody;
use crate::wire::admin::AdminLink;

/// Makes a link to the admin page that is good once, over the socket only. The page listens from now on.
#[utoipa::path(
    post, path = "/v1/admin/link", tag = "engine",
    responses(
        (status = OK, body = AdminLink),
        (status = FORBIDDEN, body = ErrorBody),
        (status = SERVICE_UNAVAILABLE, description = "No port could be opened", body = ErrorBody),
    ),
)]
pub(super) async fn link(_: Local, State(state): State<ServerState>) -> ApiResult<Json<AdminLink>> {
    let address = reachable(state.door().address().await?);
    let code = state.door().make_code()?;
    // The link must not outlive the engine.
    state.keep_for_readers();
    Ok(Json(AdminLink { url: crate::page::login_url(address, &code), expires_s: CODE_LIFE.as_secs() }))
}

/// An address that a browser of this machine can open: one that means "all of them" is no place to go to.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
