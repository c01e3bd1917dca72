//! Sessions and their turn logs (decision 0013): what may be appended, by whom, and what it does to the session.
//!
//! | file | what |
//! |---|---|
//! | `lease` | one owner at a time, fenced by an epoch |
//! | `append` | events, repeatable by their keys |
//! | `turns` | the end of a turn |
//!
//! Keeps true: sequences have no holes; what is appended is never changed; nobody appends but the newest owner. All
//! functions work inside a transaction of the caller's.

mod append;
mod lease;
#[cfg(test)]
mod tests;
mod turns;

pub use crate::db::{DocumentVersion, EventRow as Event, TurnRow as Turn};

pub(crate) use append::append;
pub(crate) use lease::{is_live, release, renew, take};
pub(crate) use turns::{end_turn, keep};

use crate::clock::Time;
use crate::db::SessionRow;
use crate::id::{SessionId, SnapshotId, WorkspaceId};

/// The kinds of events (decision 0013).
pub mod kind {
    /// The task, model, options.
    pub const SESSION_STARTED: &str = "session.started";
    /// What a person added.
    pub const USER_MESSAGE: &str = "user.message";
    /// The request is about to be sent.
    pub const TURN_STARTED: &str = "turn.started";
    /// The raw answer.
    pub const MODEL_ANSWER: &str = "model.answer";
    /// A call is about to run.
    pub const TOOL_STARTED: &str = "tool.started";
    /// A call has its result.
    pub const TOOL_FINISHED: &str = "tool.finished";
    /// The record of a turn; written by the end of a turn alone.
    pub const TURN_ENDED: &str = "turn.ended";
    /// What people should know.
    pub const NOTICE: &str = "notice";
    /// `data.state` says how: [`ENDS`](super::ENDS).
    pub const SESSION_ENDED: &str = "session.ended";

    /// All that may be appended.
    pub(crate) const APPENDED: [&str; 8] =
        [SESSION_STARTED, USER_MESSAGE, TURN_STARTED, MODEL_ANSWER, TOOL_STARTED, TOOL_FINISHED, NOTICE, SESSION_ENDED];
}

/// How a session can end.
pub const ENDS: [&str; 3] = ["done", "failed", "stopped"];

/// A session as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its name; empty if it is gone.
    pub workspace_name: String,
    /// The agent's name.
    pub agent: String,
    /// The user's name.
    pub user: String,
    /// What it is about.
    pub title: String,
    /// `done`, `failed` or `stopped` if the newest event says so (notices do not count); else `running` while somebody
    /// has the lease, or `open`.
    pub state: String,
    /// It has ended: nothing follows until somebody goes on with it.
    pub has_ended: bool,
    /// When it was made.
    pub created: Time,
    /// The sequence of its newest event.
    pub last_event: u64,
    /// Turns that have ended.
    pub turns: u64,
    /// Who drives it.
    pub lease: Option<SessionLease>,
}

/// The right to append to a turn log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionLease {
    /// Grows with every taking.
    pub epoch: u64,
    /// Who has it, for people.
    pub owner: String,
    /// When it was last heard of.
    pub last_seen: Time,
}

/// Makes a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewSession {
    /// Name or id of the workspace.
    pub workspace: String,
    /// The agent's name.
    pub agent: String,
    /// The user's name.
    pub user: String,
    /// What it is about; one line.
    pub title: String,
}

/// An event to append.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// Makes it repeatable: unique in the session.
    pub key: String,
    /// One of [`kind`], but `turn.ended`.
    pub kind: String,
    /// The turn; 0 outside of turns.
    pub turn: u64,
    /// The tool call; empty outside of calls.
    pub tool_call: String,
    /// What it says.
    pub data: serde_json::Value,
}

/// Ends a turn.
#[derive(Debug, Clone, PartialEq)]
pub struct EndTurn {
    /// The turn.
    pub number: u64,
    /// The snapshot that it ended on.
    pub snapshot: SnapshotId,
    /// More for the event: an object, or null.
    pub data: serde_json::Value,
}

/// A page of a turn log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// By sequence.
    pub events: Vec<Event>,
    /// There are more.
    pub more: bool,
}

impl Session {
    pub(crate) fn new(row: SessionRow, workspace_name: String, now: Time) -> Session {
        let is_live = is_live(&row, now);
        let has_ended = !row.ended.is_empty();
        let state = match (has_ended, is_live) {
            (true, _) => row.ended,
            (false, true) => "running".to_owned(),
            (false, false) => "open".to_owned(),
        };
        let lease = SessionLease { epoch: row.epoch, owner: row.owner, last_seen: row.last_seen };
        Session {
            id: row.id,
            workspace: row.workspace,
            workspace_name,
            agent: row.agent,
            user: row.user,
            title: row.title,
            state,
            has_ended,
            created: row.created,
            last_event: row.last_sequence,
            turns: row.turns,
            lease: is_live.then_some(lease),
        }
    }
}
