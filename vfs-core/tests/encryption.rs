//! An encrypted repo: nothing plain in its bucket, nothing without its key, nothing wrong from changed bytes.

#![allow(clippy::unwrap_used, reason = "a test or example may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use vfs_core::base::PublishNote;
use vfs_core::clock::SystemClock;
use vfs_core::id::{ObjectId, SnapshotId};
use vfs_core::import::{ImportOptions, InoSource, import};
use vfs_core::keys::OperatorKey;
use vfs_core::limits::COMPRESSION_LEVEL;
use vfs_core::object::{Body, Content, Ino, Target};
use vfs_core::objects::Objects;
use vfs_core::progress::silent;
use vfs_core::repo::{CheckOptions, GcOptions, Repo, RepoOptions, WorkspaceInfo};
use vfs_core::tree::Entries;
use vfs_core::{Kind, Result};

struct Inos<'a>(&'a Repo);

#[async_trait]
impl InoSource for Inos<'_> {
    async fn take(&self, count: u64) -> Result<Ino> {
        self.0.take_inos(count).await
    }
}

fn operator() -> OperatorKey {
    OperatorKey::from_bytes([0x4f; 32])
}

async fn open(data: &Path, key: Option<OperatorKey>) -> Result<Repo> {
    Repo::open(RepoOptions { data: data.to_owned(), bucket: None, database: None, key, clock: Arc::new(SystemClock) })
        .await
}

async fn publish(repo: &Repo, workspace: &str, source: &Path, message: &str) -> WorkspaceInfo {
    let info = match repo.workspace(workspace).await {
        Ok(info) => info,
        Err(_) => repo.create_workspace(workspace, None, None).await.unwrap(),
    };
    let previous = repo.snapshot(info.head).await.unwrap();
    let batch = repo.batch();
    let made = import(&batch, &Inos(repo), source, Some(&previous), &ImportOptions::default(), &silent).await.unwrap();
    let note = PublishNote { author: "marker-author".into(), message: message.into(), ..PublishNote::default() };
    repo.move_head(info.id, info.head, batch, made.root, made.links, note).await.unwrap();
    repo.workspace(workspace).await.unwrap()
}

/// Contents inline, in one chunk and in several, compressible or not; names, a target, an attribute.
fn write_source(folder: &Path) {
    fs::create_dir_all(folder.join("marker-folder")).unwrap();
    fs::write(folder.join("marker-inline"), "marker-short").unwrap();
    fs::write(folder.join("marker-folder/chunk"), "marker-text\n".repeat(1000)).unwrap();
    let mut noise = vec![0; 3_000_000];
    blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut noise);
    for at in (0..noise.len() - 100).step_by(1000) {
        noise[at..at + 12].copy_from_slice(b"marker-noise");
    }
    fs::write(folder.join("marker-folder/blob"), noise).unwrap();
    std::os::unix::fs::symlink("marker-target", folder.join("link")).unwrap();
}

/// A repo with all that leaves traces: imports, a fork, a restore, gc, a deleted workspace.
async fn lived_in(data: &Path, key: Option<OperatorKey>) -> Repo {
    let repo = open(data, key).await.unwrap();
    let source = tempfile::tempdir().unwrap();
    write_source(source.path());
    let first = publish(&repo, "marker-workspace", source.path(), "marker-message").await;
    fs::remove_file(source.path().join("marker-folder/blob")).unwrap();
    fs::write(source.path().join("marker-later"), "marker-more\n".repeat(100)).unwrap();
    let second = publish(&repo, "marker-workspace", source.path(), "marker-second").await;
    repo.create_workspace("marker-fork", Some("marker-origin"), Some(second.head)).await.unwrap();
    let gone = publish(&repo, "marker-gone", source.path(), "marker-third").await;
    repo.delete_workspace(gone.id).await.unwrap();
    let note = PublishNote { message: "marker-restore".into(), ..PublishNote::default() };
    repo.restore(first.id, None, first.head, note).await.unwrap();
    repo.gc(GcOptions { grace: Duration::ZERO, delete: true, ..GcOptions::default() }, &silent).await.unwrap();
    repo
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Files of the bucket that show something of what was stored: as it is, or compressed.
fn visible(bucket: &Path) -> Vec<PathBuf> {
    let compressed = zstd::bulk::compress("marker-text\n".repeat(1000).as_bytes(), COMPRESSION_LEVEL).unwrap();
    let shows = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        path.to_string_lossy().contains("marker") || holds(b"marker") || holds(&compressed)
    };
    files(bucket).into_iter().filter(shows).collect()
}

