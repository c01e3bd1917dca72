//! Retention and tags from end to end: what no rule keeps goes, with its bytes and its ref log; what is tagged stays.

use super::*;
use crate::gc::RetentionRules;
use crate::id::SnapshotId;

const LAST_TWO: RetentionRules = RetentionRules {
    keep_last: Some(2),
    keep_hourly: None,
    keep_daily: None,
    keep_weekly: None,
    keep_within_s: None,
};
const DRY: GcOptions = GcOptions { dry_run: true, repack_below_percent: 50, ..DELETE_NOW };

/// Six versions of one file, an hour apart.
async fn repo_with_versions() -> (Repo, Arc<TestClock>, crate::id::WorkspaceId, Vec<SnapshotId>) {
    let (repo, clock) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let mut snapshots = Vec::new();
    for version in 0..6 {
        clock.advance(HOUR);
        snapshots.push(mount.write("a", &[content(version, 20_000)], note("version")).await.unwrap());
    }
    repo.detach(&mount.lease).await.unwrap();
    (repo, clock, mount.lease.workspace, snapshots)
}

/// Everything that lies in the bucket, and all rows of the database that gc writes.
async fn everything(repo: &Repo) -> (Vec<(String, u64)>, Vec<crate::db::PackRow>, usize) {
    let listed = repo.store().bucket().list("t").await.unwrap();
    let mut objects: Vec<_> = listed.into_iter().map(|object| (object.name, object.size)).collect();
    objects.sort();
    let mut rows = pack_rows(repo).await;
    rows.sort_by_key(|row| row.id);
    let mut connection = repo.database().read().await.unwrap();
    let orphans = crate::db::orphans::all(&mut connection).await.unwrap().len();
    (objects, rows, orphans)
}

#[tokio::test]
async fn what_no_rule_keeps_goes_and_what_is_tagged_stays() {
    let (repo, _, workspace, snapshots) = repo_with_versions().await;
    repo.add_tag(workspace, "first", snapshots[0]).await.unwrap();
    repo.gc(DELETE_NOW, &silent).await.unwrap();
    assert_eq!(repo.history(workspace, true, 100).await.unwrap().len(), 7, "without rules everything stays");
    repo.set_retention(Some(workspace), Some(LAST_TWO)).await.unwrap();
    let report = repo.gc(DELETE_NOW, &silent).await.unwrap();
    let removed = &report.removed_rows[0];
    assert_eq!((report.removed_rows.len(), removed.workspace.as_str(), removed.rows), (1, "w", 4), "{removed:?}");
    for (number, snapshot) in snapshots.iter().enumerate() {
        let stays = matches!(number, 0 | 4 | 5);
        assert_eq!(files(&repo, *snapshot).await.is_ok(), stays, "version {number}");
    }
    assert!(repo.resolve_snapshot(workspace, "first").await.unwrap() == snapshots[0]);
    assert_sound(&repo).await;
    repo.remove_tag(workspace, "first").await.unwrap();
    repo.gc(DELETE_NOW, &silent).await.unwrap();
    repo.store().forget_cached();
    assert!(files(&repo, snapshots[0]).await.is_err(), "nothing holds it any more");
    assert_sound(&repo).await;
}

#[tokio::test]
async fn rules_of_the_repo_hold_where_a_workspace_has_none() {
    let (repo, _, workspace, _) = repo_with_versions().await;
    repo.set_retention(None, Some(LAST_TWO)).await.unwrap();
    let all = RetentionRules { keep_last: Some(100), ..LAST_TWO };
    repo.set_retention(Some(workspace), Some(all)).await.unwrap();
    assert_eq!(repo.retention(Some(workspace)).await.unwrap().effective, Some(all));
    assert_eq!(repo.gc(DELETE_NOW, &silent).await.unwrap().removed_rows, []);
    repo.set_retention(Some(workspace), None).await.unwrap();
    assert_eq!(repo.retention(Some(workspace)).await.unwrap().effective, Some(LAST_TWO));
    assert_eq!(repo.gc(DELETE_NOW, &silent).await.unwrap().removed_rows[0].rows, 5);
    assert_sound(&repo).await;
}

