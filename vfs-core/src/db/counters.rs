//! Numbers that only grow.

use super::{Columns, Connection, Failure, map_error, query, to_sql};
use crate::error::{Error, Kind, Result};

/// The next free inode number of the repo.
pub const INO: &str = "ino";
/// Counts every change of what gc marks from, so that gc sees that it was overtaken.
pub const ROOTS: &str = "roots";
/// Counts every time that objects were moved to other packs, so that gc sees that what it located is elsewhere now.
pub const MOVES: &str = "moves";

fn failed(error: Failure) -> Error {
    map_error(error, "a counter could not be read or written")
}

/// The present value; `start` if the counter is new.
pub async fn get(connection: &mut Connection, name: &str, start: u64) -> Result<u64> {
    let row = query("SELECT value FROM counters WHERE name = ?").bind(name).fetch_optional(connection).await;
    match row.map_err(failed)? {
        Some(row) => Columns(&row).number("value"),
        None => Ok(start),
    }
}

/// Adds `count`; returns the value before. Belongs into a transaction.
pub async fn take(connection: &mut Connection, name: &str, start: u64, count: u64) -> Result<u64> {
    let value = get(connection, name, start).await?;
    let next = value.checked_add(count).filter(|next| i64::try_from(*next).is_ok());
    let next = next.ok_or_else(|| Error::new(Kind::LimitExceeded, format!("the counter {name} is used up")))?;
    query("INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
        .bind(name)
        .bind(to_sql(next))
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(value)
}
