//! Histories: what each ref pointed at, like a reflog. gc marks from them.

use super::{Builder, Columns, Connection, Failure, Row, map_error, query, side_refs, time_to_sql, to_sql};
use crate::clock::Time;
use crate::db::HistoryRow;
use crate::db::row::check_row;
use crate::error::{Error, Result};
use crate::id::{SnapshotId, WorkspaceId};
use crate::limits::{AUTOMATIC_KEPT, AUTOMATIC_SPAN, LOOKUP_MAX};

fn failed(error: Failure) -> Error {
    map_error(error, "a history could not be read or written")
}

/// Writes a row, over the one with the same sequence if there is one.
pub async fn put(connection: &mut Connection, workspace: WorkspaceId, row: &HistoryRow) -> Result<()> {
    query(
        "INSERT INTO history
         (workspace, sequence, snapshot, time, automatic, message, author, session, turn, row_hash)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (workspace, sequence) DO UPDATE SET
         snapshot = excluded.snapshot, time = excluded.time, automatic = excluded.automatic,
         message = excluded.message, author = excluded.author, session = excluded.session, turn = excluded.turn,
         row_hash = excluded.row_hash",
    )
    .bind(&workspace.as_bytes()[..])
    .bind(to_sql(row.sequence))
    .bind(&row.snapshot.as_bytes()[..])
    .bind(time_to_sql(row.time))
    .bind(row.automatic)
    .bind(&row.message)
    .bind(&row.author)
    .bind(&row.session)
    .bind(&row.turn)
    .bind(row.hash(workspace))
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

/// The newest rows, newest first; automatic ones only with `all`, or if their snapshot has a side ref (a reader's does not
/// count: who looks at something does not change the list).
pub async fn newest(
    connection: &mut Connection,
    workspace: WorkspaceId,
    all: bool,
    limit: u64,
) -> Result<Vec<HistoryRow>> {
    let rows = query(
        "SELECT workspace, sequence, snapshot, time, automatic, message, author, session, turn, row_hash
         FROM history WHERE workspace = ?1 AND (?2 = 1 OR automatic = 0
         OR snapshot IN (SELECT snapshot FROM side_refs WHERE workspace = ?1 AND name NOT LIKE 'reader/%'))
         ORDER BY sequence DESC LIMIT ?3",
    )
    .bind(&workspace.as_bytes()[..])
    .bind(all)
    .bind(to_sql(limit))
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter().map(read).collect()
}

/// The row with this sequence.
pub async fn at(connection: &mut Connection, workspace: WorkspaceId, sequence: u64) -> Result<Option<HistoryRow>> {
    let row = query(
        "SELECT workspace, sequence, snapshot, time, automatic, message, author, session, turn, row_hash
         FROM history WHERE workspace = ? AND sequence = ?",
    )
    .bind(&workspace.as_bytes()[..])
    .bind(to_sql(sequence))
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    row.as_ref().map(read).transpose()
}

/// Whether any history, or any side ref, of the tenant holds a snapshot.
pub async fn holds(connection: &mut Connection, tenant: i64, snapshot: SnapshotId) -> Result<bool> {
    keeper(connection, tenant, snapshot).await.map(|found| found.is_some())
}

/// A workspace of the tenant that keeps a snapshot, by its history or by a side ref.
pub async fn keeper(connection: &mut Connection, tenant: i64, snapshot: SnapshotId) -> Result<Option<WorkspaceId>> {
    let found = query(
        "SELECT h.workspace FROM history h JOIN workspaces w ON w.id = h.workspace
         WHERE h.snapshot = ? AND w.tenant = ? LIMIT 1",
    )
    .bind(&snapshot.as_bytes()[..])
    .bind(tenant)
    .fetch_optional(&mut *connection)
    .await
    .map_err(failed)?;
    match found {
        Some(row) => Ok(Some(WorkspaceId::from_bytes(Columns(&row).array("workspace")?))),
        None => side_refs::keeper(connection, tenant, snapshot).await,
    }
}

/// Removes rows. Belongs into the transaction that found that they may go.
pub async fn remove(connection: &mut Connection, workspace: WorkspaceId, sequences: &[u64]) -> Result<()> {
    for part in sequences.chunks(LOOKUP_MAX) {
        let mut delete = Builder::new("DELETE FROM history WHERE workspace = ");
        delete.push_bind(&workspace.as_bytes()[..]).push(" AND sequence IN (");
        delete.push_list(part.iter().map(|sequence| to_sql(*sequence))).push(")");
        delete.build(false).execute(&mut *connection).await.map_err(failed)?;
    }
    Ok(())
}

/// The row of a workspace that holds a snapshot; one that stays rather than an automatic one.
pub async fn holding(
    connection: &mut Connection,
    workspace: WorkspaceId,
    snapshot: SnapshotId,
) -> Result<Option<HistoryRow>> {
    let row = query(
        "SELECT workspace, sequence, snapshot, time, automatic, message, author, session, turn, row_hash
         FROM history WHERE workspace = ? AND snapshot = ? ORDER BY automatic, sequence DESC LIMIT 1",
    )
    .bind(&workspace.as_bytes()[..])
    .bind(&snapshot.as_bytes()[..])
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    row.as_ref().map(read).transpose()
}

/// Of the automatic rows that are older than an hour, keeps the newest of each hour; never touches the newest two rows,
/// nor those of snapshots that have a side ref.
pub async fn thin(connection: &mut Connection, workspace: WorkspaceId, now: Time) -> Result<u64> {
    let kept_since = Time::from_nanos(now.as_nanos() - AUTOMATIC_KEPT.as_nanos() as i128);
    let result = query(
        "DELETE FROM history WHERE workspace = ?1 AND automatic = 1 AND time < ?2
         AND sequence < (SELECT MAX(sequence) - 1 FROM history WHERE workspace = ?1)
         AND snapshot NOT IN (SELECT snapshot FROM side_refs WHERE workspace = ?1)
         AND sequence NOT IN (SELECT MAX(sequence) FROM history
                              WHERE workspace = ?1 AND automatic = 1 AND time < ?2 GROUP BY time / ?3)",
    )
    .bind(&workspace.as_bytes()[..])
    .bind(time_to_sql(kept_since))
    .bind(AUTOMATIC_SPAN.as_nanos() as i64)
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(result)
}

fn read(row: &Row) -> Result<HistoryRow> {
    let columns = Columns(row);
    let found = HistoryRow {
        sequence: columns.number("sequence")?,
        snapshot: SnapshotId::from_bytes(columns.array("snapshot")?),
        time: columns.time("time")?,
        automatic: columns.number("automatic")? != 0,
        message: columns.text("message")?,
        author: columns.text("author")?,
        session: columns.text("session")?,
        turn: columns.text("turn")?,
    };
    let workspace = WorkspaceId::from_bytes(columns.array("workspace")?);
    check_row("history", columns.bytes("row_hash")?, &found.hash(workspace))?;
    Ok(found)
}
