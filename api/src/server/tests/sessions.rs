//! Sessions over HTTP: led, appended to, and followed across everything that breaks a stream.

use std::time::Duration;

use axum::http::StatusCode;
use futures::StreamExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::timeout;
use vfs_core::Kind;
use vfs_core::limits::EVENT_MAX;

use super::world::{World, content, publish};
use crate::client::{Client, Endpoint};
use crate::wire::session::{AppendEvents, CreateSession, EndTurn, Event, NewEvent, Session, TakeLease};
use crate::wire::workspace::CreateWorkspace;

const PATIENCE: Duration = Duration::from_secs(30);

/// A session on the workspace `w`, and the epoch of its lease.
async fn session(world: &World) -> (Session, u64) {
    let named = CreateWorkspace { name: "w".into(), ..CreateWorkspace::default() };
    let _ = world.client.create_workspace(&named).await;
    let new = CreateSession { workspace: "w".into(), agent: "main".into(), user: "ana".into(), title: "fix it".into() };
    let session = world.client.create_session(&new).await.unwrap();
    let lease = world.client.take_session(&session.id, &owner("1 on here")).await.unwrap();
    (session, lease.epoch)
}

fn owner(owner: &str) -> TakeLease {
    TakeLease { owner: owner.into(), dead_epoch: None }
}

fn event(key: &str) -> NewEvent {
    let data = json!({ "text": format!("line\none of {key}\r\n\u{2028}: event: x\ndata: y") });
    NewEvent { key: key.into(), kind: "notice".into(), turn: 0, tool_call: String::new(), data }
}

fn end(key: &str, state: &str) -> NewEvent {
    NewEvent { kind: "session.ended".into(), data: json!({ "state": state }), ..event(key) }
}

async fn append(world: &World, id: &str, epoch: u64, events: Vec<NewEvent>) -> Vec<Event> {
    world.client.append_events(id, &AppendEvents { epoch, events }).await.unwrap()
}

