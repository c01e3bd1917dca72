//! A scripted model: what it says depends on how many answers the conversation has, and how often it was asked for this one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use super::Points;

/// What the server does when it is asked.
#[derive(Clone)]
pub(crate) enum Reply {
    /// An answer of these blocks, with this stop reason.
    Blocks(Vec<Value>, &'static str),
    /// A status, headers and a body.
    Status(u16, Vec<(&'static str, &'static str)>, String),
    /// The first so many bytes of an answer's stream, then the end.
    Cut(Vec<Value>, usize),
    /// These bytes as a stream.
    Raw(String),
}

/// What is said to the `answers`th request of a conversation, when asked for the `time`th time (both from 0).
pub(crate) type Script = Arc<dyn Fn(usize, usize) -> Reply + Send + Sync>;

pub(crate) struct Server {
    pub(crate) url: String,
    requests: Arc<Mutex<HashMap<usize, Vec<Bytes>>>>,
    headers: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Server {
    pub(crate) async fn start(script: Script, points: Arc<Points>) -> Server {
        let requests: Arc<Mutex<HashMap<usize, Vec<Bytes>>>> = Arc::default();
        let headers: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
        let (kept, seen) = (requests.clone(), headers.clone());
        let answer = move |headers: HeaderMap, body: Bytes| {
            let request: Value = serde_json::from_slice(&body).unwrap();
            let answers = request["messages"].as_array().unwrap().iter().filter(|m| m["role"] == "assistant").count();
            let time = {
                let mut kept = kept.lock().unwrap();
                let of_turn = kept.entry(answers).or_default();
                of_turn.push(body);
                of_turn.len() - 1
            };
            seen.lock().unwrap().push(headers);
            let (script, points) = (script.clone(), points.clone());
            async move {
                points.pass().await;
                let response = reply(script(answers, time));
                points.pass().await;
                response
            }
        };
        let router = Router::new().route("/v1/messages", post(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Server { url, requests, headers }
    }

    /// As new.
    pub(crate) fn reset(&self) {
        self.requests.lock().unwrap().clear();
    }

    /// The requests by how many answers they had.
    pub(crate) fn requests(&self) -> HashMap<usize, Vec<Bytes>> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn headers(&self) -> Vec<HeaderMap> {
        self.headers.lock().unwrap().clone()
    }
}

fn reply(reply: Reply) -> Response {
    let stream =
        |text: String| Response::builder().header("content-type", "text/event-stream").body(Body::from(text)).unwrap();
    match reply {
        Reply::Blocks(blocks, stop) => stream(sse(&blocks, stop)),
        Reply::Cut(blocks, bytes) => stream(sse(&blocks, "end_turn")[..bytes].to_owned()),
        Reply::Raw(text) => stream(text),
        Reply::Status(status, headers, body) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
    }
}

/// The stream of an answer. The input of a call may be given as text, which is then sent as it is.
pub(crate) fn sse(blocks: &[Value], stop: &str) -> String {
    let mut events = vec![json!({ "type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "scripted-1", "content": [],
        "stop_reason": null, "usage": { "input_tokens": 11, "output_tokens": 1 },
    }})];
    for (index, block) in blocks.iter().enumerate() {
        let mut start = block.clone();
        let mut deltas = Vec::new();
        for (field, kind) in [("text", "text_delta"), ("thinking", "thinking_delta"), ("signature", "signature_delta")]
        {
            if let Some(text) = block[field].as_str() {
                deltas.extend(halves(text).map(|half| json!({ "type": kind, field: half })));
                start[field] = json!("");
            }
        }
        if block["type"] == "tool_use" {
            let input = block["input"].as_str().map_or_else(|| block["input"].to_string(), str::to_owned);
            deltas.extend(halves(&input).map(|half| json!({ "type": "input_json_delta", "partial_json": half })));
            start["input"] = json!({});
        }
        events.push(json!({ "type": "content_block_start", "index": index, "content_block": start }));
        events.push(json!({ "type": "ping" }));
        events.extend(
            deltas.into_iter().map(|delta| json!({ "type": "content_block_delta", "index": index, "delta": delta })),
        );
        events.push(json!({ "type": "content_block_stop", "index": index }));
    }
    events.push(json!({ "type": "message_delta", "delta": { "stop_reason": stop, "stop_sequence": null },
        "usage": { "output_tokens": 42 } }));
    events.push(json!({ "type": "message_stop" }));
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).collect()
}

fn halves(text: &str) -> impl Iterator<Item = String> {
    let middle = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap();
    let (first, second) = text.split_at(middle);
    [first.to_owned(), second.to_owned()].into_iter()
}

pub(crate) fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

/// A call; `input` is JSON text, which may be broken.
pub(crate) fn call(id: &str, name: &str, input: &str) -> Value {
    json!({ "type": "tool_use", "id": id, "name": name, "input": input })
}

/// A script by turns, without faults.
pub(crate) fn turns(turns: Vec<Vec<Value>>) -> Script {
    Arc::new(move |answers, _| {
        let blocks = turns.get(answers).cloned().unwrap_or_else(|| vec![text("nothing more")]);
        let stop = if blocks.iter().any(|block| block["type"] == "tool_use") { "tool_use" } else { "end_turn" };
        Reply::Blocks(blocks, stop)
    })
}
