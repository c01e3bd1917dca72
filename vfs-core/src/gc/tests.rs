//! gc: what is reachable stays, whatever happens meanwhile; what is not goes, after its time.

mod closed;
mod gaps;
mod keep;
mod repack;
mod repaired;
mod rot;
mod schedules;
mod sleepers;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use crate::base::Publisher;
use crate::error::Kind;
use crate::id::{ObjectId, ObjectKind};
use crate::objects::{NewObjects, Objects};
use crate::progress::silent;
use crate::repo::tests::{HOUR, Mount, TestClock, content, files, note, repo};
use crate::repo::{CheckOptions, GcOptions, Repo, Severity};

const DELETE_NOW: GcOptions =
    GcOptions { grace: Duration::ZERO, delete: true, dry_run: false, repack_below_percent: 0 };
const DELETE_LATER: GcOptions = GcOptions { grace: HOUR, delete: true, dry_run: false, repack_below_percent: 0 };
const LOOK: GcOptions = GcOptions { grace: HOUR, delete: false, dry_run: false, repack_below_percent: 0 };

async fn packs_in_bucket(repo: &Repo) -> usize {
    repo.store().bucket().list(&repo.store().pack_folder()).await.unwrap().len()
}

async fn pack_rows(repo: &Repo) -> Vec<crate::db::PackRow> {
    let mut connection = repo.database().read().await.unwrap();
    crate::db::packs::all(&mut connection, repo.store().tenant_number()).await.unwrap()
}

async fn assert_sound(repo: &Repo) {
    repo.store().forget_cached();
    let mut report = repo.check(CheckOptions { full: true }, &silent).await.unwrap();
    // A copy that was given up is an orphan until its time is over.
    report.damages.retain(|damage| damage.severity != Severity::Nothing);
    assert_eq!(report.damages, []);
}

/// A workspace with one file that is removed again.
async fn repo_with_garbage() -> (Repo, Arc<TestClock>, ObjectId) {
    let (repo, clock) = repo().await;
    let mut mount = Mount::new(&repo, "gone").await;
    mount.write("a", &[content(1, 5000)], note("one")).await.unwrap();
    repo.detach(&mount.lease).await.unwrap();
    let mut kept = Mount::new(&repo, "kept").await;
    kept.write("b", &[content(2, 5000)], note("two")).await.unwrap();
    repo.detach(&kept.lease).await.unwrap();
    repo.delete_workspace(mount.lease.workspace).await.unwrap();
    let chunk = repo.store().key().chunk_id(&content(1, 5000)).into();
    (repo, clock, chunk)
}

#[tokio::test]
async fn unreachable_packs_are_condemned_and_deleted_after_their_grace() {
    let (repo, clock, chunk) = repo_with_garbage().await;
    let before = packs_in_bucket(&repo).await;
    let report = repo.gc(LOOK, &silent).await.unwrap();
    assert!(report.condemned_packs >= 2 && report.waiting_packs == report.condemned_packs, "{report:?}");
    assert_eq!((report.deletable_packs, report.deleted, report.roots), (0, false, 2));
    clock.advance(HOUR);
    let report = repo.gc(LOOK, &silent).await.unwrap();
    assert!(report.deletable_packs >= 2 && packs_in_bucket(&repo).await == before);
    let deleted = repo.gc(DELETE_LATER, &silent).await.unwrap();
    assert_eq!((deleted.deletable_packs, deleted.deleted), (report.deletable_packs, true));
    assert_eq!(packs_in_bucket(&repo).await, before - deleted.deletable_packs as usize);
    assert_eq!(repo.store().read(chunk).await.unwrap_err().kind(), Kind::NotFound);
    let again = repo.gc(DELETE_LATER, &silent).await.unwrap();
    assert_eq!((again.deletable_packs, again.condemned_packs, again.orphan_packs), (0, 0, 0));
    assert_sound(&repo).await;
    let head = repo.workspace("kept").await.unwrap().head;
    assert_eq!(files(&repo, head).await.unwrap(), [("b".to_owned(), content(2, 5000))]);
}

#[tokio::test]
async fn a_publish_that_reuses_a_condemned_pack_revives_it() {
    let (repo, clock, chunk) = repo_with_garbage().await;
    assert!(repo.gc(LOOK, &silent).await.unwrap().condemned_packs > 0);
    let mut mount = Mount::new(&repo, "kept").await;
    let snapshot = mount.write("again", &[content(1, 5000)], note("reuse")).await.unwrap();
    repo.detach(&mount.lease).await.unwrap();
    let pack = repo.store().locate(&[chunk]).await.unwrap()[&chunk].pack;
    let row = pack_rows(&repo).await.into_iter().find(|row| row.id == pack).unwrap();
    assert_eq!(row.condemned, None, "the publish itself revives it");
    clock.advance(HOUR * 2);
    repo.gc(DELETE_LATER, &silent).await.unwrap();
    assert_eq!(repo.store().read(chunk).await.unwrap(), content(1, 5000));
    assert_eq!(files(&repo, snapshot).await.unwrap().len(), 2);
    assert_sound(&repo).await;
}

