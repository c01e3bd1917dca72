//! The end of a turn: its record and its event, in one step.

use serde_json::{Map, Value};

use super::append::{add, to_body};
use super::lease::owned;
use super::{DocumentVersion, EndTurn, NewEvent, Turn, kind};
use crate::clock::Time;
use crate::db::{Connection, HistoryRow, SessionRow, documents, history, sessions, turn_log};
use crate::error::{Error, Kind, Result};
use crate::id::{SessionId, SnapshotId, WorkspaceId};

/// Ends a turn. The record of one that has ended is answered again, if it ended on the same snapshot.
pub(crate) async fn end_turn(
    connection: &mut Connection,
    tenant: i64,
    id: SessionId,
    epoch: u64,
    end: &EndTurn,
    now: Time,
) -> Result<Turn> {
    let mut row = owned(connection, tenant, id, epoch).await?;
    if let Some(turn) = turn_log::turn(connection, id, end.number).await? {
        return same(turn, end.snapshot);
    }
    let before = before(connection, &row, end.number).await?;
    let (message, session, number) = (format!("turn {}", end.number), id.to_hex(), end.number.to_string());
    if !keep(connection, row.workspace, end.snapshot, &message, (&session, &number)).await? {
        let message = format!("the history of the session's workspace does not hold the snapshot {}", end.snapshot);
        return Err(Error::new(Kind::NotFound, message));
    }
    let documents = written(connection, id, end.number).await?;
    let turn = Turn { number: end.number, snapshot: end.snapshot, before, documents, time: now };
    let event = NewEvent {
        key: format!("end:{}", end.number),
        kind: kind::TURN_ENDED.to_owned(),
        turn: end.number,
        tool_call: String::new(),
        data: data(end, &turn)?,
    };
    if turn_log::by_key(connection, id, &event.key).await?.is_some() {
        let message = format!("the key {:?} is taken by another event of the session {id}", event.key);
        return Err(Error::new(Kind::Conflict, message));
    }
    let body = to_body(&event.data)?;
    turn_log::put_turn(connection, id, &turn).await?;
    add(connection, &mut row, &event, body, now).await?;
    row.turns = turn.number;
    row.last_seen = now;
    sessions::put(connection, tenant, &row).await?;
    Ok(turn)
}

/// Makes sure that a snapshot stays in a workspace's history, from which gc marks; false if it is not there. An
/// automatic row becomes one that is kept.
pub(crate) async fn keep(
    connection: &mut Connection,
    workspace: WorkspaceId,
    snapshot: SnapshotId,
    message: &str,
    (session, turn): (&str, &str),
) -> Result<bool> {
    let Some(row) = history::holding(connection, workspace, snapshot).await? else { return Ok(false) };
    if row.automatic {
        let or = |present: &str, other: &str| if present.is_empty() { other.to_owned() } else { present.to_owned() };
        let kept = HistoryRow {
            automatic: false,
            message: or(&row.message, message),
            session: or(&row.session, session),
            turn: or(&row.turn, turn),
            ..row
        };
        history::put(connection, workspace, &kept).await?;
    }
    Ok(true)
}

/// The document versions that the session wrote in a turn.
async fn written(connection: &mut Connection, id: SessionId, turn: u64) -> Result<Vec<DocumentVersion>> {
    let versions = documents::versions_of_turn(connection, &id.to_hex(), turn).await?;
    Ok(versions.into_iter().map(|(scope, path, version)| DocumentVersion { scope, path, version }).collect())
}

fn same(turn: Turn, snapshot: SnapshotId) -> Result<Turn> {
    if turn.snapshot == snapshot {
        return Ok(turn);
    }
    let message = format!("turn {} has ended already, on the snapshot {}", turn.number, turn.snapshot);
    Err(Error::new(Kind::Conflict, message))
}

/// The snapshot before a turn, which must be the next one.
async fn before(connection: &mut Connection, row: &SessionRow, number: u64) -> Result<SnapshotId> {
    if number != row.turns + 1 {
        let message = format!("turn {number} cannot end: turn {} is the next one of the session", row.turns + 1);
        return Err(Error::new(Kind::Invalid, message));
    }
    if number == 1 {
        return Ok(row.began_on);
    }
    let last = turn_log::turn(connection, row.id, row.turns).await?;
    let missing = || Error::corrupt(format!("the record of turn {} of the session {} is missing", row.turns, row.id));
    Ok(last.ok_or_else(missing)?.snapshot)
}

/// The body of the event: what the caller says, and what the record says.
fn data(end: &EndTurn, turn: &Turn) -> Result<Value> {
    let mut data = match &end.data {
        Value::Null => Map::new(),
        Value::Object(fields) => fields.clone(),
        _ => return Err(Error::new(Kind::Invalid, "what a turn's end says more must be a JSON object")),
    };
    let documents = serde_json::to_value(&turn.documents)
        .map_err(|error| Error::new(Kind::Internal, "the documents of a turn cannot be written").because(error))?;
    data.insert("snapshot".into(), turn.snapshot.to_hex().into());
    data.insert("before".into(), turn.before.to_hex().into());
    data.insert("documents".into(), documents);
    Ok(Value::Object(data))
}
