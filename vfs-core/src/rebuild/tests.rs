//! rebuild: the new database equals the old one, which is refused from then on.

use std::sync::Arc;

use super::*;
use crate::base::Publisher;
use crate::clock::SystemClock;
use crate::limits::{INO_GAP, INO_TAKE_MAX};
use crate::object::Ino;
use crate::objects::Objects;
use crate::progress::silent;
use crate::repair::tests::{fill, full, overwrite, packs, readable};
use crate::repo::ref_log::RefLogEntry;
use crate::repo::tests::{Mount, content, holder, note, who};
use crate::repo::{Repo, RepoOptions};

async fn open(data: &Path) -> Result<Repo> {
    Repo::open(RepoOptions {
        data: data.to_owned(),
        bucket: None,
        database: None,
        key: None,
        clock: Arc::new(SystemClock),
    })
    .await
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn data(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn options(&self, name: &str) -> RebuildOptions {
        let bucket = url::Url::from_directory_path(self.data("old").join("bucket")).unwrap().to_string();
        RebuildOptions { data: self.data(name), bucket, key: None, clock: Arc::new(SystemClock) }
    }

    async fn rebuild(&self, name: &str) -> Result<RebuildReport> {
        rebuild(&self.options(name), &silent).await
    }
}

async fn rows(repo: &Repo, name: &str) -> Vec<crate::repo::HistoryRow> {
    repo.history(repo.workspace(name).await.unwrap().id, true, u32::MAX).await.unwrap()
}

#[tokio::test]
async fn a_rebuilt_database_has_everything_that_the_old_one_had() {
    let place = Place::new();
    let old = open(&place.data("old")).await.unwrap();
    fill(&old).await;
    let mut mount = Mount::new(&old, "w").await;
    mount.write("by a holder", &[content(8, 900)], note("four")).await.unwrap();
    let gone = old.create_workspace("gone", None, None).await.unwrap();
    old.delete_workspace(gone.id).await.unwrap();
    let whole = readable(&old).await;
    let histories = [rows(&old, "w").await, rows(&old, "fork").await];
    let taken = old.take_inos(1).await.unwrap();
    drop(old);
    let report = place.rebuild("new").await.unwrap();
    assert_eq!((report.owner, report.deleted_workspaces, report.left_out.len()), (1, 1, 0), "{report:?}");
    let new = open(&place.data("new")).await.unwrap();
    assert_eq!(readable(&new).await, whole);
    assert_eq!([rows(&new, "w").await, rows(&new, "fork").await], histories);
    assert!(new.workspace("gone").await.is_err(), "deleted ones stay deleted");
    assert_eq!(full(&new).await.damages, []);
    assert!(new.take_inos(1).await.unwrap() > taken);
    // The old holder is fenced, its position is remembered.
    let late = new.begin(&mount.lease, mount.base, mount.position + 1).await.unwrap_err();
    assert_eq!(late.kind(), Kind::LeaseLost);
    let attached = new.attach(mount.lease.workspace, mount.lease.holder, &who(1)).await.unwrap();
    assert!(attached.lease.epoch > mount.lease.epoch);
    assert_eq!(attached.position, mount.position);
    let mut again = Mount::on(&new, attached);
    again.write("later", &[content(10, 800)], note("five")).await.unwrap();
    assert_eq!(full(&new).await.damages, []);
}

#[tokio::test]
async fn the_old_database_is_refused_and_a_folder_with_a_database_is_not_overwritten() {
    let place = Place::new();
    let old = open(&place.data("old")).await.unwrap();
    fill(&old).await;
    drop(old);
    drop(open(&place.data("old")).await.unwrap());
    place.rebuild("new").await.unwrap();
    let refused = open(&place.data("old")).await.err().unwrap();
    assert_eq!(refused.kind(), Kind::Denied);
    assert!(refused.context().contains("taken over by a rebuild"), "{}", refused.context());
    let again = place.rebuild("new").await.unwrap_err();
    assert_eq!(again.kind(), Kind::AlreadyExists);
    // A third one takes over from the second.
    assert_eq!(place.rebuild("third").await.unwrap().owner, 2);
    assert_eq!(open(&place.data("new")).await.err().unwrap().kind(), Kind::Denied);
    open(&place.data("third")).await.unwrap();
}

#[tokio::test]
async fn gc_and_repair_of_an_old_database_that_still_runs_change_nothing() {
    let place = Place::new();
    let old = open(&place.data("old")).await.unwrap();
    fill(&old).await;
    place.rebuild("new").await.unwrap();
    let new = open(&place.data("new")).await.unwrap();
    let mut mount = Mount::new(&new, "w").await;
    mount.write("later", &[content(11, 900)], note("more")).await.unwrap();
    let whole = readable(&new).await;
    let options = crate::repo::GcOptions { grace: std::time::Duration::ZERO, ..Default::default() };
    assert_eq!(old.gc(options, &silent).await.unwrap_err().kind(), Kind::Denied);
    let refused = crate::repair::repair(&old, &crate::repair::RepairOptions::default(), &silent).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Denied);
    assert_eq!(readable(&new).await, whole);
}

