//! The engine's HTTP server: a router over `vfs_core::repo::Repo`.
//!
//! | file | what |
//! |---|---|
//! | `listen` | sockets, graceful end |
//! | `auth` | who may ask |
//! | `envelope` | what all requests have in common: version, request id, log line |
//! | `activity` | who is using the engine |
//! | `engine` `workspaces` `snapshots` `content` `transfer` `maintenance` | what people and scripts ask |
//! | `documents` | skills, memories, instructions |
//! | `files` | files of a live workspace or of a snapshot, by path |
//! | `sessions` `follow` | turn logs: kept, and watched as they grow |
//! | `mount` `control` | what mounts ask, and are asked |
//! | `admin` | the link to the page |
//!
//! Keeps true: a handler translates a request into calls of the repo (or of a live holder) and their answer into a
//! response; what an operation means is decided below. Every error has one shape, and its cause stays in the log.

mod activity;
mod admin;
mod ahead;
mod auth;
mod content;
mod control;
mod documents;
mod engine;
mod envelope;
mod error;
mod files;
pub(crate) mod follow;
mod jobs;
mod keep;
mod listen;
mod maintenance;
mod mount;
pub(crate) mod query;
mod quotas;
mod sessions;
mod snapshots;
mod state;
mod stats;
mod transfer;
mod workspaces;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::world as tests_world;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vfs_core::limits::DOCUMENT_MAX;

pub use auth::{Peer, Token};
pub use control::{Holder, Holders};
pub use listen::{Bound, Listeners, serve};
pub use state::{EngineInfo, ServerState};

use vfs_core::limits::FILE_WRITE_MAX;

use crate::limits::{CHANGES_BODY_MAX, CHUNKS_BODY_MAX, EVENTS_BODY_MAX, JSON_BODY_MAX};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Esker",
        description = "The engine's API. Over the Unix socket the caller's user is the authority, over TCP a bearer token.\n\n\
            Names and paths are bytes: percent-encoded in queries; in JSON as text, with their bytes in hexadecimal \
            beside it (`name_hex`, `path_hex`, `target_hex`) where they are not UTF-8.\n\n\
            Frames (`application/vnd.esker.frames`) are a count and that many length-prefixed byte strings, all \
            numbers 32 bits, big-endian.",
    ),
    tags(
        (name = "engine", description = "The process itself"),
        (name = "workspaces", description = "Named, writable trees"),
        (name = "snapshots", description = "Immutable states and the files in them"),
        (name = "documents", description = "Versioned files in the database: skills, memories, instructions"),
        (name = "files", description = "Files of a live workspace, or of one of its snapshots, by path"),
        (name = "transfer", description = "Folders of the engine's machine; over the Unix socket only"),
        (name = "sessions", description = "Conversations and their turn logs"),
        (name = "maintenance", description = "Check, repair, gc and statistics"),
        (name = "mount", description = "For holders: leases, objects in bulk, publishes, control"),
    ),
)]
struct Description;

/// The API of this engine, without listeners. A caller in this process puts [`Peer::InProcess`] into its requests'
/// extensions; a request without any origin is refused.
pub fn router(state: ServerState) -> Router {
    let (router, _) = api().split_for_parts();
    router
        .fallback(envelope::not_found)
        .method_not_allowed_fallback(envelope::method_not_allowed)
        .layer(from_fn_with_state(state.clone(), activity::count))
        .layer(axum::middleware::from_fn(envelope::same_version))
        .layer(from_fn_with_state(state.clone(), auth::authorise))
        .layer(axum::middleware::from_fn(envelope::wrap))
        .with_state(state)
}

/// The description of the API, made from the code. `docs/openapi.json` is its committed copy.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let (_, openapi) = api().split_for_parts();
    openapi
}

