//! Sessions and their turn logs (decision 0013): asked for, led, appended to, and watched as they grow.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use vfs_core::id::{SessionId, WorkspaceId};
use vfs_core::sessions as core;
use vfs_core::{Error, Kind, Result};

use super::ServerState;
use super::error::{ApiResult, JsonBody, Path, Query};
use super::follow;
use crate::limits::{EVENTS_DEFAULT, EVENTS_MAX, SESSIONS_DEFAULT};
use crate::wire::ErrorBody;
use crate::wire::session::{
    AppendEvents, CreateSession, EndTurn, EpochQuery, Event, Events, EventsQuery, Session, SessionLease, Sessions,
    SessionsQuery, TakeLease, Turn, Turns,
};

/// Where a follower that lost its connection says what it had.
const LAST_EVENT_ID: &str = "last-event-id";
const EVENT_STREAM: &str = "text/event-stream";

/// Makes a session on a workspace.
#[utoipa::path(
    post, path = "/v1/sessions", tag = "sessions", request_body = CreateSession,
    responses(
        (status = OK, body = Session),
        (status = NOT_FOUND, description = "There is no such workspace", body = ErrorBody),
    ),
)]
pub(super) async fn create(
    State(state): State<ServerState>,
    JsonBody(request): JsonBody<CreateSession>,
) -> ApiResult<Json<Session>> {
    let CreateSession { workspace, agent, user, title } = request;
    let made = state.repo().create_session(&core::NewSession { workspace, agent, user, title }).await?;
    Ok(Json(made.into()))
}

/// Sessions, newest first.
#[utoipa::path(
    get, path = "/v1/sessions", tag = "sessions", params(SessionsQuery),
    responses((status = OK, body = Sessions), (status = NOT_FOUND, body = ErrorBody)),
)]
pub(super) async fn list(
    State(state): State<ServerState>,
    Query(query): Query<SessionsQuery>,
) -> ApiResult<Json<Sessions>> {
    let limit = within("limit", query.limit, SESSIONS_DEFAULT, vfs_core::limits::SESSIONS_MAX)?;
    let workspace = match &query.workspace {
        None => None,
        Some(name) => Some(workspace_of(&state, name).await?),
    };
    let sessions = state.repo().sessions(workspace, limit).await?;
    Ok(Json(Sessions { sessions: sessions.into_iter().map(Session::from).collect() }))
}

/// A workspace by name or id; by id also one that is gone.
async fn workspace_of(state: &ServerState, name: &str) -> Result<WorkspaceId> {
    match state.repo().workspace(name).await {
        Ok(workspace) => Ok(workspace.id),
        Err(error) if error.kind() == Kind::NotFound => name.parse().map_err(|_| error),
        Err(error) => Err(error),
    }
}

/// One session, by id or its first digits.
#[utoipa::path(
    get, path = "/v1/sessions/{session}", tag = "sessions",
    params(("session" = String, Path, description = "Id, or at least four of its first digits")),
    responses(
        (status = OK, body = Session),
        (status = NOT_FOUND, body = ErrorBody),
        (status = BAD_REQUEST, description = "The digits name several sessions", body = ErrorBody),
    ),
)]
pub(super) async fn get(State(state): State<ServerState>, Path(id): Path<String>) -> ApiResult<Json<Session>> {
    Ok(Json(state.repo().session(&id).await?.into()))
}

/// Takes the lease of a session: who has it may append.
#[utoipa::path(
    post, path = "/v1/sessions/{session}/lease", tag = "sessions", request_body = TakeLease,
    params(("session" = String, Path, description = "Id, or at least four of its first digits")),
    responses(
        (status = OK, body = SessionLease),
        (status = NOT_FOUND, body = ErrorBody),
        (status = LOCKED, description = "Its owner lives, or another session runs on the workspace", body = ErrorBody),
    ),
)]
pub(super) async fn take(
    State(state): State<ServerState>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<TakeLease>,
) -> ApiResult<Json<SessionLease>> {
    let id = find(&state, &id).await?;
    let lease = state.repo().take_session(id, &request.owner, request.dead_epoch).await?;
    Ok(Json(lease.into()))
}

/// Says that the owner lives.
#[utoipa::path(
    put, path = "/v1/sessions/{session}/lease", tag = "sessions", request_body = EpochQuery,
    params(("session" = String, Path, description = "Id, or at least four of its first digits")),
    responses((status = OK), (status = CONFLICT, description = "Somebody else took it", body = ErrorBody)),
)]
pub(super) async fn renew(
    State(state): State<ServerState>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<EpochQuery>,
) -> ApiResult<()> {
    let id = find(&state, &id).await?;
    Ok(state.repo().renew_session(id, request.epoch).await?)
}

/// Gives the lease back. May be repeated.
#[utoipa::path(
    delete, path = "/v1/sessions/{session}/lease", tag = "sessions",
    params(("session" = String, Path, description = "Id, or at least four of its first digits"), EpochQuery),
    responses((status = OK), (status = NOT_FOUND, body = ErrorBody)),
)]
pub(super) async fn release(
    State(state): State<ServerState>,
    Path(id): Path<String>,
    Query(query): Query<EpochQuery>,
) -> ApiResult<()> {
    let id = find(&state, &id).await?;
    Ok(state.repo().release_session(id, query.epoch).await?)
}

