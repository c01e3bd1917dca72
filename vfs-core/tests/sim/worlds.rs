//! P7 and P9: many worlds, one for each seed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;
use vfs_core::id::{ObjectKind, PackId};
use vfs_core::limits::SMALL_OBJECT_MAX;
use vfs_core::objects::NewObjects;
use vfs_core::testing::{Fault, Rule, Turnstile, When, seed_ids};

use crate::client::Mix;
use crate::world::{Plan, Story, World};

/// Engines of a world in which garbage is collected.
pub(crate) const ENGINES: usize = 2;

/// A little of everything, without faults of the bucket.
pub(crate) const CALM: Plan = Plan {
    engines: ENGINES,
    clients: 5,
    operations: 8,
    mix: Mix::ALL,
    crashes: 4,
    jumps: 8,
    pauses: 10,
    rules: Vec::new(),
};

/// The same over a bucket where a few calls in a hundred go wrong.
pub(crate) fn stormy() -> Plan {
    let rules = Fault::ALL.map(|fault| Rule::anywhere(fault, When::Percent(1)));
    Plan { rules: rules.to_vec(), ..CALM }
}

/// How many worlds a test runs: `short` ones, or what `ESKER_SIM_SEEDS` says. `ESKER_SIM_SEED` runs one.
pub(crate) fn seeds(short: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    match (number("ESKER_SIM_SEED"), number("ESKER_SIM_SEEDS")) {
        (Some(seed), _) => vec![seed],
        // Other worlds each time, unless the long run says where to begin.
        (None, Some(count)) => {
            let first = number("ESKER_SEED").unwrap_or(0) << 20;
            (first..first + count).collect()
        }
        (None, None) => (0..short).collect(),
    }
}

/// Runs something in a runtime of one thread, as the turnstile needs it.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(tokio::task::unconstrained(future));
    seed_ids(None);
    result
}

/// Runs one world; says how it is run again if it fails.
pub(crate) fn run(test: &str, seed: u64, plan: &Plan) -> Story {
    let world = || {
        block_on(async {
            let world = World::new(seed).await;
            world.run(plan).await
        })
    };
    match catch_unwind(AssertUnwindSafe(world)) {
        Ok(story) => story,
        Err(cause) => {
            eprintln!("replay: ESKER_SIM_SEED={seed} cargo nextest run -p vfs-core --test sim -E 'test({test})'");
            std::panic::resume_unwind(cause);
        }
    }
}

/// Runs many, and says what happened in them.
pub(crate) fn run_all(test: &str, short: u64, plan: &Plan) -> Story {
    let mut sum = Story::default();
    let seeds = seeds(short);
    let count = seeds.len();
    let mut steps = 0;
    for seed in seeds {
        let story = run(test, seed, plan);
        steps += story.trace.len();
        sum.crashes += story.crashes;
        sum.acknowledged += story.acknowledged;
        sum.faults += story.faults;
        sum.freed += story.freed;
    }
    println!(
        "{test}: {count} worlds, {steps} steps, {} publishes acknowledged, {} crashes, {} faults, {} packs freed, 0 lost",
        sum.acknowledged, sum.crashes, sum.faults, sum.freed
    );
    sum
}

/// The packs that a batch makes of contents that are too large to be compressed where the caller runs.
async fn packs_of_large_contents() -> std::collections::BTreeSet<PackId> {
    let world = World::new(5).await;
    let (repo, packs) = (world.engine().await.unwrap(), Arc::new(Mutex::new(None)));
    let (mut turnstile, made) = (Turnstile::new(5), packs.clone());
    turnstile.spawn(0, "writer", async move {
        let batch = repo.batch();
        let mut content = vec![0; 2 * SMALL_OBJECT_MAX];
        blake3::Hasher::new().finalize_xof().fill(&mut content);
        batch.add(ObjectKind::Chunk, content.into()).await.unwrap();
        *made.lock() = Some(batch.finish().await.unwrap());
    });
    while turnstile.step().await.is_some() {}
    let made = packs.lock().take();
    made.unwrap()
}

#[test]
fn ids_that_are_made_beside_heavy_work_follow_the_seed() {
    assert_eq!(block_on(packs_of_large_contents()), block_on(packs_of_large_contents()));
}

#[test]
fn one_seed_is_one_world() {
    for seed in seeds(2) {
        for plan in [CALM, stormy()] {
            let (first, second) =
                (run("one_seed_is_one_world", seed, &plan), run("one_seed_is_one_world", seed, &plan));
            let differs = first.trace.iter().zip(&second.trace).position(|(a, b)| a != b);
            if let Some(place) = differs {
                let around = |story: &Story| story.trace[place.saturating_sub(5)..=place].join("\n");
                panic!("seed {seed}: step {place} differs:\n{}\n---\n{}", around(&first), around(&second));
            }
            assert_eq!(first, second);
        }
    }
}

#[test]
fn worlds_with_crashes_lose_nothing() {
    let sum = run_all("worlds_with_crashes_lose_nothing", 8, &CALM);
    assert!(sum.acknowledged > 0 && sum.freed > 0);
}

#[test]
fn worlds_with_a_faulty_bucket_lose_nothing() {
    let sum = run_all("worlds_with_a_faulty_bucket_lose_nothing", 8, &stormy());
    assert!(sum.acknowledged > 0 && sum.faults > 0);
}