fn api() -> OpenApiRouter<ServerState> {
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(plain().layer(DefaultBodyLimit::max(JSON_BODY_MAX)))
        .merge(contents().layer(DefaultBodyLimit::max(DOCUMENT_MAX)))
        .merge(events().layer(DefaultBodyLimit::max(EVENTS_BODY_MAX)))
        .merge(batches().layer(DefaultBodyLimit::max(CHUNKS_BODY_MAX)))
        .merge(file_contents().layer(DefaultBodyLimit::max(FILE_WRITE_MAX)))
        .merge(changes().layer(DefaultBodyLimit::max(CHANGES_BODY_MAX)))
}

/// Small JSON requests.
fn plain() -> OpenApiRouter<ServerState> {
    OpenApiRouter::default()
        .routes(routes!(engine::status))
        .routes(routes!(engine::shutdown))
        .routes(routes!(engine::openapi))
        .routes(routes!(admin::link))
        .routes(routes!(workspaces::list, workspaces::create))
        .routes(routes!(workspaces::get, workspaces::delete))
        .routes(routes!(workspaces::log))
        .routes(routes!(workspaces::checkpoint))
        .routes(routes!(workspaces::fork))
        .routes(routes!(workspaces::restore))
        .routes(routes!(snapshots::resolve))
        .routes(routes!(snapshots::get))
        .routes(routes!(snapshots::object))
        .routes(routes!(snapshots::list))
        .routes(routes!(snapshots::content))
        .routes(routes!(snapshots::diff))
        .routes(routes!(documents::list))
        .routes(routes!(documents::versions))
        .routes(routes!(documents::restore))
        .routes(routes!(files::stat))
        .routes(routes!(files::list))
        .routes(routes!(files::edit))
        .routes(routes!(files::names))
        .routes(routes!(files::glob))
        .routes(routes!(files::grep))
        .routes(routes!(transfer::scan_folder))
        .routes(routes!(transfer::import_folder))
        .routes(routes!(transfer::export_snapshot))
        .routes(routes!(transfer::import_tar))
        .routes(routes!(transfer::export_tar))
        .routes(routes!(sessions::list, sessions::create))
        .routes(routes!(sessions::get))
        .routes(routes!(sessions::take, sessions::renew, sessions::release))
        .routes(routes!(sessions::turns))
        .routes(routes!(sessions::end_turn))
        .routes(routes!(quotas::get_all, quotas::set_all))
        .routes(routes!(quotas::get, quotas::set))
        .routes(routes!(keep::list_tags, keep::add_tag))
        .routes(routes!(keep::remove_tag))
        .routes(routes!(keep::keep_reading))
        .routes(routes!(keep::end_reading))
        .routes(routes!(keep::get_all, keep::set_all, keep::clear_all))
        .routes(routes!(keep::get, keep::set, keep::clear))
        .routes(routes!(maintenance::check))
        .routes(routes!(maintenance::repair))
        .routes(routes!(maintenance::gc))
        .routes(routes!(stats::stats))
        .routes(routes!(stats::metrics))
        .routes(routes!(mount::attach))
        .routes(routes!(mount::detach))
        .routes(routes!(mount::inos))
        .routes(routes!(mount::trees))
        .routes(routes!(mount::blobs))
        .routes(routes!(mount::chunks))
        .routes(routes!(mount::begin))
        .routes(routes!(mount::commit))
        .routes(routes!(control::connect))
}

/// Contents of documents.
fn contents() -> OpenApiRouter<ServerState> {
    OpenApiRouter::default().routes(routes!(documents::content, documents::put, documents::delete))
}

/// Events on their way in, and out.
fn events() -> OpenApiRouter<ServerState> {
    OpenApiRouter::default().routes(routes!(sessions::events, sessions::append))
}

/// Content on its way in.
fn batches() -> OpenApiRouter<ServerState> {
    OpenApiRouter::default().routes(routes!(mount::put_chunks))
}

/// Whole files on their way in.
fn file_contents() -> OpenApiRouter<ServerState> {
    OpenApiRouter::default().routes(routes!(files::content, files::write))
}

/// Change sets on their way in.
fn changes() -> OpenApiRouter<ServerState> {
    OpenApiRouter::default().routes(routes!(mount::put_changes))
}
