//! Batches: bounded, streamed, in order, and none the worse for errors and callers that go away.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Waker};

use super::*;
use crate::keys::DataKey;
use crate::limits::{BATCH_PENDING_OBJECTS, PACK_TARGET, UPLOAD_PART};

fn tenant() -> TenantId {
    TenantId::from_bytes([3; 16])
}

async fn store_in(bucket: Bucket, keys: TenantKeys) -> Store {
    store_on(Database::in_memory().await.unwrap(), bucket, keys).await
}

async fn store_on(database: Database, bucket: Bucket, keys: TenantKeys) -> Store {
    let clock = Arc::new(SystemClock);
    let mut transaction = database.begin().await.unwrap();
    let number = meta::tenant(&mut transaction, tenant(), clock.now()).await.unwrap();
    database.commit(transaction).await.unwrap();
    // The first pack is 0101…, the second 0202… and so on.
    let next = AtomicU8::new(1);
    let chance = Chance::new(move |bytes| {
        bytes.fill(next.fetch_add(1, Ordering::Relaxed));
        Ok(())
    });
    Store::new(bucket, database, clock, number, keys, chance)
}

/// A bucket in a folder, and the folder of its packs.
async fn store_in_folder() -> (tempfile::TempDir, std::path::PathBuf, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = store_in(Bucket::folder(folder.path()).unwrap(), keys(tenant())).await;
    let packs = folder.path().join(store.pack_folder());
    (folder, packs, store)
}

fn sealing_keys() -> TenantKeys {
    TenantKeys::new(tenant(), IdKey::golden(), vec![DataKey::new(1, [0x4b; 32])])
}

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn what_a_batch_remembers_does_not_grow_with_what_is_added() {
    let store = store_in(Bucket::memory(), keys(tenant())).await;
    let batch = store.batch();
    let mut most = 0;
    let mut ids = Vec::new();
    for seed in 0..150 {
        ids.push(batch.add(ObjectKind::Chunk, content(seed, MIB)).await.unwrap());
        most = most.max(batch.known());
    }
    assert!(most <= PACK_TARGET as usize / MIB + 3 * 9, "{most} objects were remembered");
    // What the index has is added again without being stored again.
    assert_eq!(batch.add(ObjectKind::Chunk, content(0, MIB)).await.unwrap(), ids[0]);
    batch.finish().await.unwrap();
    assert_eq!(batch.known(), 0);
    assert_eq!(store.bucket().list(&store.pack_folder()).await.unwrap().len(), 3);
    assert_eq!(store.read_many(&ids[63..66]).await.unwrap()[1], content(64, MIB));
}

#[tokio::test]
async fn whoever_adds_too_much_waits_for_a_slow_index() {
    const ADDERS: usize = 8;
    let store = store_in(Bucket::memory(), keys(tenant())).await;
    let batch = Arc::new(store.batch());
    // In memory there is one connection only: as long as this one is held, nothing can be looked up.
    let held = store.database().begin().await.unwrap();
    let adders = (0..ADDERS).map(|adder| {
        let batch = batch.clone();
        tokio::spawn(async move {
            for number in 0..400 {
                batch.add(ObjectKind::Chunk, content((adder * 1000 + number) as u64, 100)).await.unwrap();
            }
        })
    });
    let adders: Vec<_> = adders.collect();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let known = batch.known();
    // One load is being looked up, the other waits, and each adder may come with one more.
    let loads = BATCH_PENDING_OBJECTS * 2;
    assert!((loads..=loads + ADDERS).contains(&known), "{known} are remembered");
    drop(held);
    futures::future::try_join_all(adders).await.unwrap();
    batch.finish().await.unwrap();
    assert_eq!((batch.known(), batch.counts()), (0, (ADDERS as u64 * 400, 0)));
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![folder.to_owned()] };
    entries.flat_map(|entry| files(&entry.unwrap().path())).collect()
}

