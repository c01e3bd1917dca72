//! Sessions and their turn logs through the façade: each call is one transaction.

use tokio::sync::broadcast;

use super::Repo;
use super::workspaces::check_name;
use crate::chance::random;
use crate::db::{Connection, SessionRow, refs, sessions as rows, turn_log, workspaces};
use crate::error::{Error, Kind, Result};
use crate::id::{SessionId, WorkspaceId};
use crate::limits::{EVENTS_PAGE_BYTES, SESSION_TITLE_MAX};
use crate::sessions::{self, EndTurn, Event, EventPage, NewEvent, NewSession, Session, SessionLease, Turn};

const PREFIX_MIN: usize = 4;

impl Repo {
    /// Makes a session on a workspace that is there.
    pub async fn create_session(&self, new: &NewSession) -> Result<Session> {
        check_name("agent", &new.agent)?;
        check_name("user", &new.user)?;
        if new.title.len() > SESSION_TITLE_MAX || new.title.chars().any(char::is_control) {
            let message = format!("a session's title is one line of at most {SESSION_TITLE_MAX} bytes");
            return Err(Error::new(Kind::Invalid, message));
        }
        let workspace = self.workspace(&new.workspace).await?;
        let (id, now) = (SessionId::from_bytes(random()?), self.now());
        let mut transaction = self.database().begin().await?;
        let head = refs::get(&mut transaction, workspace.id).await?.snapshot;
        let row = SessionRow {
            agent: new.agent.clone(),
            user: new.user.clone(),
            title: new.title.clone(),
            ..SessionRow::new(id, workspace.id, head, now)
        };
        if rows::get(&mut transaction, self.inner.tenant_number, id).await?.is_some() {
            return Err(Error::new(Kind::Unavailable, "the id of the new session is taken: try again"));
        }
        let message = format!("before the session {id}");
        sessions::keep(&mut transaction, workspace.id, head, &message, ("", "")).await?;
        rows::put(&mut transaction, self.inner.tenant_number, &row).await?;
        self.database().commit(transaction).await?;
        Ok(Session::new(row, workspace.name, now))
    }

    /// The newest sessions of all workspaces or of one, newest first. The workspace may be gone.
    pub async fn sessions(&self, workspace: Option<WorkspaceId>, limit: u32) -> Result<Vec<Session>> {
        let mut connection = self.database().read().await?;
        let found = rows::newest(&mut connection, self.inner.tenant_number, workspace, limit.into()).await?;
        let mut list = Vec::with_capacity(found.len());
        for row in found {
            list.push(self.describe_session(&mut connection, row).await?);
        }
        Ok(list)
    }

    /// One session, by id or a prefix of at least four digits; `Invalid` if that names several.
    pub async fn session(&self, prefix: &str) -> Result<Session> {
        let mut connection = self.database().read().await?;
        let row = self.find_session(&mut connection, prefix).await?;
        self.describe_session(&mut connection, row).await
    }

    /// Takes the lease of a session. `Busy` while its owner lives, unless `dead_epoch` names it; `Busy` while another
    /// session of the same workspace runs.
    pub async fn take_session(&self, id: SessionId, owner: &str, dead_epoch: Option<u64>) -> Result<SessionLease> {
        let mut transaction = self.database().begin().await?;
        let (tenant, now) = (self.inner.tenant_number, self.now());
        let row = sessions::take(&mut transaction, tenant, id, owner, dead_epoch, now).await?;
        self.database().commit(transaction).await?;
        Ok(SessionLease { epoch: row.epoch, owner: row.owner, last_seen: row.last_seen })
    }

    /// Says that the owner lives; `LeaseLost` if it is the owner no more.
    pub async fn renew_session(&self, id: SessionId, epoch: u64) -> Result<()> {
        let mut transaction = self.database().begin().await?;
        sessions::renew(&mut transaction, self.inner.tenant_number, id, epoch, self.now()).await?;
        self.database().commit(transaction).await
    }

