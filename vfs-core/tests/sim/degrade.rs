//! P29: a bucket that is down, a full disk under the database, a database that is away. What was acknowledged stays,
//! what cannot be done says so and why, and afterwards the work goes on where it stopped.

use std::time::Duration;

use vfs_core::base::{PublishNote, Publisher};
use vfs_core::bucket::Patience;
use vfs_core::db::Database;
use vfs_core::documents::{Basis, Change as DocumentChange, Grants, Outcome, Scope, Write, Writer};
use vfs_core::id::HolderId;
use vfs_core::progress::silent;
use vfs_core::repo::{HolderDescription, Repo};
use vfs_core::testing::{DatabaseTrouble, Fault, Rule, When, trouble_database};
use vfs_core::{Kind, Result};

use crate::client::collecting;
use crate::crash::{Step, act, prepare};
use crate::files::{Change, content, files};
use crate::verify;
use crate::world::World;
use crate::worlds::block_on;

const TEN_MINUTES: Duration = Duration::from_secs(600);

async fn document(repo: &Repo, number: u64) -> Result<Outcome> {
    let write = Write {
        scope: Scope::org(),
        path: format!("d{number}.md").parse().unwrap(),
        basis: Basis::Absent,
        change: DocumentChange::Put([content(number).to_vec(), vec![b'x'; 20_000]].concat().into()),
        merge: false,
        grants: Grants::All,
        writer: Writer { author: "ada".into(), ..Writer::default() },
    };
    repo.write_document(&write).await
}

#[test]
fn a_bucket_that_is_down_for_ten_minutes_loses_nothing() {
    for fault in [Fault::Busy503, Fault::ErrorBefore, Fault::Timeout, Fault::Denied] {
        block_on(down(fault));
    }
}

async fn down(fault: Fault) {
    let world = World::new(21).await;
    let setting = prepare(&world).await;
    let repo = world.engine().await.unwrap();
    let id = repo.workspace("w").await.unwrap().id;
    let who = HolderDescription { host: "here".into(), pid: 7, mountpoint: "/world".into() };
    let attached = repo.attach(id, HolderId::from_bytes([4; 16]), &who).await.unwrap();
    repo.set_connected(&attached.lease, true);
    let (lease, base, position) = (attached.lease, attached.head, 100);
    let before = files(&repo, base).await.unwrap();
    let change = Change::write("kept", 400);
    let after = change.apply(&before);
    let ino = repo.allocate_inos(&lease, 1).await.unwrap();
    let send = async || -> Result<_> {
        repo.begin(&lease, base, position).await?;
        let chunks = repo.put_chunks(&lease, position, change.chunks.clone().unwrap()).await?;
        let changes = change.change_set(&attached.snapshot.root, ino, &chunks, attached.snapshot.root.mtime);
        repo.put_changes(&lease, position, changes).await?;
        repo.commit(&lease, position, PublishNote::default()).await
    };
    world.faults.set([Rule::anywhere(fault, When::Always)]);
    let kind = if fault == Fault::Denied { Kind::Denied } else { Kind::Unavailable };
    for _ in 0..10 {
        world.clock.advance(TEN_MINUTES / 10);
        let error = send().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error.chain());
        assert!(error.context().contains("bucket"), "it says what is away: {}", error.context());
        let error = repo.create_workspace("new", None, None).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error.chain());
        let error = repo.gc(collecting(Duration::ZERO, true), &silent).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error.chain());
        // Another engine cannot start, and says why.
        assert_eq!(world.engine().await.err().map(|error| error.kind()), Some(kind));
    }
    // What needs no bucket goes on.
    assert!(matches!(document(&repo, 1).await.unwrap(), Outcome::Written(_)));
    repo.touch(&lease).await.unwrap();

    world.faults.set([]);
    world.model.moves(id, Some(base), &after);
    let published = send().await.unwrap();
    world.model.moved(id, Some(base), published.snapshot, &after);
    repo.detach(&lease).await.unwrap();
    drop(repo);
    let repo = world.engine().await.unwrap();
    verify::all(&repo, &world.model).await;
    act(&repo, &setting, Step::Write, 1).await.unwrap();
    verify::garbage_goes(&world, &repo).await;
    verify::all(&repo, &world.model).await;
}

