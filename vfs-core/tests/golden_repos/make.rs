//! Makes a golden repo: ids and keys from a seed, the time from a clock that stands still, content from archives, so that the same
//! code makes the same repo again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use vfs_core::base::{PublishNote, Publisher};
use vfs_core::change::ChangeSet;
use vfs_core::clock::Clock;
use vfs_core::documents::{Basis, Change, Grants, Outcome, Write, Writer};
use vfs_core::id::{HolderId, SnapshotId};
use vfs_core::import::archive::import_archive;
use vfs_core::keys::OperatorKey;
use vfs_core::progress::silent;
use vfs_core::quota::Quota;
use vfs_core::repo::{HolderDescription, Repo, RepoOptions, RetentionRules};
use vfs_core::sessions::{EndTurn, NewEvent, NewSession, kind};
use vfs_core::testing::{HandClock, seed_ids};

use crate::manifest::manifest;
use crate::{Inos, SIZE_MAX, attach, folder, names, set_bucket, text};

const SEED: u64 = 20_261_123;

/// An archive with everything that can be in a tree: content inline, in a chunk, in a blob; links, attributes, kinds, many names.
fn archive(chunk_bytes: usize, with_many: bool) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let header = |kind, mode, size: usize| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(1000);
        header.set_gid(1000);
        header.set_mtime(1_700_000_000);
        header.set_size(size as u64);
        header
    };
    let mut file = |path: &str, mode, content: &[u8]| {
        let mut header = header(tar::EntryType::Regular, mode, content.len());
        archive.append_data(&mut header, path, content).unwrap();
    };
    file("README", 0o644, b"inline");
    file("src/chunk", 0o644, text(chunk_bytes).as_bytes());
    file("src/blob", 0o600, text(1_500_000).as_bytes());
    file("src/run", 0o755, b"#!/bin/sh\n");
    for number in 0..if with_many { 200 } else { 0 } {
        file(&format!("many/{number:04}"), 0o644, format!("file {number}\n").as_bytes());
    }
    archive.append_pax_extensions([("SCHILY.xattr.user.colour", &b"green"[..])]).unwrap();
    archive.append_data(&mut header(tar::EntryType::Regular, 0o644, 8), "attributed", &b"a colour"[..]).unwrap();
    archive.append_data(&mut header(tar::EntryType::Directory, 0o750, 0), "src/empty", &b""[..]).unwrap();
    archive.append_data(&mut header(tar::EntryType::Fifo, 0o644, 0), "fifo", &b""[..]).unwrap();
    archive.append_link(&mut header(tar::EntryType::Link, 0o644, 0), "second name", "src/chunk").unwrap();
    archive.append_link(&mut header(tar::EntryType::Symlink, 0o777, 0), "link", "src/chunk").unwrap();
    archive.into_inner().unwrap()
}

async fn publish(repo: &Repo, clock: &HandClock, workspace: &str, archive: Vec<u8>, message: &str) -> SnapshotId {
    clock.advance(Duration::from_secs(3600));
    let info = repo.workspace(workspace).await.unwrap();
    let previous = repo.snapshot(info.head).await.unwrap();
    let batch = repo.batch();
    let input = std::io::Cursor::new(archive);
    let made = import_archive(&batch, &Inos(repo), input, Some(&previous), clock.now(), &silent).await.unwrap();
    let note = PublishNote { author: "ada".into(), message: message.into(), ..PublishNote::default() };
    repo.move_head(info.id, info.head, batch, made.root, made.links, note).await.unwrap();
    repo.workspace(workspace).await.unwrap().head
}

/// A document with three versions, the third written by a session's turn; one with a side version.
async fn write_documents(repo: &Repo, session: &str) {
    let write = async |path: &str, basis, content: &str, merge, session: &str| {
        let writer = Writer { author: "ada".into(), session: session.into(), ..Writer::default() };
        let scope = "user/ada".parse().unwrap();
        let change = Change::Put(Bytes::from(content.to_owned()));
        let path = path.parse().unwrap();
        let write = Write { scope, path, basis, change, merge, grants: Grants::All, writer };
        repo.write_document(&write).await.unwrap()
    };
    let is_written = |outcome: &Outcome| matches!(outcome, Outcome::Written(_));
    assert!(is_written(&write("notes/one.md", Basis::Absent, "one\n", false, "").await));
    assert!(is_written(&write("notes/one.md", Basis::Version(1), "one\ntwo\n", false, "").await));
    assert!(is_written(&write("notes/one.md", Basis::Version(2), "one\ntwo\nthree\n", false, session).await));
    assert!(is_written(&write("SKILL.md", Basis::Absent, "a\n", false, "").await));
    assert!(is_written(&write("SKILL.md", Basis::Version(1), "b\n", false, "").await));
    assert!(!is_written(&write("SKILL.md", Basis::Version(1), "c\n", true, "").await), "beside the head");
}

