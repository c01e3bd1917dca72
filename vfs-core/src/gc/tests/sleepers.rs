//! A gc that sleeps before one of its steps, while another engine collects, publishes, forks and deletes.

use super::*;
use crate::gc::Surroundings;
use crate::gc::collector::{Collector, Phase};

const REPACK: GcOptions = GcOptions { repack_below_percent: 50, ..DELETE_LATER };

/// A pack of which a third is alive: the contents 1 (alive), 2 and 3 (garbage).
struct HalfDead {
    repo: Repo,
    clock: Arc<TestClock>,
    dead: ObjectId,
}

async fn half_dead() -> HalfDead {
    let (repo, clock) = repo().await;
    let mut gone = Mount::new(&repo, "gone").await;
    gone.write("a", &[content(1, 9000), content(2, 9000), content(3, 9000)], note("one")).await.unwrap();
    repo.detach(&gone.lease).await.unwrap();
    let mut kept = Mount::new(&repo, "kept").await;
    kept.write("b", &[content(1, 9000)], note("two")).await.unwrap();
    repo.detach(&kept.lease).await.unwrap();
    repo.delete_workspace(gone.lease.workspace).await.unwrap();
    let id = |seed| ObjectId::from(repo.store().key().chunk_id(&content(seed, 9000)));
    let dead = id(2);
    HalfDead { repo, clock, dead }
}

fn start(repo: &Repo, options: GcOptions) -> Collector {
    Collector::new(repo.store().clone(), options, Surroundings::default())
}

/// Goes on until this phase is next.
async fn until(collector: &mut Collector, phase: Phase) {
    while collector.phase != phase {
        assert!(!collector.step(&silent).await.unwrap(), "it never came to {phase:?}");
    }
}

async fn write(repo: &Repo, workspace: &str, chunks: &[bytes::Bytes]) -> crate::id::SnapshotId {
    let mut mount = Mount::new(repo, workspace).await;
    let snapshot = mount.write("again", chunks, note("again")).await.unwrap();
    repo.detach(&mount.lease).await.unwrap();
    snapshot
}

#[tokio::test]
async fn what_a_publish_makes_alive_while_a_repack_sleeps_is_not_left_behind() {
    let HalfDead { repo, dead, .. } = half_dead().await;
    let mut sleeper = start(&repo, REPACK);
    until(&mut sleeper, Phase::Repack).await;
    // It reuses the pack that the sleeper is about to empty.
    let other = repo.beside().await;
    write(&other, "other", &[content(2, 9000)]).await;
    while !sleeper.step(&silent).await.unwrap() {}
    repo.store().forget_cached();
    assert_eq!(repo.store().read(dead).await.unwrap(), content(2, 9000));
    assert_sound(&repo).await;
}

#[tokio::test]
async fn a_gc_that_slept_before_it_deletes_takes_no_pack_that_is_needed() {
    for phase in [
        Phase::Mark,
        Phase::Weigh,
        Phase::Decide,
        Phase::Delete,
        Phase::Judge,
        Phase::Bury,
        Phase::Repack,
        Phase::Prune,
    ] {
        let HalfDead { repo, clock, .. } = half_dead().await;
        repo.gc(DELETE_LATER, &silent).await.unwrap();
        clock.advance(HOUR * 2);
        let mut sleeper = start(&repo, GcOptions { grace: Duration::ZERO, ..REPACK });
        until(&mut sleeper, phase).await;
        // Meanwhile: a whole gc of another engine, a publish that uses garbage again, a fork, a deletion.
        let other = repo.beside().await;
        let snapshot = write(&other, "other", &[content(2, 9000), content(50, 700)]).await;
        other.create_workspace("fork", None, Some(snapshot)).await.unwrap();
        let id = other.workspace("other").await.unwrap().id;
        other.delete_workspace(id).await.unwrap();
        other.gc(GcOptions { grace: Duration::ZERO, ..REPACK }, &silent).await.unwrap();
        write(&other, "third", &[content(3, 9000)]).await;
        while !sleeper.step(&silent).await.unwrap() {}
        repo.store().forget_cached();
        assert_eq!(files(&repo, snapshot).await.unwrap().len(), 1, "{phase:?}");
        assert_sound(&repo).await;
    }
}

/// The snapshot of a workspace that is deleted and collected while the other one marks is no damage.
#[tokio::test]
async fn what_another_gc_took_while_this_one_marked_is_no_damage() {
    for phase in [Phase::Weigh, Phase::Decide] {
        let HalfDead { repo, .. } = half_dead().await;
        write(&repo, "short", &[content(60, 4000)]).await;
        let mut sleeper = start(&repo, REPACK);
        until(&mut sleeper, phase).await;
        let other = repo.beside().await;
        other.delete_workspace(other.workspace("short").await.unwrap().id).await.unwrap();
        other.gc(DELETE_NOW, &silent).await.unwrap();
        while !sleeper.step(&silent).await.unwrap() {}
        assert_sound(&repo).await;
    }
}