#[tokio::test]
async fn a_move_that_never_counted_is_kept_beside_the_one_that_did() {
    let place = Place::new();
    let old = open(&place.data("old")).await.unwrap();
    fill(&old).await;
    let w = old.workspace("w").await.unwrap();
    let fork = old.workspace("fork").await.unwrap();
    // A move of `w` to the fork's head that was cut off before its commit: same sequence, earlier time.
    let log = log::read(old.store().bucket(), old.store().keys(), Some(w.id)).await.unwrap();
    let committed = log.entries.last().unwrap();
    let time = crate::clock::Time { seconds: 1, nanos: 0 };
    let loser = RefLogEntry { snapshot: Some(fork.head), time, ..committed.clone() };
    old.put_ref_log_for_tests(&loser).await.unwrap();
    drop(old);
    let report = place.rebuild("new").await.unwrap();
    assert_eq!(report.left_out.len(), 1, "{report:?}");
    assert!(report.left_out[0].contains("no later move builds on"), "{report:?}");
    let new = open(&place.data("new")).await.unwrap();
    assert_eq!(new.workspace("w").await.unwrap().head, w.head);
    let mut connection = new.database().read().await.unwrap();
    let side = crate::db::side_refs::all(&mut connection, w.id).await.unwrap();
    assert_eq!((side.len(), side[0].snapshot), (1, fork.head));
    assert!(side[0].name.starts_with("rebuilt/"));
}

#[tokio::test]
async fn an_incomplete_head_gives_way_to_the_newest_complete_one() {
    let place = Place::new();
    let old = open(&place.data("old")).await.unwrap();
    fill(&old).await;
    let id: crate::id::ObjectId = old.store().key().chunk_id(&content(6, 3_000)).into();
    let location = old.store().locate(&[id]).await.unwrap()[&id];
    let before = rows(&old, "fork").await;
    overwrite(&old, &old.store().pack_name(location.pack), None).await;
    drop(old);
    let report = place.rebuild("new").await.unwrap();
    assert!(report.left_out.iter().any(|line| line.contains("not complete")), "{report:?}");
    let new = open(&place.data("new")).await.unwrap();
    assert_eq!(new.workspace("fork").await.unwrap().head, before[1].snapshot, "the state before");
    assert_eq!(full(&new).await.damages, []);
}

#[tokio::test]
async fn epochs_that_left_no_trace_in_the_bucket_are_not_given_out_again() {
    let place = Place::new();
    let old = open(&place.data("old")).await.unwrap();
    fill(&old).await;
    let id = old.workspace("w").await.unwrap().id;
    let mut given = 0;
    for _ in 0..5 {
        let lease = old.attach(id, holder(1), &who(1)).await.unwrap().lease;
        assert!(lease.epoch > given);
        given = lease.epoch;
        old.detach(&lease).await.unwrap();
    }
    drop(old);
    place.rebuild("new").await.unwrap();
    let new = open(&place.data("new")).await.unwrap();
    let attached = new.attach(id, holder(2), &who(2)).await.unwrap();
    assert!(attached.lease.epoch > given, "an old holder could not be told from the new one");
}

/// Takes more inode numbers than a rebuild leaves free; returns one that is free now.
async fn take_many_inos(repo: &Repo) -> Ino {
    for _ in 0..=INO_GAP / INO_TAKE_MAX {
        repo.take_inos(INO_TAKE_MAX).await.unwrap();
    }
    repo.take_inos(1).await.unwrap()
}

#[tokio::test]
async fn inode_numbers_that_only_the_ref_log_knows_are_not_given_out_again() {
    let place = Place::new();
    let old = open(&place.data("old")).await.unwrap();
    fill(&old).await;
    let taken = take_many_inos(&old).await;
    // Something moves, but no file has one of these numbers.
    old.create_workspace("later", None, None).await.unwrap();
    drop(old);
    place.rebuild("new").await.unwrap();
    assert!(open(&place.data("new")).await.unwrap().take_inos(1).await.unwrap() > taken);
}

