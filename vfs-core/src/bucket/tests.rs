//! The bucket's promises, on each kind that needs no server.

pub(crate) mod flaky;
mod power;

use std::path::PathBuf;
use std::time::Duration;

use self::flaky::{Fault, Flaky};
use super::*;
use crate::clock::Time;

async fn creates_once_and_reads_back(bucket: &Bucket) {
    assert_eq!(bucket.create("a/b", Bytes::from_static(b"one")).await.unwrap(), Created::New);
    assert_eq!(bucket.create("a/b", Bytes::from_static(b"two")).await.unwrap(), Created::Existed);
    assert_eq!(bucket.get("a/b").await.unwrap(), "one");
    assert_eq!(bucket.get_range("a/b", 1..3).await.unwrap(), "ne");
    assert!(bucket.get_range("a/b", 1..9).await.is_err());
    bucket.verify_create_only("probe").await.unwrap();
}

async fn lists_and_deletes(bucket: &Bucket) {
    for name in ["p/x", "p/q/y", "r/z"] {
        bucket.create(name, Bytes::from_static(b"1234")).await.unwrap();
    }
    let mut names: Vec<_> = bucket.list("p").await.unwrap();
    names.sort_by(|a, b| a.name.cmp(&b.name));
    let listed = |name: &str| Listed { name: name.into(), size: 4 };
    assert_eq!(names, [listed("p/q/y"), listed("p/x")]);
    bucket.delete("p/x").await.unwrap();
    bucket.delete("p/x").await.unwrap();
    assert_eq!(bucket.get("p/x").await.unwrap_err().kind(), Kind::NotFound);
    assert!(bucket.list("nowhere").await.unwrap().is_empty());
}

async fn content_names_must_hold(bucket: &Bucket) {
    let same = Bytes::from_static(b"same");
    assert_eq!(bucket.create_named_by_content("c/d/e", same.clone()).await.unwrap(), Created::New);
    assert_eq!(bucket.create_named_by_content("c/d/e", same).await.unwrap(), Created::Existed);
    let error = bucket.create_named_by_content("c/d/e", Bytes::from_static(b"other")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
}

#[tokio::test]
async fn memory() {
    creates_once_and_reads_back(&Bucket::memory()).await;
    lists_and_deletes(&Bucket::memory()).await;
    content_names_must_hold(&Bucket::memory()).await;
}

#[tokio::test]
async fn folder() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::open(&format!("file://{}/bucket", folder.path().display())).unwrap();
    creates_once_and_reads_back(&bucket).await;
    lists_and_deletes(&bucket).await;
    content_names_must_hold(&bucket).await;
}

#[test]
fn urls_that_cannot_be_a_bucket_say_why() {
    for url in ["nonsense", "ftp://x/y", "file://host/x"] {
        assert_eq!(Bucket::open(url).unwrap_err().kind(), Kind::Invalid, "{url}");
    }
}

#[test]
fn a_full_disk_is_named_so() {
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    let error = object_store::Error::Generic { store: "test", source: Box::new(full) };
    assert_eq!(map_error(error, "x".into()).kind(), Kind::NoSpace);
}

async fn uploads_in_parts(bucket: &Bucket) {
    for lengths in [vec![], vec![10], vec![10, 3], vec![10, 10, 10, 10, 10, 10, 1]] {
        let name = format!("u/{}", lengths.len());
        let (mut upload, mut all) = (bucket.upload(&name), Vec::new());
        for (number, length) in lengths.into_iter().enumerate() {
            let part = vec![number as u8; length];
            upload.put_part(Bytes::from(part.clone())).await.unwrap();
            all.extend(part);
        }
        assert_eq!(bucket.get(&name).await.unwrap_err().kind(), Kind::NotFound, "visible before it is whole");
        upload.finish().await.unwrap();
        assert_eq!(bucket.get(&name).await.unwrap(), all);
    }
    let mut dropped = bucket.upload("v/dropped");
    let mut aborted = bucket.upload("v/aborted");
    for _ in 0..5 {
        dropped.put_part(Bytes::from_static(b"12345")).await.unwrap();
        aborted.put_part(Bytes::from_static(b"12345")).await.unwrap();
    }
    assert!(bucket.list("v").await.unwrap().is_empty());
    aborted.abort().await.unwrap();
    drop(dropped);
    assert!(bucket.list("v").await.unwrap().is_empty());
}

