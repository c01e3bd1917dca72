//! A model that reads its lines from a script: a server of Anthropic Messages whose answers are a list.
//!
//! It keeps no state: how far a conversation is, is counted in the request. So an agent that was killed and asks again gets
//! the same answer.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use vfs_core::{Error, Result};

/// What the model says in one turn, and the tool that it asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its words; may be empty.
    pub says: &'static str,
    /// Name and input of the tool; none in the last turn.
    pub tool: Option<(&'static str, Value)>,
}

/// The id of the tool call in a turn, from 1.
pub fn call_id(turn: usize) -> String {
    format!("toolu_script_{turn}")
}

/// Listens on a free port of this machine; returns the base URL. Lives as long as this process.
pub async fn serve(script: Vec<Line>) -> Result<String> {
    let failed = |error| Error::io("the scripted model cannot listen on 127.0.0.1", error);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let router = Router::new().route("/v1/messages", post(answer)).with_state(Arc::new(script));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!("the scripted model has ended: {error}");
        }
    });
    Ok(format!("http://{address}"))
}

async fn answer(State(script): State<Arc<Vec<Line>>>, Json(request): Json<Value>) -> Response {
    let messages = request["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let said = messages.iter().filter(|message| message["role"] == "assistant").count();
    let Some(line) = script.get(said) else {
        return (StatusCode::BAD_REQUEST, "the script has no further line").into_response();
    };
    let body = stream(said + 1, line);
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// One answer as the server-sent events of the protocol.
fn stream(number: usize, line: &Line) -> String {
    let mut events = vec![json!({
        "type": "message_start",
        "message": {
            "id": format!("msg_script_{number}"), "type": "message", "role": "assistant", "model": "script",
            "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": { "input_tokens": 0, "output_tokens": 0 },
        },
    })];
    let mut blocks = Vec::new();
    if !line.says.is_empty() {
        blocks.push((json!({ "type": "text", "text": "" }), json!({ "type": "text_delta", "text": line.says })));
    }
    if let Some((name, input)) = &line.tool {
        let id = call_id(number);
        blocks.push((
            json!({ "type": "tool_use", "id": id, "name": name, "input": {} }),
            json!({ "type": "input_json_delta", "partial_json": input.to_string() }),
        ));
    }
    for (index, (start, delta)) in blocks.into_iter().enumerate() {
        events.push(json!({ "type": "content_block_start", "index": index, "content_block": start }));
        events.push(json!({ "type": "content_block_delta", "index": index, "delta": delta }));
        events.push(json!({ "type": "content_block_stop", "index": index }));
    }
    let reason = if line.tool.is_some() { "tool_use" } else { "end_turn" };
    let delta = json!({ "stop_reason": reason, "stop_sequence": null });
    events.push(json!({ "type": "message_delta", "delta": delta, "usage": { "output_tokens": 0 } }));
    events.push(json!({ "type": "message_stop" }));
    let lines =
        events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("")));
    lines.collect()
}
