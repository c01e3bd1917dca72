//! Tags, retention and dry runs: what stays, what goes, and that what was said is what happens.

use super::*;
use crate::id::{ReaderId, SnapshotId};
use crate::limits::READER_TTL;
use crate::repo::{HistoryRow, RetentionRules};

const REPACK_ALL_NOW: GcOptions = GcOptions { repack_below_percent: 100, ..DELETE_NOW };
const DRY: GcOptions = GcOptions { dry_run: true, ..DELETE_NOW };

/// A workspace with so many named rows, one an hour, each with a file of its own in place of the one before.
async fn history(repo: &Repo, clock: &TestClock, name: &str, rows: u64) -> (Mount, Vec<SnapshotId>) {
    let mut mount = Mount::new(repo, name).await;
    let mut snapshots = Vec::new();
    for number in 0..rows {
        clock.advance(HOUR);
        let bytes = content(1000 + number, 3000);
        snapshots.push(mount.write("file", &[bytes], note(&format!("row {number}"))).await.unwrap());
    }
    (mount, snapshots)
}

async fn left(repo: &Repo, mount: &Mount) -> Vec<SnapshotId> {
    let rows: Vec<HistoryRow> = repo.history(mount.lease.workspace, true, 1000).await.unwrap();
    rows.into_iter().rev().map(|row| row.snapshot).collect()
}

fn last(count: u64) -> RetentionRules {
    RetentionRules { keep_last: Some(count), ..RetentionRules::default() }
}

#[tokio::test]
async fn a_tag_keeps_its_snapshot_until_it_is_removed() {
    let (repo, clock) = repo().await;
    let (mount, snapshots) = history(&repo, &clock, "w", 5).await;
    let id = mount.lease.workspace;
    repo.detach(&mount.lease).await.unwrap();
    let tag = repo.add_tag(id, "v1", snapshots[1]).await.unwrap();
    assert_eq!((tag.name.as_str(), tag.snapshot), ("v1", snapshots[1]));
    assert_eq!(repo.add_tag(id, "v1", snapshots[1]).await.unwrap(), tag, "saying it twice is fine");
    assert_eq!(repo.add_tag(id, "v1", snapshots[2]).await.unwrap_err().kind(), Kind::AlreadyExists);
    for wrong in ["", "HEAD", "abcd", "a b", "-x", ".x", "a/b", "a@b"] {
        assert_eq!(repo.add_tag(id, wrong, snapshots[1]).await.unwrap_err().kind(), Kind::Invalid, "{wrong:?}");
    }
    let stranger = SnapshotId::from_bytes([9; 32]);
    assert_eq!(repo.add_tag(id, "v2", stranger).await.unwrap_err().kind(), Kind::NotFound);
    repo.set_retention(Some(id), Some(last(1))).await.unwrap();
    let report = repo.gc(DELETE_NOW, &silent).await.unwrap();
    assert_eq!(report.removed_rows[0].rows, 4, "the workspace's first row as well");
    assert_eq!(left(&repo, &mount).await, [snapshots[1], snapshots[4]]);
    repo.store().forget_cached();
    assert_eq!(files(&repo, snapshots[1]).await.unwrap()[0].1, content(1001, 3000));
    assert_eq!(repo.resolve_snapshot(id, "v1").await.unwrap(), snapshots[1]);
    assert_eq!(repo.resolve_snapshot(id, "v2").await.unwrap_err().kind(), Kind::NotFound);
    let fork = repo.create_workspace("fork", None, Some(snapshots[1])).await.unwrap();
    repo.delete_workspace(fork.id).await.unwrap();
    repo.remove_tag(id, "v1").await.unwrap();
    assert_eq!(repo.remove_tag(id, "v1").await.unwrap_err().kind(), Kind::NotFound);
    repo.gc(DELETE_NOW, &silent).await.unwrap();
    assert_eq!(left(&repo, &mount).await, [snapshots[4]]);
    repo.store().forget_cached();
    assert_eq!(repo.snapshot(snapshots[1]).await.unwrap_err().kind(), Kind::NotFound);
    assert_sound(&repo).await;
}

