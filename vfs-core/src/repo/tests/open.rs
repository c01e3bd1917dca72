//! Data folder, database and bucket belong together, or say why not.

use super::*;
use crate::clock::SystemClock;

fn options(data: &std::path::Path, bucket: Option<String>) -> RepoOptions {
    RepoOptions { data: data.to_owned(), bucket, database: None, key: None, clock: Arc::new(SystemClock) }
}

#[tokio::test]
async fn what_was_published_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (id, snapshot) = {
        let repo = Repo::open(options(&data, None)).await.unwrap();
        let mut mount = Mount::new(&repo, "w").await;
        let snapshot = mount.write("a", &[content(1, 9000), content(2, 9000)], note("one")).await.unwrap();
        repo.database().close().await;
        (repo.repo_id(), snapshot)
    };
    // The data folder may be moved.
    let moved = folder.path().join("moved");
    std::fs::rename(&data, &moved).unwrap();
    let repo = Repo::open(options(&moved, None)).await.unwrap();
    assert_eq!(repo.repo_id(), id);
    assert_eq!(repo.workspace("w").await.unwrap().head, snapshot);
    let expected = [content(1, 9000), content(2, 9000)].concat();
    assert_eq!(files(&repo, snapshot).await.unwrap(), [("a".to_owned(), Bytes::from(expected))]);
}

#[tokio::test]
async fn folders_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    Repo::open(options(&data, None)).await.unwrap();
    let mode = |path: &str| std::fs::metadata(data.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("bucket"), mode("bucket/config.json")), (0o700, 0o700, 0o600));
    assert_eq!(std::fs::read_to_string(data.join("format")).unwrap(), "esker 0\n");
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("format"), "esker 1\n").unwrap();
    assert_eq!(kind(Repo::open(options(folder.path(), None)).await), Some(Kind::Unsupported));
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let repo = Repo::open(options(folder.path(), None)).await.unwrap();
    let mut transaction = repo.database().begin().await.unwrap();
    transaction.vandal("PRAGMA user_version = 999").await.unwrap();
    repo.database().commit(transaction).await.unwrap();
    repo.database().close().await;
    assert_eq!(kind(Repo::open(options(folder.path(), None)).await), Some(Kind::Unsupported));
}

#[tokio::test]
async fn a_bucket_of_another_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/bucket", folder.path().display());
    Repo::open(options(&folder.path().join("one"), Some(url.clone()))).await.unwrap();
    let error = Repo::open(options(&folder.path().join("two"), Some(url.clone()))).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.context().contains("two databases"), "{error}");
    // The first one remembers its bucket, and does not take another.
    Repo::open(options(&folder.path().join("one"), None)).await.unwrap();
    Repo::open(options(&folder.path().join("one"), Some(url))).await.unwrap();
    let other = format!("file://{}/other", folder.path().display());
    assert_eq!(kind(Repo::open(options(&folder.path().join("one"), Some(other))).await), Some(Kind::Invalid));
}

#[tokio::test]
async fn a_bucket_that_lost_its_config_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    Repo::open(options(folder.path(), None)).await.unwrap();
    std::fs::remove_file(folder.path().join("bucket/config.json")).unwrap();
    assert_eq!(kind(Repo::open(options(folder.path(), None)).await), Some(Kind::Corrupt));
}

#[tokio::test]
async fn a_crash_between_database_and_config_is_healed() {
    let folder = tempfile::tempdir().unwrap();
    let id = {
        let repo = Repo::open(options(folder.path(), None)).await.unwrap();
        let mut transaction = repo.database().begin().await.unwrap();
        transaction.vandal("DELETE FROM meta WHERE key = 'config'").await.unwrap();
        repo.database().commit(transaction).await.unwrap();
        repo.database().close().await;
        repo.repo_id()
    };
    std::fs::remove_file(folder.path().join("bucket/config.json")).unwrap();
    assert_eq!(Repo::open(options(folder.path(), None)).await.unwrap().repo_id(), id);
}
