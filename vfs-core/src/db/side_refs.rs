//! Side refs: names beside the head that keep a snapshot, `damaged/…` and others.

use super::{Columns, Connection, Failure, Row, map_error, query, time_to_sql};
use crate::db::SideRefRow;
use crate::db::row::check_row;
use crate::error::{Error, Result};
use crate::id::{SnapshotId, WorkspaceId};

fn failed(error: Failure) -> Error {
    map_error(error, "a side ref could not be read or written")
}

/// All of a workspace, by name.
pub async fn all(connection: &mut Connection, workspace: WorkspaceId) -> Result<Vec<SideRefRow>> {
    let rows =
        query("SELECT workspace, name, snapshot, created, row_hash FROM side_refs WHERE workspace = ? ORDER BY name")
            .bind(&workspace.as_bytes()[..])
            .fetch_all(connection)
            .await
            .map_err(failed)?;
    rows.iter().map(read).collect()
}

/// One of a workspace.
pub async fn get(connection: &mut Connection, workspace: WorkspaceId, name: &str) -> Result<Option<SideRefRow>> {
    let row =
        query("SELECT workspace, name, snapshot, created, row_hash FROM side_refs WHERE workspace = ? AND name = ?")
            .bind(&workspace.as_bytes()[..])
            .bind(name)
            .fetch_optional(connection)
            .await
            .map_err(failed)?;
    row.as_ref().map(read).transpose()
}

/// A workspace of the tenant that keeps a snapshot by one.
pub async fn keeper(connection: &mut Connection, tenant: i64, snapshot: SnapshotId) -> Result<Option<WorkspaceId>> {
    let found = query(
        "SELECT s.workspace FROM side_refs s JOIN workspaces w ON w.id = s.workspace
         WHERE s.snapshot = ? AND w.tenant = ? LIMIT 1",
    )
    .bind(&snapshot.as_bytes()[..])
    .bind(tenant)
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    found.map(|row| Ok(WorkspaceId::from_bytes(Columns(&row).array("workspace")?))).transpose()
}

/// Removes those of one name, whatever workspace has them; whether there was one.
pub async fn remove_everywhere(connection: &mut Connection, tenant: i64, name: &str) -> Result<bool> {
    let removed =
        query("DELETE FROM side_refs WHERE name = ? AND workspace IN (SELECT id FROM workspaces WHERE tenant = ?)")
            .bind(name)
            .bind(tenant)
            .execute(connection)
            .await
            .map_err(failed)?;
    Ok(removed > 0)
}

/// Removes one; whether there was one.
pub async fn remove(connection: &mut Connection, workspace: WorkspaceId, name: &str) -> Result<bool> {
    let removed = query("DELETE FROM side_refs WHERE workspace = ? AND name = ?")
        .bind(&workspace.as_bytes()[..])
        .bind(name)
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(removed > 0)
}

/// Writes one.
pub async fn put(connection: &mut Connection, row: &SideRefRow) -> Result<()> {
    query(
        "INSERT INTO side_refs (workspace, name, snapshot, created, row_hash) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (workspace, name) DO UPDATE SET
         snapshot = excluded.snapshot, created = excluded.created, row_hash = excluded.row_hash",
    )
    .bind(&row.workspace.as_bytes()[..])
    .bind(&row.name)
    .bind(&row.snapshot.as_bytes()[..])
    .bind(time_to_sql(row.created))
    .bind(row.hash())
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

fn read(row: &Row) -> Result<SideRefRow> {
    let columns = Columns(row);
    let found = SideRefRow {
        workspace: WorkspaceId::from_bytes(columns.array("workspace")?),
        name: columns.text("name")?,
        snapshot: SnapshotId::from_bytes(columns.array("snapshot")?),
        created: columns.time("created")?,
    };
    check_row("side_refs", columns.bytes("row_hash")?, &found.hash())?;
    Ok(found)
}
