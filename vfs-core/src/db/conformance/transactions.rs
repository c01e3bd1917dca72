//! What transactions keep apart.

use std::time::Duration;

use super::*;

pub(super) async fn a_dropped_one_did_nothing(place: &Place) {
    let mut transaction = place.database.begin().await.unwrap();
    meta::set(&mut transaction, "k", "v").await.unwrap();
    drop(transaction);
    // Nobody has to wait for it either.
    let mut transaction = place.another().await.begin().await.unwrap();
    assert_eq!(meta::get(&mut transaction, "k").await.unwrap(), None);
}

/// PostgreSQL would answer a commit after an error with a silent rollback.
pub(super) async fn a_failed_one_cannot_be_committed(place: &Place) {
    let tenant = one_workspace(place).await;
    let mut transaction = place.database.begin().await.unwrap();
    meta::set(&mut transaction, "k", "v").await.unwrap();
    let row = WorkspaceRow { id: workspace(2), name: "w".into(), source: None, created: at(2) };
    assert!(workspaces::insert(&mut transaction, tenant, &row).await.is_err());
    assert_eq!(place.database.commit(transaction).await.unwrap_err().kind(), Kind::Internal);
    let mut reader = place.database.read().await.unwrap();
    assert_eq!(meta::get(&mut reader, "k").await.unwrap(), None);
}

pub(super) async fn a_reader_sees_what_is_committed(place: &Place) {
    if matches!(place.again, Again::Same) {
        // Memory has one connection: nobody reads beside a writer.
        return;
    }
    let mut transaction = place.database.begin().await.unwrap();
    meta::set(&mut transaction, "k", "v").await.unwrap();
    let mut reader = place.another().await.read().await.unwrap();
    assert_eq!(meta::get(&mut reader, "k").await.unwrap(), None, "not yet");
    place.database.commit(transaction).await.unwrap();
    assert_eq!(meta::get(&mut reader, "k").await.unwrap().as_deref(), Some("v"), "now");
}

/// A counter that is read and then written never loses a step, whoever writes.
pub(super) async fn writers_take_turns(place: &Place) {
    const WRITERS: u64 = 8;
    const STEPS: u64 = 20;
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        let database = if number % 2 == 0 { place.database.clone() } else { place.another().await };
        writers.push(tokio::spawn(async move {
            for _ in 0..STEPS {
                let mut transaction = database.begin().await.unwrap();
                let value = counters::get(&mut transaction, "c", 0).await.unwrap();
                tokio::time::sleep(Duration::from_micros(200)).await;
                assert_eq!(counters::take(&mut transaction, "c", 0, 1).await.unwrap(), value);
                database.commit(transaction).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let mut reader = place.database.read().await.unwrap();
    assert_eq!(counters::get(&mut reader, "c", 0).await.unwrap(), WRITERS * STEPS);
}

pub(super) async fn two_handles_see_each_other(place: &Place) {
    let other = place.another().await;
    for (writer, reader, value) in [(&place.database, &other, "one"), (&other, &place.database, "two")] {
        let mut transaction = writer.begin().await.unwrap();
        meta::set(&mut transaction, "k", value).await.unwrap();
        writer.commit(transaction).await.unwrap();
        let mut connection = reader.read().await.unwrap();
        assert_eq!(meta::get(&mut connection, "k").await.unwrap().as_deref(), Some(value));
    }
}

pub(super) async fn large_values_come_back(place: &Place) {
    let value = "ü".repeat(1024 * 1024);
    let mut transaction = place.database.begin().await.unwrap();
    meta::set(&mut transaction, "k", &value).await.unwrap();
    place.database.commit(transaction).await.unwrap();
    let mut reader = place.database.read().await.unwrap();
    assert!(meta::get(&mut reader, "k").await.unwrap().as_deref() == Some(&value));
}
