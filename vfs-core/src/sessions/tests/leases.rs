//! One owner at a time, whatever the clocks do.

use super::*;
use crate::clock::Clock;
use crate::limits::SESSION_LEASE_TTL;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn an_owner_that_was_replaced_appends_nothing() {
    let (repo, clock) = repo().await;
    let (id, old) = session(&repo).await;
    repo.append_events(id, old, &[event("before")]).await.unwrap();
    clock.advance(SESSION_LEASE_TTL);
    let new = repo.take_session(id, "2 on there", None).await.unwrap();
    assert_eq!(new.epoch, old + 1);
    // The zombie wakes up in the middle of its work.
    let zombie = repo.append_events(id, old, &[event("zombie")]).await;
    assert!(zombie.as_ref().is_err_and(|error| error.context().contains("2 on there")), "{zombie:?}");
    assert_eq!(kind_of(zombie), Some(Kind::LeaseLost));
    assert_eq!(kind_of(repo.append_events(id, old, &[event("before")]).await), Some(Kind::LeaseLost), "no repetition");
    let end = EndTurn { number: 1, snapshot: repo.workspace("w").await.unwrap().head, data: json!(null) };
    assert_eq!(kind_of(repo.end_turn(id, old, &end).await), Some(Kind::LeaseLost));
    assert_eq!(kind_of(repo.renew_session(id, old).await), Some(Kind::LeaseLost));
    repo.release_session(id, old).await.unwrap();
    assert_eq!(log(&repo, id).await.unwrap().len(), 1, "nothing was stored");
    assert_eq!(repo.session(&id.to_hex()).await.unwrap().lease, Some(new.clone()), "nor was anything released");
    repo.append_events(id, new.epoch, &[event("after")]).await.unwrap();
    assert_eq!(kind_of(repo.append_events(id, new.epoch + 1, &[event("x")]).await), Some(Kind::LeaseLost));
}

#[tokio::test]
async fn a_living_owner_keeps_the_session() {
    let (repo, clock) = repo().await;
    let (id, epoch) = session(&repo).await;
    for _ in 0..5 {
        clock.advance(SESSION_LEASE_TTL - SECOND);
        assert_eq!(kind_of(repo.take_session(id, "2", None).await), Some(Kind::Busy));
        repo.renew_session(id, epoch).await.unwrap();
        clock.advance(SESSION_LEASE_TTL - SECOND);
        repo.append_events(id, epoch, &[event(&clock.now().seconds.to_string())]).await.unwrap();
    }
    let refused = repo.take_session(id, "2", None).await.unwrap_err();
    assert!(refused.context().contains("1 on here"), "says who has it: {}", refused.context());
    assert_eq!(kind_of(repo.take_session(id, "2", Some(epoch + 1)).await), Some(Kind::Busy), "of another owner");
    assert_eq!(kind_of(repo.take_session(id, "", Some(epoch)).await), Some(Kind::Invalid));
    assert_eq!(repo.take_session(id, "2", Some(epoch)).await.unwrap().epoch, epoch + 1, "known to be dead");
    assert_eq!(kind_of(repo.take_session(id, "3", Some(epoch)).await), Some(Kind::Busy), "a proof is good once");
}

#[tokio::test]
async fn a_lease_that_is_given_back_is_free_at_once() {
    let (repo, _) = repo().await;
    let (id, epoch) = session(&repo).await;
    repo.release_session(id, epoch).await.unwrap();
    repo.release_session(id, epoch).await.unwrap();
    assert_eq!(repo.session(&id.to_hex()).await.unwrap().state, "open");
    assert_eq!(kind_of(repo.append_events(id, epoch, &[event("a")]).await), Some(Kind::LeaseLost));
    assert_eq!(kind_of(repo.renew_session(id, epoch).await), Some(Kind::LeaseLost));
    assert_eq!(repo.take_session(id, "2", None).await.unwrap().epoch, epoch + 1);
    let nobody = SessionId::from_bytes([9; 8]);
    assert_eq!(kind_of(repo.take_session(nobody, "2", None).await), Some(Kind::NotFound));
    assert_eq!(kind_of(repo.release_session(nobody, 1).await), Some(Kind::NotFound));
}

#[tokio::test]
async fn two_sessions_of_a_workspace_do_not_run_at_once() {
    let (repo, clock) = repo().await;
    let (first, epoch) = session(&repo).await;
    let second = repo.create_session(&new_session("w")).await.unwrap().id;
    let refused = repo.take_session(second, "2", None).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Busy);
    assert!(refused.context().contains("fork"), "{}", refused.context());
    repo.create_workspace("v", None, None).await.unwrap();
    let elsewhere = repo.create_session(&new_session("v")).await.unwrap().id;
    repo.take_session(elsewhere, "3", None).await.unwrap();
    // The first owner is frozen; the second takes the workspace; then the first wakes up.
    clock.advance(SESSION_LEASE_TTL);
    let taken = repo.take_session(second, "2", None).await.unwrap();
    assert_eq!(kind_of(repo.append_events(first, epoch, &[event("zombie")]).await), Some(Kind::LeaseLost));
    assert_eq!(kind_of(repo.renew_session(first, epoch).await), Some(Kind::LeaseLost));
    assert_eq!(log(&repo, first).await.unwrap(), []);
    repo.append_events(second, taken.epoch, &[event("a")]).await.unwrap();
    assert_eq!(kind_of(repo.take_session(first, "1", None).await), Some(Kind::Busy));
    repo.release_session(second, taken.epoch).await.unwrap();
    assert!(repo.take_session(first, "1", None).await.unwrap().epoch > epoch);
}

#[tokio::test]
async fn a_clock_that_jumps_lets_nobody_in_beside_the_owner_and_locks_nobody_out() {
    let (repo, clock) = repo().await;
    let (id, epoch) = session(&repo).await;
    let start = clock.now().as_nanos();
    let at = |seconds: i128| clock.set(Time::from_nanos(start + seconds * 1_000_000_000));
    // A small jump back: the owner is as young as before.
    at(-20);
    assert_eq!(kind_of(repo.take_session(id, "2", None).await), Some(Kind::Busy));
    // A large one: the lease must not live until the old time comes again.
    at(-86_400);
    assert_eq!(repo.session(&id.to_hex()).await.unwrap().state, "open");
    // The owner goes on all the same, and is young again.
    repo.append_events(id, epoch, &[event("a")]).await.unwrap();
    assert_eq!(kind_of(repo.take_session(id, "2", None).await), Some(Kind::Busy));
    // Forwards: somebody else may take it, and then the owner is out, whatever the clock says.
    at(86_400);
    let taken = repo.take_session(id, "2", None).await.unwrap();
    at(0);
    assert_eq!(kind_of(repo.append_events(id, epoch, &[event("b")]).await), Some(Kind::LeaseLost));
    repo.append_events(id, taken.epoch, &[event("c")]).await.unwrap();
    assert_eq!(log(&repo, id).await.unwrap().len(), 2);
}

#[tokio::test]
async fn many_takers_at_once_are_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let repo = reopen(folder.path(), &clock).await;
    let (id, epoch) = session(&repo).await;
    let takers = (0..8).map(|number| {
        let repo = repo.clone();
        async move { repo.take_session(id, &format!("taker {number}"), Some(epoch)).await }
    });
    let taken = futures::future::join_all(takers).await;
    let won: Vec<_> = taken.iter().flatten().collect();
    assert_eq!(won.len(), 1, "{taken:?}");
    assert!(taken.iter().filter_map(|taken| taken.as_ref().err()).all(|error| error.kind() == Kind::Busy));
}
