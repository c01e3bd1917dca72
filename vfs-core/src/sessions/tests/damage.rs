//! Every way to change a turn log behind Esker's back is found when it is read, and by check.

use super::*;
use crate::repo::CheckOptions;

/// Runs SQL of a vandal on the file of a repo with a log of six events and two turns; then what reading and check say.
async fn after(vandal: &'static str) -> (Result<Vec<Event>>, Result<Vec<Turn>>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let repo = reopen(folder.path(), &clock).await;
    let (id, epoch) = session(&repo).await;
    let head = repo.workspace("w").await.unwrap().head;
    repo.append_events(id, epoch, &[event("a"), event("b"), event("c"), event("d")]).await.unwrap();
    for number in [1, 2] {
        repo.end_turn(id, epoch, &EndTurn { number, snapshot: head, data: json!(null) }).await.unwrap();
    }
    assert_eq!(repo.check(CheckOptions { full: false }, &silent).await.unwrap().damages, [], "sound before");
    let mut transaction = repo.database().begin().await.unwrap();
    transaction.vandal(vandal).await.unwrap();
    repo.database().commit(transaction).await.unwrap();
    repo.database().close().await;
    let repo = reopen(folder.path(), &clock).await;
    let found = (log(&repo, id).await, repo.turns(id).await);
    let check = repo.check(CheckOptions { full: false }, &silent).await.unwrap();
    (found.0, found.1, check.damages.into_iter().map(|damage| damage.what).collect())
}

#[track_caller]
fn assert_names<T: std::fmt::Debug>(result: &Result<T>, expected: &str, vandal: &str) {
    let error = result.as_ref().expect_err(vandal);
    assert_eq!(error.kind(), Kind::Corrupt, "{vandal}: {error:?}");
    assert!(error.context().contains(expected), "{vandal}: {:?} does not name {expected:?}", error.context());
}

#[tokio::test]
async fn nothing_is_found_where_nothing_was_done() {
    let (events, turns, damages) = after("SELECT 1").await;
    assert_eq!((events.unwrap().len(), turns.unwrap().len(), damages.len()), (6, 2, 0));
}

#[tokio::test]
async fn each_change_of_an_event_is_found_and_named() {
    for (vandal, first) in [
        ("UPDATE events SET data = replace(data, 'c', 'x') WHERE sequence = 3", "event 3 "),
        ("UPDATE events SET key = 'other' WHERE sequence = 2", "event 2 "),
        ("UPDATE events SET kind = 'notice' WHERE sequence = 4", "event 4 "),
        ("UPDATE events SET turn = 7 WHERE sequence = 1", "event 1 "),
        ("UPDATE events SET tool_call = 'x' WHERE sequence = 1", "event 1 "),
        ("UPDATE events SET time = time + 1 WHERE sequence = 5", "event 5 "),
        ("UPDATE events SET epoch = 2 WHERE sequence = 6", "event 6 "),
        ("UPDATE events SET chain = zeroblob(32) WHERE sequence = 2", "event 2 "),
        ("DELETE FROM events WHERE sequence = 1", "event 1 "),
        ("DELETE FROM events WHERE sequence = 3", "event 3 "),
        ("DELETE FROM events WHERE sequence = 6", "event 6 "),
        ("DELETE FROM events WHERE sequence > 3", "event 4 "),
        ("DELETE FROM events", "event 1 "),
        // Two change places, with their chains.
        (
            "UPDATE events SET sequence = 99 WHERE sequence = 2; UPDATE events SET sequence = 2 WHERE sequence = 3;
             UPDATE events SET sequence = 3 WHERE sequence = 99",
            "event 2 ",
        ),
        // One is taken out and the others close up.
        (
            "DELETE FROM events WHERE sequence = 2; UPDATE events SET sequence = sequence - 1 WHERE sequence > 2",
            "event 2 ",
        ),
    ] {
        let (events, _, damages) = after(vandal).await;
        assert_names(&events, first, vandal);
        assert!(damages.iter().any(|damage| damage.contains(first)), "{vandal}: check says {damages:?}");
    }
}

#[tokio::test]
async fn an_end_that_was_cut_off_with_the_session_row_is_found() {
    for vandal in [
        "DELETE FROM events WHERE sequence > 4; UPDATE sessions SET last_sequence = 4",
        "DELETE FROM events WHERE sequence > 4; UPDATE sessions SET last_sequence = 4,
         last_chain = (SELECT chain FROM events WHERE sequence = 4)",
        "UPDATE sessions SET title = 'another'",
        "UPDATE sessions SET ended = 'done'",
        "UPDATE sessions SET epoch = 9",
        "UPDATE sessions SET owner = 'me'",
        "UPDATE sessions SET turns = 1",
        "UPDATE sessions SET began_on = zeroblob(32)",
    ] {
        let (events, turns, damages) = after(vandal).await;
        assert_names(&events, "table sessions", vandal);
        assert_names(&turns, "table sessions", vandal);
        assert!(!damages.is_empty(), "{vandal}");
    }
}

#[tokio::test]
async fn changed_and_missing_turns_are_found() {
    for (vandal, what) in [
        (
            "UPDATE turns SET documents = '[{\"scope\":\"org\",\"path\":\"x\",\"version\":1}]' WHERE number = 1",
            "table turns",
        ),
        ("UPDATE turns SET documents = 'nonsense' WHERE number = 1", "make no sense"),
        ("UPDATE turns SET snapshot = zeroblob(32) WHERE number = 2", "table turns"),
        ("UPDATE turns SET time = 0 WHERE number = 2", "table turns"),
        ("DELETE FROM turns WHERE number = 1", "turn 1 "),
        ("DELETE FROM turns WHERE number = 2", "turn 2 "),
        ("DELETE FROM turns", "turn 1 "),
    ] {
        let (events, turns, damages) = after(vandal).await;
        assert_eq!(events.unwrap().len(), 6, "the events are whole");
        assert_names(&turns, what, vandal);
        assert!(damages.iter().any(|damage| damage.contains(what)), "{vandal}: check says {damages:?}");
    }
}

#[tokio::test]
async fn rows_that_nobody_wrote_are_found_by_check() {
    for vandal in [
        "INSERT INTO events SELECT session, 7, 'forged', kind, turn, tool_call, time, epoch, data, chain FROM events
         WHERE sequence = 6",
        "INSERT INTO turns SELECT session, 3, snapshot, before, documents, time, row_hash FROM turns WHERE number = 2",
    ] {
        let (_, _, damages) = after(vandal).await;
        assert!(damages.iter().any(|damage| damage.contains("nobody wrote")), "{vandal}: {damages:?}");
    }
}

#[tokio::test]
async fn a_history_that_lost_the_snapshot_of_a_turn_is_found() {
    let (_, _, damages) = after("UPDATE history SET snapshot = zeroblob(32)").await;
    assert!(damages.iter().any(|damage| damage.contains("turn 1 ")), "{damages:?}");
}
