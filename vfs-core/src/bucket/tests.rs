//! The bucket's promises, on each kind that needs no server.

use super::*;

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
