//! A bit that flips anywhere in a row or a content is found: by the reader, and by check.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::*;
use crate::clock::SystemClock;
use crate::db::{DocumentRow, documents};
use crate::progress::silent;
use crate::repo::{CheckOptions, RepoOptions};

async fn execute(repo: &Repo, statement: &str) {
    let mut transaction = repo.database().begin().await.unwrap();
    transaction.vandal(&format!("PRAGMA defer_foreign_keys = ON; {statement}")).await.unwrap();
    repo.database().commit(transaction).await.unwrap();
}

async fn sound_repo() -> Repo {
    let (repo, _) = repo().await;
    written(&repo, &put("org", "a", Basis::Absent, "one\n")).await;
    written(&repo, &put("org", "a", Basis::Version(1), "two\n")).await;
    conflicting(&repo, &merging("org", "a", Basis::Version(1), "three\n")).await;
    written(&repo, &put("user/ana", "b", Basis::Absent, "one\n")).await;
    repo
}

async fn damages(repo: &Repo, full: bool) -> Vec<String> {
    let report = repo.check(CheckOptions { full }, &silent).await.unwrap();
    report.damages.into_iter().map(|damage| damage.what).collect()
}

#[tokio::test]
async fn every_changed_column_is_found_when_it_is_read() {
    assert_eq!(damages(&sound_repo().await, true).await, Vec::<String>::new());
    for column in [
        "base = base + 1",
        "size = size + 1",
        "digest = zeroblob(32)",
        "deleted = 1",
        "deleted = 2",
        "side = 1",
        "time = time + 1",
        "author = 'eve'",
        "session = 'x'",
        "turn = 1",
        "tool_call = 'x'",
        "request = zeroblob(32)",
        "row_hash = zeroblob(32)",
        "row_hash = x'00'",
        "base = -1",
    ] {
        let repo = sound_repo().await;
        execute(&repo, &format!("UPDATE document_versions SET {column} WHERE path = 'a' AND version = 2")).await;
        assert_eq!(kind(content(&repo, &org(), "a").await), Some(Kind::Corrupt), "{column}");
        assert_eq!(kind(repo.documents(&org(), None).await), Some(Kind::Corrupt), "{column}");
        assert_eq!(kind(repo.document_versions(&Scope::org(), &path("a")).await), Some(Kind::Corrupt), "{column}");
        let write = repo.write_document(&put("org", "a", Basis::Version(2), "x")).await;
        assert_eq!(kind(write), Some(Kind::Corrupt), "{column}");
        assert_eq!(damages(&repo, false).await.len(), 1, "{column}");
        assert_eq!(content(&repo, &view("user/ana"), "b").await.unwrap().1, "one\n", "the others are still read");
    }
}

#[tokio::test]
async fn changed_contents_are_never_served() {
    let repo = sound_repo().await;
    execute(&repo, "UPDATE document_versions SET content = x'54776f0a' WHERE path = 'a' AND version = 2").await;
    assert_eq!(kind(content(&repo, &org(), "a").await), Some(Kind::Corrupt));
    assert_eq!(damages(&repo, false).await, Vec::<String>::new(), "the quick check reads no contents");
    assert_eq!(damages(&repo, true).await.len(), 1);
    let merge = repo.write_document(&merging("org", "a", Basis::Version(1), "one\nmore\n")).await;
    assert_eq!(kind(merge), Some(Kind::Corrupt), "nothing is merged with damage");
    let restored = repo.restore_document(&Scope::org(), &path("a"), 1, 2, "ana").await.unwrap();
    assert_eq!(restored.version, 4, "an older version can be brought back");
}

