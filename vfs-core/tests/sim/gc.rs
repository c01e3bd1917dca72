//! P9: gc never deletes what is reachable, deletes nothing after an error, and frees garbage in the end: against
//! writers, forks, restores, deletions, another gc, a gc that sleeps, clocks that jump, lists that lie.

use std::time::Duration;

use vfs_core::Kind;
use vfs_core::progress::silent;
use vfs_core::repo::Repo;
use vfs_core::testing::{Fault, Operation, Random, Rule, Turnstile, When};

use crate::client::{Mix, collecting};
use crate::crash::{Setting, Step, act, prepare};
use crate::verify;
use crate::world::{Plan, World};
use crate::worlds::{ENGINES, block_on, run_all, seeds};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Collectors that often fall asleep, beside writers that use garbage again.
const BUSY: Plan = Plan {
    engines: ENGINES,
    clients: 5,
    operations: 8,
    mix: Mix { makes: 20, deletes: 14, documents: 0, checks: 0, ..Mix::ALL },
    crashes: 2,
    jumps: 25,
    pauses: 40,
    rules: Vec::new(),
};

#[test]
fn collectors_beside_writers_lose_nothing_reachable() {
    let sum = run_all("collectors_beside_writers_lose_nothing_reachable", 16, &BUSY);
    assert!(sum.freed > 0);
}

/// Two engines, each with its steps, in the order that the seed says. What is garbage already was condemned more than
/// `grace` ago.
pub(crate) async fn duel(seed: u64, grace: Duration, left: &[Step], right: &[Step]) {
    let world = World::new(seed).await;
    let engines = [world.engine().await.unwrap(), world.engine().await.unwrap()];
    duel_of(world, engines, grace, left, right, None).await;
}

/// The same with one engine, whose locks and pins let gc do without a grace period.
pub(crate) async fn duel_of_one(seed: u64, left: &[Step], right: &[Step]) {
    let world = World::new(seed).await;
    let engine = world.engine().await.unwrap();
    duel_of(world, [engine.clone(), engine], Duration::ZERO, left, right, None).await;
}

/// The left one sleeps after so many of its gates until the right one is done; returns how many gates it had, or else
/// it sleeps somewhere for a while.
async fn duel_of(
    world: World,
    engines: [Repo; 2],
    grace: Duration,
    left: &[Step],
    right: &[Step],
    sleeps_after: Option<u64>,
) -> u64 {
    let seed = world.seed;
    let setting = Setting { grace, ..prepare(&world).await };
    let first = world.engine().await.unwrap();
    first.gc(collecting(grace, false), &silent).await.unwrap();
    drop(first);
    world.clock.advance(grace * 2);
    let mut turnstile = Turnstile::new(seed);
    for ((group, steps), repo) in [left, right].into_iter().enumerate().zip(engines) {
        let (setting, steps) = (setting.clone(), steps.to_vec());
        turnstile.spawn(group, if group == 0 { "left" } else { "right" }, async move {
            for (number, step) in steps.into_iter().enumerate() {
                match act(&repo, &setting, step, (group * 10 + number) as u64).await {
                    Ok(()) => {}
                    Err(error) => {
                        let fine = matches!(error.kind(), Kind::Conflict | Kind::Busy | Kind::NotFound);
                        assert!(fine, "{step:?} ended with {:?}: {}", error.kind(), error.chain());
                    }
                }
            }
        });
    }
    // The left one falls asleep somewhere: with even chances it would hardly ever be overtaken by a whole publish.
    let mut random = Random::new(seed);
    let from = random.below(16);
    let asleep = from..from + random.below(24);
    let (mut steps, mut steps_of_left) = (0, 0);
    let sleeps = |steps: u64, steps_of_left: u64| match sleeps_after {
        Some(count) => steps_of_left >= count,
        None => asleep.contains(&steps),
    };
    while let Some(passed) = turnstile.step_unless(|name| name == "left" && sleeps(steps, steps_of_left)).await {
        steps += 1;
        steps_of_left += u64::from(passed.group == 0);
    }
    let repo = world.engine().await.unwrap();
    world.clock.advance(vfs_core::limits::LEASE_TTL);
    verify::all(&repo, &world.model).await;
    verify::garbage_goes(&world, &repo).await;
    verify::all(&repo, &world.model).await;
    steps_of_left
}

