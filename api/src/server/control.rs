//! The control connections of live holders (decision 0008).
//!
//! Keeps true: a workspace has at most one connection here, that of the newest epoch; while it is open, the holder's
//! lease is alive; when it is lost, everybody who waits for an answer gets `Unavailable` at once.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use vfs_core::base::{Lease, PublishNote};
use vfs_core::files;
use vfs_core::id::{SnapshotId, WorkspaceId};
use vfs_core::workspace::Status;
use vfs_core::{Error, Kind, Result};

use super::ServerState;
use super::activity::Using;
use super::error::{ApiResult, Path, Query, log};
use crate::limits::{
    BARRIER_DEADLINE, CONTROL_MESSAGE_MAX, CONTROL_PENDING_MAX, CONTROL_PING, CONTROL_SILENCE_MAX, FILES_DEADLINE,
    LEASE_RENEWAL, RELEASE_DEADLINE, STATUS_DEADLINE, SWAP_DEADLINE,
};
use crate::wire::mount::LeaseQuery;
use crate::wire::{ControlAnswer, ControlCall, ControlRequest, Outcome};

type Waiting = oneshot::Sender<Result<Value>>;

/// The holders whose control connection is open.
#[derive(Debug, Default)]
pub struct Holders(Mutex<HashMap<WorkspaceId, Holder>>);

/// A holder that can be asked.
#[derive(Debug, Clone)]
pub struct Holder {
    lease: Lease,
    calls: mpsc::Sender<(ControlCall, Waiting)>,
}

impl Holders {
    /// The live holder of a workspace.
    pub fn get(&self, workspace: WorkspaceId) -> Option<Holder> {
        self.0.lock().get(&workspace).cloned()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a connection in; one of the same or an older epoch is dropped, which ends it.
    fn enter(&self, holder: Holder) -> Result<()> {
        let mut holders = self.0.lock();
        match holders.get(&holder.lease.workspace) {
            Some(other) if other.lease.epoch > holder.lease.epoch => {
                Err(Error::new(Kind::LeaseLost, "the lease has gone to another holder"))
            }
            _ => {
                holders.insert(holder.lease.workspace, holder);
                Ok(())
            }
        }
    }

    /// Takes this very connection out; whether it was still the one.
    fn leave(&self, holder: &Holder) -> bool {
        let mut holders = self.0.lock();
        let same = |other: &Holder| other.calls.same_channel(&holder.calls);
        let is_current = holders.get(&holder.lease.workspace).is_some_and(same);
        if is_current {
            holders.remove(&holder.lease.workspace);
        }
        is_current
    }
}

impl Holder {
    /// The lease of this holder.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Everything written before this call is published; returns the snapshot.
    pub async fn barrier(&self, note: PublishNote) -> Result<SnapshotId> {
        self.call(ControlCall::Barrier { note: note.into(), freeze: false }, BARRIER_DEADLINE).await
    }

    /// Like [`Holder::barrier`], and nothing is written after it until [`Holder::swap_base`] or [`Holder::thaw`].
    pub async fn barrier_and_freeze(&self, note: PublishNote) -> Result<SnapshotId> {
        self.call(ControlCall::Barrier { note: note.into(), freeze: true }, BARRIER_DEADLINE).await
    }

    /// Changes go through again.
    pub async fn thaw(&self) -> Result<()> {
        self.call(ControlCall::Thaw, STATUS_DEADLINE).await
    }

    /// What the holder has in its overlay and caches.
    pub async fn status(&self) -> Result<Status> {
        self.call(ControlCall::Status, STATUS_DEADLINE).await
    }

    /// The holder shows another snapshot from now on.
    pub async fn swap_base(&self, snapshot: SnapshotId) -> Result<()> {
        self.call(ControlCall::SwapBase { snapshot }, SWAP_DEADLINE).await
    }

    /// Does something with the files that the holder shows; a change is level *local* and known to the kernel then.
    pub async fn files(&self, request: files::Request) -> Result<files::Answer> {
        self.call(ControlCall::Files { request }, FILES_DEADLINE).await
    }

    /// The holder publishes, unmounts and gives its lease back.
    pub async fn release(&self) -> Result<()> {
        self.call(ControlCall::Release, RELEASE_DEADLINE).await
    }