#[tokio::test]
async fn a_publish_whose_reused_pack_was_deleted_conflicts_and_succeeds_when_begun_again() {
    let (repo, _, chunk) = repo_with_garbage().await;
    let mut mount = Mount::new(&repo, "kept").await;
    mount.send("again", &[content(1, 5000)]).await.unwrap();
    let pack = repo.store().locate(&[chunk]).await.unwrap()[&chunk].pack;
    // The gc of another engine knows nothing of the pins of this one.
    let session = repo.batch();
    session.add(ObjectKind::Chunk, content(1, 5000)).await.unwrap();
    let relied = session.finish().await.unwrap();
    assert!(relied.contains(&pack));
    let mut transaction = repo.database().begin().await.unwrap();
    crate::db::packs::remove(&mut transaction, &[pack]).await.unwrap();
    assert_eq!(crate::db::packs::revive(&mut transaction, &relied).await.unwrap_err().kind(), Kind::Conflict);
    repo.database().commit(transaction).await.unwrap();
    repo.store().bucket().delete(&repo.store().pack_name(pack)).await.unwrap();
    // The open publish had not looked yet or must be begun again; either way it ends well.
    if let Err(error) = mount.commit(note("again")).await {
        assert_eq!(error.kind(), Kind::Conflict);
        mount.send("again", &[content(1, 5000)]).await.unwrap();
        mount.commit(note("again")).await.unwrap();
    }
    assert_eq!(repo.store().read(chunk).await.unwrap(), content(1, 5000));
    assert_sound(&repo).await;
}

#[tokio::test]
async fn packs_of_an_open_batch_stay_even_without_grace() {
    let (repo, _, chunk) = repo_with_garbage().await;
    let batch = repo.batch();
    batch.add(ObjectKind::Chunk, content(1, 5000)).await.unwrap();
    let new = batch.add(ObjectKind::Chunk, content(3, 5000)).await.unwrap();
    batch.finish().await.unwrap();
    repo.gc(DELETE_NOW, &silent).await.unwrap();
    assert_eq!(repo.store().read(chunk).await.unwrap(), content(1, 5000));
    assert_eq!(repo.store().read(new).await.unwrap(), content(3, 5000));
    drop(batch);
    repo.gc(DELETE_NOW, &silent).await.unwrap();
    assert_eq!(repo.store().read(new).await.unwrap_err().kind(), Kind::NotFound);
    assert_sound(&repo).await;
}

