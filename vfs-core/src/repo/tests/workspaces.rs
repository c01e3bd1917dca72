//! Making, listing, forking, restoring and removing workspaces; histories.

use super::*;

#[tokio::test]
async fn a_new_workspace_has_an_empty_root() {
    let (repo, _) = repo().await;
    let made = repo.create_workspace("w", Some("/home/x"), None).await.unwrap();
    assert_eq!(repo.workspaces().await.unwrap(), std::slice::from_ref(&made));
    assert_eq!(repo.workspace("w").await.unwrap(), made);
    assert_eq!(repo.workspace(&made.id.to_hex()).await.unwrap(), made);
    let root = repo.snapshot(made.head).await.unwrap().root;
    assert_eq!((root.ino, root.mode, root.nlink), (Ino::ROOT, 0o755, 1));
    assert!(files(&repo, made.head).await.unwrap().is_empty());
    assert_eq!(kind(repo.create_workspace("w", None, None).await), Some(Kind::AlreadyExists));
    assert_eq!(kind(repo.workspace("v").await), Some(Kind::NotFound));
}

#[tokio::test]
async fn names_that_would_be_misread_are_refused() {
    let (repo, _) = repo().await;
    let id = "0123456789abcdef0123456789abcdef";
    for name in ["", ".x", "-x", "a/b", "a@b", "a:b", "a b", "a\0", id, &"x".repeat(101)] {
        assert_eq!(kind(repo.create_workspace(name, None, None).await), Some(Kind::Invalid), "{name:?}");
    }
    repo.create_workspace("Ünï-1.2_3+x", None, None).await.unwrap();
}

#[tokio::test]
async fn a_fork_shares_its_origin_and_goes_its_own_way() {
    let (repo, _) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let first = mount.write("a", &[content(1, 500)], note("one")).await.unwrap();
    let fork = repo.create_workspace("f", Some("w"), Some(first)).await.unwrap();
    assert_eq!(fork.head, first);
    mount.write("b", &[content(2, 500)], note("two")).await.unwrap();
    assert_eq!(repo.workspace("f").await.unwrap().head, first);
    assert_eq!(files(&repo, first).await.unwrap().len(), 1);
    // What no history holds cannot be forked, even if its bytes are still there.
    let unknown = SnapshotId::from_bytes([9; 32]);
    assert_eq!(kind(repo.create_workspace("g", None, Some(unknown)).await), Some(Kind::NotFound));
    mount.repo.detach(&mount.lease).await.unwrap();
    let second = repo.workspace("w").await.unwrap().head;
    repo.delete_workspace(mount.lease.workspace).await.unwrap();
    assert_eq!(kind(repo.create_workspace("g", None, Some(second)).await), Some(Kind::NotFound));
    assert_eq!(kind(repo.workspace("w").await), Some(Kind::NotFound));
    assert_eq!(files(&repo, first).await.unwrap().len(), 1, "the fork still has it");
}

#[tokio::test]
async fn history_hides_automatic_snapshots_and_parents_skip_them() {
    let (repo, _) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let start = mount.base;
    let auto = mount.write("a", &[content(1, 500)], automatic()).await.unwrap();
    let named = mount.write("b", &[content(2, 500)], note("two")).await.unwrap();
    let id = mount.lease.workspace;
    let shown: Vec<_> = repo.history(id, false, 10).await.unwrap().iter().map(|row| row.snapshot).collect();
    assert_eq!(shown, [named, start]);
    let all: Vec<_> = repo.history(id, true, 10).await.unwrap().iter().map(|row| row.snapshot).collect();
    assert_eq!(all, [named, auto, start]);
    assert_eq!(repo.history(id, true, 1).await.unwrap().len(), 1);
    assert_eq!(repo.snapshot(auto).await.unwrap().parents, [start]);
    assert_eq!(repo.snapshot(named).await.unwrap().parents, [start]);
}

#[tokio::test]
async fn automatic_rows_are_thinned_to_one_an_hour() {
    let (repo, clock) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let minutes = |count: u64| Duration::from_secs(60 * count);
    for step in 0..48 {
        clock.advance(minutes(10));
        let note = if step % 12 == 0 { note("named") } else { automatic() };
        mount.write("a", &[content(step, 500)], note).await.unwrap();
    }
    let rows = repo.history(mount.lease.workspace, true, 1000).await.unwrap();
    let named = rows.iter().filter(|row| !row.automatic).count();
    assert_eq!(named, 4 + 1, "named rows all stay");
    let now = repo.now().as_nanos();
    let hour = HOUR.as_nanos() as i128;
    let old: Vec<_> = rows.iter().filter(|row| row.automatic && now - row.time.as_nanos() > hour).collect();
    let hours: HashSet<_> = old.iter().map(|row| row.time.as_nanos() / hour).collect();
    assert_eq!(old.len(), hours.len(), "one an hour");
    assert!(old.len() >= 6);
    let young = rows.iter().filter(|row| row.automatic && now - row.time.as_nanos() <= hour).count();
    assert!(young >= 5, "{young}");
}

