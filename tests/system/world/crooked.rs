//! A model of our own that answers what aimock refuses to: broken JSON, events that make no sense, answers without an end.
//!
//! Which answer a request gets is the number of assistant messages that it holds.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

/// A running server; its threads end with the test.
pub(crate) struct Crooked {
    /// Its address, for `ANTHROPIC_BASE_URL`.
    pub(crate) url: String,
    requests: Arc<AtomicUsize>,
}

impl Crooked {
    /// Serves these event streams, one for each turn. The connection is closed after each.
    pub(crate) fn start(answers: Vec<String>) -> Crooked {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(AtomicUsize::new(0));
        let count = requests.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                // A client that goes away in the middle is no business of the server's.
                let _ = answer(connection, &answers);
            }
        });
        Crooked { url, requests }
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

fn answer(connection: TcpStream, answers: &[String]) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let messages = body["messages"].as_array().into_iter().flatten();
    let turn = messages.filter(|message| message["role"] == "assistant").count();
    let mut connection = reader.into_inner();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    connection.write_all(head.as_bytes())?;
    connection.write_all(answers.get(turn).map_or("", String::as_str).as_bytes())?;
    connection.shutdown(Shutdown::Write)
}

/// One event of a stream.
pub(crate) fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or("x"))
}

/// A whole answer with these blocks; the input of a call is sent as the text that it is.
pub(crate) fn stream(blocks: &[(Value, &str)], stop_reason: &str) -> String {
    let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "m",
        "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1}});
    let mut text = event(&json!({"type": "message_start", "message": message}));
    for (index, (block, input)) in blocks.iter().enumerate() {
        text += &event(&json!({"type": "content_block_start", "index": index, "content_block": block}));
        let delta = match block["type"].as_str() {
            Some("tool_use") => json!({"type": "input_json_delta", "partial_json": input}),
            _ => json!({"type": "text_delta", "text": input}),
        };
        text += &event(&json!({"type": "content_block_delta", "index": index, "delta": delta}));
        text += &event(&json!({"type": "content_block_stop", "index": index}));
    }
    let delta = json!({"stop_reason": stop_reason, "stop_sequence": null});
    text += &event(&json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 2}}));
    text + &event(&json!({"type": "message_stop"}))
}
