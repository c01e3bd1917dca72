//! Esker's HTTP API: the wire types, the server, the client and the admin page.
//!
//! Translates and authorises, decides nothing else: what an operation means is in `vfs-core`. Knows no FUSE and no
//! model. `wire` is used by both sides, so they cannot differ; a client and an engine of different versions refuse
//! each other.

pub mod client;
pub mod limits;
mod page;
pub mod server;
pub mod show;
pub mod wire;

/// The version that both sides send in [`VERSION_HEADER`] with every request and answer.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Header that carries the sender's version.
pub const VERSION_HEADER: &str = "esker-version";
/// Header of an error answer that carries its kind: a WebSocket client may not get to see the body.
pub const ERROR_HEADER: &str = "esker-error";
/// Header with which a request is found in the engine's log.
pub const REQUEST_ID_HEADER: &str = "esker-request";

/// The message for a client and an engine that do not fit together.
fn versions_differ(client: &str, engine: &str) -> String {
    format!(
        "this client is esker {client}, but the engine is esker {engine}; stop the engine (`esker shutdown`) to let \
         the client start its own, or use a client of the engine's version"
    )
}
