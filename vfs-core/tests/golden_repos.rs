//! Golden repos: whole repos as older code wrote them, which every later one must open, read, check, write to and collect.
//!
//! `tests/golden/repos/NAME.tar.zst` is a data folder with its bucket, `NAME.json` says what is in it, by hashes. They are
//! never written again. When stored bytes get a new version, or the database a new step, add one:
//!
//! ```text
//! ESKER_GOLDEN_REPO=NAME cargo test -p vfs-core --test golden_repos -- --ignored write_a_golden_repo
//! ```

#![allow(clippy::unwrap_used, reason = "a test or example may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use vfs_core::base::PublishNote;
use vfs_core::clock::SystemClock;
use vfs_core::id::{ObjectId, SnapshotId};
use vfs_core::import::{ImportOptions, InoSource, import};
use vfs_core::object::{Blob, Body, Content, Extent, Ino, Node, Snapshot, Target, TreeNode, XattrsRef};
use vfs_core::objects::Objects;
use vfs_core::progress::silent;
use vfs_core::repo::{CheckOptions, GcOptions, Repo, RepoOptions};
use vfs_core::tree::{Entries, linked};

/// Largest golden repo: they stay in the repository for ever.
const SIZE_MAX: u64 = 100_000;

/// What a golden repo holds: workspace → history, and snapshot → path → what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    workspaces: BTreeMap<String, Vec<Row>>,
    snapshots: BTreeMap<String, BTreeMap<String, String>>,
}

/// One row of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    sequence: u64,
    snapshot: String,
    author: String,
    message: String,
}

struct Inos<'a>(&'a Repo);

#[async_trait]
impl InoSource for Inos<'_> {
    async fn take(&self, count: u64) -> vfs_core::Result<Ino> {
        self.0.take_inos(count).await
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/repos")
}

fn names() -> Vec<String> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = files.filter_map(|file| Some(file.strip_suffix(".tar.zst")?.to_owned())).collect();
    names.sort();
    names
}

async fn open(data: &Path) -> Repo {
    let options =
        RepoOptions { data: data.to_owned(), bucket: None, database: None, key: None, clock: Arc::new(SystemClock) };
    Repo::open(options).await.unwrap()
}

/// Publishes a folder as the state of a workspace.
async fn publish(repo: &Repo, workspace: &str, source: &Path, message: &str) {
    let info = match repo.workspace(workspace).await {
        Ok(info) => info,
        Err(_) => repo.create_workspace(workspace, None, None).await.unwrap(),
    };
    let previous = repo.snapshot(info.head).await.unwrap();
    let batch = repo.batch();
    let made = import(&batch, &Inos(repo), source, Some(&previous), &ImportOptions::default(), &silent).await.unwrap();
    let note = PublishNote { author: "ada".into(), message: message.into(), ..PublishNote::default() };
    repo.move_head(info.id, info.head, batch, made.root, made.links, note).await.unwrap();
}

