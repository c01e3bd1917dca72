//! Documents: versioned files in the database, for skills, memories and instructions (decision 0011).
//!
//! | file | what |
//! |---|---|
//! | `name` | scopes, paths, views, grants: validated once |
//! | `write` | the one way to add a version: compare, merge or keep aside, in one transaction |
//! | `merge` | two contents that came from one |
//! | `read` | heads of views, contents, versions |
//!
//! Keeps true: a version never changes; a write that has not seen the head changes nothing of it, or is merged so that
//! nothing of either side is lost; who writes is what the turn log says in the same transaction. A committed version
//! survives a power cut.

mod merge;
mod name;
mod read;
#[cfg(test)]
mod tests;
mod write;

use bytes::Bytes;

pub use crate::db::VersionRow as Version;
pub use name::{DocumentPath, Grants, Scope, View};
pub(crate) use read::{find, history, list, read};
pub(crate) use write::write;

/// What a write is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// There is no document, or it is deleted.
    Absent,
    /// The head has this version.
    Version(u64),
}

/// What a write does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Gives the document this content.
    Put(Bytes),
    /// Deletes it; its versions stay.
    Delete,
}

/// Who writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writer {
    /// For people.
    pub author: String,
    /// The session, whose turn log says in which turn and tool call; empty if there is none.
    pub session: String,
    /// The epoch of the session's lease, which must be the present one.
    pub epoch: Option<u64>,
    /// The tool call, instead of the one that the turn log has open; empty for that one.
    pub tool_call: String,
    /// Names the write, so that a repetition is recognised; the tool call given above if empty.
    pub key: String,
}

/// A write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub scope: Scope,
    /// The document.
    pub path: DocumentPath,
    /// What it is based on.
    pub basis: Basis,
    /// What it does.
    pub change: Change,
    /// On another head, merge; keep a side version if that cannot be done.
    pub merge: bool,
    /// What the caller may write.
    pub grants: Grants,
    /// Who writes.
    pub writer: Writer,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The version that it made, or that has these bytes already.
    Written(Version),
    /// The head is another one; nothing of it was changed.
    Conflict(Box<Conflict>),
}

/// What a write met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What it was based on; `None` if it was to be the first.
    pub base: Option<ConflictSide>,
    /// The head.
    pub theirs: ConflictSide,
    /// What was to be written. Its version is that of the side version, or 0 if it was not kept.
    pub yours: ConflictSide,
}

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictSide {
    /// The version; 0 if it has none.
    pub version: u64,
    /// It is a deletion.
    pub deleted: bool,
    /// The content; empty for a deletion.
    pub content: Bytes,
}

/// Which scopes a reader looks into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Within {
    /// These, the nearest covers the others.
    View(View),
    /// One.
    Scope(Scope),
    /// All of the tenant, none covers another.
    All,
}
