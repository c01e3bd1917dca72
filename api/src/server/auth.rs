//! Who may ask: our own user over the socket, the token's bearer over TCP, nobody else.
//!
//! Keeps true: a request whose origin is unknown is refused; an operation on the engine's own disk is refused unless it
//! came over the socket. Scopes of tokens come later; today a token may do everything that TCP may.

use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use tokio::net::UnixListener;
use vfs_core::id::PlainDigest;
use vfs_core::{Error, Kind};

use super::ServerState;
use super::error::{ApiError, ApiResult};
use super::listen::Tcp;

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Over the Unix socket, from a process of this user; `None` where the kernel did not say.
    Socket(Option<u32>),
    /// Over TCP.
    Tcp,
    /// From code in this process that calls the router directly and has put this into the request's extensions.
    InProcess,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Peer::Socket(stream.io().peer_cred().ok().map(|credentials| credentials.uid()))
    }
}

impl Connected<IncomingStream<'_, Tcp>> for Peer {
    fn connect_info(_: IncomingStream<'_, Tcp>) -> Self {
        Peer::Tcp
    }
}

/// A secret whose bearer is let in over TCP. Kept and compared as a digest, in constant time.
#[derive(Clone)]
pub struct Token(PlainDigest);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// A token with this text.
    pub fn new(secret: &str) -> Self {
        Token(PlainDigest::of(secret.as_bytes()))
    }

    /// Whether `secret` is this token. Takes as long whatever differs.
    pub fn is(&self, secret: &str) -> bool {
        let other = PlainDigest::of(secret.as_bytes());
        let differing = self.0.as_bytes().iter().zip(other.as_bytes()).fold(0, |bits, (a, b)| bits | (a ^ b));
        std::hint::black_box(differing) == 0
    }
}

/// Whether a peer with this uid may use the socket: ourselves and root.
pub(super) fn uid_is_allowed(uid: Option<u32>) -> bool {
    uid.is_some_and(|uid| uid == 0 || uid == rustix::process::geteuid().as_raw())
}

/// Lets a request through or not, and tells handlers where it came from.
pub(super) async fn authorise(State(state): State<ServerState>, mut request: Request, next: Next) -> Response {
    match peer_of(&state, &request) {
        Ok(peer) => {
            request.extensions_mut().insert(peer);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

fn peer_of(state: &ServerState, request: &Request) -> ApiResult<Peer> {
    if request.extensions().get::<Peer>() == Some(&Peer::InProcess) {
        return Ok(Peer::InProcess);
    }
    match request.extensions().get::<ConnectInfo<Peer>>() {
        Some(ConnectInfo(peer @ Peer::Socket(uid))) if uid_is_allowed(*uid) => Ok(*peer),
        Some(ConnectInfo(Peer::Tcp)) => bearer(state, request).map(|()| Peer::Tcp),
        Some(ConnectInfo(Peer::Socket(_))) => {
            Err(Error::new(Kind::Denied, "this engine serves its own user and root only").into())
        }
        _ => Err(Error::new(Kind::Denied, "nobody knows where this request came from").into()),
    }
}

fn bearer(state: &ServerState, request: &Request) -> ApiResult<()> {
    let Some(token) = state.token() else {
        return Err(ApiError::unauthorized("this engine has no token, so nobody is let in over TCP"));
    };
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let secret =
        header.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match secret {
        Some((_, secret)) if token.is(secret.trim()) => Ok(()),
        Some(_) => Err(ApiError::unauthorized(
            "the token is wrong; the right one is in the file `token` of the engine's data folder",
        )),
        None => Err(ApiError::unauthorized(
            "a bearer token is needed; it is in the file `token` of the engine's data folder",
        )),
    }
}

/// Proof that a request came over the socket (or from this process): it may name paths of the engine's machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local;

impl<S: Send + Sync> FromRequestParts<S> for Local {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        match parts.extensions.get::<Peer>() {
            Some(Peer::Socket(_) | Peer::InProcess) => Ok(Local),
            _ => Err(Error::new(Kind::Denied, "this is offered over the engine's Unix socket only").into()),
        }
    }
}
