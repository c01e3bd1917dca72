//! Many writers at once: no update is lost, on a real file.

use std::sync::Arc;

use super::*;
use crate::clock::SystemClock;
use crate::repo::RepoOptions;

const WRITERS: usize = 8;
const LINES: usize = 50;

async fn on_disk(folder: &tempfile::TempDir) -> Repo {
    let data = folder.path().join("data");
    Repo::open(RepoOptions {
        data,
        bucket: Some("memory:///".into()),
        database: None,
        key: None,
        clock: Arc::new(SystemClock),
    })
    .await
    .unwrap()
}

/// Everything that was appended is there, and each writer's lines are in the order in which it wrote them.
fn complete(text: &str) {
    assert_eq!(text.lines().count(), WRITERS * LINES, "lines are missing or too many");
    for writer in 0..WRITERS {
        let begin = format!("{writer}:");
        let lines: Vec<usize> = text.lines().filter_map(|line| line.strip_prefix(&begin)?.parse().ok()).collect();
        assert_eq!(lines, (0..LINES).collect::<Vec<usize>>(), "writer {writer}");
    }
}

async fn race(merge: bool) {
    let folder = tempfile::tempdir().unwrap();
    let repo = on_disk(&folder).await;
    let writers = (0..WRITERS).map(|writer| {
        let repo = repo.clone();
        tokio::spawn(async move {
            let mut conflicts = 0;
            for line in 0..LINES {
                loop {
                    let (basis, mut text) = match content(&repo, &org(), "log").await {
                        Ok((version, text)) => (Basis::Version(version), text),
                        Err(_) => (Basis::Absent, String::new()),
                    };
                    text.push_str(&format!("{writer}:{line}\n"));
                    let write = Write { merge, ..put("org", "log", basis, &text) };
                    match repo.write_document(&write).await.unwrap() {
                        Outcome::Written(_) => break,
                        Outcome::Conflict(_) => conflicts += 1,
                    }
                }
            }
            conflicts
        })
    });
    let mut conflicts = 0;
    for writer in writers.collect::<Vec<_>>() {
        conflicts += writer.await.unwrap();
    }
    let (version, text) = content(&repo, &org(), "log").await.unwrap();
    complete(&text);
    assert_eq!(version as usize, WRITERS * LINES, "one version for each");
    match merge {
        true => assert_eq!(conflicts, 0, "appending never conflicts"),
        false => assert!(conflicts > 0, "they really met"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_append_is_lost_when_stale_writers_try_again() {
    race(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_append_is_lost_when_stale_writers_merge() {
    race(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_changes_a_line_of_its_own_and_all_lines_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let repo = on_disk(&folder).await;
    // Lines between them that nobody changes: neighbours would be one conflict.
    let base: Vec<String> = (0..WRITERS).map(|writer| format!("between\nline {writer}\nbetween {writer}\n")).collect();
    written(&repo, &put("org", "a", Basis::Absent, base.concat())).await;
    let writers = (0..WRITERS).map(|writer| {
        let (repo, mut lines) = (repo.clone(), base.clone());
        lines[writer] = lines[writer].replace(&format!("line {writer}\n"), &format!("written by {writer}\n"));
        tokio::spawn(async move { written(&repo, &merging("org", "a", Basis::Version(1), lines.concat())).await })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let (version, text) = content(&repo, &org(), "a").await.unwrap();
    assert_eq!(version as usize, 1 + WRITERS);
    (0..WRITERS).for_each(|writer| assert!(text.contains(&format!("written by {writer}\n")), "{text}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_all_that_make_a_document_at_once_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let repo = on_disk(&folder).await;
    let writers = (0..WRITERS).map(|writer| {
        let repo = repo.clone();
        tokio::spawn(async move { repo.write_document(&put("org", "a", Basis::Absent, writer.to_string())).await })
    });
    let mut made = 0;
    for writer in writers.collect::<Vec<_>>() {
        made += usize::from(matches!(writer.await.unwrap().unwrap(), Outcome::Written(_)));
    }
    assert_eq!(made, 1);
}

#[tokio::test]
async fn versions_are_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let repo = on_disk(&folder).await;
    written(&repo, &put("org", "a", Basis::Absent, "x")).await;
    repo.database().close().await;
    drop(repo);
    let data = folder.path().join("data/esker.db");
    let database = crate::db::Database::open(&data).await.unwrap();
    let found = super::super::read(&database, 1, &org(), &path("a"), None).await.unwrap();
    assert_eq!(found.1.as_ref(), b"x");
}
