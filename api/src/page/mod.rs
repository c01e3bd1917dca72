//! The admin page (decision 0015): what the engine knows, for a person with a browser.
//!
//! | file | what |
//! |---|---|
//! | `door` | links that are good once, visits, the port |
//! | `guard` | what holds for every request and every answer |
//! | `login` | a link becomes a visit |
//! | `asked` | what a URL asks for |
//! | `frame` | what all pages look like, errors too |
//! | `text` | bytes that somebody wrote, as text that does nothing |
//! | `links` | the page's own URLs |
//! | `patch` | two texts side by side, within bounds |
//! | `workspaces` `tree` `changes` `sessions` `events` `documents` | the pages |
//!
//! Keeps true: read-only; no script anywhere; everything but our own words goes through `text` or the template
//! engine's escaping, and attributes hold our own words and URLs only. A client of the API like everybody else: it
//! reaches the engine through [`Client`] and nothing else.

mod asked;
mod changes;
mod documents;
mod door;
mod events;
mod frame;
mod guard;
mod links;
mod login;
mod patch;
mod sessions;
mod text;
mod tree;
mod workspaces;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::response::Redirect;
use axum::routing::{any, get, post};
use vfs_core::Result;

pub(crate) use door::Door;

use crate::client::Client;
use crate::limits::FORM_MAX;
use crate::server::ServerState;

/// What the handlers share. Clones are the same page.
#[derive(Clone)]
struct Page(Arc<Shared>);

struct Shared {
    client: Client,
    state: ServerState,
    /// Where it listens.
    address: SocketAddr,
}

/// The page of this engine, beside its API, as it listens at `address`.
pub(crate) fn router(state: &ServerState, address: SocketAddr) -> Result<Router> {
    let page = Page::new(state, address)?;
    Ok(guarded(routes(&page), page))
}

/// The page on a port that has nothing else.
pub(crate) fn router_alone(state: &ServerState, address: SocketAddr) -> Result<Router> {
    let page = Page::new(state, address)?;
    let front = get(|| async { Redirect::to(links::HOME) });
    Ok(guarded(routes(&page).route("/", front).fallback(frame::not_found), page))
}

/// The URL that opens the page with a code.
pub(crate) fn login_url(address: SocketAddr, code: &str) -> String {
    format!("http://{address}{}?code={code}", links::LOGIN)
}

impl Page {
    fn new(state: &ServerState, address: SocketAddr) -> Result<Page> {
        let client = Client::in_process(crate::server::router(state.clone()))?;
        Ok(Page(Arc::new(Shared { client, state: state.clone(), address })))
    }
}

fn routes(page: &Page) -> Router<Page> {
    let visited = Router::new()
        .route(links::HOME, get(workspaces::all))
        .route("/admin/logout", post(login::logout))
        .route("/admin/workspaces/{workspace}", get(workspaces::one))
        .route("/admin/workspaces/{workspace}/at/{snapshot}", get(tree::look))
        .route("/admin/workspaces/{workspace}/at/{snapshot}/download", get(tree::download))
        .route("/admin/workspaces/{workspace}/diff", get(changes::all))
        .route("/admin/workspaces/{workspace}/diff/file", get(changes::one))
        .route(links::SESSIONS, get(sessions::all))
        .route("/admin/sessions/{session}", get(sessions::one))
        .route("/admin/sessions/{session}/events/{sequence}", get(sessions::event))
        .route(links::DOCUMENTS, get(documents::all))
        .route("/admin/documents/versions", get(documents::versions))
        .route("/admin/documents/version", get(documents::version))
        .route("/admin/documents/download", get(documents::download))
        .route("/admin/documents/diff", get(documents::diff))
        .route("/admin/{*rest}", any(frame::not_found))
        .layer(from_fn_with_state(page.clone(), login::require));
    let open = Router::new()
        .route(links::LOGIN, get(login::ask).post(login::enter))
        .route(links::STYLE, get(frame::style))
        .route(links::ICON, get(frame::icon));
    visited.merge(open)
}

/// Puts what holds for every request and answer around the pages.
fn guarded(routes: Router<Page>, page: Page) -> Router {
    routes
        .method_not_allowed_fallback(frame::wrong_method)
        .layer(DefaultBodyLimit::max(FORM_MAX))
        .layer(from_fn_with_state(page.clone(), guard::guard))
        .with_state(page)
}
