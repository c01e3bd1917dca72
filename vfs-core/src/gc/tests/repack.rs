//! Repacking, and several gcs that sleep between any two steps.

use super::*;
use crate::bucket::Bucket;
use crate::gc::Surroundings;
use crate::gc::collector::{Collector, Phase};
use crate::id::PackId;

const REPACK: GcOptions = GcOptions { repack_below_percent: 50, ..DELETE_LATER };

/// A pack of which a third is alive: the contents 1 (alive), 2 and 3 (garbage).
struct HalfDead {
    repo: Repo,
    clock: Arc<TestClock>,
    live: ObjectId,
    dead: ObjectId,
    pack: PackId,
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
    let (live, dead) = (id(1), id(2));
    let pack = repo.store().locate(&[live]).await.unwrap()[&live].pack;
    HalfDead { repo, clock, live, dead, pack }
}

/// Another engine of the same repo.
async fn another(repo: &Repo, clock: &Arc<TestClock>) -> Repo {
    Repo::open_with(repo.database().clone(), repo.store().bucket().clone(), clock.clone()).await.unwrap()
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

async fn is_in_bucket(bucket: &Bucket, name: &str) -> bool {
    bucket.get(name).await.is_ok()
}

async fn write(repo: &Repo, workspace: &str, chunks: &[bytes::Bytes]) -> crate::id::SnapshotId {
    let mut mount = Mount::new(repo, workspace).await;
    let snapshot = mount.write("again", chunks, note("again")).await.unwrap();
    repo.detach(&mount.lease).await.unwrap();
    snapshot
}

#[tokio::test]
async fn what_lives_in_a_half_dead_pack_is_copied_and_the_pack_goes_later() {
    let HalfDead { repo, clock, live, dead, pack } = half_dead().await;
    let report = repo.gc(REPACK, &silent).await.unwrap();
    assert!(report.repacked_packs >= 1 && report.copied_bytes > 9000, "{report:?}");
    assert!(report.copied_bytes < report.repacked_bytes, "{report:?}");
    assert_ne!(repo.store().locate(&[live]).await.unwrap()[&live].pack, pack);
    assert!(repo.store().locate(&[dead]).await.unwrap().is_empty());
    let row = pack_rows(&repo).await.into_iter().find(|row| row.id == pack).unwrap();
    assert!(row.emptied && row.condemned.is_some());
    let name = repo.store().pack_name(pack);
    assert!(is_in_bucket(repo.store().bucket(), &name).await, "somebody may read there just now");
    assert_sound(&repo).await;
    clock.advance(HOUR);
    repo.gc(REPACK, &silent).await.unwrap();
    assert!(!is_in_bucket(repo.store().bucket(), &name).await);
    assert_sound(&repo).await;
    let head = repo.workspace("kept").await.unwrap().head;
    assert_eq!(files(&repo, head).await.unwrap(), [("b".to_owned(), content(1, 9000))]);
    let again = repo.gc(REPACK, &silent).await.unwrap();
    assert_eq!((again.repacked_packs, again.unreachable_objects), (0, 0), "{again:?}");
}

#[tokio::test]
async fn a_publish_that_counted_on_an_emptied_pack_begins_again() {
    let HalfDead { repo, clock, dead, .. } = half_dead().await;
    let writer = another(&repo, &clock).await;
    let mut mount = Mount::new(&writer, "other").await;
    mount.send("x", &[content(2, 9000)]).await.unwrap();
    assert!(repo.gc(REPACK, &silent).await.unwrap().repacked_packs > 0, "it knows nothing of the other one's pins");
    let error = mount.commit(note("too late")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{}", error.chain());
    mount.send("x", &[content(2, 9000)]).await.unwrap();
    mount.commit(note("again")).await.unwrap();
    assert_eq!(repo.store().read(dead).await.unwrap(), content(2, 9000));
    assert_sound(&repo).await;
}

#[tokio::test]
async fn a_repack_that_slept_takes_nothing_that_lives_again() {
    let HalfDead { repo, clock, live, dead, .. } = half_dead().await;
    let mut sleeper = start(&repo, REPACK);
    until(&mut sleeper, Phase::Repack).await;
    let other = another(&repo, &clock).await;
    assert!(other.gc(REPACK, &silent).await.unwrap().repacked_packs > 0);
    // Garbage when the sleeper looked; another pack holds it now.
    let snapshot = write(&other, "other", &[content(2, 9000)]).await;
    while !sleeper.step(&silent).await.unwrap() {}
    assert_eq!(repo.store().read(dead).await.unwrap(), content(2, 9000));
    assert_eq!(repo.store().read(live).await.unwrap(), content(1, 9000));
    assert_eq!(files(&repo, snapshot).await.unwrap()[0].1, content(2, 9000));
    assert_sound(&repo).await;
}

#[tokio::test]
async fn what_a_publish_makes_alive_while_a_repack_sleeps_is_not_left_behind() {
    let HalfDead { repo, clock, dead, .. } = half_dead().await;
    let mut sleeper = start(&repo, REPACK);
    until(&mut sleeper, Phase::Repack).await;
    // It reuses the pack that the sleeper is about to empty.
    let other = another(&repo, &clock).await;
    write(&other, "other", &[content(2, 9000)]).await;
    while !sleeper.step(&silent).await.unwrap() {}
    repo.store().forget_cached();
    assert_eq!(repo.store().read(dead).await.unwrap(), content(2, 9000));
    assert_sound(&repo).await;
}

#[tokio::test]
async fn a_gc_that_slept_before_it_deletes_takes_no_pack_that_is_needed() {
    for phase in [Phase::Mark, Phase::Weigh, Phase::Decide, Phase::Delete, Phase::Judge, Phase::Bury, Phase::Prune] {
        let HalfDead { repo, clock, .. } = half_dead().await;
        repo.gc(DELETE_LATER, &silent).await.unwrap();
        clock.advance(HOUR * 2);
        let mut sleeper = start(&repo, GcOptions { grace: Duration::ZERO, ..REPACK });
        until(&mut sleeper, phase).await;
        // Meanwhile: a whole gc of another engine, a publish that uses garbage again, a fork, a deletion.
        let other = another(&repo, &clock).await;
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
        let HalfDead { repo, clock, .. } = half_dead().await;
        write(&repo, "short", &[content(60, 4000)]).await;
        let mut sleeper = start(&repo, REPACK);
        until(&mut sleeper, phase).await;
        let other = another(&repo, &clock).await;
        other.delete_workspace(other.workspace("short").await.unwrap().id).await.unwrap();
        other.gc(DELETE_NOW, &silent).await.unwrap();
        while !sleeper.step(&silent).await.unwrap() {}
        assert_sound(&repo).await;
    }
}

#[tokio::test]
async fn an_orphan_is_dead_before_it_is_deleted() {
    let HalfDead { repo, clock, .. } = half_dead().await;
    let mut writer = repo.store().new_pack(crate::pack::PackClass::Contents).unwrap();
    let bytes = content(77, 900);
    let object = repo.store().key().object_id(ObjectKind::Chunk, &bytes);
    writer.push(object, &crate::pack::Stored::new(&bytes).unwrap()).unwrap();
    let (pack, bytes) = writer.finish().unwrap();
    let name = repo.store().pack_name(pack.id);
    repo.store().bucket().create(&name, bytes).await.unwrap();
    repo.gc(DELETE_LATER, &silent).await.unwrap();
    clock.advance(HOUR);
    let mut sleeper = start(&repo, DELETE_LATER);
    until(&mut sleeper, Phase::Bury).await;
    // Its writer wakes up first, and must be told.
    let mut transaction = repo.database().begin().await.unwrap();
    let refused = crate::db::orphans::refuse_dead(&mut transaction, pack.id).await;
    drop(transaction);
    assert_eq!(refused.unwrap_err().kind(), Kind::Conflict);
    while !sleeper.step(&silent).await.unwrap() {}
    assert!(!is_in_bucket(repo.store().bucket(), &name).await);
    let mut transaction = repo.database().begin().await.unwrap();
    let later = crate::db::orphans::refuse_dead(&mut transaction, pack.id).await;
    assert_eq!(later.unwrap_err().kind(), Kind::Conflict, "for ever");
}
