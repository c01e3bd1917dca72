//! A fake engine: the session routes of decision 0013 in memory, with points before and after each change.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use api::wire::name::Time;
use api::wire::session::{
    AppendEvents, CreateSession, EndTurn, EpochQuery, Event, Events, EventsQuery, Session, SessionLease, TakeLease,
    Turn,
};
use api::wire::workspace::{Checkpoint, Checkpointed, Workspace};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use vfs_core::Kind;
use vfs_core::id::{SnapshotId, WorkspaceId};

use super::Points;

const NEVER: Time = Time { seconds: 0, nanos: 0 };

/// How long a lease lives here.
pub(super) const LEASE_TTL: Duration = Duration::from_millis(150);

pub(crate) struct Engine {
    points: Arc<Points>,
    inner: Mutex<Inner>,
    /// Answers 503 to everything.
    pub(super) away: AtomicBool,
    /// Barriers that were asked for.
    pub(super) barriers: AtomicU64,
    /// Barriers that fail before one goes well.
    pub(super) broken_barriers: AtomicU64,
}

#[derive(Default)]
struct Inner {
    session: Option<Session>,
    seen: Option<Instant>,
    events: Vec<Event>,
    snapshots: Vec<SnapshotId>,
    written: bool,
    turns: HashMap<u64, Turn>,
    deleted: bool,
}

type Answer<T> = Result<Json<T>, Refusal>;

struct Refusal(Kind, &'static str);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.0 {
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Invalid => StatusCode::BAD_REQUEST,
            _ => StatusCode::CONFLICT,
        };
        (status, Json(json!({ "error": { "kind": self.0.as_str(), "message": self.1 } }))).into_response()
    }
}

impl Engine {
    pub(super) fn new(points: Arc<Points>) -> Engine {
        let inner = Inner { snapshots: vec![snapshot(0)], ..Inner::default() };
        Engine {
            points,
            inner: Mutex::new(inner),
            away: AtomicBool::new(false),
            barriers: AtomicU64::new(0),
            broken_barriers: AtomicU64::new(0),
        }
    }

    /// As new.
    pub(super) fn reset(&self) {
        *self.inner.lock().unwrap() = Inner { snapshots: vec![snapshot(0)], ..Inner::default() };
    }

    /// A snapshot is thinned out of the history.
    pub(super) fn forget_snapshots(&self) {
        let mut inner = self.inner.lock().unwrap();
        inner.snapshots = vec![snapshot(99)];
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.inner.lock().unwrap().events.clone()
    }

    pub(super) fn has_session(&self) -> bool {
        self.inner.lock().unwrap().session.is_some()
    }

    pub(super) fn session_id(&self) -> String {
        self.inner.lock().unwrap().session.as_ref().unwrap().id.clone()
    }

    pub(super) fn snapshots(&self) -> Vec<SnapshotId> {
        self.inner.lock().unwrap().snapshots.clone()
    }

    /// The workspace was written to.
    pub(super) fn write(&self) {
        self.inner.lock().unwrap().written = true;
    }

    pub(super) fn delete_workspace(&self) {
        self.inner.lock().unwrap().deleted = true;
    }

    /// Somebody else takes the session although its owner lives.
    pub(super) fn steal(&self) {
        let mut inner = self.inner.lock().unwrap();
        let lease = inner.session.as_mut().unwrap().lease.as_mut().unwrap();
        lease.epoch += 1;
    }

    /// Whether a call's result is in the log.
    pub(super) fn has_finished(&self, call: &str) -> bool {
        self.events().iter().any(|event| event.key == format!("finished:{call}"))
    }
}

impl Inner {
    fn check(&mut self, epoch: u64) -> Result<(), Refusal> {
        let lease = self.session.as_ref().and_then(|session| session.lease.as_ref());
        if lease.is_none_or(|lease| lease.epoch != epoch) {
            return Err(Refusal(Kind::LeaseLost, "the lease has gone"));
        }
        self.seen = Some(Instant::now());
        Ok(())
    }

