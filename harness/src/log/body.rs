//! The bodies, kinds and keys of events.

use api::wire::session::Event;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vfs_core::id::SnapshotId;
pub use vfs_core::sessions::kind;
use vfs_core::{Error, Result};

use crate::call::ToolResult;
use crate::dialect::Prompt;

/// The keys of events: what makes an append repeatable.
pub mod key {
    /// Of `session.started`.
    pub const STARTED: &str = "start";

    /// Of the `number`th `user.message`.
    pub fn user(number: u64) -> String {
        format!("user:{number}")
    }

    /// Of `turn.started`.
    pub fn turn(turn: u64) -> String {
        format!("turn:{turn}")
    }

    /// Of `model.answer`.
    pub fn answer(turn: u64) -> String {
        format!("answer:{turn}")
    }

    /// Of `tool.started`.
    pub fn tool_started(call: &str) -> String {
        format!("started:{call}")
    }

    /// Of `tool.finished`.
    pub fn tool_finished(call: &str) -> String {
        format!("finished:{call}")
    }

    /// Of the `number`th `session.ended`. Apart from the keys of `turn.ended`, which are `end:TURN`.
    pub fn ended(number: u64) -> String {
        format!("ended:{number}")
    }

    /// Of a `notice`: no two drivers have one epoch.
    pub fn notice(epoch: u64, number: u64) -> String {
        format!("notice:{epoch}:{number}")
    }
}

/// How a session began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// What is to be done.
    pub task: String,
    /// What every request says.
    pub prompt: Prompt,
    /// The state of the workspace at the beginning.
    pub snapshot: SnapshotId,
    /// The document scopes that the agent may write beside its own.
    #[serde(default)]
    pub grants: Vec<String>,
}

/// What a person added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserMessage {
    /// What they said.
    pub text: String,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// The tool's name, for readers of the log.
    #[serde(default)]
    pub name: String,
    /// The result.
    pub result: ToolResult,
    /// How long it took.
    #[serde(default)]
    pub duration_ms: u64,
    /// It was under way when the harness died, and what became of it was found out.
    #[serde(default)]
    pub recovered: bool,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// `done`, `failed` or `stopped`; what was stopped can be resumed as it is.
    pub state: String,
    /// A word for why: `done`, `loop`, `turns`, `model`, `refusal`, `context`, `tools`, `workspace`, `tokens`.
    pub reason: String,
    /// The same for people.
    #[serde(default)]
    pub message: String,
}

/// The body of an event.
pub(super) fn read<T: DeserializeOwned>(event: &Event) -> Result<T> {
    T::deserialize(&event.data).map_err(|error| {
        let line = format!("the body of event {} of the turn log ({}) makes no sense", event.sequence, event.kind);
        Error::corrupt(line).because(error)
    })
}

/// The snapshot that a turn ended on.
pub(super) fn snapshot(event: &Event) -> Result<SnapshotId> {
    #[derive(Deserialize)]
    struct TurnEnded {
        snapshot: SnapshotId,
    }
    read::<TurnEnded>(event).map(|ended| ended.snapshot)
}

/// A value as the body of an event.
pub(crate) fn write<T: Serialize>(body: &T) -> Value {
    serde_json::to_value(body).expect("because the bodies of events have string keys only")
}
