//! Statistics, and bundles for what is attached again and again.

use super::*;
use crate::bucket::tests::flaky::Flaky;
use crate::bucket::{Bucket, Patience};
use crate::store::bundles;

async fn remote(folder: &std::path::Path, flaky: &Arc<Flaky>) -> Repo {
    let database = Database::open(&folder.join("esker.db")).await.unwrap();
    let bucket = Bucket::from_store(flaky.clone(), "test:///").with_patience(Patience::NONE);
    super::super::open::assemble(database, bucket, "memory:///", TestClock::new(), None).await.unwrap()
}

async fn attach(repo: &Repo) -> Attached {
    repo.attach(repo.workspace("w").await.unwrap().id, holder(1), &who(1)).await.unwrap()
}

async fn wait_for_bundle(repo: &Repo, snapshot: SnapshotId) {
    for _ in 0..500 {
        if bundles::list(repo.store()).await.unwrap().iter().any(|(id, _)| *id == snapshot) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no bundle was written");
}

/// Requests that a cold engine makes to attach and read the root.
async fn requests_of_attach(folder: &std::path::Path, flaky: &Arc<Flaky>) -> u64 {
    let repo = remote(folder, flaky).await;
    let before = repo.store().bucket().requests();
    let attached = attach(&repo).await;
    let Body::Directory(root) = attached.snapshot.root.body else { panic!("the root is a directory") };
    repo.trees(&[root.tree]).await.unwrap();
    let after = repo.store().bucket().requests();
    (after.get + after.range) - (before.get + before.range)
}

#[tokio::test]
async fn what_is_attached_again_comes_with_one_request() {
    let (folder, flaky) = (tempfile::tempdir().unwrap(), Arc::new(Flaky::default()));
    let snapshot = {
        let repo = remote(folder.path(), &flaky).await;
        let mut mount = Mount::new(&repo, "w").await;
        mount.write("a", &[content(1, 5000)], note("one")).await.unwrap()
    };
    assert!(requests_of_attach(folder.path(), &flaky).await >= 2);
    let repo = remote(folder.path(), &flaky).await;
    assert!(bundles::list(repo.store()).await.unwrap().is_empty(), "once is not often");
    attach(&repo).await;
    wait_for_bundle(&repo, snapshot).await;
    attach(&repo).await;
    drop(repo);
    assert_eq!(requests_of_attach(folder.path(), &flaky).await, 1);
    // Damaged: nobody notices but the counter, and it is made anew.
    let repo = remote(folder.path(), &flaky).await;
    let name = format!("t/{}/bundles/{snapshot}.pack", repo.tenant());
    let good = repo.store().bucket().get(&name).await.unwrap();
    for at in (0..good.len()).step_by(7) {
        let mut bytes = good.to_vec();
        bytes[at] ^= 4;
        repo.store().bucket().delete(&name).await.unwrap();
        repo.store().bucket().create(&name, bytes.into()).await.unwrap();
        assert!(bundles::read(repo.store(), snapshot).await.is_err(), "byte {at} was changed");
    }
    assert_eq!(attach(&repo).await.head, snapshot);
    assert!(bundles::list(repo.store()).await.unwrap().is_empty());
    repo.store().forget_cached();
    attach(&repo).await;
    wait_for_bundle(&repo, snapshot).await;
    bundles::remove(repo.store(), snapshot).await.unwrap();
    repo.store().forget_cached();
    assert_eq!(attach(&repo).await.head, snapshot, "a missing bundle is no error");
}

#[tokio::test]
async fn statistics_add_up() {
    let (repo, clock) = repo().await;
    assert_eq!(repo.statistics().await.unwrap().dedup_ratio(), None);
    let mut mount = Mount::new(&repo, "w").await;
    mount.write("a", &[content(1, 100_000), content(2, 50_000)], note("one")).await.unwrap();
    repo.create_workspace("fork", None, Some(mount.base)).await.unwrap();
    let statistics = repo.statistics().await.unwrap();
    assert_eq!((statistics.heads.snapshots, statistics.heads.bytes, statistics.heads.entries), (2, 300_000, 2));
    assert_eq!(statistics.kept.unwrap().bytes, 150_000, "each snapshot once");
    let chunks = statistics.objects.iter().find(|kind| kind.kind == "chunk").unwrap();
    assert_eq!((chunks.objects, chunks.unique_bytes), (2, 150_000));
    let listed = repo.store().bucket().list("t").await.unwrap();
    let packs: u64 = listed.iter().filter(|object| object.name.ends_with(".pack")).map(|object| object.size).sum();
    assert_eq!(statistics.pack_bytes, packs);
    assert!(statistics.stored_bytes < packs && statistics.requests.create > 0);
    assert_eq!(statistics.last_gc, None);
    let options = GcOptions { grace: Duration::ZERO, ..GcOptions::default() };
    let report = repo.gc(options, &|_| {}).await.unwrap();
    let recent = repo.recent_statistics(Duration::from_secs(30)).await.unwrap();
    assert_eq!(recent.last_gc, None, "a moment old");
    assert!(recent.requests.list > statistics.requests.list, "counters are never old");
    clock.advance(Duration::from_secs(31));
    let last = repo.recent_statistics(Duration::from_secs(30)).await.unwrap().last_gc.unwrap();
    assert_eq!(last.report, report);
}