    async fn call<T: DeserializeOwned>(&self, call: ControlCall, deadline: Duration) -> Result<T> {
        let method = call.method();
        let away =
            || Error::new(Kind::Unavailable, format!("the mount went away before it answered to {method}; try again"));
        let (answer, waiting) = oneshot::channel();
        let ask = async {
            self.calls.send((call, answer)).await.map_err(|_| away())?;
            waiting.await.map_err(|_| away())?
        };
        let value = timeout(deadline, ask).await.map_err(|_| {
            let context = format!("the mount has not answered to {method} within {} s", deadline.as_secs());
            Error::new(Kind::Unavailable, context)
        })??;
        serde_json::from_value(value).map_err(|error| {
            Error::new(Kind::Internal, format!("the mount's answer to {method} makes no sense")).because(error)
        })
    }
}

/// Opens the control connection of a holder.
///
/// The engine sends `{"id","method","params"}`, the holder answers `{"id","ok"}` or `{"id","error"}`.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace}/control", tag = "mount",
    params(("workspace" = String, Path, description = "The workspace's id"), LeaseQuery),
    responses(
        (status = SWITCHING_PROTOCOLS, description = "A WebSocket"),
        (status = CONFLICT, description = "The lease has gone to another holder", body = crate::wire::ErrorBody),
    ),
)]
pub(super) async fn connect(
    State(state): State<ServerState>,
    Path(workspace): Path<String>,
    Query(lease): Query<LeaseQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> ApiResult<Response> {
    let lease = lease.lease(crate::wire::mount::workspace_id(&workspace)?);
    state.repo().touch(&lease).await?;
    let upgrade = upgrade?.max_message_size(CONTROL_MESSAGE_MAX).max_frame_size(CONTROL_MESSAGE_MAX);
    Ok(upgrade.on_upgrade(move |socket| hold(state, lease, socket)))
}

/// Keeps a holder's connection until it ends, one way or the other.
async fn hold(state: ServerState, lease: Lease, socket: WebSocket) {
    let (calls, asked) = mpsc::channel(CONTROL_PENDING_MAX);
    let holder = Holder { lease, calls };
    let _in_use = state.activity().begin(Using::Holder);
    if let Err(error) = state.holders().enter(holder.clone()) {
        return close(socket, &error).await;
    }
    state.repo().set_connected(&lease, true);
    tracing::info!(workspace = %lease.workspace, epoch = lease.epoch, "holder connected");
    // The registry's sender is the only one that stays: when a newer connection replaces it, `asked` ends.
    let registered = holder.calls.downgrade();
    drop(holder);
    let mut connection = Connection { state: &state, lease, socket, asked, pending: HashMap::new(), next_id: 1 };
    let end = connection.run().await;
    let was_current = registered.upgrade().is_some_and(|calls| state.holders().leave(&Holder { lease, calls }));
    if was_current {
        state.repo().set_connected(&lease, false);
    }
    tracing::info!(workspace = %lease.workspace, epoch = lease.epoch, reason = end.context(), "holder disconnected");
    close(connection.socket, &end).await;
}

/// Says why and closes.
async fn close(mut socket: WebSocket, why: &Error) {
    let code = if why.kind() == Kind::LeaseLost { 4009 } else { 1001 };
    let reason: String = why.kind().as_str().into();
    // The other side may be gone, and then there is nobody to tell.
    let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
}

struct Connection<'a> {
    state: &'a ServerState,
    lease: Lease,
    socket: WebSocket,
    asked: mpsc::Receiver<(ControlCall, Waiting)>,
    pending: HashMap<u64, Waiting>,
    next_id: u64,
}

impl Connection<'_> {
    /// Carries requests and answers; returns why it ended.
    async fn run(&mut self) -> Error {
        let mut ping = interval(CONTROL_PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renewal = interval(LEASE_RENEWAL);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            let step = tokio::select! {
                call = self.asked.recv() => match call {
                    Some((call, waiting)) => self.ask(call, waiting).await,
                    None => Err(Error::new(Kind::LeaseLost, "a newer connection took its place")),
                },
                message = self.socket.recv() => {
                    heard = Instant::now();
                    self.hear(message)
                }
                _ = ping.tick() => self.ping(heard).await,
                _ = renewal.tick() => self.state.repo().touch(&self.lease).await.or_else(only_lost),
                () = self.state.stopped() => Err(Error::new(Kind::Unavailable, "the engine stops")),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn ask(&mut self, call: ControlCall, waiting: Waiting) -> Result<()> {
        if self.pending.len() >= CONTROL_PENDING_MAX {
            let busy = Error::new(Kind::Unavailable, "the mount has too many requests under way; try again later");
            // Whoever asked may have stopped waiting.
            let _ = waiting.send(Err(busy));
            return Ok(());
        }
        let request = ControlRequest { id: self.next_id, call };
        let text = serde_json::to_string(&request)
            .map_err(|error| Error::new(Kind::Internal, "a control request cannot be written").because(error))?;
        self.pending.insert(request.id, waiting);
        self.next_id += 1;
        self.send(Message::Text(text.into())).await
    }

    fn hear(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<()> {
        match message {
            Some(Ok(Message::Text(text))) => self.answer(text.as_str()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Binary(_))) => Err(Error::new(Kind::Invalid, "the holder sent bytes instead of text")),
            Some(Ok(Message::Close(_))) | None => {
                Err(Error::new(Kind::Unavailable, "the holder closed the connection"))
            }
            Some(Err(error)) => Err(Error::new(Kind::Unavailable, "the connection broke").because(error)),
        }
    }

    fn answer(&mut self, text: &str) -> Result<()> {
        let answer: ControlAnswer = serde_json::from_str(text)
            .map_err(|error| Error::new(Kind::Invalid, "the holder's answer makes no sense").because(error))?;
        if answer.id >= self.next_id {
            return Err(Error::new(Kind::Invalid, "the holder answered what nobody asked"));
        }
        // An answer that came too late has nobody waiting any more.
        let Some(waiting) = self.pending.remove(&answer.id) else { return Ok(()) };
        let result = match answer.outcome {
            Outcome::Ok(value) => Ok(value),
            Outcome::Error(detail) => Err(detail.into()),
        };
        // Whoever asked may have stopped waiting.
        let _ = waiting.send(result);
        Ok(())
    }

    async fn ping(&mut self, heard: Instant) -> Result<()> {
        if heard.elapsed() > CONTROL_SILENCE_MAX {
            return Err(Error::new(Kind::Unavailable, "the holder is silent"));
        }
        self.pending.retain(|_, waiting| !waiting.is_closed());
        self.send(Message::Ping(bytes::Bytes::new())).await
    }

    async fn send(&mut self, message: Message) -> Result<()> {
        let sent = timeout(CONTROL_SILENCE_MAX, self.socket.send(message)).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Error::new(Kind::Unavailable, "the connection broke").because(error)),
            Err(_) => Err(Error::new(Kind::Unavailable, "the holder takes nothing in")),
        }
    }
}

/// A renewal that fails for another reason than a lost lease is tried again; the connection itself shows life.
fn only_lost(error: Error) -> Result<()> {
    log(&error);
    if matches!(error.kind(), Kind::LeaseLost | Kind::NotFound) { Err(error) } else { Ok(()) }
}
