//! repair against every kind of damage: found, never served, never made worse, and the same end wherever it was stopped.

mod keeps;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::id::{ObjectId, PackId, SnapshotId};
use crate::import::{ImportOptions, InoSource, import};
use crate::object::{Blob, Body, Content, Extent, Ino, Node, Target};
use crate::objects::Objects;
use crate::progress::silent;
use crate::repo::tests::{Mount, content, note, repo};
use crate::repo::{CheckOptions, CheckReport, Severity};
use crate::tree::{Entries, linked};

struct Inos<'a>(&'a Repo);

#[async_trait]
impl InoSource for Inos<'_> {
    async fn take(&self, count: u64) -> Result<Ino> {
        self.0.take_inos(count).await
    }
}

/// A workspace with two states and a fork: directories, a file of several chunks, hard links, many names.
pub(crate) async fn world() -> Repo {
    let (repo, _) = repo().await;
    fill(&repo).await;
    repo
}

pub(crate) async fn fill(repo: &Repo) {
    let source = tempfile::tempdir().unwrap();
    let at = |name: &str| source.path().join(name);
    std::fs::create_dir_all(at("deep/er")).unwrap();
    std::fs::create_dir(at("many")).unwrap();
    std::fs::write(at("inline"), "small").unwrap();
    std::fs::write(at("deep/one"), content(1, 5_000)).unwrap();
    std::fs::write(at("deep/er/two"), content(2, 6_000)).unwrap();
    std::fs::hard_link(at("deep/er/two"), at("second")).unwrap();
    let sparse = std::fs::File::create(at("deep/sparse")).unwrap();
    for (seed, offset) in [(3, 0), (4, 1 << 20)] {
        std::os::unix::fs::FileExt::write_all_at(&sparse, &content(seed, 4_096), offset).unwrap();
    }
    for number in 0..150 {
        std::fs::write(at(&format!("many/{number:04}")), format!("{number}")).unwrap();
    }
    publish(repo, "w", source.path(), "one").await;
    std::fs::write(at("deep/one"), content(5, 5_500)).unwrap();
    publish(repo, "w", source.path(), "two").await;
    let info = repo.workspace("w").await.unwrap();
    repo.create_workspace("fork", None, Some(info.head)).await.unwrap();
    std::fs::write(at("only"), content(6, 3_000)).unwrap();
    publish(repo, "fork", source.path(), "three").await;
}

async fn publish(repo: &Repo, workspace: &str, source: &std::path::Path, message: &str) {
    let info = match repo.workspace(workspace).await {
        Ok(info) => info,
        Err(_) => repo.create_workspace(workspace, None, None).await.unwrap(),
    };
    let previous = repo.snapshot(info.head).await.unwrap();
    let batch = repo.batch();
    let made = import(&batch, &Inos(repo), source, Some(&previous), &ImportOptions::default(), &silent).await.unwrap();
    repo.move_head(info.id, info.head, batch, made.root, made.links, note(message)).await.unwrap();
}

/// Every file of every state that can be read: `workspace#sequence:path` → hash of the content.
pub(crate) async fn readable(repo: &Repo) -> BTreeMap<String, String> {
    repo.store().forget_cached();
    let mut found = BTreeMap::new();
    let mut states = Vec::new();
    {
        // In memory there is one connection only.
        let mut connection = repo.database().read().await.unwrap();
        for workspace in workspaces::all(&mut connection, repo.store().tenant_number()).await.unwrap() {
            let rows = crate::db::history::newest(&mut connection, workspace.id, true, u64::MAX).await;
            let named = |row: crate::repo::HistoryRow| (format!("{}#{}", workspace.name, row.sequence), row.snapshot);
            states.extend(rows.into_iter().flatten().map(named));
        }
    }
    for (at, snapshot) in states {
        read_snapshot(repo, snapshot, &at, &mut found).await;
    }
    found
}

