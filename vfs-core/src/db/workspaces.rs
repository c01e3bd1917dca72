//! Workspaces by name and id.

use super::{Columns, Connection, Failure, Row, map_error, query, time_to_sql};
use crate::db::WorkspaceRow;
use crate::error::{Error, Kind, Result};
use crate::id::WorkspaceId;

fn failed(error: Failure) -> Error {
    map_error(error, "the list of workspaces could not be read or written")
}

/// Adds one; `AlreadyExists` if the name is taken.
pub async fn insert(connection: &mut Connection, tenant: i64, row: &WorkspaceRow) -> Result<()> {
    let inserted = query("INSERT INTO workspaces (id, tenant, name, source, created) VALUES (?, ?, ?, ?, ?)")
        .bind(&row.id.as_bytes()[..])
        .bind(tenant)
        .bind(&row.name)
        .bind(&row.source)
        .bind(time_to_sql(row.created))
        .execute(connection)
        .await;
    match inserted.map_err(failed) {
        Err(error) if error.kind() == Kind::AlreadyExists => {
            Err(Error::new(Kind::AlreadyExists, format!("there is a workspace named {:?} already", row.name)))
        }
        other => other.map(|_| ()),
    }
}

/// All of a tenant, by name.
pub async fn all(connection: &mut Connection, tenant: i64) -> Result<Vec<WorkspaceRow>> {
    let rows = query("SELECT id, name, source, created FROM workspaces WHERE tenant = ? ORDER BY name")
        .bind(tenant)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter().map(read).collect()
}

/// One by its id.
pub async fn by_id(connection: &mut Connection, tenant: i64, id: WorkspaceId) -> Result<Option<WorkspaceRow>> {
    let row = query("SELECT id, name, source, created FROM workspaces WHERE tenant = ? AND id = ?")
        .bind(tenant)
        .bind(&id.as_bytes()[..])
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    row.as_ref().map(read).transpose()
}

/// One by its name.
pub async fn by_name(connection: &mut Connection, tenant: i64, name: &str) -> Result<Option<WorkspaceRow>> {
    let row = query("SELECT id, name, source, created FROM workspaces WHERE tenant = ? AND name = ?")
        .bind(tenant)
        .bind(name)
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    row.as_ref().map(read).transpose()
}

/// Removes one with its ref, side refs, history and lease. Belongs into a transaction.
pub async fn remove(connection: &mut Connection, id: WorkspaceId) -> Result<()> {
    for statement in [
        "DELETE FROM leases WHERE workspace = ?",
        "DELETE FROM side_refs WHERE workspace = ?",
        "DELETE FROM usage WHERE workspace = ?",
        "DELETE FROM history WHERE workspace = ?",
        "DELETE FROM refs WHERE workspace = ?",
        "DELETE FROM workspaces WHERE id = ?",
    ] {
        query(statement).bind(&id.as_bytes()[..]).execute(&mut *connection).await.map_err(failed)?;
    }
    Ok(())
}

fn read(row: &Row) -> Result<WorkspaceRow> {
    let columns = Columns(row);
    Ok(WorkspaceRow {
        id: WorkspaceId::from_bytes(columns.array("id")?),
        name: columns.text("name")?,
        source: columns.optional_text("source")?,
        created: columns.time("created")?,
    })
}
