//! Reading from a remote bucket: the disk cache under a real store, readahead, packs that moved.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::bucket::Patience;
use crate::bucket::tests::flaky::{Fault, Flaky};
use crate::pack::{PackClass, Stored};

const MIB: usize = 1024 * 1024;

struct Remote {
    flaky: Arc<Flaky>,
    store: Store,
}

impl Remote {
    async fn new() -> Remote {
        let flaky = Arc::new(Flaky::default());
        let database = Database::in_memory().await.unwrap();
        let store = open(&flaky, database).await;
        Remote { flaky, store }
    }

    /// Another engine's view of the same bucket and database, with a cache in `folder`.
    async fn again(&self, folder: &Path) -> Store {
        let store = open(&self.flaky, self.store.database().clone()).await;
        store.cache_in(folder, 64 * MIB as u64).unwrap();
        store
    }

    async fn fill(&self, chunks: u64, length: usize) -> Vec<ObjectId> {
        let batch = self.store.batch();
        let mut ids = Vec::new();
        for seed in 0..chunks {
            ids.push(batch.add(ObjectKind::Chunk, content(seed, length)).await.unwrap());
        }
        batch.finish().await.unwrap();
        ids
    }
}

async fn open(flaky: &Arc<Flaky>, database: Database) -> Store {
    let clock = Arc::new(SystemClock);
    let tenant = TenantId::from_bytes([3; 16]);
    let mut transaction = database.begin().await.unwrap();
    let number = meta::tenant(&mut transaction, tenant, clock.now()).await.unwrap();
    database.commit(transaction).await.unwrap();
    let bucket = Bucket::from_store(flaky.clone(), "test:///").with_patience(Patience::NONE);
    let keys = TenantKeys::plain(tenant, IdKey::golden());
    Store::new(bucket, database, clock, number, keys, Chance::machine())
}

fn disk(store: &Store) -> DiskCacheStatistics {
    store.cache_statistics().disk.unwrap()
}

fn requests(store: &Store) -> u64 {
    store.bucket().requests().range
}

#[tokio::test]
async fn what_is_on_the_disk_is_not_asked_for_again_also_by_the_next_engine() {
    let (remote, folder) = (Remote::new().await, tempfile::tempdir().unwrap());
    let ids = remote.fill(20, 30_000).await;
    let store = remote.again(folder.path()).await;
    store.read_many(&ids).await.unwrap();
    let before = requests(&store);
    assert_eq!(store.read(ids[7]).await.unwrap(), content(7, 30_000));
    assert_eq!((requests(&store), disk(&store).hits, disk(&store).hit_bytes), (before, 1, 30_000));
    drop(store);
    let store = remote.again(folder.path()).await;
    for (seed, id) in ids.iter().enumerate() {
        assert_eq!(store.read(*id).await.unwrap(), content(seed as u64, 30_000));
    }
    assert!(disk(&store).hits >= 18, "only what shares a block with a hole may be fetched again: {:?}", disk(&store));
}

#[tokio::test]
async fn a_local_bucket_has_no_disk_cache() {
    let (store, folder) = (store().await, tempfile::tempdir().unwrap());
    store.cache_in(folder.path(), 1 << 30).unwrap();
    assert_eq!(store.cache_statistics().disk, None);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

fn flip_some_bits(folder: &Path, step: usize) {
    use std::os::unix::fs::FileExt;
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let opened = std::fs::File::options().read(true).write(true).open(file.path()).unwrap();
        let mut byte = [0];
        for at in (0..opened.metadata().unwrap().len()).step_by(step) {
            opened.read_exact_at(&mut byte, at).unwrap();
            opened.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
        }
    }
}

/// Bits of every kind of place are flipped: contents, compressed ones, what was a hole, the ends.
#[tokio::test]
async fn wrong_bytes_on_the_disk_are_never_served() {
    let (remote, folder) = (Remote::new().await, tempfile::tempdir().unwrap());
    let batch = remote.store.batch();
    let mut stored = Vec::new();
    for seed in 0..40 {
        let kind = [ObjectKind::Chunk, ObjectKind::Blob, ObjectKind::Tree, ObjectKind::Snapshot][seed as usize % 4];
        // Every other object compresses, so that damage also meets the decompressor.
        let bytes = if seed % 8 < 4 { content(seed, 9_000) } else { vec![seed as u8; 90_000].into() };
        stored.push((batch.add(kind, bytes.clone()).await.unwrap(), bytes));
    }
    batch.finish().await.unwrap();
    let ids: Vec<ObjectId> = stored.iter().map(|(id, _)| *id).collect();
    let store = remote.again(folder.path()).await;
    store.read_many(&ids).await.unwrap();
    for step in [701, 4099, 13] {
        flip_some_bits(folder.path(), step);
        store.forget_cached();
        let wrong = disk(&store).wrong;
        for (id, bytes) in &stored {
            assert_eq!(store.read(*id).await.unwrap(), *bytes);
        }
        assert!(disk(&store).wrong > wrong, "the damage was met");
        let wrong = disk(&store).wrong;
        store.forget_cached();
        store.read_many(&ids).await.unwrap();
        assert_eq!(disk(&store).wrong, wrong, "what was wrong was fetched anew");
    }
}