#[tokio::test]
async fn what_somebody_reads_stays_as_long_as_they_say_so() {
    let (repo, clock) = repo().await;
    let (mount, snapshots) = history(&repo, &clock, "w", 4).await;
    repo.detach(&mount.lease).await.unwrap();
    repo.set_retention(None, Some(last(1))).await.unwrap();
    let id = mount.lease.workspace;
    let (ends, falls_silent) = (ReaderId::from_bytes([1; 16]), ReaderId::from_bytes([2; 16]));
    repo.keep_reading(ends, id, snapshots[0]).await.unwrap();
    repo.keep_reading(falls_silent, id, snapshots[1]).await.unwrap();
    clock.advance(READER_TTL / 2);
    repo.keep_reading(ends, id, snapshots[0]).await.unwrap();
    clock.advance(READER_TTL / 2 - Duration::from_secs(1));
    repo.gc(DRY, &silent).await.unwrap();
    repo.gc(REPACK_ALL_NOW, &silent).await.unwrap();
    repo.store().forget_cached();
    for (number, snapshot) in [(0, snapshots[0]), (1, snapshots[1]), (3, snapshots[3])] {
        assert_eq!(files(&repo, snapshot).await.unwrap()[0].1, content(1000 + number, 3000));
    }
    assert_eq!(repo.snapshot(snapshots[2]).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(repo.keep_reading(ends, id, snapshots[2]).await.unwrap_err().kind(), Kind::NotFound);
    clock.advance(Duration::from_secs(1));
    repo.gc(REPACK_ALL_NOW, &silent).await.unwrap();
    repo.store().forget_cached();
    assert_eq!(files(&repo, snapshots[0]).await.unwrap()[0].1, content(1000, 3000), "said again");
    assert_eq!(repo.snapshot(snapshots[1]).await.unwrap_err().kind(), Kind::NotFound, "not said again");
    repo.end_reading(ends).await.unwrap();
    repo.end_reading(ends).await.unwrap();
    repo.gc(REPACK_ALL_NOW, &silent).await.unwrap();
    repo.store().forget_cached();
    assert_eq!(repo.snapshot(snapshots[0]).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(left(&repo, &mount).await, [snapshots[3]]);
    assert_sound(&repo).await;
}

#[tokio::test]
async fn what_is_read_from_a_fork_is_kept_there() {
    let (repo, clock) = repo().await;
    let (mount, snapshots) = history(&repo, &clock, "origin", 2).await;
    repo.detach(&mount.lease).await.unwrap();
    let mut forks = Vec::new();
    for number in 0..4 {
        let name = format!("fork-{number}");
        let fork = repo.create_workspace(&name, None, Some(snapshots[0])).await.unwrap().id;
        let mut changed = Mount::new(&repo, &name).await;
        changed.write("file", &[content(90 + u64::from(number), 3000)], note("another")).await.unwrap();
        repo.detach(&changed.lease).await.unwrap();
        repo.keep_reading(ReaderId::from_bytes([number; 16]), fork, snapshots[0]).await.unwrap();
        forks.push(fork);
    }
    repo.set_retention(None, Some(last(1))).await.unwrap();
    repo.gc(REPACK_ALL_NOW, &silent).await.unwrap();
    repo.delete_workspace(mount.lease.workspace).await.unwrap();
    // Whichever of them is left, it keeps what is read there.
    for gone in &forks[..3] {
        repo.delete_workspace(*gone).await.unwrap();
        repo.gc(REPACK_ALL_NOW, &silent).await.unwrap();
        repo.store().forget_cached();
        assert_eq!(files(&repo, snapshots[0]).await.unwrap()[0].1, content(1000, 3000));
    }
    assert_sound(&repo).await;
}

#[tokio::test]
async fn without_delete_nothing_of_a_history_goes() {
    let (repo, clock) = repo().await;
    let (mount, snapshots) = history(&repo, &clock, "w", 3).await;
    repo.detach(&mount.lease).await.unwrap();
    repo.set_retention(None, Some(last(1))).await.unwrap();
    let before = left(&repo, &mount).await;
    let report = repo.gc(LOOK, &silent).await.unwrap();
    assert_eq!((report.removed_rows.len(), report.condemned_packs), (0, 0));
    assert_eq!(left(&repo, &mount).await, before);
    assert!(before.contains(&snapshots[0]));
}

#[tokio::test]
async fn who_looks_at_an_automatic_row_does_not_show_it() {
    let (repo, _) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let read = mount.write("a", &[content(1, 500)], crate::repo::tests::automatic()).await.unwrap();
    mount.write("a", &[content(2, 500)], note("end")).await.unwrap();
    let before = repo.history(mount.lease.workspace, false, 100).await.unwrap();
    let reading = repo.read_for_long(read).await.unwrap();
    assert_eq!(repo.history(mount.lease.workspace, false, 100).await.unwrap(), before);
    assert_eq!(repo.tags(mount.lease.workspace).await.unwrap(), []);
    reading.end().await;
}

#[tokio::test]
async fn a_tagged_automatic_row_is_neither_thinned_nor_hidden() {
    let (repo, clock) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let tagged = mount.write("a", &[content(1, 500)], crate::repo::tests::automatic()).await.unwrap();
    repo.add_tag(mount.lease.workspace, "here", tagged).await.unwrap();
    for seed in 2..8 {
        clock.advance(HOUR / 7);
        mount.write("a", &[content(seed, 500)], crate::repo::tests::automatic()).await.unwrap();
    }
    clock.advance(3 * HOUR);
    mount.write("a", &[content(9, 500)], note("end")).await.unwrap();
    let shown = repo.history(mount.lease.workspace, false, 100).await.unwrap();
    assert!(shown.iter().any(|row| row.snapshot == tagged && row.automatic));
    assert!(left(&repo, &mount).await.len() < 8, "others were thinned");
}

#[tokio::test]
async fn a_deleted_workspace_takes_its_tags_along() {
    let (repo, clock) = repo().await;
    let (mount, snapshots) = history(&repo, &clock, "w", 2).await;
    repo.add_tag(mount.lease.workspace, "v1", snapshots[0]).await.unwrap();
    repo.detach(&mount.lease).await.unwrap();
    repo.delete_workspace(mount.lease.workspace).await.unwrap();
    repo.gc(DELETE_NOW, &silent).await.unwrap();
    assert_eq!(packs_in_bucket(&repo).await, 0);
}

#[tokio::test]
async fn a_workspace_has_its_own_rules_or_those_of_the_repo() {
    let (repo, clock) = repo().await;
    let (one, _) = history(&repo, &clock, "one", 6).await;
    let (two, _) = history(&repo, &clock, "two", 6).await;
    assert_eq!(repo.gc(DELETE_NOW, &silent).await.unwrap().removed_rows, [], "without rules everything stays");
    repo.set_retention(None, Some(last(3))).await.unwrap();
    repo.set_retention(Some(two.lease.workspace), Some(last(5))).await.unwrap();
    assert_eq!(repo.retention(Some(one.lease.workspace)).await.unwrap().effective, Some(last(3)));
    let removed = repo.gc(DELETE_NOW, &silent).await.unwrap().removed_rows;
    let counts: Vec<_> = removed.iter().map(|removed| (removed.workspace.as_str(), removed.rows)).collect();
    assert_eq!(counts, [("one", 4), ("two", 2)]);
    repo.set_retention(Some(two.lease.workspace), None).await.unwrap();
    assert_eq!(repo.gc(DELETE_NOW, &silent).await.unwrap().removed_rows[0].rows, 2);
    assert_eq!(left(&repo, &two).await.len(), 3);
    let missing = crate::id::WorkspaceId::from_bytes([7; 16]);
    assert_eq!(repo.set_retention(Some(missing), None).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(repo.set_retention(None, Some(RetentionRules::default())).await.unwrap_err().kind(), Kind::Invalid);
    assert_sound(&repo).await;
}

#[tokio::test]
async fn rules_that_cannot_be_read_stop_gc() {
    let (repo, clock) = repo().await;
    let (mount, snapshots) = history(&repo, &clock, "w", 4).await;
    let mut transaction = repo.database().begin().await.unwrap();
    transaction.vandal("UPDATE workspaces SET retention = '{\"keep_first\": 1}'").await.unwrap();
    repo.database().commit(transaction).await.unwrap();
    assert_eq!(repo.gc(DELETE_NOW, &silent).await.unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(left(&repo, &mount).await.len(), snapshots.len() + 1);
}

#[tokio::test]
async fn the_base_of_a_lease_and_of_an_open_publish_stay() {
    let (repo, clock) = repo().await;
    let (mut mount, snapshots) = history(&repo, &clock, "w", 4).await;
    repo.set_retention(None, Some(last(1))).await.unwrap();
    // The answer to the last publish was lost: its holder asks again, on the base before.
    let position = mount.position;
    repo.gc(DELETE_NOW, &silent).await.unwrap();
    assert_eq!(left(&repo, &mount).await, snapshots[2..], "the row before the head stays while somebody holds it");
    mount.base = snapshots[2];
    repo.begin(&mount.lease, mount.base, position).await.unwrap();
    repo.detach(&mount.lease).await.unwrap();
    repo.gc(DELETE_NOW, &silent).await.unwrap();
    assert_eq!(left(&repo, &mount).await, snapshots[3..]);
}

/// Everything that gc could change.
async fn everything(repo: &Repo) -> (Vec<crate::bucket::Listed>, Vec<String>) {
    let mut listed = repo.store().bucket().list("").await.unwrap();
    listed.sort_by(|one, other| one.name.cmp(&other.name));
    let mut rows: Vec<String> = pack_rows(repo).await.iter().map(|row| format!("{row:?}")).collect();
    let mut connection = repo.database().read().await.unwrap();
    rows.extend(crate::db::orphans::all(&mut connection).await.unwrap().iter().map(|row| format!("{row:?}")));
    drop(connection);
    for workspace in repo.workspaces().await.unwrap() {
        let history = repo.history(workspace.id, true, 1000).await.unwrap();
        rows.extend(history.iter().map(|row| format!("{row:?}")));
    }
    rows.sort();
    (listed, rows)
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_says_exactly_what_will_happen() {
    let (repo, clock) = repo().await;
    let (mount, _) = history(&repo, &clock, "w", 9).await;
    let (gone, _) = history(&repo, &clock, "gone", 3).await;
    repo.detach(&mount.lease).await.unwrap();
    repo.detach(&gone.lease).await.unwrap();
    repo.delete_workspace(gone.lease.workspace).await.unwrap();
    repo.store()
        .bucket()
        .create(&repo.store().pack_name(crate::id::PackId::from_bytes([3; 32])), "x".into())
        .await
        .unwrap();
    repo.set_retention(None, Some(last(2))).await.unwrap();
    let before = everything(&repo).await;
    let dry = repo.gc(DRY, &silent).await.unwrap();
    assert_eq!(everything(&repo).await, before, "not even condemned");
    assert_eq!((dry.dry_run, dry.deleted, dry.removed_rows[0].rows), (true, false, 8));
    let bytes = |listed: &[crate::bucket::Listed]| -> u64 { listed.iter().map(|object| object.size).sum() };
    let real = repo.gc(DELETE_NOW, &silent).await.unwrap();
    let after = everything(&repo).await;
    assert_eq!((dry.deletable_packs, dry.deletable_bytes), (real.deletable_packs, real.deletable_bytes));
    assert_eq!(dry.removed_rows, real.removed_rows);
    assert_eq!((dry.reflog_objects, dry.reflog_bytes), (real.reflog_objects, real.reflog_bytes));
    let freed = bytes(&before.0) - bytes(&after.0);
    assert_eq!(freed, dry.deletable_bytes + dry.reflog_bytes + dry.bundle_bytes, "to the byte");
    let left = repo.gc(DRY, &silent).await.unwrap();
    assert_eq!((dry.unreachable_objects, dry.unreachable_bytes), (real.unreachable_objects, real.unreachable_bytes));
    assert_eq!(left.unreachable_bytes, 0, "what was said to go is all there was");
    assert_eq!(left.reachable_bytes, dry.reachable_bytes);
    assert_eq!((left.deletable_packs, left.waiting_packs, left.removed_rows.len()), (0, 0, 0));
    assert_sound(&repo).await;
}

#[tokio::test]
async fn ref_log_objects_go_with_their_rows_but_never_the_newest_two() {
    let (repo, clock) = repo().await;
    let (mount, _) = history(&repo, &clock, "w", 8).await;
    let (gone, _) = history(&repo, &clock, "gone", 4).await;
    repo.detach(&mount.lease).await.unwrap();
    repo.detach(&gone.lease).await.unwrap();
    repo.delete_workspace(gone.lease.workspace).await.unwrap();
    let logs = async |id: crate::id::WorkspaceId| {
        let folder = format!("t/{}/reflog/{id}", repo.tenant());
        let mut names: Vec<String> =
            repo.store().bucket().list(&folder).await.unwrap().into_iter().map(|object| object.name).collect();
        names.sort();
        names
    };
    let before = logs(mount.lease.workspace).await;
    assert_eq!(before.len(), 9);
    repo.set_retention(None, Some(last(1))).await.unwrap();
    let report = repo.gc(DELETE_NOW, &silent).await.unwrap();
    assert_eq!(logs(mount.lease.workspace).await, before[7..]);
    let of_gone = logs(gone.lease.workspace).await;
    assert!(of_gone.len() == 2 && of_gone[1].ends_with("-deleted"), "{of_gone:?}");
    assert_eq!(report.reflog_objects, 7 + 4);
    // Another one of the same epoch and sequence may be a move under way.
    assert_eq!(repo.gc(DELETE_NOW, &silent).await.unwrap().reflog_objects, 0);
}
