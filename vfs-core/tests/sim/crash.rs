//! P2 for the store: every sequence of up to two operations, and a sample of three, with a crash after every step of
//! bucket and database. What comes back is a prefix that holds at least what was acknowledged.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use vfs_core::base::{PublishNote, Publisher};
use vfs_core::id::{HolderId, SnapshotId};
use vfs_core::progress::silent;
use vfs_core::repo::{CheckOptions, HolderDescription, Repo};
use vfs_core::testing::{Random, Turnstile};
use vfs_core::{Kind, Result};

use crate::client::{collecting, now};
use crate::files::{Change, content, files};
use crate::model::{Deleted, Model};
use crate::verify;
use crate::world::World;
use crate::worlds::{block_on, seeds};

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Write,
    WriteHeld,
    Reuse,
    ReuseAll,
    Fork,
    Restore,
    Delete,
    Collect,
    Check,
}

const ALL: [Step; 7] =
    [Step::Write, Step::WriteHeld, Step::Reuse, Step::Fork, Step::Restore, Step::Delete, Step::Collect];

/// How far one run came.
#[derive(Default)]
struct Progress {
    steps: u64,
    done: bool,
}

fn note() -> PublishNote {
    PublishNote { author: "ada".into(), message: "step".into(), ..PublishNote::default() }
}

/// Does one step on the workspace `w`, which the model knows.
pub(crate) async fn act(repo: &Repo, world: &Setting, step: Step, number: u64) -> Result<()> {
    let model = &world.model;
    match step {
        Step::Write => write(repo, world, &Change::write("a", 100 + number)).await,
        // A part of what the deleted workspace of the setting held: garbage that is used again.
        Step::Reuse => write(repo, world, &Change::write("b", 1)).await,
        // All of it: what makes the same pack again.
        Step::ReuseAll => write(repo, world, &garbage("b")).await,
        Step::WriteHeld => write_held(repo, world, &Change::write("c", 200 + number)).await,
        Step::Fork => {
            let (name, at) = (format!("fork{number}"), repo.workspace("w").await?.head);
            model.makes(&name, Some(at));
            let info = repo.create_workspace(&name, None, Some(at)).await?;
            model.made(info.id, &name, info.head, model.files(at));
            Ok(())
        }
        Step::Restore => {
            let info = repo.workspace("w").await?;
            let rows = repo.history(info.id, true, u32::MAX).await?;
            let to = rows[rows.len() - 1].snapshot;
            let after = files(repo, to).await?;
            model.moves(info.id, None, &after);
            let restored = repo.restore(info.id, None, to, note()).await?;
            model.moved(info.id, None, restored.snapshot, &after);
            Ok(())
        }
        Step::Delete => {
            let id = match repo.workspace("spare0").await {
                Ok(info) => info.id,
                Err(error) if error.kind() == Kind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            };
            model.deletes(id, Deleted::Maybe);
            repo.delete_workspace(id).await?;
            model.deletes(id, Deleted::Yes);
            Ok(())
        }
        Step::Collect => repo.gc(collecting(world.grace, true), &silent).await.map(drop),
        Step::Check => {
            let report = repo.check(CheckOptions { full: true }, &silent).await?;
            // What is on its way into the index looks like an orphan.
            let alarms = report.damages.iter().filter(|damage| !damage.what.contains("is not in the index"));
            let alarms: Vec<&str> = alarms.map(|damage| damage.what.as_str()).collect();
            assert!(alarms.is_empty(), "nothing is damaged: {alarms:?}");
            Ok(())
        }
    }
}

/// What steps need beside a repo.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) model: Model,
    pub(crate) clock: Arc<vfs_core::testing::HandClock>,
    /// How long gc leaves garbage alone.
    pub(crate) grace: Duration,
}

async fn head(repo: &Repo, model: &Model) -> Result<(vfs_core::id::WorkspaceId, SnapshotId, crate::files::Files)> {
    let info = repo.workspace("w").await?;
    let before = match model.files(info.head) {
        Some(known) => known,
        None => files(repo, info.head).await?,
    };
    Ok((info.id, info.head, before))
}

async fn write(repo: &Repo, world: &Setting, change: &Change) -> Result<()> {
    let (id, head, before) = head(repo, &world.model).await?;
    let after = change.apply(&before);
    let batch = repo.batch();
    let (root, links) = change.build(repo, &batch, head, now(&world.clock)).await?;
    world.model.moves(id, Some(head), &after);
    let snapshot = repo.move_head(id, head, batch, root, links, note()).await?;
    world.model.moved(id, Some(head), snapshot, &after);
    Ok(())
}

async fn write_held(repo: &Repo, world: &Setting, change: &Change) -> Result<()> {
    let id = repo.workspace("w").await?.id;
    let who = HolderDescription { host: "here".into(), pid: 7, mountpoint: "/world".into() };
    let attached = repo.attach(id, HolderId::from_bytes([9; 16]), &who).await?;
    let (lease, base, position) = (attached.lease, attached.head, attached.position + 100);
    let before = match world.model.files(base) {
        Some(known) => known,
        None => files(repo, base).await?,
    };
    let after = change.apply(&before);
    repo.begin(&lease, base, position).await?;
    let chunks = repo.put_chunks(&lease, position, change.chunks.clone().unwrap_or_default()).await?;
    let ino = repo.allocate_inos(&lease, 1).await?;
    let changes = change.change_set(&attached.snapshot.root, ino, &chunks, now(&world.clock));
    repo.put_changes(&lease, position, changes).await?;
    world.model.moves(id, Some(base), &after);
    let published = repo.commit(&lease, position, note()).await?;
    world.model.moved(id, Some(base), published.snapshot, &after);
    repo.detach(&lease).await
}

