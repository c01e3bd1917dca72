//! Packs in the bucket that the index does not know, and since when gc knows that.

use super::{Columns, Connection, Failure, map_error, query, time_to_sql};
use crate::clock::Time;
use crate::db::OrphanRow;
use crate::error::{Error, Kind, Result};
use crate::id::PackId;

fn failed(error: Failure) -> Error {
    map_error(error, "the list of orphan packs could not be read or written")
}

/// All of them.
pub async fn all(connection: &mut Connection) -> Result<Vec<OrphanRow>> {
    let rows = query("SELECT pack, seen, dead FROM orphans").fetch_all(connection).await.map_err(failed)?;
    rows.iter()
        .map(|row| {
            let columns = Columns(row);
            Ok(OrphanRow {
                id: PackId::from_bytes(columns.array("pack")?),
                seen: columns.time("seen")?,
                dead: columns.number("dead")? != 0,
            })
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

/// Says that one is about to be deleted: nobody can register it from here on.
pub async fn kill(connection: &mut Connection, id: PackId) -> Result<()> {
    query("UPDATE orphans SET dead = 1 WHERE pack = ?")
        .bind(&id.as_bytes()[..])
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// `Conflict` if one is being deleted, or was. Belongs into the transaction that registers the pack.
pub async fn refuse_dead(connection: &mut Connection, id: PackId) -> Result<()> {
    let row = query("SELECT dead FROM orphans WHERE pack = ?")
        .bind(&id.as_bytes()[..])
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    match row.map(|row| Columns(&row).number("dead")).transpose()? {
        None | Some(0) => Ok(()),
        Some(_) => {
            let message = "gc removed a pack that was uploaded for longer than the grace period: try again";
            Err(Error::new(Kind::Conflict, message))
        }
    }
}

/// Forgets one that is not dead.
pub async fn forget(connection: &mut Connection, id: PackId) -> Result<()> {
    query("DELETE FROM orphans WHERE pack = ? AND dead = 0")
        .bind(&id.as_bytes()[..])
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}
