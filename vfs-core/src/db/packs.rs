//! The index: which packs there are and where in them each object lies.

use std::collections::{BTreeSet, HashMap};

use super::{Builder, Columns, Connection, Failure, map_error, orphans, query, time_to_sql, to_sql};
use crate::clock::Time;
use crate::db::{KindTotals, Location, PackRow};
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectId, ObjectKind, PackId};
use crate::limits::LOOKUP_MAX;
use crate::pack::{Pack, PackClass, PackEntry};

fn failed(error: Failure) -> Error {
    map_error(error, "the index could not be read or written")
}

/// Adds a pack that is durable in the bucket and its objects. Returns the packs that hold these objects now: another
/// batch may have stored some of them a moment earlier. `Conflict` if gc has given the pack up meanwhile. Belongs into a
/// transaction.
pub async fn register(connection: &mut Connection, tenant: i64, pack: &Pack, now: Time) -> Result<BTreeSet<PackId>> {
    orphans::refuse_dead(connection, pack.id).await?;
    let changed = query(
        "INSERT INTO packs (tenant, pack, class, size, objects, created) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (pack) DO UPDATE SET condemned_at = NULL WHERE packs.emptied = 0",
    )
    .bind(tenant)
    .bind(&pack.id.as_bytes()[..])
    .bind(i64::from(pack.class.tag()))
    .bind(to_sql(pack.size))
    .bind(to_sql(pack.entries.len() as u64))
    .bind(time_to_sql(now))
    .execute(&mut *connection)
    .await
    .map_err(failed)?;
    if changed == 0 {
        return Err(gone());
    }
    let row = query("SELECT id FROM packs WHERE pack = ?")
        .bind(&pack.id.as_bytes()[..])
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    let number = Columns(&row).signed("id")?;
    // In the order of the index: what comes next is on the same page or near it.
    let mut sorted: Vec<&PackEntry> = pack.entries.iter().collect();
    sorted.sort_unstable_by_key(|entry| entry.id);
    let mut added = 0;
    for entries in sorted.chunks(LOOKUP_MAX) {
        added += insert_objects(connection, tenant, number, entries).await?;
    }
    let mut holding = BTreeSet::from([pack.id]);
    if added < pack.entries.len() as u64 {
        let ids: Vec<_> = pack.entries.iter().map(|entry| entry.id).collect();
        holding.extend(locate(connection, tenant, &ids).await?.values().map(|location| location.pack));
    }
    Ok(holding)
}

async fn insert_objects(connection: &mut Connection, tenant: i64, pack: i64, entries: &[&PackEntry]) -> Result<u64> {
    let head = "INSERT INTO objects (tenant, kind, hash, pack, \"offset\", stored, plain, flags) ";
    let mut insert = Builder::new(head);
    insert.push_values(entries, |entry| {
        [
            tenant.into(),
            (entry.id.kind as i64).into(),
            entry.id.hash[..].into(),
            pack.into(),
            to_sql(entry.offset).into(),
            i64::from(entry.stored_length).into(),
            i64::from(entry.plain_length).into(),
            i64::from(entry.flags()).into(),
        ]
    });
    insert.push(" ON CONFLICT DO NOTHING");
    // Only the length of a full part comes again and again.
    insert.build(entries.len() == LOOKUP_MAX).execute(connection).await.map_err(failed)
}

/// Where these objects are; those that are not stored are missing from the answer.
pub async fn locate(connection: &mut Connection, tenant: i64, ids: &[ObjectId]) -> Result<HashMap<ObjectId, Location>> {
    let mut by_kind: HashMap<ObjectKind, Vec<&ObjectId>> = HashMap::new();
    for id in ids {
        by_kind.entry(id.kind).or_default().push(id);
    }
    let mut found = HashMap::with_capacity(ids.len());
    for (kind, ids) in by_kind {
        for part in ids.chunks(LOOKUP_MAX) {
            locate_part(connection, tenant, kind, part, &mut found).await?;
        }
    }
    Ok(found)
}

async fn locate_part(
    connection: &mut Connection,
    tenant: i64,
    kind: ObjectKind,
    ids: &[&ObjectId],
    found: &mut HashMap<ObjectId, Location>,
) -> Result<()> {
    let mut query = Builder::new(
        "SELECT o.hash, o.\"offset\", o.stored, o.plain, o.flags, p.pack FROM objects o JOIN packs p ON p.id = o.pack
         WHERE o.tenant = ",
    );
    query.push_bind(tenant).push(" AND o.kind = ").push_bind(kind as i64).push(" AND o.hash IN (");
    query.push_list(ids.iter().map(|id| &id.hash[..])).push(")");
    // Only the two common lengths are worth keeping a prepared statement.
    let common = ids.len() == 1 || ids.len() == LOOKUP_MAX;
    for row in query.build(common).fetch_all(connection).await.map_err(failed)? {
        let columns = Columns(&row);
        let id = ObjectId { kind, hash: columns.array("hash")? };
        found.insert(id, read_location(&columns, id)?);
    }
    Ok(())
}

