//! P9: gc never deletes what is reachable, deletes nothing after an error, and frees garbage in the end: against
//! writers, forks, restores, deletions, another gc, a gc that sleeps, clocks that jump, lists that lie.

use std::time::Duration;

use vfs_core::Kind;
use vfs_core::progress::silent;
use vfs_core::repo::GcOptions;
use vfs_core::testing::{Fault, Operation, Rule, Turnstile, When};

use crate::client::Mix;
use crate::crash::{Step, act, prepare};
use crate::verify;
use crate::world::{Plan, World};
use crate::worlds::{block_on, run_all, seeds};

/// Collectors that often fall asleep, beside writers that use garbage again.
const BUSY: Plan = Plan {
    engines: 2,
    clients: 3,
    operations: 8,
    mix: Mix { makes: 20, deletes: 14, documents: 0, checks: 0, ..Mix::ALL },
    crashes: 2,
    jumps: 25,
    pauses: 40,
    rules: Vec::new(),
};

#[test]
fn collectors_beside_writers_lose_nothing_reachable() {
    let sum = run_all("collectors_beside_writers_lose_nothing_reachable", 12, &BUSY);
    assert!(sum.freed > 0);
}

/// Two engines, each with its steps, in the order that the seed says.
pub(crate) async fn duel(seed: u64, left: &[Step], right: &[Step]) {
    let world = World::new(seed).await;
    let setting = prepare(&world).await;
    let mut turnstile = Turnstile::new(seed);
    for (group, steps) in [left, right].into_iter().enumerate() {
        let (repo, setting, steps) = (world.engine().await.unwrap(), setting.clone(), steps.to_vec());
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
    while turnstile.step().await.is_some() {}
    let repo = world.engine().await.unwrap();
    world.clock.advance(vfs_core::limits::LEASE_TTL);
    verify::all(&repo, &world.model).await;
    verify::garbage_goes(&world, &repo).await;
    verify::all(&repo, &world.model).await;
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
    let mut schedules = 0;
    for seed in seeds(24) {
        let beside = BESIDE[seed as usize % BESIDE.len()];
        let one = std::panic::AssertUnwindSafe(|| block_on(duel(seed, &[Step::Collect], beside)));
        if let Err(cause) = std::panic::catch_unwind(one) {
            let test = "one_gc_beside_one_writer_in_any_order";
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
    let options = GcOptions { grace: Duration::ZERO, delete: true };
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
