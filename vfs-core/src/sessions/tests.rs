//! Turn logs: fenced, repeatable, without holes, and honest about damage.

mod damage;
mod leases;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::error::{Kind, Result};
use crate::limits::{EVENT_MAX, EVENTS_PER_APPEND_MAX};
use crate::progress::silent;
use crate::repo::tests::{HOUR, Mount, TestClock, automatic, content, files, note, repo};
use crate::repo::{GcOptions, Repo};

pub(super) fn new_session(workspace: &str) -> NewSession {
    NewSession { workspace: workspace.into(), agent: "main".into(), user: "ana".into(), title: "fix it".into() }
}

pub(super) fn event(key: &str) -> NewEvent {
    let data = json!({ "key": key });
    NewEvent { key: key.into(), kind: kind::TOOL_FINISHED.into(), turn: 1, tool_call: String::new(), data }
}

pub(super) fn of_kind(kind: &str, key: &str, data: serde_json::Value) -> NewEvent {
    NewEvent { kind: kind.into(), data, ..event(key) }
}

/// A session on the workspace `w`, and the epoch of its lease.
pub(super) async fn session(repo: &Repo) -> (SessionId, u64) {
    if repo.workspace("w").await.is_err() {
        repo.create_workspace("w", None, None).await.unwrap();
    }
    let id = repo.create_session(&new_session("w")).await.unwrap().id;
    (id, repo.take_session(id, "1 on here", None).await.unwrap().epoch)
}

pub(super) async fn log(repo: &Repo, id: SessionId) -> Result<Vec<Event>> {
    Ok(repo.events(id, 0, 10_000).await?.events)
}

pub(super) fn kind_of<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|error| error.kind())
}

#[tokio::test]
async fn a_session_is_made_listed_and_found_by_its_first_digits() {
    let (repo, clock) = repo().await;
    assert_eq!(kind_of(repo.create_session(&new_session("w")).await), Some(Kind::NotFound), "the workspace must exist");
    repo.create_workspace("w", None, None).await.unwrap();
    repo.create_workspace("v", None, None).await.unwrap();
    let first = repo.create_session(&new_session("w")).await.unwrap();
    clock.advance(Duration::from_secs(1));
    let second = repo.create_session(&new_session("v")).await.unwrap();
    assert_eq!((first.state.as_str(), first.last_event, first.turns, &first.lease), ("open", 0, 0, &None));
    let listed = repo.sessions(None, 10).await.unwrap();
    assert_eq!(listed, [second.clone(), first.clone()], "newest first");
    assert_eq!(repo.sessions(Some(first.workspace), 10).await.unwrap(), vec![first.clone()]);
    assert_eq!(repo.session(&first.id.to_hex()[..6].to_uppercase()).await.unwrap(), first);
    for wrong in ["abc", "xyzw", "", "%%%%", "00000000000000000"] {
        assert_eq!(kind_of(repo.session(wrong).await), Some(Kind::Invalid), "{wrong:?}");
    }
    let other = if first.id.to_hex().starts_with('0') { "1234567812345678" } else { "0234567812345678" };
    assert_eq!(kind_of(repo.session(other).await), Some(Kind::NotFound));
    for wrong in ["", "../x", "a/b", "a b", &"x".repeat(101)] {
        let wrong = NewSession { agent: wrong.into(), ..new_session("w") };
        assert_eq!(kind_of(repo.create_session(&wrong).await), Some(Kind::Invalid), "{wrong:?}");
    }
    let wrong = NewSession { title: "two\nlines".into(), ..new_session("w") };
    assert_eq!(kind_of(repo.create_session(&wrong).await), Some(Kind::Invalid));
}

#[tokio::test]
async fn digits_that_several_sessions_start_with_are_refused() {
    let (repo, _) = repo().await;
    let (id, _) = session(&repo).await;
    let mut twin = *id.as_bytes();
    twin[7] ^= 1;
    let mut transaction = repo.database().begin().await.unwrap();
    let (workspace, snapshot) = (WorkspaceId::from_bytes([1; 16]), SnapshotId::from_bytes([2; 32]));
    let row = SessionRow::new(SessionId::from_bytes(twin), workspace, snapshot, repo.now());
    crate::db::sessions::put(&mut transaction, 1, &row).await.unwrap();
    repo.database().commit(transaction).await.unwrap();
    assert_eq!(kind_of(repo.session(&id.to_hex()[..8]).await), Some(Kind::Invalid));
    assert_eq!(repo.session(&id.to_hex()).await.unwrap().id, id);
}

