//! Leases: who may publish a workspace.

use super::{Columns, Connection, Failure, map_error, query, time_to_sql, to_sql};
use crate::db::LeaseRow;
use crate::db::row::check_row;
use crate::error::{Error, Result};
use crate::id::{HolderId, SnapshotId, WorkspaceId};

fn failed(error: Failure) -> Error {
    map_error(error, "a lease could not be read or written")
}

/// The lease of a workspace.
pub async fn get(connection: &mut Connection, workspace: WorkspaceId) -> Result<Option<LeaseRow>> {
    let row =
        query("SELECT holder, epoch, host, pid, mountpoint, last_seen, base, row_hash FROM leases WHERE workspace = ?")
            .bind(&workspace.as_bytes()[..])
            .fetch_optional(connection)
            .await
            .map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let columns = Columns(&row);
    let found = LeaseRow {
        workspace,
        holder: HolderId::from_bytes(columns.array("holder")?),
        epoch: columns.number("epoch")?,
        host: columns.text("host")?,
        pid: columns.small("pid")?,
        mountpoint: columns.text("mountpoint")?,
        last_seen: columns.time("last_seen")?,
        base: SnapshotId::from_bytes(columns.array("base")?),
    };
    check_row("leases", columns.bytes("row_hash")?, &found.hash())?;
    Ok(Some(found))
}

/// Writes a lease.
pub async fn put(connection: &mut Connection, row: &LeaseRow) -> Result<()> {
    query(
        "INSERT INTO leases (workspace, holder, epoch, host, pid, mountpoint, last_seen, base, row_hash)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (workspace) DO UPDATE SET
         holder = excluded.holder, epoch = excluded.epoch, host = excluded.host, pid = excluded.pid,
         mountpoint = excluded.mountpoint, last_seen = excluded.last_seen, base = excluded.base,
         row_hash = excluded.row_hash",
    )
    .bind(&row.workspace.as_bytes()[..])
    .bind(&row.holder.as_bytes()[..])
    .bind(to_sql(row.epoch))
    .bind(&row.host)
    .bind(i64::from(row.pid))
    .bind(&row.mountpoint)
    .bind(time_to_sql(row.last_seen))
    .bind(&row.base.as_bytes()[..])
    .bind(row.hash())
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

/// Removes a lease.
pub async fn remove(connection: &mut Connection, workspace: WorkspaceId) -> Result<()> {
    query("DELETE FROM leases WHERE workspace = ?")
        .bind(&workspace.as_bytes()[..])
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}
