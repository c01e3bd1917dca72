//! What agents write, at its worst, wherever the page shows it: nothing of it is markup, all of it is there as text.
//!
//! The strict reader in `html` refuses every element, attribute and link that the page does not have of its own, so a
//! payload that got out of its text fails there, whatever it is.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};
use vfs_core::base::{PublishNote, Publisher};
use vfs_core::id::SnapshotId;

use super::browser::{Answer, Browser};
use crate::client::Client;
use crate::page::text::visible;
use crate::page::{Page, Shared, guarded, routes};
use crate::server::tests_world::{Mount, World, holder, who};
use crate::wire::name::to_query;
use crate::wire::snapshot::Snapshot;

/// Each is tried as a name, as content, as a message and as every other text there is.
const PAYLOADS: &[&str] = &[
    "<script>alert(1)</script>",
    "\"><script>alert(1)</script>",
    "'><img src=x onerror=alert(1)>",
    "\" onmouseover=\"alert(1)\" x=\"",
    "' autofocus onfocus='alert(1)",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "//evil.example/x",
    "</title><script>alert(1)</script>",
    "</pre></ol></td></table><h1>owned</h1>",
    "</textarea><!--<svg onload=alert(1)>-->",
    "<svg/onload=alert(1)>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<style>*{display:none}</style>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "a\r\nSet-Cookie: x=y\r\n\r\n<script>alert(1)</script>",
    "a\nb\u{2028}c",
    "invoice\u{202e}gpj.exe",
    "\u{2066}a\u{2069}\u{200b}b\u{feff}",
    "\u{1b}[31mred\u{1b}]0;title\u{7}",
    "{{7*7}}${7*7}<%=7*7%>",
    "?path=x&after=y#z%00%2e%2e%2f",
    "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
    "\u{fe64}script\u{fe65}alert(1)",
    "日本語 👩‍💻 ä",
];

/// A long one, and those that only bytes can be.
fn payloads() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = PAYLOADS.iter().map(|text| text.as_bytes().to_vec()).collect();
    all.push(b"<b>".repeat(80));
    all.push(b"\xff\xfe<script>alert(1)</script>\xc3".to_vec());
    all.push(b"\xed\xa0\x80\"><img src=x>".to_vec());
    all
}

/// The payload as a file's name: all bytes but two may be in one.
fn as_name(payload: &[u8]) -> Vec<u8> {
    payload.iter().map(|byte| if matches!(byte, b'/' | 0) { b'!' } else { *byte }).take(255).collect()
}

/// A page that was let through the strict reader and has this text.
fn shows(answer: &Answer, text: &str, what: &str) {
    assert_eq!(answer.status, 200, "{what}");
    let page = answer.page();
    // Escapes are elements of their own, which the reader puts on lines of their own.
    let without_ends = |text: &str| text.replace('\n', "");
    assert!(without_ends(&page.text).contains(&without_ends(text)), "{what} does not show {text:?}:\n{}", page.text);
}

/// As the page shows bytes on one line.
fn on_a_line(bytes: &[u8]) -> String {
    bytes
        .utf8_chunks()
        .map(|part| {
            visible(part.valid()) + &part.invalid().iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>()
        })
        .collect()
}

async fn publish_with(world: &World, name: &[u8], content: &[u8], note: PublishNote) -> SnapshotId {
    let id = world.repo.workspace("w").await.unwrap().id;
    let attached = world.repo.attach(id, holder(9), &who()).await.unwrap();
    let mut mount = Mount::new(world.repo.clone(), attached);
    mount.send(name, &[Bytes::copy_from_slice(content)]).await.unwrap();
    let published = world.repo.commit(&mount.lease, mount.position, note).await.unwrap();
    world.repo.detach(&mount.lease).await.unwrap();
    published.snapshot
}

