//! What repair and rebuild do below the other nouns: rows that these refuse to read, and index rows from footers.

use std::collections::{BTreeMap, HashMap};

use super::{Builder, Columns, Connection, Failure, map_error, query, time_to_sql, to_sql};
use crate::clock::Time;
use crate::db::{IndexRow, PackRow};
use crate::error::{Error, Result};
use crate::id::{ObjectId, ObjectKind, PackId, SnapshotId, WorkspaceId};
use crate::limits::LOOKUP_MAX;
use crate::pack::{PackClass, PackEntry};

fn failed(error: Failure) -> Error {
    map_error(error, "a row could not be repaired")
}

/// The sequences of a history's rows, newest first, readable or not. As the database has them: damage may make them
/// negative.
pub async fn history_sequences(connection: &mut Connection, workspace: WorkspaceId) -> Result<Vec<i64>> {
    let rows = query("SELECT sequence FROM history WHERE workspace = ? ORDER BY sequence DESC")
        .bind(&workspace.as_bytes()[..])
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter().map(|row| Columns(row).signed("sequence")).collect()
}

/// What a history row says it points at, not verified.
pub async fn history_snapshot(
    connection: &mut Connection,
    workspace: WorkspaceId,
    sequence: i64,
) -> Result<Option<SnapshotId>> {
    let row = query("SELECT snapshot FROM history WHERE workspace = ? AND sequence = ?")
        .bind(&workspace.as_bytes()[..])
        .bind(sequence)
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    Ok(row.and_then(|row| Columns(&row).array("snapshot").ok()).map(SnapshotId::from_bytes))
}