#[tokio::test]
async fn nothing_in_the_bucket_of_an_encrypted_repo_is_plain() {
    let folder = tempfile::tempdir().unwrap();
    let repo = lived_in(&folder.path().join("sealed"), Some(operator())).await;
    assert!(repo.is_encrypted());
    assert_eq!(repo.check(CheckOptions { full: true }, &silent).await.unwrap().damages, []);
    let bucket = folder.path().join("sealed/bucket");
    assert!(files(&bucket).iter().any(|path| path.extension().is_some_and(|end| end == "pack")));
    assert!(files(&bucket).iter().any(|path| path.to_string_lossy().contains("/reflog/")));
    assert_eq!(visible(&bucket), Vec::<PathBuf>::new());
    // The same without a key shows that the search finds what there is.
    lived_in(&folder.path().join("plain"), None).await;
    assert!(visible(&folder.path().join("plain/bucket")).len() > 5);
}

#[tokio::test]
async fn a_repo_opens_with_its_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (sealed, plain) = (folder.path().join("sealed"), folder.path().join("plain"));
    open(&sealed, Some(operator())).await.unwrap();
    open(&plain, None).await.unwrap();
    let kind = |result: Result<Repo>| result.err().map(|error| error.kind());
    assert_eq!(kind(open(&sealed, None).await), Some(Kind::Denied));
    assert_eq!(kind(open(&sealed, Some(OperatorKey::from_bytes([1; 32]))).await), Some(Kind::Denied));
    assert_eq!(kind(open(&plain, Some(operator())).await), Some(Kind::Invalid));
    // And none of that harmed it.
    assert_eq!(kind(open(&sealed, Some(operator())).await), None);
    assert_eq!(kind(open(&plain, None).await), None);
}

/// Every file of a snapshot with its content, or why it cannot be read.
async fn read_all(repo: &Repo, head: SnapshotId) -> Result<Vec<(String, Vec<u8>)>> {
    let snapshot = repo.snapshot(head).await?;
    let (mut found, mut waiting) = (Vec::new(), vec![snapshot.root]);
    while let Some(node) = waiting.pop() {
        let Body::Directory(subtree) = &node.body else { continue };
        let mut entries = Entries::new(repo.store(), subtree.tree);
        while let Some(entry) = entries.next().await? {
            let Target::Node(node) = entry.target else { continue };
            if let Body::File(Content::Chunk(chunk)) = &node.body {
                let bytes = repo.store().read(ObjectId::from(chunk.id)).await?;
                found.push((entry.name.to_string(), bytes.to_vec()));
            }
            waiting.push(node);
        }
    }
    Ok(found)
}

/// Opens the repo anew for each look, so that nothing comes from memory.
async fn looked_at(data: &Path, head: SnapshotId) -> Result<Vec<(String, Vec<u8>)>> {
    read_all(&open(data, Some(operator())).await?, head).await
}

#[tokio::test]
async fn changed_packs_give_the_right_bytes_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let source = tempfile::tempdir().unwrap();
    let head = {
        let repo = open(&data, Some(operator())).await.unwrap();
        fs::write(source.path().join("one"), "first content ".repeat(30)).unwrap();
        publish(&repo, "w", source.path(), "one").await;
        fs::write(source.path().join("two"), "other content ".repeat(30)).unwrap();
        publish(&repo, "w", source.path(), "two").await.head
    };
    let good = looked_at(&data, head).await.unwrap();
    assert_eq!(good.len(), 2);
    let packs: Vec<PathBuf> = files(&data.join("bucket"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "pack"))
        .collect();
    assert!(packs.len() >= 4);
    for path in &packs {
        let bytes = fs::read(path).unwrap();
        // Each opens the repo anew; every bit of small packs is flipped in the unit tests.
        for at in (0..bytes.len()).step_by(11) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(path, &changed).unwrap();
            right_or_refused(&data, head, &good, path, at).await;
        }
        for length in [0, bytes.len() - 1] {
            fs::write(path, &bytes[..length]).unwrap();
            right_or_refused(&data, head, &good, path, length).await;
        }
        fs::write(path, &bytes).unwrap();
    }
    // Each pack under the name of each other one.
    for (one, two) in packs.iter().zip(packs.iter().skip(1)) {
        let (first, second) = (fs::read(one).unwrap(), fs::read(two).unwrap());
        fs::write(one, &second).unwrap();
        fs::write(two, &first).unwrap();
        right_or_refused(&data, head, &good, one, 0).await;
        let repo = open(&data, Some(operator())).await.unwrap();
        assert_ne!(repo.check(CheckOptions { full: true }, &silent).await.unwrap().damages, []);
        fs::write(one, &first).unwrap();
        fs::write(two, &second).unwrap();
    }
    assert_eq!(looked_at(&data, head).await.unwrap(), good);
}

async fn right_or_refused(data: &Path, head: SnapshotId, good: &[(String, Vec<u8>)], path: &Path, at: usize) {
    match looked_at(data, head).await {
        Ok(found) => assert_eq!(found, good, "{} changed at {at}", path.display()),
        // A range behind the end of a pack that was cut short is refused by the bucket itself.
        Err(error) => assert!(
            matches!(error.kind(), Kind::Corrupt | Kind::Unavailable),
            "{} changed at {at}: {error}",
            path.display()
        ),
    }
}
