//! A whole answer of a model, as the turn log keeps it: raw, block by block.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::call::ToolCall;
use crate::limits::DEPTH_MAX;

/// Field of a stored block that holds the text of an input which was no JSON.
const BROKEN_INPUT: &str = "input_text";

/// What a model said. The body of a `model.answer` event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The server's id for it.
    #[serde(default)]
    pub id: String,
    /// The model that answered, as it calls itself.
    #[serde(default)]
    pub model: String,
    /// The blocks, as they came. The input of a `tool_use` that was no JSON is null, its text is in `input_text`.
    pub content: Vec<Value>,
    /// Why it ended.
    #[serde(default)]
    pub stop_reason: String,
    /// The sequence that ended it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_sequence: Option<String>,
    /// Tokens, as the server counted them.
    #[serde(default)]
    pub usage: Value,
}

impl Answer {
    /// The calls that it asks for, in order, as the model named them.
    pub fn calls(&self) -> impl Iterator<Item = ToolCall> {
        self.content.iter().filter(|block| is_call(block)).map(|block| ToolCall {
            id: text(block, "id").to_owned(),
            name: text(block, "name").to_owned(),
            input: block.get("input").filter(|input| !input.is_null()).cloned(),
        })
    }

    /// The model will not do it.
    pub fn is_refusal(&self) -> bool {
        self.stop_reason == "refusal"
    }

    /// It had more to say than it was allowed to.
    pub fn is_cut(&self) -> bool {
        self.stop_reason == "max_tokens"
    }

    /// What it says to people.
    pub fn text(&self) -> String {
        let texts = self.content.iter().filter(|block| text(block, "type") == "text").map(|block| text(block, "text"));
        texts.collect::<Vec<_>>().join("\n")
    }

    /// The blocks as they are sent back, with the ids that the log gave to the calls: what an API refuses is left out or
    /// made whole, everything else is as it came.
    pub fn sent_back(&self, ids: &[String]) -> Vec<Value> {
        let mut ids = ids.iter();
        let mut blocks = Vec::new();
        for block in &self.content {
            if text(block, "type") == "text" && text(block, "text").trim().is_empty() {
                continue;
            }
            let mut block = block.clone();
            if is_call(&block)
                && let Some(fields) = block.as_object_mut()
            {
                call_sent_back(fields, ids.next());
            }
            blocks.push(block);
        }
        blocks
    }
}

fn call_sent_back(fields: &mut Map<String, Value>, id: Option<&String>) {
    fields.remove(BROKEN_INPUT);
    if !fields.get("input").is_some_and(Value::is_object) {
        fields.insert("input".into(), json!({}));
    }
    if let Some(id) = id {
        fields.insert("id".into(), json!(id));
    }
}

/// Whether a block asks for a tool of ours.
pub(super) fn is_call(block: &Value) -> bool {
    text(block, "type") == "tool_use"
}

/// A text field of a block; empty without it.
pub(super) fn text<'a>(block: &'a Value, field: &str) -> &'a str {
    block.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Gives a `tool_use` block the input that came in pieces.
pub(super) fn take_input(fields: &mut Map<String, Value>, written: &str) {
    if written.trim().is_empty() {
        return;
    }
    match serde_json::from_str::<Value>(written) {
        Ok(input) if !is_deep(&input, DEPTH_MAX) => {
            fields.insert("input".into(), settled(input));
        }
        _ => {
            fields.insert("input".into(), Value::Null);
            fields.insert(BROKEN_INPUT.into(), json!(written));
        }
    }
}

/// Whether a value is nested deeper than `most`: JSON is read to 128 levels, and an event wraps it into some more.
pub(super) fn is_deep(value: &Value, most: usize) -> bool {
    match value {
        Value::Array(values) => most == 0 || values.iter().any(|value| is_deep(value, most - 1)),
        Value::Object(fields) => most == 0 || fields.values().any(|value| is_deep(value, most - 1)),
        _ => false,
    }
}

/// The value that is the same after it was written and read again. A number with many digits may move by its last bit
/// on the way; the log must give the same request each time.
pub(super) fn settled(mut value: Value) -> Value {
    for _ in 0..4 {
        let again = match serde_json::to_string(&value).map(|text| serde_json::from_str::<Value>(&text)) {
            Ok(Ok(again)) => again,
            _ => return value,
        };
        if again == value {
            break;
        }
        value = again;
    }
    value
}
