//! The mount's end of the control connection (decision 0008): the engine asks, the handler answers.
//!
//! Keeps true: as long as [`run`] runs, a lost connection is opened again with growing pauses, an embedded engine is
//! started again, and a lease that the engine no longer knows is taken again under the same holder. A request that was
//! under way when the connection broke is finished all the same; only its answer is lost.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{SinkExt, StreamExt};
use reqwest::Url;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use vfs_core::base::{Attached, Lease, PublishNote};
use vfs_core::files;
use vfs_core::id::SnapshotId;
use vfs_core::repo::HolderDescription;
use vfs_core::workspace::Status;
use vfs_core::{Error, Kind, Result};

use super::holder::WorkspaceClient;
use super::transport::Endpoint;
use crate::limits::{
    CONNECT_DEADLINE, CONTROL_MESSAGE_MAX, CONTROL_PENDING_MAX, CONTROL_PING, CONTROL_SILENCE_MAX, REQUEST_DEADLINE,
    RETRY_PAUSE_MAX, RETRY_PAUSE_MIN,
};
use crate::wire::error::kind_of_status;
use crate::wire::{ControlAnswer, ControlCall, ControlRequest, ErrorBody, Outcome};
use crate::{ERROR_HEADER, VERSION_HEADER, versions_differ};

/// What a holder does when the engine asks.
#[async_trait]
pub trait ControlHandler: Send + Sync + 'static {
    /// Publishes everything written before this call; returns the snapshot.
    async fn barrier(&self, note: PublishNote) -> Result<SnapshotId>;

    /// Like [`ControlHandler::barrier`], and lets no change through after it, until [`ControlHandler::swap_base`] or
    /// [`ControlHandler::thaw`].
    async fn barrier_and_freeze(&self, note: PublishNote) -> Result<SnapshotId>;

    /// Lets changes through again.
    async fn thaw(&self) -> Result<()>;

    /// What is in the overlay and the caches.
    async fn status(&self) -> Result<Status>;

    /// Shows another snapshot from now on: the one that the workspace's ref points at.
    async fn swap_base(&self, snapshot: SnapshotId) -> Result<()>;

    /// Does something with the workspace's files. A change is on disk, and the kernel knows of it, before the answer.
    async fn files(&self, request: files::Request) -> Result<files::Answer>;

    /// Publishes, unmounts, gives the lease back. After this has succeeded, [`run`] returns.
    async fn release(&self) -> Result<()>;

    /// The lease was lost and taken again: from now on this is the one to publish under. An error ends [`run`].
    async fn on_reattached(&self, attached: Attached) -> Result<()>;
}

/// Why [`run`] has ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The engine asked for a release, and it is done.
    Released,
}

/// How far the holder is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Holding,
    Releasing,
    Released,
}

/// Keeps the control connection of `lease` until the engine releases the holder. Dropping the future ends it as well.
///
/// Errors are final: `Busy` or `LeaseLost` if another holder has the workspace, `NotFound` if it is gone, `Denied` and
/// `Unsupported` if the engine will not talk to us.
pub async fn run(
    client: WorkspaceClient,
    mut lease: Lease,
    who: HolderDescription,
    handler: Arc<dyn ControlHandler>,
) -> Result<End> {
    let phase = Arc::new(watch::Sender::new(Phase::Holding));
    let mut pause = RETRY_PAUSE_MIN;
    loop {
        let error = match connect(&client, &lease).await {
            Ok(socket) => {
                pause = RETRY_PAUSE_MIN;
                let connection = Connection { socket, handler: handler.clone(), phase: phase.clone() };
                connection.run().await
            }
            Err(error) => error,
        };
        // A lease that is being given back must not be taken again, so a release under way is waited for.
        let mut settled = phase.subscribe();
        let released = settled.wait_for(|phase| *phase != Phase::Releasing).await;
        if released.is_ok_and(|phase| *phase == Phase::Released) {
            return Ok(End::Released);
        }
        tracing::info!(workspace = %lease.workspace, "control connection: {}", error.chain());
        let again = match error.kind() {
            Kind::Denied | Kind::Unsupported => Err(error),
            Kind::LeaseLost => match client.attach(lease.holder, &who).await {
                Ok(attached) => {
                    lease = attached.lease;
                    handler.on_reattached(attached).await?;
                    Ok(())
                }
                Err(error) => Err(error),
            },
            Kind::Unavailable => client.client().ensure_engine(Instant::now() + REQUEST_DEADLINE).await,
            _ => Ok(()),
        };
        match again {
            Err(error) if is_final(error.kind()) => return Err(error),
            Err(error) => tracing::warn!("trying again: {}", error.chain()),
            Ok(()) => {}
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_PAUSE_MAX);
    }
}

