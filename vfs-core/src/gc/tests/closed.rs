//! gc fails closed: whatever it cannot read, it deletes nothing.

use object_store::memory::InMemory;

use super::*;
use crate::bucket::{Bucket, Patience};
use crate::testing::{Fault, Faults, FaultyStore, Operation, Rule, When};

/// Files of the workspace that stays.
const FILES: u64 = 12;

/// A repo whose bucket fails as it is told, with garbage whose time is over.
async fn doubtful(seed: u64) -> (Repo, Arc<Faults>, ObjectId) {
    let faults = Arc::new(Faults::new(seed));
    let store = FaultyStore::new(Arc::new(InMemory::new()), faults.clone());
    let bucket =
        Bucket::from_store(Arc::new(store), "memory:///").with_patience(Patience { retries: 0, ..Patience::default() });
    let clock = TestClock::new();
    let repo = Repo::over(bucket, clock.clone()).await;
    let mut mount = Mount::new(&repo, "gone").await;
    mount.write("a", &[content(1, 5000)], note("one")).await.unwrap();
    repo.detach(&mount.lease).await.unwrap();
    repo.delete_workspace(mount.lease.workspace).await.unwrap();
    let mut kept = Mount::new(&repo, "kept").await;
    for number in 0..FILES {
        kept.write(&format!("f{number}"), &[content(100 + number, 2000)], note("kept")).await.unwrap();
    }
    repo.add_tag(kept.lease.workspace, "v1", kept.base).await.unwrap();
    repo.detach(&kept.lease).await.unwrap();
    repo.gc(LOOK, &silent).await.unwrap();
    clock.advance(2 * HOUR);
    let chunk = repo.store().key().chunk_id(&content(1, 5000)).into();
    (repo, faults, chunk)
}

async fn deletes_nothing(repo: &Repo, faults: &Faults, chunk: ObjectId, rules: Vec<Rule>, what: &str) {
    repo.store().forget_cached();
    let (before, rows) = (packs_in_bucket(repo).await, pack_rows(repo).await.len());
    faults.set(rules);
    let result = repo.gc(DELETE_NOW, &silent).await;
    faults.set([]);
    assert!(result.is_err(), "{what}: {result:?}");
    assert_eq!(packs_in_bucket(repo).await, before, "{what}");
    assert_eq!(pack_rows(repo).await.len(), rows, "{what}");
    assert_eq!(repo.store().read(chunk).await.unwrap(), content(1, 5000), "{what}");
}

fn rule(operation: Operation, fault: Fault, call: u64) -> Rule {
    Rule { operation: Some(operation), fault, object: None, when: When::Nth(call) }
}

#[tokio::test]
async fn a_list_that_lacks_any_page_deletes_nothing() {
    let lists = [Fault::MissingPage, Fault::ErrorBefore, Fault::MissingPage, Fault::ErrorAfter];
    for seed in 0..40 {
        // The seed says which page it is.
        let (repo, faults, chunk) = doubtful(seed).await;
        let fault = lists[seed as usize % lists.len()];
        let rules = vec![Rule { object: Some("pack"), ..rule(Operation::List, fault, 0) }];
        deletes_nothing(&repo, &faults, chunk, rules, &format!("seed {seed}, {fault:?}")).await;
        assert_eq!(faults.count(), 1);
    }
}

#[tokio::test]
async fn any_list_or_read_that_fails_deletes_nothing() {
    for operation in [Operation::List, Operation::Range] {
        let mut calls = 0;
        loop {
            let (repo, faults, chunk) = doubtful(7).await;
            let before: u64 = faults.count();
            let (packs, rows) = (packs_in_bucket(&repo).await, pack_rows(&repo).await.len());
            repo.store().forget_cached();
            faults.set([rule(operation, Fault::ErrorBefore, calls)]);
            let result = repo.gc(DELETE_NOW, &silent).await;
            faults.set([]);
            if faults.count() == before {
                result.unwrap();
                break;
            }
            assert_eq!(result.unwrap_err().kind(), Kind::Unavailable, "{operation:?} {calls}");
            assert_eq!(
                (packs_in_bucket(&repo).await, pack_rows(&repo).await.len()),
                (packs, rows),
                "{operation:?} {calls}"
            );
            assert_eq!(repo.store().read(chunk).await.unwrap(), content(1, 5000), "{operation:?} {calls}");
            calls += 1;
        }
        assert!(calls > 0, "{operation:?} was never asked for");
    }
}

#[tokio::test]
async fn any_row_that_is_damaged_deletes_nothing() {
    for damage in [
        "UPDATE refs SET sequence = sequence + 1",
        "UPDATE history SET time = time + 1",
        "UPDATE side_refs SET created = created + 1",
        "UPDATE side_refs SET snapshot = zeroblob(32)",
        "UPDATE packs SET size = size + 1",
        "UPDATE packs SET class = 7",
        "UPDATE objects SET flags = 128",
        "DELETE FROM objects WHERE kind = 1 AND plain = 2000",
        "DELETE FROM objects WHERE kind = 3",
    ] {
        let (repo, faults, chunk) = doubtful(3).await;
        let before = packs_in_bucket(&repo).await;
        let mut transaction = repo.database().begin().await.unwrap();
        transaction.vandal(damage).await.unwrap();
        repo.database().commit(transaction).await.unwrap();
        repo.store().forget_cached();
        assert!(repo.gc(DELETE_NOW, &silent).await.is_err(), "{damage}");
        assert_eq!(packs_in_bucket(&repo).await, before, "{damage}");
        drop((faults, chunk));
    }
}
