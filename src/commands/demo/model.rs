//! The scripted model: a server of Anthropic Messages whose answers are a list.
//!
//! It keeps no state: how far a conversation is, is counted in the request. So an agent that was killed and asks again gets
//! the same answer.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use vfs_core::{Error, Result};

/// The call in which the agent is killed: the second run of the tests.
pub(super) const KILLED_IN: &str = "toolu_demo_5";

/// What the model says in one turn, and the tool that it asks for.
struct Line {
    says: &'static str,
    tool: Option<(&'static str, Value)>,
}

/// The script. Each turn fits what the tools answered to the turn before.
fn script() -> Vec<Line> {
    let line = |says, tool, input| Line { says, tool: Some((tool, input)) };
    vec![
        line("There is a skill for this.", "Skill", json!({ "skill": "fix-tests" })),
        line("First I run the tests.", "Bash", json!({ "command": "sh tests/run.sh" })),
        line("\"slug\" keeps the spaces.", "Read", json!({ "file_path": "/workspace/slug.sh" })),
        line(
            "It replaces only the first space.",
            "Edit",
            json!({
                "file_path": "/workspace/slug.sh",
                "old_string": "sed 's/ /-/'",
                "new_string": "sed 's/  */-/g'",
            }),
        ),
        line("Now all the tests, the slow ones too.", "Bash", json!({ "command": "sh tests/run.sh --slow" })),
        line(
            "All pass. I write down what I learned.",
            "Write",
            json!({
                "file_path": "/memories/project.md",
                "content": "# This project\n\n* `sh tests/run.sh` runs the tests, `--slow` all of them.\n",
            }),
        ),
        line(
            "",
            "Bash",
            json!({ "command": "echo '* sed replaces once a line unless it ends in /g.' >> /memories/project.md" }),
        ),
        Line { says: "Fixed: `slug` replaced only the first space. I noted how to run the tests.", tool: None },
    ]
}

/// Listens on a free port of this machine; returns the base URL. Lives as long as this process.
pub(super) async fn serve() -> Result<String> {
    let failed = |error| Error::io("the scripted model cannot listen on 127.0.0.1", error);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let router = Router::new().route("/v1/messages", post(answer));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!("the scripted model has ended: {error}");
        }
    });
    Ok(format!("http://{address}"))
}

async fn answer(axum::Json(request): axum::Json<Value>) -> Response {
    let messages = request["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let said = messages.iter().filter(|message| message["role"] == "assistant").count();
    let script = script();
    let last = script.len() - 1;
    let body = stream(said + 1, &script[said.min(last)]);
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// One answer as the server-sent events of the protocol.
fn stream(number: usize, line: &Line) -> String {
    let mut events = vec![json!({
        "type": "message_start",
        "message": {
            "id": format!("msg_demo_{number}"), "type": "message", "role": "assistant", "model": "script",
            "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": { "input_tokens": 0, "output_tokens": 0 },
        },
    })];
    let mut blocks = Vec::new();
    if !line.says.is_empty() {
        blocks.push((json!({ "type": "text", "text": "" }), json!({ "type": "text_delta", "text": line.says })));
    }
    if let Some((name, input)) = &line.tool {
        let id = format!("toolu_demo_{number}");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_killed_in_a_command_of_the_script() {
        let number: usize = KILLED_IN.rsplit('_').next().unwrap().parse().unwrap();
        let tool = script()[number - 1].tool.as_ref().map(|(name, _)| *name);
        assert_eq!(tool, Some("Bash"));
    }

    #[test]
    fn only_the_last_line_asks_for_nothing() {
        let script = script();
        let without = script.iter().position(|line| line.tool.is_none());
        assert_eq!(without, Some(script.len() - 1));
    }
}
