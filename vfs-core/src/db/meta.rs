//! What the database knows about its repo, and its tenants.

use super::{Columns, Connection, Failure, map_error, query, time_to_sql};
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::id::TenantId;

fn failed(error: Failure) -> Error {
    map_error(error, "the repo's settings could not be read or written")
}

/// A value.
pub async fn get(connection: &mut Connection, key: &str) -> Result<Option<String>> {
    let row = query("SELECT value FROM meta WHERE key = ?").bind(key).fetch_optional(connection).await;
    row.map_err(failed)?.map(|row| Columns(&row).text("value")).transpose()
}

/// Sets a value.
pub async fn set(connection: &mut Connection, key: &str, value: &str) -> Result<()> {
    query("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value")
        .bind(key)
        .bind(value)
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// The number that stands for a tenant in the other tables; made if it is new.
pub async fn tenant(connection: &mut Connection, tenant: TenantId, now: Time) -> Result<i64> {
    query("INSERT INTO tenants (tenant, created) VALUES (?, ?) ON CONFLICT (tenant) DO NOTHING")
        .bind(&tenant.as_bytes()[..])
        .bind(time_to_sql(now))
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    let row = query("SELECT id FROM tenants WHERE tenant = ?")
        .bind(&tenant.as_bytes()[..])
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    Columns(&row).signed("id")
}