/// Removes a history row.
pub async fn remove_history(connection: &mut Connection, workspace: WorkspaceId, sequence: i64) -> Result<()> {
    query("DELETE FROM history WHERE workspace = ? AND sequence = ?")
        .bind(&workspace.as_bytes()[..])
        .bind(sequence)
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// The names of a workspace's side refs, readable or not, and what they say they point at.
pub async fn side_refs(
    connection: &mut Connection,
    workspace: WorkspaceId,
) -> Result<Vec<(String, Option<SnapshotId>)>> {
    let rows = query("SELECT name, snapshot FROM side_refs WHERE workspace = ?")
        .bind(&workspace.as_bytes()[..])
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter()
        .map(|row| {
            let columns = Columns(row);
            Ok((columns.text("name")?, columns.array("snapshot").ok().map(SnapshotId::from_bytes)))
        })
        .collect()
}

/// Removes a side ref.
pub async fn remove_side_ref(connection: &mut Connection, workspace: WorkspaceId, name: &str) -> Result<()> {
    query("DELETE FROM side_refs WHERE workspace = ? AND name = ?")
        .bind(&workspace.as_bytes()[..])
        .bind(name)
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// The epoch and sequence that a ref's row and a lease's row say, not verified.
pub async fn epochs(connection: &mut Connection, workspace: WorkspaceId) -> Result<Vec<i64>> {
    let rows =
        query("SELECT epoch FROM refs WHERE workspace = ? UNION ALL SELECT epoch FROM leases WHERE workspace = ?")
            .bind(&workspace.as_bytes()[..])
            .bind(&workspace.as_bytes()[..])
            .fetch_all(connection)
            .await
            .map_err(failed)?;
    rows.iter().map(|row| Columns(row).signed("epoch")).collect()
}

/// All packs, those whose rows make no sense as well, as far as that is possible; false where a row cannot be believed.
pub async fn pack_rows(connection: &mut Connection, tenant: i64) -> Result<Vec<(PackRow, bool)>> {
    let rows = query("SELECT pack, class, size, objects, created, condemned_at, emptied FROM packs WHERE tenant = ?")
        .bind(tenant)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter()
        .map(|row| {
            let columns = Columns(row);
            let class = columns.small("class").and_then(PackClass::from_tag);
            let (size, objects) = (columns.number("size"), columns.number("objects"));
            let sound = class.is_ok() && size.is_ok() && objects.is_ok();
            let row = PackRow {
                id: PackId::from_bytes(columns.array("pack")?),
                class: class.unwrap_or(PackClass::Contents),
                size: size.unwrap_or(0),
                objects: objects.unwrap_or(0),
                created: columns.time("created")?,
                condemned: columns.optional_time("condemned_at")?,
                emptied: columns.number("emptied")? != 0,
            };
            Ok((row, sound))
        })
        .collect()
}

/// Orphans that gc has made up its mind to delete.
pub async fn dead_orphans(connection: &mut Connection) -> Result<Vec<PackId>> {
    let rows = query("SELECT pack FROM orphans WHERE dead <> 0").fetch_all(connection).await.map_err(failed)?;
    rows.iter().map(|row| Ok(PackId::from_bytes(Columns(row).array("pack")?))).collect()
}

/// Which packs the index puts these objects into.
pub async fn packs_of(connection: &mut Connection, tenant: i64, ids: &[ObjectId]) -> Result<HashMap<ObjectId, PackId>> {
    let mut found = HashMap::new();
    for id in ids {
        let row = query(
            "SELECT p.pack FROM objects o JOIN packs p ON p.id = o.pack
             WHERE o.tenant = ? AND o.kind = ? AND o.hash = ?",
        )
        .bind(tenant)
        .bind(id.kind as i64)
        .bind(id.hash.to_vec())
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
        if let Some(row) = row {
            found.insert(*id, PackId::from_bytes(Columns(&row).array("pack")?));
        }
    }
    Ok(found)
}

/// The index rows of a pack, those that cannot be understood as well.
pub async fn rows_of(connection: &mut Connection, tenant: i64, pack: PackId) -> Result<Vec<IndexRow>> {
    let rows = query(
        "SELECT o.kind, o.hash, o.\"offset\", o.stored, o.plain, o.flags FROM objects o
         JOIN packs p ON p.id = o.pack WHERE p.pack = ? AND o.tenant = ? ORDER BY o.\"offset\"",
    )
    .bind(&pack.as_bytes()[..])
    .bind(tenant)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter().map(|row| read_row(&Columns(row))).collect()
}

/// How many index rows each pack has: one walk through the index.
pub async fn row_counts(connection: &mut Connection, tenant: i64) -> Result<HashMap<PackId, u64>> {
    let rows = query(
        "SELECT p.pack, c.number FROM packs p JOIN
         (SELECT pack, COUNT(*) AS number FROM objects WHERE tenant = ? GROUP BY pack) c ON c.pack = p.id",
    )
    .bind(tenant)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter()
        .map(|row| {
            let columns = Columns(row);
            Ok((PackId::from_bytes(columns.array("pack")?), columns.number("number")?))
        })
        .collect()
}

/// The same as [`rows_of`], by offset, where a pack has so many rows and these are probably about `likely`: then the index
/// is asked for those only, and else walked through, because it is not in the order of packs.
pub async fn likely_rows_of(
    connection: &mut Connection,
    tenant: i64,
    pack: PackId,
    likely: &[ObjectId],
    count: u64,
) -> Result<Vec<IndexRow>> {
    let mut by_kind: BTreeMap<i64, Vec<&ObjectId>> = BTreeMap::new();
    for id in likely {
        by_kind.entry(id.kind as i64).or_default().push(id);
    }
    let mut found = Vec::new();
    for (kind, ids) in by_kind {
        for part in ids.chunks(LOOKUP_MAX) {
            let mut select = Builder::new(
                "SELECT o.kind, o.hash, o.\"offset\", o.stored, o.plain, o.flags FROM objects o
                 JOIN packs p ON p.id = o.pack WHERE p.pack = ",
            );
            select.push_bind(&pack.as_bytes()[..]).push(" AND o.tenant = ").push_bind(tenant);
            select.push(" AND o.kind = ").push_bind(kind).push(" AND o.hash IN (");
            select.push_list(part.iter().map(|id| &id.hash[..])).push(")");
            let rows = select.build(part.len() == LOOKUP_MAX).fetch_all(&mut *connection).await.map_err(failed)?;
            for row in &rows {
                found.push(read_row(&Columns(row))?);
            }
        }
    }
    if found.len() as u64 != count {
        return rows_of(connection, tenant, pack).await;
    }
    found.sort_by_key(|row| row.entry.map(|entry| entry.offset));
    Ok(found)
}

/// The index rows that belong to no pack.
pub async fn strangers(connection: &mut Connection, tenant: i64) -> Result<Vec<IndexRow>> {
    let rows = query(
        "SELECT o.kind, o.hash, o.\"offset\", o.stored, o.plain, o.flags FROM objects o
         LEFT JOIN packs p ON p.id = o.pack WHERE p.id IS NULL OR o.tenant <> ?",
    )
    .bind(tenant)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter().map(|row| read_row(&Columns(row))).collect()
}

fn read_row(columns: &Columns<'_>) -> Result<IndexRow> {
    let kind: i64 = columns.signed("kind")?;
    let hash = columns.bytes("hash")?.to_vec();
    let entry = || -> Result<PackEntry> {
        let id = ObjectId { kind: ObjectKind::from_tag(columns.small("kind")?)?, hash: columns.array("hash")? };
        let flags = PackEntry::read_flags(columns.small("flags")?)?;
        Ok(PackEntry {
            id,
            compressed: flags.compressed,
            sealed: flags.sealed,
            offset: columns.number("offset")?,
            stored_length: columns.small("stored")?,
            plain_length: columns.small("plain")?,
        })
    };
    Ok(IndexRow { kind, entry: entry().ok(), hash })
}

/// Removes an index row, if it still belongs to the pack that was looked at (or to none).
pub async fn drop_row(connection: &mut Connection, pack: Option<PackId>, row: &IndexRow) -> Result<()> {
    let query = match pack {
        Some(pack) => {
            query("DELETE FROM objects WHERE kind = ? AND hash = ? AND pack IN (SELECT id FROM packs WHERE pack = ?)")
                .bind(row.kind)
                .bind(row.hash.clone())
                .bind(pack.as_bytes().to_vec())
        }
        None => query("DELETE FROM objects WHERE kind = ? AND hash = ? AND pack NOT IN (SELECT id FROM packs)")
            .bind(row.kind)
            .bind(row.hash.clone()),
    };
    query.execute(connection).await.map_err(failed)?;
    Ok(())
}

/// Removes rows of tenants that this database does not have.
pub async fn drop_rows_of_others(connection: &mut Connection) -> Result<()> {
    query("DELETE FROM objects WHERE tenant NOT IN (SELECT id FROM tenants)")
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Writes a pack's row as its bytes say it is; keeps when it was made and whether it is condemned.
pub async fn put_pack(connection: &mut Connection, tenant: i64, pack: &PackRow, now: Time) -> Result<()> {
    query(
        "INSERT INTO packs (tenant, pack, class, size, objects, created) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (pack) DO UPDATE SET tenant = excluded.tenant, class = excluded.class, size = excluded.size,
         objects = excluded.objects",
    )
    .bind(tenant)
    .bind(&pack.id.as_bytes()[..])
    .bind(i64::from(pack.class.tag()))
    .bind(to_sql(pack.size))
    .bind(to_sql(pack.objects))
    .bind(time_to_sql(now))
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

/// Points an object at a place in a pack of the index; does nothing if the pack's row is gone.
pub async fn put_row(connection: &mut Connection, tenant: i64, pack: PackId, entry: &PackEntry) -> Result<()> {
    query(
        "INSERT INTO objects (tenant, kind, hash, pack, \"offset\", stored, plain, flags)
         SELECT ?, ?, ?, id, ?, ?, ?, ? FROM packs WHERE pack = ?
         ON CONFLICT (tenant, kind, hash) DO UPDATE SET pack = excluded.pack, \"offset\" = excluded.\"offset\",
         stored = excluded.stored, plain = excluded.plain, flags = excluded.flags",
    )
    .bind(tenant)
    .bind(entry.id.kind as i64)
    .bind(entry.id.hash.to_vec())
    .bind(to_sql(entry.offset))
    .bind(i64::from(entry.stored_length))
    .bind(i64::from(entry.plain_length))
    .bind(i64::from(entry.flags()))
    .bind(&pack.as_bytes()[..])
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

/// Sets a counter to at least `value`.
pub async fn raise_counter(connection: &mut Connection, name: &str, value: u64) -> Result<()> {
    let present = super::counters::get(connection, name, 0).await?;
    if present < value {
        super::counters::take(connection, name, 0, value - present).await?;
    }
    Ok(())
}
