//! Events of a turn log as a person reads them: turn by turn, each tool call with its input and its result.
//!
//! Knows the shapes that our harness writes (decisions 0013 and 0014), believes none of them: what looks otherwise is
//! shown as JSON.

use maud::{Markup, html};
use serde_json::Value;

use super::links;
use super::text::{cut, moment, shown, shown_lines, size};
use crate::limits::PAGE_TEXT_BYTES;
use crate::wire::session::Event;

/// Neighbouring events of one turn, or some outside of turns.
#[derive(Debug, Default)]
pub(super) struct Exchange<'e> {
    /// The turn; 0 outside of turns.
    pub(super) turn: u64,
    /// Everything but results and ends, in order.
    events: Vec<&'e Event>,
    /// The results of its tool calls.
    results: Vec<&'e Event>,
    /// The end of the turn.
    pub(super) ended: Option<&'e Event>,
}

/// Puts the events of each turn together.
pub(super) fn exchanges(events: &[Event]) -> Vec<Exchange<'_>> {
    let mut all: Vec<Exchange<'_>> = Vec::new();
    for event in events {
        if all.last().is_none_or(|last| last.turn != event.turn) {
            all.push(Exchange { turn: event.turn, ..Exchange::default() });
        }
        let Some(last) = all.last_mut() else { continue };
        match event.kind.as_str() {
            "tool.finished" => last.results.push(event),
            "turn.ended" => last.ended = Some(event),
            "turn.started" | "tool.started" => {}
            _ => last.events.push(event),
        }
    }
    all
}

impl<'e> Exchange<'e> {
    fn result_of(&self, call: &str) -> Option<&'e Event> {
        self.results.iter().find(|event| event.tool_call == call).copied()
    }

    /// Results whose calls are not among these events: those are on the page before.
    fn other_results(&self) -> impl Iterator<Item = &'e Event> {
        let answers = self.events.iter().filter(|event| event.kind == "model.answer");
        let calls: Vec<&str> = answers.flat_map(|answer| blocks(answer)).map(|block| field(block, "id")).collect();
        self.results.iter().filter(move |event| !calls.contains(&event.tool_call.as_str())).copied()
    }
}

fn blocks(answer: &Event) -> impl Iterator<Item = &Value> {
    answer.data.get("content").and_then(Value::as_array).into_iter().flatten()
}

fn field<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// One turn, or what happened between turns.
pub(super) fn shown_exchange(session: &str, exchange: &Exchange<'_>, left: Option<&Markup>) -> Markup {
    let inside = html! {
        @for event in &exchange.events { (shown_event(session, exchange, event)) }
        @for result in exchange.other_results() {
            div.call { p.call-name { "Result of a call above" } (shown_result(session, result)) }
        }
        @if let Some(left) = left { (left) }
    };
    html! {
        @if exchange.turn == 0 { (inside) }
        @else {
            section.turn id=(format!("turn-{}", exchange.turn)) {
                h2 { a href=(links::turn(session, exchange.turn)) { "Turn " (exchange.turn) } }
                (inside)
            }
        }
    }
}

fn shown_event(session: &str, exchange: &Exchange<'_>, event: &Event) -> Markup {
    match event.kind.as_str() {
        "session.started" => started(session, event),
        "user.message" => html! { div.user { (text_of(session, event, said(&event.data))) } },
        "model.answer" => answer(session, exchange, event),
        "notice" => html! { div.notice { (when(session, event)) (text_of(session, event, said(&event.data))) } },
        "session.ended" => ended(session, event),
        other => {
            html! { div.notice { (when(session, event)) code { (shown(other)) } (as_json(session, event, &event.data)) } }
        }
    }
}

fn when(session: &str, event: &Event) -> Markup {
    html! { span.when { a href=(links::event(session, event.sequence)) { (moment(event.time)) } } }
}

/// The words of a body, where it has some.
fn said(data: &Value) -> String {
    let words = ["text", "message", "task", "what", "why", "reason"];
    let found = words.iter().map(|name| field(data, name)).find(|text| !text.is_empty());
    found.map_or_else(|| pretty(data), str::to_owned)
}

fn started(session: &str, event: &Event) -> Markup {
    html! {
        div.user { (text_of(session, event, said(&event.data))) }
        details.more {
            summary { "How the session began" }
            (as_json(session, event, &event.data))
        }
    }
}