/// Two chunks, which a deleted workspace of the setting held.
fn garbage(name: &str) -> Change {
    Change { name: name.to_owned(), chunks: Some(vec![content(1), content(2)]) }
}

/// A workspace with two versions, some to be deleted, and garbage.
pub(crate) async fn prepare(world: &World) -> Setting {
    let repo = world.engine().await.unwrap();
    let setting = Setting { model: world.model.clone(), clock: world.clock.clone(), grace: Duration::ZERO };
    for name in ["w", "spare0", "gone"] {
        world.model.makes(name, None);
        let info = repo.create_workspace(name, None, None).await.unwrap();
        world.model.made(info.id, name, info.head, Some(Default::default()));
    }
    act(&repo, &setting, Step::Write, 7).await.unwrap();
    // `gone` held the content 1, which nobody reaches now.
    let gone = repo.workspace("gone").await.unwrap();
    let batch = repo.batch();
    let change = garbage("x");
    let (root, links) = change.build(&repo, &batch, gone.head, now(&world.clock)).await.unwrap();
    repo.move_head(gone.id, gone.head, batch, root, links, note()).await.unwrap();
    repo.delete_workspace(gone.id).await.unwrap();
    world.model.deletes(gone.id, Deleted::Yes);
    setting
}

/// Runs a sequence and crashes after `survive` passed gates. Returns whether it was done before.
async fn run(seed: u64, sequence: &[Step], survive: u64) -> bool {
    let world = World::new(seed).await;
    let setting = prepare(&world).await;
    let progress: Arc<Mutex<Progress>> = Arc::default();
    let mut turnstile = Turnstile::new(seed);
    let (repo, steps, at) = (world.engine().await.unwrap(), sequence.to_vec(), progress.clone());
    let actor_setting = setting.clone();
    turnstile.spawn(0, "actor", async move {
        for (number, step) in steps.into_iter().enumerate() {
            if let Err(error) = act(&repo, &actor_setting, step, number as u64).await {
                panic!("{step:?} failed without a fault: {}", error.chain());
            }
        }
        at.lock().done = true;
    });
    while progress.lock().steps < survive && turnstile.step().await.is_some() {
        progress.lock().steps += 1;
    }
    turnstile.kill(0);
    let done = progress.lock().done;
    // Another engine finds it as it is, collects, and goes on.
    let repo = world.engine().await.unwrap();
    verify::all(&repo, &world.model).await;
    verify::garbage_goes(&world, &repo).await;
    world.clock.advance(vfs_core::limits::LEASE_TTL);
    write(&repo, &setting, &Change::write("d", 300)).await.unwrap();
    done
}

/// Crashes a sequence after each of its steps; returns how many there were.
pub(crate) fn crash_everywhere(seed: u64, sequence: &[Step]) -> u64 {
    for survive in 0.. {
        let one = std::panic::AssertUnwindSafe(|| block_on(run(seed, sequence, survive)));
        match std::panic::catch_unwind(one) {
            Ok(true) => return survive,
            Ok(false) => {}
            Err(cause) => {
                eprintln!("the sequence was {sequence:?}, the crash came after {survive} steps");
                std::panic::resume_unwind(cause);
            }
        }
    }
    0
}

/// All sequences of one operation, and those of two that chance picks: half of them are a minute.
#[test]
fn a_crash_after_any_step_recovers() {
    let mut pairs = 0;
    for step in ALL {
        pairs += crash_everywhere(0, &[step]);
    }
    for seed in seeds(1) {
        let mut random = Random::new(seed);
        let sequence = [*random.pick(&ALL), *random.pick(&ALL)];
        pairs += crash_everywhere(seed, &sequence);
    }
    println!("{pairs} pairs of a sequence and a crash");
}

#[test]
#[ignore = "takes minutes"]
fn a_crash_after_any_step_of_any_two_operations_recovers() {
    let mut pairs = 0;
    for first in ALL {
        for second in ALL {
            pairs += crash_everywhere(0, &[first, second]);
        }
    }
    for seed in seeds(8) {
        let mut random = Random::new(seed);
        let sequence = [*random.pick(&ALL), *random.pick(&ALL), *random.pick(&ALL)];
        pairs += crash_everywhere(seed, &sequence);
    }
    println!("{pairs} pairs of a sequence and a crash");
}

/// An error without a crash: the caller knows no more than after one, and goes on.
#[test]
fn an_answer_of_the_database_that_is_lost_loses_nothing() {
    use vfs_core::testing::{DatabaseTrouble, trouble_database};
    for step in ALL {
        block_on(async {
            let world = World::new(3).await;
            let setting = prepare(&world).await;
            let repo = world.engine().await.unwrap();
            trouble_database(DatabaseTrouble::LostAnswers);
            let result = act(&repo, &setting, step, 0).await;
            trouble_database(DatabaseTrouble::None);
            assert_eq!(result.unwrap_err().kind(), Kind::Unavailable, "{step:?}");
            drop(repo);
            let repo = world.engine().await.unwrap();
            world.clock.advance(vfs_core::limits::LEASE_TTL);
            verify::all(&repo, &world.model).await;
            verify::garbage_goes(&world, &repo).await;
        });
    }
}