/// A session of one turn that ended, in which a document is written.
async fn talk(repo: &Repo) {
    let new = NewSession {
        workspace: "first".into(),
        agent: "main".into(),
        user: "ada".into(),
        title: "a golden session".into(),
    };
    let session = repo.create_session(&new).await.unwrap().id;
    let epoch = repo.take_session(session, "1 on here", None).await.unwrap().epoch;
    let event = |key: &str, kind: &str, turn| NewEvent {
        key: key.into(),
        kind: kind.into(),
        turn,
        tool_call: String::new(),
        data: json!({"says": key}),
    };
    let begin = [event("task", kind::SESSION_STARTED, 0), event("first", kind::TURN_STARTED, 1)];
    repo.append_events(session, epoch, &begin).await.unwrap();
    write_documents(repo, &session.to_hex()).await;
    let snapshot = repo.workspace("first").await.unwrap().head;
    repo.end_turn(session, epoch, &EndTurn { number: 1, snapshot, data: json!({"ends": true}) }).await.unwrap();
    repo.release_session(session, epoch).await.unwrap();
}

/// A holder's publish: epochs, positions and inode ranges.
async fn hold(repo: &Repo, clock: &HandClock) {
    clock.advance(Duration::from_secs(60));
    let id = repo.workspace("first").await.unwrap().id;
    let who = HolderDescription { host: "golden".into(), pid: 7, mountpoint: "/m".into() };
    let held = repo.attach(id, HolderId::from_bytes([0x48; 16]), &who).await.unwrap();
    repo.allocate_inos(&held.lease, 1024).await.unwrap();
    repo.begin(&held.lease, held.head, 4096).await.unwrap();
    repo.put_changes(&held.lease, 4096, ChangeSet::default()).await.unwrap();
    let note = PublishNote { message: "by a holder".into(), automatic: true, ..PublishNote::default() };
    repo.commit(&held.lease, 4096, note).await.unwrap();
    repo.detach(&held.lease).await.unwrap();
}

async fn fill(repo: &Repo, clock: &HandClock) {
    repo.create_workspace("first", Some("an archive"), None).await.unwrap();
    publish(repo, clock, "first", archive(5_000, true), "one").await;
    let two = publish(repo, clock, "first", archive(6_000, false), "two").await;
    let first = repo.workspace("first").await.unwrap();
    repo.create_workspace("fork", Some("first"), Some(first.head)).await.unwrap();
    publish(repo, clock, "fork", archive(7_000, false), "three").await;
    repo.add_tag(first.id, "release-1", two).await.unwrap();
    repo.set_quota(Some(first.id), Quota { bytes: Some(50_000_000), files: Some(10_000) }).await.unwrap();
    repo.set_quota(None, Quota { bytes: Some(500_000_000), files: None }).await.unwrap();
    let rules = RetentionRules { keep_last: Some(1000), ..RetentionRules::default() };
    repo.set_retention(Some(first.id), Some(rules)).await.unwrap();
    hold(repo, clock).await;
    talk(repo).await;
    let gone = repo.create_workspace("gone", None, None).await.unwrap();
    repo.delete_workspace(gone.id).await.unwrap();
}

/// Writes NAME.tar.zst, NAME.json and, with ESKER_GOLDEN_ENCRYPTED=1, NAME.key.
#[tokio::test]
#[ignore = "writes a new golden repo; see the head of main.rs"]
async fn write_a_golden_repo() {
    let name = std::env::var("ESKER_GOLDEN_REPO").expect("ESKER_GOLDEN_REPO names the new golden repo");
    assert!(!names().contains(&name), "golden repos are never written again");
    let hex = std::env::var_os("ESKER_GOLDEN_ENCRYPTED").map(|_| "4f".repeat(32));
    let key = hex.as_deref().map(|hex| OperatorKey::parse(hex).unwrap());
    seed_ids(Some(SEED));
    let clock = Arc::new(HandClock::default());
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let options = RepoOptions { data: data.clone(), bucket: None, database: None, key, clock: clock.clone() };
    let repo = Repo::open(options.clone()).await.unwrap();
    fill(&repo, &clock).await;
    let manifest = manifest(&repo).await;
    drop(repo);
    // A bundle is made when a snapshot is attached from a remote bucket for the second time.
    attach(&data, &options, "fork", false).await;
    attach(&data, &options, "fork", true).await;
    set_bucket(&data, "data").await;
    // Nothing may wait in the write-ahead log.
    vfs_core::db::Database::open(&data.join("esker.db")).await.unwrap().close().await;
    let mut packer = tar::Builder::new(zstd::Encoder::new(Vec::new(), 19).unwrap());
    packer.mode(tar::HeaderMode::Deterministic);
    packer.append_dir_all("data", &data).unwrap();
    let packed = packer.into_inner().unwrap().finish().unwrap();
    assert!((packed.len() as u64) < SIZE_MAX, "{} bytes are too many for a golden repo", packed.len());
    std::fs::write(folder().join(format!("{name}.tar.zst")), packed).unwrap();
    let json = serde_json::to_string_pretty(&manifest).unwrap() + "\n";
    std::fs::write(folder().join(format!("{name}.json")), json).unwrap();
    if let Some(hex) = hex {
        std::fs::write(folder().join(format!("{name}.key")), hex + "\n").unwrap();
    }
}