/// Everything that can be in a tree: content inline, in a chunk, in a blob with a hole; links, attributes, kinds.
fn write_source(source: &Path) {
    fs::create_dir_all(source.join("src/empty")).unwrap();
    fs::write(source.join("README"), "inline").unwrap();
    fs::write(source.join("src/chunk"), text(5_000)).unwrap();
    let sparse = fs::File::create(source.join("src/sparse")).unwrap();
    sparse.write_all_at(text(4_096).as_bytes(), 0).unwrap();
    sparse.write_all_at(text(9_000).as_bytes(), 1 << 20).unwrap();
    fs::write(source.join("src/run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(source.join("src/run"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::hard_link(source.join("src/chunk"), source.join("second name")).unwrap();
    std::os::unix::fs::symlink("src/chunk", source.join("link")).unwrap();
    fs::create_dir(source.join("many")).unwrap();
    for number in 0..200 {
        fs::write(source.join(format!("many/{number:04}")), format!("file {number}\n")).unwrap();
    }
}

fn text(length: usize) -> String {
    "The quick brown fox jumps over the lazy dog.\n".chars().cycle().take(length).collect()
}

#[tokio::test]
#[ignore = "writes a new golden repo; see the head of this file"]
async fn write_a_golden_repo() {
    let name = std::env::var("ESKER_GOLDEN_REPO").expect("ESKER_GOLDEN_REPO names the new golden repo");
    assert!(!names().contains(&name), "golden repos are never written again");
    let (place, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = place.path().join("data");
    let repo = open(&data).await;
    write_source(source.path());
    publish(&repo, "first", source.path(), "one").await;
    fs::remove_dir_all(source.path().join("many")).unwrap();
    fs::write(source.path().join("src/chunk"), text(6_000)).unwrap();
    publish(&repo, "first", source.path(), "two").await;
    let first = repo.workspace("first").await.unwrap();
    repo.create_workspace("fork", Some("first"), Some(first.head)).await.unwrap();
    fs::write(source.path().join("only in the fork"), text(700)).unwrap();
    publish(&repo, "fork", source.path(), "three").await;
    let manifest = manifest(&repo).await;
    drop(repo);
    // Nothing may wait in the write-ahead log.
    vfs_core::db::Database::open(&data.join("esker.db")).await.unwrap().close().await;
    let mut archive = tar::Builder::new(zstd::Encoder::new(Vec::new(), 19).unwrap());
    archive.append_dir_all("data", &data).unwrap();
    let packed = archive.into_inner().unwrap().finish().unwrap();
    assert!((packed.len() as u64) < SIZE_MAX, "{} bytes are too many for a golden repo", packed.len());
    fs::write(folder().join(format!("{name}.tar.zst")), packed).unwrap();
    let json = serde_json::to_string_pretty(&manifest).unwrap() + "\n";
    fs::write(folder().join(format!("{name}.json")), json).unwrap();
}

#[tokio::test]
async fn every_golden_repo_can_be_read_checked_written_and_collected() {
    assert!(!names().is_empty(), "there is a golden repo");
    for name in names() {
        let place = tempfile::tempdir().unwrap();
        let packed = fs::File::open(folder().join(format!("{name}.tar.zst"))).unwrap();
        assert!(packed.metadata().unwrap().len() < SIZE_MAX);
        tar::Archive::new(zstd::Decoder::new(packed).unwrap()).unpack(place.path()).unwrap();
        let golden: Manifest =
            serde_json::from_str(&fs::read_to_string(folder().join(format!("{name}.json"))).unwrap()).unwrap();
        assert!(golden.snapshots.values().any(|paths| paths.len() > 200), "{name} says what it holds");
        let repo = open(&place.path().join("data")).await;
        assert_eq!(manifest(&repo).await, golden, "{name}");
        write_and_collect(&repo, &name).await;
        let mut after = manifest(&repo).await;
        after.workspaces.values_mut().for_each(|rows| rows.retain(|row| row.message != "by a later version"));
        after.snapshots.retain(|snapshot, _| golden.snapshots.contains_key(snapshot));
        assert_eq!(after, golden, "{name} after a publish and gc");
    }
}

async fn write_and_collect(repo: &Repo, name: &str) {
    let sound = |repo: Repo| async move {
        let report = repo.check(CheckOptions { full: true }, &silent).await.unwrap();
        assert_eq!(report.damages, [], "{name}");
    };
    sound(repo.clone()).await;
    let source = tempfile::tempdir().unwrap();
    write_source(source.path());
    fs::write(source.path().join("new"), text(3_333)).unwrap();
    publish(repo, "first", source.path(), "by a later version").await;
    let options = GcOptions { grace: Duration::ZERO, delete: true, ..GcOptions::default() };
    repo.gc(options, &silent).await.unwrap();
    sound(repo.clone()).await;
}

/// Reads everything that a repo holds.
async fn manifest(repo: &Repo) -> Manifest {
    let mut made = Manifest { workspaces: BTreeMap::new(), snapshots: BTreeMap::new() };
    for info in repo.workspaces().await.unwrap() {
        let rows = repo.history(info.id, true, u32::MAX).await.unwrap();
        assert_eq!(rows[0].snapshot, info.head);
        for row in &rows {
            let id = row.snapshot.to_hex();
            if !made.snapshots.contains_key(&id) {
                made.snapshots.insert(id, paths(repo, row.snapshot).await);
            }
        }
        let row = |row: &vfs_core::repo::HistoryRow| Row {
            sequence: row.sequence,
            snapshot: row.snapshot.to_hex(),
            author: row.author.clone(),
            message: row.message.clone(),
        };
        made.workspaces.insert(info.name, rows.iter().map(row).collect());
    }
    made
}

async fn paths(repo: &Repo, id: SnapshotId) -> BTreeMap<String, String> {
    let snapshot = repo.snapshot(id).await.unwrap();
    let mut found = BTreeMap::from([("/".to_owned(), describe(repo, &snapshot.root).await)]);
    let mut waiting = vec![(String::new(), snapshot.root.clone())];
    while let Some((path, node)) = waiting.pop() {
        let Body::Directory(subtree) = &node.body else { continue };
        let mut entries = Entries::new(repo.store(), subtree.tree);
        while let Some(entry) = entries.next().await.unwrap() {
            let path = format!("{path}/{}", entry.name);
            let node = node_of(repo, &snapshot, entry.target).await;
            found.insert(path.clone(), describe(repo, &node).await);
            waiting.push((path, node));
        }
    }
    found
}

async fn node_of(repo: &Repo, snapshot: &Snapshot, target: Target) -> Node {
    match target {
        Target::Node(node) => node,
        Target::Link(ino) => linked(repo.store(), snapshot.links.as_ref(), ino).await.unwrap(),
    }
}

/// Kind, mode, inode, time and the hash of the content.
async fn describe(repo: &Repo, node: &Node) -> String {
    let read = |id: ObjectId| async move { repo.store().read(id).await.unwrap() };
    let mut hasher = blake3::Hasher::new();
    match &node.body {
        Body::File(content) | Body::Symlink(content) => match content {
            Content::Inline(bytes) => drop(hasher.update(bytes)),
            Content::Chunk(chunk) => drop(hasher.update(&read(chunk.id.into()).await)),
            Content::Blob { id, .. } => {
                for extent in Blob::decode(&read((*id).into()).await).unwrap().extents() {
                    match extent {
                        Extent::Hole(length) => drop(hasher.update(&vec![0; *length as usize])),
                        Extent::Chunk(chunk) => drop(hasher.update(&read(chunk.id.into()).await)),
                    }
                }
            }
        },
        Body::Directory(subtree) => {
            // It can be read as a node, too.
            TreeNode::decode(&read(subtree.tree.into()).await).unwrap();
        }
        _ => {}
    }
    let attributes = match &node.xattrs {
        XattrsRef::None => 0,
        XattrsRef::Inline(bytes) => bytes.len(),
        XattrsRef::Chunk(chunk) => read(chunk.id.into()).await.len(),
    };
    let kind = format!("{:?}", node.body.kind()).to_lowercase();
    let hash = &hasher.finalize().to_hex()[..32];
    let mtime = format!("{}.{:09}", node.mtime.seconds, node.mtime.nanos);
    format!(
        "{kind} {:o} inode {} links {} mtime {mtime} attributes {attributes} {hash}",
        node.mode, node.ino.0, node.nlink
    )
}
