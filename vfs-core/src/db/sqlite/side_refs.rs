//! Side refs: names beside a workspace's ref, each of which keeps one snapshot. gc marks from them.

use sqlx::sqlite::SqliteRow;

use super::{Columns, Connection, map_error, time_to_sql};
use crate::db::SideRefRow;
use crate::db::row::check_row;
use crate::error::{Error, Kind, Result};
use crate::id::{SnapshotId, WorkspaceId};

fn failed(error: sqlx::Error) -> Error {
    map_error(error, "a side ref could not be read or written")
}

/// Adds one; `AlreadyExists` if the workspace has one of this name.
pub async fn insert(connection: &mut Connection, row: &SideRefRow) -> Result<()> {
    let inserted =
        sqlx::query("INSERT INTO side_refs (workspace, name, snapshot, created, row_hash) VALUES (?, ?, ?, ?, ?)")
            .bind(&row.workspace.as_bytes()[..])
            .bind(&row.name)
            .bind(&row.snapshot.as_bytes()[..])
            .bind(time_to_sql(row.created))
            .bind(row.hash())
            .execute(connection)
            .await;
    match inserted.map_err(failed) {
        Err(error) if error.kind() == Kind::AlreadyExists => {
            Err(Error::new(Kind::AlreadyExists, format!("the workspace has a {} already", row.name)))
        }
        other => other.map(|_| ()),
    }
}

/// All of a workspace, by name.
pub async fn all(connection: &mut Connection, workspace: WorkspaceId) -> Result<Vec<SideRefRow>> {
    let rows = sqlx::query(
        "SELECT workspace, name, snapshot, created, row_hash FROM side_refs WHERE workspace = ? ORDER BY name",
    )
    .bind(&workspace.as_bytes()[..])
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter().map(read).collect()
}

/// One by its name.
pub async fn get(connection: &mut Connection, workspace: WorkspaceId, name: &str) -> Result<Option<SideRefRow>> {
    let row = sqlx::query(
        "SELECT workspace, name, snapshot, created, row_hash FROM side_refs WHERE workspace = ? AND name = ?",
    )
    .bind(&workspace.as_bytes()[..])
    .bind(name)
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    row.as_ref().map(read).transpose()
}

/// How many a workspace has.
pub async fn count(connection: &mut Connection, workspace: WorkspaceId) -> Result<u64> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM side_refs WHERE workspace = ?")
        .bind(&workspace.as_bytes()[..])
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    Ok(count.unsigned_abs())
}

/// Whether any workspace of the tenant has one that points at a snapshot.
pub async fn holds(connection: &mut Connection, tenant: i64, snapshot: SnapshotId) -> Result<bool> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM side_refs s JOIN workspaces w ON w.id = s.workspace
         WHERE s.snapshot = ? AND w.tenant = ? LIMIT 1",
    )
    .bind(&snapshot.as_bytes()[..])
    .bind(tenant)
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    Ok(found.is_some())
}

/// Removes one; whether there was one.
pub async fn remove(connection: &mut Connection, workspace: WorkspaceId, name: &str) -> Result<bool> {
    let result = sqlx::query("DELETE FROM side_refs WHERE workspace = ? AND name = ?")
        .bind(&workspace.as_bytes()[..])
        .bind(name)
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(result.rows_affected() > 0)
}

fn read(row: &SqliteRow) -> Result<SideRefRow> {
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
