//! What the overlay counts against its quota, before it acknowledges anything.
//!
//! Counted are inodes with a name; one that is open and has lost its last name is free at once, as it is not published.
//! Every record is counted the same way, live and in a replay, so what is refused here is what the engine would refuse.

use super::record::Record;
use super::state::State;
use crate::error::Result;
use crate::object::{FileKind, Ino};
use crate::quota::Usage;

impl Record<'_> {
    /// The inodes whose size or names the record may change.
    pub(super) fn counted(&self) -> [Option<Ino>; 2] {
        match *self {
            Record::Make { ino, .. }
            | Record::Link { ino, .. }
            | Record::Unlink { ino, .. }
            | Record::Attr { ino, .. }
            | Record::Write { ino, .. }
            | Record::Zero { ino, .. } => [Some(ino), None],
            Record::Rename { replaced, .. } => [replaced, None],
            Record::Place { ino, replaced, .. } => [Some(ino), replaced],
            Record::Synced { .. }
            | Record::Inos { .. }
            | Record::Adopt { .. }
            | Record::Xattr { .. }
            | Record::Fresh { .. } => [None, None],
        }
    }
}

impl State {
    /// Does what a record says, and counts what the workspace holds then. `data_position` is where a write's data lies,
    /// `end` the position after the record.
    pub(super) fn apply(&mut self, record: &Record<'_>, data_position: u64, end: u64) -> Result<()> {
        let counted = record.counted();
        let before = self.held_by(counted);
        self.apply_uncounted(record, data_position, end)?;
        self.usage = self.usage.plus(self.held_by(counted)).minus(before);
        Ok(())
    }

    /// What these inodes hold.
    pub(super) fn held_by(&self, inos: [Option<Ino>; 2]) -> Usage {
        let held = |ino| match self.inodes.get(&ino) {
            Some(inode) if inode.nlink > 0 => {
                Usage { bytes: if inode.kind() == FileKind::File { inode.size() } else { 0 }, files: 1 }
            }
            _ => Usage::default(),
        };
        inos.into_iter().flatten().map(held).fold(Usage::default(), Usage::plus)
    }

    /// Whether one more inode fits.
    pub(super) fn check_one_more(&self) -> Result<()> {
        self.check_more(Usage { bytes: 0, files: 1 }, Usage::default())
    }

    /// Whether a file may come to `size` bytes; one without a name counts nothing.
    pub(super) fn check_size(&self, ino: Ino, size: u64) -> Result<()> {
        let before = self.held_by([Some(ino), None]);
        match before.files {
            0 => Ok(()),
            _ => self.check_more(Usage { bytes: size, files: 1 }, before),
        }
    }

    /// Whether there is room for `more` in place of `less`.
    pub(super) fn check_more(&self, more: Usage, less: Usage) -> Result<()> {
        match self.quota.is_set() {
            false => Ok(()),
            true => self.quota.check("this workspace", self.usage, self.usage.plus(more).minus(less)),
        }
    }
}
