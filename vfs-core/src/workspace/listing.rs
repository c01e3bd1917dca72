//! Directory listings: names in the order of their hashes, so that a cookie stands for a place and not for a moment.
//!
//! The kernel sends no `opendir` and caches what it has read, so a cookie must mean the same for every listing, today
//! and after a checkpoint. As in ext4 it is a hash of the name: a listing goes on behind it whatever came or went.
//! The view of one moment is kept while it is read, to save building it anew for each page.

use std::hash::Hasher;
use std::sync::Arc;

use crate::name::Name;
use crate::object::{Entry, FileKind, Ino, Target};

/// The cookies after `.` and `..`; every name's is larger.
pub(super) const DOTS: u64 = 2;

/// One name of a view.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Where a listing goes on behind this name.
    pub(super) cookie: u64,
    pub(super) name: Name,
    pub(super) ino: Ino,
    /// `None` for a hard link, whose kind is in the link table.
    pub(super) kind: Option<FileKind>,
}

impl Row {
    pub(super) fn new(name: Name, ino: Ino, kind: Option<FileKind>) -> Row {
        #[allow(deprecated, reason = "this one has fixed keys: a name's cookie must not depend on the process")]
        let mut hasher = std::hash::SipHasher::new();
        hasher.write(name.as_bytes());
        let cookie = (hasher.finish() >> 1).max(DOTS + 1);
        Row { cookie, name, ino, kind }
    }

    pub(super) fn of(entry: &Entry) -> Row {
        match &entry.target {
            Target::Node(node) => Row::new(entry.name.clone(), node.ino, Some(node.body.kind())),
            Target::Link(ino) => Row::new(entry.name.clone(), *ino, None),
        }
    }
}

/// The view of a directory that is being read.
#[derive(Debug, Default)]
pub(super) struct Listings {
    rows: Option<Arc<[Row]>>,
    stale: bool,
}

impl Listings {
    /// The rows that a listing at `cookie` goes on in; a new one takes no stale view. `None`: it has to be built.
    pub(super) fn find(&self, cookie: u64) -> Option<Arc<[Row]>> {
        self.rows.clone().filter(|_| cookie > DOTS || !self.stale)
    }

    /// Keeps a new view.
    pub(super) fn add(&mut self, mut rows: Vec<Row>) {
        rows.sort_unstable_by(|a, b| (a.cookie, &a.name).cmp(&(b.cookie, &b.name)));
        for index in 1..rows.len() {
            // Two names of one hash are next to none; still each needs a place of its own.
            rows[index].cookie = rows[index].cookie.max(rows[index - 1].cookie + 1);
        }
        *self = Listings { rows: Some(rows.into()), stale: false };
    }

    /// A listing has been read to its end.
    pub(super) fn finished(&mut self) {
        self.rows = None;
    }

    /// The directory has changed: new listings need a new view.
    pub(super) fn note_change(&mut self) {
        self.stale = true;
    }
}