#[tokio::test]
async fn a_pack_is_on_its_way_before_it_is_full() {
    let (_folder, packs, store) = store_in_folder().await;
    let batch = store.batch();
    for seed in 0..40 {
        batch.add(ObjectKind::Chunk, content(seed, MIB)).await.unwrap();
    }
    assert!(store.bucket().list(&store.pack_folder()).await.unwrap().is_empty(), "nobody sees half a pack");
    let sent = std::fs::metadata(&files(&packs)[0]).unwrap().len();
    assert!(sent >= UPLOAD_PART as u64, "{sent} bytes are there");
    let packs = batch.finish().await.unwrap();
    assert_eq!(packs.len(), 1);
    assert_eq!(store.bucket().list(&store.pack_folder()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn in_an_encrypted_repo_all_is_readable_and_nothing_visible() {
    let store = store_in(Bucket::memory(), sealing_keys()).await;
    let batch = store.batch();
    let mut added = Vec::new();
    for seed in 0..1200u64 {
        let kind = if seed % 2 == 0 { ObjectKind::Chunk } else { ObjectKind::Tree };
        let bytes = Bytes::from(format!("a secret of number {seed} ").repeat(1 + seed as usize % 7));
        added.push((batch.add(kind, bytes.clone()).await.unwrap(), bytes));
    }
    batch.finish().await.unwrap();
    let ids: Vec<ObjectId> = added.iter().map(|(id, _)| *id).collect();
    let read = store.read_many(&ids).await.unwrap();
    assert!(added.iter().zip(read).all(|((_, expected), read)| *expected == read));
    for listed in store.bucket().list("t").await.unwrap() {
        let bytes = store.bucket().get(&listed.name).await.unwrap();
        assert!(!bytes.windows(8).any(|window| window == b"a secret"));
    }
    let located = store.locate(&ids[..1]).await.unwrap();
    assert!(located[&ids[0]].entry.sealed);
}

#[tokio::test]
async fn an_object_in_an_open_pack_can_be_read_and_contents_come_before_trees() {
    let store = store_in(Bucket::memory(), keys(tenant())).await;
    let batch = store.batch();
    let mut ids = Vec::new();
    for seed in 0..3 * BATCH_PENDING_OBJECTS as u64 {
        let kind = if seed % 2 == 0 { ObjectKind::Chunk } else { ObjectKind::Tree };
        ids.push(batch.add(kind, content(seed, 40)).await.unwrap());
    }
    assert!(store.locate(&ids).await.unwrap().is_empty(), "all is on its way");
    assert_eq!(batch.read(ids[1]).await.unwrap(), content(1, 40));
    let located = store.locate(&ids[..2]).await.unwrap();
    assert_eq!(located.len(), 2, "the contents that were packed before the tree are there too");
    assert_eq!(batch.read_many(&ids).await.unwrap().len(), ids.len());
    let packs = batch.finish().await.unwrap();
    assert_eq!(store.pins().all(), packs.into_iter().collect());
}

#[tokio::test]
async fn a_pack_that_gc_declared_dead_is_a_conflict() {
    let store = store_in(Bucket::memory(), keys(tenant())).await;
    let mut transaction = store.database().begin().await.unwrap();
    let dead = format!("INSERT INTO orphans (pack, seen, dead) VALUES (x'{}', 0, 1)", "01".repeat(32));
    transaction.vandal(&dead).await.unwrap();
    store.database().commit(transaction).await.unwrap();
    let batch = store.batch();
    let id = batch.add(ObjectKind::Chunk, content(1, 1000)).await.unwrap();
    assert_eq!(batch.finish().await.unwrap_err().kind(), Kind::Conflict);
    assert!(store.locate(&[id]).await.unwrap().is_empty());
    // Begun again, it gets another name.
    let again = store.batch();
    again.add(ObjectKind::Chunk, content(1, 1000)).await.unwrap();
    assert_eq!(again.finish().await.unwrap().first(), Some(&PackId::from_bytes([2; 32])));
}

#[tokio::test]
async fn a_small_pack_can_be_tried_again_and_a_streamed_one_begins_again() {
    let (folder, packs, store) = store_in_folder().await;
    // Where the folder of the packs should be is a file.
    std::fs::create_dir_all(packs.parent().unwrap()).unwrap();
    std::fs::write(&packs, "in the way").unwrap();
    let small = store.batch();
    let id = small.add(ObjectKind::Chunk, content(1, 1000)).await.unwrap();
    small.finish().await.unwrap_err();
    let large = store.batch();
    let mut failed = None;
    for seed in 10..60 {
        failed = failed.or(large.add(ObjectKind::Chunk, content(seed, MIB)).await.err());
    }
    assert!(failed.is_some() && large.is_broken() && !small.is_broken());
    std::fs::remove_file(&packs).unwrap();
    small.finish().await.unwrap();
    assert_eq!(store.read(id).await.unwrap(), content(1, 1000));
    assert_eq!(large.finish().await.unwrap_err().kind(), Kind::Unavailable);
    assert!(large.add(ObjectKind::Chunk, content(99, MIB)).await.is_ok() || large.is_broken());
    drop(folder);
}

/// Polls so many times, then lets go.
async fn poll_and_drop<T>(work: impl Future<Output = T>, times: usize) -> bool {
    let mut work = pin!(work);
    for _ in 0..times {
        if work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    false
}

#[tokio::test]
async fn a_caller_that_goes_away_at_any_moment_loses_nothing() {
    let mut times = 0;
    loop {
        // On disk: a database in memory is gone with a connection that was dropped in the middle of a statement.
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).await.unwrap();
        let store = store_on(database, Bucket::memory(), sealing_keys()).await;
        let batch = store.batch();
        let mut ids = Vec::new();
        for seed in 0..300 {
            let kind = if seed % 3 == 0 { ObjectKind::Tree } else { ObjectKind::Chunk };
            ids.push(batch.add(kind, content(seed, 500)).await.unwrap());
        }
        let done = poll_and_drop(batch.finish(), times).await;
        let packs = batch.finish().await.unwrap();
        assert!(!batch.is_broken());
        assert_eq!(packs.len(), 2, "after {times} polls");
        let expected: Vec<Bytes> = (0..300).map(|seed| content(seed, 500)).collect();
        assert_eq!(store.read_many(&ids).await.unwrap(), expected, "after {times} polls");
        if done {
            break;
        }
        times += 1;
    }
    assert!(times > 3, "it was cut off at {times} places");
}

#[tokio::test]
async fn many_add_at_once() {
    let store = store_in(Bucket::memory(), sealing_keys()).await;
    let batch = Arc::new(store.batch());
    let adders = (0..8u64).map(|adder| {
        let batch = batch.clone();
        tokio::spawn(async move {
            for seed in 0..400 {
                // Half of them are everybody's.
                let seed = if seed % 2 == 0 { seed } else { adder * 1000 + seed };
                let id = batch.add(ObjectKind::Chunk, content(seed, 20_000)).await.unwrap();
                if seed % 50 == 0 {
                    assert_eq!(batch.read(id).await.unwrap(), content(seed, 20_000));
                }
            }
        })
    });
    futures::future::try_join_all(adders).await.unwrap();
    batch.finish().await.unwrap();
    for seed in (0..400).step_by(2).chain((0..8).map(|adder| adder * 1000 + 399)) {
        let id = store.key().object_id(ObjectKind::Chunk, &content(seed, 20_000));
        assert_eq!(store.read(id).await.unwrap(), content(seed, 20_000));
    }
}