#[tokio::test]
async fn what_is_missing_or_too_many_is_found() {
    for (statement, found) in [
        ("DELETE FROM document_versions WHERE path = 'a' AND version = 1", "version 1 of a in org is missing"),
        ("DELETE FROM document_versions WHERE path = 'a' AND version = 2", "version 2 of a in org is missing"),
        ("DELETE FROM document_versions WHERE path = 'a' AND version = 3", "version 3 of a in org is missing"),
        ("UPDATE documents SET head = 1 WHERE path = 'a'", "does not match its hash"),
        ("UPDATE documents SET newest = 9 WHERE path = 'a'", "does not match its hash"),
        ("UPDATE documents SET path = 'c' WHERE path = 'a'", "does not match its hash"),
        ("UPDATE documents SET scope = 'ord' WHERE path = 'a'", "does not match its hash"),
        ("UPDATE document_versions SET version = 9 WHERE path = 'a' AND version = 1", "does not match its hash"),
    ] {
        let repo = sound_repo().await;
        let mut connection = repo.database().begin().await.unwrap();
        connection.vandal("COMMIT; PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE").await.unwrap();
        connection.vandal(statement).await.unwrap();
        repo.database().commit(connection).await.unwrap();
        let damages = damages(&repo, false).await;
        assert!(damages.iter().any(|damage| damage.contains(found)), "{statement}: {damages:?}");
    }
    let repo = sound_repo().await;
    let mut connection = repo.database().begin().await.unwrap();
    connection.vandal("COMMIT; PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE").await.unwrap();
    connection.vandal("DELETE FROM documents WHERE path = 'a'").await.unwrap();
    repo.database().commit(connection).await.unwrap();
    assert_eq!(damages(&repo, false).await.len(), 3, "three versions belong to no document");
    let write = repo.write_document(&put("org", "a", Basis::Absent, "x")).await;
    assert_eq!(kind(write), Some(Kind::Corrupt), "and none of them is written over");
}

#[tokio::test]
async fn a_head_that_should_be_another_is_found() {
    let repo = sound_repo().await;
    for (head, wrong) in [(1, 1), (3, 1), (2, 0)] {
        let mut transaction = repo.database().begin().await.unwrap();
        let document = DocumentRow { scope: "org".into(), path: "a".into(), head, newest: 3 };
        documents::put(&mut transaction, 1, &document).await.unwrap();
        repo.database().commit(transaction).await.unwrap();
        assert_eq!(damages(&repo, false).await.len(), wrong, "head {head} with a hash that fits");
    }
}

#[tokio::test]
async fn a_bit_that_flips_in_the_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data/esker.db");
    let needle = "the needle of this haystack";
    let text = format!("{}{needle}{}", "x".repeat(10_000), "y".repeat(10_000));
    let options = RepoOptions {
        data: folder.path().join("data"),
        bucket: None,
        database: None,
        key: None,
        clock: Arc::new(SystemClock),
    };
    let repo = Repo::open(options.clone()).await.unwrap();
    written(&repo, &put("org", "path-of-a-document", Basis::Absent, &text)).await;
    repo.database().close().await;
    drop(repo);
    let bytes = std::fs::read(&file).unwrap();
    let find = |needle: &str| bytes.windows(needle.len()).position(|part| part == needle.as_bytes()).unwrap();
    let open = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    for (place, bit) in [(find(needle) + 3, 0), (find(needle), 7), (find("path-of-a-document") + 2, 1)] {
        open.write_all_at(&[bytes[place] ^ (1 << bit)], place as u64).unwrap();
        let repo = Repo::open(options.clone()).await.unwrap();
        assert!(!damages(&repo, true).await.is_empty(), "bit {bit} of byte {place}");
        let read = content(&repo, &org(), "path-of-a-document").await;
        assert!(matches!(kind(read), Some(Kind::Corrupt | Kind::NotFound)), "bit {bit} of byte {place}");
        repo.database().close().await;
        open.write_all_at(&bytes[place..=place], place as u64).unwrap();
    }
    let repo = Repo::open(options).await.unwrap();
    assert_eq!(damages(&repo, true).await, Vec::<String>::new());
}
