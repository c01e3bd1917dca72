//! The server over real sockets, asked by the client and by hand.

mod auth;
mod control;
mod documents;
mod engines;
mod files;
mod live;
mod objects;
mod publish;
mod sessions;
mod stats;
pub(crate) mod world;

use axum::http::StatusCode;
use vfs_core::Kind;

use super::query::RawQuery;
use super::state::without_credentials;
use world::World;

#[tokio::test]
async fn status_shows_no_credentials_and_counts_nobody_but_others() {
    let world = World::new().await;
    let status = world.client.status().await.unwrap();
    assert_eq!(status.version, crate::VERSION);
    assert_eq!(status.pid, std::process::id());
    assert_eq!(status.bucket, "s3://bucket/prefix");
    assert_eq!((status.holders, status.clients), (0, 0));
}

#[test]
fn urls_lose_everything_secret() {
    assert_eq!(without_credentials("s3://key:secret@host:9000/b?token=x#y"), "s3://host:9000/b");
    assert_eq!(without_credentials("file:///data/b@home"), "file:///data/b@home");
    assert_eq!(without_credentials("memory:///"), "memory:///");
}

#[tokio::test]
async fn an_idle_engine_knows_it() {
    let world = World::new().await;
    world.client.status().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    assert!(world.state.idle_for() >= std::time::Duration::from_millis(20));
    let _request = world.state.activity().begin(super::activity::Using::Request);
    assert_eq!(world.state.idle_for(), std::time::Duration::ZERO);
}

#[tokio::test]
async fn wrong_urls_and_methods_have_our_shape() {
    let world = World::new().await;
    let (status, body) = world.raw("GET", "/v1/nothing", None).await;
    assert_eq!((status, body["error"]["kind"].as_str()), (StatusCode::NOT_FOUND, Some("not_found")));
    let (status, body) = world.raw("DELETE", "/v1/status", None).await;
    assert_eq!((status, body["error"]["kind"].as_str()), (StatusCode::METHOD_NOT_ALLOWED, Some("unsupported")));
    let (status, body) = world.raw("POST", "/v1/workspaces", Some("{\"name\":1}")).await;
    assert_eq!((status, body["error"]["kind"].as_str()), (StatusCode::BAD_REQUEST, Some("invalid")));
    let (status, _) = world.raw("POST", "/v1/workspaces", Some("{\"name\":\"a\",\"form\":\"b\"}")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "a misspelt field is not ignored");
    let (status, body) = world.raw("GET", "/v1/workspaces/%ff", None).await;
    assert_eq!((status, body["error"]["kind"].as_str()), (StatusCode::BAD_REQUEST, Some("invalid")));
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(crate::limits::JSON_BODY_MAX));
    let (status, body) = world.raw("POST", "/v1/workspaces", Some(&large)).await;
    assert_eq!((status, body["error"]["kind"].as_str()), (StatusCode::PAYLOAD_TOO_LARGE, Some("too_large")));
}

#[tokio::test]
async fn shutdown_ends_the_server_and_removes_its_socket() {
    let world = World::new().await;
    let socket = world.socket.clone();
    assert!(socket.exists());
    world.client.shutdown().await.unwrap();
    let served = tokio::time::timeout(std::time::Duration::from_secs(5), world.served).await;
    served.expect("the server ends").unwrap().unwrap();
    assert!(!socket.exists());
    assert_eq!(world.client.status().await.unwrap_err().kind(), Kind::Unavailable);
}

#[test]
fn queries_are_strict() {
    let mut query = RawQuery::parse("path=a%2Fb%ff+c&limit=3").unwrap();
    assert_eq!(query.take("path").unwrap(), b"a/b\xff c");
    assert_eq!(query.take_count("limit", 1, 5).unwrap(), 3);
    query.finish().unwrap();
    assert_eq!(RawQuery::parse("a=1&a=2").unwrap_err().kind(), Kind::Invalid);
    assert_eq!(RawQuery::parse("pth=a").unwrap().finish().unwrap_err().kind(), Kind::Invalid);
    for wrong in ["limit=0", "limit=6", "limit=x", "limit=-1", "limit=%ff"] {
        assert_eq!(RawQuery::parse(wrong).unwrap().take_count("limit", 1, 5).unwrap_err().kind(), Kind::Invalid);
    }
}

/// The committed description of the API is the one that the code gives. To write it: `ESKER_WRITE=1 cargo test -p api`.
#[test]
fn the_committed_description_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let mut now = super::openapi().to_pretty_json().unwrap();
    now.push('\n');
    if std::env::var_os("ESKER_WRITE").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == now, "docs/openapi.json is out of date: run the tests of `api` with ESKER_WRITE=1");
}
