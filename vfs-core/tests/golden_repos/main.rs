//! Golden repos: whole repos as older code wrote them, which every later one must open, read, check, write to and collect.
//!
//! | file in `tests/golden/repos` | what |
//! |---|---|
//! | `NAME.tar.zst` | a data folder with its bucket |
//! | `NAME.json` | what is in it, by hashes |
//! | `NAME.key` | the operator key of an encrypted one |
//!
//! They are never written again. When stored bytes get a new version, or the database a new step, add some:
//!
//! ```text
//! ESKER_GOLDEN_REPO=NAME [ESKER_GOLDEN_ENCRYPTED=1] cargo test -p vfs-core --test golden_repos -- --ignored write_a_golden_repo
//! ```

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test or example may panic")]

mod make;
mod manifest;
mod newer;
mod schema;

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::local::LocalFileSystem;
use sqlx::Connection;
use vfs_core::base::PublishNote;
use vfs_core::bucket::Bucket;
use vfs_core::clock::SystemClock;
use vfs_core::db::Database;
use vfs_core::id::HolderId;
use vfs_core::import::{ImportOptions, InoSource, import};
use vfs_core::keys::OperatorKey;
use vfs_core::object::Ino;
use vfs_core::progress::silent;
use vfs_core::rebuild::{RebuildOptions, rebuild};
use vfs_core::repo::{CheckOptions, GcOptions, HolderDescription, Repo, RepoOptions};

use manifest::{Manifest, manifest};

/// Largest golden repo: they stay in the repository for ever.
const SIZE_MAX: u64 = 100_000;
/// What the tests here publish.
const LATER: &str = "by a later version";

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

/// A golden repo, unpacked.
struct Golden {
    name: String,
    place: tempfile::TempDir,
    key: Option<OperatorKey>,
    manifest: Manifest,
}

impl Golden {
    fn unpack(name: &str) -> Golden {
        let place = tempfile::tempdir().unwrap();
        let packed = fs::File::open(folder().join(format!("{name}.tar.zst"))).unwrap();
        assert!(packed.metadata().unwrap().len() < SIZE_MAX);
        tar::Archive::new(zstd::Decoder::new(packed).unwrap()).unpack(place.path()).unwrap();
        let read = |ending: &str| fs::read_to_string(folder().join(format!("{name}.{ending}")));
        let manifest: Manifest = serde_json::from_str(&read("json").unwrap()).unwrap();
        assert!(manifest.snapshots.values().any(|paths| paths.len() > 200), "{name} says what it holds");
        let key = read("key").ok().map(|text| OperatorKey::parse(&text).unwrap());
        Golden { name: name.to_owned(), place, key, manifest }
    }

    /// All of them.
    fn all() -> Vec<Golden> {
        let names = names();
        assert!(names.len() >= 3, "packs of version 0, packs of version 1, encrypted ones");
        names.iter().map(|name| Golden::unpack(name)).collect()
    }

    fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    fn options(&self) -> RepoOptions {
        let clock = Arc::new(SystemClock);
        RepoOptions { data: self.data(), bucket: None, database: None, key: self.key.clone(), clock }
    }

    async fn open(&self) -> Repo {
        Repo::open(self.options()).await.unwrap()
    }

    fn rebuild_options(&self, data: &Path) -> RebuildOptions {
        let bucket = format!("file://{}", self.data().join("bucket").display());
        RebuildOptions { data: data.to_owned(), bucket, key: self.key.clone(), clock: Arc::new(SystemClock) }
    }
}

/// Says where the bucket is. A golden repo remembers that it lies in its data folder.
async fn set_bucket(data: &Path, url: &str) {
    let path = format!("sqlite:{}", data.join("esker.db").display());
    let mut database = sqlx::SqliteConnection::connect(&path).await.unwrap();
    sqlx::query("UPDATE meta SET value = ? WHERE key = 'bucket'").bind(url).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
}

/// Attaches a workspace as if its bucket were far away, from a cold store: bundles count there alone. The objects that were read.
async fn attach(data: &Path, options: &RepoOptions, workspace: &str, makes_a_bundle: bool) -> u64 {
    const FAR: &str = "memory:///";
    set_bucket(data, FAR).await;
    let database = Database::open(&data.join("esker.db")).await.unwrap();
    let store = LocalFileSystem::new_with_prefix(data.join("bucket")).unwrap();
    let bucket = Bucket::from_store(Arc::new(store), FAR);
    let (clock, key) = (options.clock.clone(), options.key.as_ref());
    let repo = Repo::open_with(database.clone(), bucket.clone(), clock, key).await.unwrap();
    let id = repo.workspace(workspace).await.unwrap().id;
    let before = bucket.requests();
    let who = HolderDescription { host: "here".into(), pid: 1, mountpoint: "/m".into() };
    let attached = repo.attach(id, HolderId::from_bytes([9; 16]), &who).await.unwrap();
    let after = bucket.requests();
    repo.detach(&attached.lease).await.unwrap();
    // It is written beside the attach.
    while makes_a_bundle && !has_bundle(data).await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(repo);
    database.close().await;
    after.get + after.range - before.get - before.range
}

