//! The end of a world: everything that was acknowledged is there, nothing is there that nobody tried, no byte is
//! damaged, and garbage goes.

use std::collections::HashSet;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use vfs_core::documents::{Scope, Within};
use vfs_core::id::SnapshotId;
use vfs_core::progress::silent;
use vfs_core::repo::{CheckOptions, GcReport, Repo, Severity, WorkspaceInfo};

use crate::client::collecting;
use crate::files::{Files, files};
use crate::model::{Deleted, Model, Space};
use crate::world::World;

/// Looks at everything through an engine over a bucket without faults.
pub(crate) async fn all(repo: &Repo, model: &Model) {
    let listed = repo.workspaces().await.unwrap();
    for info in &listed {
        workspace(repo, model, info).await;
    }
    let spaces = model.0.lock().spaces.clone();
    for (id, space) in spaces {
        let is_there = listed.iter().any(|info| info.id == id);
        match space.deleted {
            Deleted::No => assert!(is_there, "the workspace {} is lost", space.name),
            Deleted::Yes => assert!(!is_there, "the workspace {} came back", space.name),
            Deleted::Maybe => {}
        }
    }
    documents(repo, model).await;
    let mut report = repo.check(CheckOptions { full: true }, &silent).await.unwrap();
    // What a publish that was refused has uploaded waits for gc; `garbage_goes` looks whether it goes.
    report.damages.retain(|damage| damage.severity != Severity::Nothing);
    assert!(report.damages.is_empty(), "check found damage: {:#?}", report.damages);
}

/// One workspace: its history is a chain of compare-and-set moves that holds all acknowledged ones.
async fn workspace(repo: &Repo, model: &Model, info: &WorkspaceInfo) {
    let mut rows = repo.history(info.id, true, u32::MAX).await.unwrap();
    rows.reverse();
    let chain: Vec<SnapshotId> = rows.iter().map(|row| row.snapshot).collect();
    let name = &info.name;
    assert_eq!(chain.last(), Some(&info.head), "the head of {name} is not the newest row of its history");
    let known = model.0.lock().spaces.get(&info.id).cloned();
    let mut space = known.unwrap_or_else(|| unknown(model, info, chain[0]));
    assert_eq!((&space.name, space.first), (name, chain[0]));
    assert_ne!(space.deleted, Deleted::Yes, "the workspace {name} came back");
    let numbers: Vec<u64> = rows.iter().map(|row| row.sequence).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "the history of {name} is out of order: {numbers:?}");
    let first = contents(repo, model, chain[0]).await;
    model.0.lock().contents.insert(chain[0], first);
    for pair in chain.windows(2) {
        step(repo, model, &mut space, (pair[0], pair[1])).await;
    }
    assert_eq!(space.moves, [], "acknowledged moves of {name} are not in its history");
    model.0.lock().spaces.insert(info.id, Space { moves: Vec::new(), first: chain[0], ..space.clone() });
    // From now on these are known to be there.
    let known: Vec<_> = chain.windows(2).map(|pair| (Some(pair[0]), pair[1])).collect();
    if let Some(space) = model.0.lock().spaces.get_mut(&info.id) {
        space.moves = known;
    }
}

/// A workspace that nobody was told of: somebody must have tried to make it.
fn unknown(model: &Model, info: &WorkspaceInfo, first: SnapshotId) -> Space {
    let tried = model.0.lock().makings.iter().any(|(name, at)| *name == info.name && at.is_none_or(|at| at == first));
    assert!(tried, "nobody ever made a workspace {}", info.name);
    let (moves, attempts) = (Vec::new(), Vec::new());
    Space { name: info.name.clone(), first, deleted: Deleted::No, moves, attempts }
}

/// One move of a head: acknowledged or at least tried, on just this base.
async fn step(repo: &Repo, model: &Model, space: &mut Space, (from, to): (SnapshotId, SnapshotId)) {
    let name = &space.name;
    let parents = repo.snapshot(to).await.unwrap().parents;
    assert_eq!(parents, [from], "a head of {name} moved although it was not what the mover expected");
    let found = contents(repo, model, to).await;
    let fits = |base: Option<SnapshotId>| base.is_none_or(|base| base == from);
    if let Some(place) = space.moves.iter().position(|(base, snapshot)| fits(*base) && *snapshot == to) {
        space.moves.remove(place);
    } else {
        let tried = space.attempts.iter().position(|(base, files)| fits(*base) && *files == found);
        let tried = tried.unwrap_or_else(|| panic!("the history of {name} holds {to}, which nobody made"));
        space.attempts.remove(tried);
    }
    model.0.lock().contents.insert(to, found);
}

/// The files of a snapshot, which must be those that the model knows.
async fn contents(repo: &Repo, model: &Model, snapshot: SnapshotId) -> Files {
    let found = files(repo, snapshot).await;
    let found = found.unwrap_or_else(|error| panic!("the snapshot {snapshot} is lost: {}", error.chain()));
    if let Some(known) = model.files(snapshot) {
        assert_eq!(known, found, "the snapshot {snapshot} does not hold what was acknowledged");
    }
    found
}

async fn documents(repo: &Repo, model: &Model) {
    let documents = model.0.lock().documents.clone();
    for ((path, version), bytes) in documents {
        let within = Within::Scope(Scope::org());
        let read = repo.read_document(&within, &path.parse().unwrap(), Some(version)).await;
        let (_, found) = read.unwrap_or_else(|error| panic!("{path} version {version} is lost: {}", error.chain()));
        assert_eq!(found, bytes, "{path} version {version} holds something else");
    }
}

/// Runs after which all garbage is gone: what one condemns or sees first, a later one deletes.
const GC_RUNS_MAX: usize = 4;

fn is_clean(report: &GcReport) -> bool {
    (report.condemned_packs, report.waiting_packs, report.orphan_packs, report.deletable_packs) == (0, 0, 0, 0)
}

/// Collects until nothing more goes; then the bucket holds just the packs that something reaches. Returns how many
/// packs went.
pub(crate) async fn garbage_goes(world: &World, repo: &Repo) -> u64 {
    let before = packs(world).await.len();
    // A clock that jumped back may have left rows from the future.
    world.clock.advance(Duration::from_secs(30 * 24 * 3600));
    let options = collecting(Duration::ZERO, true);
    let mut report = repo.gc(options, &silent).await;
    for _ in 0..GC_RUNS_MAX {
        match &report {
            Ok(done) if is_clean(done) => break,
            _ => report = repo.gc(options, &silent).await,
        }
    }
    let report = report.unwrap_or_else(|error| panic!("the last gc failed: {}", error.chain()));
    assert!(is_clean(&report), "garbage stays: {report:?}");
    let after = packs(world).await;
    assert_eq!(after.len() as u64, report.packs, "the bucket holds other packs than the index");
    before.saturating_sub(after.len()) as u64
}

/// The packs that are really in the bucket.
pub(crate) async fn packs(world: &World) -> HashSet<String> {
    let listed: Vec<_> = world.memory.list(Some(&Path::from("t"))).try_collect().await.unwrap();
    let names = listed.into_iter().map(|object| object.location.to_string());
    names.filter(|name| name.contains("/packs/")).collect()
}
