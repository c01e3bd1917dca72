//! The rig has teeth: with one invariant broken, its worlds fail. A test here fails if none of them does.

use std::panic::{AssertUnwindSafe, catch_unwind};

use vfs_core::testing::sabotage::{Sabotage, set};
use vfs_core::testing::{Fault, Operation};

use crate::crash::{Step, crash_everywhere};
use crate::gc::{HOUR, doubtful, duel, duel_of_one};
use crate::worlds::block_on;

/// Schedules that are tried before the rig counts as blind.
const TRIES: u64 = 60;

/// Runs until something fails; says with which seed and why.
fn caught(sabotage: Sabotage, run: impl Fn(u64)) {
    std::panic::set_hook(Box::new(|_| {}));
    let mut found = None;
    for seed in 0..TRIES {
        set(Some(sabotage));
        let result = catch_unwind(AssertUnwindSafe(|| run(seed)));
        set(None);
        if let Err(cause) = result {
            let text = cause.downcast_ref::<String>().cloned();
            let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            found = Some((seed, text.unwrap_or_default()));
            break;
        }
    }
    drop(std::panic::take_hook());
    let (seed, text) = found.unwrap_or_else(|| panic!("{sabotage:?} went unnoticed {TRIES} times"));
    println!("{sabotage:?} is caught by seed {seed}: {}", text.lines().next().unwrap_or_default());
    // The same without sabotage goes well, or the failure proves nothing.
    run(seed);
}

#[test]
fn a_publish_that_revives_nothing_is_caught() {
    caught(Sabotage::SkipRevive, |seed| block_on(duel(seed, HOUR, &[Step::Collect], &[Step::Reuse])));
}

#[test]
fn a_gc_that_does_not_look_again_is_caught() {
    caught(Sabotage::SkipGenerationCheck, |seed| block_on(duel_of_one(seed, &[Step::Collect], &[Step::Reuse])));
}

#[test]
fn a_gc_that_believes_a_failed_list_is_caught() {
    caught(Sabotage::ListErrorAsEmpty, |_| block_on(doubtful(Fault::ErrorBefore, Operation::List)));
}

#[test]
fn a_gc_that_deletes_orphans_unannounced_is_caught() {
    caught(Sabotage::OrphanWithoutDead, |seed| {
        // The writer sleeps, now and then between bucket and index.
        block_on(duel(seed, std::time::Duration::ZERO, &[Step::Write], &[Step::Collect]));
    });
}

#[test]
fn an_answer_before_the_commit_is_caught() {
    caught(Sabotage::AnswerBeforeCommit, |seed| {
        crash_everywhere(seed, &[Step::Write]);
    });
}

#[test]
fn a_ref_that_moves_anyway_is_caught() {
    caught(Sabotage::SkipCompareAndSet, |seed| block_on(duel(seed, HOUR, &[Step::Write], &[Step::Write])));
}

#[test]
fn an_index_before_its_pack_is_caught() {
    caught(Sabotage::IndexBeforeUpload, |seed| {
        crash_everywhere(seed, &[Step::Write]);
    });
}