/// Kinds that no further attempt can change.
fn is_final(kind: Kind) -> bool {
    matches!(kind, Kind::Busy | Kind::LeaseLost | Kind::NotFound | Kind::Denied | Kind::Unsupported | Kind::Invalid)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Socket = WebSocketStream<Box<dyn Stream>>;

/// Opens the connection of a lease.
async fn connect(client: &WorkspaceClient, lease: &Lease) -> Result<Socket> {
    let endpoint = client.client().endpoint();
    let path = client.leased("/control", lease);
    let away = |error| Error::new(Kind::Unavailable, format!("no engine answers at {endpoint}")).because(error);
    let opened = timeout(CONNECT_DEADLINE, async {
        let (stream, authority): (Box<dyn Stream>, String) = match &endpoint {
            Endpoint::Unix(socket) => (Box::new(UnixStream::connect(socket).await.map_err(away)?), "esker".into()),
            Endpoint::Http { url, .. } => {
                let (host, port) = host_and_port(url)?;
                let stream = TcpStream::connect((host.as_str(), port)).await.map_err(away)?;
                (Box::new(stream), format!("{host}:{port}"))
            }
            Endpoint::InProcess(_) => {
                return Err(Error::new(
                    Kind::Unsupported,
                    "a mount is a process of its own: it needs the engine's socket",
                ));
            }
        };
        let request = request(client, &endpoint, &format!("ws://{authority}{path}"))?;
        let mut config = WebSocketConfig::default();
        config.max_message_size = Some(CONTROL_MESSAGE_MAX);
        config.max_frame_size = Some(CONTROL_MESSAGE_MAX);
        client_async_with_config(request, stream, Some(config)).await.map_err(|error| refused(client, error))
    });
    let (socket, response) = opened.await.map_err(|_| too_slow(&endpoint))??;
    check_version(client, &response)?;
    Ok(socket)
}

fn too_slow(endpoint: &Endpoint) -> Error {
    Error::new(Kind::Unavailable, format!("the engine at {endpoint} does not open a control connection in time"))
}

fn host_and_port(url: &str) -> Result<(String, u16)> {
    let invalid = || Error::new(Kind::Invalid, format!("{url:?} is not the URL of an engine"));
    let parsed = Url::parse(url).map_err(|error| invalid().because(error))?;
    if parsed.scheme() != "http" {
        return Err(Error::new(Kind::Unsupported, format!("a mount reaches an engine over http only, not {url}")));
    }
    let host = parsed.host_str().ok_or_else(invalid)?;
    let port = parsed.port_or_known_default().ok_or_else(invalid)?;
    Ok((host.to_owned(), port))
}

fn request(client: &WorkspaceClient, endpoint: &Endpoint, url: &str) -> Result<Request> {
    let invalid = || Error::new(Kind::Invalid, format!("{endpoint} or its token cannot be put into a request"));
    let mut request = url.into_client_request().map_err(|error| invalid().because(error))?;
    request.headers_mut().insert(VERSION_HEADER, HeaderValue::from_static(client.client().version()));
    if let Endpoint::Http { token, .. } = endpoint {
        let bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| invalid().because(error))?;
        request.headers_mut().insert("authorization", bearer);
    }
    Ok(request)
}

fn check_version<B>(client: &WorkspaceClient, response: &tungstenite::http::Response<B>) -> Result<()> {
    let theirs = response.headers().get(VERSION_HEADER).map(|value| String::from_utf8_lossy(value.as_bytes()));
    match theirs {
        Some(theirs) if theirs == client.client().version() => Ok(()),
        Some(theirs) => Err(Error::new(Kind::Unsupported, versions_differ(client.client().version(), &theirs))),
        None => Err(Error::new(Kind::Unsupported, "what answers there is not an Esker engine")),
    }
}

/// Why the engine did not open the connection. The body may not have been read, so the kind is in a header too.
fn refused(client: &WorkspaceClient, error: tungstenite::Error) -> Error {
    let tungstenite::Error::Http(response) = error else {
        return Error::new(Kind::Unavailable, "the control connection broke while it was opened").because(error);
    };
    if let Err(error) = check_version(client, &response) {
        return error;
    }
    if let Some(body) = response.body().as_deref().and_then(|body| serde_json::from_slice::<ErrorBody>(body).ok()) {
        return body.error.into();
    }
    let named = response.headers().get(ERROR_HEADER).and_then(|value| value.to_str().ok()).and_then(Kind::from_wire);
    let kind = named.unwrap_or_else(|| kind_of_status(response.status().as_u16()));
    Error::new(kind, format!("the engine refused the control connection ({})", kind.as_str()))
}

