//! Appending events: fenced, repeatable by their keys, all of a call or none.

use super::lease::owned;
use super::{ENDS, Event, NewEvent, kind};
use crate::clock::Time;
use crate::db::{Connection, SessionRow, sessions, turn_log};
use crate::error::{Error, Kind, Result};
use crate::id::SessionId;
use crate::limits::{EVENT_KEY_MAX, EVENT_MAX, EVENTS_APPEND_BYTES_MAX, EVENTS_PER_APPEND_MAX, TOOL_CALL_MAX};

/// Appends events in order. One whose key is there already with the same body is answered as it is.
pub(crate) async fn append(
    connection: &mut Connection,
    tenant: i64,
    id: SessionId,
    epoch: u64,
    events: &[NewEvent],
    now: Time,
) -> Result<Vec<Event>> {
    let bodies = check(events)?;
    let mut row = owned(connection, tenant, id, epoch).await?;
    let mut appended = Vec::with_capacity(events.len());
    for (event, body) in events.iter().zip(bodies) {
        appended.push(match turn_log::by_key(connection, id, &event.key).await? {
            Some(found) => same(id, found, event, &body)?,
            None => add(connection, &mut row, event, body, now).await?,
        });
    }
    row.last_seen = now;
    sessions::put(connection, tenant, &row).await?;
    Ok(appended)
}

/// Adds one event that is not there yet. The caller puts the session's row.
pub(super) async fn add(
    connection: &mut Connection,
    row: &mut SessionRow,
    event: &NewEvent,
    body: String,
    now: Time,
) -> Result<Event> {
    let event = Event {
        sequence: row.last_sequence + 1,
        key: event.key.clone(),
        kind: event.kind.clone(),
        turn: event.turn,
        tool_call: event.tool_call.clone(),
        time: now,
        epoch: row.epoch,
        data: body,
    };
    turn_log::append(connection, row, &event).await?;
    match event.kind.as_str() {
        kind::SESSION_ENDED => row.ended = end_of(&event.data)?,
        kind::NOTICE => {}
        // Whatever else follows: somebody goes on with it.
        _ => row.ended.clear(),
    }
    Ok(event)
}

/// The body as it is stored, within its limit.
pub(super) fn to_body(data: &serde_json::Value) -> Result<String> {
    let body = serde_json::to_string(data)
        .map_err(|error| Error::new(Kind::Invalid, "the body of an event cannot be written as JSON").because(error))?;
    if body.len() > EVENT_MAX {
        let message = format!("the body of an event has {} bytes: {EVENT_MAX} at most", body.len());
        return Err(Error::new(Kind::TooLarge, message));
    }
    Ok(body)
}

/// Checks events at the door; returns their bodies as they are stored.
fn check(events: &[NewEvent]) -> Result<Vec<String>> {
    if !(1..=EVENTS_PER_APPEND_MAX).contains(&events.len()) {
        let message = format!("1 to {EVENTS_PER_APPEND_MAX} events can be appended at once, not {}", events.len());
        return Err(Error::new(Kind::Invalid, message));
    }
    let mut bodies = Vec::with_capacity(events.len());
    for event in events {
        check_names(event)?;
        let body = to_body(&event.data)?;
        if event.kind == kind::SESSION_ENDED {
            end_of(&body)?;
        }
        bodies.push(body);
    }
    if bodies.iter().map(String::len).sum::<usize>() > EVENTS_APPEND_BYTES_MAX {
        let message = format!("the events of one append may have {EVENTS_APPEND_BYTES_MAX} bytes together");
        return Err(Error::new(Kind::TooLarge, message));
    }
    Ok(bodies)
}

fn check_names(event: &NewEvent) -> Result<()> {
    let invalid = |why: String| Err(Error::new(Kind::Invalid, why));
    let is_word = |text: &str| !text.chars().any(char::is_control);
    match event.kind.as_str() {
        kind::TURN_ENDED => return invalid("turn.ended is written by the end of a turn alone".to_owned()),
        other if !kind::APPENDED.contains(&other) => return invalid(format!("{other:?} is no kind of event")),
        _ => {}
    }
    if event.key.is_empty() || event.key.len() > EVENT_KEY_MAX || !is_word(&event.key) {
        return invalid(format!("an event's key has 1 to {EVENT_KEY_MAX} bytes without control characters"));
    }
    if event.tool_call.len() > TOOL_CALL_MAX || !is_word(&event.tool_call) {
        return invalid(format!("a tool call's id has at most {TOOL_CALL_MAX} bytes without control characters"));
    }
    if i64::try_from(event.turn).is_err() {
        return invalid(format!("{} is no number of a turn", event.turn));
    }
    Ok(())
}

/// How a session ended, from the body of its last event.
fn end_of(body: &str) -> Result<String> {
    let state = serde_json::from_str::<serde_json::Value>(body).ok();
    let state = state.as_ref().and_then(|data| data["state"].as_str()).unwrap_or_default();
    if ENDS.contains(&state) {
        return Ok(state.to_owned());
    }
    Err(Error::new(Kind::Invalid, format!("session.ended says in `state` how: {}", ENDS.join(", "))))
}

/// The event that is there, if it says the same.
fn same(id: SessionId, found: Event, event: &NewEvent, body: &str) -> Result<Event> {
    let is_same = (&found.kind, found.turn, &found.tool_call) == (&event.kind, event.turn, &event.tool_call)
        && (found.data == body || serde_json::from_str(&found.data).ok().as_ref() == Some(&event.data));
    if is_same {
        return Ok(found);
    }
    let message = format!("the session {id} has another event with the key {:?} (event {})", event.key, found.sequence);
    Err(Error::new(Kind::Conflict, message))
}