#[tokio::test]
async fn uploads_show_nothing_before_they_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::folder(&folder.path().join("bucket")).unwrap();
    uploads_in_parts(&bucket).await;
    uploads_in_parts(&Bucket::memory()).await;
}

#[tokio::test]
async fn parts_of_different_lengths_are_refused() {
    let bucket = Bucket::memory();
    let mut upload = bucket.upload("x");
    upload.put_part(Bytes::from_static(b"1234")).await.unwrap();
    assert!(upload.put_part(Bytes::from_static(b"12345")).await.is_err());
    upload.put_part(Bytes::from_static(b"1")).await.unwrap();
    assert!(upload.put_part(Bytes::from_static(b"1")).await.is_err(), "a short part was not the last");
}

fn eager() -> Patience {
    let delay = Duration::from_millis(1);
    Patience { retries: 5, delay_min: delay, delay_max: delay, total: Duration::from_secs(20) }
}

fn flaky() -> (Arc<Flaky>, Bucket) {
    let store = Arc::new(Flaky::default());
    (store.clone(), Bucket::from_store(store, "test:///").with_patience(eager()))
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let (store, bucket) = flaky();
    bucket.create("a/b", Bytes::from_static(b"one")).await.unwrap();
    let before = bucket.requests();
    for _ in 0..4 {
        store.next([Fault::Before, Fault::Before]);
        assert_eq!(bucket.get("a/b").await.unwrap(), "one");
        store.next([Fault::Before, Fault::Before]);
        assert_eq!(bucket.get_range("a/b", 1..3).await.unwrap(), "ne");
        store.next([Fault::Before, Fault::Before]);
        assert_eq!(bucket.list("a").await.unwrap().len(), 1);
        store.next([Fault::Before, Fault::Before]);
        bucket.delete("nothing").await.unwrap();
    }
    let after = bucket.requests();
    assert_eq!(after.retries - before.retries, 32);
    assert_eq!((after.get, after.range, after.list, after.delete), (12, 12, 12, 12));
    assert_eq!(after.bytes_in - before.bytes_in, 4 * (3 + 2));
}