/// Whether the database knows of a bundle.
async fn has_bundle(data: &Path) -> bool {
    let path = format!("sqlite:{}", data.join("esker.db").display());
    let mut database = sqlx::SqliteConnection::connect(&path).await.unwrap();
    let attached: Option<String> = sqlx::query_scalar("SELECT value FROM meta WHERE key = 'attached'")
        .fetch_optional(&mut database)
        .await
        .unwrap();
    database.close().await.unwrap();
    attached.is_some_and(|attached| attached.contains("\"bundled\":true"))
}

/// Files below a folder, by path.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn text(length: usize) -> String {
    "The quick brown fox jumps over the lazy dog.\n".chars().cycle().take(length).collect()
}

/// Everything that can be in a folder: content inline, in a chunk, in a blob with a hole; links, kinds.
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
    fs::write(source.join("new"), text(3_333)).unwrap();
}

/// Publishes a folder with old and new content onto a workspace.
async fn publish_later(repo: &Repo, workspace: &str) {
    let source = tempfile::tempdir().unwrap();
    write_source(source.path());
    let info = repo.workspace(workspace).await.unwrap();
    let previous = repo.snapshot(info.head).await.unwrap();
    let (batch, options) = (repo.batch(), ImportOptions::default());
    let made = import(&batch, &Inos(repo), source.path(), Some(&previous), &options, &silent).await.unwrap();
    let note = PublishNote { author: "ada".into(), message: LATER.into(), ..PublishNote::default() };
    repo.move_head(info.id, info.head, batch, made.root, made.links, note).await.unwrap();
}

async fn assert_sound(repo: &Repo, name: &str) {
    let report = repo.check(CheckOptions { full: true }, &silent).await.unwrap();
    assert_eq!(report.damages, [], "{name}");
    assert!(report.verified_objects > 10 && report.read_packs == report.packs, "{name}: {report:?}");
}

#[tokio::test]
async fn every_golden_repo_can_be_read_checked_written_and_collected() {
    for golden in Golden::all() {
        let name = &golden.name;
        let repo = golden.open().await;
        assert_eq!(repo.is_encrypted(), golden.key.is_some());
        assert_eq!(manifest(&repo).await, golden.manifest, "{name}");
        assert_sound(&repo, name).await;
        publish_later(&repo, "first").await;
        let options = GcOptions { grace: Duration::ZERO, delete: true, ..GcOptions::default() };
        repo.gc(options, &silent).await.unwrap();
        assert_sound(&repo, name).await;
        drop(repo);
        let after = manifest(&golden.open().await).await.without_message(LATER, &golden.manifest);
        assert_eq!(after, golden.manifest, "{name} after a publish and gc");
    }
}

#[tokio::test]
async fn a_database_is_rebuilt_from_the_bucket_of_every_golden_repo() {
    for golden in Golden::all() {
        let name = &golden.name;
        let data = golden.place.path().join("rebuilt");
        let report = rebuild(&golden.rebuild_options(&data), &silent).await.unwrap();
        let left = (&report.left_out, &report.unreadable_packs, &report.unreadable_moves);
        assert_eq!(left, (&vec![], &vec![], &vec![]), "{name}");
        let repo = Repo::open(RepoOptions { data, ..golden.options() }).await.unwrap();
        assert_eq!(manifest(&repo).await.of_bucket(), golden.manifest.clone().of_bucket(), "{name}");
        assert_sound(&repo, name).await;
        publish_later(&repo, "first").await;
        assert_sound(&repo, name).await;
    }
}

#[tokio::test]
async fn an_attach_reads_the_bundle_of_a_golden_repo_and_nothing_else() {
    let mut bundles = 0;
    for golden in Golden::all() {
        let data = golden.data();
        let bundle = |path: &PathBuf| path.to_string_lossy().contains("/bundles/");
        let Some(bundle) = files(&data).into_iter().find(bundle) else { continue };
        bundles += 1;
        assert_eq!(attach(&data, &golden.options(), "fork", false).await, 1, "{}: the bundle alone", golden.name);
        // One that cannot be used is removed.
        assert!(bundle.exists(), "{}", golden.name);
    }
    assert_eq!(bundles, names().len() - 1, "version 0 had none");
}
