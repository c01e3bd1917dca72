//! Quotas, and what each workspace holds. `usage` is written with every move of a ref; a workspace from before that has no
//! row until it is counted.

use super::{Columns, Connection, Failure, map_error, query, to_sql};
use crate::error::{Error, Kind, Result};
use crate::id::WorkspaceId;
use crate::quota::{Quota, Usage};

fn failed(error: Failure) -> Error {
    map_error(error, "a quota could not be read or written")
}

/// The quota of a workspace.
pub async fn of_workspace(connection: &mut Connection, workspace: WorkspaceId) -> Result<Quota> {
    let row = query("SELECT quota_bytes, quota_files FROM workspaces WHERE id = ?")
        .bind(&workspace.as_bytes()[..])
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    let row = row.ok_or_else(|| Error::new(Kind::NotFound, format!("there is no workspace {workspace}")))?;
    read(&Columns(&row))
}

/// The quota of a tenant.
pub async fn of_tenant(connection: &mut Connection, tenant: i64) -> Result<Quota> {
    let row = query("SELECT quota_bytes, quota_files FROM tenants WHERE id = ?")
        .bind(tenant)
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    row.as_ref().map_or(Ok(Quota::NONE), |row| read(&Columns(row)))
}

fn read(columns: &Columns<'_>) -> Result<Quota> {
    Ok(Quota { bytes: columns.optional_number("quota_bytes")?, files: columns.optional_number("quota_files")? })
}

/// Sets or clears the quota of a workspace.
pub async fn set_of_workspace(connection: &mut Connection, workspace: WorkspaceId, quota: Quota) -> Result<()> {
    query("UPDATE workspaces SET quota_bytes = ?, quota_files = ? WHERE id = ?")
        .bind(quota.bytes.map(to_sql))
        .bind(quota.files.map(to_sql))
        .bind(&workspace.as_bytes()[..])
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Sets or clears the quota of a tenant.
pub async fn set_of_tenant(connection: &mut Connection, tenant: i64, quota: Quota) -> Result<()> {
    query("UPDATE tenants SET quota_bytes = ?, quota_files = ? WHERE id = ?")
        .bind(quota.bytes.map(to_sql))
        .bind(quota.files.map(to_sql))
        .bind(tenant)
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// What a workspace holds, if it was counted.
pub async fn usage(connection: &mut Connection, workspace: WorkspaceId) -> Result<Option<Usage>> {
    let row = query("SELECT bytes, files FROM usage WHERE workspace = ?")
        .bind(&workspace.as_bytes()[..])
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    row.as_ref().map(|row| read_usage(&Columns(row))).transpose()
}

/// What all workspaces of a tenant hold. Summed here: a sum in SQL overflows where somebody makes huge sparse files.
pub async fn usage_of_tenant(connection: &mut Connection, tenant: i64) -> Result<Usage> {
    let rows = query(
        "SELECT usage.bytes, usage.files FROM usage JOIN workspaces ON workspaces.id = usage.workspace
         WHERE workspaces.tenant = ?",
    )
    .bind(tenant)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter().try_fold(Usage::default(), |sum, row| Ok(sum.plus(read_usage(&Columns(row))?)))
}

fn read_usage(columns: &Columns<'_>) -> Result<Usage> {
    Ok(Usage { bytes: columns.number("bytes")?, files: columns.number("files")? })
}

/// Notes what a workspace holds now.
pub async fn put_usage(connection: &mut Connection, workspace: WorkspaceId, usage: Usage) -> Result<()> {
    query(
        "INSERT INTO usage (workspace, bytes, files) VALUES (?, ?, ?)
         ON CONFLICT (workspace) DO UPDATE SET bytes = excluded.bytes, files = excluded.files",
    )
    .bind(&workspace.as_bytes()[..])
    .bind(to_sql(usage.bytes))
    .bind(to_sql(usage.files))
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}