#[tokio::test]
async fn a_session_is_led_from_its_first_event_to_its_last() {
    let world = World::new().await;
    let client = &world.client;
    let (session, epoch) = session(&world).await;
    let id = session.id.as_str();
    assert_eq!((session.state.as_str(), session.workspace_name.as_str()), ("open", "w"));
    assert_eq!(client.session(&id[..6]).await.unwrap().state, "running");
    assert_eq!(client.sessions(Some("w")).await.unwrap().len(), 1);
    assert_eq!(client.sessions(None).await.unwrap()[0].lease.as_ref().unwrap().owner, "1 on here");
    assert_eq!(client.sessions(Some("x")).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(client.take_session(id, &owner("2")).await.unwrap_err().kind(), Kind::Busy);
    client.renew_session(id, epoch).await.unwrap();
    let appended = append(&world, id, epoch, vec![event("a"), event("b")]).await;
    assert_eq!(append(&world, id, epoch, vec![event("a")]).await, appended[..1]);
    let page = client.events(id, 1, 10).await.unwrap();
    assert_eq!((page.events.as_slice(), page.more), (&appended[1..], false));
    let snapshot = publish(&world, "w", b"a", &[content(1, 1000)]).await;
    let request = EndTurn { epoch, snapshot, data: json!({ "usage": 7 }) };
    let turn = client.end_turn(id, 1, &request).await.unwrap();
    assert_eq!(client.end_turn(id, 1, &request).await.unwrap(), turn);
    assert_eq!((turn.number, turn.snapshot), (1, snapshot));
    assert_eq!(client.turns(id).await.unwrap(), [turn]);
    append(&world, id, epoch, vec![end("ended:1", "done")]).await;
    client.release_session(id, epoch).await.unwrap();
    client.release_session(id, epoch).await.unwrap();
    let ended = client.session(id).await.unwrap();
    assert_eq!((ended.state.as_str(), ended.last_event, ended.turns, ended.lease), ("done", 4, 1, None));
    let late = AppendEvents { epoch, events: vec![event("late")] };
    assert_eq!(client.append_events(id, &late).await.unwrap_err().kind(), Kind::LeaseLost);
    client.delete_workspace("w").await.unwrap();
    assert_eq!(client.session(id).await.unwrap().workspace_name, "");
    assert_eq!(client.sessions(Some(&session.workspace.to_hex())).await.unwrap().len(), 1);
}

#[tokio::test]
async fn wrong_requests_have_our_shape() {
    let world = World::new().await;
    let (session, epoch) = session(&world).await;
    let base = format!("/v1/sessions/{}", session.id);
    for (method, path, body, expected) in [
        ("GET", "/v1/sessions/abc".to_owned(), None, StatusCode::BAD_REQUEST),
        ("GET", "/v1/sessions/0000000000000000".to_owned(), None, StatusCode::NOT_FOUND),
        ("GET", "/v1/sessions/0000000000000000/events".to_owned(), None, StatusCode::NOT_FOUND),
        ("GET", "/v1/sessions/0000000000000000/turns".to_owned(), None, StatusCode::NOT_FOUND),
        ("GET", "/v1/sessions?limit=0".to_owned(), None, StatusCode::BAD_REQUEST),
        ("GET", format!("{base}/events?limit=10001"), None, StatusCode::BAD_REQUEST),
        ("GET", format!("{base}/events?since=1"), None, StatusCode::BAD_REQUEST),
        (
            "POST",
            format!("{base}/events"),
            Some(format!("{{\"epoch\":{epoch},\"events\":[]}}")),
            StatusCode::BAD_REQUEST,
        ),
        ("POST", format!("{base}/lease"), Some("{\"owner\":\"\"}".to_owned()), StatusCode::BAD_REQUEST),
        ("POST", format!("{base}/turns/x/end"), Some("{}".to_owned()), StatusCode::BAD_REQUEST),
        ("DELETE", format!("{base}/lease"), None, StatusCode::BAD_REQUEST),
        ("POST", "/v1/sessions".to_owned(), Some("{\"workspace\":\"w\"}".to_owned()), StatusCode::BAD_REQUEST),
    ] {
        let (status, answer) = world.raw(method, &path, body.as_deref()).await;
        assert_eq!(status, expected, "{method} {path}: {answer}");
        assert!(answer["error"]["kind"].is_string(), "{method} {path}: {answer}");
    }
    let headers = "accept: text/event-stream\r\n";
    let (status, _) = world.raw_with("GET", "/v1/sessions/0000000000000000/events", headers, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "before the stream begins");
    let (status, _) =
        world.raw_with("GET", &format!("{base}/events"), &format!("{headers}last-event-id: x\r\n"), None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn large_events_fit_and_larger_ones_do_not() {
    let world = World::new().await;
    let (session, epoch) = session(&world).await;
    let large = |key: &str, bytes: usize| NewEvent { data: json!("x".repeat(bytes - 2)), ..event(key) };
    let three = vec![large("a", EVENT_MAX), large("b", EVENT_MAX), large("c", EVENT_MAX)];
    assert_eq!(append(&world, &session.id, epoch, three).await.len(), 3);
    for events in [vec![large("d", EVENT_MAX + 1)], (0..5).map(|n| large(&n.to_string(), EVENT_MAX)).collect()] {
        let refused = world.client.append_events(&session.id, &AppendEvents { epoch, events }).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::TooLarge);
    }
    append(&world, &session.id, epoch, vec![end("end", "done")]).await;
    let followed: Vec<_> = world.client.follow_events(&session.id, 0).await.unwrap().collect().await;
    assert_eq!(followed.len(), 4);
    assert_eq!(followed[1].as_ref().unwrap().data, large("b", EVENT_MAX).data);
}

/// Reads a stream of events by hand until it ends or `enough` says so.
async fn raw_stream(world: &World, path: &str, headers: &str, enough: impl Fn(&str) -> bool) -> String {
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\naccept: text/event-stream\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !enough(&text) {
        match timeout(PATIENCE, stream.read(&mut buffer)).await.expect("the stream goes on or ends").unwrap() {
            0 => break,
            count => text.push_str(&String::from_utf8_lossy(&buffer[..count])),
        }
    }
    text
}

#[tokio::test]
async fn a_stream_has_the_shape_that_browsers_read() {
    let world = World::new().await;
    let (session, epoch) = session(&world).await;
    append(&world, &session.id, epoch, vec![event("a"), event("b"), end("end", "done")]).await;
    let path = format!("/v1/sessions/{}/events", session.id);
    let text = raw_stream(&world, &path, "", |_| false).await;
    assert!(text.contains("content-type: text/event-stream"), "{text}");
    let fields = |name: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned()).collect()
    };
    assert_eq!(fields("id:"), ["1", "2", "3"]);
    assert_eq!(fields("event:"), ["notice", "notice", "session.ended"]);
    assert_eq!(fields("data:").len(), 3, "one line each, whatever is in it");
    let after = raw_stream(&world, &path, "last-event-id: 2\r\n", |_| false).await;
    assert!(after.contains("id: 3") && !after.contains("id: 2"), "{after}");
    let after = raw_stream(&world, &format!("{path}?after=1"), "", |_| false).await;
    assert!(after.contains("id: 2") && !after.contains("id: 1"), "{after}");
}

