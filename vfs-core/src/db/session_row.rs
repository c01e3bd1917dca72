//! Sessions, events and turns as values, with the hashes that guard them.
//!
//! The chain of an event covers the event and the chain of the one before; the row of the session holds the newest. So
//! an event that was changed, removed, added, moved or cut off at the end is found when the log is read.

use super::row::row_hash;
use crate::clock::Time;
use crate::error::{Error, Kind, Result};
use crate::id::{SessionId, SnapshotId, WorkspaceId};

/// A chain before the first event.
const CHAIN_START: [u8; 32] = [0; 32];

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Its id.
    pub id: SessionId,
    /// The workspace, which may be gone.
    pub workspace: WorkspaceId,
    /// The agent's name.
    pub agent: String,
    /// The user's name.
    pub user: String,
    /// What it is about.
    pub title: String,
    /// How it ended; empty while it is open.
    pub ended: String,
    /// When it was made.
    pub created: Time,
    /// The newest epoch that was given to an owner; 0 before the first.
    pub epoch: u64,
    /// Who has the lease; empty if nobody does.
    pub owner: String,
    /// When the owner was last heard of.
    pub last_seen: Time,
    /// The sequence of the newest event; 0 before the first.
    pub last_sequence: u64,
    /// The chain of the newest event.
    pub last_chain: [u8; 32],
    /// Turns that have ended.
    pub turns: u64,
    /// The workspace's head when the session was made.
    pub began_on: SnapshotId,
}

/// One entry of a turn log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
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
    /// What it says, as JSON.
    pub data: String,
}

/// A turn that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnRow {
    /// From 1.
    pub number: u64,
    /// The snapshot it ended on.
    pub snapshot: SnapshotId,
    /// The snapshot that the turn before ended on, or that the session began on.
    pub before: SnapshotId,
    /// The document versions that it wrote.
    pub documents: Vec<DocumentVersion>,
    /// When it ended.
    pub time: Time,
}

/// A document version by name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DocumentVersion {
    /// The scope.
    pub scope: String,
    /// The path.
    pub path: String,
    /// The version.
    pub version: u64,
}

impl SessionRow {
    /// A session without events that nobody drives.
    pub fn new(id: SessionId, workspace: WorkspaceId, began_on: SnapshotId, created: Time) -> Self {
        SessionRow {
            id,
            workspace,
            agent: String::new(),
            user: String::new(),
            title: String::new(),
            ended: String::new(),
            created,
            epoch: 0,
            owner: String::new(),
            last_seen: created,
            last_sequence: 0,
            last_chain: CHAIN_START,
            turns: 0,
            began_on,
        }
    }

    pub(super) fn hash(&self) -> Vec<u8> {
        row_hash(
            "sessions",
            &[
                self.id.as_bytes(),
                self.workspace.as_bytes(),
                self.agent.as_bytes(),
                self.user.as_bytes(),
                self.title.as_bytes(),
                self.ended.as_bytes(),
                &self.created.as_nanos().to_le_bytes(),
                &self.epoch.to_le_bytes(),
                self.owner.as_bytes(),
                &self.last_seen.as_nanos().to_le_bytes(),
                &self.last_sequence.to_le_bytes(),
                &self.last_chain,
                &self.turns.to_le_bytes(),
                self.began_on.as_bytes(),
            ],
        )
    }
}

impl EventRow {
    /// The chain of this event after the one with the chain `before`.
    pub(super) fn chain(&self, session: SessionId, before: &[u8; 32]) -> [u8; 32] {
        let hash = row_hash(
            "events",
            &[
                session.as_bytes(),
                before,
                &self.sequence.to_le_bytes(),
                self.key.as_bytes(),
                self.kind.as_bytes(),
                &self.turn.to_le_bytes(),
                self.tool_call.as_bytes(),
                &self.time.as_nanos().to_le_bytes(),
                &self.epoch.to_le_bytes(),
                self.data.as_bytes(),
            ],
        );
        hash.try_into().expect("because a hash has 32 bytes")
    }
}

impl TurnRow {
    pub(super) fn hash(&self, session: SessionId) -> Result<Vec<u8>> {
        Ok(row_hash(
            "turns",
            &[
                session.as_bytes(),
                &self.number.to_le_bytes(),
                self.snapshot.as_bytes(),
                self.before.as_bytes(),
                self.documents_json()?.as_bytes(),
                &self.time.as_nanos().to_le_bytes(),
            ],
        ))
    }

    pub(super) fn documents_json(&self) -> Result<String> {
        serde_json::to_string(&self.documents)
            .map_err(|error| Error::new(Kind::Internal, "the documents of a turn cannot be written").because(error))
    }
}

/// Follows the chain of a turn log from one event to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain {
    session: SessionId,
    sequence: u64,
    chain: [u8; 32],
}

impl Chain {
    /// Before the first event.
    pub(super) fn start(session: SessionId) -> Self {
        Chain { session, sequence: 0, chain: CHAIN_START }
    }

    /// After the event with this sequence and chain.
    pub(super) fn after(session: SessionId, sequence: u64, chain: [u8; 32]) -> Self {
        Chain { session, sequence, chain }
    }

    /// Steps to the next event, which was stored with `found`.
    pub(super) fn step(&mut self, event: &EventRow, found: &[u8; 32]) -> Result<()> {
        if event.sequence != self.sequence + 1 {
            return Err(damaged(self.session, self.sequence + 1, "is missing"));
        }
        self.sequence = event.sequence;
        self.chain = event.chain(self.session, &self.chain);
        if self.chain != *found {
            return Err(damaged(self.session, event.sequence, "is not what was appended, or not in its place"));
        }
        Ok(())
    }

    /// Whether it stands behind the event with this sequence.
    pub(super) fn is_at(&self, sequence: u64) -> bool {
        self.sequence == sequence
    }

    /// Compares with what the session's row says, once this is where it must be the same.
    pub(super) fn compare(&self, row: &SessionRow) -> Result<()> {
        match self.sequence {
            at if at < row.last_sequence => Err(damaged(self.session, at + 1, "is missing")),
            at if at == row.last_sequence && self.chain != row.last_chain => {
                Err(damaged(self.session, at, "is not the one that was appended last"))
            }
            _ => Ok(()),
        }
    }
}

fn damaged(session: SessionId, sequence: u64, what: &str) -> Error {
    Error::corrupt(format!("event {sequence} of the session {session} {what}: its turn log is damaged"))
}