/// Appends events, all or none; they are durable once this is answered. May be repeated.
#[utoipa::path(
    post, path = "/v1/sessions/{session}/events", tag = "sessions", request_body = AppendEvents,
    params(("session" = String, Path, description = "Id, or at least four of its first digits")),
    responses(
        (status = OK, description = "The events as they are in the log, in the order of the request", body = Events),
        (status = CONFLICT, description = "Somebody else has the lease, or a key is taken", body = ErrorBody),
        (status = PAYLOAD_TOO_LARGE, body = ErrorBody),
    ),
)]
pub(super) async fn append(
    State(state): State<ServerState>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<AppendEvents>,
) -> ApiResult<Json<Events>> {
    let id = find(&state, &id).await?;
    let events: Vec<core::NewEvent> = request.events.into_iter().map(Into::into).collect();
    let appended = state.repo().append_events(id, request.epoch, &events).await?;
    Ok(Json(Events { events: to_events(appended)?, more: false }))
}

/// A page of the turn log; with `Accept: text/event-stream` the log from there on as it grows, until the session ends.
///
/// Of the stream, each event's `id` is its sequence, and `Last-Event-ID` goes on behind it. An event named `error` holds
/// why the stream ends early.
#[utoipa::path(
    get, path = "/v1/sessions/{session}/events", tag = "sessions",
    params(
        ("session" = String, Path, description = "Id, or at least four of its first digits"),
        EventsQuery,
        ("Accept" = Option<String>, Header, description = "`text/event-stream` to follow the log"),
        ("Last-Event-ID" = Option<String>, Header, description = "Stands for `after` in a stream that goes on"),
    ),
    responses(
        (status = OK, content((Events = "application/json"), (String = "text/event-stream"))),
        (status = NOT_FOUND, body = ErrorBody),
    ),
)]
pub(super) async fn events(
    State(state): State<ServerState>,
    Path(id): Path<String>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    if accepts_stream(&headers) {
        // The last moment at which what is wrong has a status.
        let id = state.repo().session(&id).await?.id;
        let after = last_event_id(&headers)?.unwrap_or(query.after);
        return Ok(follow::stream(state, id, after).into_response());
    }
    let id = find(&state, &id).await?;
    let limit = within("limit", query.limit, EVENTS_DEFAULT, EVENTS_MAX)?;
    let page = state.repo().events(id, query.after, limit).await?;
    Ok(Json(Events { events: to_events(page.events)?, more: page.more }).into_response())
}

/// Ends a turn: one transaction for its record and its event. May be repeated.
#[utoipa::path(
    post, path = "/v1/sessions/{session}/turns/{turn}/end", tag = "sessions", request_body = EndTurn,
    params(
        ("session" = String, Path, description = "Id, or at least four of its first digits"),
        ("turn" = u64, Path, description = "The turn's number, from 1"),
    ),
    responses(
        (status = OK, body = Turn),
        (status = NOT_FOUND, description = "The workspace's history does not hold the snapshot", body = ErrorBody),
        (status = CONFLICT, description = "Somebody else has the lease, or it ended elsewhere", body = ErrorBody),
    ),
)]
pub(super) async fn end_turn(
    State(state): State<ServerState>,
    Path((id, number)): Path<(String, u64)>,
    JsonBody(request): JsonBody<EndTurn>,
) -> ApiResult<Json<Turn>> {
    let id = find(&state, &id).await?;
    let end = core::EndTurn { number, snapshot: request.snapshot, data: request.data };
    Ok(Json(state.repo().end_turn(id, request.epoch, &end).await?.into()))
}

/// The turns that have ended, in order.
#[utoipa::path(
    get, path = "/v1/sessions/{session}/turns", tag = "sessions",
    params(("session" = String, Path, description = "Id, or at least four of its first digits")),
    responses((status = OK, body = Turns), (status = NOT_FOUND, body = ErrorBody)),
)]
pub(super) async fn turns(State(state): State<ServerState>, Path(id): Path<String>) -> ApiResult<Json<Turns>> {
    let id = find(&state, &id).await?;
    let turns = state.repo().turns(id).await?;
    Ok(Json(Turns { turns: turns.into_iter().map(Turn::from).collect() }))
}

/// The session that a whole id or a prefix names.
async fn find(state: &ServerState, id: &str) -> Result<SessionId> {
    match id.parse() {
        Ok(id) => Ok(id),
        Err(_) => Ok(state.repo().session(id).await?.id),
    }
}

fn within(name: &str, asked: Option<u32>, usual: u32, most: u32) -> Result<u32> {
    match asked.unwrap_or(usual) {
        limit if (1..=most).contains(&limit) => Ok(limit),
        _ => Err(Error::new(Kind::Invalid, format!("the parameter {name:?} must be a number from 1 to {most}"))),
    }
}

fn accepts_stream(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == EVENT_STREAM))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.map(Some).ok_or_else(|| Error::new(Kind::Invalid, "Last-Event-ID must be the sequence of an event"))
}

fn to_events(events: Vec<core::Event>) -> Result<Vec<Event>> {
    events.into_iter().map(Event::try_from).collect()
}
