//! Sessions: every row, every chain from its first event to its last, and that histories hold what turns name.

use super::Check;
use crate::db::{Connection, SessionRow, TurnRow, history, sessions, turn_log, workspaces};
use crate::error::{Kind, Result};
use crate::id::SessionId;
use crate::limits::EVENTS_PAGE_BYTES;
use crate::progress::Progress;

/// Events read at once.
const PAGE: u64 = 1000;

impl Check<'_> {
    /// Reads every turn log. Damage is noted, one line a session and kind.
    pub(super) async fn sessions(&mut self) -> Result<()> {
        let ids = {
            let mut connection = self.store.database().read().await?;
            for stranger in turn_log::strangers(&mut connection).await? {
                self.note(format!("the session {stranger:?} has events or turns that nobody wrote"));
            }
            sessions::ids(&mut connection, self.store.tenant_number()).await?
        };
        let total = Some(ids.len() as u64);
        for (number, id) in ids.iter().enumerate() {
            match self.session(id).await {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::Invalid) => {
                    self.note(format!("the session {id}: {}", error.context()));
                }
                Err(error) => return Err(error),
            }
            (self.progress)(Progress { what: "sessions", done: number as u64 + 1, total });
        }
        Ok(())
    }

    async fn session(&mut self, id: &str) -> Result<()> {
        let parsed: SessionId = id.parse()?;
        let mut connection = self.store.database().read().await?;
        // It may be gone, once sessions can be removed.
        let Some(row) = sessions::get(&mut connection, self.store.tenant_number(), parsed).await? else {
            return Ok(());
        };
        match turn_log::turns(&mut connection, &row).await {
            Ok(turns) => self.snapshots(&mut connection, &row, &turns).await?,
            Err(error) if error.kind() == Kind::Corrupt => {
                self.note(format!("the session {id}: {}", error.context()));
            }
            Err(error) => return Err(error),
        }
        let mut after = 0;
        while after < row.last_sequence {
            let events = turn_log::page(&mut connection, &row, after, PAGE, EVENTS_PAGE_BYTES).await?;
            after = events.last().map_or(row.last_sequence, |event| event.sequence);
        }
        Ok(())
    }

    /// The history of a workspace that is still there holds what its turns ended on.
    async fn snapshots(&mut self, connection: &mut Connection, row: &SessionRow, turns: &[TurnRow]) -> Result<()> {
        if workspaces::by_id(connection, self.store.tenant_number(), row.workspace).await?.is_none() {
            return Ok(());
        }
        for turn in turns {
            match history::holding(connection, row.workspace, turn.snapshot).await {
                Ok(Some(_)) => continue,
                Ok(None) => {}
                // The history is damaged, which is noted where it is looked at.
                Err(error) if error.kind() == Kind::Corrupt => continue,
                Err(error) => return Err(error),
            }
            self.note(format!(
                "the session {}: turn {} ended on {}, which its workspace's history has lost",
                row.id, turn.number, turn.snapshot
            ));
        }
        Ok(())
    }
}
