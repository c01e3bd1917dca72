//! Publishing: repeatable, fenced, and all or nothing.

use super::*;
use crate::id::{ChunkId, ObjectId, PlainDigest};
use crate::objects::Objects;

#[tokio::test]
async fn what_is_published_can_be_read() {
    let (repo, _) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let chunks = [content(1, 300_000), content(2, 70_000), content(3, 10)];
    let snapshot = mount.write("big", &chunks, note("one")).await.unwrap();
    let snapshot_two = mount.write("small", &chunks[2..], note("two")).await.unwrap();
    let expected = |name: &str, parts: &[Bytes]| (name.to_owned(), Bytes::from(parts.concat()));
    assert_eq!(files(&repo, snapshot).await.unwrap(), [expected("big", &chunks)]);
    let both = [expected("big", &chunks), expected("small", &chunks[2..])];
    assert_eq!(files(&repo, snapshot_two).await.unwrap(), both);
    let row = &repo.history(mount.lease.workspace, false, 1).await.unwrap()[0];
    assert_eq!((row.message.as_str(), row.author.as_str(), row.snapshot), ("two", "ada", snapshot_two));
}

#[tokio::test]
async fn every_step_may_be_repeated() {
    let (repo, _) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    mount.position = 7;
    let (lease, base) = (mount.lease, mount.base);
    let mut refs = Vec::new();
    for _ in 0..2 {
        repo.begin(&lease, base, 7).await.unwrap();
        refs = repo.put_chunks(&lease, 7, vec![content(1, 5000)]).await.unwrap();
    }
    let changes = mount.change("a", &refs).await;
    for _ in 0..2 {
        repo.put_changes(&lease, 7, changes.clone()).await.unwrap();
    }
    let first = repo.commit(&lease, 7, note("one")).await.unwrap();
    let second = repo.commit(&lease, 7, note("one")).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(repo.history(lease.workspace, true, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_lost_answer_is_given_again_without_moving_anything() {
    let (repo, _) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let base = mount.base;
    mount.send("a", &[content(1, 5000)]).await.unwrap();
    let changes = {
        let refs = repo.put_chunks(&mount.lease, mount.position, vec![content(1, 5000)]).await.unwrap();
        let mut changes = mount.change("a", &refs).await;
        // The mount sends the same inode again.
        let ino = Ino(changes.nodes[1].node.ino.0 - 1);
        changes.nodes[1].node.ino = ino;
        changes.directories[0].upserts[0].1 = ino;
        changes
    };
    let first = repo.commit(&mount.lease, mount.position, note("one")).await.unwrap();
    // The engine restarts: sessions are gone, the holder attaches again.
    let again = repo.attach(mount.lease.workspace, holder(1), &who(1)).await.unwrap();
    assert_eq!((again.position, again.head), (mount.position, first.snapshot));
    assert_eq!(kind(repo.commit(&again.lease, mount.position, note("x")).await), Some(Kind::Conflict));
    repo.begin(&again.lease, base, mount.position).await.unwrap();
    let refs = repo.put_chunks(&again.lease, mount.position, vec![content(1, 5000)]).await.unwrap();
    assert_eq!(refs.len(), 1);
    repo.put_changes(&again.lease, mount.position, changes.clone()).await.unwrap();
    let second = repo.commit(&again.lease, mount.position, note("other words")).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(repo.history(mount.lease.workspace, true, 10).await.unwrap().len(), 2);
    // Other changes at the same position are not that publish.
    repo.attach(mount.lease.workspace, holder(1), &who(1)).await.unwrap();
    let lease = repo.attach(mount.lease.workspace, holder(1), &who(1)).await.unwrap().lease;
    repo.begin(&lease, base, mount.position).await.unwrap();
    let mut other = changes;
    other.nodes[1].node.mode = 0o600;
    repo.put_changes(&lease, mount.position, other).await.unwrap();
    assert_eq!(kind(repo.commit(&lease, mount.position, note("x")).await), Some(Kind::Conflict));
    assert_eq!(repo.workspace("w").await.unwrap().head, first.snapshot);
}

#[tokio::test]
async fn a_publish_on_an_old_base_conflicts() {
    let (repo, _) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let old = mount.base;
    mount.write("a", &[content(1, 500)], note("one")).await.unwrap();
    assert_eq!(kind(repo.begin(&mount.lease, old, mount.position + 1).await), Some(Kind::Conflict));
}

#[tokio::test]
async fn a_holder_that_lost_its_lease_during_a_publish_moves_nothing() {
    let (repo, clock) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let head = mount.base;
    mount.send("a", &[content(1, 500)]).await.unwrap();
    let session_kept = repo.inner.sessions.get_for_tests(mount.lease.workspace);
    clock.advance(crate::limits::LEASE_TTL);
    repo.attach(mount.lease.workspace, holder(2), &who(2)).await.unwrap();
    // Even with its session still open, the transaction refuses.
    repo.inner.sessions.put_for_tests(session_kept);
    assert_eq!(kind(mount.commit(note("late")).await), Some(Kind::LeaseLost));
    assert_eq!(repo.workspace("w").await.unwrap().head, head);
}

#[tokio::test]
async fn nothing_changed_can_still_be_named() {
    let (repo, _) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let auto = mount.write("a", &[content(1, 500)], automatic()).await.unwrap();
    mount.repo.begin(&mount.lease, auto, mount.position).await.unwrap();
    let named = mount.commit(note("the end of a turn")).await.unwrap();
    assert_ne!(named, auto);
    assert_eq!(repo.snapshot(named).await.unwrap().root, repo.snapshot(auto).await.unwrap().root);
    assert_eq!(repo.history(mount.lease.workspace, false, 1).await.unwrap()[0].snapshot, named);
}

#[tokio::test]
async fn content_that_is_not_stored_cannot_be_named() {
    let (repo, _) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let stored = repo.store().key().chunk_id(&content(1, 500));
    mount.write("a", &[content(1, 500)], note("one")).await.unwrap();
    let digest = PlainDigest::of(&content(1, 500));
    let lies = [
        (ChunkRef { id: ChunkId::from_bytes([8; 32]), digest, length: 500 }, Kind::Conflict),
        (ChunkRef { id: stored, digest, length: 501 }, Kind::Invalid),
    ];
    for (lie, expected) in lies {
        mount.position += 1;
        repo.begin(&mount.lease, mount.base, mount.position).await.unwrap();
        let changes = mount.change("b", &[lie]).await;
        repo.put_changes(&mount.lease, mount.position, changes).await.unwrap();
        assert_eq!(kind(mount.commit(note("lie")).await), Some(expected));
    }
    repo.begin(&mount.lease, mount.base, mount.position + 1).await.unwrap();
    for wrong in [Bytes::new(), content(1, crate::limits::CHUNK_MAX + 1)] {
        let answer = repo.put_chunks(&mount.lease, mount.position + 1, vec![wrong]).await;
        assert_eq!(kind(answer), Some(Kind::Invalid));
    }
}

#[tokio::test]
async fn a_crash_before_the_transaction_leaves_the_old_head_and_gc_cleans_up() {
    let (repo, clock) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let head = mount.base;
    let before = repo.store().bucket().list("").await.unwrap();
    mount.send("a", &[content(1, 5000)]).await.unwrap();
    // Everything up to the transaction happens; the transaction does not.
    let mut transaction = repo.database().begin().await.unwrap();
    transaction
        .vandal("CREATE TRIGGER crash BEFORE INSERT ON history BEGIN SELECT RAISE(ABORT, 'the power is gone'); END")
        .await
        .unwrap();
    repo.database().commit(transaction).await.unwrap();
    assert!(mount.commit(note("one")).await.is_err());
    let mut transaction = repo.database().begin().await.unwrap();
    transaction.vandal("DROP TRIGGER crash").await.unwrap();
    repo.database().commit(transaction).await.unwrap();

    assert_eq!(repo.workspace("w").await.unwrap().head, head);
    let chunk: ObjectId = repo.store().key().chunk_id(&content(1, 5000)).into();
    assert_eq!(repo.store().read(chunk).await.unwrap(), content(1, 5000), "content was durable before the transaction");
    let written = repo.store().bucket().list("").await.unwrap();
    let new: Vec<_> = written.iter().filter(|object| !before.contains(object)).map(|object| &object.name).collect();
    assert_eq!(new.iter().filter(|name| name.contains("/packs/")).count(), 2, "{new:?}");
    assert_eq!(new.iter().filter(|name| name.contains("/reflog/")).count(), 1, "{new:?}");

    // While the session may still be committed, its packs stay.
    let now = GcOptions { grace: Duration::ZERO, delete: true, ..GcOptions::default() };
    assert_eq!(repo.gc(now, &crate::progress::silent).await.unwrap().deletable_packs, 0);
    repo.detach(&mount.lease).await.unwrap();
    let later = GcOptions { grace: HOUR, delete: true, ..GcOptions::default() };
    assert_eq!(repo.gc(later, &crate::progress::silent).await.unwrap().condemned_packs, 2);
    clock.advance(HOUR);
    assert_eq!(repo.gc(later, &crate::progress::silent).await.unwrap().deletable_packs, 2);
    assert_eq!(kind(repo.store().read(chunk).await), Some(Kind::NotFound));
    // The holder comes back and publishes it after all.
    let attached = repo.attach(mount.lease.workspace, holder(1), &who(1)).await.unwrap();
    let mut mount = Mount::on(&repo, attached);
    let snapshot = mount.write("a", &[content(1, 5000)], note("one")).await.unwrap();
    assert_eq!(files(&repo, snapshot).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_commit_that_failed_for_a_moment_can_be_repeated() {
    let (repo, _) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    mount.send("a", &[content(1, 5000)]).await.unwrap();
    let mut transaction = repo.database().begin().await.unwrap();
    transaction.vandal("CREATE TRIGGER t BEFORE INSERT ON history BEGIN SELECT RAISE(ABORT, 'x'); END").await.unwrap();
    repo.database().commit(transaction).await.unwrap();
    assert_eq!(kind(mount.commit(note("one")).await), Some(Kind::Unavailable));
    let mut transaction = repo.database().begin().await.unwrap();
    transaction.vandal("DROP TRIGGER t").await.unwrap();
    repo.database().commit(transaction).await.unwrap();
    let snapshot = mount.commit(note("one")).await.unwrap();
    assert_eq!(repo.workspace("w").await.unwrap().head, snapshot);
}

#[tokio::test]
async fn a_publish_that_nobody_ends_is_forgotten() {
    let (repo, clock) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    mount.send("a", &[content(1, 5000)]).await.unwrap();
    repo.inner.sessions.get_for_tests(mount.lease.workspace).1.flush_for_tests().await;
    assert!(!repo.store().pins().all().is_empty());
    clock.advance(crate::limits::PUBLISH_IDLE);
    repo.gc(GcOptions { grace: Duration::ZERO, delete: true, ..GcOptions::default() }, &crate::progress::silent)
        .await
        .unwrap();
    assert!(repo.store().pins().all().is_empty());
    assert_eq!(kind(mount.commit(note("late")).await), Some(Kind::Conflict));
    mount.write("a", &[content(1, 5000)], note("begun again")).await.unwrap();
}

#[tokio::test]
async fn many_files_are_published_at_once() {
    let (repo, _) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    mount.position = 1;
    repo.begin(&mount.lease, mount.base, 1).await.unwrap();
    let chunks: Vec<Bytes> = (0..1200).map(|seed| content(seed, 300 + seed as usize)).collect();
    let refs = repo.put_chunks(&mount.lease, 1, chunks).await.unwrap();
    for (number, chunk) in refs.iter().enumerate() {
        let changes = mount.change(&format!("f{number:05}"), &[*chunk]).await;
        repo.put_changes(&mount.lease, 1, changes).await.unwrap();
    }
    let snapshot = mount.commit(note("many")).await.unwrap();
    let Body::Directory(subtree) = repo.snapshot(snapshot).await.unwrap().root.body else { panic!() };
    assert_eq!(subtree.totals.entries, 1200);
    assert!(repo.check(CheckOptions { full: true }, &crate::progress::silent).await.unwrap().damages.is_empty());
}