    fn push(&mut self, mut event: Event) -> Result<Event, Refusal> {
        if let Some(there) = self.events.iter().find(|there| there.key == event.key) {
            return match there.data == event.data && there.kind == event.kind {
                true => Ok(there.clone()),
                false => Err(Refusal(Kind::Conflict, "the key is there with another body")),
            };
        }
        event.sequence = self.events.len() as u64 + 1;
        self.events.push(event.clone());
        Ok(event)
    }
}

pub(super) fn snapshot(number: u8) -> SnapshotId {
    SnapshotId::from_bytes([number; 32])
}

/// Its routes.
pub(super) fn router(engine: Arc<Engine>) -> Router {
    let changes = Router::new()
        .route("/v1/sessions", post(create))
        .route("/v1/sessions/{id}/lease", post(take).put(renew).delete(release))
        .route("/v1/sessions/{id}/events", post(append))
        .route("/v1/sessions/{id}/turns/{turn}/end", post(end_turn))
        .route("/v1/workspaces/{name}/checkpoint", post(checkpoint))
        .layer(axum::middleware::from_fn_with_state(engine.clone(), points));
    let reads = Router::new()
        .route("/v1/sessions/{id}", get(session))
        .route("/v1/sessions/{id}/events", get(events))
        .route("/v1/workspaces/{name}", get(workspace));
    let away = axum::middleware::from_fn_with_state(engine.clone(), version);
    changes.merge(reads).layer(away).with_state(engine)
}

/// The driver may die before the change and after it. Renewals come at any time, so they are no points.
async fn points(State(engine): State<Arc<Engine>>, request: Request, next: Next) -> Response {
    if matches!(request.method().as_str(), "PUT" | "GET") {
        return next.run(request).await;
    }
    engine.points.pass().await;
    let response = next.run(request).await;
    engine.points.pass().await;
    response
}

async fn version(State(engine): State<Arc<Engine>>, request: Request, next: Next) -> Response {
    let mut response = match engine.away.load(Ordering::SeqCst) {
        true => Refusal(Kind::Unavailable, "away").into_response(),
        false => next.run(request).await,
    };
    response.headers_mut().insert(api::VERSION_HEADER, api::VERSION.parse().unwrap());
    response
}

async fn create(State(engine): State<Arc<Engine>>, Json(request): Json<CreateSession>) -> Answer<Session> {
    let mut inner = engine.inner.lock().unwrap();
    if inner.deleted {
        return Err(Refusal(Kind::NotFound, "no such workspace"));
    }
    let session = Session {
        id: "00112233445566aa".into(),
        workspace: WorkspaceId::from_bytes([7; 16]),
        workspace_name: request.workspace,
        agent: request.agent,
        user: request.user,
        title: request.title,
        state: "open".into(),
        created: NEVER,
        last_event: 0,
        turns: 0,
        lease: None,
    };
    inner.session = Some(session.clone());
    Ok(Json(session))
}

async fn session(State(engine): State<Arc<Engine>>) -> Answer<Session> {
    let inner = engine.inner.lock().unwrap();
    inner.session.clone().map(Json).ok_or(Refusal(Kind::NotFound, "no such session"))
}

async fn take(State(engine): State<Arc<Engine>>, Json(request): Json<TakeLease>) -> Answer<SessionLease> {
    let mut inner = engine.inner.lock().unwrap();
    let lives = inner.seen.is_some_and(|seen| seen.elapsed() < LEASE_TTL);
    let session = inner.session.as_mut().unwrap();
    let before = session.lease.as_ref().map(|lease| lease.epoch);
    if lives && before.is_some() && before != request.dead_epoch {
        return Err(Refusal(Kind::Busy, "somebody has it"));
    }
    let epoch = session.turns + 1;
    // The fake keeps the newest epoch in a field that it has no other use for.
    session.turns = epoch;
    let lease = SessionLease { epoch, owner: request.owner, last_seen: NEVER };
    session.lease = Some(lease.clone());
    inner.seen = Some(Instant::now());
    Ok(Json(lease))
}

