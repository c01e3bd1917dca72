//! The turn that has not ended: its answer and what became of the calls so far.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::call::{ToolCall, ToolResult};
use crate::dialect::Answer;

/// Longest id of a call that is taken as it is; longer ones are no ids.
const ID_MAX: usize = 128;

/// How far a call is.
#[derive(Debug, Clone, PartialEq)]
pub enum CallState {
    /// It has not been begun.
    Waiting,
    /// It was begun with this plan, and has no result yet.
    Started(Value),
    /// It is over.
    Finished {
        /// What the model is told.
        result: ToolResult,
        /// Found out after a crash.
        recovered: bool,
    },
}

/// A turn that has not ended.
#[derive(Debug, Clone)]
pub struct OpenTurn {
    number: u64,
    answer: Option<Answer>,
    calls: Vec<(ToolCall, CallState)>,
}

impl OpenTurn {
    pub(super) fn new(number: u64) -> Self {
        OpenTurn { number, answer: None, calls: Vec::new() }
    }

    /// Its number, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The model's answer, once it is there.
    pub fn answer(&self) -> Option<&Answer> {
        self.answer.as_ref()
    }

    /// The calls of the answer, in order, under ids that are unique in the session.
    pub fn calls(&self) -> &[(ToolCall, CallState)] {
        &self.calls
    }

    /// Whether something may have been written: a call says so, or nobody knows.
    pub fn wrote(&self) -> bool {
        self.calls.iter().any(|(_, state)| match state {
            CallState::Waiting => false,
            CallState::Started(_) => true,
            CallState::Finished { result, recovered } => result.wrote || *recovered,
        })
    }

    /// Whether the answer is there and all its calls are over.
    pub fn is_finished(&self) -> bool {
        self.answer.is_some() && self.calls.iter().all(|(_, state)| matches!(state, CallState::Finished { .. }))
    }

    pub(super) fn call_mut(&mut self, id: &str) -> Option<(&ToolCall, &mut CallState)> {
        let (call, state) = self.calls.iter_mut().find(|(call, _)| call.id == id)?;
        Some((call, state))
    }

    /// Takes the answer; `false` if there is one already. `ids` are those of all calls of the session.
    pub(super) fn take_answer(&mut self, answer: Answer, ids: &mut HashSet<String>) -> bool {
        if self.answer.is_some() {
            return false;
        }
        // What a model says that refuses is not acted upon.
        let calls = answer.calls().filter(|_| !answer.is_refusal()).enumerate();
        self.calls = calls
            .map(|(index, mut call)| {
                call.id = unique(call.id, self.number, index, ids);
                (call, CallState::Waiting)
            })
            .collect();
        self.answer = Some(answer);
        true
    }

    /// The answer, the ids of its calls, and the blocks that answer it.
    pub(super) fn into_messages(self) -> Option<(Answer, Vec<String>, Vec<Value>)> {
        let mut results = Vec::new();
        let mut follow_ups = Vec::new();
        let mut ids = Vec::new();
        for (call, state) in self.calls {
            let CallState::Finished { result, .. } = state else { return None };
            results.push(tool_result(&call.id, &result));
            follow_ups.extend(result.follow_up.filter(|text| !text.trim().is_empty()));
            ids.push(call.id);
        }
        results.extend(follow_ups.into_iter().map(crate::dialect::text_block));
        self.answer.map(|answer| (answer, ids, results))
    }
}

fn tool_result(id: &str, result: &ToolResult) -> Value {
    let mut block = json!({ "type": "tool_result", "tool_use_id": id, "content": result.text });
    if result.is_error {
        block["is_error"] = json!(true);
        if result.text.is_empty() {
            block["content"] = json!("(no output)");
        }
    }
    block
}

/// The id of a call: the model's own, unless that cannot name an effect or another call has it. The log alone decides,
/// so it is the same each time.
fn unique(id: String, turn: u64, index: usize, ids: &mut HashSet<String>) -> String {
    let plain = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'_' | b'-');
    let fits = !id.is_empty() && id.len() <= ID_MAX && id.bytes().all(plain);
    let mut name = if fits { id } else { format!("call_t{turn}_{index}") };
    if ids.contains(&name) {
        name = format!("call_t{turn}_{index}");
    }
    while !ids.insert(name.clone()) {
        name.push('_');
    }
    name
}
