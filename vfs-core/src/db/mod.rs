//! Names that move, and the index: the database of a repo.
//!
//! One struct a database kind, one file a noun. There is one kind so far, so there is no trait. Only this module holds
//! SQL. Rows of refs, history, leases and documents carry their own hash: SQLite's integrity check does not see a
//! flipped bit.

mod row;
mod session_row;
mod sqlite;
#[cfg(test)]
mod tests;

pub use row::{
    DocumentRow, HistoryRow, LeaseRow, Location, OrphanRow, PackRow, RefRow, SideRefRow, VersionRow, WorkspaceRow,
};
pub use session_row::{DocumentVersion, EventRow, SessionRow, TurnRow};
pub use sqlite::{
    Connection, Database, Transaction, copies, counters, documents, history, leases, meta, orphans, packs, refs,
    retention, sessions, side_refs, turn_log, workspaces,
};
