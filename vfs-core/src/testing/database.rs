//! What the database's hooks call: a gate before each transaction and around each commit, and its troubles.

use std::cell::Cell;

use super::turnstile::{gate, has_actor};
use crate::error::{Error, Kind, Result};

/// What is wrong with the database of this thread's tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DatabaseTrouble {
    /// Nothing.
    #[default]
    None,
    /// It may not grow by a page: what a full disk does, done by SQLite itself.
    Full,
    /// No transaction can be begun.
    Away,
    /// What is committed takes effect, but the answer is an error.
    LostAnswers,
}

thread_local! {
    static TROUBLE: Cell<DatabaseTrouble> = const { Cell::new(DatabaseTrouble::None) };
    static WAS_FULL: Cell<bool> = const { Cell::new(false) };
}

/// From now on the databases that this thread uses have this trouble.
pub fn trouble_database(trouble: DatabaseTrouble) {
    TROUBLE.set(trouble);
}

/// Called before and after what a transaction does.
pub(crate) async fn step(place: &'static str) -> Result<()> {
    if has_actor() {
        gate(place).await;
    }
    let refused = |context: &str| Err(Error::new(Kind::Unavailable, context));
    match (TROUBLE.get(), place) {
        (DatabaseTrouble::Away, "begin") => refused("the database is away (test): try again"),
        (DatabaseTrouble::LostAnswers, "committed") => refused("a transaction's outcome is unknown (test): try again"),
        _ => Ok(()),
    }
}

/// How many pages the database may have, as a statement for a transaction that was begun.
pub(crate) fn begun() -> Option<&'static str> {
    match TROUBLE.get() {
        DatabaseTrouble::Full => {
            WAS_FULL.set(true);
            // SQLite takes the present size where that is larger.
            Some("PRAGMA max_page_count = 1")
        }
        _ => WAS_FULL.get().then_some("PRAGMA max_page_count = 1073741823"),
    }
}
