//! Refs: what each workspace points at. They move by compare-and-set only, inside a transaction.

use super::{Columns, Connection, Failure, map_error, query, to_sql};
use crate::db::RefRow;
use crate::db::row::check_row;
use crate::error::{Error, Kind, Result};
use crate::id::{HolderId, SnapshotId, WorkspaceId};

fn failed(error: Failure) -> Error {
    map_error(error, "a ref could not be read or written")
}

/// The ref of a workspace; `NotFound` if there is no such workspace.
pub async fn get(connection: &mut Connection, workspace: WorkspaceId) -> Result<RefRow> {
    let row = query("SELECT snapshot, epoch, sequence, holder, position, row_hash FROM refs WHERE workspace = ?")
        .bind(&workspace.as_bytes()[..])
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    let row = row.ok_or_else(|| Error::new(Kind::NotFound, format!("there is no workspace {workspace}")))?;
    let columns = Columns(&row);
    let position = columns.number("position")?;
    let covered = match columns.optional_bytes("holder")? {
        Some(holder) => Some((HolderId::from_slice(holder)?, position)),
        None => None,
    };
    let found = RefRow {
        workspace,
        snapshot: SnapshotId::from_bytes(columns.array("snapshot")?),
        epoch: columns.number("epoch")?,
        sequence: columns.number("sequence")?,
        covered,
    };
    check_row("refs", columns.bytes("row_hash")?, &found.hash())?;
    Ok(found)
}

/// Writes a ref.
pub async fn put(connection: &mut Connection, row: &RefRow) -> Result<()> {
    let holder = row.covered.map(|(holder, _)| holder.as_bytes().to_vec());
    query(
        "INSERT INTO refs (workspace, snapshot, epoch, sequence, holder, position, row_hash)
         VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (workspace) DO UPDATE SET
         snapshot = excluded.snapshot, epoch = excluded.epoch, sequence = excluded.sequence,
         holder = excluded.holder, position = excluded.position, row_hash = excluded.row_hash",
    )
    .bind(&row.workspace.as_bytes()[..])
    .bind(&row.snapshot.as_bytes()[..])
    .bind(to_sql(row.epoch))
    .bind(to_sql(row.sequence))
    .bind(holder)
    .bind(to_sql(row.covered.map_or(0, |(_, position)| position)))
    .bind(row.hash())
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}
