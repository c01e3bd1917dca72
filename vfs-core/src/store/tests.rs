//! The store on its own: what goes in comes out, damage is found, nothing is stored twice.

mod batches;
mod remote;

use std::collections::HashSet;

use super::*;
use crate::clock::SystemClock;
use crate::db::{Database, meta};
use crate::objects::NewObjects;
use crate::pack::{PackClass, PackWriter, Stored};

pub(crate) async fn store() -> Store {
    let database = Database::in_memory().await.unwrap();
    let tenant = TenantId::from_bytes([3; 16]);
    let clock = Arc::new(SystemClock);
    let mut transaction = database.begin().await.unwrap();
    let number = meta::tenant(&mut transaction, tenant, clock.now()).await.unwrap();
    database.commit(transaction).await.unwrap();
    Store::new(Bucket::memory(), database, clock, number, keys(tenant), Chance::machine())
}

fn keys(tenant: TenantId) -> TenantKeys {
    TenantKeys::plain(tenant, IdKey::golden())
}

fn content(seed: u64, length: usize) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    let mut bytes = vec![0; length];
    hasher.finalize_xof().fill(&mut bytes);
    bytes.into()
}

#[tokio::test]
async fn objects_are_readable_at_once_and_after_finish() {
    let store = store().await;
    let batch = store.batch();
    let mut added = Vec::new();
    for seed in 0..2000 {
        let kind = [ObjectKind::Chunk, ObjectKind::Blob, ObjectKind::Tree, ObjectKind::Snapshot][seed as usize % 4];
        let bytes = content(seed, seed as usize * 7 % 3000);
        let id = batch.add(kind, bytes.clone()).await.unwrap();
        assert_eq!(batch.read(id).await.unwrap(), bytes);
        added.push((id, bytes));
    }
    let ids: Vec<_> = added.iter().map(|(id, _)| *id).collect();
    let expected: Vec<_> = added.iter().map(|(_, bytes)| bytes.clone()).collect();
    assert_eq!(batch.read_many(&ids).await.unwrap(), expected);
    assert!(store.read_many(&ids).await.is_err());
    let packs = batch.finish().await.unwrap();
    assert_eq!(packs.len(), 4, "the read of what was in open packs has closed them");
    assert_eq!(store.read_many(&ids).await.unwrap(), expected);
    assert_eq!(batch.read_many(&ids).await.unwrap(), expected);
}

#[tokio::test]
async fn full_packs_go_out_on_their_own_and_stay_below_the_limit() {
    let store = store().await;
    let batch = store.batch();
    for seed in 0..80 {
        batch.add(ObjectKind::Chunk, content(seed, 1024 * 1024)).await.unwrap();
    }
    assert!(!store.bucket().list(&store.pack_folder()).await.unwrap().is_empty());
    batch.finish().await.unwrap();
    let listed = store.bucket().list(&store.pack_folder()).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|pack| pack.size <= crate::limits::PACK_MAX));
}

#[tokio::test]
async fn what_is_stored_is_not_stored_again() {
    let store = store().await;
    let first = store.batch();
    let id = first.add(ObjectKind::Chunk, content(1, 5000)).await.unwrap();
    let packs = first.finish().await.unwrap();
    let second = store.batch();
    assert_eq!(second.add(ObjectKind::Chunk, content(1, 5000)).await.unwrap(), id);
    assert_eq!(second.finish().await.unwrap(), packs, "the pack with the object is counted on");
    assert_eq!(second.counts(), (1, 1));
    assert_eq!(store.bucket().list(&store.pack_folder()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn batches_that_store_the_same_at_once_count_on_where_it_ended() {
    let store = store().await;
    let (first, second) = (store.batch(), store.batch());
    first.add(ObjectKind::Chunk, content(1, 5000)).await.unwrap();
    first.add(ObjectKind::Chunk, content(2, 5000)).await.unwrap();
    let shared = second.add(ObjectKind::Chunk, content(1, 5000)).await.unwrap();
    // The second batch has looked the object up before the first one stored it.
    while second.move_on_for_tests().await.unwrap() {}
    let first_packs = first.finish().await.unwrap();
    let second_packs = second.finish().await.unwrap();
    assert!(second_packs.is_superset(&first_packs));
    assert!(second_packs.contains(&store.locate(&[shared]).await.unwrap()[&shared].pack));
}

/// What a crash between bucket and index leaves; the same content goes into a new pack.
#[tokio::test]
async fn an_orphan_pack_is_no_hindrance() {
    let store = store().await;
    let bytes = content(9, 100);
    let id = store.key().object_id(ObjectKind::Chunk, &bytes);
    let mut writer = PackWriter::new(store.tenant(), PackClass::Contents, PackId::from_bytes([9; 32]), None);
    writer.push(id, &Stored::new(&bytes).unwrap()).unwrap();
    let (pack, orphan) = writer.finish().unwrap();
    store.bucket().create(&store.pack_name(pack.id), orphan).await.unwrap();
    let batch = store.batch();
    assert_eq!(batch.add(ObjectKind::Chunk, bytes.clone()).await.unwrap(), id);
    assert!(!batch.finish().await.unwrap().contains(&pack.id));
    assert_eq!(store.read(id).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_changed_byte_in_a_pack_is_found() {
    let store = store().await;
    let batch = store.batch();
    let id = batch.add(ObjectKind::Chunk, content(1, 5000)).await.unwrap();
    let good = batch.add(ObjectKind::Chunk, content(2, 5000)).await.unwrap();
    let pack = batch.finish().await.unwrap().pop_first().unwrap();
    let name = store.pack_name(pack);
    let mut bytes = store.bucket().get(&name).await.unwrap().to_vec();
    bytes[100] ^= 1;
    store.bucket().delete(&name).await.unwrap();
    store.bucket().create(&name, bytes.into()).await.unwrap();
    assert_eq!(store.read(id).await.unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(store.read(good).await.unwrap(), content(2, 5000), "its neighbour is unharmed");
    store.bucket().delete(&name).await.unwrap();
    assert_eq!(store.read(good).await.unwrap_err().kind(), Kind::Corrupt, "a missing pack is damage, not absence");
}

#[tokio::test]
async fn pins_last_as_long_as_the_batch() {
    let store = store().await;
    let (first, second) = (store.batch(), store.batch());
    first.add(ObjectKind::Chunk, content(1, 10)).await.unwrap();
    let packs: HashSet<_> = first.finish().await.unwrap().into_iter().collect();
    second.add(ObjectKind::Chunk, content(1, 10)).await.unwrap();
    second.finish().await.unwrap();
    drop(first);
    assert_eq!(store.pins().all(), packs);
    drop(second);
    assert!(store.pins().all().is_empty());
}

#[tokio::test]
async fn objects_over_the_limit_are_refused() {
    let store = store().await;
    let error = store.batch().add(ObjectKind::Blob, vec![0; crate::limits::OBJECT_MAX + 1].into()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge);
}

#[test]
fn the_cache_stays_within_its_bytes_and_drops_the_oldest() {
    let mut cache = cache::Cache::new(10_000);
    let id = |seed: u64| IdKey::golden().object_id(ObjectKind::Tree, &seed.to_le_bytes());
    for seed in 0..100 {
        cache.put(id(seed), content(seed, 500));
        cache.get(&id(0));
        assert!(cache.bytes() <= 10_000);
    }
    assert!(cache.get(&id(0)).is_some(), "it was used all the time");
    assert!(cache.get(&id(1)).is_none() && cache.get(&id(99)).is_some());
}
