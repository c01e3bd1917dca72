//! Promise P6 through FUSE: random operations on a mount against ext4, with remounts, kills and checkpoints.
//!
//! Every operation that was answered must be there after `kill -9` of the mount, because the journal is written before the
//! answer. Short in CI; `scripts/test-long --seed N --operations N` for longer.

use std::time::Duration;

use crate::model::chance::{Chance, operations_or, seed_or};
use crate::model::{Pair, Step};
use crate::world::{Mount, World};

/// What happens between operations.
struct Schedule {
    /// One full comparison each so many operations.
    compare_every: u64,
    /// One remount, kill or checkpoint each so many operations.
    disturb_every: u64,
}

fn run(seed: u64, operations: u64, schedule: &Schedule) {
    let Some(world) = World::with_mounts() else { return };
    world.esker(["workspace", "create", "w"]).ok();
    let mut mount = Mount::new(&world, "w", "m");
    let reference = world.folder("reference");
    let mut pair = Pair::new(&mount.dir, &reference, seed);
    let mut chance = Chance::new(seed ^ 0x5eed);
    // `ESKER_COMPARE_EVERY=1` finds the operation that made a difference which shows only later.
    let every =
        std::env::var("ESKER_COMPARE_EVERY").ok().and_then(|text| text.parse().ok()).unwrap_or(schedule.compare_every);
    while pair.done < operations {
        match pair.step().unwrap_or_else(|difference| panic!("{difference}")) {
            Step::Same => {}
            Step::Lost(operation) => panic!("seed {seed}: the mount died under {operation:?}"),
        }
        if pair.done.is_multiple_of(every) {
            check(&pair);
        }
        if chance.below(schedule.disturb_every) == 0 {
            disturb(&world, &mut mount, &mut pair, &mut chance);
            check(&pair);
        }
    }
    check(&pair);
    pair.close_all();
    mount.unmount(&world);
    world.esker(["check", "--full"]).ok();
    let exported = world.path("exported");
    world.command(["export", "w"]).arg(&exported).output().expect("esker export runs");
    let (left, right) =
        (crate::model::manifest::Manifest::read(&exported), crate::model::manifest::Manifest::read(&reference));
    assert_eq!(left.difference(&right), None, "seed {seed}: the exported tree differs");
    println!("{} operations, {} succeeded, 0 differences", pair.done, pair.succeeded);
}

fn check(pair: &Pair) {
    pair.compare().unwrap_or_else(|difference| panic!("{difference}"));
}

fn disturb(world: &World, mount: &mut Mount, pair: &mut Pair, chance: &mut Chance) {
    match chance.below(4) {
        0 => {
            world.checkpoint("w", "in the middle");
        }
        1 => {
            pair.close_all();
            mount.unmount(world);
            mount.start(world);
        }
        2 => {
            pair.close_all();
            mount.kill();
            mount.start(world);
        }
        _ => kill_under_load(world, mount, pair, chance),
    }
}

/// Kills the mount from another thread while operations run; the one it dies under may have happened or not.
fn kill_under_load(world: &World, mount: &mut Mount, pair: &mut Pair, chance: &mut Chance) {
    let pid = mount.pid();
    let delay = Duration::from_micros(chance.below(20_000));
    let killer = std::thread::spawn(move || {
        std::thread::sleep(delay);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    });
    let operation = loop {
        match pair.step().unwrap_or_else(|difference| panic!("{difference}")) {
            Step::Same => {}
            Step::Lost(operation) => break operation,
        }
    };
    killer.join().expect("the killer ends");
    mount.killed();
    pair.close_all();
    mount.start(world);
    pair.settle(&operation).unwrap_or_else(|difference| panic!("{difference}"));
}

#[test]
fn a_mount_equals_ext4_under_random_operations_remounts_and_kills() {
    run(seed_or(1), operations_or(6_000).min(6_000), &Schedule { compare_every: 500, disturb_every: 300 });
}

#[test]
#[ignore = "long: scripts/test-long"]
fn a_mount_equals_ext4_for_long() {
    run(seed_or(2), operations_or(200_000), &Schedule { compare_every: 5_000, disturb_every: 2_000 });
}
