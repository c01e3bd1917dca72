//! Sessions: one row each, which also guards the end of its turn log.

use super::{Columns, Connection, Failure, Row, map_error, query, time_to_sql, to_sql};
use crate::db::SessionRow;
use crate::db::row::check_row;
use crate::error::{Error, Result};
use crate::id::{SessionId, SnapshotId, WorkspaceId};

fn failed(error: Failure) -> Error {
    map_error(error, "a session could not be read or written")
}

/// Writes a session.
pub async fn put(connection: &mut Connection, tenant: i64, row: &SessionRow) -> Result<()> {
    query(
        "INSERT INTO sessions (id, tenant, workspace, agent, user_name, title, ended, created, epoch, owner, last_seen,
         last_sequence, last_chain, turns, began_on, row_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET ended = excluded.ended, epoch = excluded.epoch, owner = excluded.owner,
         last_seen = excluded.last_seen, last_sequence = excluded.last_sequence, last_chain = excluded.last_chain,
         turns = excluded.turns, row_hash = excluded.row_hash",
    )
    .bind(row.id.to_hex())
    .bind(tenant)
    .bind(&row.workspace.as_bytes()[..])
    .bind(&row.agent)
    .bind(&row.user)
    .bind(&row.title)
    .bind(&row.ended)
    .bind(time_to_sql(row.created))
    .bind(to_sql(row.epoch))
    .bind(&row.owner)
    .bind(time_to_sql(row.last_seen))
    .bind(to_sql(row.last_sequence))
    .bind(&row.last_chain[..])
    .bind(to_sql(row.turns))
    .bind(&row.began_on.as_bytes()[..])
    .bind(row.hash())
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

/// One session.
pub async fn get(connection: &mut Connection, tenant: i64, id: SessionId) -> Result<Option<SessionRow>> {
    let row = query("SELECT * FROM sessions WHERE tenant = ? AND id = ?")
        .bind(tenant)
        .bind(id.to_hex())
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    row.as_ref().map(read).transpose()
}

/// The first two ids that start with `prefix`, which must be hexadecimal.
pub async fn starting_with(connection: &mut Connection, tenant: i64, prefix: &str) -> Result<Vec<SessionId>> {
    let rows = query("SELECT id FROM sessions WHERE tenant = ?1 AND id >= ?2 AND id < ?2 || 'g' ORDER BY id LIMIT 2")
        .bind(tenant)
        .bind(prefix)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter().map(|row| Columns(row).text("id")?.parse()).collect()
}

/// The newest sessions of all workspaces or of one, newest first.
pub async fn newest(
    connection: &mut Connection,
    tenant: i64,
    workspace: Option<WorkspaceId>,
    limit: u64,
) -> Result<Vec<SessionRow>> {
    let rows = query(
        "SELECT * FROM sessions WHERE tenant = ?1 AND (?2 IS NULL OR workspace = ?2)
         ORDER BY created DESC, id LIMIT ?3",
    )
    .bind(tenant)
    .bind(workspace.as_ref().map(|id| &id.as_bytes()[..]))
    .bind(to_sql(limit))
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter().map(read).collect()
}

/// The sessions of a workspace that somebody has the lease of, however old.
pub async fn owned(connection: &mut Connection, tenant: i64, workspace: WorkspaceId) -> Result<Vec<SessionRow>> {
    let rows = query("SELECT * FROM sessions WHERE tenant = ? AND workspace = ? AND owner <> ''")
        .bind(tenant)
        .bind(&workspace.as_bytes()[..])
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter().map(read).collect()
}

/// The ids of all sessions as they are stored, for whoever looks for damage.
pub async fn ids(connection: &mut Connection, tenant: i64) -> Result<Vec<String>> {
    let rows = query("SELECT id FROM sessions WHERE tenant = ? ORDER BY id")
        .bind(tenant)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter().map(|row| Columns(row).text("id")).collect()
}

fn read(row: &Row) -> Result<SessionRow> {
    let columns = Columns(row);
    let id = columns.text("id")?;
    let id: SessionId = id.parse().map_err(|error: Error| {
        Error::corrupt(format!("{id:?} is not the id of a session: the database is damaged")).because(error)
    })?;
    let found = SessionRow {
        id,
        workspace: WorkspaceId::from_bytes(columns.array("workspace")?),
        agent: columns.text("agent")?,
        user: columns.text("user_name")?,
        title: columns.text("title")?,
        ended: columns.text("ended")?,
        created: columns.time("created")?,
        epoch: columns.number("epoch")?,
        owner: columns.text("owner")?,
        last_seen: columns.time("last_seen")?,
        last_sequence: columns.number("last_sequence")?,
        last_chain: columns.array("last_chain")?,
        turns: columns.number("turns")?,
        began_on: SnapshotId::from_bytes(columns.array("began_on")?),
    };
    check_row("sessions", columns.bytes("row_hash")?, &found.hash())?;
    Ok(found)
}