#[tokio::test]
async fn tries_come_to_an_end_and_errors_for_good_are_believed() {
    let (store, bucket) = flaky();
    store.next([Fault::Before; 100]);
    assert_eq!(bucket.list("a").await.unwrap_err().kind(), Kind::Unavailable, "an empty list would be a lie");
    assert_eq!(bucket.requests().list, 6);
    store.clear();
    store.next([Fault::Forbidden; 100]);
    assert_eq!(bucket.get("a").await.unwrap_err().kind(), Kind::Denied);
    assert_eq!(bucket.requests().get, 1);
    store.clear();
    store.next([Fault::Before; 100]);
    let hurried = bucket.clone().with_patience(Patience { total: Duration::ZERO, ..eager() });
    assert_eq!(hurried.get("a").await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(bucket.requests().get, 2, "no try after the time is over");
}

#[tokio::test]
async fn a_create_recognises_its_own_work_and_nobody_elses() {
    let (store, bucket) = flaky();
    store.next([Fault::After]);
    assert_eq!(bucket.create("mine", Bytes::from_static(b"1")).await.unwrap(), Created::New);
    assert_eq!(bucket.create("mine", Bytes::from_static(b"1")).await.unwrap(), Created::Existed, "made once");
    store.next([Fault::Before]);
    assert_eq!(bucket.create("mine", Bytes::from_static(b"2")).await.unwrap(), Created::Existed);
    assert_eq!(bucket.get("mine").await.unwrap(), "1");
    store.next([Fault::After, Fault::Before, Fault::After]);
    bucket.verify_create_only("probe").await.unwrap();
}

#[tokio::test]
async fn a_bucket_that_overwrites_is_refused() {
    let (store, bucket) = flaky();
    store.overwrite();
    assert_eq!(bucket.verify_create_only("probe").await.unwrap_err().kind(), Kind::Unsupported);
}

async fn upload(bucket: &Bucket, parts: usize) -> Result<()> {
    let mut upload = bucket.upload("u");
    for _ in 0..parts {
        upload.put_part(Bytes::from_static(b"12345")).await?;
    }
    upload.finish().await
}

#[tokio::test]
async fn an_upload_whose_answer_was_lost_is_recognised() {
    for parts in [1, 4] {
        let (store, bucket) = flaky();
        // A single part is one create; else the last request of all is the one that makes the object.
        store.next(if parts == 1 { vec![Fault::After] } else { vec![Fault::None, Fault::After] });
        upload(&bucket, parts).await.unwrap();
        assert_eq!(bucket.get("u").await.unwrap(), "12345".repeat(parts));
    }
    let (store, bucket) = flaky();
    store.next([Fault::None, Fault::Before]);
    assert_eq!(upload(&bucket, 4).await.unwrap_err().kind(), Kind::Unavailable, "nothing was made");
    assert_eq!(bucket.get("u").await.unwrap_err().kind(), Kind::NotFound);
    let (store, bucket) = flaky();
    store.next([Fault::None, Fault::Torn]);
    assert!(upload(&bucket, 4).await.is_err(), "what was made is not what was sent");
}

#[tokio::test]
async fn an_upload_that_lost_a_part_makes_nothing() {
    let (store, bucket) = flaky();
    store.lose_a_part();
    assert!(upload(&bucket, 6).await.is_err());
    for parts in 3..7 {
        // A caller that does not listen.
        let mut upload = bucket.upload("u");
        for _ in 0..parts {
            let _ = upload.put_part(Bytes::from_static(b"12345")).await;
        }
        assert!(upload.finish().await.is_err());
    }
    assert_eq!(bucket.get("u").await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn leftovers_of_a_crash_are_hidden_and_removed_some_day() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::folder(folder.path()).unwrap();
    let mut upload = bucket.upload("t/x");
    for _ in 0..2 {
        upload.put_part(Bytes::from_static(b"12345")).await.unwrap();
    }
    let mut crashed = bucket.upload("t/y");
    crashed.put_part(Bytes::from_static(b"12345")).await.unwrap();
    crashed.put_part(Bytes::from_static(b"12345")).await.unwrap();
    std::fs::write(folder.path().join("t/z#1"), b"what a crash left").unwrap();
    bucket.create("t/whole", Bytes::from_static(b"1")).await.unwrap();
    assert_eq!(bucket.list("t").await.unwrap().len(), 1);
    let long_ago = Time { seconds: 1, nanos: 0 };
    assert_eq!(bucket.remove_leftovers(long_ago).await.unwrap(), 0, "these may still be written");
    assert!(folder.path().join("t/z#1").exists());
    let far = Time { seconds: 1 << 40, nanos: 0 };
    assert!(bucket.remove_leftovers(far).await.unwrap() >= 17);
    assert!(!folder.path().join("t/z#1").exists());
    assert!(upload.finish().await.is_err(), "its file was removed: nothing may be acknowledged");
    assert_eq!(bucket.list("t").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_folder_that_is_gone_is_not_an_empty_bucket() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::folder(&folder.path().join("bucket")).unwrap();
    std::fs::remove_dir(folder.path().join("bucket")).unwrap();
    assert_eq!(bucket.list("t").await.unwrap_err().kind(), Kind::Unavailable);
}
