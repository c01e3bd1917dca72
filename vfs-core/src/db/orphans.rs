//! Packs in the bucket that the index does not know, and since when gc knows that.

use super::{Columns, Connection, Failure, map_error, query, time_to_sql};
use crate::clock::Time;
use crate::db::OrphanRow;
use crate::error::{Error, Result};
use crate::id::PackId;

fn failed(error: Failure) -> Error {
    map_error(error, "the list of orphan packs could not be read or written")
}

/// All of them.
pub async fn all(connection: &mut Connection) -> Result<Vec<OrphanRow>> {
    let rows = query("SELECT pack, seen FROM orphans").fetch_all(connection).await.map_err(failed)?;
    rows.iter()
        .map(|row| {
            let columns = Columns(row);
            Ok(OrphanRow { id: PackId::from_bytes(columns.array("pack")?), seen: columns.time("seen")? })
        })
        .collect()
}

/// Notes one, unless it is noted.
pub async fn note(connection: &mut Connection, id: PackId, now: Time) -> Result<()> {
    query("INSERT INTO orphans (pack, seen) VALUES (?, ?) ON CONFLICT (pack) DO NOTHING")
        .bind(&id.as_bytes()[..])
        .bind(time_to_sql(now))
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Forgets one.
pub async fn forget(connection: &mut Connection, id: PackId) -> Result<()> {
    query("DELETE FROM orphans WHERE pack = ?").bind(&id.as_bytes()[..]).execute(connection).await.map_err(failed)?;
    Ok(())
}
