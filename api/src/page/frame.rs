//! What all pages look like: head, navigation, the way back, errors.

use axum::body::Body;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::Stream;
use maud::{DOCTYPE, Markup, html};
use vfs_core::{Error, Kind};

use super::links;
use super::text::{shown, visible};
use crate::wire::error::status;
use crate::wire::name::to_segment_bytes;

/// A page or why there is none.
pub(super) type PageResult = Result<Response, Failure>;

/// An error as a page.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    error: Error,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = StatusCode::from_u16(status(error.kind())).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Failure { status, error }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = html! {
            div.narrow {
                h1 { (self.status.canonical_reason().unwrap_or("Error")) }
                p.error { (shown(self.error.context())) }
                p { a href=(links::HOME) { "To the workspaces" } }
            }
        };
        bare("Error", self.status, body)
    }
}

/// One step of the way back to the start.
pub(super) struct Step {
    text: Markup,
    to: Option<String>,
}

/// A step that leads somewhere.
pub(super) fn step(text: Markup, to: String) -> Step {
    Step { text, to: Some(to) }
}

/// The last step: here.
pub(super) fn here(text: Markup) -> Step {
    Step { text, to: None }
}

/// Which part of the page one is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Workspaces,
    Sessions,
    Documents,
}

const PARTS: [(Part, &str, &str); 3] = [
    (Part::Workspaces, "Workspaces", links::HOME),
    (Part::Sessions, "Sessions", links::SESSIONS),
    (Part::Documents, "Documents", links::DOCUMENTS),
];

/// A page.
pub(super) fn page(part: Part, title: &str, way: &[Step], body: Markup) -> Response {
    let whole = html! {
        header.top {
            a.brand href=(links::HOME) { "Esker" }
            nav {
                @for (each, name, to) in PARTS {
                    @if each == part { a.current aria-current="page" href=(to) { (name) } }
                    @else { a href=(to) { (name) } }
                }
            }
            form method="post" action="/admin/logout" { button type="submit" { "Log out" } }
        }
        main {
            @if !way.is_empty() {
                p.way {
                    @for (index, step) in way.iter().enumerate() {
                        @if index > 0 { span.slash { " / " } }
                        @match &step.to {
                            Some(to) => a href=(to) { (step.text) },
                            None => span { (step.text) },
                        }
                    }
                }
            }
            (body)
        }
    };
    document(title, StatusCode::OK, whole)
}

/// A page without navigation, for those who have not come in.
pub(super) fn bare(title: &str, status: StatusCode, body: Markup) -> Response {
    document(title, status, html! { main { (body) } })
}

fn document(title: &str, status: StatusCode, body: Markup) -> Response {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (visible(title)) " · Esker" }
                link rel="stylesheet" href=(links::STYLE);
                link rel="icon" href=(links::ICON) type="image/svg+xml";
            }
            body { (body) }
        }
    };
    (status, [(CONTENT_TYPE, "text/html; charset=utf-8")], document.into_string()).into_response()
}

/// Bytes that somebody stored, to be saved and never shown.
pub(super) fn attachment(
    name: &[u8],
    content: impl Stream<Item = vfs_core::Result<Bytes>> + Send + 'static,
) -> Response {
    let name = if name.is_empty() { b"content".as_slice() } else { name };
    // Percent-encoded (RFC 8187), so a name can neither end the header nor begin another.
    let disposition = format!("attachment; filename*=UTF-8''{}", to_segment_bytes(name));
    let headers = [(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_DISPOSITION, disposition)];
    (headers, Body::from_stream(content)).into_response()
}

/// The answer where there is no page.
pub(super) async fn not_found(uri: Uri) -> Failure {
    Error::new(Kind::NotFound, format!("there is no page {}", uri.path())).into()
}

/// The answer where a page takes other methods.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Failure {
    let error = Error::new(Kind::Unsupported, format!("{} does not take {method}", uri.path()));
    Failure { status: StatusCode::METHOD_NOT_ALLOWED, error }
}

/// The one stylesheet.
pub(super) async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css")).into_response()
}

/// The one picture.
pub(super) async fn icon() -> Response {
    ([(CONTENT_TYPE, "image/svg+xml")], include_str!("icon.svg")).into_response()
}
