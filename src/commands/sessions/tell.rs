//! One event of a turn log as lines for people.
//!
//! What a model, a tool or a file said is shown so that it cannot steer a terminal or pass for something else: control and
//! bidirectional characters are escaped. Bodies are read leniently: what is not there is left out.

use api::wire::session::Event;
use serde_json::Value;

use crate::print;

/// Letters of a call's input that are shown.
const INPUT_SHOWN: usize = 160;
/// Lines of a call's result that are shown …
const RESULT_LINES: usize = 8;
/// … and letters of each.
const LINE_SHOWN: usize = 200;

/// The lines that tell an event; none for what says nothing new.
pub(super) fn tell(event: &Event) -> Vec<String> {
    let data = &event.data;
    match event.kind.as_str() {
        "session.started" => paragraph("task: ", text(data, "task")),
        "user.message" => paragraph("user: ", text(data, "text")),
        "turn.started" => {
            vec![String::new(), format!("── turn {} ── {}", event.turn, print::moment(event.time.into()))]
        }
        "model.answer" => answer(data),
        "tool.started" => Vec::new(),
        "tool.finished" => finished(event),
        "turn.ended" => vec![turn_ended(data)],
        "notice" => vec![format!("! {}", inert(&cut(&said(data), LINE_SHOWN)))],
        "session.ended" => vec![String::new(), session_ended(data)],
        other => vec![format!("({})", inert(other))],
    }
}

/// What the model wrote, and the calls that it asked for.
fn answer(data: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for block in data["content"].as_array().into_iter().flatten() {
        match block["type"].as_str() {
            Some("text") => lines.extend(paragraph("", text(block, "text"))),
            Some("tool_use") => {
                let (name, input) = (text(block, "name"), input_line(&block["input"]));
                lines.push(format!("→ {} {}", inert(name), inert(&cut(&input, INPUT_SHOWN))).trim_end().to_owned());
            }
            _ => {}
        }
    }
    lines
}

/// A call's input in one line: its only value, or all of it.
fn input_line(input: &Value) -> String {
    let Some(fields) = input.as_object() else { return input.to_string() };
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match fields.iter().collect::<Vec<_>>().as_slice() {
        [] => String::new(),
        [(_, value)] => plain(value),
        several => several.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect::<Vec<_>>().join(" "),
    }
}

fn finished(event: &Event) -> Vec<String> {
    let data = &event.data;
    let result = &data["result"];
    let shown = result["text"].as_str().unwrap_or_default();
    let mut lines: Vec<String> =
        shown.lines().take(RESULT_LINES).map(|line| format!("  {}", inert(&cut(line, LINE_SHOWN)))).collect();
    let more = shown.lines().count().saturating_sub(RESULT_LINES);
    if more > 0 {
        lines.push(format!("  … {} more", if more == 1 { "1 line".to_owned() } else { format!("{more} lines") }));
    }
    let failed = if result["is_error"] == Value::Bool(true) { " failed" } else { "" };
    let took = data["duration_ms"].as_u64().map_or_else(String::new, |took_ms| format!(" after {took_ms} ms"));
    let recovered = if data["recovered"] == Value::Bool(true) { ", found out after a crash" } else { "" };
    lines.insert(0, format!("← {}{failed}{took}{recovered}", inert(text(data, "name"))));
    lines
}

fn turn_ended(data: &Value) -> String {
    let (snapshot, before) = (text(data, "snapshot"), text(data, "before"));
    let unchanged = if snapshot == before { " (no file changed)" } else { "" };
    let mut line = format!("■ snapshot {}{unchanged}", inert(print::short(snapshot)));
    for document in data["documents"].as_array().into_iter().flatten() {
        let (scope, path) = (inert(text(document, "scope")), inert(text(document, "path")));
        line.push_str(&format!("\n  wrote {scope}:{path}, version {}", inert(&document["version"].to_string())));
    }
    line
}

fn session_ended(data: &Value) -> String {
    let state = inert(text(data, "state"));
    match ["message", "reason"].map(|name| text(data, name)).into_iter().find(|why| !why.is_empty()) {
        Some(why) if why != state => format!("{state}: {}", inert(why)),
        _ => state,
    }
}

/// What a notice says in words, or else all of it.
fn said(data: &Value) -> String {
    match ["message", "text"].map(|name| text(data, name)).into_iter().find(|words| !words.is_empty()) {
        Some(words) => words.to_owned(),
        None => data.to_string(),
    }
}

fn text<'v>(data: &'v Value, name: &str) -> &'v str {
    data[name].as_str().unwrap_or_default()
}

