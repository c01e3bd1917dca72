//! Sessions and their turn logs: a typed method for each thing that can be asked of them.

use reqwest::Method;
use vfs_core::Result;

use super::transport::{Client, Effort};
use crate::wire::name::{to_query, to_segment};
use crate::wire::session::{
    AppendEvents, CreateSession, EndTurn, EpochQuery, Event, Events, Session, SessionLease, Sessions, TakeLease, Turn,
    Turns,
};

impl Client {
    /// Makes a session.
    pub async fn create_session(&self, request: &CreateSession) -> Result<Session> {
        self.post("/v1/sessions", request, Effort::ONCE).await
    }

    /// All sessions, or those of a workspace, newest first.
    pub async fn sessions(&self, workspace: Option<&str>) -> Result<Vec<Session>> {
        let query = workspace.map_or(String::new(), |name| format!("?workspace={}", to_query(name.as_bytes())));
        self.get::<Sessions>(&format!("/v1/sessions{query}")).await.map(|list| list.sessions)
    }

    /// One session, by id or a prefix of at least four digits.
    pub async fn session(&self, id: &str) -> Result<Session> {
        self.get(&session_path(id, "")).await
    }

    /// Takes the lease; `Busy` while somebody else has it.
    pub async fn take_session(&self, id: &str, request: &TakeLease) -> Result<SessionLease> {
        self.post(&session_path(id, "/lease"), request, Effort::ONCE).await
    }

    /// Says that the owner lives; `LeaseLost` if it is the owner no more.
    pub async fn renew_session(&self, id: &str, epoch: u64) -> Result<()> {
        let request = EpochQuery { epoch };
        self.json(Method::PUT, &session_path(id, "/lease"), Some(&request), Effort::READ).await
    }

    /// Gives the lease back.
    pub async fn release_session(&self, id: &str, epoch: u64) -> Result<()> {
        let path = session_path(id, &format!("/lease?epoch={epoch}"));
        self.json(Method::DELETE, &path, None::<&()>, Effort::READ).await
    }

    /// Appends events in one transaction. May be repeated: events that are there already are answered as they are.
    pub async fn append_events(&self, id: &str, request: &AppendEvents) -> Result<Vec<Event>> {
        self.post::<Events>(&session_path(id, "/events"), request, Effort::READ).await.map(|page| page.events)
    }

    /// Ends a turn. May be repeated.
    pub async fn end_turn(&self, id: &str, turn: u64, request: &EndTurn) -> Result<Turn> {
        self.post(&session_path(id, &format!("/turns/{turn}/end")), request, Effort::READ).await
    }

    /// A page of the turn log.
    pub async fn events(&self, id: &str, after: u64, limit: u32) -> Result<Events> {
        self.get(&session_path(id, &format!("/events?after={after}&limit={limit}"))).await
    }

    /// The turns that have ended.
    pub async fn turns(&self, id: &str) -> Result<Vec<Turn>> {
        self.get::<Turns>(&session_path(id, "/turns")).await.map(|list| list.turns)
    }
}

/// The URL of a session, and what follows it.
pub(super) fn session_path(id: &str, rest: &str) -> String {
    format!("/v1/sessions/{}{rest}", to_segment(id))
}
