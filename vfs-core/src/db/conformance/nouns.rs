//! Counters, settings, orphans, workspaces, refs, leases, histories.

use super::*;
use crate::id::{HolderId, PackId, TenantId};

pub(super) fn reference(sequence: u64) -> RefRow {
    let covered = Some((HolderId::from_bytes([4; 16]), 100));
    RefRow { workspace: workspace(1), snapshot: snapshot(1), epoch: 3, sequence, covered }
}

pub(super) fn lease(epoch: u64) -> LeaseRow {
    LeaseRow {
        workspace: workspace(1),
        holder: HolderId::from_bytes([9; 16]),
        epoch,
        host: "höst".into(),
        pid: u32::MAX,
        mountpoint: "/mnt".into(),
        last_seen: at(-5),
        base: snapshot(1),
    }
}

pub(super) fn line(sequence: u64, automatic: bool) -> HistoryRow {
    HistoryRow {
        sequence,
        snapshot: snapshot(sequence as u8),
        time: at(sequence as i64),
        automatic,
        message: format!("message {sequence} ü"),
        author: "ana".into(),
        session: String::new(),
        turn: "3".into(),
    }
}

pub(super) async fn counters_count(place: &Place) {
    let mut transaction = place.database.begin().await.unwrap();
    assert_eq!(counters::get(&mut transaction, "c", 10).await.unwrap(), 10);
    assert_eq!(counters::take(&mut transaction, "c", 10, 5).await.unwrap(), 10);
    assert_eq!(counters::take(&mut transaction, "c", 10, 5).await.unwrap(), 15);
    assert_eq!(counters::get(&mut transaction, "d", 0).await.unwrap(), 0);
    let used_up = counters::take(&mut transaction, "c", 10, u64::MAX >> 1).await.unwrap_err();
    assert_eq!(used_up.kind(), Kind::LimitExceeded);
    place.database.commit(transaction).await.unwrap();
    place.vandal("UPDATE counters SET value = -1").await;
    let mut reader = place.database.read().await.unwrap();
    assert_eq!(counters::get(&mut reader, "c", 0).await.unwrap_err().kind(), Kind::Corrupt);
}

pub(super) async fn settings_are_kept(place: &Place) {
    let mut transaction = place.database.begin().await.unwrap();
    assert_eq!(meta::get(&mut transaction, "k").await.unwrap(), None);
    for value in ["one", "", "zwei ✓ 'quoted' ?"] {
        meta::set(&mut transaction, "k", value).await.unwrap();
        assert_eq!(meta::get(&mut transaction, "k").await.unwrap().as_deref(), Some(value));
    }
    place.database.commit(transaction).await.unwrap();
}

pub(super) async fn tenants_have_numbers(place: &Place) {
    let mut transaction = place.database.begin().await.unwrap();
    let one = meta::tenant(&mut transaction, TenantId::from_bytes([1; 16]), at(1)).await.unwrap();
    let two = meta::tenant(&mut transaction, TenantId::from_bytes([2; 16]), at(1)).await.unwrap();
    assert_eq!(meta::tenant(&mut transaction, TenantId::from_bytes([1; 16]), at(2)).await.unwrap(), one);
    assert_ne!(one, two);
}

pub(super) async fn orphans_are_noted_once(place: &Place) {
    let mut transaction = place.database.begin().await.unwrap();
    let id = PackId::from_bytes([1; 32]);
    orphans::note(&mut transaction, id, at(1)).await.unwrap();
    orphans::note(&mut transaction, id, at(2)).await.unwrap();
    orphans::note(&mut transaction, PackId::from_bytes([2; 32]), at(2)).await.unwrap();
    orphans::forget(&mut transaction, PackId::from_bytes([2; 32])).await.unwrap();
    let found = orphans::all(&mut transaction).await.unwrap();
    assert_eq!(found.iter().map(|row| (row.id, row.seen)).collect::<Vec<_>>(), [(id, at(1))]);
}

pub(super) async fn workspaces_are_found(place: &Place) {
    let tenant = one_workspace(place).await;
    let mut transaction = place.database.begin().await.unwrap();
    // By bytes, as everywhere: no language puts "ä" after "b" and "B" before "a" at once.
    for (number, name) in [(2, "b"), (3, "B"), (4, "ä"), (5, "a")] {
        let row = WorkspaceRow { id: workspace(number), name: name.into(), source: Some("/s".into()), created: at(3) };
        workspaces::insert(&mut transaction, tenant, &row).await.unwrap();
    }
    let names: Vec<String> =
        workspaces::all(&mut transaction, tenant).await.unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["B", "a", "b", "w", "ä"]);
    let found = workspaces::by_name(&mut transaction, tenant, "B").await.unwrap().unwrap();
    assert_eq!((found.id, found.source.as_deref(), found.created), (workspace(3), Some("/s"), at(3)));
    let found = workspaces::by_id(&mut transaction, tenant, workspace(1)).await.unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.source), ("w", None));
    assert_eq!(workspaces::by_name(&mut transaction, tenant + 1, "B").await.unwrap(), None);
    assert_eq!(workspaces::by_id(&mut transaction, tenant, workspace(9)).await.unwrap(), None);
    let twice = WorkspaceRow { id: workspace(8), name: "a".into(), source: None, created: at(3) };
    let error = workspaces::insert(&mut transaction, tenant, &twice).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
}