    /// Gives the lease back; fine if it is gone already.
    pub async fn release_session(&self, id: SessionId, epoch: u64) -> Result<()> {
        let mut transaction = self.database().begin().await?;
        sessions::release(&mut transaction, self.inner.tenant_number, id, epoch).await?;
        self.database().commit(transaction).await
    }

    /// Appends events, all or none; they are durable when this returns. `LeaseLost` without the newest epoch,
    /// `Conflict` if a key is there with another body.
    pub async fn append_events(&self, id: SessionId, epoch: u64, events: &[NewEvent]) -> Result<Vec<Event>> {
        let mut transaction = self.database().begin().await?;
        let (tenant, now) = (self.inner.tenant_number, self.now());
        let appended = sessions::append(&mut transaction, tenant, id, epoch, events, now).await?;
        self.database().commit(transaction).await?;
        self.tell(id);
        Ok(appended)
    }

    /// Ends a turn: its record, with the document versions that the session wrote in it, and its event.
    pub async fn end_turn(&self, id: SessionId, epoch: u64, end: &EndTurn) -> Result<Turn> {
        let mut transaction = self.database().begin().await?;
        let (tenant, now) = (self.inner.tenant_number, self.now());
        let turn = sessions::end_turn(&mut transaction, tenant, id, epoch, end, now).await?;
        self.database().commit(transaction).await?;
        self.tell(id);
        Ok(turn)
    }

    /// A page of the turn log, verified; `Corrupt` names the first event that is wrong.
    pub async fn events(&self, id: SessionId, after: u64, limit: u32) -> Result<EventPage> {
        let mut connection = self.database().read().await?;
        let row = self.find_session(&mut connection, &id.to_hex()).await?;
        let events = turn_log::page(&mut connection, &row, after, limit.into(), EVENTS_PAGE_BYTES).await?;
        let last = events.last().map_or(after, |event| event.sequence);
        Ok(EventPage { events, more: last < row.last_sequence })
    }

    /// The turns that have ended, in order.
    pub async fn turns(&self, id: SessionId) -> Result<Vec<Turn>> {
        let mut connection = self.database().read().await?;
        let row = self.find_session(&mut connection, &id.to_hex()).await?;
        turn_log::turns(&mut connection, &row).await
    }

    /// Names each session that gets new events from now on. A receiver that lags has missed some names.
    pub fn session_news(&self) -> broadcast::Receiver<SessionId> {
        self.inner.news.subscribe()
    }

    fn tell(&self, id: SessionId) {
        // Nobody listens: nobody needs to know.
        let _ = self.inner.news.send(id);
    }

    async fn find_session(&self, connection: &mut Connection, prefix: &str) -> Result<SessionRow> {
        let tenant = self.inner.tenant_number;
        let prefix = prefix.to_ascii_lowercase();
        let plausible = (PREFIX_MIN..=SessionId::LENGTH * 2).contains(&prefix.len())
            && prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !plausible {
            let message =
                format!("{prefix:?} names no session: use at least {PREFIX_MIN} hexadecimal digits of its id");
            return Err(Error::new(Kind::Invalid, message));
        }
        let found = match rows::starting_with(connection, tenant, &prefix).await?.as_slice() {
            [] => None,
            [id] => rows::get(connection, tenant, *id).await?,
            _ => {
                let message = format!("several sessions start with {prefix}: use more digits");
                return Err(Error::new(Kind::Invalid, message));
            }
        };
        found.ok_or_else(|| Error::new(Kind::NotFound, format!("there is no session {prefix}")))
    }

    async fn describe_session(&self, connection: &mut Connection, row: SessionRow) -> Result<Session> {
        let workspace = workspaces::by_id(connection, self.inner.tenant_number, row.workspace).await?;
        Ok(Session::new(row, workspace.map_or_else(String::new, |workspace| workspace.name), self.now()))
    }
}