fn ended(session: &str, event: &Event) -> Markup {
    let (state, message) = (field(&event.data, "state"), field(&event.data, "message"));
    let message = if message.is_empty() { field(&event.data, "reason") } else { message };
    html! {
        div.notice {
            (when(session, event))
            "The session ended: " strong { (shown(state)) } " "
            (text_of(session, event, message.to_owned()))
        }
    }
}

fn answer(session: &str, exchange: &Exchange<'_>, event: &Event) -> Markup {
    let stop = field(&event.data, "stop_reason");
    html! {
        (when(session, event))
        @for block in blocks(event) {
            @match field(block, "type") {
                "text" => div.model { (text_of(session, event, field(block, "text").to_owned())) },
                "thinking" => {
                    details.more { summary { "Thinking" } (text_of(session, event, field(block, "thinking").to_owned())) }
                }
                "tool_use" => (call(session, exchange, event, block)),
                _ => (as_json(session, event, block)),
            }
        }
        @if event.data.get("content").is_none() { (as_json(session, event, &event.data)) }
        @if !matches!(stop, "" | "end_turn" | "tool_use") { p.note { "The answer stopped: " (shown(stop)) } }
    }
}

fn call(session: &str, exchange: &Exchange<'_>, event: &Event, block: &Value) -> Markup {
    let result = exchange.result_of(field(block, "id"));
    html! {
        div.call {
            p.call-name { (shown(field(block, "name"))) @if let Some(result) = result { (outcome(result)) } }
            (input(session, event, block))
            @match result {
                Some(result) => (shown_result(session, result)),
                None => p.note { "No result yet." },
            }
        }
    }
}

fn outcome(result: &Event) -> Markup {
    let failed = result.data.pointer("/result/is_error").and_then(Value::as_bool).unwrap_or_default();
    let took_ms = result.data.get("duration_ms").and_then(Value::as_u64);
    let recovered = result.data.get("recovered").and_then(Value::as_bool).unwrap_or_default();
    html! {
        @if failed { " " span.badge.bad { "error" } }
        @if recovered { " " span.badge.warn { "recovered" } }
        @if let Some(took_ms) = took_ms { span.quiet { " " (took_ms / 1000) "." (format!("{:03}", took_ms % 1000)) " s" } }
    }
}

/// The fields of an input, texts as texts.
fn input(session: &str, event: &Event, block: &Value) -> Markup {
    let written = field(block, "input_text");
    html! {
        @match block.get("input") {
            Some(Value::Object(fields)) => dl.input {
                @for (name, value) in in_order(fields) {
                    dt { (shown(name)) }
                    dd { @match value {
                        Value::String(text) => (text_of(session, event, text.clone())),
                        other => (text_of(session, event, other.to_string())),
                    } }
                }
            },
            Some(Value::Null) | None if !written.is_empty() => {
                p.note { "The input was no JSON:" } (text_of(session, event, written.to_owned()))
            }
            Some(Value::Null) | None => {}
            Some(other) => (text_of(session, event, other.to_string())),
        }
    }
}

/// Fields as a person reads them: what is meant first, the old before the new; JSON keeps no order.
fn in_order(fields: &serde_json::Map<String, Value>) -> Vec<(&String, &Value)> {
    const FIRST: [&str; 8] =
        ["command", "file_path", "path", "pattern", "skill", "description", "old_string", "new_string"];
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(name, _)| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    fields
}

fn shown_result(session: &str, event: &Event) -> Markup {
    let result = event.data.get("result").unwrap_or(&event.data);
    let text = match result.get("text").and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => pretty(result),
    };
    html! { div.result { (text_of(session, event, text)) } }
}

fn as_json(session: &str, event: &Event, value: &Value) -> Markup {
    text_of(session, event, pretty(value))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// A text as it was written; of a long one the start, and where the rest is.
fn text_of(session: &str, event: &Event, text: String) -> Markup {
    let (start, left) = cut(&text, PAGE_TEXT_BYTES);
    html! {
        @if !start.is_empty() { pre.text { (shown_lines(start)) } }
        @if left > 0 {
            p.quiet { (size(left as u64)) " more: " a href=(links::event(session, event.sequence)) { "the whole event" } }
        }
    }
}
