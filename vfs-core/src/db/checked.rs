//! Packs that check has read in full, and when: what `check --resume` and `--older-than` go by.

use std::collections::HashMap;

use super::{Columns, Connection, Failure, map_error, query, time_to_sql};
use crate::clock::Time;
use crate::db::CheckedPack;
use crate::error::{Error, Result};
use crate::id::PackId;

fn failed(error: Failure) -> Error {
    map_error(error, "the list of checked packs could not be read or written")
}

/// All of them.
pub async fn all(connection: &mut Connection) -> Result<HashMap<PackId, CheckedPack>> {
    let rows = query("SELECT pack, checked, damaged FROM checked_packs").fetch_all(connection).await.map_err(failed)?;
    rows.iter()
        .map(|row| {
            let columns = Columns(row);
            let checked = CheckedPack { checked: columns.time("checked")?, damaged: columns.number("damaged")? != 0 };
            Ok((PackId::from_bytes(columns.array("pack")?), checked))
        })
        .collect()
}

/// Notes that a pack was read.
pub async fn put(connection: &mut Connection, pack: PackId, now: Time, damaged: bool) -> Result<()> {
    query(
        "INSERT INTO checked_packs (pack, checked, damaged) VALUES (?, ?, ?)
         ON CONFLICT (pack) DO UPDATE SET checked = excluded.checked, damaged = excluded.damaged",
    )
    .bind(&pack.as_bytes()[..])
    .bind(time_to_sql(now))
    .bind(i64::from(damaged))
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

/// Forgets packs that the index does not have any more.
pub async fn forget_gone(connection: &mut Connection) -> Result<()> {
    query("DELETE FROM checked_packs WHERE pack NOT IN (SELECT pack FROM packs)")
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}
