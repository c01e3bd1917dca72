//! Sessions and their turn logs (decision 0013).

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use vfs_core::id::{SnapshotId, WorkspaceId};
use vfs_core::{Error, sessions as core};

use super::name::Time;

/// A conversation bound to a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its id: 16 hexadecimal digits.
    pub id: String,
    /// The workspace.
    #[schema(value_type = String)]
    pub workspace: WorkspaceId,
    /// Its name; empty if it is gone.
    pub workspace_name: String,
    /// The agent's name, which is its document scope `agent/NAME`.
    pub agent: String,
    /// The user for whom it works, `user/NAME`.
    pub user: String,
    /// What it is about.
    pub title: String,
    /// `open`, `running` (somebody has the lease), `done`, `failed` or `stopped`.
    pub state: String,
    /// When it was made.
    pub created: Time,
    /// The sequence of its newest event.
    pub last_event: u64,
    /// Turns that have ended.
    pub turns: u64,
    /// Who drives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<SessionLease>,
}

/// The right to append to a turn log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionLease {
    /// Grows with every taking; an older one is refused with `lease_lost`.
    pub epoch: u64,
    /// Who has it, for people: `PID on HOST`.
    pub owner: String,
    /// When it was last heard of.
    pub last_seen: Time,
}

/// All sessions, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sessions {
    /// The sessions.
    pub sessions: Vec<Session>,
}

/// Which sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SessionsQuery {
    /// Only those of this workspace: name or id.
    pub workspace: Option<String>,
    /// At most so many; 1,000 unless said, 10,000 at most.
    pub limit: Option<u32>,
}

/// Makes a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSession {
    /// Name or id of the workspace.
    pub workspace: String,
    /// The agent's name.
    pub agent: String,
    /// The user's name.
    pub user: String,
    /// What it is about; one line.
    pub title: String,
}

/// Takes the lease of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeLease {
    /// Who takes it, for people.
    pub owner: String,
    /// The epoch whose owner is known to be dead: its lease need not run out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_epoch: Option<u64>,
}

/// A lease in the hands of its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EpochQuery {
    /// The epoch.
    pub epoch: u64,
}

/// Events to append, in one transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppendEvents {
    /// The epoch of the lease.
    pub epoch: u64,
    /// The events.
    pub events: Vec<NewEvent>,
}

/// An event to append.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEvent {
    /// Makes it repeatable: unique in the session.
    pub key: String,
    /// One of the kinds of decision 0013.
    pub kind: String,
    /// The turn; 0 outside of turns.
    #[serde(default)]
    pub turn: u64,
    /// The tool call; empty outside of calls.
    #[serde(default)]
    pub tool_call: String,
    /// What it says.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}

/// One entry of a turn log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// From 1, without holes.
    pub sequence: u64,
    /// Unique in the session.
    pub key: String,
    /// What kind it is.
    pub kind: String,
    /// The turn; 0 outside of turns.
    pub turn: u64,
    /// The tool call; empty outside of calls.
    pub tool_call: String,
    /// When it was appended.
    pub time: Time,
    /// Under which epoch.
    pub epoch: u64,
    /// What it says.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}

/// A page of a turn log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// By sequence.
    pub events: Vec<Event>,
    /// There are more: ask again with `after` set to the last sequence.
    pub more: bool,
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only those with a greater sequence.
    #[serde(default)]
    pub after: u64,
    /// At most so many; 1,000 unless said, 10,000 at most.
    pub limit: Option<u32>,
}

/// Ends a turn: one transaction for the record of what it left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndTurn {
    /// The epoch of the lease.
    pub epoch: u64,
    /// The snapshot that the turn ended on; must be in the history of the session's workspace.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
    /// More for the event.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}

/// The record of a turn that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Turn {
    /// From 1.
    pub number: u64,
    /// The snapshot it ended on.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
    /// The snapshot that the turn before ended on, or that the session began on.
    #[schema(value_type = String)]
    pub before: SnapshotId,
    /// The document versions that it wrote.
    pub documents: Vec<DocumentRef>,
    /// When it ended.
    pub time: Time,
}

/// A document version by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentRef {
    /// The scope.
    pub scope: String,
    /// The path.
    pub path: String,
    /// The version.
    pub version: u64,
}

/// The turns that have ended, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Turns {
    /// The turns.
    pub turns: Vec<Turn>,
}

impl Session {
    /// Whether it has ended: nothing follows until somebody goes on with it.
    pub fn has_ended(&self) -> bool {
        core::ENDS.contains(&self.state.as_str())
    }
}

impl From<core::Session> for Session {
    fn from(session: core::Session) -> Self {
        Session {
            id: session.id.to_hex(),
            workspace: session.workspace,
            workspace_name: session.workspace_name,
            agent: session.agent,
            user: session.user,
            title: session.title,
            state: session.state,
            created: session.created.into(),
            last_event: session.last_event,
            turns: session.turns,
            lease: session.lease.map(SessionLease::from),
        }
    }
}

impl From<core::SessionLease> for SessionLease {
    fn from(lease: core::SessionLease) -> Self {
        SessionLease { epoch: lease.epoch, owner: lease.owner, last_seen: lease.last_seen.into() }
    }
}

impl From<NewEvent> for core::NewEvent {
    fn from(event: NewEvent) -> Self {
        let NewEvent { key, kind, turn, tool_call, data } = event;
        core::NewEvent { key, kind, turn, tool_call, data }
    }
}

impl TryFrom<core::Event> for Event {
    type Error = Error;

    fn try_from(event: core::Event) -> Result<Self, Error> {
        let data = serde_json::from_str(&event.data).map_err(|error| {
            Error::corrupt(format!("the body of event {} is not JSON", event.sequence)).because(error)
        })?;
        Ok(Event {
            sequence: event.sequence,
            key: event.key,
            kind: event.kind,
            turn: event.turn,
            tool_call: event.tool_call,
            time: event.time.into(),
            epoch: event.epoch,
            data,
        })
    }
}

impl From<core::Turn> for Turn {
    fn from(turn: core::Turn) -> Self {
        let named = |document: core::DocumentVersion| DocumentRef {
            scope: document.scope,
            path: document.path,
            version: document.version,
        };
        Turn {
            number: turn.number,
            snapshot: turn.snapshot,
            before: turn.before,
            documents: turn.documents.into_iter().map(named).collect(),
            time: turn.time.into(),
        }
    }
}