#[tokio::test]
async fn a_broken_cache_hurts_nobody() {
    let (remote, folder) = (Remote::new().await, tempfile::tempdir().unwrap());
    let ids = remote.fill(30, 10_000).await;
    let path = folder.path().join("cache");
    let store = remote.again(&path).await;
    store.read_many(&ids[..10]).await.unwrap();
    std::fs::remove_dir_all(&path).unwrap();
    for (seed, id) in ids.iter().enumerate() {
        assert_eq!(store.read(*id).await.unwrap(), content(seed as u64, 10_000));
    }
}

#[tokio::test]
async fn an_answer_with_wrong_bytes_is_asked_for_once_more() {
    let remote = Remote::new().await;
    let ids = remote.fill(3, 10_000).await;
    remote.flaky.next([Fault::Wrong]);
    assert_eq!(remote.store.read(ids[0]).await.unwrap(), content(0, 10_000));
    remote.flaky.next([Fault::Wrong, Fault::Wrong]);
    assert_eq!(remote.store.read(ids[0]).await.unwrap_err().kind(), Kind::Corrupt, "then it is damage");
}

#[tokio::test]
async fn objects_that_were_repacked_meanwhile_are_found_where_they_are() {
    let remote = Remote::new().await;
    let store = &remote.store;
    let ids = remote.fill(3, 10_000).await;
    let located = store.locate(&ids).await.unwrap();
    let stale: Vec<Location> = ids.iter().map(|id| located[id]).collect();
    // What gc does: a new pack with the same objects, the old one out of index and bucket.
    let mut writer = store.new_pack(PackClass::Contents).unwrap();
    for seed in 0..2 {
        writer.push(ids[seed as usize], &Stored::new(&content(seed, 10_000)).unwrap()).unwrap();
    }
    let old = stale[0].pack;
    let mut transaction = store.database().begin().await.unwrap();
    packs::remove(&mut transaction, &[old]).await.unwrap();
    let (pack, bytes) = writer.finish().unwrap();
    store.bucket().create(&store.pack_name(pack.id), bytes).await.unwrap();
    packs::register(&mut transaction, store.tenant_number(), &pack, store.now()).await.unwrap();
    store.database().commit(transaction).await.unwrap();
    store.bucket().delete(&store.pack_name(old)).await.unwrap();
    let results = store.fetch(&stale).await;
    assert_eq!(results[0].as_ref().unwrap(), &content(0, 10_000));
    assert_eq!(results[1].as_ref().unwrap(), &content(1, 10_000));
    assert_eq!(results[2].as_ref().unwrap_err().kind(), Kind::NotFound, "gc dropped it");
}

#[tokio::test]
async fn who_reads_on_finds_it_read_ahead() {
    let (remote, folder) = (Remote::new().await, tempfile::tempdir().unwrap());
    let ids = remote.fill(60, 256 * 1024).await;
    let store = remote.again(folder.path()).await;
    for (seed, id) in ids.iter().enumerate() {
        assert_eq!(store.read(*id).await.unwrap(), content(seed as u64, 256 * 1024));
    }
    let spans = store.cache_statistics().spans_read_ahead;
    assert!((3..=6).contains(&spans), "15 MiB in spans of 4: {spans}");
    assert!(requests(&store) <= 8, "60 chunks took {} requests", requests(&store));
    assert!(disk(&store).hits >= 56, "{:?}", disk(&store));
    let other = tempfile::tempdir().unwrap();
    let store = remote.again(other.path()).await;
    for index in [40, 3, 22, 9, 55, 31] {
        store.read(ids[index]).await.unwrap();
    }
    assert_eq!(store.cache_statistics().spans_read_ahead, 0, "who jumps about gets nothing read ahead");
}

#[tokio::test]
async fn reads_share_one_bound_of_memory() {
    let remote = Remote::new().await;
    let store = &remote.store;
    let ids = remote.fill(1, 10_000).await;
    let all = store.inner.reads.memory(u64::MAX).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(50), store.read(ids[0])).await;
    assert!(waiting.is_err(), "there was no memory left, but it was read");
    drop(all);
    store.read(ids[0]).await.unwrap();
}