#[tokio::test]
async fn publishes_while_gc_runs_lose_nothing() {
    let (repo, _, _) = repo_with_garbage().await;
    let collector = {
        let repo = repo.clone();
        tokio::spawn(async move {
            let mut rounds = 0;
            for _ in 0..30 {
                match repo.gc(DELETE_NOW, &silent).await {
                    Ok(_) => rounds += 1,
                    Err(error) => assert_eq!(error.kind(), Kind::Busy, "{}", error.chain()),
                }
            }
            rounds
        })
    };
    let mut mount = Mount::new(&repo, "busy").await;
    let mut last = mount.base;
    for step in 0..40u64 {
        // The same few contents again and again: some are garbage just then.
        let chunks = [content(step % 5, 4000), content(100 + step, 400)];
        loop {
            match mount.write(&format!("f{}", step % 3), &chunks, note("step")).await {
                Ok(snapshot) => break last = snapshot,
                Err(error) => assert_eq!(error.kind(), Kind::Conflict, "{}", error.chain()),
            }
        }
        if step % 7 == 0 {
            let fork = repo.create_workspace(&format!("fork{step}"), None, Some(last)).await.unwrap();
            repo.delete_workspace(fork.id).await.unwrap();
        }
    }
    assert!(collector.await.unwrap() > 0);
    assert_eq!(files(&repo, last).await.unwrap().len(), 3);
    assert_sound(&repo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_is_committed_while_gc_marks_is_not_overlooked() {
    let (repo, _, chunk) = repo_with_garbage().await;
    let (publisher, published) = (repo.clone(), std::sync::Once::new());
    let publish = async move |repo: Repo| {
        let mut mount = Mount::new(&repo, "kept").await;
        mount.write("again", &[content(1, 5000)], note("just then")).await.unwrap();
        repo.detach(&mount.lease).await.unwrap();
    };
    let on_progress = move |_: crate::progress::Progress| {
        published.call_once(|| {
            let handle = tokio::runtime::Handle::current();
            tokio::task::block_in_place(|| handle.block_on(publish(publisher.clone())));
        });
    };
    let deleted = repo.gc(DELETE_NOW, &on_progress).await.unwrap();
    assert_eq!(deleted.roots, 3, "the new snapshot was marked");
    assert_eq!(repo.store().read(chunk).await.unwrap(), content(1, 5000));
    assert_sound(&repo).await;
}

#[tokio::test]
async fn orphan_packs_are_deleted_after_their_grace() {
    let (repo, clock, _) = repo_with_garbage().await;
    let (id, class) = (crate::id::PackId::from_bytes([7; 32]), crate::pack::PackClass::Contents);
    let mut writer = crate::pack::PackWriter::new(repo.tenant(), class, id, None);
    let bytes = content(77, 900);
    let object = repo.store().key().object_id(ObjectKind::Chunk, &bytes);
    writer.push(object, &crate::pack::Stored::new(&bytes).unwrap()).unwrap();
    let (pack, bytes) = writer.finish().unwrap();
    let name = repo.store().pack_name(pack.id);
    repo.store().bucket().create(&name, bytes).await.unwrap();
    repo.store().bucket().create(&format!("{}/notes.txt", repo.store().pack_folder()), "x".into()).await.unwrap();
    assert_eq!(repo.gc(DELETE_LATER, &silent).await.unwrap().orphan_packs, 1);
    repo.store().bucket().get(&name).await.unwrap();
    clock.advance(HOUR);
    assert!(repo.gc(DELETE_LATER, &silent).await.unwrap().deletable_packs > 0);
    assert_eq!(repo.store().bucket().get(&name).await.unwrap_err().kind(), Kind::NotFound);
    repo.store().bucket().get(&format!("{}/notes.txt", repo.store().pack_folder())).await.unwrap();
}

#[tokio::test]
async fn any_doubt_deletes_nothing() {
    // A pack that the bucket does not list, a tree that cannot be read, a row that does not match its hash.
    for damage in 0..3 {
        let (repo, clock, chunk) = repo_with_garbage().await;
        repo.gc(DELETE_LATER, &silent).await.unwrap();
        clock.advance(HOUR * 2);
        let head = repo.workspace("kept").await.unwrap().head;
        let kept = repo.store().locate(&[head.into()]).await.unwrap()[&ObjectId::from(head)].pack;
        let name = repo.store().pack_name(kept);
        match damage {
            0 => repo.store().bucket().delete(&name).await.unwrap(),
            1 => {
                let mut bytes = repo.store().bucket().get(&name).await.unwrap().to_vec();
                bytes.iter_mut().skip(25).take(40).for_each(|byte| *byte ^= 0xff);
                repo.store().bucket().delete(&name).await.unwrap();
                repo.store().bucket().create(&name, bytes.into()).await.unwrap();
            }
            _ => {
                let mut transaction = repo.database().begin().await.unwrap();
                transaction.vandal("UPDATE history SET message = 'x'").await.unwrap();
                repo.database().commit(transaction).await.unwrap();
            }
        }
        repo.store().forget_cached();
        let before = packs_in_bucket(&repo).await;
        let error = repo.gc(DELETE_LATER, &silent).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "damage {damage}");
        assert!(error.context().contains("deleted nothing"), "{error}");
        assert_eq!(packs_in_bucket(&repo).await, before, "damage {damage}");
        assert_eq!(repo.store().read(chunk).await.unwrap(), content(1, 5000), "damage {damage}");
    }
}

#[tokio::test]
async fn a_crash_between_index_and_bucket_is_cleaned_up_later() {
    let (repo, clock, chunk) = repo_with_garbage().await;
    let pack = repo.store().locate(&[chunk]).await.unwrap()[&chunk].pack;
    let mut transaction = repo.database().begin().await.unwrap();
    crate::db::packs::remove(&mut transaction, &[pack]).await.unwrap();
    repo.database().commit(transaction).await.unwrap();
    repo.gc(DELETE_LATER, &silent).await.unwrap();
    clock.advance(HOUR);
    repo.gc(DELETE_LATER, &silent).await.unwrap();
    assert_eq!(repo.store().bucket().get(&repo.store().pack_name(pack)).await.unwrap_err().kind(), Kind::NotFound);
    assert_sound(&repo).await;
}

#[tokio::test]
async fn the_base_of_a_lease_stays() {
    let (repo, _, _) = repo_with_garbage().await;
    let mut mount = Mount::new(&repo, "kept").await;
    let base = mount.base;
    // Its history row goes, as thinning would take it; the lease still names it.
    let mut transaction = repo.database().begin().await.unwrap();
    transaction.vandal("DELETE FROM history").await.unwrap();
    repo.database().commit(transaction).await.unwrap();
    repo.gc(DELETE_NOW, &silent).await.unwrap();
    assert_eq!(files(&repo, base).await.unwrap().len(), 1);
    mount.repo.begin(&mount.lease, base, 1000).await.unwrap();
    mount.position = 1000;
}
