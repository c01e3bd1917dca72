//! Answers as they come: whole, in pieces, cut, broken; requests and secrets.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};
use vfs_core::Kind;

use super::model::gather;
use super::stream::whole;
use super::{Answer, Fault, Message, Prompt, Role, Settings};
use crate::run::tests::model::{call, sse, text};

const PATIENCE: Duration = Duration::from_secs(5);

async fn heard(parts: Vec<&[u8]>) -> (Result<Answer, Fault>, String) {
    let shown = Mutex::new(String::new());
    let parts: Vec<Result<Bytes, String>> = parts.into_iter().map(|part| Ok(Bytes::copy_from_slice(part))).collect();
    let answer = gather(stream::iter(parts), PATIENCE, &|text| shown.lock().unwrap().push_str(text)).await;
    (answer, shown.into_inner().unwrap())
}

fn blocks() -> Vec<Value> {
    vec![
        json!({ "type": "thinking", "thinking": "wäge ab", "signature": "c2lnbmF0dXJl" }),
        text("Grüße 🦀\nnext"),
        call("t1", "Read", r#"{"file_path":"/a \"b\" ü","limit":3}"#),
        call("t2", "Bash", r#"{"command":"#),
        json!({ "type": "redacted_thinking", "data": "opaque" }),
    ]
}

fn check(answer: &Answer, shown: &str) {
    assert_eq!(answer.content[0], json!({ "type": "thinking", "thinking": "wäge ab", "signature": "c2lnbmF0dXJl" }));
    assert_eq!(answer.content[1]["text"], "Grüße 🦀\nnext");
    assert_eq!(answer.content[2]["input"], json!({ "file_path": "/a \"b\" ü", "limit": 3 }));
    assert_eq!(answer.content[3]["input"], Value::Null);
    assert_eq!(answer.content[3]["input_text"], r#"{"command":"#);
    assert_eq!(answer.content[4], json!({ "type": "redacted_thinking", "data": "opaque" }));
    assert_eq!((answer.stop_reason.as_str(), answer.id.as_str()), ("tool_use", "msg_1"));
    assert_eq!(answer.usage, json!({ "input_tokens": 11, "output_tokens": 42 }));
    assert_eq!(shown, "Grüße 🦀\nnext");
    let calls: Vec<_> = answer.calls().map(|call| (call.id, call.input.is_some())).collect();
    assert_eq!(calls, [("t1".to_owned(), true), ("t2".to_owned(), false)]);
}

#[tokio::test]
async fn an_answer_is_the_same_however_it_is_cut_into_pieces() {
    for ends in ["\n", "\r\n"] {
        let stream = sse(&blocks(), "tool_use").replace('\n', ends);
        let bytes = stream.as_bytes();
        for at in 0..=bytes.len() {
            let (answer, shown) = heard(vec![&bytes[..at], &bytes[at..]]).await;
            check(&answer.unwrap_or_else(|fault| panic!("cut at {at}: {fault:?}")), &shown);
        }
        let (answer, shown) = heard(bytes.chunks(1).collect()).await;
        check(&answer.unwrap(), &shown);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_anywhere_is_none() {
    let stream = sse(&blocks(), "tool_use");
    let bytes = stream.as_bytes();
    // Without its last line end, the last event has not come.
    for at in 0..bytes.len() {
        let (answer, _) = heard(vec![&bytes[..at]]).await;
        let fault = answer.err().unwrap_or_else(|| panic!("{at} of {} bytes counted as an answer", bytes.len()));
        assert!(fault.again, "cut at {at}: {fault:?}");
    }
}

#[tokio::test]
async fn errors_in_the_middle_say_whether_to_ask_again() {
    let whole = sse(&[text("half")], "end_turn");
    let begin = whole.split("event: message_delta").next().unwrap();
    for (code, again) in [
        ("overloaded_error", true),
        ("api_error", true),
        ("rate_limit_error", true),
        ("new_error", true),
        ("invalid_request_error", false),
        ("authentication_error", false),
        ("permission_error", false),
    ] {
        let event = json!({ "type": "error", "error": { "type": code, "message": "sorry" } });
        let (answer, shown) =
            heard(vec![begin.as_bytes(), format!("event: error\ndata: {event}\n\n").as_bytes()]).await;
        let fault = answer.unwrap_err();
        assert_eq!((fault.again, fault.code.as_str(), shown.as_str()), (again, code, "half"));
        assert!(fault.message.contains("sorry"));
    }
}

#[tokio::test]
async fn nonsense_is_no_answer() {
    let good = sse(&[text("x")], "end_turn");
    let twice = good.replacen(
        "event: ping",
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\nevent: ping",
        1,
    );
    let cases = [
        ("no JSON", "data: {oops\n\n".to_owned()),
        ("no UTF-8", String::new()),
        ("a jump", good.replace("\"index\":0", "\"index\":7")),
        ("no index", good.replace("\"index\":0,", "")),
        ("no beginning", good.replacen("message_start", "ping", 2)),
        ("twice", twice),
        ("no type", good.replace("\"type\":\"text\"", "\"tipe\":\"text\"")),
    ];
    for (what, stream) in cases {
        let bytes = if what == "no UTF-8" { b"data: \xff\xfe\n\n".to_vec() } else { stream.into_bytes() };
        let (answer, _) = heard(vec![&bytes]).await;
        assert!(answer.is_err_and(|fault| fault.again), "{what}");
    }
    // What is not known is not in the way.
    let more = good.replacen("event: ping", "event: news\ndata: {\"type\":\"news\"}\n\n: a comment\n\nevent: ping", 1);
    assert!(heard(vec![more.as_bytes()]).await.0.is_ok());
}

#[tokio::test]
async fn an_answer_has_bounds() {
    let line = "data: ".to_owned() + &"x".repeat(1024 * 1024);
    let (answer, _) = heard(std::iter::repeat_n(line.as_bytes(), 20).collect()).await;
    assert!(answer.unwrap_err().message.contains("too long"));
    let large = "y".repeat(4 * 1024 * 1024);
    let (answer, _) = heard(vec![sse(&[text(&large)], "end_turn").as_bytes()]).await;
    assert_eq!(answer.unwrap_err().code, "too_large");
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100), "]".repeat(100));
    let (answer, _) = heard(vec![sse(&[call("t", "Read", &deep)], "tool_use").as_bytes()]).await;
    assert_eq!(answer.unwrap().content[0]["input"], Value::Null, "too deep for an event is as good as broken");
}

#[tokio::test]
async fn silence_is_a_fault() {
    let answer = gather(stream::pending(), Duration::from_millis(10), &|_| {}).await;
    assert_eq!(answer.unwrap_err().code, "silent");
}

#[test]
fn a_server_that_does_not_stream_is_understood() {
    let body = json!({ "id": "m", "model": "x", "type": "message", "role": "assistant", "stop_reason": "end_turn",
        "content": [{ "type": "text", "text": "hi" }], "usage": { "output_tokens": 1 } });
    assert_eq!(whole(body.to_string().as_bytes()).unwrap().text(), "hi");
    assert!(whole(b"<html>").unwrap_err().again);
}

#[test]
fn numbers_do_not_move_between_requests() {
    let input = r#"{"n":0.30000000000000004,"m":123456789012345678901234567890.123,"e":2.2250738585072011e-308}"#;
    let mut fields = serde_json::Map::new();
    super::answer::take_input(&mut fields, input);
    let once = serde_json::to_string(&fields["input"]).unwrap();
    let again = serde_json::to_string(&serde_json::from_str::<Value>(&once).unwrap()).unwrap();
    assert_eq!(once, again);
}

#[test]
fn what_an_api_refuses_is_not_sent_back() {
    let answer = Answer {
        content: vec![
            text(" \n"),
            json!({ "type": "tool_use", "id": "a", "name": "Read", "input": null, "input_text": "{" }),
            json!({ "type": "tool_use", "id": "b", "name": "Read", "input": [1] }),
            json!({ "type": "thinking", "thinking": "", "signature": "s" }),
        ],
        ..Answer::default()
    };
    let sent = answer.sent_back(&["x".into(), "y".into()]);
    assert_eq!(
        sent,
        [
            json!({ "type": "tool_use", "id": "x", "name": "Read", "input": {} }),
            json!({ "type": "tool_use", "id": "y", "name": "Read", "input": {} }),
            json!({ "type": "thinking", "thinking": "", "signature": "s" }),
        ]
    );
}

#[test]
fn roles_take_turns_in_a_request() {
    let prompt =
        Prompt { model: "m".into(), max_tokens: 9, system: "be good".into(), tools: vec![json!({ "name": "Read" })] };
    let said = |role, said: &str| Message { role, content: vec![text(said)] };
    let messages = [
        said(Role::User, "a"),
        said(Role::User, "b"),
        Message { role: Role::Assistant, content: vec![] },
        said(Role::Assistant, "c"),
        said(Role::Assistant, "d"),
        said(Role::User, "e"),
    ];
    let request = prompt.request(&messages);
    let roles: Vec<&str> =
        request["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
    assert_eq!(request["messages"][0]["content"].as_array().unwrap().len(), 2);
    assert_eq!((&request["stream"], &request["max_tokens"]), (&json!(true), &json!(9)));
    assert_eq!(request["messages"][2]["content"][0]["cache_control"], json!({ "type": "ephemeral" }));
    assert_eq!(request["system"][0]["text"], "be good");
}

fn settings(variables: &[(&str, &str)]) -> vfs_core::Result<Settings> {
    let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    Settings::read(find, None)
}

#[test]
fn settings_come_from_the_environment() {
    let found = settings(&[("ANTHROPIC_API_KEY", "k")]).unwrap();
    assert_eq!(found.url.as_str(), "https://api.anthropic.com/v1/messages");
    assert_eq!(found.headers["x-api-key"], "k");
    assert!(!found.headers.contains_key("authorization"));
    for base in ["http://127.0.0.1:9/", "http://127.0.0.1:9/v1", "http://127.0.0.1:9"] {
        let found = settings(&[("ANTHROPIC_BASE_URL", base), ("ANTHROPIC_AUTH_TOKEN", "t"), ("ANTHROPIC_MODEL", "m")]);
        let found = found.unwrap();
        assert_eq!(found.url.as_str(), "http://127.0.0.1:9/v1/messages");
        assert_eq!((found.headers["authorization"].to_str().unwrap(), found.model.as_str()), ("Bearer t", "m"));
        assert!(found.is_local() && !found.headers.contains_key("x-api-key"));
    }
    let custom = ("ANTHROPIC_CUSTOM_HEADERS", "X-AIMock-Context: A\nX-Other: b c");
    let found = settings(&[("ANTHROPIC_API_KEY", "k"), custom]).unwrap();
    assert_eq!(
        (&found.headers["x-aimock-context"], &found.headers["x-other"]),
        (&"A".parse().unwrap(), &"b c".parse().unwrap())
    );
}

#[test]
fn wrong_settings_are_named_without_their_values() {
    let cases: [(&[(&str, &str)], Kind); 5] = [
        (&[], Kind::Denied),
        (&[("ANTHROPIC_API_KEY", "se\ncret")], Kind::Invalid),
        (&[("ANTHROPIC_API_KEY", "k"), ("ANTHROPIC_BASE_URL", "ftp://secret")], Kind::Invalid),
        (&[("ANTHROPIC_API_KEY", "k"), ("ANTHROPIC_BASE_URL", "secret")], Kind::Invalid),
        (&[("ANTHROPIC_API_KEY", "k"), ("ANTHROPIC_CUSTOM_HEADERS", "secret")], Kind::Invalid),
    ];
    for (variables, kind) in cases {
        let error = settings(variables).unwrap_err();
        assert_eq!(error.kind(), kind, "{variables:?}");
        assert!(!error.chain().contains("secret"), "{}", error.chain());
    }
}

#[test]
fn secrets_are_never_shown() {
    let variables = [("ANTHROPIC_API_KEY", "sk-secret-key"), ("ANTHROPIC_BASE_URL", "https://me:pass@host:8/x?t=tok")];
    let found = settings(&variables).unwrap();
    let shown = format!("{found:?} {} {:?}", found.place(), found.headers);
    for secret in ["sk-secret-key", "pass", "tok"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert_eq!(found.scrubbed("Incorrect key sk-secret-key!"), "Incorrect key [secret]!");
}
