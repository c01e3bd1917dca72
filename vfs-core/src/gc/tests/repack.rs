//! Repacking: what lives is moved, whoever looks on or dies meanwhile.

use super::*;
use crate::db::{Location, copies};
use crate::gc::Surroundings;
use crate::gc::collector::{Collector, Phase};
use crate::id::PackId;
use crate::repair::{RepairOptions, repair};

const REPACK: GcOptions = GcOptions { repack_below_percent: 60, ..DELETE_LATER };
const REPACK_NOW: GcOptions = GcOptions { repack_below_percent: 60, ..DELETE_NOW };

/// A workspace whose first pack of contents is mostly garbage; what lives in it, and the pack.
async fn mostly_garbage() -> (Repo, Arc<TestClock>, Mount, ObjectId, PackId) {
    let (repo, clock) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let chunks: Vec<_> = (0..10).map(|seed| content(seed, 4000)).collect();
    mount.write("big", &chunks, note("all")).await.unwrap();
    mount.write("small", &chunks[..1], note("one of them")).await.unwrap();
    mount.write("big", &[content(99, 100)], note("gone")).await.unwrap();
    let rules = crate::repo::RetentionRules { keep_last: Some(1), ..Default::default() };
    repo.set_retention(None, Some(rules)).await.unwrap();
    repo.detach(&mount.lease).await.unwrap();
    let chunk: ObjectId = repo.store().key().chunk_id(&chunks[0]).into();
    let pack = located(&repo, chunk).await.pack;
    // Young packs are left alone.
    clock.advance(HOUR);
    (repo, clock, mount, chunk, pack)
}

async fn located(repo: &Repo, id: ObjectId) -> Location {
    repo.store().locate(&[id]).await.unwrap()[&id]
}

fn collector(repo: &Repo, options: GcOptions) -> Collector {
    Collector::new(repo.store().clone(), options, Surroundings::default())
}