pub(super) fn read_location(columns: &Columns<'_>, id: ObjectId) -> Result<Location> {
    let flags = PackEntry::read_flags(columns.small("flags")?)?;
    let entry = PackEntry {
        id,
        compressed: flags.compressed,
        sealed: flags.sealed,
        offset: columns.number("offset")?,
        stored_length: columns.small("stored")?,
        plain_length: columns.small("plain")?,
    };
    Ok(Location { pack: PackId::from_bytes(columns.array("pack")?), entry })
}

/// All packs.
pub async fn all(connection: &mut Connection, tenant: i64) -> Result<Vec<PackRow>> {
    let rows = query("SELECT pack, class, size, objects, created, condemned_at, emptied FROM packs WHERE tenant = ?")
        .bind(tenant)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter()
        .map(|row| {
            let columns = Columns(row);
            Ok(PackRow {
                id: PackId::from_bytes(columns.array("pack")?),
                class: PackClass::from_tag(columns.small("class")?)?,
                size: columns.number("size")?,
                objects: columns.number("objects")?,
                created: columns.time("created")?,
                condemned: columns.optional_time("condemned_at")?,
                emptied: columns.number("emptied")? != 0,
            })
        })
        .collect()
}

/// The objects that the index puts into a pack, by offset.
pub async fn objects_of(connection: &mut Connection, pack: PackId) -> Result<Vec<PackEntry>> {
    let rows = query(
        "SELECT o.kind, o.hash, o.\"offset\", o.stored, o.plain, o.flags, p.pack FROM objects o
         JOIN packs p ON p.id = o.pack WHERE p.pack = ? ORDER BY o.\"offset\"",
    )
    .bind(&pack.as_bytes()[..])
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter()
        .map(|row| {
            let columns = Columns(row);
            let id = ObjectId { kind: ObjectKind::from_tag(columns.small("kind")?)?, hash: columns.array("hash")? };
            Ok(read_location(&columns, id)?.entry)
        })
        .collect()
}

/// How many objects the index holds.
pub async fn count_objects(connection: &mut Connection, tenant: i64) -> Result<u64> {
    let row = query("SELECT COUNT(*) AS count FROM objects WHERE tenant = ?")
        .bind(tenant)
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    Columns(&row).number("count")
}

/// Sums over all objects, by kind.
pub async fn totals(connection: &mut Connection, tenant: i64) -> Result<Vec<KindTotals>> {
    // PostgreSQL's SUM of bigint is numeric unless it is cast.
    let rows = query(
        "SELECT kind, COUNT(*) AS objects, CAST(SUM(plain) AS BIGINT) AS plain, CAST(SUM(stored) AS BIGINT) AS stored
         FROM objects WHERE tenant = ? GROUP BY kind ORDER BY kind",
    )
    .bind(tenant)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter()
        .map(|row| {
            let columns = Columns(row);
            Ok(KindTotals {
                kind: ObjectKind::from_tag(columns.small("kind")?)?,
                objects: columns.number("objects")?,
                plain_bytes: columns.number("plain")?,
                stored_bytes: columns.number("stored")?,
            })
        })
        .collect()
}

/// Sees to it that these packs stay: none of them is condemned any more. `Conflict` if one is gone or emptied. Belongs
/// into the transaction that makes their objects reachable.
pub async fn revive(connection: &mut Connection, packs: &BTreeSet<PackId>) -> Result<()> {
    if sabotaged!(SkipRevive) {
        return Ok(());
    }
    for pack in packs {
        let result = query("UPDATE packs SET condemned_at = NULL WHERE pack = ? AND emptied = 0")
            .bind(&pack.as_bytes()[..])
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
        if result == 0 {
            return Err(gone());
        }
    }
    Ok(())
}

fn gone() -> Error {
    Error::new(Kind::Conflict, "gc removed objects that this change builds on while it was being made: try again")
}

/// Notes when a pack was found unreachable; `None` takes that back.
pub async fn condemn(connection: &mut Connection, pack: PackId, at: Option<Time>) -> Result<()> {
    query("UPDATE packs SET condemned_at = ? WHERE pack = ?")
        .bind(at.map(time_to_sql))
        .bind(&pack.as_bytes()[..])
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Takes packs and their objects out of the index. Belongs into a transaction.
pub async fn remove(connection: &mut Connection, packs: &[PackId]) -> Result<()> {
    for part in packs.chunks(LOOKUP_MAX) {
        // There is no index on objects.pack (it would slow every insert): one pass over the table for all packs.
        for head in [
            "DELETE FROM objects WHERE pack IN (SELECT id FROM packs WHERE pack IN (",
            "DELETE FROM packs WHERE id IN (SELECT id FROM packs WHERE pack IN (",
        ] {
            let mut delete = Builder::new(head);
            delete.push_list(part.iter().map(|pack| &pack.as_bytes()[..])).push("))");
            delete.build(false).execute(&mut *connection).await.map_err(failed)?;
        }
    }
    Ok(())
}
