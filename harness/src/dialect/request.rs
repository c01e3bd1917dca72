//! The body of a request, made of values of the turn log only: after a crash the same bytes come out.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A person, or the results of tools.
    User,
    /// The model.
    Assistant,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The blocks; never empty.
    pub content: Vec<Value>,
}

impl Message {
    /// A text of a person.
    pub fn user(text: impl Into<String>) -> Message {
        Message { role: Role::User, content: vec![text_block(text)] }
    }
}

/// A block of text.
pub(crate) fn text_block(text: impl Into<String>) -> Value {
    json!({ "type": "text", "text": text.into() })
}

/// What stays the same from request to request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    /// The model's name.
    pub model: String,
    /// Output tokens that it may use.
    pub max_tokens: u64,
    /// The system prompt.
    pub system: String,
    /// The tools.
    pub tools: Vec<Value>,
}

impl Prompt {
    /// The request for the next answer of a conversation. The end of what stays and the end of it all are marked for
    /// the server's cache.
    pub fn request(&self, messages: &[Message]) -> Value {
        let messages = joined(messages);
        let last = messages.len().saturating_sub(1);
        let messages: Vec<Value> = messages
            .into_iter()
            .enumerate()
            .map(|(at, mut message)| {
                if at == last
                    && message.role == Role::User
                    && let Some(block) = message.content.last_mut().and_then(Value::as_object_mut)
                {
                    mark(block);
                }
                let role = if message.role == Role::User { "user" } else { "assistant" };
                json!({ "role": role, "content": message.content })
            })
            .collect();
        let mut system = text_block(&*self.system);
        if let Some(block) = system.as_object_mut() {
            mark(block);
        }
        let mut request = json!({
            "model": self.model,
            "max_tokens": self.max_tokens,
            "messages": messages,
            "stream": true,
        });
        if !self.system.trim().is_empty() {
            request["system"] = json!([system]);
        }
        if !self.tools.is_empty() {
            request["tools"] = json!(self.tools);
        }
        request
    }
}

fn mark(block: &mut Map<String, Value>) {
    block.insert("cache_control".into(), json!({ "type": "ephemeral" }));
}

/// Roles take turns: neighbours of one role become one message.
fn joined(messages: &[Message]) -> Vec<Message> {
    let mut joined: Vec<Message> = Vec::new();
    for message in messages.iter().filter(|message| !message.content.is_empty()) {
        match joined.last_mut() {
            Some(last) if last.role == message.role => last.content.extend(message.content.iter().cloned()),
            _ => joined.push(message.clone()),
        }
    }
    joined
}