async fn read_snapshot(repo: &Repo, id: SnapshotId, at: &str, found: &mut BTreeMap<String, String>) {
    let Ok(snapshot) = repo.snapshot(id).await else { return };
    let mut waiting = vec![(format!("{at}:"), snapshot.root.clone())];
    while let Some((path, node)) = waiting.pop() {
        let Body::Directory(subtree) = &node.body else { continue };
        let mut entries = Entries::new(repo.store(), subtree.tree);
        while let Ok(Some(entry)) = entries.next().await {
            let path = format!("{path}/{}", entry.name);
            let node = match entry.target {
                Target::Node(node) => node,
                Target::Link(ino) => match linked(repo.store(), snapshot.links.as_ref(), ino).await {
                    Ok(node) => node,
                    Err(_) => continue,
                },
            };
            if let Some(hash) = hash(repo, &node).await {
                found.insert(path.clone(), hash);
            }
            waiting.push((path, node));
        }
    }
}

async fn hash(repo: &Repo, node: &Node) -> Option<String> {
    let read = |id: ObjectId| async move { repo.store().read(id).await.ok() };
    let mut hasher = blake3::Hasher::new();
    match &node.body {
        Body::File(Content::Inline(bytes)) => drop(hasher.update(bytes)),
        Body::File(Content::Chunk(chunk)) => drop(hasher.update(&read(chunk.id.into()).await?)),
        Body::File(Content::Blob { id, .. }) => {
            for extent in Blob::decode(&read((*id).into()).await?).unwrap().extents() {
                if let Extent::Chunk(chunk) = extent {
                    hasher.update(&read(chunk.id.into()).await?);
                }
            }
        }
        _ => return None,
    }
    Some(hasher.finalize().to_hex().to_string())
}

pub(crate) async fn packs(repo: &Repo) -> Vec<PackId> {
    let mut packs: Vec<_> = crate::gc::list_packs(repo.store()).await.unwrap().into_keys().collect();
    packs.sort_unstable();
    packs
}

/// Replaces an object of the bucket; `None` removes it.
pub(crate) async fn overwrite(repo: &Repo, name: &str, bytes: Option<Vec<u8>>) {
    let bucket = repo.store().bucket();
    bucket.delete(name).await.unwrap();
    if let Some(bytes) = bytes {
        bucket.create(name, Bytes::from(bytes)).await.unwrap();
    }
}

pub(crate) async fn full(repo: &Repo) -> CheckReport {
    repo.check(CheckOptions { full: true }, &silent).await.unwrap()
}

async fn sql(repo: &Repo, statement: &str) {
    let mut transaction = repo.database().begin().await.unwrap();
    transaction.vandal(statement).await.unwrap();
    repo.database().commit(transaction).await.unwrap();
}

async fn mend(repo: &Repo) -> RepairReport {
    repair(repo, &RepairOptions::default(), &silent).await.unwrap()
}

/// What was readable is readable, nothing else is, check is clean, and there is nothing left to do.
async fn repaired(repo: &Repo, before: &BTreeMap<String, String>, what: &str) {
    let after = readable(repo).await;
    for (path, hash) in before {
        assert_eq!(after.get(path), Some(hash), "{what}: {path} could be read before the repair");
    }
    let checked = full(repo).await;
    assert_eq!(checked.damages, [], "{what}: check after the repair");
    let again = mend(repo).await;
    assert!(again.is_idle(), "{what}: a second repair: {again:?}");
}

/// What can be read is what was written.
fn never_wrong(whole: &BTreeMap<String, String>, now: &BTreeMap<String, String>, what: &str) {
    for (path, hash) in now {
        assert!(whole.get(path).is_none_or(|right| right == hash), "{what}: {path} was served wrong");
    }
}

#[tokio::test]
async fn a_sound_repo_needs_no_repair() {
    let repo = world().await;
    assert_eq!(full(&repo).await.damages, []);
    let report = mend(&repo).await;
    assert!(report.is_idle() && report.lost.is_empty() && report.packs > 0, "{report:?}");
}

