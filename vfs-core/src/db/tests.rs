//! The database on its own.

use super::*;
use crate::clock::Time;
use crate::id::{HolderId, SnapshotId, WorkspaceId};

async fn pragma(connection: &mut Connection, name: &'static str) -> String {
    let statement = Builder::new(&format!("SELECT CAST({name} AS TEXT) AS value FROM pragma_{name}")).build(false);
    Columns(&statement.fetch_one(connection).await.unwrap()).text("value").unwrap()
}

#[tokio::test]
async fn commits_survive_a_power_cut() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("x.db")).await.unwrap();
    let mut transaction = database.begin().await.unwrap();
    assert_eq!(pragma(&mut transaction, "synchronous").await, "2", "FULL");
    assert_eq!(pragma(&mut transaction, "journal_mode").await, "wal");
    assert_eq!(pragma(&mut transaction, "foreign_keys").await, "1");
    drop(transaction);
    let mut reader = database.read().await.unwrap();
    assert_eq!(pragma(&mut reader, "journal_mode").await, "wal");
}

/// A database that went through a step never sees it again, so a step never changes: add another, and golden repos with it.
#[test]
fn the_steps_of_the_schema_stay_what_they_were() {
    let digest = |step: &&str| blake3::hash(step.as_bytes()).to_hex()[..16].to_owned();
    let steps: Vec<String> = schema::steps_after(0).unwrap().iter().map(digest).collect();
    assert_eq!(steps, ["6db6c3c8733d6369", "c6c5c3d49d9cd2a2", "405e901315d88fa5", "76ae9c9d9e97db3a"]);
}

#[tokio::test]
async fn opening_again_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    for expected in [10, 15, 20] {
        let database = Database::open(&path).await.unwrap();
        let mut transaction = database.begin().await.unwrap();
        assert_eq!(counters::take(&mut transaction, "c", 10, 5).await.unwrap(), expected);
        database.commit(transaction).await.unwrap();
        database.close().await;
    }
}

#[tokio::test]
async fn a_transaction_that_is_dropped_did_nothing() {
    let database = Database::in_memory().await.unwrap();
    let mut transaction = database.begin().await.unwrap();
    meta::set(&mut transaction, "k", "v").await.unwrap();
    drop(transaction);
    let mut reader = database.read().await.unwrap();
    assert_eq!(meta::get(&mut reader, "k").await.unwrap(), None);
}

#[test]
fn each_column_counts_for_the_hash_of_a_row() {
    let workspace = WorkspaceId::from_bytes([1; 16]);
    let row = RefRow { workspace, snapshot: SnapshotId::from_bytes([2; 32]), epoch: 3, sequence: 4, covered: None };
    let holder = HolderId::from_bytes([5; 16]);
    let others = [
        RefRow { workspace: WorkspaceId::from_bytes([9; 16]), ..row },
        RefRow { snapshot: SnapshotId::from_bytes([9; 32]), ..row },
        RefRow { epoch: 9, ..row },
        RefRow { sequence: 9, ..row },
        RefRow { covered: Some((holder, 0)), ..row },
        RefRow { covered: Some((holder, 1)), ..row },
    ];
    let mut hashes: Vec<_> = others.iter().chain([&row]).map(RefRow::hash).collect();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 7);

    let row = HistoryRow {
        sequence: 1,
        snapshot: SnapshotId::from_bytes([2; 32]),
        time: Time { seconds: 3, nanos: 4 },
        automatic: false,
        message: "ab".into(),
        author: "c".into(),
        session: "d".into(),
        turn: "e".into(),
    };
    let shifted = HistoryRow { message: "a".into(), author: "bc".into(), ..row.clone() };
    assert_ne!(row.hash(workspace), shifted.hash(workspace), "where a column ends counts");
    let automatic = HistoryRow { automatic: true, ..row.clone() };
    assert_ne!(row.hash(workspace), automatic.hash(workspace));
}