#[test]
fn a_full_disk_under_the_database_refuses_and_loses_nothing() {
    block_on(async {
        // A file: SQLite's connection may be given up, and with it would go a database in memory.
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("esker.db")).await.unwrap();
        let world = World::on(22, database).await;
        let setting = prepare(&world).await;
        let repo = world.engine().await.unwrap();
        trouble_database(DatabaseTrouble::Full);
        let mut refused = 0;
        for number in 0..60 {
            match document(&repo, number).await {
                Ok(Outcome::Written(version)) => {
                    let bytes = [content(number).to_vec(), vec![b'x'; 20_000]].concat().into();
                    world.model.0.lock().documents.insert((format!("d{number}.md"), version.version), bytes);
                }
                Ok(outcome) => panic!("{outcome:?}"),
                Err(error) => {
                    assert_eq!(error.kind(), Kind::NoSpace, "{}", error.chain());
                    refused += 1;
                }
            }
            // Publishes need rows too: whatever happens, a refusal says that there is no space.
            if let Err(error) = act(&repo, &setting, Step::Write, number).await {
                assert_eq!(error.kind(), Kind::NoSpace, "{}", error.chain());
            }
        }
        assert!(refused > 0, "the database was never full");
        trouble_database(DatabaseTrouble::None);
        assert!(matches!(document(&repo, 1000).await.unwrap(), Outcome::Written(_)));
        act(&repo, &setting, Step::Write, 99).await.unwrap();
        drop(repo);
        let repo = world.engine().await.unwrap();
        verify::all(&repo, &world.model).await;
        verify::garbage_goes(&world, &repo).await;
        verify::all(&repo, &world.model).await;
    });
}

#[test]
fn a_database_that_is_away_refuses_and_loses_nothing() {
    block_on(async {
        let world = World::new(23).await;
        let setting = prepare(&world).await;
        let repo = world.engine().await.unwrap();
        trouble_database(DatabaseTrouble::Away);
        for step in [Step::Write, Step::WriteHeld, Step::Fork, Step::Restore, Step::Delete, Step::Collect] {
            let error = act(&repo, &setting, step, 0).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unavailable, "{step:?}: {}", error.chain());
            assert!(error.context().contains("try again"), "{}", error.context());
        }
        trouble_database(DatabaseTrouble::None);
        verify::all(&repo, &world.model).await;
        act(&repo, &setting, Step::Write, 1).await.unwrap();
        drop(repo);
        let repo = world.engine().await.unwrap();
        verify::garbage_goes(&world, &repo).await;
        verify::all(&repo, &world.model).await;
    });
}

#[test]
fn a_short_trouble_of_the_bucket_is_not_noticed() {
    for fault in [Fault::Busy503, Fault::ErrorBefore, Fault::ErrorAfter, Fault::Timeout, Fault::Torn] {
        block_on(async {
            let mut world = World::new(24).await;
            let delay = Duration::from_millis(1);
            world.patience = Patience { retries: 3, delay_min: delay, delay_max: delay, total: TEN_MINUTES };
            let setting = prepare(&world).await;
            let repo = world.engine().await.unwrap();
            for (number, step) in
                [Step::Write, Step::WriteHeld, Step::Fork, Step::Reuse, Step::Collect].iter().enumerate()
            {
                world.faults.set([Rule::anywhere(fault, When::Burst { from: 0, count: 2 })]);
                let done = act(&repo, &setting, *step, number as u64).await;
                done.unwrap_or_else(|error| panic!("{fault:?} during {step:?}: {}", error.chain()));
            }
            world.faults.set([]);
            verify::all(&repo, &world.model).await;
            drop(repo);
            let repo = world.engine().await.unwrap();
            verify::garbage_goes(&world, &repo).await;
            verify::all(&repo, &world.model).await;
        });
    }
}
