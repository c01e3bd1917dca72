//! The filesystem against a reference model nobody here wrote: the machine's own ext4 (promise P6).
//!
//! One seeded sequence of operations runs on two folders; each answer and, from time to time, the whole tree must be equal.
//! Knows nothing of Esker: the two sides are folders. [`crate::random`] puts a mount on one side, with remounts and kills.

pub(crate) mod apply;
pub(crate) mod chance;
pub(crate) mod generate;
pub(crate) mod manifest;
pub(crate) mod operation;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::path::Path;

pub(crate) use apply::Side;
use chance::Chance;
use generate::Generator;
use manifest::Manifest;
use operation::{Operation, Outcome};

/// Operations that a failure shows.
const HISTORY: usize = 60;

/// Two folders under one sequence of operations.
pub(crate) struct Pair {
    /// The filesystem under test.
    pub(crate) subject: Side,
    /// The one that is right.
    pub(crate) reference: Side,
    generator: Generator,
    history: VecDeque<String>,
    /// Operations done so far.
    pub(crate) done: u64,
    /// Of those, operations that succeeded on both sides.
    pub(crate) succeeded: u64,
}

/// What one step found.
pub(crate) enum Step {
    /// Both sides said the same.
    Same,
    /// The subject's process died under the operation, which may have happened or not.
    Lost(Operation),
}

impl Pair {
    /// Two empty folders and a seed.
    pub(crate) fn new(subject: &Path, reference: &Path, seed: u64) -> Pair {
        Pair {
            subject: Side::new(subject),
            reference: Side::new(reference),
            generator: Generator::new(Chance::new(seed)),
            history: VecDeque::new(),
            done: 0,
            succeeded: 0,
        }
    }

    /// Does one operation on both sides; the error is a difference, with the operations that led to it.
    pub(crate) fn step(&mut self) -> Result<Step, String> {
        if self.done.is_multiple_of(40) {
            self.generator.learn(&self.reference.root);
        }
        let operation = self.generator.next();
        self.done += 1;
        let got = self.subject.apply(&operation);
        if got.is_lost() {
            self.remember(&operation, "lost");
            return Ok(Step::Lost(operation));
        }
        let expected = self.reference.apply(&operation);
        self.remember(&operation, &expected.short());
        if got != expected {
            return Err(self.explain(&format!("{operation:?}\n  expected {expected:?}\n  got      {got:?}")));
        }
        self.succeeded += u64::from(matches!(expected, Outcome::Done(_)));
        Ok(Step::Same)
    }

    /// Forgets open files on both sides, as a remount does.
    pub(crate) fn close_all(&mut self) {
        self.subject.close_all();
        self.reference.close_all();
    }

    /// Compares the whole trees.
    pub(crate) fn compare(&self) -> Result<(), String> {
        match Manifest::read(&self.subject.root).difference(&Manifest::read(&self.reference.root)) {
            None => Ok(()),
            Some(difference) => {
                Err(self.explain(&format!("the trees differ (subject against reference): {difference}")))
            }
        }
    }

    /// After a crash under `operation`: the subject must be in the state before it or after it. Brings the reference there.
    pub(crate) fn settle(&mut self, operation: &Operation) -> Result<(), String> {
        let Err(before) = self.compare() else { return Ok(()) };
        self.reference.apply(operation);
        // The operation may have opened a file on one side only.
        self.close_all();
        self.compare().map_err(|after| format!("neither before nor after the crash\nbefore: {before}\nafter: {after}"))
    }

    fn remember(&mut self, operation: &Operation, outcome: &str) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(format!("{:>7}  {operation:?} → {outcome}", self.done));
    }

    fn explain(&self, what: &str) -> String {
        let history = self.history.iter().cloned().collect::<Vec<_>>().join("\n");
        let text =
            format!("seed {}, operation {}: {what}\nlast operations:\n{history}", self.generator.seed(), self.done);
        text.replace(&"n".repeat(255), "<255 n>")
    }
}
