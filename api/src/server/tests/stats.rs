//! Statistics and metrics.

use std::collections::HashSet;

use axum::http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vfs_core::Kind;

use super::world::{TOKEN, World, content, publish};
use crate::wire::job::GcRequest;
use crate::wire::workspace::CreateWorkspace;

/// An answer over TCP: status line and headers, body.
async fn over_tcp(world: &World, path: &str, token: &str) -> (String, String) {
    let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn statistics_are_the_same_as_json_and_as_text() {
    let world = World::new().await;
    let named = CreateWorkspace { name: "w".into(), ..CreateWorkspace::default() };
    world.client.create_workspace(&named).await.unwrap();
    publish(&world, "w", b"a", &[content(1, 100_000)]).await;
    world.client.gc(&GcRequest::default(), |_| {}).await.unwrap();
    let stats = world.client.stats().await.unwrap();
    assert_eq!((stats.heads.snapshots, stats.heads.bytes, stats.heads.entries), (1, 100_000, 1));
    assert!(stats.packs >= 2 && stats.requests.create > 0 && stats.requests.list > 0);
    assert_eq!(stats.disk_cache, None, "the bucket is in memory");
    assert!(stats.last_gc.unwrap().report.roots > 0);
    assert!(stats.dedup_ratio.unwrap() > 0.9 && stats.compression_ratio.unwrap() >= 1.0);
    let (head, body) = over_tcp(&world, "/metrics", TOKEN).await;
    assert!(head.starts_with("http/1.1 200") && head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    for line in ["esker_logical_bytes{of=\"heads\"} 100000", "esker_objects{kind=\"chunk\"} 1"] {
        assert!(body.lines().any(|other| other == line), "{line} is missing in\n{body}");
    }
}

/// Prometheus refuses a page that breaks these rules.
#[tokio::test]
async fn every_metric_has_its_help_and_type_once_and_before_it() {
    let world = World::new().await;
    let (_, body) = over_tcp(&world, "/metrics", TOKEN).await;
    let (mut typed, mut seen, mut family) = (HashSet::new(), HashSet::new(), String::new());
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(typed.insert(name.to_owned()) && ["gauge", "counter"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            family = name.to_owned();
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(sample.split('{').next().unwrap(), family, "{line}");
            assert!(seen.insert(sample.to_owned()) && value.parse::<f64>().unwrap().is_finite(), "{line}");
        }
    }
    assert!(typed.len() > 15, "{body}");
}

#[tokio::test]
async fn metrics_are_not_for_everybody() {
    let world = World::new().await;
    for path in ["/metrics", "/v1/stats"] {
        let (head, body) = over_tcp(&world, path, "another").await;
        assert!(head.starts_with("http/1.1 401"), "{head}");
        assert!(!body.contains("esker_logical_bytes"));
    }
    assert_eq!(world.over_tcp("another").stats().await.unwrap_err().kind(), Kind::Denied);
    assert_eq!(world.raw("GET", "/v1/stats", None).await.0, StatusCode::OK);
}
