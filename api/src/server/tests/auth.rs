//! Who is let in, and to what.

use std::os::unix::fs::PermissionsExt;

use axum::http::StatusCode;
use tokio::net::TcpStream;
use vfs_core::Kind;

use super::world::{TOKEN, World, talk};
use crate::client::{Client, Endpoint};
use crate::server::auth::{Token, uid_is_allowed};
use crate::wire::transfer::{ExportRequest, ImportRequest, LocalPath, ScanRequest};

#[tokio::test]
async fn the_socket_is_ours_alone() {
    let world = World::new().await;
    let mode = std::fs::metadata(&world.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let ours = rustix::process::geteuid().as_raw();
    assert!(uid_is_allowed(Some(ours)) && uid_is_allowed(Some(0)));
    assert!(!uid_is_allowed(Some(ours.wrapping_add(12_345))));
    assert!(!uid_is_allowed(None));
}

#[tokio::test]
async fn the_port_takes_the_token_and_nothing_else() {
    let world = World::new().await;
    world.over_tcp(TOKEN).workspaces().await.unwrap();
    for wrong in ["", "the-toke", "the-token2", "THE-TOKEN"] {
        let error = world.over_tcp(wrong).workspaces().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{wrong:?}");
        assert!(error.context().contains("token"), "{}", error.context());
    }
    for headers in
        ["", "authorization: Basic the-token\r\n", "authorization: the-token\r\n", "authorization: Bearer\r\n"]
    {
        let stream = TcpStream::connect(world.address).await.unwrap();
        let (status, body) = talk(stream, "GET", "/v1/status", headers, None).await;
        assert_eq!((status, body["error"]["kind"].as_str()), (StatusCode::UNAUTHORIZED, Some("denied")), "{headers:?}");
    }
}

#[test]
fn tokens_are_compared_whole_and_not_shown() {
    let token = Token::new("secret");
    assert!(token.is("secret"));
    assert!(!token.is("secres") && !token.is("secret ") && !token.is(""));
    assert!(!format!("{token:?}").contains("secret"));
}

#[tokio::test]
async fn paths_of_the_engines_machine_are_for_the_socket() {
    let world = World::new().await;
    world.repo.create_workspace("w", None, None).await.unwrap();
    let head = world.repo.workspace("w").await.unwrap().head;
    let far = world.over_tcp(TOKEN);
    let folder = LocalPath::new(world.folder.path());
    let import = ImportRequest { folder: folder.clone(), ..ImportRequest::default() };
    assert_eq!(far.import("w", &import, |_| {}).await.unwrap_err().kind(), Kind::Denied);
    let export = ExportRequest { folder: LocalPath::new(&world.folder.path().join("out")), owner: None };
    assert_eq!(far.export(head, &export, |_| {}).await.unwrap_err().kind(), Kind::Denied);
    let scan = ScanRequest { folder, ..ScanRequest::default() };
    assert_eq!(far.scan(&scan, |_| {}).await.unwrap_err().kind(), Kind::Denied);
    assert_eq!(far.shutdown().await.unwrap_err().kind(), Kind::Denied);
    assert!(!world.folder.path().join("out").exists());
}

#[tokio::test]
async fn another_version_is_told_so_but_may_ask_for_status_and_shutdown() {
    let world = World::new().await;
    let other = Client::build(Endpoint::Unix(world.socket.clone()), None, "99.0.0").unwrap();
    let error = other.workspaces().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.context().contains("99.0.0") && error.context().contains(crate::VERSION), "{}", error.context());
    // The engine refuses such a client on its own as well.
    let (status, _) = world.raw_with("GET", "/v1/workspaces", "esker-version: 99.0.0\r\n", None).await;
    assert_eq!(status, StatusCode::NOT_IMPLEMENTED);
    let (status, _) = world.raw("GET", "/v1/workspaces", None).await;
    assert_eq!(status, StatusCode::OK, "a script that says no version is served");
    assert_eq!(other.status().await.unwrap().version, crate::VERSION);
    other.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_engine_that_is_away_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let error = Client::new(Endpoint::Unix(socket.clone())).unwrap().status().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.context().contains(&socket.display().to_string()), "{}", error.context());
}
