//! What the driver of a session and its tools say to each other.
//!
//! A call goes through `plan` (looks, changes nothing; the plan goes into the log) and `run`. After a crash in between,
//! `recover` takes the place of `run`. The result goes into the log before the model sees it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One tool call of a model's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The model's id for it; also the key of its effect.
    pub id: String,
    /// The tool's name, as the model wrote it.
    pub name: String,
    /// Its input, as the model wrote it; `None` if that was not JSON.
    pub input: Option<Value>,
}

/// What happens next with a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Nothing: this is the result (a wrong input, an unknown tool, a file that must be read first).
    Answer(ToolResult),
    /// It runs; this is what `recover` must know if the harness dies meanwhile.
    Run(Value),
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolResult {
    /// What the model is told.
    pub text: String,
    /// It failed.
    pub is_error: bool,
    /// It may have changed files of the workspace.
    pub wrote: bool,
    /// What later calls must know of it: files that were read, the current directory. Comes back through
    /// `Tools::remember` when the log is read again.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
    /// What the model is told after the results of this answer (the body of a skill).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_up: Option<String>,
}

impl ToolResult {
    /// A success that changed nothing.
    pub fn ok(text: impl Into<String>) -> Self {
        ToolResult { text: text.into(), is_error: false, wrote: false, detail: Value::Null, follow_up: None }
    }

    /// A failure that changed nothing.
    pub fn error(text: impl Into<String>) -> Self {
        ToolResult { is_error: true, ..ToolResult::ok(text) }
    }
}

/// The tools of one session. The driver calls them one at a time.
///
/// An `Err` is not the model's business (the engine is away, the disk is full): the session stops and can be resumed. What
/// the model did wrong, or may try in another way, is a [`ToolResult`] with `is_error`.
#[async_trait::async_trait]
pub trait Tools: Send {
    /// What the model is told of the tools: the `tools` of a request.
    async fn definitions(&mut self) -> vfs_core::Result<Vec<Value>>;

    /// What the system prompt says of the place and its skills.
    async fn instructions(&mut self) -> vfs_core::Result<String>;

    /// Looks at a call and changes nothing.
    async fn plan(&mut self, call: &ToolCall) -> vfs_core::Result<Plan>;

    /// Runs a planned call.
    async fn run(&mut self, call: &ToolCall, plan: &Value) -> vfs_core::Result<ToolResult>;

    /// Finds out what became of a call that was running when the harness died; runs it (again) where that is right.
    async fn recover(&mut self, call: &ToolCall, plan: &Value) -> vfs_core::Result<ToolResult>;

    /// Brings back what calls stand on and a barrier needs: a mount that has died. Asked when a barrier has failed.
    async fn revive(&mut self) -> vfs_core::Result<()> {
        Ok(())
    }

    /// What a reader of the log should know and no result says: a mount that died and was brought back.
    fn notices(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Takes in a finished call from the log: each one, in order, whether it finished just now or before a crash.
    fn remember(&mut self, call: &ToolCall, result: &ToolResult);
}