#[tokio::test]
async fn what_lives_is_copied_and_the_old_pack_goes_after_its_grace() {
    let (repo, clock, mount, chunk, old) = mostly_garbage().await;
    let before = located(&repo, chunk).await;
    let report = repo.gc(REPACK, &silent).await.unwrap();
    assert!(report.repacked_packs >= 1 && report.copied_bytes < report.repacked_bytes, "{report:?}");
    let after = located(&repo, chunk).await;
    assert_ne!(after.pack, old);
    let row = pack_rows(&repo).await.into_iter().find(|row| row.id == old).unwrap();
    assert!(row.emptied && row.condemned.is_some());
    repo.store().forget_cached();
    assert_eq!(repo.store().fetch(&[before]).await.remove(0).unwrap(), content(0, 4000), "whoever located it before");
    assert_eq!(repo.store().read(chunk).await.unwrap(), content(0, 4000));
    assert_sound(&repo).await;
    let garbage: ObjectId = repo.store().key().chunk_id(&content(5, 4000)).into();
    assert!(repo.store().locate(&[garbage]).await.unwrap().is_empty(), "nobody shall count on what goes");
    clock.advance(HOUR);
    assert!(repo.gc(REPACK, &silent).await.unwrap().deletable_packs >= 1);
    assert_eq!(repo.store().bucket().get(&repo.store().pack_name(old)).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(files(&repo, mount.base).await.unwrap().len(), 2);
    assert_sound(&repo).await;
}

#[tokio::test]
async fn without_grace_the_old_pack_goes_at_once() {
    let (repo, _, mount, _, old) = mostly_garbage().await;
    repo.gc(REPACK_NOW, &silent).await.unwrap();
    assert!(pack_rows(&repo).await.iter().all(|row| row.id != old && !row.emptied));
    assert_eq!(files(&repo, mount.base).await.unwrap().len(), 2);
    assert_eq!(packs_in_bucket(&repo).await, pack_rows(&repo).await.len());
    assert_sound(&repo).await;
}

#[tokio::test]
async fn a_publish_that_counted_on_an_emptied_pack_begins_again() {
    let (repo, _, _, chunk, old) = mostly_garbage().await;
    repo.gc(GcOptions { repack_below_percent: 0, ..REPACK }, &silent).await.unwrap();
    let other = repo.beside().await;
    let mut mount = Mount::new(&other, "w").await;
    // This engine pins nothing of what the other one counts on.
    mount.send("again", &[content(0, 4000), content(5, 4000)]).await.unwrap();
    let batch = other.batch();
    batch.add(ObjectKind::Chunk, content(0, 4000)).await.unwrap();
    let counted_on = batch.finish().await.unwrap();
    assert!(counted_on.contains(&old));
    assert!(repo.gc(REPACK, &silent).await.unwrap().repacked_packs >= 1);
    let mut transaction = repo.database().begin().await.unwrap();
    assert_eq!(crate::db::packs::revive(&mut transaction, &counted_on).await.unwrap_err().kind(), Kind::Conflict);
    drop(transaction);
    let snapshot = match mount.commit(note("again")).await {
        Ok(snapshot) => snapshot,
        Err(error) => {
            assert_eq!(error.kind(), Kind::Conflict);
            mount.write("again", &[content(0, 4000), content(5, 4000)], note("again")).await.unwrap()
        }
    };
    drop(batch);
    assert_ne!(located(&other, chunk).await.pack, old);
    assert!(files(&other, snapshot).await.unwrap().iter().any(|(name, _)| name == "again"));
    assert_sound(&other).await;
}

#[tokio::test]
async fn pinned_packs_are_not_repacked() {
    let (repo, _, _, chunk, old) = mostly_garbage().await;
    let batch = repo.batch();
    batch.add(ObjectKind::Chunk, content(0, 4000)).await.unwrap();
    batch.finish().await.unwrap();
    repo.gc(REPACK, &silent).await.unwrap();
    assert_eq!(located(&repo, chunk).await.pack, old);
    drop(batch);
    repo.gc(REPACK, &silent).await.unwrap();
    assert_ne!(located(&repo, chunk).await.pack, old);
}

#[tokio::test]
async fn a_publish_between_copying_and_moving_is_not_overlooked() {
    let (repo, _, _, _, old) = mostly_garbage().await;
    let garbage: ObjectId = repo.store().key().chunk_id(&content(5, 4000)).into();
    let mut gc = collector(&repo, REPACK);
    while gc.phase != Phase::Repack {
        gc.step(&silent).await.unwrap();
    }
    // The pack was chosen; now somebody uses again what nothing reached.
    let mut mount = Mount::new(&repo.beside().await, "w").await;
    let snapshot = mount.write("again", &[content(5, 4000)], note("just then")).await.unwrap();
    while !gc.step(&silent).await.unwrap() {}
    assert_eq!(located(&repo, garbage).await.pack, old, "its pack stays");
    repo.store().forget_cached();
    assert!(files(&repo, snapshot).await.unwrap().iter().any(|(name, _)| name == "again"));
    assert_sound(&repo).await;
}

#[tokio::test]
async fn a_pack_that_this_engine_counts_on_by_now_is_left_alone() {
    let (repo, _, _, chunk, old) = mostly_garbage().await;
    let mut gc = collector(&repo, REPACK);
    while gc.phase != Phase::Repack {
        gc.step(&silent).await.unwrap();
    }
    // The pack was chosen; now somebody builds on what lives in it.
    let batch = repo.batch();
    batch.add(ObjectKind::Chunk, content(0, 4000)).await.unwrap();
    let counted_on = batch.finish().await.unwrap();
    while !gc.step(&silent).await.unwrap() {}
    assert_eq!(located(&repo, chunk).await.pack, old);
    let mut transaction = repo.database().begin().await.unwrap();
    crate::db::packs::revive(&mut transaction, &counted_on).await.expect("its publish need not begin again");
}

#[tokio::test]
async fn a_pack_is_emptied_once_and_what_went_elsewhere_is_not_dropped_with_it() {
    let (repo, _, _, chunk, old) = mostly_garbage().await;
    repo.gc(REPACK, &silent).await.unwrap();
    let mut transaction = repo.database().begin().await.unwrap();
    assert!(!copies::empty(&mut transaction, old, repo.now()).await.unwrap());
    copies::drop_objects(&mut transaction, repo.store().tenant_number(), old, &[chunk]).await.unwrap();
    repo.database().commit(transaction).await.unwrap();
    assert_ne!(located(&repo, chunk).await.pack, old);
}

#[tokio::test]
async fn two_gcs_that_copy_the_same_pack_are_harmless() {
    let (repo, _, mount, chunk, old) = mostly_garbage().await;
    let other = repo.beside().await;
    let mut one = collector(&repo, REPACK);
    let mut two = collector(&other, REPACK);
    for gc in [&mut one, &mut two] {
        while gc.phase != Phase::Repack {
            gc.step(&silent).await.unwrap();
        }
    }
    while !one.step(&silent).await.unwrap() {}
    while !two.step(&silent).await.unwrap() {}
    assert_ne!(located(&repo, chunk).await.pack, old);
    assert!(one.report().repacked_packs >= 1 && two.report().repacked_packs == 0);
    assert_eq!(files(&repo, mount.base).await.unwrap().len(), 2);
    assert_sound(&repo).await;
}

#[tokio::test]
async fn a_row_that_points_elsewhere_by_now_is_left_alone() {
    let (repo, _) = repo().await;
    let bytes = [content(1, 900), content(2, 900)];
    let ids: Vec<ObjectId> = bytes.iter().map(|bytes| repo.store().key().chunk_id(bytes).into()).collect();
    let mut packs = Vec::new();
    for number in 0..3 {
        let mut writer = repo.store().new_pack(crate::pack::PackClass::Contents).unwrap();
        let which = if number == 1 { &bytes[1..] } else { &bytes[..] };
        for bytes in which {
            let id = repo.store().key().chunk_id(bytes).into();
            writer.push(id, &crate::pack::Stored::new(bytes).unwrap()).unwrap();
        }
        let (pack, bytes) = writer.finish().unwrap();
        repo.store().bucket().create(&repo.store().pack_name(pack.id), bytes).await.unwrap();
        packs.push(pack);
    }
    let (tenant, now) = (repo.store().tenant_number(), repo.now());
    let mut transaction = repo.database().begin().await.unwrap();
    crate::db::packs::register(&mut transaction, tenant, &packs[0], now).await.unwrap();
    // The second object has moved on to another pack already.
    let moved: std::collections::HashMap<_, _> = [(ids[1], packs[0].id)].into();
    assert_eq!(copies::register(&mut transaction, tenant, &packs[1], &moved, now).await.unwrap(), 1);
    let both: std::collections::HashMap<_, _> = ids.iter().map(|id| (*id, packs[0].id)).collect();
    assert_eq!(copies::register(&mut transaction, tenant, &packs[2], &both, now).await.unwrap(), 1);
    repo.database().commit(transaction).await.unwrap();
    assert_eq!((located(&repo, ids[0]).await.pack, located(&repo, ids[1]).await.pack), (packs[2].id, packs[1].id));
}

#[tokio::test]
async fn a_gc_that_is_killed_anywhere_is_finished_by_the_next() {
    for killed_after in 0..40 {
        let (repo, clock, mount, chunk, _) = mostly_garbage().await;
        let gone = Mount::new(&repo, "gone").await;
        repo.detach(&gone.lease).await.unwrap();
        repo.delete_workspace(gone.lease.workspace).await.unwrap();
        repo.gc(GcOptions { delete: false, ..REPACK }, &silent).await.unwrap();
        clock.advance(HOUR);
        let mut gc = collector(&repo, REPACK);
        let mut over = false;
        for _ in 0..killed_after {
            over |= gc.step(&silent).await.unwrap();
        }
        drop(gc);
        repo.store().forget_cached();
        assert_sound(&repo).await;
        assert_eq!(files(&repo, mount.base).await.unwrap().len(), 2, "after {killed_after}");
        for _ in 0..3 {
            clock.advance(HOUR);
            repo.gc(REPACK, &silent).await.unwrap();
        }
        assert_eq!(packs_in_bucket(&repo).await, pack_rows(&repo).await.len(), "after {killed_after}");
        assert!(pack_rows(&repo).await.iter().all(|row| row.condemned.is_none()), "after {killed_after}");
        assert_eq!(repo.store().read(chunk).await.unwrap(), content(0, 4000));
        if over {
            return;
        }
    }
    panic!("gc takes more steps than were tried");
}

#[tokio::test]
async fn what_a_killed_gc_left_dead_goes_without_waiting_again() {
    let (repo, clock, _) = repo_with_garbage().await;
    repo.gc(LOOK, &silent).await.unwrap();
    clock.advance(HOUR);
    let mut gc = collector(&repo, DELETE_LATER);
    while gc.phase != Phase::Delete {
        gc.step(&silent).await.unwrap();
    }
    drop(gc);
    assert!(packs_in_bucket(&repo).await > pack_rows(&repo).await.len(), "rows are gone, bytes are not");
    repo.gc(DELETE_LATER, &silent).await.unwrap();
    assert_eq!(packs_in_bucket(&repo).await, pack_rows(&repo).await.len());
}

#[tokio::test]
async fn a_dead_orphan_cannot_be_registered() {
    let (repo, clock) = repo().await;
    let other = repo.beside().await;
    // Another engine has uploaded a pack and sleeps.
    let mut writer = other.store().new_pack(crate::pack::PackClass::Contents).unwrap();
    let bytes = content(1, 900);
    writer.push(other.store().key().chunk_id(&bytes).into(), &crate::pack::Stored::new(&bytes).unwrap()).unwrap();
    let (pack, bytes) = writer.finish().unwrap();
    other.store().bucket().create(&other.store().pack_name(pack.id), bytes).await.unwrap();
    repo.gc(DELETE_LATER, &silent).await.unwrap();
    clock.advance(HOUR);
    let mut gc = collector(&repo, DELETE_LATER);
    while gc.phase != Phase::Bury {
        gc.step(&silent).await.unwrap();
    }
    let mut transaction = other.database().begin().await.unwrap();
    let refused = crate::db::orphans::refuse_dead(&mut transaction, pack.id).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Conflict, "gc may delete it at any time now");
    drop(transaction);
    while !gc.step(&silent).await.unwrap() {}
    let mut transaction = other.database().begin().await.unwrap();
    crate::db::orphans::forget(&mut transaction, pack.id).await.unwrap();
    assert_eq!(crate::db::orphans::refuse_dead(&mut transaction, pack.id).await.unwrap_err().kind(), Kind::Conflict);
}

