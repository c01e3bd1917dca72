//! What a person or a program sees of a running session.
//!
//! What a model or a tool says is inert here: control and direction characters are shown as escapes, so that it cannot
//! steer the terminal.

use std::collections::HashMap;
use std::sync::Mutex;

use api::wire::session::{Event, Session};
use harness::log::kind;
use harness::run::Shown;
use serde_json::Value;

use crate::print::{self, Colour, Printer};

/// Letters of a call's input that are shown.
const INPUT_MAX: usize = 100;
/// What says most about a call, by the field of its input.
const TELLING: [&str; 5] = ["command", "file_path", "pattern", "skill", "path"];

/// Where a running session is shown.
pub(crate) struct Screen {
    printer: Printer,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    in_line: bool,
    calls: HashMap<String, String>,
}

impl Screen {
    /// Nothing is shown yet.
    pub(crate) fn new(printer: Printer) -> Screen {
        Screen { printer, state: Mutex::default() }
    }

    /// The session's id, before anything else.
    pub(crate) fn session(&self, session: &Session) {
        let value = serde_json::json!({ "session": session.id, "workspace": session.workspace_name });
        let line = match self.printer.is_json() {
            true => print::json_line(&value),
            false => format!("session {}", session.id),
        };
        let _ = self.printer.line(&line);
    }

    /// Shows one thing.
    pub(crate) fn show(&self, shown: Shown<'_>) {
        match (shown, self.printer.is_json()) {
            (Shown::Event(event), true) => {
                let _ = self.printer.line(&print::json_line(event));
            }
            (Shown::Event(event), false) => self.event(event),
            (Shown::Text(text), false) => self.text(text),
            (Shown::Void, false) => self.void(),
            (Shown::Remark(line), _) => self.printer.remark(&inert(line)),
            (Shown::Text(_) | Shown::Void, true) => {}
        }
    }

    /// Ends a line that was begun.
    pub(crate) fn finish(&self) {
        let mut state = self.state();
        if std::mem::take(&mut state.in_line) {
            let _ = self.printer.line("");
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn text(&self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.state().in_line = !text.ends_with('\n');
        let _ = self.printer.bytes(inert(text).as_bytes());
    }

    /// The model is asked again: what it said so far does not count.
    fn void(&self) {
        if self.state().in_line {
            self.finish();
            self.printer.remark("(the answer broke off and is void)");
        }
    }

    fn event(&self, event: &Event) {
        match event.kind.as_str() {
            kind::MODEL_ANSWER => self.answer(&event.data),
            kind::TOOL_FINISHED => self.call(event),
            kind::NOTICE => {
                let message = event.data["message"].as_str().unwrap_or_default();
                self.finish();
                self.printer.remark(&format!("note: {}", inert(message)));
            }
            _ => {}
        }
    }

    fn answer(&self, data: &Value) {
        self.finish();
        let calls = data["content"].as_array().into_iter().flatten().filter(|block| block["type"] == "tool_use");
        let mut state = self.state();
        for block in calls {
            state.calls.insert(text_of(&block["id"]).to_owned(), summary(&block["input"]));
        }
    }

    fn call(&self, event: &Event) {
        // Of a call that began before this run, the answer was not shown here.
        let input =
            self.state().calls.remove(&event.tool_call).unwrap_or_else(|| "begun before, found again".to_owned());
        let result = &event.data["result"];
        let failed = result["is_error"] == true;
        let name = inert(text_of(&event.data["name"]));
        let mark =
            if failed { self.printer.colour(Colour::Red, "✗") } else { self.printer.colour(Colour::Green, "✓") };
        let mut line = format!("{mark} {name} {input} ({} ms)", event.data["duration_ms"].as_u64().unwrap_or_default());
        if failed {
            line.push_str(&format!(": {}", short(text_of(&result["text"]))));
        }
        let _ = self.printer.line(&line);
    }
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The input of a call in a few words.
fn summary(input: &Value) -> String {
    match TELLING.into_iter().find_map(|field| input[field].as_str()) {
        Some(text) => short(text),
        None => short(&input.to_string()),
    }
}

/// The first line of a text, bounded and inert.
fn short(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let cut = line.char_indices().nth(INPUT_MAX).map(|(end, _)| &line[..end]);
    match cut {
        Some(cut) => format!("{}…", inert(cut)),
        None => inert(line),
    }
}

/// Text of others for a terminal: line ends and tabs stay, everything that steers is shown as an escape.
fn inert(text: &str) -> String {
    let steers = |letter: char| {
        (letter.is_control() && !matches!(letter, '\n' | '\t'))
            || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let shown = |letter: char| if steers(letter) { letter.escape_default().to_string() } else { letter.to_string() };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_others_say_cannot_steer_the_terminal() {
        assert_eq!(inert("a\x1b[2Jb\r\n\tc\u{202e}d\u{9b}e\u{7}"), "a\\u{1b}[2Jb\\r\n\tc\\u{202e}d\\u{9b}e\\u{7}");
        assert_eq!(inert("Grüße 🦀"), "Grüße 🦀");
    }

    #[test]
    fn a_call_is_one_line() {
        assert_eq!(summary(&json!({ "command": "ls\x1b[31m\nrm" })), "ls\\u{1b}[31m");
        assert_eq!(summary(&json!({ "x": 1 })), "{\"x\":1}");
        assert_eq!(summary(&json!({ "file_path": "y".repeat(500) })).chars().count(), INPUT_MAX + 1);
        assert_eq!(summary(&Value::Null), "null");
    }
}