#[tokio::test]
async fn restore_brings_old_content_back_and_keeps_the_head_before() {
    let (repo, _) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let old = mount.write("a", &[content(1, 500)], note("one")).await.unwrap();
    let head = mount.write("b", &[content(2, 500)], automatic()).await.unwrap();
    let id = mount.lease.workspace;
    assert_eq!(kind(repo.restore(id, None, old, note("undo")).await), Some(Kind::Busy));
    let restored = repo.restore(id, Some(&mount.lease), old, note("undo")).await.unwrap();
    assert_eq!(restored.safety, Some(head));
    let snapshot = repo.snapshot(restored.snapshot).await.unwrap();
    assert_eq!((snapshot.parents.as_slice(), &snapshot.root), (&[head][..], &repo.snapshot(old).await.unwrap().root));
    let rows = repo.history(id, false, 10).await.unwrap();
    assert_eq!(rows[0].snapshot, restored.snapshot);
    assert_eq!((rows[1].snapshot, rows[1].automatic), (head, false));
    assert!(rows[1].message.starts_with("before restoring"), "{}", rows[1].message);
    // Again: now the head is a named one and needs no saving.
    let again = repo.restore(id, Some(&mount.lease), head, note("redo")).await.unwrap();
    assert_eq!(again.safety, None);
    assert_eq!(files(&repo, again.snapshot).await.unwrap().len(), 2);
    // The holder builds on what it is told, not on what it had.
    assert_eq!(kind(mount.write("c", &[content(3, 500)], note("late")).await), Some(Kind::Conflict));
    let unknown = SnapshotId::from_bytes([9; 32]);
    assert_eq!(kind(repo.restore(id, Some(&mount.lease), unknown, note("x")).await), Some(Kind::NotFound));
}

#[tokio::test]
async fn prefixes_name_snapshots_of_the_history_and_before_a_fork() {
    let (repo, _) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let first = mount.write("a", &[content(1, 500)], note("one")).await.unwrap();
    let second = mount.write("b", &[content(2, 500)], note("two")).await.unwrap();
    let fork = repo.create_workspace("f", None, Some(second)).await.unwrap().id;
    let id = mount.lease.workspace;
    assert_eq!(repo.resolve_snapshot(id, "HEAD").await.unwrap(), second);
    assert_eq!(repo.resolve_snapshot(id, &first.to_hex()[..10]).await.unwrap(), first);
    assert_eq!(repo.resolve_snapshot(fork, &first.to_hex()[..10].to_uppercase()).await.unwrap(), first);
    assert_eq!(repo.resolve_snapshot(id, &first.to_hex()).await.unwrap(), first);
    for prefix in ["abc", "", "HEAD~1", &"0".repeat(65)] {
        assert_eq!(kind(repo.resolve_snapshot(id, prefix).await), Some(Kind::Invalid), "{prefix:?}");
    }
    assert_eq!(kind(repo.resolve_snapshot(id, "00000000").await), Some(Kind::NotFound));
    assert_eq!(kind(repo.resolve_snapshot(id, "xyzw").await), Some(Kind::NotFound), "it could be a tag");
}

#[tokio::test]
async fn content_can_be_published_without_a_holder() {
    let (repo, _) = repo().await;
    let made = repo.create_workspace("w", None, None).await.unwrap();
    let root = repo.snapshot(made.head).await.unwrap().root;
    let first = repo.move_head(made.id, made.head, repo.batch(), root.clone(), None, note("import")).await.unwrap();
    assert_eq!(repo.workspace("w").await.unwrap().head, first);
    assert_eq!(repo.snapshot(first).await.unwrap().parents, [made.head]);
    let stale = repo.move_head(made.id, made.head, repo.batch(), root.clone(), None, note("import")).await;
    assert_eq!(kind(stale), Some(Kind::Conflict));
    Mount::new(&repo, "w").await;
    let held = repo.move_head(made.id, first, repo.batch(), root, None, note("import")).await;
    assert_eq!(kind(held), Some(Kind::Busy));
}

#[tokio::test]
async fn inode_numbers_are_never_given_twice() {
    let (repo, _) = repo().await;
    let first = repo.take_inos(10).await.unwrap();
    let second = repo.take_inos(1).await.unwrap();
    assert_eq!((first, second), (Ino(16), Ino(26)));
    assert_eq!(kind(repo.take_inos(0).await), Some(Kind::Invalid));
    assert_eq!(kind(repo.take_inos(u64::MAX).await), Some(Kind::Invalid));
}

#[tokio::test]
async fn rows_with_a_flipped_bit_are_damage() {
    for (table, column) in [("refs", "sequence"), ("history", "time"), ("leases", "pid")] {
        let (repo, _) = repo().await;
        let mount = Mount::new(&repo, "w").await;
        let mut transaction = repo.database().begin().await.unwrap();
        let statement = format!("UPDATE {table} SET {column} = {column} + 4");
        transaction.vandal(&statement).await.unwrap();
        repo.database().commit(transaction).await.unwrap();
        let found = match table {
            "refs" | "leases" => kind(repo.workspace("w").await),
            _ => kind(repo.history(mount.lease.workspace, true, 10).await),
        };
        assert_eq!(found, Some(Kind::Corrupt), "{table}");
    }
}
