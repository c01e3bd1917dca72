//! Documents and their versions, and what a turn log says about who is writing.
//!
//! Every row that is read is compared with its hash, every content with its digest.

use bytes::Bytes;

use super::{Columns, Connection, Failure, Row, map_error, query, time_to_sql, to_sql};
use crate::db::row::check_row;
use crate::db::{DocumentRow, VersionRow};
use crate::error::{Error, Kind, Result};

/// All columns but the content.
macro_rules! columns {
    () => {
        "v.tenant, v.scope, v.path, v.version, v.base, v.size, v.digest, v.deleted, v.side, v.time, v.author, \
         v.session, v.turn, v.tool_call, v.request, v.row_hash"
    };
}

fn failed(error: Failure) -> Error {
    map_error(error, "documents could not be read or written")
}

/// The turn and the tool call that a session's log has open; 0 and nothing outside of turns. With an epoch, it must be
/// that of the session's lease: `LeaseLost` if not. `NotFound` if there is no such session.
pub async fn attribution(connection: &mut Connection, session: &str, epoch: Option<u64>) -> Result<(u64, String)> {
    let current = query("SELECT epoch FROM sessions WHERE id = ?")
        .bind(session)
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    let Some(current) = current else {
        return Err(Error::new(Kind::NotFound, format!("there is no session {session:?}")));
    };
    let current = Columns(&current).signed("epoch")?;
    if epoch.is_some_and(|epoch| to_sql(epoch) != current) {
        let context = format!("the session {session} has another owner now: this one may write no more");
        return Err(Error::new(Kind::LeaseLost, context));
    }
    let open = query(
        "SELECT sequence, turn FROM (SELECT sequence, turn FROM events
             WHERE session = ?1 AND kind = 'turn.started' ORDER BY sequence DESC LIMIT 1) started
         WHERE NOT EXISTS (SELECT 1 FROM events ended WHERE ended.session = ?1
             AND ended.sequence > started.sequence AND ended.kind = 'turn.ended' AND ended.turn = started.turn)",
    )
    .bind(session)
    .fetch_optional(&mut *connection)
    .await
    .map_err(failed)?;
    let Some(open) = open else { return Ok((0, String::new())) };
    let (begun, turn) = (Columns(&open).signed("sequence")?, Columns(&open).signed("turn")?);
    let call = query(
        "SELECT tool_call FROM events started
         WHERE session = ?1 AND sequence > ?2 AND kind = 'tool.started' AND turn = ?3
         AND NOT EXISTS (SELECT 1 FROM events finished WHERE finished.session = ?1
             AND finished.sequence > started.sequence AND finished.kind = 'tool.finished'
             AND finished.tool_call = started.tool_call)
         ORDER BY sequence DESC LIMIT 1",
    )
    .bind(session)
    .bind(begun)
    .bind(turn)
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    let call = call.map(|row| Columns(&row).text("tool_call")).transpose()?;
    Ok((turn.unsigned_abs(), call.unwrap_or_default()))
}

/// The versions that a session wrote in a turn, side versions too: scope, path and version, in that order.
pub async fn versions_of_turn(
    connection: &mut Connection,
    session: &str,
    turn: u64,
) -> Result<Vec<(String, String, u64)>> {
    let rows = query(concat!(
        "SELECT ",
        columns!(),
        " FROM document_versions v WHERE v.session = ? AND v.session <> '' AND v.turn = ?
          ORDER BY v.scope, v.path, v.version"
    ))
    .bind(session)
    .bind(to_sql(turn))
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    let rows: Vec<VersionRow> = rows.iter().map(read).collect::<Result<_>>()?;
    Ok(rows.into_iter().map(|row| (row.scope, row.path, row.version)).collect())
}

/// Which versions of a document count; `None` if it was never written.
pub async fn find(connection: &mut Connection, tenant: i64, scope: &str, path: &str) -> Result<Option<DocumentRow>> {
    let row = query(
        "SELECT tenant, scope, path, head, newest, row_hash FROM documents
         WHERE tenant = ? AND scope = ? AND path = ?",
    )
    .bind(tenant)
    .bind(scope)
    .bind(path)
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    row.as_ref().map(read_document).transpose()
}

