//! What repair keeps although it lacks something does not stop gc; a head that lacks something does.

use super::*;
use crate::gc::Surroundings;
use crate::gc::collector::{Collector, Phase};
use crate::id::SnapshotId;
use crate::repair::{RepairOptions, repair};

/// Two versions; the content of the first one is damaged in the bucket.
async fn damaged() -> (Repo, SnapshotId, ObjectId) {
    let (repo, _) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let first = mount.write("a", &[content(1, 5000)], note("one")).await.unwrap();
    mount.write("b", &[content(2, 5000)], note("two")).await.unwrap();
    repo.detach(&mount.lease).await.unwrap();
    let mut gone = Mount::new(&repo, "gone").await;
    gone.write("c", &[content(3, 5000)], note("three")).await.unwrap();
    repo.detach(&gone.lease).await.unwrap();
    repo.delete_workspace(gone.lease.workspace).await.unwrap();
    let chunk: ObjectId = repo.store().key().chunk_id(&content(1, 5000)).into();
    let location = repo.store().locate(&[chunk]).await.unwrap()[&chunk];
    let name = repo.store().pack_name(location.pack);
    let mut bytes = repo.store().bucket().get(&name).await.unwrap().to_vec();
    bytes[location.entry.offset as usize + 3] ^= 1;
    repo.store().bucket().delete(&name).await.unwrap();
    repo.store().bucket().create(&name, bytes.into()).await.unwrap();
    repo.store().forget_cached();
    (repo, first, chunk)
}

#[tokio::test]
async fn damage_that_repair_knows_does_not_stop_gc() {
    let (repo, _, chunk) = damaged().await;
    let report = repair(&repo, &RepairOptions { dry_run: false, salvage: None }, &silent).await.unwrap();
    assert!(!report.kept.is_empty() && !report.heads.is_empty(), "{report:?}");
    let head = repo.workspace("w").await.unwrap().head;
    let before = files(&repo, head).await.unwrap();
    for _ in 0..3 {
        repo.gc(DELETE_NOW, &silent).await.unwrap();
    }
    let garbage: ObjectId = repo.store().key().chunk_id(&content(3, 5000)).into();
    assert!(repo.store().locate(&[garbage]).await.unwrap().is_empty(), "gc works again");
    repo.store().forget_cached();
    assert_eq!(files(&repo, head).await.unwrap(), before);
    let workspace = repo.workspace("w").await.unwrap().id;
    for row in repo.history(workspace, true, 100).await.unwrap() {
        repo.snapshot(row.snapshot).await.unwrap();
    }
    // What was lost comes back with new content: it must live, although the damaged snapshot led nowhere there.
    let mut mount = Mount::new(&repo, "w").await;
    mount.write("back", &[content(1, 5000)], note("back")).await.unwrap();
    repo.detach(&mount.lease).await.unwrap();
    repo.gc(DELETE_NOW, &silent).await.unwrap();
    repo.store().forget_cached();
    assert_eq!(repo.store().read(chunk).await.unwrap(), content(1, 5000));
}

#[tokio::test]
async fn a_head_that_lacks_something_stops_gc() {
    let (repo, _, chunk) = damaged().await;
    // As repair would begin: the index does not know the object any more. But nobody has moved the head.
    let mut transaction = repo.database().begin().await.unwrap();
    let digits = hex::encode(chunk.hash);
    transaction.vandal(&format!("DELETE FROM objects WHERE hash = x'{digits}'")).await.unwrap();
    repo.database().commit(transaction).await.unwrap();
    let before = packs_in_bucket(&repo).await;
    let error = repo.gc(DELETE_NOW, &silent).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{}", error.chain());
    assert_eq!(packs_in_bucket(&repo).await, before);
}

/// What was marked with a gap is walked again from a head: it may be whole by then.
#[tokio::test]
async fn what_comes_back_below_a_known_gap_while_gc_sleeps_stays() {
    let (repo, first, chunk) = damaged().await;
    repair(&repo, &RepairOptions { dry_run: false, salvage: None }, &silent).await.unwrap();
    let mut sleeper = Collector::new(repo.store().clone(), DELETE_NOW, Surroundings::default());
    while sleeper.phase != Phase::Decide {
        sleeper.step(&silent).await.unwrap();
    }
    let other = repo.beside().await;
    let mut mount = Mount::new(&other, "short").await;
    mount.write("x", &[content(1, 5000)], note("back")).await.unwrap();
    other.detach(&mount.lease).await.unwrap();
    // From here on, only the snapshot that lacked it leads to it.
    other.create_workspace("fork", None, Some(first)).await.unwrap();
    other.delete_workspace(mount.lease.workspace).await.unwrap();
    while !sleeper.step(&silent).await.unwrap() {}
    repo.store().forget_cached();
    assert_eq!(repo.store().read(chunk).await.unwrap(), content(1, 5000));
    assert_eq!(files(&repo, first).await.unwrap(), [("a".to_owned(), content(1, 5000))]);
}
