//! An engine in a temporary folder, listening on a Unix socket and on a port of this machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use vfs_core::Result;
use vfs_core::base::{Attached, Lease, PublishNote, Publisher};
use vfs_core::change::{ChangeSet, DirectoryChange, NodeChange, bare_node};
use vfs_core::clock::{Clock, SystemClock, Time};
use vfs_core::id::{HolderId, SnapshotId};
use vfs_core::name::Name;
use vfs_core::object::{Blob, Body, ChunkRef, Content, Extent, Ino, Node};
use vfs_core::repo::{HolderDescription, Repo};

use crate::client::{Client, Endpoint};
use crate::server::{EngineInfo, Listeners, ServerState, Token};

pub(crate) const TOKEN: &str = "the-token";

/// The machine's clock, which a test can put forward.
#[derive(Default)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn skip_s(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        let now = SystemClock.now();
        Time { seconds: now.seconds + self.0.load(Ordering::SeqCst), ..now }
    }
}

pub(crate) struct World {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) state: ServerState,
    pub(crate) repo: Repo,
    pub(crate) client: Client,
    pub(crate) socket: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) served: JoinHandle<Result<()>>,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) async fn new() -> World {
        let clock = Arc::new(TestClock::default());
        World::on(Repo::in_memory(clock.clone()).await.unwrap(), clock).await
    }

    /// Another engine on the same repo, with a data folder of its own.
    pub(crate) async fn beside(&self) -> World {
        World::on(self.repo.clone(), self.clock.clone()).await
    }

    async fn on(repo: Repo, clock: Arc<TestClock>) -> World {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("engine.sock");
        let (state, address, served) =
            engine(repo.clone(), clock.clone(), &folder, "127.0.0.1:0".parse().unwrap()).await;
        let client = Client::new(Endpoint::Unix(socket.clone())).unwrap();
        World { clock, state, repo, client, socket, address, served, folder }
    }

    /// A client over TCP.
    pub(crate) fn over_tcp(&self, token: &str) -> Client {
        Client::new(Endpoint::Http { url: format!("http://{}", self.address), token: token.into() }).unwrap()
    }

    /// Ends the engine and starts another one on the same repo and socket.
    pub(crate) async fn restart(&mut self) {
        self.state.stop();
        (&mut self.served).await.unwrap().unwrap();
        self.serve_again().await;
    }

    /// Starts an engine on the same repo and socket after the one before has ended.
    pub(crate) async fn serve_again(&mut self) {
        (self.state, self.address, self.served) =
            engine(self.repo.clone(), self.clock.clone(), &self.folder, "127.0.0.1:0".parse().unwrap()).await;
    }

    /// One request by hand, without our client's manners; the JSON of the answer, or null.
    pub(crate) async fn raw(&self, method: &str, path: &str, body: Option<&str>) -> (StatusCode, Value) {
        self.raw_with(method, path, "", body).await
    }

    pub(crate) async fn raw_with(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: Option<&str>,
    ) -> (StatusCode, Value) {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        talk(stream, method, path, headers, body).await
    }
}

/// Speaks just enough HTTP.
pub(crate) async fn talk(
    mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    method: &str,
    path: &str,
    headers: &str,
    body: Option<&str>,
) -> (StatusCode, Value) {
    let length = body.map_or(0, str::len);
    let connection = if headers.contains("connection:") { "" } else { "connection: close\r\n" };
    let json = if body.is_some() { "content-type: application/json\r\n" } else { "" };
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{connection}{json}content-length: {length}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // The engine may refuse a large body before it has read it.
    let _ = stream.write_all(body.unwrap_or_default().as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    let status = text.split(' ').nth(1).expect("an HTTP answer").parse::<u16>().unwrap();
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (StatusCode::from_u16(status).unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

async fn engine(
    repo: Repo,
    clock: Arc<TestClock>,
    folder: &TempDir,
    tcp: SocketAddr,
) -> (ServerState, SocketAddr, JoinHandle<Result<()>>) {
    let info = EngineInfo {
        data_folder: folder.path().join("data"),
        bucket: "s3://key:secret@bucket/prefix".into(),
        token: Some(Token::new(TOKEN)),
    };
    let state = ServerState::new(repo, info, clock);
    let listeners = Listeners { unix: Some(folder.path().join("engine.sock")), tcp: Some(tcp) };
    let bound = listeners.bind().await.unwrap();
    let address = bound.tcp_address().unwrap();
    let served = tokio::spawn(bound.serve(state.clone(), std::future::pending()));
    (state, address, served)
}

pub(crate) fn holder(number: u8) -> HolderId {
    HolderId::from_bytes([number; 16])
}

pub(crate) fn who() -> HolderDescription {
    HolderDescription { host: "here".into(), pid: 7, mountpoint: "/mnt/w".into() }
}

pub(crate) fn note(message: &str) -> PublishNote {
    PublishNote { author: "ada".into(), message: message.into(), ..PublishNote::default() }
}

/// Bytes that do not compress and differ with the seed.
pub(crate) fn content(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A holder as simple as can be: files in the root, each of chunks. The same over HTTP and directly.
pub(crate) struct Mount<P> {
    pub(crate) publisher: P,
    pub(crate) lease: Lease,
    pub(crate) base: SnapshotId,
    pub(crate) root: Node,
    pub(crate) position: u64,
}

impl<P: Publisher> Mount<P> {
    pub(crate) fn new(publisher: P, attached: Attached) -> Self {
        let Attached { lease, head, snapshot, position, .. } = attached;
        Mount { publisher, lease, base: head, root: snapshot.root, position }
    }

    pub(crate) async fn send(&mut self, name: &[u8], chunks: &[Bytes]) -> Result<Vec<ChunkRef>> {
        self.position += 100;
        self.publisher.begin(&self.lease, self.base, self.position).await?;
        let refs = self.publisher.put_chunks(&self.lease, self.position, chunks.to_vec()).await?;
        let ino = self.publisher.allocate_inos(&self.lease, 1).await?;
        let mut file = bare_node(ino, Body::File(Content::EMPTY), 0o644, 1, 1, Time { seconds: 5, nanos: 6 });
        let extents = match refs.as_slice() {
            [one] => {
                file.body = Body::File(Content::Chunk(*one));
                None
            }
            _ => Some(Blob::new(refs.iter().flat_map(|chunk| [Extent::Chunk(*chunk), Extent::Hole(5000)]))),
        };
        let upserts = vec![(Name::new(name).unwrap(), ino)];
        let changes = ChangeSet {
            nodes: vec![
                NodeChange { node: self.root.clone(), extents: None, linked: false },
                NodeChange { node: file, extents, linked: false },
            ],
            directories: vec![DirectoryChange { ino: Ino::ROOT, upserts, removals: vec![] }],
            unlinked: vec![],
        };
        self.publisher.put_changes(&self.lease, self.position, changes).await?;
        Ok(refs)
    }
}

/// Publishes one file and gives the workspace back.
pub(crate) async fn publish(world: &World, workspace: &str, name: &[u8], chunks: &[Bytes]) -> SnapshotId {
    let id = world.repo.workspace(workspace).await.unwrap().id;
    let attached = world.repo.attach(id, holder(9), &who()).await.unwrap();
    let mut mount = Mount::new(world.repo.clone(), attached);
    mount.send(name, chunks).await.unwrap();
    let published = world.repo.commit(&mount.lease, mount.position, note("published")).await.unwrap();
    world.repo.detach(&mount.lease).await.unwrap();
    published.snapshot
}