/// Writes which versions of a document count.
pub async fn put(connection: &mut Connection, tenant: i64, row: &DocumentRow) -> Result<()> {
    query(
        "INSERT INTO documents (tenant, scope, path, head, newest, row_hash) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (tenant, scope, path) DO UPDATE SET head = excluded.head, newest = excluded.newest, row_hash = excluded.row_hash",
    )
    .bind(tenant)
    .bind(&row.scope)
    .bind(&row.path)
    .bind(to_sql(row.head))
    .bind(to_sql(row.newest))
    .bind(row.hash(tenant))
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

/// Adds a version. One that is there already is never written over: it would mean that the document's row is damaged.
pub async fn add(connection: &mut Connection, tenant: i64, row: &VersionRow, content: &[u8]) -> Result<()> {
    let done = query(
        "INSERT INTO document_versions (tenant, scope, path, version, base, size, digest, deleted, side, time, author,
             session, turn, tool_call, request, row_hash, content)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(tenant)
    .bind(&row.scope)
    .bind(&row.path)
    .bind(to_sql(row.version))
    .bind(to_sql(row.base))
    .bind(to_sql(row.size))
    .bind(&row.digest[..])
    .bind(row.deleted)
    .bind(row.side)
    .bind(time_to_sql(row.time))
    .bind(&row.author)
    .bind(&row.session)
    .bind(to_sql(row.turn))
    .bind(&row.tool_call)
    .bind(&row.request[..])
    .bind(row.hash(tenant))
    .bind(content)
    .execute(connection)
    .await;
    match done.map_err(failed) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == Kind::AlreadyExists => {
            let context = format!("version {} of {} in {} is there already", row.version, row.path, row.scope);
            Err(Error::corrupt(context).because(error))
        }
        Err(error) => Err(error),
    }
}

/// One version without its content.
pub async fn version(
    connection: &mut Connection,
    tenant: i64,
    scope: &str,
    path: &str,
    version: u64,
) -> Result<Option<VersionRow>> {
    let row = query(concat!(
        "SELECT ",
        columns!(),
        " FROM document_versions v WHERE v.tenant = ? AND v.scope = ? AND v.path = ? AND v.version = ?"
    ))
    .bind(tenant)
    .bind(scope)
    .bind(path)
    .bind(to_sql(version))
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    row.as_ref().map(read).transpose()
}

/// The content of a version, compared with its digest.
pub async fn content(connection: &mut Connection, tenant: i64, row: &VersionRow) -> Result<Bytes> {
    let found =
        query("SELECT content FROM document_versions WHERE tenant = ? AND scope = ? AND path = ? AND version = ?")
            .bind(tenant)
            .bind(&row.scope)
            .bind(&row.path)
            .bind(to_sql(row.version))
            .fetch_optional(connection)
            .await
            .map_err(failed)?;
    match found.as_ref().map(|found| Columns(found).bytes("content")).transpose()? {
        Some(content) if matches(row, content) => Ok(Bytes::copy_from_slice(content)),
        _ => Err(damaged(row)),
    }
}

/// All versions of a document, newest first.
pub async fn versions(connection: &mut Connection, tenant: i64, scope: &str, path: &str) -> Result<Vec<VersionRow>> {
    let rows = query(concat!(
        "SELECT ",
        columns!(),
        " FROM document_versions v WHERE v.tenant = ? AND v.scope = ? AND v.path = ? ORDER BY v.version DESC"
    ))
    .bind(tenant)
    .bind(scope)
    .bind(path)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter().map(read).collect()
}

/// The newest version after `after` that the same request made.
pub async fn made_by(
    connection: &mut Connection,
    tenant: i64,
    document: &DocumentRow,
    after: u64,
    request: &[u8; 32],
) -> Result<Option<VersionRow>> {
    let row = query(concat!(
        "SELECT ",
        columns!(),
        " FROM document_versions v
          WHERE v.tenant = ? AND v.scope = ? AND v.path = ? AND v.version > ? AND v.request = ?
          ORDER BY v.version DESC LIMIT 1"
    ))
    .bind(tenant)
    .bind(&document.scope)
    .bind(&document.path)
    .bind(to_sql(after))
    .bind(&request[..])
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    row.as_ref().map(read).transpose()
}

/// The heads of one scope or of all, at or below a path (everything below the empty one), deletions too; by scope and
/// path.
pub async fn heads(
    connection: &mut Connection,
    tenant: i64,
    scope: Option<&str>,
    prefix: &str,
) -> Result<Vec<VersionRow>> {
    let rows = query(concat!(
        "SELECT ",
        columns!(),
        ", d.head, d.newest, d.row_hash AS document_hash, d.scope AS document_scope, d.path AS document_path
          FROM documents d LEFT JOIN document_versions v
          ON v.tenant = d.tenant AND v.scope = d.scope AND v.path = d.path AND v.version = d.head
          WHERE d.tenant = ?1 AND (?2 IS NULL OR d.scope = ?2)
          AND (?3 = '' OR d.path = ?3 OR (d.path >= ?3 || '/' AND d.path < ?3 || '0'))
          ORDER BY d.scope, d.path"
    ))
    .bind(tenant)
    .bind(scope)
    .bind(prefix)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter().map(|row| read_head(tenant, row)).collect()
}

