//! Retention rules as text, of a workspace or of the whole repo. What they mean is not for here.

use super::{Columns, Connection, Failure, map_error, query};
use crate::error::{Error, Kind, Result};
use crate::id::WorkspaceId;

fn failed(error: Failure) -> Error {
    map_error(error, "retention rules could not be read or written")
}

/// The rules of the repo.
pub async fn of_repo(connection: &mut Connection, tenant: i64) -> Result<Option<String>> {
    let row =
        query("SELECT retention FROM tenants WHERE id = ?").bind(tenant).fetch_one(connection).await.map_err(failed)?;
    Columns(&row).optional_text("retention")
}

/// Sets the rules of the repo, or takes them away.
pub async fn set_of_repo(connection: &mut Connection, tenant: i64, rules: Option<&str>) -> Result<()> {
    query("UPDATE tenants SET retention = ? WHERE id = ?")
        .bind(rules)
        .bind(tenant)
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// The rules of a workspace.
pub async fn of_workspace(connection: &mut Connection, workspace: WorkspaceId) -> Result<Option<String>> {
    let row = query("SELECT retention FROM workspaces WHERE id = ?")
        .bind(&workspace.as_bytes()[..])
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    Columns(&row.ok_or_else(|| missing(workspace))?).optional_text("retention")
}

/// Sets the rules of a workspace, or takes them away.
pub async fn set_of_workspace(connection: &mut Connection, workspace: WorkspaceId, rules: Option<&str>) -> Result<()> {
    let changed = query("UPDATE workspaces SET retention = ? WHERE id = ?")
        .bind(rules)
        .bind(&workspace.as_bytes()[..])
        .execute(connection)
        .await
        .map_err(failed)?;
    match changed {
        0 => Err(missing(workspace)),
        _ => Ok(()),
    }
}

fn missing(workspace: WorkspaceId) -> Error {
    Error::new(Kind::NotFound, format!("there is no workspace {workspace}"))
}
