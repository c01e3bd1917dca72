//! More of what the tables hold, as values: side refs, and what check and repair look at.

use super::row::row_hash;
use crate::clock::Time;
use crate::id::{ObjectId, ObjectKind, SnapshotId, WorkspaceId};
use crate::pack::PackEntry;

/// A name beside the head of a workspace that keeps a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideRefRow {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its name: a word, a slash and the rest.
    pub name: String,
    /// What it keeps.
    pub snapshot: SnapshotId,
    /// When it was made.
    pub created: Time,
}

/// When check has read a pack in full, and with what outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedPack {
    /// When.
    pub checked: Time,
    /// Something in it was wrong.
    pub damaged: bool,
}

/// An index row as it stands in the database, whether it can be understood or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexRow {
    /// The column of this name.
    pub kind: i64,
    /// The column of this name.
    pub hash: Vec<u8>,
    /// What the row says, if that is possible at all.
    pub entry: Option<PackEntry>,
}

impl IndexRow {
    /// The object that the row is about, if it can be one.
    pub fn id(&self) -> Option<ObjectId> {
        let kind = ObjectKind::from_tag(u8::try_from(self.kind).ok()?).ok()?;
        Some(ObjectId { kind, hash: self.hash.as_slice().try_into().ok()? })
    }
}

impl SideRefRow {
    /// What guards the row.
    pub(super) fn hash(&self) -> Vec<u8> {
        row_hash(
            "side_refs",
            &[
                self.workspace.as_bytes(),
                self.name.as_bytes(),
                self.snapshot.as_bytes(),
                &self.created.as_nanos().to_le_bytes(),
            ],
        )
    }
}