#[tokio::test]
async fn events_are_numbered_from_one_and_read_in_pages() {
    let (repo, _) = repo().await;
    let (id, epoch) = session(&repo).await;
    let first = repo.append_events(id, epoch, &[event("a"), event("b")]).await.unwrap();
    assert_eq!(first.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2]);
    repo.append_events(id, epoch, &[event("c")]).await.unwrap();
    let page = repo.events(id, 0, 2).await.unwrap();
    assert_eq!((page.events.as_slice(), page.more), (first.as_slice(), true));
    let page = repo.events(id, 2, 2).await.unwrap();
    assert_eq!((page.events[0].key.as_str(), page.events.len(), page.more), ("c", 1, false));
    for after in [3, 4, u64::MAX] {
        assert_eq!(repo.events(id, after, 2).await.unwrap(), EventPage { events: vec![], more: false });
    }
    assert_eq!(repo.session(&id.to_hex()).await.unwrap().last_event, 3);
}

#[tokio::test]
async fn an_append_may_be_repeated_but_not_changed() {
    let (repo, clock) = repo().await;
    let (id, epoch) = session(&repo).await;
    let first = repo.append_events(id, epoch, &[event("a"), event("b")]).await.unwrap();
    clock.advance(Duration::from_secs(1));
    let again = repo.append_events(id, epoch, &[event("b"), event("a"), event("c")]).await.unwrap();
    assert_eq!(again[..2], [first[1].clone(), first[0].clone()], "the events that are there");
    assert_eq!(again[2].sequence, 3);
    let others = [
        NewEvent { data: json!({ "key": "other" }), ..event("a") },
        NewEvent { turn: 2, ..event("a") },
        NewEvent { tool_call: "t".into(), ..event("a") },
        NewEvent { kind: kind::TOOL_STARTED.into(), ..event("a") },
    ];
    for other in others {
        let both = [event("new"), other];
        assert_eq!(kind_of(repo.append_events(id, epoch, &both).await), Some(Kind::Conflict));
    }
    assert_eq!(log(&repo, id).await.unwrap().len(), 3, "all or none");
    // A new owner repeats what the one before has appended.
    let next = repo.take_session(id, "2 on here", Some(epoch)).await.unwrap().epoch;
    assert_eq!(repo.append_events(id, next, &[event("a")]).await.unwrap(), first[..1]);
}

#[tokio::test]
async fn a_number_that_floats_compares_equal_to_itself() {
    let (repo, _) = repo().await;
    let (id, epoch) = session(&repo).await;
    for text in ["0.1", "1e300", "-5.000000000000001e-7", "123456789012345680000", "0.30000000000000004"] {
        let data = || serde_json::from_str(&format!("{{\"x\":{text}}}")).unwrap();
        let first = repo.append_events(id, epoch, &[of_kind(kind::NOTICE, text, data())]).await.unwrap();
        assert_eq!(repo.append_events(id, epoch, &[of_kind(kind::NOTICE, text, data())]).await.unwrap(), first);
    }
}