async fn renew(State(engine): State<Arc<Engine>>, Json(query): Json<EpochQuery>) -> Answer<()> {
    engine.inner.lock().unwrap().check(query.epoch).map(Json)
}

async fn release(State(engine): State<Arc<Engine>>, Query(query): Query<EpochQuery>) -> Answer<()> {
    let mut inner = engine.inner.lock().unwrap();
    inner.check(query.epoch)?;
    inner.session.as_mut().unwrap().lease = None;
    Ok(Json(()))
}

async fn append(State(engine): State<Arc<Engine>>, Json(request): Json<AppendEvents>) -> Answer<Events> {
    let mut inner = engine.inner.lock().unwrap();
    inner.check(request.epoch)?;
    let mut events = Vec::new();
    for new in request.events {
        let event = Event {
            sequence: 0,
            key: new.key,
            kind: new.kind,
            turn: new.turn,
            tool_call: new.tool_call,
            time: NEVER,
            epoch: request.epoch,
            data: new.data,
        };
        events.push(inner.push(event)?);
    }
    Ok(Json(Events { events, more: false }))
}

async fn events(State(engine): State<Arc<Engine>>, Query(query): Query<EventsQuery>) -> Answer<Events> {
    let inner = engine.inner.lock().unwrap();
    let limit = query.limit.unwrap_or(1000) as usize;
    let rest = inner.events.iter().filter(|event| event.sequence > query.after);
    let events: Vec<Event> = rest.clone().take(limit).cloned().collect();
    let more = rest.count() > events.len();
    Ok(Json(Events { events, more }))
}

async fn end_turn(
    State(engine): State<Arc<Engine>>,
    Path((_, number)): Path<(String, u64)>,
    Json(request): Json<EndTurn>,
) -> Answer<Turn> {
    let mut inner = engine.inner.lock().unwrap();
    inner.check(request.epoch)?;
    if !inner.snapshots.contains(&request.snapshot) {
        return Err(Refusal(Kind::NotFound, "the snapshot is not in the history"));
    }
    let data: Value = json!({ "snapshot": request.snapshot, "documents": [] });
    inner.push(Event {
        sequence: 0,
        key: format!("end:{number}"),
        kind: "turn.ended".into(),
        turn: number,
        tool_call: String::new(),
        time: NEVER,
        epoch: request.epoch,
        data,
    })?;
    let turn = Turn { number, snapshot: request.snapshot, before: snapshot(0), documents: Vec::new(), time: NEVER };
    inner.turns.insert(number, turn.clone());
    Ok(Json(turn))
}

async fn workspace(State(engine): State<Arc<Engine>>) -> Answer<Workspace> {
    let inner = engine.inner.lock().unwrap();
    if inner.deleted {
        return Err(Refusal(Kind::NotFound, "no such workspace"));
    }
    Ok(Json(Workspace {
        id: WorkspaceId::from_bytes([7; 16]),
        name: "w".into(),
        source: None,
        head: *inner.snapshots.last().unwrap(),
        created: NEVER,
        holder: None,
    }))
}

async fn checkpoint(State(engine): State<Arc<Engine>>, Json(request): Json<Checkpoint>) -> Answer<Checkpointed> {
    engine.barriers.fetch_add(1, Ordering::SeqCst);
    let broken = engine.broken_barriers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if broken.is_ok() {
        return Err(Refusal(Kind::Unavailable, "the mount is away"));
    }
    let mut inner = engine.inner.lock().unwrap();
    if inner.deleted {
        return Err(Refusal(Kind::NotFound, "no such workspace"));
    }
    let head = *inner.snapshots.last().unwrap();
    let is_new = inner.written || request.unless != Some(head);
    let snapshot = match is_new {
        true => snapshot(inner.snapshots.len() as u8),
        false => head,
    };
    if is_new {
        inner.snapshots.push(snapshot);
        inner.written = false;
    }
    Ok(Json(Checkpointed { snapshot, attached: true }))
}