#[tokio::test]
async fn every_damage_of_a_pack_is_found_never_served_and_repaired() {
    let count = packs(&world().await).await.len();
    assert!(count >= 4);
    for number in 0..count {
        for place in ["header", "class", "first object", "middle", "footer", "trailer", "end", "cut", "gone", "swapped"]
        {
            let repo = world().await;
            let whole = readable(&repo).await;
            let pack = packs(&repo).await[number];
            let name = repo.store().pack_name(pack);
            let mut bytes = repo.store().bucket().get(&name).await.unwrap().to_vec();
            let length = bytes.len();
            match place {
                "header" => bytes[3] ^= 1,
                "class" => bytes[8] ^= 0x17,
                "first object" => bytes[26] ^= 0x10,
                "middle" => bytes[length / 2] ^= 0x80,
                "footer" => bytes[length - 50] ^= 4,
                "trailer" => bytes[length - 20] ^= 2,
                "end" => bytes[length - 1] ^= 1,
                "cut" => bytes.truncate(length - 30),
                _ => {}
            }
            if place == "swapped" {
                let other = packs(&repo).await[(number + 1) % count];
                let other = repo.store().pack_name(other);
                let theirs = repo.store().bucket().get(&other).await.unwrap().to_vec();
                overwrite(&repo, &other, Some(bytes)).await;
                bytes = theirs;
            }
            overwrite(&repo, &name, (place != "gone").then_some(bytes)).await;
            let what = format!("{place} of pack {number}");
            let before = readable(&repo).await;
            never_wrong(&whole, &before, &what);
            let checked = full(&repo).await;
            assert_eq!(checked.worst(), Some(Severity::Stored), "{what}: {checked:?}");
            let dry = repair(&repo, &RepairOptions { dry_run: true, salvage: None }, &silent).await.unwrap();
            assert!(!dry.is_idle(), "{what}: a dry run sees it");
            assert_eq!(readable(&repo).await, before, "{what}: a dry run changes nothing");
            let report = mend(&repo).await;
            assert_eq!(report.lost, dry.lost, "{what}: the dry run said what is lost");
            let unreadable = whole.keys().any(|path| !before.contains_key(path));
            // A lost snapshot of an empty tree takes no path with it.
            let named = report.lost.iter().any(|lost| lost.path != "/");
            assert!(!unreadable || !report.lost.is_empty(), "{what}: nothing is said to be lost");
            assert!(unreadable || !named, "{what}: {:?}", report.lost);
            repaired(&repo, &before, &what).await;
        }
    }
}

#[tokio::test]
async fn exactly_the_lost_paths_are_left_out_and_named() {
    let repo = world().await;
    let chunk: ObjectId = repo.store().key().chunk_id(&content(2, 6_000)).into();
    let location = repo.store().locate(&[chunk]).await.unwrap()[&chunk];
    let name = repo.store().pack_name(location.pack);
    let mut bytes = repo.store().bucket().get(&name).await.unwrap().to_vec();
    bytes[location.entry.offset as usize + 7] ^= 1;
    overwrite(&repo, &name, Some(bytes)).await;
    let before = readable(&repo).await;
    let (old, fork) = (repo.workspace("w").await.unwrap(), repo.workspace("fork").await.unwrap());
    let report = mend(&repo).await;
    let mut paths: Vec<String> = report.lost.iter().map(|lost| lost.to_string()).collect();
    paths.retain(|path| path.starts_with(&format!("w@{}", &old.head.to_hex()[..12])));
    let digits = &old.head.to_hex()[..12];
    assert_eq!(paths, [format!("w@{digits}:/deep/er/two"), format!("w@{digits}:/second")], "both names of the inode");
    assert_eq!(report.heads.len(), 2, "{:?}", report.heads);
    // Two states of `w`, and two of the fork: all lack the file.
    assert_eq!((report.lost.len(), report.kept.len()), (8, 4), "{report:?}");
    let after = readable(&repo).await;
    let head = repo.workspace("w").await.unwrap().head;
    assert_ne!(head, old.head);
    let rows = repo.history(old.id, true, 10).await.unwrap();
    let newest: Vec<_> = after.keys().filter(|path| path.starts_with(&format!("w#{}:", rows[0].sequence))).collect();
    let earlier: Vec<_> = before.keys().filter(|path| path.starts_with(&format!("w#{}:", rows[1].sequence))).collect();
    assert_eq!(newest.len(), earlier.len(), "the new head has exactly what could be read");
    assert_ne!(repo.workspace("fork").await.unwrap().head, fork.head);
    repaired(&repo, &before, "a lost chunk").await;
}

