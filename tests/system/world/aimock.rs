//! A model that nobody here wrote: aimock (npm) answers from a script, and says afterwards what it was asked.
//!
//! Strict in both ways: a request that the script does not foresee is an error answer and stays in the journal, and the number of
//! assistant messages in a request decides which answer it gets, so the server keeps no state that a killed client could upset.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{PATIENCE, World, has_program, missing};

/// Where `scripts/setup` puts what `tests/npm/package-lock.json` names; `None` if it did not and skipping is allowed.
pub(crate) fn npm_file(path: &str) -> Option<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(".esker-tools/npm/node_modules").join(path);
    if !file.is_file() {
        missing(&format!("{} is not there: run scripts/setup", file.display()));
        return None;
    }
    has_program("node").then_some(file)
}

/// What the model of one session says, turn by turn. Sessions are told apart by the name of the model that they ask for.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    model: String,
    fixtures: Vec<Value>,
    turns: usize,
}

impl Script {
    /// An empty script for requests that name this model.
    pub(crate) fn new(model: &str) -> Script {
        Script { model: model.to_owned(), fixtures: Vec::new(), turns: 0 }
    }

    /// The next turn asks for these calls: id, tool, input.
    pub(crate) fn turn(&mut self, text: &str, calls: &[(&str, &str, Value)]) -> &mut Script {
        let calls: Vec<Value> =
            calls.iter().map(|(id, name, input)| json!({"id": id, "name": name, "arguments": input})).collect();
        let mut response = json!({"usage": {"prompt_tokens": 11, "completion_tokens": 7}});
        if !text.is_empty() {
            response["content"] = json!(text);
        }
        if !calls.is_empty() {
            response["toolCalls"] = json!(calls);
        }
        self.response(response)
    }

    /// The next turn, in aimock's own words.
    pub(crate) fn response(&mut self, response: Value) -> &mut Script {
        self.fixtures.push(json!({"match": self.matching(), "response": response, "latency": 1, "chunkSize": 24}));
        self.turns += 1;
        self
    }

    /// The answer that was added last comes in pieces, so many milliseconds apart.
    pub(crate) fn slowly(&mut self, pause_ms: u64) -> &mut Script {
        self.fixtures.last_mut().expect("an answer")["latency"] = json!(pause_ms);
        self
    }

    /// Before the answer that comes next is given, the `nth` request for it (from 0) meets this instead.
    pub(crate) fn fault(&mut self, nth: usize, fault: Value) -> &mut Script {
        let mut fixture = fault;
        fixture["match"] = self.matching();
        fixture["match"]["sequenceIndex"] = json!(nth);
        self.fixtures.push(fixture);
        self
    }

    fn matching(&self) -> Value {
        json!({"model": self.model, "turnIndex": self.turns})
    }
}

/// A running aimock.
#[derive(Debug)]
pub(crate) struct Aimock {
    /// Its address, for `ANTHROPIC_BASE_URL`.
    pub(crate) url: String,
    child: Child,
}

impl Aimock {
    /// Starts it with these scripts. `None` if it is not installed and skipping is allowed.
    pub(crate) fn start(world: &World, scripts: &[Script]) -> Option<Aimock> {
        let program = npm_file("@copilotkit/aimock/dist/cli.js")?;
        let fixtures: Vec<&Value> = scripts.iter().flat_map(|script| &script.fixtures).collect();
        let file = world.path("aimock.json");
        fs::write(&file, json!({"fixtures": fixtures}).to_string()).expect("the script can be written");
        let log_path = world.path("aimock.log");
        let log = fs::File::create(&log_path).expect("a log file");
        let mut child = Command::new("node")
            .arg(program)
            .args(["--host", "127.0.0.1", "--port", "0", "--strict", "--validate-on-load", "--journal-max", "0"])
            .arg("--fixtures")
            .arg(&file)
            .env("AIMOCK_STRICT_TURN_INDEX", "1")
            .env("HOME", world.path("home"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log file twice"))
            .stderr(log)
            .spawn()
            .expect("node starts");
        let start = Instant::now();
        loop {
            let said = fs::read_to_string(&log_path).unwrap_or_default();
            if let Some(url) = said.lines().find_map(|line| line.split_once("listening on ")) {
                return Some(Aimock { url: url.1.trim().to_owned(), child });
            }
            let ended = child.try_wait().expect("a child can be waited for");
            if ended.is_some() || start.elapsed() > PATIENCE {
                let _ = child.kill();
                panic!("aimock did not start ({ended:?}):\n{said}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// All requests for messages so far, oldest first: `body`, `headers`, `response`.
    pub(crate) fn requests(&self) -> Vec<Value> {
        let journal = serde_json::from_slice(&get(&self.url, "/__aimock/journal")).expect("the journal is JSON");
        let Value::Array(entries) = journal else { panic!("the journal is a list, not {journal}") };
        entries.into_iter().filter(|entry| entry["method"] == "POST").collect()
    }

    /// The requests for one model.
    pub(crate) fn requests_for(&self, model: &str) -> Vec<Value> {
        self.requests().into_iter().filter(|request| request["body"]["model"] == model).collect()
    }
}

impl Drop for Aimock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of a `GET` on loopback. HTTP 1.0, so that it ends with the connection and is not cut into chunks.
pub(crate) fn get(url: &str, path: &str) -> Vec<u8> {
    let address = url.strip_prefix("http://").expect("an http address").trim_end_matches('/');
    let mut connection = TcpStream::connect(address).expect("the server listens");
    write!(connection, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").expect("the server reads");
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).expect("the server answers");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    assert!(head.contains(" 200 "), "GET {path}: {head}");
    answer.split_off(end + 4)
}
