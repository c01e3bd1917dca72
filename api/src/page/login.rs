//! From a link to a visit: the link shows a button, the button uses the code up, a cookie stands for the visit.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Request, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;
use vfs_core::{Error, Kind};

use super::asked::Asked;
use super::frame::{self, Failure, PageResult};
use super::{Page, links};
use crate::limits::VISIT_LIFE;

/// The form of the button.
#[derive(Deserialize)]
pub(super) struct Enter {
    code: String,
}

/// What a link opens: a button. Looking at it uses nothing up, so a preview of the link takes nothing away.
pub(super) async fn ask(Asked(mut query): Asked) -> PageResult {
    let code = query.take_text("code")?.unwrap_or_default();
    query.finish()?;
    if code.is_empty() {
        return Ok(please_log_in());
    }
    if !code.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(not_good());
    }
    let body = html! {
        div.narrow {
            h1 { "Esker" }
            p { "This link opens the admin page of this machine’s engine, once, in this browser." }
            form method="post" action=(links::LOGIN) {
                input type="hidden" name="code" value=(code);
                button.main type="submit" autofocus { "Open the page" }
            }
        }
    };
    Ok(frame::bare("Log in", StatusCode::OK, body))
}

/// Uses the code up.
pub(super) async fn enter(State(page): State<Page>, form: Result<Form<Enter>, FormRejection>) -> PageResult {
    let Ok(Form(form)) = form else { return Err(not_good()) };
    let Some(secret) = page.0.state.door().enter(&form.code)? else { return Err(not_good()) };
    page.0.state.keep_for_readers();
    let life = VISIT_LIFE.as_secs();
    let cookie = format!("{}={secret}; HttpOnly; SameSite=Strict; Path=/; Max-Age={life}", cookie_name(&page));
    Ok(([(SET_COOKIE, cookie)], Redirect::to(links::HOME)).into_response())
}

/// Ends the visit.
pub(super) async fn logout(State(page): State<Page>, headers: HeaderMap) -> Response {
    if let Some(secret) = secret(&page, &headers) {
        page.0.state.door().leave(secret);
    }
    let cookie = format!("{}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0", cookie_name(&page));
    ([(SET_COOKIE, cookie)], Redirect::to(links::LOGIN)).into_response()
}

/// Lets visits through; everybody else is told how to come in.
pub(super) async fn require(State(page): State<Page>, request: Request, next: Next) -> Response {
    let visiting = secret(&page, request.headers()).is_some_and(|secret| page.0.state.door().is_visiting(secret));
    if !visiting {
        return please_log_in();
    }
    page.0.state.keep_for_readers();
    next.run(request).await
}

fn please_log_in() -> Response {
    let body = html! {
        div.narrow {
            h1 { "Esker" }
            p { "Run " code { "esker admin" } " in a terminal and open the link that it prints." }
        }
    };
    frame::bare("Log in", StatusCode::UNAUTHORIZED, body)
}

fn not_good() -> Failure {
    Error::new(Kind::Denied, "this link is not good: it was used, or is too old; run `esker admin` for another one")
        .into()
}

/// Cookies know no ports, so engines on one machine must not share a name.
fn cookie_name(page: &Page) -> String {
    format!("esker_{}", page.0.address.port())
}

/// The secret that a request's cookie holds.
fn secret<'h>(page: &Page, headers: &'h HeaderMap) -> Option<&'h str> {
    let name = cookie_name(page);
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, secret)| secret)
}