#[tokio::test]
async fn what_is_left_of_a_file_is_salvaged_with_a_hole() {
    let repo = world().await;
    let chunk: ObjectId = repo.store().key().chunk_id(&content(4, 4_096)).into();
    let location = repo.store().locate(&[chunk]).await.unwrap()[&chunk];
    let name = repo.store().pack_name(location.pack);
    let mut bytes = repo.store().bucket().get(&name).await.unwrap().to_vec();
    bytes[location.entry.offset as usize] ^= 1;
    overwrite(&repo, &name, Some(bytes)).await;
    let folder = tempfile::tempdir().unwrap();
    let options = RepairOptions { dry_run: false, salvage: Some(folder.path().join("saved")) };
    let report = repair(&repo, &options, &silent).await.unwrap();
    assert_eq!(report.salvaged_files, 1);
    let place = std::fs::read_dir(folder.path().join("saved")).unwrap().next().unwrap().unwrap().path();
    let saved = std::fs::read(place.join("deep/sparse")).unwrap();
    assert_eq!(saved.len(), (1 << 20) + 4_096);
    assert_eq!(saved[..4_096], content(3, 4_096));
    assert!(saved[4_096..].iter().all(|byte| *byte == 0), "the chunk that is gone is a hole");
}

/// A future that is dropped after so many polls.
struct Stopped<F>(Pin<Box<F>>, usize);

impl<F: Future> Future for Stopped<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.1 == 0 {
            return Poll::Ready(None);
        }
        self.1 -= 1;
        self.0.as_mut().poll(context).map(Some)
    }
}

#[tokio::test]
async fn a_repair_that_was_stopped_anywhere_is_finished_by_the_next() {
    let mut stops = 0;
    for polls in (1..400).step_by(13) {
        // On disk: a database in memory is gone with a connection that was dropped in the middle of a statement.
        let place = tempfile::tempdir().unwrap();
        let clock = std::sync::Arc::new(crate::clock::SystemClock);
        let options = crate::repo::RepoOptions {
            data: place.path().join("data"),
            bucket: None,
            database: None,
            key: None,
            clock,
        };
        let repo = Repo::open(options).await.unwrap();
        fill(&repo).await;
        let names = packs(&repo).await;
        // A pack of contents loses a byte, one of trees is gone, a row is wrong.
        for (number, pack) in names.iter().enumerate() {
            let name = repo.store().pack_name(*pack);
            let mut bytes = repo.store().bucket().get(&name).await.unwrap().to_vec();
            let contents = bytes[8] == b'C';
            if contents && number % 2 == 0 || bytes.len() > 20_000 {
                bytes[27] ^= 1;
                overwrite(&repo, &name, Some(bytes)).await;
            }
        }
        sql(&repo, "UPDATE refs SET epoch = epoch + 1").await;
        sql(&repo, "DELETE FROM objects WHERE offset = 25").await;
        let before = readable(&repo).await;
        let options = RepairOptions::default();
        let stopped = Stopped(Box::pin(repair(&repo, &options, &silent)), polls).await;
        if let Some(result) = stopped {
            result.unwrap();
        } else {
            stops += 1;
        }
        let between = readable(&repo).await;
        assert!(before.iter().all(|(path, hash)| between.get(path) == Some(hash)), "stopped after {polls} polls");
        mend(&repo).await;
        repaired(&repo, &before, &format!("stopped after {polls} polls")).await;
    }
    assert!(stops > 5, "some were really stopped: {stops}");
}

