//! Switches that break one invariant each. A test turns one on, runs its worlds and must see them fail: a test that
//! cannot fail proves nothing.

use std::cell::Cell;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// A publish does not revive the packs that it counts on.
    SkipRevive,
    /// gc deletes although the roots have changed since it marked.
    SkipGenerationCheck,
    /// An error of a list means that nothing more is there, and a list is believed.
    ListErrorAsEmpty,
    /// gc deletes orphans without saying first that nobody may register them.
    OrphanWithoutDead,
    /// A publish is answered before its transaction is committed.
    AnswerBeforeCommit,
    /// A ref moves whatever it points at.
    SkipCompareAndSet,
    /// Objects are put into the index before their pack is in the bucket.
    IndexBeforeUpload,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Sabotage; 7] = [
        Sabotage::SkipRevive,
        Sabotage::SkipGenerationCheck,
        Sabotage::ListErrorAsEmpty,
        Sabotage::OrphanWithoutDead,
        Sabotage::AnswerBeforeCommit,
        Sabotage::SkipCompareAndSet,
        Sabotage::IndexBeforeUpload,
    ];
}

thread_local! {
    static NOW: Cell<Option<Sabotage>> = const { Cell::new(None) };
}

/// Breaks something for the code that runs on this thread; `None` mends it.
pub fn set(sabotage: Option<Sabotage>) {
    NOW.set(sabotage);
}

/// Whether this is broken on this thread.
pub(crate) fn is(sabotage: Sabotage) -> bool {
    NOW.get() == Some(sabotage)
}