#[tokio::test]
async fn a_follower_hears_of_events_at_once_and_ends_with_the_session() {
    let world = World::new().await;
    let (session, epoch) = session(&world).await;
    append(&world, &session.id, epoch, vec![event("a")]).await;
    let mut follower = world.client.follow_events(&session.id, 0).await.unwrap();
    assert_eq!(follower.next().await.unwrap().unwrap().key, "a");
    for number in 0..20 {
        let key = format!("n{number}");
        let began = tokio::time::Instant::now();
        append(&world, &session.id, epoch, vec![event(&key)]).await;
        let event = timeout(PATIENCE, follower.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(event.key, key);
        assert!(began.elapsed() < crate::limits::FOLLOW_POLL / 2, "it did not wait for the poll");
    }
    append(&world, &session.id, epoch, vec![end("ended:1", "stopped")]).await;
    assert_eq!(timeout(PATIENCE, follower.next()).await.unwrap().unwrap().unwrap().kind, "session.ended");
    assert!(timeout(PATIENCE, follower.next()).await.unwrap().is_none());
    // Somebody who comes later, and has it all, is not kept waiting.
    let mut late = world.client.follow_events(&session.id, 22).await.unwrap();
    assert!(timeout(PATIENCE, late.next()).await.unwrap().is_none());
    // Somebody goes on: it can be followed again.
    let more = NewEvent { kind: "user.message".into(), ..event("user:2") };
    append(&world, &session.id, epoch, vec![more, end("ended:2", "done")]).await;
    let rest: Vec<_> =
        timeout(PATIENCE, world.client.follow_events(&session.id, 22).await.unwrap().collect()).await.unwrap();
    assert_eq!(rest.into_iter().map(|event| event.unwrap().sequence).collect::<Vec<_>>(), [23, 24]);
}

/// Passes connections on to an engine, and cuts each after so many bytes of answer.
async fn cutting_proxy(world: &World, bytes: usize) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, engine) = (listener.local_addr().unwrap(), world.address);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(engine).await.unwrap();
                let (mut read, mut write) = server.split();
                let (mut from, mut to) = client.split();
                let up = tokio::io::copy(&mut from, &mut write);
                let mut limited = (&mut read).take(bytes as u64);
                let down = tokio::io::copy(&mut limited, &mut to);
                tokio::select! { _ = up => {}, _ = down => {} }
            });
        }
    });
    address
}

#[tokio::test]
async fn each_event_comes_once_however_often_the_stream_is_cut() {
    let world = World::new().await;
    let (session, epoch) = session(&world).await;
    let keys: Vec<String> = (0..60).map(|number| format!("n{number}")).collect();
    append(&world, &session.id, epoch, keys.iter().map(|key| event(key)).collect()).await;
    append(&world, &session.id, epoch, vec![end("end", "done")]).await;
    // Cut within the head, within an event, between events: after primes of bytes.
    for bytes in [1409, 2003, 4801] {
        let address = cutting_proxy(&world, bytes).await;
        let url = format!("http://{address}");
        let client = Client::new(Endpoint::Http { url, token: super::world::TOKEN.into() }).unwrap();
        let follower = client.follow_events(&session.id, 0).await.unwrap();
        let events: Vec<Event> = timeout(PATIENCE, follower.map(Result::unwrap).collect()).await.unwrap();
        let sequences: Vec<u64> = events.iter().map(|event| event.sequence).collect();
        assert_eq!(sequences, (1..=61).collect::<Vec<_>>(), "cut after {bytes}");
        assert_eq!(events[7].data, event("n7").data);
    }
}

#[tokio::test]
async fn a_stopping_engine_ends_its_streams_and_followers_go_on_with_the_next() {
    let mut world = World::new().await;
    let (session, epoch) = session(&world).await;
    let id = session.id.clone();
    append(&world, &id, epoch, vec![event("n0")]).await;
    let client = world.client.clone();
    let following = tokio::spawn({
        let id = id.clone();
        async move {
            let follower = client.follow_events(&id, 0).await.unwrap();
            follower.map(|event| event.unwrap().key).collect::<Vec<_>>().await
        }
    });
    for round in 1..4 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.state.stop();
        let ended = timeout(Duration::from_secs(5), &mut world.served).await;
        ended.expect("a stream does not hold the engine up").unwrap().unwrap();
        // Appended while no engine serves the follower.
        let id = id.parse().unwrap();
        let events: Vec<_> = [event(&format!("away{round}"))].into_iter().map(Into::into).collect();
        world.repo.append_events(id, epoch, &events).await.unwrap();
        world.serve_again().await;
        append(&world, &session.id, epoch, vec![event(&format!("n{round}"))]).await;
    }
    append(&world, &session.id, epoch, vec![end("end", "done")]).await;
    let keys = timeout(PATIENCE, following).await.unwrap().unwrap();
    assert_eq!(keys, ["n0", "away1", "n1", "away2", "n2", "away3", "n3", "end"]);
}
