//! Server-sent events of an answer, put together.
//!
//! Knows no connection: it takes events one by one. Nothing of an answer is used before it is whole.

use serde_json::{Map, Value, json};

use super::answer::{Answer, is_call, is_deep, settled, take_input, text};
use super::model::Fault;
use crate::limits::{BLOCKS_MAX, CONTENT_BYTES_MAX, DEPTH_MAX};

/// What an event came to.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Go on.
    More,
    /// Text for a person.
    Text(String),
    /// The answer is whole.
    Done(Answer),
}

/// An answer on its way.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    answer: Answer,
    begun: bool,
    blocks: Vec<Block>,
    bytes: usize,
}

#[derive(Debug)]
struct Block {
    fields: Map<String, Value>,
    input: String,
    open: bool,
}

impl Assembly {
    /// Takes the data of one event.
    pub(super) fn take(&mut self, data: &str) -> Result<Step, Fault> {
        let event: Value =
            serde_json::from_str(data).map_err(|_| Fault::broken("an event of the model's answer is no JSON"))?;
        self.bytes += data.len();
        match text(&event, "type") {
            "message_start" => self.start(&event["message"]),
            "content_block_start" => self.open_block(&event),
            "content_block_delta" => self.delta(&event),
            "content_block_stop" => self.close_block(&event),
            "message_delta" => self.message_delta(&event),
            "message_stop" => self.finish().map(Step::Done),
            "error" => Err(Fault::of_event(&event["error"])),
            // `ping`, and whatever is invented later.
            _ => Ok(Step::More),
        }
    }

    fn start(&mut self, message: &Value) -> Result<Step, Fault> {
        if self.begun {
            return Err(Fault::broken("the model's answer begins twice"));
        }
        self.begun = true;
        self.answer.id = text(message, "id").to_owned();
        self.answer.model = text(message, "model").to_owned();
        self.answer.usage = message.get("usage").cloned().unwrap_or(Value::Null);
        Ok(Step::More)
    }

    fn open_block(&mut self, event: &Value) -> Result<Step, Fault> {
        let index = index(event)?;
        let fields = event["content_block"].as_object();
        let (true, true, Some(fields)) = (self.begun, index == self.blocks.len(), fields) else {
            return Err(Fault::broken("the blocks of the model's answer are out of order"));
        };
        if index >= BLOCKS_MAX {
            return Err(too_large());
        }
        self.blocks.push(Block { fields: fields.clone(), input: String::new(), open: true });
        match text(&event["content_block"], "text") {
            "" => Ok(Step::More),
            written => Ok(Step::Text(written.to_owned())),
        }
    }

    fn delta(&mut self, event: &Value) -> Result<Step, Fault> {
        let index = index(event)?;
        let block = self.blocks.get_mut(index).filter(|block| block.open);
        let block = block.ok_or_else(|| Fault::broken("the model's answer goes on with a block that is not open"))?;
        if self.bytes > 4 * CONTENT_BYTES_MAX {
            return Err(too_large());
        }
        let delta = &event["delta"];
        match text(delta, "type") {
            "text_delta" => {
                append(&mut block.fields, "text", text(delta, "text"));
                return Ok(Step::Text(text(delta, "text").to_owned()));
            }
            "input_json_delta" => block.input.push_str(text(delta, "partial_json")),
            "thinking_delta" => append(&mut block.fields, "thinking", text(delta, "thinking")),
            "signature_delta" => append(&mut block.fields, "signature", text(delta, "signature")),
            "citations_delta" => {
                let citations = block.fields.entry("citations").or_insert_with(|| json!([]));
                match citations.as_array_mut() {
                    Some(citations) => citations.push(delta["citation"].clone()),
                    None => *citations = json!([delta["citation"]]),
                }
            }
            other => tracing::debug!(other, "a delta of a kind that is not known"),
        }
        Ok(Step::More)
    }

    fn close_block(&mut self, event: &Value) -> Result<Step, Fault> {
        let index = index(event)?;
        match self.blocks.get_mut(index) {
            Some(block) => block.open = false,
            None => return Err(Fault::broken("the model's answer ends a block that it has not begun")),
        }
        Ok(Step::More)
    }

    fn message_delta(&mut self, event: &Value) -> Result<Step, Fault> {
        let delta = &event["delta"];
        if let Some(reason) = delta["stop_reason"].as_str() {
            self.answer.stop_reason = reason.to_owned();
        }
        if let Some(sequence) = delta["stop_sequence"].as_str() {
            self.answer.stop_sequence = Some(sequence.to_owned());
        }
        if let (Some(usage), Some(more)) = (self.answer.usage.as_object_mut(), event["usage"].as_object()) {
            usage.extend(more.clone());
        } else if event["usage"].is_object() {
            self.answer.usage = event["usage"].clone();
        }
        Ok(Step::More)
    }

    fn finish(&mut self) -> Result<Answer, Fault> {
        if !self.begun {
            return Err(Fault::broken("the model's answer ends before it has begun"));
        }
        let mut answer = std::mem::take(&mut self.answer);
        answer.content = self.blocks.drain(..).map(Block::finish).collect();
        checked(answer)
    }
}

impl Block {
    fn finish(mut self) -> Value {
        if self.fields.get("type").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("tool_use")) {
            take_input(&mut self.fields, &self.input);
        }
        Value::Object(self.fields)
    }
}

/// An answer of a server that does not stream.
pub(super) fn whole(body: &[u8]) -> Result<Answer, Fault> {
    let mut answer: Answer =
        serde_json::from_slice(body).map_err(|_| Fault::broken("the model's server answered with something else"))?;
    for block in answer.content.iter_mut().filter(|block| is_call(block)) {
        let input = block["input"].take();
        block["input"] = settled(input);
    }
    checked(answer)
}

/// Refuses what the turn log could not hold.
fn checked(answer: Answer) -> Result<Answer, Fault> {
    let bytes: usize = answer.content.iter().map(|block| block.to_string().len()).sum();
    if bytes > CONTENT_BYTES_MAX || answer.content.len() > BLOCKS_MAX {
        return Err(too_large());
    }
    if answer.content.iter().any(|block| is_deep(block, DEPTH_MAX + 2)) || is_deep(&answer.usage, DEPTH_MAX) {
        return Err(Fault::fatal("too_deep", "the model's answer is nested too deeply"));
    }
    if answer.content.iter().any(|block| text(block, "type").is_empty()) {
        return Err(Fault::broken("a block of the model's answer has no type"));
    }
    Ok(answer)
}

fn index(event: &Value) -> Result<usize, Fault> {
    let index = event["index"].as_u64().and_then(|index| usize::try_from(index).ok());
    index.ok_or_else(|| Fault::broken("an event of the model's answer has no index"))
}

fn append(fields: &mut Map<String, Value>, name: &str, more: &str) {
    match fields.get_mut(name) {
        Some(Value::String(text)) => text.push_str(more),
        _ => {
            fields.insert(name.to_owned(), json!(more));
        }
    }
}

fn too_large() -> Fault {
    Fault::fatal("too_large", format!("the model's answer has over {CONTENT_BYTES_MAX} bytes"))
}