#[tokio::test]
async fn rows_come_back_from_the_ref_log_and_the_history() {
    let statements = [
        "UPDATE refs SET snapshot = zeroblob(32)",
        "UPDATE refs SET sequence = sequence + 1",
        "UPDATE refs SET epoch = 77",
        "DELETE FROM refs",
        "UPDATE history SET message = 'x' WHERE sequence = 2",
        "UPDATE history SET snapshot = zeroblob(32)",
        "UPDATE history SET sequence = 99 WHERE sequence = 2",
        "UPDATE history SET sequence = -5 WHERE sequence = 3",
        "UPDATE leases SET pid = 7",
        "UPDATE objects SET offset = offset + 1",
        "UPDATE objects SET flags = 64",
        "UPDATE objects SET plain = plain + 1",
        "UPDATE objects SET pack = 4711",
        "UPDATE objects SET kind = 9 WHERE kind = 3",
        "DELETE FROM objects WHERE kind = 4",
        "DELETE FROM objects",
        "UPDATE packs SET size = size + 1",
        "UPDATE packs SET class = 67",
        "UPDATE packs SET class = 99",
        "UPDATE packs SET objects = 0",
        "UPDATE packs SET pack = zeroblob(32) WHERE id = 2",
        "DELETE FROM packs",
    ];
    for statement in statements {
        let repo = world().await;
        let held = Mount::new(&repo, "w").await;
        let whole = readable(&repo).await;
        let histories = |rows: &[crate::repo::HistoryRow]| {
            rows.iter().map(|row| (row.sequence, row.snapshot, row.message.clone())).collect::<Vec<_>>()
        };
        let rows = repo.history(held.lease.workspace, true, 99).await.unwrap();
        if !statement.contains("leases") {
            repo.detach(&held.lease).await.unwrap();
        }
        sql(&repo, statement).await;
        never_wrong(&whole, &readable(&repo).await, statement);
        let checked = repo.check(CheckOptions { full: true }, &silent).await;
        let found =
            checked.as_ref().map_or_else(|error| error.kind() == Kind::Corrupt, |found| !found.damages.is_empty());
        assert!(found, "{statement}: {checked:?}");
        let report = mend(&repo).await;
        assert!(!report.is_idle() && report.lost.is_empty(), "{statement}: {report:?}");
        assert_eq!(
            histories(&repo.history(held.lease.workspace, true, 99).await.unwrap()),
            histories(&rows),
            "{statement}"
        );
        repaired(&repo, &whole, statement).await;
        // It can be published on, and an old holder cannot.
        let mut mount = Mount::new(&repo, "w").await;
        assert!(mount.lease.epoch > held.lease.epoch, "{statement}");
        mount.write("new", &[content(9, 700)], note("more")).await.unwrap();
        assert_eq!(full(&repo).await.damages, [], "{statement}");
    }
}

#[tokio::test]
async fn a_holder_is_not_repaired_under_its_feet() {
    let repo = world().await;
    let held = Mount::new(&repo, "w").await;
    let refused = repair(&repo, &RepairOptions::default(), &silent).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Busy);
    assert!(refused.context().contains("w is mounted at /mnt/1"), "{}", refused.context());
    repo.detach(&held.lease).await.unwrap();
    assert!(mend(&repo).await.is_idle());
}

#[tokio::test]
async fn objects_are_found_in_packs_that_the_index_does_not_know() {
    let repo = world().await;
    let whole = readable(&repo).await;
    sql(&repo, "DELETE FROM objects").await;
    sql(&repo, "DELETE FROM packs").await;
    assert!(readable(&repo).await.is_empty());
    let report = mend(&repo).await;
    assert_eq!(report.index_packs, packs(&repo).await.len() as u64);
    assert!(report.lost.is_empty() && report.found_objects > 10, "{report:?}");
    repaired(&repo, &whole, "an empty index").await;
}