/// Text line by line, the first behind a word that says what it is.
fn paragraph(word: &str, text: &str) -> Vec<String> {
    let indent = " ".repeat(word.len());
    let lines = text.trim_end().lines().enumerate();
    lines.map(|(number, line)| format!("{}{}", if number == 0 { word } else { &indent }, inert(line))).collect()
}

/// The first letters, and a sign that there are more.
fn cut(text: &str, letters: usize) -> String {
    match text.char_indices().nth(letters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Text that does nothing but stand there: control and bidirectional characters are escaped, tabs are spaces.
pub(super) fn inert(text: &str) -> String {
    let steers = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
            || letter == '\u{feff}'
    };
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\t' => shown.push_str("    "),
            letter if steers(letter) => shown.extend(letter.escape_unicode()),
            letter => shown.push(letter),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use api::wire::name::Time;
    use serde_json::json;

    use super::*;

    fn told(kind: &str, data: Value) -> String {
        let time = Time { seconds: 0, nanos: 0 };
        let (key, tool_call) = (String::new(), String::new());
        tell(&Event { sequence: 1, key, kind: kind.into(), turn: 3, tool_call, time, epoch: 1, data }).join("\n")
    }

    #[test]
    fn a_turn_reads_like_a_story() {
        assert_eq!(told("turn.started", json!({})), "\n── turn 3 ── 1970-01-01 00:00:00Z");
        let content = json!([
            { "type": "thinking", "thinking": "hm" },
            { "type": "text", "text": "I look.\nThen I fix it.\n" },
            { "type": "tool_use", "id": "t", "name": "Bash", "input": { "command": "ls\n\trm" } },
            { "type": "tool_use", "id": "u", "name": "Edit", "input": { "file_path": "/workspace/a", "old_string": "x" } },
        ]);
        assert_eq!(
            told("model.answer", json!({ "content": content })),
            "I look.\nThen I fix it.\n→ Bash ls\\u{a}    rm\n→ Edit file_path=/workspace/a old_string=x"
        );
        let long: Vec<String> = (0..20).map(|number| format!("line {number}")).collect();
        let result = json!({ "text": long.join("\n"), "is_error": true });
        let shown = told("tool.finished", json!({ "name": "Bash", "result": result, "duration_ms": 7 }));
        assert!(shown.starts_with("← Bash failed after 7 ms\n  line 0\n"), "{shown}");
        assert!(shown.ends_with("  line 7\n  … 12 lines more"), "{shown}");
        let documents = json!([{ "scope": "agent/main", "path": "memories/a.md", "version": 2 }]);
        assert_eq!(
            told(
                "turn.ended",
                json!({ "snapshot": "ab".repeat(32), "before": "cd".repeat(32), "documents": documents })
            ),
            "■ snapshot abababababab\n  wrote agent/main:memories/a.md, version 2"
        );
        let ended = json!({ "state": "stopped", "reason": "model", "message": "the model is away" });
        assert_eq!(told("session.ended", ended), "\nstopped: the model is away");
    }

    #[test]
    fn nothing_that_was_said_steers_a_terminal() {
        let evil = "a\u{1b}[2J\u{7}\u{202e}b\u{9b}31m\rc\u{2066}";
        let bodies = [
            ("session.started", json!({ "task": evil })),
            ("user.message", json!({ "text": evil })),
            (
                "model.answer",
                json!({ "content": [
                { "type": "text", "text": evil },
                { "type": "tool_use", "name": evil, "input": { evil: evil, "x": [evil] } },
            ] }),
            ),
            ("tool.finished", json!({ "name": evil, "result": { "text": evil } })),
            (
                "turn.ended",
                json!({ "snapshot": evil, "documents": [{ "scope": evil, "path": evil, "version": evil }] }),
            ),
            ("notice", json!({ "text": evil })),
            ("notice", json!({ "what": evil })),
            ("session.ended", json!({ "state": evil, "message": evil })),
            (evil, json!(null)),
        ];
        for (kind, data) in bodies {
            let shown = told(kind, data);
            let steering = |letter: char| letter.is_control() && letter != '\n' || "\u{202e}\u{2066}".contains(letter);
            assert!(!shown.contains(steering), "{kind:?}: {shown:?}");
            assert!(shown.contains("[2J") || kind == "turn.ended", "{kind:?} shows the rest: {shown:?}");
        }
    }

    #[test]
    fn bodies_of_another_shape_are_no_reason_to_fail() {
        for data in [json!(null), json!([]), json!("x"), json!({ "content": 7, "result": 7, "documents": {} })] {
            for kind in ["session.started", "model.answer", "tool.finished", "turn.ended", "notice", "session.ended"] {
                told(kind, data.clone());
            }
        }
    }
}