#[tokio::test]
async fn files_and_snapshots_are_text() {
    let world = World::new().await;
    world.repo.create_workspace("w", Some("\"><script>alert(1)</script>"), None).await.unwrap();
    let browser = Browser::visiting(&world.state, world.address).await;
    shows(&browser.get("/admin").await, "\"><script>alert(1)</script>", "the source");
    for payload in payloads() {
        let what = String::from_utf8_lossy(&payload).into_owned();
        let (name, text) = (as_name(&payload), String::from_utf8_lossy(&payload).into_owned());
        let note = PublishNote {
            author: text.clone(),
            message: text.clone(),
            session: text.clone(),
            turn: text.clone(),
            ..PublishNote::default()
        };
        let snapshot = publish_with(&world, &name, &payload, note).await;
        let at = format!("/admin/workspaces/w/at/{snapshot}");
        let path = to_query(&name);
        shows(&browser.get("/admin/workspaces/w").await, &visible(&text), &what);
        let root = browser.get(&at).await;
        shows(&root, &visible(&text), &what);
        shows(&root, &on_a_line(&name), &what);
        // The link in the listing leads to the file, bytes that are no text too.
        let to_file = format!("{at}?path={path}");
        assert!(root.page().links.contains(&to_file), "{what}: no {to_file} in {:?}", root.page().links);
        let file = browser.get(&to_file).await;
        shows(&file, &on_a_line(&name), &what);
        match std::str::from_utf8(&payload) {
            Ok(text) => text.lines().for_each(|line| shows(&file, &visible(line), &what)),
            Err(_) => shows(&file, "Not text", &what),
        }
        saved(&browser.get(&format!("{at}/download?path={path}")).await, &payload, &name);
        for diff in [
            format!("/admin/workspaces/w/diff?from={}&to={snapshot}", parent(&world, snapshot).await),
            format!("/admin/workspaces/w/diff/file?from={}&to={snapshot}&path={path}", parent(&world, snapshot).await),
        ] {
            shows(&browser.get(&diff).await, &on_a_line(&name), &what);
        }
        // As a path that is not there, in an error.
        let missing = browser.get(&format!("{at}?path=none{path}")).await;
        assert!(matches!(missing.status, 400 | 404), "{what}: {}", missing.status);
        missing.page();
    }
}

async fn parent(world: &World, snapshot: SnapshotId) -> SnapshotId {
    let about: Snapshot = world.client.snapshot(snapshot).await.unwrap();
    about.parents[0]
}

/// A download that no browser shows.
fn saved(answer: &Answer, content: &[u8], name: &[u8]) {
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/octet-stream"));
    let expected = crate::wire::name::to_segment_bytes(name);
    assert_eq!(answer.header("content-disposition"), format!("attachment; filename*=UTF-8''{expected}"));
    assert!(answer.body == content, "another content");
}

/// An engine whose every text of sessions and documents is this payload.
fn fake(world: &World, text: &str) -> Router {
    let time = json!({ "seconds": 1_700_000_000, "nanos": 0 });
    let id = "00".repeat(32);
    let session = json!({
        "id": "0123456789abcdef", "workspace": "00".repeat(16), "workspace_name": text, "agent": text, "user": text,
        "title": text, "state": text, "created": time, "last_event": 9, "turns": 1,
        "lease": { "epoch": 1, "owner": text, "last_seen": time },
    });
    let document = json!({
        "scope": text, "path": text, "version": 2, "base": 1, "size": text.len(), "digest": "", "deleted": false, "side": true,
        "time": time, "author": text, "session": text, "turn": 1, "tool_call": text,
    });
    let first = {
        let mut first = document.clone();
        first["version"] = json!(1);
        first["base"] = json!(0);
        first
    };
    let turn = json!({
        "number": 1, "snapshot": id, "before": "11".repeat(32), "time": time,
        "documents": [{ "scope": text, "path": text, "version": 1 }],
    });
    let content = text.to_owned();
    let version = move || {
        let content = content.clone();
        async move { ([("etag", "\"1\""), ("esker-scope", "org")], content) }
    };
    let json_of = |value: Value| get(move || async move { Json(value) });
    Router::new()
        .route("/v1/sessions", json_of(json!({ "sessions": [session] })))
        .route("/v1/sessions/{id}", json_of(session))
        .route("/v1/sessions/{id}/events", json_of(json!({ "events": events(text), "more": true })))
        .route("/v1/sessions/{id}/turns", json_of(json!({ "turns": [turn] })))
        .route("/v1/documents", json_of(json!({ "documents": [document] })))
        .route("/v1/documents/versions", json_of(json!({ "versions": [document, first] })))
        .route("/v1/documents/content", get(version))
        .fallback_service(crate::server::router(world.state.clone()))
        .layer(axum::middleware::map_response(|mut response: Response| async {
            response.headers_mut().insert(crate::VERSION_HEADER, HeaderValue::from_static(crate::VERSION));
            response
        }))
}

