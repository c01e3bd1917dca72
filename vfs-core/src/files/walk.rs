//! Going through a directory in the order of paths, by ripgrep's rules. Symlinks are not followed, `.git` is never entered.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ignore::overrides::Override;
use ignore::types::Types;

use super::ignored::{Layer, Said};
use super::look::{Held, Look};
use super::resolve::{Last, find};
use crate::error::Result;
use crate::limits::{SEARCH_TIME, WALK_ENTRIES_MAX, WALK_PATH_MAX};
use crate::name::{Name, TreePath};
use crate::object::{FileKind, Ino};

/// Which files a walk shows.
pub(super) struct Rules {
    /// Also hidden files.
    pub(super) hidden: bool,
    /// Also ignored files.
    pub(super) no_ignore: bool,
    /// Globs that go before all other rules.
    pub(super) globs: Override,
    /// Types of files.
    pub(super) types: Types,
}

/// A file on the way.
pub(super) struct Step<'a> {
    /// Its directory.
    pub(super) parent: Ino,
    /// Its name there.
    pub(super) name: &'a Name,
    /// Its path from the root, without a leading slash.
    pub(super) path: &'a [u8],
}

/// What ends a walk early.
pub(super) struct Budget {
    until: Instant,
    entries: usize,
    /// It has ended the walk.
    pub(super) spent: bool,
}

impl Budget {
    pub(super) fn new() -> Budget {
        Budget { until: Instant::now() + SEARCH_TIME, entries: WALK_ENTRIES_MAX, spent: false }
    }

    /// Whether to go on.
    pub(super) fn take_one(&mut self) -> bool {
        self.entries = self.entries.saturating_sub(1);
        self.spent |= self.entries == 0 || self.is_late();
        !self.spent
    }

    /// Whether the time is over.
    pub(super) fn is_late(&self) -> bool {
        Instant::now() > self.until
    }
}

/// A directory that is being gone through.
struct Frame {
    directory: Held,
    /// Length of the path, with a leading and a trailing slash.
    path_length: usize,
    layer: Option<Arc<Layer>>,
    names: std::vec::IntoIter<(Name, FileKind)>,
}

struct Walk<'a> {
    look: &'a Look,
    rules: &'a Rules,
    /// Absolute, with a trailing slash.
    path: Vec<u8>,
    stack: Vec<Frame>,
}

/// Shows every file below a directory until `visit` says no.
pub(super) fn walk(
    look: &Look,
    top: (&TreePath, Held),
    rules: &Rules,
    budget: &mut Budget,
    visit: &mut dyn FnMut(&Step<'_>, &mut Budget) -> Result<bool>,
) -> Result<()> {
    let mut walk = Walk { look, rules, path: vec![b'/'], stack: Vec::new() };
    let layer = walk.layers_above(top.0)?;
    walk.enter(top.1, layer)?;
    while let Some(frame) = walk.stack.last_mut() {
        walk.path.truncate(frame.path_length);
        let Some((name, kind)) = frame.names.next() else {
            walk.stack.pop();
            continue;
        };
        if !budget.take_one() {
            return Ok(());
        }
        let (parent, layer) = (frame.directory.ino(), frame.layer.clone());
        walk.path.extend_from_slice(name.as_bytes());
        let is_directory = kind == FileKind::Directory;
        if walk.is_left_out(&name, is_directory, layer.as_deref()) {
            continue;
        }
        if is_directory {
            walk.path.push(b'/');
            if walk.path.len() > WALK_PATH_MAX {
                budget.spent = true;
            } else if let Some(directory) = look.lookup(parent, name.as_bytes())?.filter(Held::is_directory) {
                walk.enter(directory, layer)?;
            }
        } else if !visit(&Step { parent, name: &name, path: &walk.path[1..] }, budget)? {
            return Ok(());
        }
    }
    Ok(())
}

impl Walk<'_> {
    /// The rules of the directories above the top; leaves the path at the top.
    fn layers_above(&mut self, top: &TreePath) -> Result<Option<Arc<Layer>>> {
        let mut layer = None;
        let mut above = TreePath::default();
        for name in top.names() {
            if !self.rules.no_ignore {
                let directory = find(self.look, &above, Last::Follow)?;
                layer = Some(Layer::read(self.look, &directory, &self.path, layer)?);
            }
            above = above.join(name);
            self.path.extend_from_slice(name.as_bytes());
            self.path.push(b'/');
        }
        Ok(layer)
    }

    fn enter(&mut self, directory: Held, above: Option<Arc<Layer>>) -> Result<()> {
        let layer = match self.rules.no_ignore {
            true => None,
            false => Some(Layer::read(self.look, &directory, &self.path, above)?),
        };
        let mut names = Vec::new();
        for (name, kind) in self.look.names(directory.ino())? {
            let kind = match kind {
                Some(kind) => kind,
                // A hard link, whose kind is in the link table.
                None => match self.look.lookup(directory.ino(), name.as_bytes())? {
                    Some(found) => found.attr.kind,
                    None => continue,
                },
            };
            if matches!(kind, FileKind::File | FileKind::Directory) {
                names.push((name, kind));
            }
        }
        names.sort_by(by_path);
        self.stack.push(Frame { directory, path_length: self.path.len(), layer, names: names.into_iter() });
        Ok(())
    }

    /// ripgrep's order: globs of the caller, ignore files, types, and then hidden names.
    fn is_left_out(&self, name: &Name, is_directory: bool, layer: Option<&Layer>) -> bool {
        if name.as_bytes() == b".git" {
            return true;
        }
        let path = Path::new(OsStr::from_bytes(&self.path));
        match Said::of(self.rules.globs.matched(path, is_directory)) {
            Said::Skip => return true,
            Said::Keep => return false,
            Said::Nothing => {}
        }
        let mut kept = match layer.map_or(Said::Nothing, |layer| layer.matched(&self.path, is_directory)) {
            Said::Skip => return true,
            said => said,
        };
        match Said::of(self.rules.types.matched(path, is_directory)) {
            Said::Skip => return true,
            Said::Keep => kept = Said::Keep,
            Said::Nothing => {}
        }
        kept == Said::Nothing && !self.rules.hidden && name.as_bytes().starts_with(b".")
    }
}

/// In the order of whole paths: a directory stands where its name with a slash would.
fn by_path(one: &(Name, FileKind), other: &(Name, FileKind)) -> Ordering {
    let key = |(name, kind): &(Name, FileKind)| {
        let slash: &[u8] = if *kind == FileKind::Directory { b"/" } else { b"" };
        [name.as_bytes(), slash].concat()
    };
    key(one).cmp(&key(other))
}
