//! Retention rules as text, of a workspace or of the whole repo. What they mean is not for here.

use super::{Connection, map_error};
use crate::error::{Error, Kind, Result};
use crate::id::WorkspaceId;

fn failed(error: sqlx::Error) -> Error {
    map_error(error, "retention rules could not be read or written")
}

/// The rules of the repo.
pub async fn of_repo(connection: &mut Connection, tenant: i64) -> Result<Option<String>> {
    sqlx::query_scalar("SELECT retention FROM tenants WHERE id = ?")
        .bind(tenant)
        .fetch_one(connection)
        .await
        .map_err(failed)
}

/// Sets the rules of the repo, or takes them away.
pub async fn set_of_repo(connection: &mut Connection, tenant: i64, rules: Option<&str>) -> Result<()> {
    sqlx::query("UPDATE tenants SET retention = ? WHERE id = ?")
        .bind(rules)
        .bind(tenant)
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// The rules of a workspace.
pub async fn of_workspace(connection: &mut Connection, workspace: WorkspaceId) -> Result<Option<String>> {
    let found: Option<Option<String>> = sqlx::query_scalar("SELECT retention FROM workspaces WHERE id = ?")
        .bind(&workspace.as_bytes()[..])
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    found.ok_or_else(|| missing(workspace))
}

/// Sets the rules of a workspace, or takes them away.
pub async fn set_of_workspace(connection: &mut Connection, workspace: WorkspaceId, rules: Option<&str>) -> Result<()> {
    let result = sqlx::query("UPDATE workspaces SET retention = ? WHERE id = ?")
        .bind(rules)
        .bind(&workspace.as_bytes()[..])
        .execute(connection)
        .await
        .map_err(failed)?;
    if result.rows_affected() == 0 {
        return Err(missing(workspace));
    }
    Ok(())
}

fn missing(workspace: WorkspaceId) -> Error {
    Error::new(Kind::NotFound, format!("there is no workspace {workspace}"))
}