/// All documents after one (scope and path), at most `limit`, by scope and path; each as it can be read.
pub async fn page(
    connection: &mut Connection,
    tenant: i64,
    after: (&str, &str),
    limit: u64,
) -> Result<Vec<(String, String, Result<DocumentRow>)>> {
    let rows = query(
        "SELECT tenant, scope, path, head, newest, row_hash FROM documents
         WHERE tenant = ? AND (scope, path) > (?, ?) ORDER BY scope, path LIMIT ?",
    )
    .bind(tenant)
    .bind(after.0)
    .bind(after.1)
    .bind(to_sql(limit))
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    let named = rows.iter().map(|row| {
        let columns = Columns(row);
        Ok((columns.text("scope")?, columns.text("path")?, read_document(row)))
    });
    named.collect()
}

/// Versions that no document counts, at most `limit`: scope, path and version.
pub async fn strangers(connection: &mut Connection, tenant: i64, limit: u64) -> Result<Vec<(String, String, i64)>> {
    let rows = query(
        "SELECT v.scope, v.path, v.version FROM document_versions v
         LEFT JOIN documents d ON d.tenant = v.tenant AND d.scope = v.scope AND d.path = v.path
         WHERE v.tenant = ? AND (d.path IS NULL OR v.version > d.newest OR v.version < 1) LIMIT ?",
    )
    .bind(tenant)
    .bind(to_sql(limit))
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    let named = rows.iter().map(|row| {
        let columns = Columns(row);
        Ok((columns.text("scope")?, columns.text("path")?, columns.signed("version")?))
    });
    named.collect()
}

/// The answer to damaged content.
fn damaged(row: &VersionRow) -> Error {
    let VersionRow { scope, path, version, .. } = row;
    Error::corrupt(format!("the content of version {version} of {path} in {scope} is damaged: restore another version"))
}

fn matches(row: &VersionRow, content: &[u8]) -> bool {
    content.len() as u64 == row.size && blake3::hash(content).as_bytes() == &row.digest
}

fn read_document(row: &Row) -> Result<DocumentRow> {
    let columns = Columns(row);
    let found = DocumentRow {
        scope: columns.text("scope")?,
        path: columns.text("path")?,
        head: columns.number("head")?,
        newest: columns.number("newest")?,
    };
    check_row("documents", columns.bytes("row_hash")?, &found.hash(columns.signed("tenant")?))?;
    Ok(found)
}

fn read_head(tenant: i64, row: &Row) -> Result<VersionRow> {
    let columns = Columns(row);
    let document = DocumentRow {
        scope: columns.text("document_scope")?,
        path: columns.text("document_path")?,
        head: columns.number("head")?,
        newest: columns.number("newest")?,
    };
    check_row("documents", columns.bytes("document_hash")?, &document.hash(tenant))?;
    if columns.optional_text("path")?.is_none() {
        return Err(missing(&document, document.head));
    }
    read(row)
}

/// The answer to a version that the document's row counts and that is not there.
pub fn missing(document: &DocumentRow, version: u64) -> Error {
    let DocumentRow { scope, path, .. } = document;
    Error::corrupt(format!("version {version} of {path} in {scope} is missing: the database is damaged"))
}

fn read(row: &Row) -> Result<VersionRow> {
    let columns = Columns(row);
    let found = VersionRow {
        scope: columns.text("scope")?,
        path: columns.text("path")?,
        version: columns.number("version")?,
        base: columns.number("base")?,
        size: columns.number("size")?,
        digest: columns.array("digest")?,
        deleted: columns.flag("deleted")?,
        side: columns.flag("side")?,
        time: columns.time("time")?,
        author: columns.text("author")?,
        session: columns.text("session")?,
        turn: columns.number("turn")?,
        tool_call: columns.text("tool_call")?,
        request: columns.array("request")?,
    };
    check_row("document_versions", columns.bytes("row_hash")?, &found.hash(columns.signed("tenant")?))?;
    Ok(found)
}