/// One event of each kind, and some that nobody writes, with the payload wherever text can be.
fn events(text: &str) -> Vec<Value> {
    let input = json!({ text: text, "nested": { text: [text] }, "number": 1 });
    let bodies = [
        ("session.started", 0, json!({ "task": text, "prompt": { text: text } })),
        ("user.message", 0, json!({ "text": text })),
        (
            "model.answer",
            1,
            json!({ "stop_reason": text, "content": [
            { "type": "text", "text": text },
            { "type": "thinking", "thinking": text },
            { "type": "tool_use", "id": "call", "name": text, "input": input },
            { "type": "tool_use", "id": "other", "name": text, "input": null, "input_text": text },
            { "type": text, text: text },
            text,
        ] }),
        ),
        (
            "tool.finished",
            1,
            json!({ "name": text, "result": { "text": text, "is_error": true }, "duration_ms": 1_234 }),
        ),
        ("tool.finished", 1, json!({ "result": text })),
        ("turn.ended", 1, json!({})),
        ("notice", 0, json!({ "message": text })),
        (text, 0, json!({ text: text })),
        ("session.ended", 0, json!({ "state": text, "reason": text, "message": text })),
    ];
    let time = json!({ "seconds": 1_700_000_000, "nanos": 0 });
    let event = |(index, (kind, turn, data)): (usize, (&str, u64, Value))| {
        let call = if index == 3 { "call" } else { text };
        json!({
            "sequence": index + 1, "key": text, "kind": kind, "turn": turn, "tool_call": call, "time": time, "epoch": 1,
            "data": data,
        })
    };
    bodies.into_iter().enumerate().map(event).collect()
}

/// The page of an engine that is not quite one.
async fn page_of(world: &World, engine: Router) -> Browser {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = Client::in_process(engine).unwrap();
    let page = Page(Arc::new(Shared { client, state: world.state.clone(), address }));
    let app = guarded(routes(&page), page);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Browser::visiting(&world.state, address).await
}

#[tokio::test]
async fn sessions_and_documents_are_text() {
    let world = World::new().await;
    let mut texts: Vec<String> = PAYLOADS.iter().map(|text| (*text).to_owned()).collect();
    texts.push("a\0b<script>alert(1)</script>".into());
    for text in &texts {
        let browser = page_of(&world, fake(&world, text)).await;
        let line = visible(text);
        let whole = to_query(text.as_bytes());
        for path in [
            "/admin/sessions".to_owned(),
            format!("/admin/sessions?workspace={whole}"),
            "/admin/sessions/0123456789abcdef".to_owned(),
            "/admin/sessions/0123456789abcdef?turn=1".to_owned(),
            "/admin/documents".to_owned(),
            format!("/admin/documents/versions?scope={whole}&path={whole}"),
            format!("/admin/documents/version?scope={whole}&path={whole}&version=1"),
            format!("/admin/documents/diff?scope={whole}&path={whole}&from=1&to=2"),
        ] {
            shows(&browser.get(&path).await, &line, &path);
        }
        let event = browser.get("/admin/sessions/0123456789abcdef/events/1").await;
        shows(&event, &visible(&serde_json::to_string(text).unwrap()), "an event");
        let download = format!("/admin/documents/download?scope={whole}&path={whole}&version=1");
        saved(&browser.get(&download).await, text.as_bytes(), text.rsplit('/').next().unwrap().as_bytes());
    }
}

#[tokio::test]
async fn what_the_engine_says_about_an_error_is_text() {
    let world = World::new().await;
    for text in PAYLOADS {
        let said = (*text).to_owned();
        let refuse = move |_: Request| {
            let body = json!({ "error": { "kind": "conflict", "message": said } });
            async move {
                (axum::http::StatusCode::CONFLICT, [(crate::VERSION_HEADER, crate::VERSION)], Json(body))
                    .into_response()
            }
        };
        let browser = page_of(&world, Router::new().fallback(refuse)).await;
        for path in ["/admin", "/admin/workspaces/w", "/admin/sessions/x", "/admin/documents"] {
            let answer = browser.get(path).await;
            assert_eq!(answer.status, 409, "{text}");
            let shown = answer.page().text.replace('\n', "");
            assert!(shown.contains(&visible(text).replace('\n', "")), "{text}: {shown}");
        }
    }
}
