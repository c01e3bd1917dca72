//! The engine's sockets: where they are, who may open them, and how serving ends.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::time::timeout;
use vfs_core::{Error, Kind, Result};

use super::auth::Peer;
use super::{ServerState, router};
use crate::limits::SHUTDOWN_GRACE;
use crate::page;

/// Where to listen.
#[derive(Debug, Clone, Default)]
pub struct Listeners {
    /// A Unix socket at this path; what is there from before is replaced.
    pub unix: Option<PathBuf>,
    /// TCP at this address.
    pub tcp: Option<SocketAddr>,
}

/// Sockets that are open and wait to be served.
#[derive(Debug)]
pub struct Bound {
    unix: Option<(UnixListener, SocketFile)>,
    tcp: Option<TcpListener>,
}

impl Listeners {
    /// Opens the sockets. Whoever starts an engine says "ready" after this: from here on clients are queued.
    ///
    /// The caller owns the data folder's lock, so a socket that is there is nobody's.
    pub async fn bind(&self) -> Result<Bound> {
        let unix = self.unix.as_deref().map(bind_unix).transpose()?;
        let tcp = match self.tcp {
            None => None,
            Some(address) => {
                let listener = TcpListener::bind(address).await;
                Some(listener.map_err(|error| Error::io(format!("cannot listen on {address}"), error))?)
            }
        };
        if unix.is_none() && tcp.is_none() {
            return Err(Error::new(Kind::Invalid, "an engine needs a socket or an address to listen on"));
        }
        Ok(Bound { unix, tcp })
    }
}

impl Bound {
    /// The address of the TCP listener, with the port that the kernel chose if 0 was asked for.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until `shutdown` or [`ServerState::stop`], then lets what is under way finish for a while.
    pub async fn serve(self, state: ServerState, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        let app = router(state.clone());
        let address = self.tcp_address();
        let with_page = match address {
            Some(address) => app.clone().merge(page::router(&state, address)?),
            None => Router::new(),
        };
        if address.is_some() {
            state.door().listens(address);
        }
        let (socket, file) = self.unix.map_or((None, None), |(listener, file)| (Some(listener), Some(file)));
        let unix = serve_unix(socket, app, state.clone());
        let tcp = serve_tcp(self.tcp, with_page, state.clone());
        let page = serve_page(state.clone());
        let serving = async { tokio::try_join!(unix, tcp, page).map(|_| ()) };
        tokio::pin!(serving);
        tokio::select! {
            ended = &mut serving => return ended,
            () = shutdown => state.stop(),
            () = state.stopped() => {}
        }
        // New clients must not find a socket that nobody serves.
        drop(file);
        timeout(SHUTDOWN_GRACE, serving).await.unwrap_or_else(|_| {
            tracing::warn!("requests that were still under way were cut off");
            Ok(())
        })
    }
}

/// Opens the sockets and serves until `shutdown` or [`ServerState::stop`].
pub async fn serve(listeners: Listeners, state: ServerState, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
    listeners.bind().await?.serve(state, shutdown).await
}

async fn serve_unix(listener: Option<UnixListener>, app: Router, state: ServerState) -> Result<()> {
    let Some(listener) = listener else { return Ok(()) };
    let service = app.into_make_service_with_connect_info::<Peer>();
    let served = axum::serve(listener, service).with_graceful_shutdown(async move { state.stopped().await });
    served.await.map_err(|error| Error::io("the Unix socket cannot be served", error))
}

async fn serve_tcp(listener: Option<TcpListener>, app: Router, state: ServerState) -> Result<()> {
    let Some(listener) = listener else { return Ok(()) };
    let service = app.into_make_service_with_connect_info::<Peer>();
    let served = axum::serve(Tcp(listener), service).with_graceful_shutdown(async move { state.stopped().await });
    served.await.map_err(|error| Error::io("the TCP port cannot be served", error))
}

/// Opens a port of this machine for the page alone once somebody asks for a link, unless it is on a TCP port already.
async fn serve_page(state: ServerState) -> Result<()> {
    loop {
        tokio::select! {
            () = state.stopped() => return Ok(()),
            () = state.door().wanted() => {}
        }
        let opened = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        match opened.and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((address, listener)) => {
                let app = page::router_alone(&state, address)?;
                state.door().listens(Some(address));
                tracing::info!(%address, "the page listens");
                return serve_tcp(Some(listener), app, state).await;
            }
            Err(error) => {
                tracing::warn!("no port for the page: {error}");
                state.door().listens(None);
            }
        }
    }
}

/// A TCP port whose connections send small answers at once.
pub(super) struct Tcp(TcpListener);

impl Listener for Tcp {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        // Only slower without it.
        let _ = stream.set_nodelay(true);
        (stream, address)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Removes the socket's file when serving ends, if it is still the same one.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path) == Some(self.inode) {
            // Only a dead file stays, which the next engine replaces.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::symlink_metadata(path).ok().map(|metadata| std::os::unix::fs::MetadataExt::ino(&metadata))
}

/// Makes the socket beside its place and moves it there once it has its mode and takes connections. Whoever comes in
/// before that has to be of our user as well (see `auth`).
fn bind_unix(path: &Path) -> Result<(UnixListener, SocketFile)> {
    let failed = |error| Error::io(format!("cannot listen on {}", path.display()), error);
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(&fresh).map_err(failed)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    std::fs::rename(&fresh, path).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let inode = inode(path).ok_or_else(|| Error::new(Kind::Unavailable, format!("{} has vanished", path.display())))?;
    let file = SocketFile { path: path.to_owned(), inode };
    Ok((UnixListener::from_std(listener).map_err(failed)?, file))
}