#[tokio::test]
async fn a_dry_run_says_what_would_go_and_changes_nothing() {
    let (repo, _, workspace, _) = repo_with_versions().await;
    repo.set_retention(Some(workspace), Some(LAST_TWO)).await.unwrap();
    let before = everything(&repo).await;
    let dry = repo.gc(DRY, &silent).await.unwrap();
    assert_eq!(everything(&repo).await, before);
    assert_eq!(repo.history(workspace, true, 100).await.unwrap().len(), 7);
    assert!(dry.dry_run && !dry.deleted, "{dry:?}");
    let real = repo.gc(GcOptions { dry_run: false, ..DRY }, &silent).await.unwrap();
    assert_eq!(dry.removed_rows, real.removed_rows);
    let sums = |report: &crate::gc::GcReport| {
        (report.deletable_packs, report.deletable_bytes, report.reachable_bytes, report.unreachable_bytes)
    };
    assert_eq!(sums(&dry), sums(&real), "{dry:?}\n{real:?}");
    assert_eq!((dry.reflog_objects, dry.reflog_bytes), (real.reflog_objects, real.reflog_bytes));
    assert!(real.deletable_bytes > 4 * 20_000 && real.reflog_objects > 0, "{real:?}");
}

#[tokio::test]
async fn the_ref_log_keeps_rows_that_stand_and_the_newest_two() {
    let (repo, _, workspace, _) = repo_with_versions().await;
    let log = async |repo: &Repo| {
        let folder = format!("t/{}/reflog/{workspace}", repo.store().tenant());
        repo.store().bucket().list(&folder).await.unwrap().len()
    };
    assert_eq!(log(&repo).await, 7);
    repo.gc(DELETE_NOW, &silent).await.unwrap();
    assert_eq!(log(&repo).await, 7, "all rows stand");
    let one = RetentionRules { keep_last: Some(1), ..LAST_TWO };
    repo.set_retention(Some(workspace), Some(one)).await.unwrap();
    repo.gc(DELETE_NOW, &silent).await.unwrap();
    assert_eq!((repo.history(workspace, true, 100).await.unwrap().len(), log(&repo).await), (1, 2));
    repo.delete_workspace(workspace).await.unwrap();
    repo.gc(DELETE_NOW, &silent).await.unwrap();
    assert!(log(&repo).await >= 1, "the entry that says that it was deleted stays");
}

#[tokio::test]
async fn a_tag_is_a_name_for_one_snapshot() {
    let (repo, _, workspace, snapshots) = repo_with_versions().await;
    let kind = |result: crate::error::Result<crate::repo::TagInfo>| result.err().map(|error| error.kind());
    assert_eq!(kind(repo.add_tag(workspace, "v1", snapshots[1]).await), None);
    assert_eq!(kind(repo.add_tag(workspace, "v1", snapshots[1]).await), None, "once more is fine");
    assert_eq!(kind(repo.add_tag(workspace, "v1", snapshots[2]).await), Some(Kind::AlreadyExists));
    for name in ["HEAD", "abcd", "", "a/b"] {
        assert_eq!(kind(repo.add_tag(workspace, name, snapshots[2]).await), Some(Kind::Invalid), "{name:?}");
    }
    assert!(repo.add_tag(workspace, "v2", SnapshotId::from_bytes([9; 32])).await.is_err(), "no such snapshot");
    let tags: Vec<_> = repo.tags(workspace).await.unwrap().into_iter().map(|tag| (tag.name, tag.snapshot)).collect();
    assert_eq!(tags, [("v1".to_owned(), snapshots[1])]);
    repo.remove_tag(workspace, "v1").await.unwrap();
    assert_eq!(repo.remove_tag(workspace, "v1").await.unwrap_err().kind(), Kind::NotFound);
}
