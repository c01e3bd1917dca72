//! Turn logs: events, each chained to the one before, and the turns that have ended.

use std::ops::ControlFlow;

use super::{Columns, Connection, Failure, Row, map_error, query, time_to_sql, to_sql};
use crate::db::row::check_row;
use crate::db::session_row::Chain;
use crate::db::{EventRow, SessionRow, TurnRow};
use crate::error::{Error, Result};
use crate::id::{SessionId, SnapshotId};

fn failed(error: Failure) -> Error {
    map_error(error, "a turn log could not be read or written")
}

/// Appends an event and says so in the session's row, which the caller puts. Belongs into a transaction.
pub async fn append(connection: &mut Connection, session: &mut SessionRow, event: &EventRow) -> Result<()> {
    let chain = event.chain(session.id, &session.last_chain);
    query(
        "INSERT INTO events (session, sequence, key, kind, turn, tool_call, time, epoch, data, chain)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(session.id.to_hex())
    .bind(to_sql(event.sequence))
    .bind(&event.key)
    .bind(&event.kind)
    .bind(to_sql(event.turn))
    .bind(&event.tool_call)
    .bind(time_to_sql(event.time))
    .bind(to_sql(event.epoch))
    .bind(&event.data)
    .bind(&chain[..])
    .execute(connection)
    .await
    .map_err(failed)?;
    session.last_sequence = event.sequence;
    session.last_chain = chain;
    Ok(())
}

/// The event with this key.
pub async fn by_key(connection: &mut Connection, session: SessionId, key: &str) -> Result<Option<EventRow>> {
    let row = query("SELECT * FROM events WHERE session = ? AND key = ?")
        .bind(session.to_hex())
        .bind(key)
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let (event, chain) = read(&row)?;
    let mut before = chain_at(connection, session, event.sequence.saturating_sub(1)).await?;
    before.step(&event, &chain)?;
    Ok(Some(event))
}

/// Events after a sequence, in order, each verified: at most `limit`, and no more once they have `bytes_max` bytes.
/// `session` was read before, so it says what must be there.
pub async fn page(
    connection: &mut Connection,
    session: &SessionRow,
    after: u64,
    limit: u64,
    bytes_max: usize,
) -> Result<Vec<EventRow>> {
    let mut events = Vec::new();
    let mut at = chain_at(connection, session.id, after.min(session.last_sequence)).await?;
    let (mut bytes, mut broken) = (0, None);
    let mut hear = |row: Row| {
        let heard = read(&row).and_then(|(event, chain)| {
            at.step(&event, &chain)?;
            Ok(event)
        });
        match heard {
            Ok(event) => {
                bytes += event.data.len();
                events.push(event);
            }
            Err(error) => broken = Some(error),
        }
        if broken.is_some() || bytes >= bytes_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    query("SELECT * FROM events WHERE session = ? AND sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?")
        .bind(session.id.to_hex())
        .bind(to_sql(after))
        .bind(to_sql(session.last_sequence))
        .bind(to_sql(limit))
        .fetch(connection, &mut hear)
        .await
        .map_err(failed)?;
    if let Some(error) = broken {
        return Err(error);
    }
    // Where the log ends, the session's row says where it must.
    let ends = (events.len() as u64) < limit && bytes < bytes_max;
    if ends || at.is_at(session.last_sequence) {
        at.compare(session)?;
    }
    Ok(events)
}

/// The chain where it stands at a sequence, as it is stored.
async fn chain_at(connection: &mut Connection, session: SessionId, sequence: u64) -> Result<Chain> {
    if sequence == 0 {
        return Ok(Chain::start(session));
    }
    let row = query("SELECT chain FROM events WHERE session = ? AND sequence = ?")
        .bind(session.to_hex())
        .bind(to_sql(sequence))
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    match row {
        Some(row) => Ok(Chain::after(session, sequence, Columns(&row).array("chain")?)),
        None => Err(Error::corrupt(format!(
            "event {sequence} of the session {session} is missing: its turn log is damaged"
        ))),
    }
}

/// Sessions with events or turns that no row of a session knows, for whoever looks for damage.
pub async fn strangers(connection: &mut Connection) -> Result<Vec<String>> {
    let rows = query(
        "SELECT e.session FROM events e LEFT JOIN sessions s ON s.id = e.session
         WHERE s.id IS NULL OR e.sequence > s.last_sequence OR e.sequence < 1
         UNION SELECT t.session FROM turns t LEFT JOIN sessions s ON s.id = t.session
         WHERE s.id IS NULL OR t.number > s.turns OR t.number < 1",
    )
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter().map(|row| Columns(row).text("session")).collect()
}

/// Writes the record of a turn.
pub async fn put_turn(connection: &mut Connection, session: SessionId, turn: &TurnRow) -> Result<()> {
    query(
        "INSERT INTO turns (session, number, snapshot, before, documents, time, row_hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(session.to_hex())
    .bind(to_sql(turn.number))
    .bind(&turn.snapshot.as_bytes()[..])
    .bind(&turn.before.as_bytes()[..])
    .bind(turn.documents_json()?)
    .bind(time_to_sql(turn.time))
    .bind(turn.hash(session)?)
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

/// The record of one turn.
pub async fn turn(connection: &mut Connection, session: SessionId, number: u64) -> Result<Option<TurnRow>> {
    let row = query("SELECT * FROM turns WHERE session = ? AND number = ?")
        .bind(session.to_hex())
        .bind(to_sql(number))
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    row.map(|row| read_turn(&row, session)).transpose()
}

/// The turns that have ended, in order; as many as the session's row says.
pub async fn turns(connection: &mut Connection, session: &SessionRow) -> Result<Vec<TurnRow>> {
    let rows = query("SELECT * FROM turns WHERE session = ? AND number <= ? ORDER BY number")
        .bind(session.id.to_hex())
        .bind(to_sql(session.turns))
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    let turns: Vec<TurnRow> = rows.iter().map(|row| read_turn(row, session.id)).collect::<Result<_>>()?;
    let missing =
        (1..=session.turns).find(|number| turns.get(*number as usize - 1).map(|turn| turn.number) != Some(*number));
    match missing {
        None => Ok(turns),
        Some(number) => Err(Error::corrupt(format!(
            "the record of turn {number} of the session {} is missing: the database is damaged",
            session.id
        ))),
    }
}

fn read(row: &Row) -> Result<(EventRow, [u8; 32])> {
    let columns = Columns(row);
    let event = EventRow {
        sequence: columns.number("sequence")?,
        key: columns.text("key")?,
        kind: columns.text("kind")?,
        turn: columns.number("turn")?,
        tool_call: columns.text("tool_call")?,
        time: columns.time("time")?,
        epoch: columns.number("epoch")?,
        data: columns.text("data")?,
    };
    Ok((event, columns.array("chain")?))
}

fn read_turn(row: &Row, session: SessionId) -> Result<TurnRow> {
    let columns = Columns(row);
    let documents = serde_json::from_str(&columns.text("documents")?).map_err(|error| {
        Error::corrupt("the documents of a turn make no sense: the database is damaged").because(error)
    })?;
    let turn = TurnRow {
        number: columns.number("number")?,
        snapshot: SnapshotId::from_bytes(columns.array("snapshot")?),
        before: SnapshotId::from_bytes(columns.array("before")?),
        documents,
        time: columns.time("time")?,
    };
    check_row("turns", columns.bytes("row_hash")?, &turn.hash(session)?)?;
    Ok(turn)
}