pub(super) async fn a_workspace_leaves_nothing(place: &Place) {
    let tenant = one_workspace(place).await;
    let mut transaction = place.database.begin().await.unwrap();
    workspaces::remove(&mut transaction, workspace(1)).await.unwrap();
    assert_eq!(workspaces::all(&mut transaction, tenant).await.unwrap(), []);
    assert_eq!(refs::get(&mut transaction, workspace(1)).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(leases::get(&mut transaction, workspace(1)).await.unwrap(), None);
    assert_eq!(history::newest(&mut transaction, workspace(1), true, 9).await.unwrap(), []);
    place.database.commit(transaction).await.unwrap();
    // A row that belongs to nothing is refused.
    let mut transaction = place.database.begin().await.unwrap();
    let error = history::put(&mut transaction, workspace(1), &line(1, false)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
}

pub(super) async fn refs_are_written_over(place: &Place) {
    one_workspace(place).await;
    let mut transaction = place.database.begin().await.unwrap();
    assert_eq!(refs::get(&mut transaction, workspace(1)).await.unwrap(), reference(1));
    let covered = Some((HolderId::from_bytes([5; 16]), u64::MAX >> 1));
    let newer = RefRow { snapshot: snapshot(2), epoch: 4, covered, ..reference(2) };
    refs::put(&mut transaction, &newer).await.unwrap();
    assert_eq!(refs::get(&mut transaction, workspace(1)).await.unwrap(), newer);
    let nobody = RefRow { covered: None, ..reference(3) };
    refs::put(&mut transaction, &nobody).await.unwrap();
    assert_eq!(refs::get(&mut transaction, workspace(1)).await.unwrap(), nobody);
}

pub(super) async fn leases_are_replaced(place: &Place) {
    one_workspace(place).await;
    let mut transaction = place.database.begin().await.unwrap();
    assert_eq!(leases::get(&mut transaction, workspace(1)).await.unwrap(), Some(lease(1)));
    let newer = LeaseRow {
        holder: HolderId::from_bytes([8; 16]),
        host: String::new(),
        pid: 0,
        mountpoint: "/other".into(),
        last_seen: at(9),
        base: snapshot(3),
        ..lease(2)
    };
    leases::put(&mut transaction, &newer).await.unwrap();
    assert_eq!(leases::get(&mut transaction, workspace(1)).await.unwrap(), Some(newer));
    leases::remove(&mut transaction, workspace(1)).await.unwrap();
    assert_eq!(leases::get(&mut transaction, workspace(1)).await.unwrap(), None);
}

pub(super) async fn histories_are_pages(place: &Place) {
    let tenant = one_workspace(place).await;
    let mut transaction = place.database.begin().await.unwrap();
    for sequence in 2..=6 {
        history::put(&mut transaction, workspace(1), &line(sequence, sequence % 2 == 0)).await.unwrap();
    }
    let mut sequences = async |all, limit| -> Vec<u64> {
        let rows = history::newest(&mut transaction, workspace(1), all, limit).await.unwrap();
        rows.into_iter().map(|row| row.sequence).collect()
    };
    assert_eq!(sequences(true, u64::MAX).await, [6, 5, 4, 3, 2, 1]);
    assert_eq!(sequences(false, 2).await, [5, 3]);
    assert_eq!(history::at(&mut transaction, workspace(1), 4).await.unwrap(), Some(line(4, true)));
    let kept = HistoryRow { message: "kept".into(), author: String::new(), ..line(4, false) };
    history::put(&mut transaction, workspace(1), &kept).await.unwrap();
    assert_eq!(history::at(&mut transaction, workspace(1), 4).await.unwrap(), Some(kept));
    assert_eq!(history::at(&mut transaction, workspace(1), 7).await.unwrap(), None);
    assert!(history::holds(&mut transaction, tenant, snapshot(5)).await.unwrap());
    assert!(!history::holds(&mut transaction, tenant, snapshot(7)).await.unwrap());
    assert!(!history::holds(&mut transaction, tenant + 1, snapshot(5)).await.unwrap());
    // The same snapshot twice: the row that stays counts.
    history::put(&mut transaction, workspace(1), &HistoryRow { snapshot: snapshot(5), ..line(7, true) }).await.unwrap();
    let found = history::holding(&mut transaction, workspace(1), snapshot(5)).await.unwrap();
    assert_eq!(found, Some(line(5, false)));
    assert_eq!(history::holding(&mut transaction, workspace(1), snapshot(8)).await.unwrap(), None);
}

pub(super) async fn histories_are_thinned(place: &Place) {
    one_workspace(place).await;
    let mut transaction = place.database.begin().await.unwrap();
    // Every 20 minutes for four hours, and one named row in between.
    for sequence in 2..=13 {
        let row = HistoryRow { time: at(sequence as i64 * 1200), ..line(sequence, sequence != 5) };
        history::put(&mut transaction, workspace(1), &row).await.unwrap();
    }
    let now = Time { seconds: 13 * 1200, nanos: 0 };
    let removed = history::thin(&mut transaction, workspace(1), now).await.unwrap();
    let rows = history::newest(&mut transaction, workspace(1), true, 99).await.unwrap();
    let kept: Vec<u64> = rows.iter().map(|row| row.sequence).collect();
    // The newest of each of the hours 0, 1 (3, 4, 5: 5 is named), 2 (6 to 8), and all of the last hour.
    assert_eq!(kept, [13, 12, 11, 10, 9, 8, 5, 4, 2, 1], "{removed} removed");
    assert_eq!(removed, 3);
    assert_eq!(history::thin(&mut transaction, workspace(1), now).await.unwrap(), 0);
}

pub(super) async fn side_refs_hold_and_go(place: &Place) {
    let tenant = one_workspace(place).await;
    let mut transaction = place.database.begin().await.unwrap();
    let row = |name: &str, number| SideRefRow {
        workspace: workspace(1),
        name: name.to_owned(),
        snapshot: snapshot(number),
        created: at(3),
    };
    for row in [row("tag/b", 8), row("tag/a", 7), row("damaged/x", 9)] {
        side_refs::put(&mut transaction, &row).await.unwrap();
    }
    let all = side_refs::all(&mut transaction, workspace(1)).await.unwrap();
    assert_eq!(all, [row("damaged/x", 9), row("tag/a", 7), row("tag/b", 8)]);
    assert!(history::holds(&mut transaction, tenant, snapshot(7)).await.unwrap(), "side refs hold too");
    assert!(!history::holds(&mut transaction, tenant + 1, snapshot(7)).await.unwrap());
    assert_eq!(history::keeper(&mut transaction, tenant, snapshot(7)).await.unwrap(), Some(workspace(1)));
    assert_eq!(history::keeper(&mut transaction, tenant, snapshot(99)).await.unwrap(), None);
    assert!(!side_refs::remove_everywhere(&mut transaction, tenant + 1, "damaged/x").await.unwrap());
    assert!(side_refs::remove_everywhere(&mut transaction, tenant, "damaged/x").await.unwrap());
    assert!(!side_refs::remove_everywhere(&mut transaction, tenant, "damaged/x").await.unwrap());
    let (yes, no) = (workspace(1), workspace(2));
    assert!(side_refs::remove(&mut transaction, yes, "tag/a").await.unwrap());
    assert!(!side_refs::remove(&mut transaction, yes, "tag/a").await.unwrap());
    assert!(!side_refs::remove(&mut transaction, no, "tag/b").await.unwrap());
    assert!(!history::holds(&mut transaction, tenant, snapshot(7)).await.unwrap());
    history::remove(&mut transaction, yes, &[1, 99]).await.unwrap();
    assert_eq!(history::newest(&mut transaction, yes, true, 9).await.unwrap(), []);
}

pub(super) async fn retention_is_of_a_workspace_or_of_all(place: &Place) {
    let tenant = one_workspace(place).await;
    let mut transaction = place.database.begin().await.unwrap();
    assert_eq!(retention::of_repo(&mut transaction, tenant).await.unwrap(), None);
    retention::set_of_repo(&mut transaction, tenant, Some("all")).await.unwrap();
    retention::set_of_workspace(&mut transaction, workspace(1), Some("one")).await.unwrap();
    assert_eq!(retention::of_repo(&mut transaction, tenant).await.unwrap().as_deref(), Some("all"));
    assert_eq!(retention::of_workspace(&mut transaction, workspace(1)).await.unwrap().as_deref(), Some("one"));
    retention::set_of_workspace(&mut transaction, workspace(1), None).await.unwrap();
    assert_eq!(retention::of_workspace(&mut transaction, workspace(1)).await.unwrap(), None);
    let missing = retention::set_of_workspace(&mut transaction, workspace(7), None).await;
    assert_eq!(missing.unwrap_err().kind(), crate::error::Kind::NotFound);
    let missing = retention::of_workspace(&mut transaction, workspace(7)).await;
    assert_eq!(missing.unwrap_err().kind(), crate::error::Kind::NotFound);
}

pub(super) async fn a_dead_orphan_stays_dead(place: &Place) {
    one_workspace(place).await;
    let id = crate::id::PackId::from_bytes([4; 32]);
    let mut transaction = place.database.begin().await.unwrap();
    orphans::refuse_dead(&mut transaction, id).await.unwrap();
    orphans::note(&mut transaction, id, at(3)).await.unwrap();
    orphans::refuse_dead(&mut transaction, id).await.unwrap();
    orphans::kill(&mut transaction, id).await.unwrap();
    orphans::forget(&mut transaction, id).await.unwrap();
    orphans::note(&mut transaction, id, at(4)).await.unwrap();
    assert_eq!(orphans::all(&mut transaction).await.unwrap(), [OrphanRow { id, seen: at(3), dead: true }]);
    let refused = orphans::refuse_dead(&mut transaction, id).await;
    assert_eq!(refused.unwrap_err().kind(), crate::error::Kind::Conflict);
}