#[tokio::test]
async fn what_is_no_event_is_refused() {
    let (repo, _) = repo().await;
    let (id, epoch) = session(&repo).await;
    let wrong = [
        of_kind("no.kind", "k", json!(null)),
        of_kind(kind::TURN_ENDED, "k", json!({})),
        of_kind(kind::SESSION_ENDED, "k", json!({ "state": "asleep" })),
        of_kind(kind::SESSION_ENDED, "k", json!({})),
        event(""),
        event("a\nb"),
        event(&"k".repeat(513)),
        NewEvent { tool_call: "t".repeat(257), ..event("k") },
        NewEvent { turn: u64::MAX, ..event("k") },
    ];
    for wrong in wrong {
        assert_eq!(kind_of(repo.append_events(id, epoch, &[event("good"), wrong]).await), Some(Kind::Invalid));
    }
    assert_eq!(kind_of(repo.append_events(id, epoch, &[]).await), Some(Kind::Invalid));
    let many: Vec<_> = (0..=EVENTS_PER_APPEND_MAX).map(|number| event(&number.to_string())).collect();
    assert_eq!(kind_of(repo.append_events(id, epoch, &many).await), Some(Kind::Invalid));
    let large = |bytes: usize| of_kind(kind::MODEL_ANSWER, "large", json!("x".repeat(bytes - 2)));
    assert_eq!(kind_of(repo.append_events(id, epoch, &[large(EVENT_MAX + 1)]).await), Some(Kind::TooLarge));
    repo.append_events(id, epoch, &[large(EVENT_MAX)]).await.unwrap();
    let page: Vec<_> = (0..5).map(|number| NewEvent { key: number.to_string(), ..large(EVENT_MAX) }).collect();
    assert_eq!(kind_of(repo.append_events(id, epoch, &page).await), Some(Kind::TooLarge));
    for part in page.chunks(3) {
        repo.append_events(id, epoch, part).await.unwrap();
    }
    let page = repo.events(id, 0, 1000).await.unwrap();
    assert_eq!((page.events.len(), page.more), (4, true), "a page ends when it is large");
    assert_eq!(repo.events(id, 4, 1000).await.unwrap().events.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_appenders_at_once_leave_no_holes() {
    let folder = tempfile::tempdir().unwrap();
    let options = crate::repo::RepoOptions {
        data: folder.path().into(),
        bucket: None,
        database: None,
        key: None,
        clock: TestClock::new(),
    };
    let repo = Repo::open(options).await.unwrap();
    let (id, epoch) = session(&repo).await;
    let append = |worker: usize| {
        let repo = repo.clone();
        async move {
            for number in 0..20 {
                // Each is sent twice, as if the first answer was lost; some keys are shared by all.
                let key = if number % 5 == 0 { format!("shared:{number}") } else { format!("{worker}:{number}") };
                let first = repo.append_events(id, epoch, &[event(&key)]).await.unwrap();
                assert_eq!(repo.append_events(id, epoch, &[event(&key)]).await.unwrap(), first);
            }
        }
    };
    let workers: Vec<_> = (0..8).map(|worker| tokio::spawn(append(worker))).collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let events = log(&repo, id).await.unwrap();
    let expected: Vec<u64> = (1..=8 * 16 + 4).collect();
    assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), expected);
    assert_eq!(repo.check(crate::repo::CheckOptions { full: false }, &silent).await.unwrap().damages, []);
}

#[tokio::test]
async fn the_end_of_a_session_is_its_state_until_somebody_goes_on() {
    let (repo, _) = repo().await;
    let (id, epoch) = session(&repo).await;
    let state = async || repo.session(&id.to_hex()).await.unwrap().state;
    assert_eq!(state().await, "running");
    let end =
        |number: u32, state: &str| of_kind(kind::SESSION_ENDED, &format!("ended:{number}"), json!({ "state": state }));
    repo.append_events(id, epoch, &[end(1, "stopped")]).await.unwrap();
    repo.append_events(id, epoch, &[of_kind(kind::NOTICE, "notice:1", json!({}))]).await.unwrap();
    assert_eq!(state().await, "stopped", "a notice changes nothing");
    repo.append_events(id, epoch, &[of_kind(kind::USER_MESSAGE, "user:2", json!({}))]).await.unwrap();
    assert_eq!(state().await, "running");
    repo.append_events(id, epoch, &[end(2, "done")]).await.unwrap();
    repo.release_session(id, epoch).await.unwrap();
    assert_eq!(state().await, "done");
}

#[tokio::test]
async fn followers_hear_of_appends() {
    let (repo, _) = repo().await;
    let (id, epoch) = session(&repo).await;
    let mut news = repo.session_news();
    repo.append_events(id, epoch, &[event("a")]).await.unwrap();
    assert_eq!(news.recv().await.unwrap(), id);
    assert_eq!(kind_of(repo.append_events(id, 99, &[event("b")]).await), Some(Kind::LeaseLost));
    assert!(news.try_recv().is_err(), "what was refused is no news");
}

#[tokio::test]
async fn a_turn_ends_once_on_a_snapshot_of_the_workspace() {
    let (repo, _) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let began_on = mount.base;
    let (id, epoch) = session(&repo).await;
    let one = mount.write("a", &[content(1, 100)], note("one")).await.unwrap();
    let end = |number, snapshot| EndTurn { number, snapshot, data: json!({ "more": true }) };
    let elsewhere = Mount::new(&repo, "x").await.write("x", &[content(9, 100)], note("x")).await.unwrap();
    assert_eq!(kind_of(repo.end_turn(id, epoch, &end(1, elsewhere)).await), Some(Kind::NotFound));
    assert_eq!(kind_of(repo.end_turn(id, epoch, &end(2, one)).await), Some(Kind::Invalid));
    assert_eq!(kind_of(repo.end_turn(id, epoch, &end(0, one)).await), Some(Kind::Invalid));
    assert_eq!(kind_of(repo.end_turn(id, epoch - 1, &end(1, one)).await), Some(Kind::LeaseLost));
    let turn = repo.end_turn(id, epoch, &end(1, one)).await.unwrap();
    assert_eq!((turn.number, turn.snapshot, turn.before), (1, one, began_on));
    assert_eq!(repo.end_turn(id, epoch, &end(1, one)).await.unwrap(), turn, "may be repeated");
    assert_eq!(kind_of(repo.end_turn(id, epoch, &end(1, began_on)).await), Some(Kind::Conflict));
    let second = repo.end_turn(id, epoch, &end(2, one)).await.unwrap();
    assert_eq!((second.snapshot, second.before), (one, one), "nothing was written");
    assert_eq!(repo.turns(id).await.unwrap(), [turn, second]);
    let events = log(&repo, id).await.unwrap();
    assert_eq!(events.len(), 2);
    let data: serde_json::Value = serde_json::from_str(&events[0].data).unwrap();
    assert_eq!((&data["snapshot"], &data["more"]), (&json!(one.to_hex()), &json!(true)));
    assert_eq!((events[0].key.as_str(), events[0].turn), ("end:1", 1));
    assert_eq!(repo.session(&id.to_hex()).await.unwrap().turns, 2);
}

