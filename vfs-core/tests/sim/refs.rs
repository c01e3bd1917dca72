//! P15: refs are linearisable. Sixteen clients of two engines race for one name, with kills and leases that run out; the
//! recorded history is one chain of compare-and-set moves that holds every acknowledged one.

use crate::client::Mix;
use crate::world::{Plan, Story};
use crate::worlds::{run, seeds};

/// Sixteen clients on one name.
pub(crate) const RACE: Plan =
    Plan { engines: 2, clients: 8, operations: 6, mix: Mix::REFS, crashes: 3, jumps: 6, pauses: 0, rules: Vec::new() };

#[test]
fn refs_are_linearisable() {
    let (mut sum, mut worlds) = (Story::default(), 0);
    for seed in seeds(3) {
        let story = run("refs_are_linearisable", seed, &RACE);
        sum.acknowledged += story.acknowledged;
        sum.crashes += story.crashes;
        worlds += 1;
    }
    println!("{worlds} worlds, {} moves acknowledged, {} crashes, all in one chain", sum.acknowledged, sum.crashes);
    assert!(sum.acknowledged > 0);
}