struct Connection {
    socket: Socket,
    handler: Arc<dyn ControlHandler>,
    phase: Arc<watch::Sender<Phase>>,
}

impl Connection {
    /// Answers requests until the connection ends; returns why it did.
    async fn run(mut self) -> Error {
        let (answers, mut ready) = mpsc::channel::<ControlAnswer>(CONTROL_PENDING_MAX);
        let mut ping = interval(CONTROL_PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            let step = tokio::select! {
                message = self.socket.next() => {
                    heard = Instant::now();
                    self.hear(message, &answers)
                }
                answer = ready.recv() => self.answer(answer.expect("because a sender is kept here")).await,
                _ = ping.tick() => self.ping(heard).await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    fn hear(
        &self,
        message: Option<Result<Message, tungstenite::Error>>,
        answers: &mpsc::Sender<ControlAnswer>,
    ) -> Result<()> {
        match message {
            Some(Ok(Message::Text(text))) => {
                let request: ControlRequest = serde_json::from_str(text.as_str()).map_err(|error| {
                    Error::new(Kind::Internal, "the engine asked for something unknown").because(error)
                })?;
                let (handler, phase, answers) = (self.handler.clone(), self.phase.clone(), answers.clone());
                tokio::spawn(async move {
                    let answer = handle(&*handler, &phase, request).await;
                    // The connection may be gone by now; the engine has given up on the answer then.
                    let _ = answers.send(answer).await;
                });
                Ok(())
            }
            Some(Ok(Message::Close(_))) | None => {
                Err(Error::new(Kind::Unavailable, "the engine closed the connection"))
            }
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(Error::new(Kind::Unavailable, "the connection broke").because(error)),
        }
    }

    async fn answer(&mut self, answer: ControlAnswer) -> Result<()> {
        let text = serde_json::to_string(&answer)
            .map_err(|error| Error::new(Kind::Internal, "an answer cannot be written as JSON").because(error))?;
        self.send(Message::Text(text.into())).await?;
        if *self.phase.borrow() == Phase::Released {
            // Ends the WebSocket properly, so that the answer is not lost with it; then there is nothing left to do.
            let _ = timeout(CONTROL_PING, self.socket.close(None)).await;
            return Err(Error::new(Kind::Unavailable, "the holder was released"));
        }
        Ok(())
    }

    async fn ping(&mut self, heard: Instant) -> Result<()> {
        if heard.elapsed() > CONTROL_SILENCE_MAX {
            return Err(Error::new(Kind::Unavailable, "the engine is silent"));
        }
        self.send(Message::Ping(bytes::Bytes::new())).await
    }

    async fn send(&mut self, message: Message) -> Result<()> {
        match timeout(CONTROL_SILENCE_MAX, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Error::new(Kind::Unavailable, "the connection broke").because(error)),
            Err(_) => Err(Error::new(Kind::Unavailable, "the engine takes nothing in")),
        }
    }
}

async fn handle(handler: &dyn ControlHandler, phase: &watch::Sender<Phase>, request: ControlRequest) -> ControlAnswer {
    let method = request.call.method();
    let result = match request.call {
        ControlCall::Barrier { note, freeze: false } => handler.barrier(note.into()).await.map(serde_json::to_value),
        ControlCall::Barrier { note, freeze: true } => {
            handler.barrier_and_freeze(note.into()).await.map(serde_json::to_value)
        }
        ControlCall::Thaw => handler.thaw().await.map(serde_json::to_value),
        ControlCall::Status => handler.status().await.map(serde_json::to_value),
        ControlCall::SwapBase { snapshot } => handler.swap_base(snapshot).await.map(serde_json::to_value),
        ControlCall::Files { request } => handler.files(request).await.map(serde_json::to_value),
        ControlCall::Release => {
            phase.send_replace(Phase::Releasing);
            let done = handler.release().await;
            phase.send_replace(if done.is_ok() { Phase::Released } else { Phase::Holding });
            done.map(serde_json::to_value)
        }
    };
    let outcome = match result {
        Ok(Ok(value)) => Outcome::Ok(value),
        Ok(Err(error)) => {
            tracing::error!(method, "an answer cannot be written as JSON: {error}");
            Outcome::Error((&Error::new(Kind::Internal, "the mount's answer cannot be written as JSON")).into())
        }
        Err(error) => {
            // Whoever asked for a file that is not there is no news.
            match error.kind() {
                Kind::Unavailable | Kind::Internal | Kind::Corrupt => tracing::warn!(method, "{}", error.chain()),
                _ => tracing::debug!(method, "{}", error.chain()),
            }
            Outcome::Error((&error).into())
        }
    };
    ControlAnswer { id: request.id, outcome }
}