/// Found by reading: a repair put the garbage of an emptied pack back into the index, and every publish that had it met a
/// conflict.
#[tokio::test]
async fn a_repair_takes_nothing_from_an_emptied_pack_that_a_publish_cannot_count_on() {
    let (repo, clock, mount, chunk, old) = mostly_garbage().await;
    repo.gc(REPACK, &silent).await.unwrap();
    assert!(pack_rows(&repo).await.iter().any(|row| row.id == old && row.emptied));
    repair(&repo, &RepairOptions::default(), &silent).await.unwrap();
    assert_eq!(repo.workspace("w").await.unwrap().head, mount.base, "nothing was lost");
    let mut other = Mount::new(&repo, "other").await;
    other.write("again", &[content(5, 4000), content(0, 4000)], note("from the emptied pack")).await.unwrap();
    clock.advance(HOUR * 2);
    repo.gc(REPACK, &silent).await.unwrap();
    clock.advance(HOUR * 2);
    repo.gc(REPACK, &silent).await.unwrap();
    repo.store().forget_cached();
    assert_eq!(repo.store().read(chunk).await.unwrap(), content(0, 4000));
    assert_eq!(files(&repo, other.base).await.unwrap()[0].1.len(), 8000);
    assert_sound(&repo).await;
}

/// Found by reading: a repair that was stopped between the index and the copies left rows in an emptied pack for ever.
#[tokio::test]
async fn rows_that_a_stopped_repair_left_in_an_emptied_pack_leave_it_with_the_next() {
    let (repo, _, _, _, old) = mostly_garbage().await;
    let garbage: ObjectId = repo.store().key().chunk_id(&content(5, 4000)).into();
    let entries = {
        let mut connection = repo.database().read().await.unwrap();
        crate::db::repairs::rows_of(&mut connection, repo.store().tenant_number(), old).await.unwrap()
    };
    repo.gc(REPACK, &silent).await.unwrap();
    let mut transaction = repo.database().begin().await.unwrap();
    for entry in entries.iter().filter_map(|row| row.entry) {
        crate::db::repairs::put_row(&mut transaction, repo.store().tenant_number(), old, &entry).await.unwrap();
    }
    repo.database().commit(transaction).await.unwrap();
    repo.store().forget_cached();
    assert_eq!(located(&repo, garbage).await.pack, old);
    repair(&repo, &RepairOptions::default(), &silent).await.unwrap();
    repo.store().forget_cached();
    assert_ne!(located(&repo, garbage).await.pack, old);
    let mut other = Mount::new(&repo, "other").await;
    other.write("again", &[content(5, 4000)], note("what was in the emptied pack")).await.unwrap();
    assert_sound(&repo).await;
}
