//! The model test has teeth: it accepts two equal filesystems and catches one that forgets a single call.

use std::path::Path;

use super::operation::{Operation, Outcome};
use super::{Pair, Step};

fn folders() -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (left, right) = (folder.path().join("left"), folder.path().join("right"));
    std::fs::create_dir(&left).unwrap();
    std::fs::create_dir(&right).unwrap();
    (folder, left, right)
}

/// Runs until the first difference.
fn run(left: &Path, right: &Path, seed: u64, operations: u64) -> Result<Pair, String> {
    let mut pair = Pair::new(left, right, seed);
    for _ in 0..operations {
        let Step::Same = pair.step()? else { panic!("an ordinary folder is never lost") };
        if pair.done.is_multiple_of(500) {
            pair.compare()?;
        }
    }
    pair.compare()?;
    Ok(pair)
}

#[test]
fn equal_filesystems_are_found_equal_and_most_operations_do_something() {
    let (_folder, left, right) = folders();
    let pair = run(&left, &right, 7, 4000).unwrap();
    assert!(
        pair.succeeded > 1500,
        "only {} of {} operations succeed: the generator is blunt",
        pair.succeeded,
        pair.done
    );
}

/// Which operation is forgotten.
type Target = fn(&Operation) -> bool;

/// What a broken filesystem does from some operation on: it answers well and forgets.
fn with_sabotage(seed: u64, is_target: Target) -> Result<(), String> {
    let (_folder, left, right) = folders();
    let mut pair = Pair::new(&left, &right, seed);
    let mut sabotaged = false;
    for step in 0..1500_u64 {
        if step.is_multiple_of(40) {
            pair.generator.learn(&pair.reference.root);
        }
        let operation = pair.generator.next();
        let expected = pair.reference.apply(&operation);
        if !sabotaged && step > 300 && is_target(&operation) && matches!(expected, Outcome::Done(_)) {
            sabotaged = true;
            continue;
        }
        let got = pair.subject.apply(&operation);
        if got != expected {
            return Err(format!("{operation:?}"));
        }
        if step.is_multiple_of(10) {
            pair.compare()?;
        }
    }
    assert!(sabotaged, "the sequence has no such operation");
    pair.compare()
}

#[test]
fn one_forgotten_call_of_each_kind_is_caught() {
    let kinds: [(&str, Target); 8] = [
        ("rename", |operation| matches!(operation, Operation::Rename { from, to, .. } if from != to)),
        ("truncate", |operation| matches!(operation, Operation::Truncate { length, .. } if *length > 0)),
        ("write", |operation| matches!(operation, Operation::Write { length, .. } if *length > 0)),
        ("link", |operation| matches!(operation, Operation::Link { .. })),
        ("chmod", |operation| matches!(operation, Operation::Chmod { .. })),
        ("times", |operation| matches!(operation, Operation::SetTimes { .. })),
        ("xattr", |operation| matches!(operation, Operation::SetXattr { .. })),
        ("unlink", |operation| matches!(operation, Operation::Unlink { .. })),
    ];
    for (name, is_target) in kinds {
        // A single one may make no difference: the file may be removed before anybody looks.
        let caught = (11..15).filter(|&seed| with_sabotage(seed, is_target).is_err()).count();
        assert!(caught >= 3, "a forgotten {name} was caught in {caught} of 4 runs only");
    }
}
