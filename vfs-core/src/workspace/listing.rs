//! Directory listings: the names of one moment, in order, kept while somebody reads them.
//!
//! The kernel sends no `opendir`, so a listing is known by its cookie alone: the number of the view in the upper bits
//! and the index of the next row in the lower ones. A view holds names only, so it survives checkpoints and changes;
//! names that are gone by the time they are shown are left out.

use std::sync::Arc;

use crate::name::Name;
use crate::object::{Entry, FileKind, Ino, Target};

/// Rows per view that a cookie can count.
const INDEX_BITS: u32 = 40;
/// Views of one directory kept at once: as many processes may list it while it changes.
const VIEWS_MAX: usize = 8;
/// `.` and `..` come before the rows.
pub(super) const DOTS: u64 = 2;

/// One name of a view.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) name: Name,
    pub(super) ino: Ino,
    /// `None` for a hard link, whose kind is in the link table.
    pub(super) kind: Option<FileKind>,
}

impl Row {
    pub(super) fn of(entry: &Entry) -> Row {
        let (ino, kind) = match &entry.target {
            Target::Node(node) => (node.ino, Some(node.body.kind())),
            Target::Link(ino) => (*ino, None),
        };
        Row { name: entry.name.clone(), ino, kind }
    }
}

/// The views of one directory.
#[derive(Debug, Default)]
pub(super) struct Listings {
    views: Vec<View>,
    last_number: u64,
}

#[derive(Debug)]
struct View {
    number: u64,
    rows: Arc<[Row]>,
    stale: bool,
}

impl Listings {
    /// The view that `cookie` goes on in, and the index of the next row. `None`: it has to be built.
    pub(super) fn find(&self, cookie: u64) -> Option<(u64, Arc<[Row]>, u64)> {
        let (number, index) = (cookie >> INDEX_BITS, cookie & ((1 << INDEX_BITS) - 1));
        let view = if cookie == 0 {
            self.views.iter().rev().find(|view| !view.stale)
        } else {
            // A view that was dropped was dropped unchanged, so that the newest one has the same rows.
            self.views.iter().find(|view| view.number == number).or(self.views.last())
        }?;
        Some((view.number, view.rows.clone(), index))
    }

    /// Keeps a new view.
    pub(super) fn add(&mut self, rows: Vec<Row>) {
        if self.views.len() >= VIEWS_MAX {
            self.views.remove(0);
        }
        self.last_number = (self.last_number + 1) % (1 << (63 - INDEX_BITS));
        self.views.push(View { number: self.last_number, rows: rows.into(), stale: false });
    }

    /// A listing has been read to its end.
    pub(super) fn finished(&mut self, number: u64) {
        self.views.retain(|view| view.number != number || view.stale);
    }

    /// The directory has changed: new listings need a new view.
    pub(super) fn note_change(&mut self) {
        self.views.iter_mut().for_each(|view| view.stale = true);
    }
}

/// The cookie of row `index` of a view: where the listing goes on after the row before.
pub(super) fn cookie(number: u64, index: u64) -> u64 {
    number << INDEX_BITS | index
}
