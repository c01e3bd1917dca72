//! The client when the engine is away: starters, patience, lines that are cut.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use vfs_core::base::Base;
use vfs_core::id::{TreeId, WorkspaceId};
use vfs_core::{Kind, Result};

use super::{Client, Endpoint, EngineStarter};
use crate::server::tests_world::{World, content, publish};
use crate::wire::job::CheckRequest;
use crate::wire::transfer::{LocalPath, ScanRequest};
use crate::wire::workspace::CreateWorkspace;

/// Starts an engine when asked, and counts.
#[derive(Default)]
struct Starter {
    calls: AtomicU32,
    world: Mutex<Option<World>>,
}

#[async_trait]
impl EngineStarter for Starter {
    async fn ensure(&self) -> Result<Endpoint> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let world = World::new().await;
        let endpoint = Endpoint::Unix(world.socket.clone());
        *self.world.lock() = Some(world);
        Ok(endpoint)
    }
}

#[tokio::test]
async fn an_engine_is_started_where_none_answers_and_only_then() {
    let folder = tempfile::tempdir().unwrap();
    let starter = Arc::new(Starter::default());
    let client = Client::with_starter(Endpoint::Unix(folder.path().join("none.sock")), starter.clone()).unwrap();
    assert_eq!(starter.calls.load(Ordering::SeqCst), 0);
    client.workspaces().await.unwrap();
    client.workspaces().await.unwrap();
    assert_eq!(starter.calls.load(Ordering::SeqCst), 1);
    assert_ne!(client.endpoint(), Endpoint::Unix(folder.path().join("none.sock")));
}

#[tokio::test]
async fn a_mounts_read_waits_until_the_engine_is_back() {
    let mut world = World::new().await;
    let id = world.repo.create_workspace("w", None, None).await.unwrap().id;
    let base = world.client.holder(id);
    world.state.stop();
    (&mut world.served).await.unwrap().unwrap();
    let reading = tokio::spawn(async move { base.trees(&[TreeId::from_bytes([1; 32])]).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!reading.is_finished(), "it did not wait");
    world.serve_again().await;
    // The engine is back, and has no such tree.
    assert_eq!(reading.await.unwrap().unwrap_err().kind(), Kind::NotFound);
}

/// Answers every request with these bytes and closes.
fn fake_engine(answer: String) -> (tempfile::TempDir, Client) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("fake.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (folder, Client::new(Endpoint::Unix(socket)).unwrap())
}

fn answer(headers: &str, body: &str) -> String {
    let version = crate::VERSION;
    format!("HTTP/1.1 200 OK\r\nesker-version: {version}\r\nconnection: close\r\n{headers}\r\n{body}")
}

#[tokio::test]
async fn a_stream_that_is_cut_is_no_result() {
    let progress = "{\"progress\":{\"what\":\"packs\",\"done\":1,\"total\":2}}\n";
    for body in [progress.to_owned(), format!("{progress}{{\"result\":{{}}")] {
        let (_folder, client) = fake_engine(answer("", &body));
        let mut seen = 0;
        let error = client.check(&CheckRequest::default(), |_| seen += 1).await.unwrap_err();
        assert_eq!((error.kind(), seen), (Kind::Unavailable, 1), "{body}");
    }
}

#[tokio::test]
async fn what_is_not_an_engine_is_named_so() {
    let (_folder, client) = fake_engine("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".into());
    let error = client.status().await.unwrap_err();
    assert_eq!((error.kind(), error.context()), (Kind::Unsupported, "what answers there is not an Esker engine"));
}

#[tokio::test]
async fn frames_of_another_number_than_asked_for_are_refused() {
    let body = "\0\0\0\0";
    let (_folder, client) = fake_engine(answer(&format!("content-length: {}\r\n", body.len()), body));
    let base = client.holder(WorkspaceId::from_bytes([0; 16]));
    assert_eq!(base.trees(&[TreeId::from_bytes([1; 32])]).await.unwrap_err().kind(), Kind::Internal);
}

/// Everything that a client may get, as text: whole answers, refusals, streams of bytes and of lines.
async fn asked(client: &Client) -> Vec<String> {
    let scan = ScanRequest { folder: LocalPath::new(Path::new("/none")), ..ScanRequest::default() };
    let request = |name: &str| CreateWorkspace { name: name.into(), ..CreateWorkspace::default() };
    let snapshot = client.resolve("w").await.unwrap().snapshot;
    let body = client.content(snapshot, b"file", 3, None).await.unwrap();
    let parts: Vec<_> = body.map(Result::unwrap).collect().await;
    vec![
        format!("{:?}", client.workspaces().await),
        format!("{:?}", client.workspace("w").await),
        format!("{:?}", client.list(snapshot, b"", None, 10).await),
        format!("{:?}", client.snapshot_object(snapshot).await),
        format!("{:?}", client.create_workspace(&request("w")).await.unwrap_err()),
        format!("{:?}", client.create_workspace(&request("../x")).await.unwrap_err()),
        format!("{:?}", client.workspace("none").await.unwrap_err()),
        format!("{:?}", client.raw(Method::POST, "/v1/nothing", Bytes::from_static(b"x")).await.unwrap_err()),
        format!("{:?}", client.content(snapshot, b"none", 0, None).await.err()),
        format!(
            "{:?}",
            client.check(&CheckRequest::default(), |_| {}).await.map(|report| (report.snapshots, report.damages))
        ),
        format!("{:?}", client.scan(&scan, |_| {}).await),
        format!("{:?}", parts.concat()),
    ]
}

#[tokio::test]
async fn in_process_everything_is_answered_as_over_the_socket() {
    let world = World::new().await;
    world.repo.create_workspace("w", None, None).await.unwrap();
    publish(&world, "w", b"file", &[content(1, 100_000), content(2, 200_000)]).await;
    let direct = Client::in_process(crate::server::router(world.state.clone())).unwrap();
    let (over_socket, in_process) = (asked(&world.client).await, asked(&direct).await);
    for (socket, process) in over_socket.iter().zip(&in_process) {
        assert_eq!(socket, process);
    }
    assert!(over_socket[11].len() > 300_000, "the stream had no content");
    // Without the extension the router would not know where the request comes from.
    let holder = direct.holder(WorkspaceId::from_bytes([0; 16]));
    assert_eq!(holder.trees(&[TreeId::from_bytes([1; 32])]).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(direct.endpoint().to_string(), "this process");
}

#[tokio::test]
async fn in_process_the_engine_stops_when_asked() {
    let mut world = World::new().await;
    let direct = Client::in_process(crate::server::router(world.state.clone())).unwrap();
    direct.shutdown().await.unwrap();
    (&mut world.served).await.unwrap().unwrap();
}