/// What gc is put beside.
const BESIDE: [&[Step]; 6] = [
    &[Step::Reuse],
    &[Step::WriteHeld, Step::Reuse],
    &[Step::Fork, Step::Reuse],
    &[Step::Restore],
    &[Step::Reuse, Step::Delete],
    &[Step::Collect, Step::Reuse],
];

#[test]
fn one_gc_beside_one_writer_in_any_order() {
    duels("one_gc_beside_one_writer_in_any_order", HOUR, 24);
}

/// What another engine has uploaded and not registered yet is an orphan to a gc without grace.
#[test]
fn gc_without_grace_deletes_no_pack_that_another_engine_is_registering() {
    duels("gc_without_grace_deletes_no_pack_that_another_engine_is_registering", Duration::ZERO, 36);
}

/// Found by seed 1: gc removed the rows of a pack, another engine made the same pack again, and then gc deleted its bytes.
#[test]
fn a_delete_that_comes_late_hits_no_pack_that_was_made_again() {
    for seed in seeds(24) {
        println!("seed {seed}");
        block_on(duel(seed, HOUR, &[Step::Collect], &[Step::ReuseAll]));
    }
}

/// A pack that one gc deletes between the other's looks at the index and at the bucket is no damage; nor is a snapshot of
/// a workspace that is deleted and collected while the other one marks (seed 1).
#[test]
fn two_collectors_do_not_call_each_others_work_damage() {
    let plan = Plan { engines: 2, ..BUSY };
    run_all("two_collectors_do_not_call_each_others_work_damage", 12, &plan);
}

/// Found by reading: packs and entries of the ref log that gc deleted between check's looks at the database and at the
/// bucket were damage.
#[test]
fn check_beside_gc_raises_no_alarm() {
    let (mut after, mut gates) = (0, u64::MAX);
    while after < gates {
        gates = block_on(async {
            let world = World::new(7).await;
            let engines = [world.engine().await.unwrap(), world.engine().await.unwrap()];
            duel_of(world, engines, HOUR, &[Step::Check], &[Step::Collect], Some(after)).await
        });
        after += 1;
    }
    println!("check was overtaken by gc at each of its {gates} gates");
}

fn duels(test: &str, grace: Duration, short: u64) {
    let mut schedules = 0;
    for seed in seeds(short) {
        let beside = BESIDE[seed as usize % BESIDE.len()];
        let one = std::panic::AssertUnwindSafe(|| block_on(duel(seed, grace, &[Step::Collect], beside)));
        if let Err(cause) = std::panic::catch_unwind(one) {
            eprintln!("replay: ESKER_SIM_SEED={seed} cargo nextest run -p vfs-core --test sim -E 'test({test})'");
            std::panic::resume_unwind(cause);
        }
        schedules += 1;
    }
    println!("{schedules} schedules, 0 reachable lost");
}

/// gc over a bucket that has this fault all the time when something is listed or read.
pub(crate) async fn doubtful(fault: Fault, operation: Operation) {
    let world = World::new(11).await;
    prepare(&world).await;
    let before = verify::packs(&world).await;
    // Not the engine that wrote everything: that one has it in memory.
    let repo = world.engine().await.unwrap();
    let rule = Rule { fault, operation: Some(operation), object: Some("pack"), when: When::Always };
    world.faults.set([rule]);
    let options = collecting(Duration::ZERO, true);
    let result = repo.gc(options, &silent).await;
    let after = verify::packs(&world).await;
    assert!(world.faults.count() > 0, "{fault:?} never happened");
    assert_eq!(before, after, "gc deleted packs although there was {fault:?} with {operation:?}");
    let error = result.expect_err("gc did not notice");
    assert!(error.context().contains("deleted nothing"), "{}", error.chain());
    world.faults.set([]);
    verify::all(&repo, &world.model).await;
    assert!(verify::garbage_goes(&world, &repo).await > 0, "there was garbage");
    verify::all(&repo, &world.model).await;
}

#[test]
fn a_doubtful_list_or_read_deletes_nothing() {
    let lists = [
        Fault::ErrorBefore,
        Fault::ErrorAfter,
        Fault::StaleList,
        Fault::MissingPage,
        Fault::Busy503,
        Fault::Denied,
        Fault::Timeout,
    ];
    for fault in lists {
        block_on(doubtful(fault, Operation::List));
    }
    for fault in [Fault::ErrorBefore, Fault::Busy503, Fault::WrongBytes, Fault::Denied, Fault::Timeout] {
        block_on(doubtful(fault, Operation::Range));
    }
}