#[tokio::test]
async fn inode_numbers_that_only_the_trees_know_are_not_given_out_again() {
    let place = Place::new();
    let old = open(&place.data("old")).await.unwrap();
    fill(&old).await;
    let taken = take_many_inos(&old).await;
    Mount::new(&old, "w").await.write("new", &[content(12, 900)], note("a high number")).await.unwrap();
    // As entries of before say: nothing of inode numbers.
    let log = log::read(old.store().bucket(), old.store().keys(), None).await.unwrap();
    for entry in log.entries {
        overwrite(&old, &entry.object_name(old.store().tenant()), None).await;
        old.put_ref_log_for_tests(&RefLogEntry { ino: None, digest: None, ..entry }).await.unwrap();
    }
    drop(old);
    let report = place.rebuild("new").await.unwrap();
    assert_eq!((report.left_out.len(), report.unreadable_moves.len()), (0, 0), "{report:?}");
    assert!(open(&place.data("new")).await.unwrap().take_inos(1).await.unwrap() > taken);
}

#[tokio::test]
async fn two_workspaces_of_one_name_are_told_apart() {
    let place = Place::new();
    let old = open(&place.data("old")).await.unwrap();
    let first = old.create_workspace("twin", None, None).await.unwrap();
    let mut mount = Mount::new(&old, "twin").await;
    mount.write("first", &[content(13, 900)], note("first")).await.unwrap();
    old.detach(&mount.lease).await.unwrap();
    // On its way to the bucket, the end of the first one got lost.
    let before = log::read(old.store().bucket(), old.store().keys(), None).await.unwrap().entries.len();
    old.delete_workspace(first.id).await.unwrap();
    let second = old.create_workspace("twin", None, None).await.unwrap();
    let log = log::read(old.store().bucket(), old.store().keys(), None).await.unwrap();
    assert_eq!(log.entries.len(), before + 2);
    let end = log.entries.iter().find(|entry| entry.snapshot.is_none()).unwrap();
    overwrite(&old, &end.object_name(old.store().tenant()), None).await;
    drop(old);
    let report = place.rebuild("new").await.unwrap();
    assert!(report.left_out[0].contains("the older workspace twin is now twin-"), "{report:?}");
    let new = open(&place.data("new")).await.unwrap();
    assert_eq!(new.workspace("twin").await.unwrap().id, second.id);
    let other = format!("twin-{}", &first.id.to_hex()[..8]);
    assert_eq!(new.workspace(&other).await.unwrap().id, first.id);
    assert_eq!(rows(&new, &other).await.len(), 2);
}

#[tokio::test]
async fn a_rebuild_that_was_stopped_left_nothing_and_can_be_repeated() {
    let place = Place::new();
    let old = open(&place.data("old")).await.unwrap();
    fill(&old).await;
    let whole = readable(&old).await;
    let count = packs(&old).await.len();
    drop(old);
    let options = place.options("new");
    {
        let stopped = rebuild(&options, &silent);
        let soon = tokio::time::timeout(std::time::Duration::from_millis(15), stopped);
        let _ = soon.await;
    }
    if !place.data("new").join(SQLITE).exists() {
        let report = place.rebuild("new").await.unwrap();
        assert_eq!(report.packs as usize, count);
    }
    assert_eq!(readable(&open(&place.data("new")).await.unwrap()).await, whole);
}

#[tokio::test]
async fn a_bucket_without_a_config_is_refused_and_stays_as_it_was() {
    let place = Place::new();
    let bucket = place.data("empty");
    let options = RebuildOptions {
        data: place.data("new"),
        bucket: url::Url::from_directory_path(&bucket).unwrap().to_string(),
        key: None,
        clock: Arc::new(SystemClock),
    };
    assert_eq!(rebuild(&options, &silent).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(Bucket::open(&options.bucket).unwrap().list("").await.unwrap(), []);
}

/// Stored bytes: a change of them needs a new format.
#[tokio::test]
async fn golden_bytes_of_an_owner_object() {
    let (bucket, tenant) = (Bucket::memory(), crate::id::TenantId::from_bytes([7; 16]));
    let time = crate::clock::Time { seconds: 1_700_000_000, nanos: 5 };
    assert_eq!(owner::take(&bucket, tenant, time).await.unwrap(), 1);
    let bytes = bucket.get("t/07070707070707070707070707070707/owner/0000000000000001").await.unwrap();
    assert_eq!(bytes, &br#"{"format":0,"owner":1,"time":{"nanos":5,"seconds":1700000000}}"#[..]);
}