#[tokio::test]
async fn gc_keeps_what_turns_ended_and_sessions_began_on() {
    let (repo, clock) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let began_on = mount.write("a", &[content(1, 5000)], automatic()).await.unwrap();
    let (id, epoch) = session(&repo).await;
    let ended_on = mount.write("a", &[content(2, 5000)], automatic()).await.unwrap();
    repo.end_turn(id, epoch, &EndTurn { number: 1, snapshot: ended_on, data: json!(null) }).await.unwrap();
    let unnamed = mount.write("a", &[content(3, 5000)], automatic()).await.unwrap();
    for seed in 4..8 {
        mount.write("a", &[content(seed, 5000)], automatic()).await.unwrap();
        clock.advance(3 * HOUR);
    }
    mount.write("a", &[content(9, 5000)], note("last")).await.unwrap();
    let gc = GcOptions { grace: Duration::ZERO, delete: true, ..GcOptions::default() };
    for _ in 0..2 {
        repo.gc(gc, &silent).await.unwrap();
        clock.advance(HOUR);
    }
    repo.store().forget_cached();
    assert_eq!(kind_of(repo.snapshot(unnamed).await), Some(Kind::NotFound), "gc has done something");
    assert_eq!(files(&repo, began_on).await.unwrap()[0].1, content(1, 5000));
    assert_eq!(files(&repo, ended_on).await.unwrap()[0].1, content(2, 5000));
    let rows = repo.history(repo.workspace("w").await.unwrap().id, false, 100).await.unwrap();
    let row = rows.iter().find(|row| row.snapshot == ended_on).unwrap();
    assert_eq!((row.session.as_str(), row.turn.as_str()), (id.to_hex().as_str(), "1"));
}

#[tokio::test]
async fn sessions_outlive_their_workspace() {
    let (repo, _) = repo().await;
    let (id, epoch) = session(&repo).await;
    let workspace = repo.workspace("w").await.unwrap();
    repo.append_events(id, epoch, &[event("a")]).await.unwrap();
    repo.end_turn(id, epoch, &EndTurn { number: 1, snapshot: workspace.head, data: json!(null) }).await.unwrap();
    repo.delete_workspace(workspace.id).await.unwrap();
    let found = repo.session(&id.to_hex()).await.unwrap();
    assert_eq!((found.workspace, found.workspace_name.as_str()), (workspace.id, ""));
    assert_eq!(repo.sessions(Some(workspace.id), 10).await.unwrap().len(), 1);
    assert_eq!(log(&repo, id).await.unwrap().len(), 2);
    assert_eq!(repo.turns(id).await.unwrap().len(), 1);
    let end = EndTurn { number: 2, snapshot: workspace.head, data: json!(null) };
    assert_eq!(kind_of(repo.end_turn(id, epoch, &end).await), Some(Kind::NotFound));
    repo.append_events(id, epoch, &[of_kind(kind::SESSION_ENDED, "end", json!({ "state": "failed" }))]).await.unwrap();
    assert_eq!(repo.check(crate::repo::CheckOptions { full: true }, &silent).await.unwrap().damages, []);
}

/// Keeps a repo alive in tests that reopen its file.
pub(super) async fn reopen(folder: &std::path::Path, clock: &Arc<TestClock>) -> Repo {
    Repo::open(crate::repo::RepoOptions {
        data: folder.into(),
        bucket: None,
        database: None,
        key: None,
        clock: clock.clone(),
    })
    .await
    .unwrap()
}
