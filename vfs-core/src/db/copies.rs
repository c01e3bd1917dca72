//! The index as gc needs it: read from one end to the other, and changed when what lives in a pack was copied to another.

use std::collections::HashMap;

use super::packs::read_location;
use super::{Builder, Columns, Connection, Failure, map_error, orphans, query, time_to_sql, to_sql};
use crate::clock::Time;
use crate::db::Location;
use crate::error::{Error, Result};
use crate::id::{ObjectId, ObjectKind, PackId};
use crate::limits::LOOKUP_MAX;
use crate::pack::{Pack, PackEntry};

fn failed(error: Failure) -> Error {
    map_error(error, "the index could not be read or written")
}

/// A place in the order of the index.
pub type Cursor = Option<ObjectId>;

/// The next objects of one kind behind a cursor, at most `limit`, and where they are.
pub async fn page(
    connection: &mut Connection,
    tenant: i64,
    kind: ObjectKind,
    after: Cursor,
    limit: u64,
) -> Result<Vec<Location>> {
    let after = after.map_or_else(Vec::new, |id| id.hash.to_vec());
    let rows = query(
        "SELECT o.hash, o.\"offset\", o.stored, o.plain, o.flags, p.pack FROM objects o JOIN packs p ON p.id = o.pack
         WHERE o.tenant = ? AND o.kind = ? AND o.hash > ? ORDER BY o.hash LIMIT ?",
    )
    .bind(tenant)
    .bind(kind as i64)
    .bind(after)
    .bind(to_sql(limit))
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter()
        .map(|row| {
            let columns = Columns(row);
            read_location(&columns, ObjectId { kind, hash: columns.array("hash")? })
        })
        .collect()
}

/// Adds a pack of copies and points those objects at it whose row still says `from`. Returns how many these were.
/// Belongs into the transaction that empties the packs they were copied from.
pub async fn register(
    connection: &mut Connection,
    tenant: i64,
    pack: &Pack,
    from: &HashMap<ObjectId, PackId>,
    now: Time,
) -> Result<u64> {
    orphans::refuse_dead(connection, pack.id).await?;
    query("INSERT INTO packs (tenant, pack, class, size, objects, created) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(tenant)
        .bind(&pack.id.as_bytes()[..])
        .bind(i64::from(pack.class.tag()))
        .bind(to_sql(pack.size))
        .bind(to_sql(pack.entries.len() as u64))
        .bind(time_to_sql(now))
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    let to = number_of(connection, pack.id).await?;
    let mut by_source: HashMap<PackId, Vec<&PackEntry>> = HashMap::new();
    for entry in &pack.entries {
        if let Some(source) = from.get(&entry.id) {
            by_source.entry(*source).or_default().push(entry);
        }
    }
    let mut moved = 0;
    for (source, entries) in by_source {
        let source = number_of(connection, source).await?;
        for part in entries.chunks(LOOKUP_MAX) {
            moved += point(connection, tenant, (source, to), part).await?;
        }
    }
    orphans::forget(connection, pack.id).await?;
    Ok(moved)
}

async fn number_of(connection: &mut Connection, pack: PackId) -> Result<i64> {
    let row = query("SELECT id FROM packs WHERE pack = ?")
        .bind(&pack.as_bytes()[..])
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    Columns(&row).signed("id")
}

/// One statement for many rows: an upsert that only ever meets rows, because what lives is in the index. A row that
/// points elsewhere by now stays as it is.
async fn point(
    connection: &mut Connection,
    tenant: i64,
    (from, to): (i64, i64),
    entries: &[&PackEntry],
) -> Result<u64> {
    let mut upsert = Builder::new("INSERT INTO objects (tenant, kind, hash, pack, \"offset\", stored, plain, flags) ");
    upsert.push_values(entries, |entry| {
        [
            tenant.into(),
            (entry.id.kind as i64).into(),
            entry.id.hash[..].into(),
            to.into(),
            to_sql(entry.offset).into(),
            i64::from(entry.stored_length).into(),
            i64::from(entry.plain_length).into(),
            i64::from(entry.flags()).into(),
        ]
    });
    upsert.push(
        " ON CONFLICT (tenant, kind, hash) DO UPDATE SET pack = excluded.pack, \"offset\" = excluded.\"offset\",
         stored = excluded.stored, flags = excluded.flags WHERE objects.pack = ",
    );
    upsert.push_bind(from);
    upsert.build(false).execute(connection).await.map_err(failed)
}

/// Takes objects out of the index whose row still says that they are in this pack.
pub async fn drop_objects(connection: &mut Connection, tenant: i64, pack: PackId, ids: &[ObjectId]) -> Result<()> {
    let number = number_of(connection, pack).await?;
    let mut by_kind: HashMap<ObjectKind, Vec<&ObjectId>> = HashMap::new();
    for id in ids {
        by_kind.entry(id.kind).or_default().push(id);
    }
    for (kind, ids) in by_kind {
        for part in ids.chunks(LOOKUP_MAX) {
            let mut delete = Builder::new("DELETE FROM objects WHERE tenant = ");
            delete.push_bind(tenant).push(" AND kind = ").push_bind(kind as i64);
            delete.push(" AND pack = ").push_bind(number).push(" AND hash IN (");
            delete.push_list(part.iter().map(|id| &id.hash[..])).push(")");
            delete.build(false).execute(&mut *connection).await.map_err(failed)?;
        }
    }
    Ok(())
}

/// Says that what lived in a pack is elsewhere now: nobody can count on it any more. Returns whether it was there and
/// not emptied before.
pub async fn empty(connection: &mut Connection, pack: PackId, now: Time) -> Result<bool> {
    let changed = query("UPDATE packs SET emptied = 1, condemned_at = ? WHERE pack = ? AND emptied = 0")
        .bind(time_to_sql(now))
        .bind(&pack.as_bytes()[..])
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(changed > 0)
}
