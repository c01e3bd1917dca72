//! Operations on names: look up, make, link, unlink, rename, list.

use super::answer::{Answer, Attr, Listed, Miss, NewNode, RenameMode, Stop};
use super::listing::{DOTS, Row};
use super::record::Record;
use super::state::State;
use super::{SET_GROUP_ID, Workspace};
use crate::error::{Error, Kind};
use crate::limits::{LINK_MAX, LISTING_SYNC_MAX, SYMLINK_MAX};
use crate::name::Name;
use crate::object::{FileKind, Ino, TreeNode};

fn fail<T>(kind: Kind, context: &str) -> Answer<T> {
    Err(Error::new(kind, context).into())
}

impl Workspace {
    /// Finds a name and counts one reference of the kernel to its inode.
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> Answer<Attr> {
        let mut state = self.state.lock();
        let Some(ino) = state.find(parent, name)? else { return fail(Kind::NotFound, "there is no such name") };
        Ok(state.refer(ino))
    }

    /// Takes back `count` references.
    pub fn forget(&self, ino: Ino, count: u64) {
        let mut state = self.state.lock();
        if let Some(inode) = state.inodes.get_mut(&ino) {
            inode.references = inode.references.saturating_sub(count);
            state.drop_if_idle(ino);
        }
    }

    /// Makes a file, directory, symlink or special file and counts one reference to it.
    pub fn make(&self, parent: Ino, name: &[u8], new: &NewNode<'_>) -> Answer<Attr> {
        let mut state = self.state.lock();
        state.check_writable()?;
        state.check_new_name(parent, name)?;
        if new.kind == FileKind::Symlink && (new.target.is_empty() || new.target.len() > SYMLINK_MAX) {
            return fail(Kind::NameTooLong, "a symlink target has 1 to 4095 bytes");
        }
        let above = state.inode(parent)?;
        let (mut mode, mut gid) = (new.mode & 0o7777, new.gid);
        if above.mode & SET_GROUP_ID != 0 {
            gid = above.gid;
            if new.kind == FileKind::Directory {
                mode |= SET_GROUP_ID;
            }
        }
        state.check_one_more()?;
        if state.free_inos.is_empty() {
            return Err(Stop::Miss(Miss::Inos));
        }
        let ino = Ino(state.free_inos.start);
        state.adopt(parent)?;
        let (kind, uid, rdev, target) = (new.kind, new.uid, new.rdev, new.target);
        let time = self.clock.now();
        state.change(&Record::Make { parent, name, ino, kind, mode, uid, gid, rdev, target, time }, &[])?;
        self.note_change();
        Ok(state.refer(ino))
    }

    /// Gives an inode one more name and counts one reference to it.
    pub fn link(&self, ino: Ino, parent: Ino, name: &[u8]) -> Answer<Attr> {
        let mut state = self.state.lock();
        state.check_writable()?;
        state.check_new_name(parent, name)?;
        let inode = state.inode(ino)?;
        match inode.nlink {
            _ if inode.is_directory() => return fail(Kind::NotPermitted, "a directory has one name"),
            0 => return fail(Kind::NotFound, "the file has lost its last name"),
            LINK_MAX.. => return fail(Kind::TooManyLinks, "the file has too many names"),
            _ => {}
        }
        state.adopt(ino)?;
        state.adopt(parent)?;
        state.change(&Record::Link { ino, parent, name, time: self.clock.now() }, &[])?;
        self.note_change();
        Ok(state.refer(ino))
    }

    /// Removes a name that is not a directory.
    pub fn unlink(&self, parent: Ino, name: &[u8]) -> Answer<()> {
        self.remove(parent, name, false)
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, parent: Ino, name: &[u8]) -> Answer<()> {
        self.remove(parent, name, true)
    }

    fn remove(&self, parent: Ino, name: &[u8], directory: bool) -> Answer<()> {
        let mut state = self.state.lock();
        state.check_writable()?;
        let Some(ino) = state.find(parent, name)? else { return fail(Kind::NotFound, "there is no such name") };
        match (state.inode(ino)?.directory(), directory) {
            (None, true) => return fail(Kind::NotADirectory, "only a directory can be removed so"),
            (Some(_), false) => return fail(Kind::IsADirectory, "a directory cannot be unlinked"),
            (Some(found), true) if found.entries > 0 => return fail(Kind::NotEmpty, "the directory is not empty"),
            _ => {}
        }
        state.adopt(parent)?;
        state.adopt(ino)?;
        state.adopt_names(ino)?;
        state.change(&Record::Unlink { ino, parent, name, time: self.clock.now() }, &[])?;
        self.note_change();
        Ok(())
    }

    /// Moves a name.
    pub fn rename(&self, parent: Ino, name: &[u8], new_parent: Ino, new_name: &[u8], mode: RenameMode) -> Answer<()> {
        let mut state = self.state.lock();
        state.check_writable()?;
        Name::check(new_name)?;
        let Some(ino) = state.find(parent, name)? else { return fail(Kind::NotFound, "there is no such name") };
        let replaced = state.find(new_parent, new_name)?;
        if state.inode(new_parent)?.nlink == 0 {
            return fail(Kind::NotFound, "the new directory has been removed");
        }
        match (replaced, mode) {
            (Some(_), RenameMode::NoReplace) => return fail(Kind::AlreadyExists, "the new name exists"),
            (None, RenameMode::Exchange) => return fail(Kind::NotFound, "there is nothing to change places with"),
            (Some(other), _) if other == ino => return Ok(()),
            (Some(other), RenameMode::Replace) => state.check_replace(ino, other)?,
            _ => {}
        }
        state.check_no_loop(ino, new_parent)?;
        if let (Some(other), RenameMode::Exchange) = (replaced, mode) {
            state.check_no_loop(other, parent)?;
        }
        for touched in [Some(parent), Some(new_parent), Some(ino), replaced].into_iter().flatten() {
            state.adopt(touched)?;
        }
        if let Some(other) = replaced {
            state.adopt_names(other)?;
        }
        let exchange = mode == RenameMode::Exchange;
        let time = self.clock.now();
        state.change(&Record::Rename { ino, parent, name, new_parent, new_name, replaced, exchange, time }, &[])?;
        self.note_change();
        Ok(())
    }

    /// Lists names after `cookie` (0 starts, with `.` and `..`) until `add` returns false: full, this one was not taken.
    /// With `plus`, each name taken (but `.` and `..`) that comes with attributes counts one reference of the kernel.
    pub fn list(&self, ino: Ino, cookie: u64, plus: bool, add: &mut dyn FnMut(Listed<'_>) -> bool) -> Answer<()> {
        let mut state = self.state.lock();
        let rows = state.view(ino, cookie)?;
        let parent = state.inode(ino)?.parent.as_ref().map_or(Ino::ROOT, |(parent, _)| *parent);
        for (next, name, dot) in [(1, &b"."[..], ino), (DOTS, b"..", parent)] {
            let listed = Listed { name, ino: dot, kind: FileKind::Directory, cookie: next, attr: None };
            if cookie < next && !add(listed) {
                return Ok(());
            }
        }
        let mut any = cookie == 0;
        let first = rows.partition_point(|row| row.cookie <= cookie);
        for row in &rows[first..] {
            let (kind, attr) = match state.listed(ino, row, plus) {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                Err(Stop::Miss(_)) if any => return Ok(()),
                Err(stop) => return Err(stop),
            };
            if !add(Listed { name: row.name.as_bytes(), ino: row.ino, kind, cookie: row.cookie, attr }) {
                return Ok(());
            }
            any = true;
            if attr.is_some() {
                state.refer(row.ino);
            }
        }
        if let Some(directory) = state.inodes.get_mut(&ino).and_then(|inode| inode.directory_mut()) {
            directory.listings.finished();
        }
        Ok(())
    }

    /// All names of a directory without `.` and `..`, in no order; the kind where it is known without asking the base.
    pub fn names(&self, ino: Ino) -> Answer<Vec<(Name, Option<FileKind>)>> {
        let mut state = self.state.lock();
        let rows = state.view(ino, 0)?;
        let kind_of = |row: &Row| row.kind.or_else(|| state.inodes.get(&row.ino).map(|inode| inode.kind()));
        let names = rows.iter().map(|row| (row.name.clone(), kind_of(row))).collect();
        if let Some(directory) = state.inodes.get_mut(&ino).and_then(|inode| inode.directory_mut()) {
            directory.listings.finished();
        }
        Ok(names)
    }
}

impl State {
    /// Counts one reference of the kernel to an inode in memory.
    fn refer(&mut self, ino: Ino) -> Attr {
        let inode = self.inodes.get_mut(&ino).expect("because the inode was just found");
        inode.references += 1;
        inode.attr(ino)
    }

    fn check_new_name(&mut self, parent: Ino, name: &[u8]) -> Answer<()> {
        Name::check(name)?;
        if self.find(parent, name)?.is_some() {
            return fail(Kind::AlreadyExists, "the name exists");
        }
        if self.inode(parent)?.nlink == 0 {
            return fail(Kind::NotFound, "the directory has been removed");
        }
        Ok(())
    }

    fn check_replace(&self, ino: Ino, other: Ino) -> Answer<()> {
        match (self.inode(ino)?.is_directory(), self.inode(other)?.directory()) {
            (true, None) => fail(Kind::NotADirectory, "a directory cannot replace something else"),
            (false, Some(_)) => fail(Kind::IsADirectory, "only a directory can replace a directory"),
            (true, Some(directory)) if directory.entries > 0 => {
                fail(Kind::NotEmpty, "the directory to replace is not empty")
            }
            _ => Ok(()),
        }
    }

    /// A directory must not become its own ancestor.
    fn check_no_loop(&self, ino: Ino, new_parent: Ino) -> Answer<()> {
        let mut above = Some(new_parent);
        while let Some(at) = above {
            if at == ino {
                return fail(Kind::Invalid, "a directory cannot move below itself");
            }
            above = self.inode(at)?.parent.as_ref().map(|(parent, _)| *parent);
        }
        Ok(())
    }

    /// The view that a listing at `cookie` goes on in.
    fn view(&mut self, ino: Ino, cookie: u64) -> Answer<std::sync::Arc<[Row]>> {
        let directory = self.inode(ino)?.directory();
        let Some(directory) = directory else { return fail(Kind::NotADirectory, "only a directory can be listed") };
        if let Some(found) = directory.listings.find(cookie) {
            return Ok(found);
        }
        if directory.base_entries > LISTING_SYNC_MAX {
            return Err(Stop::Miss(Miss::Names(ino)));
        }
        let leaves = match directory.base {
            Some(base) => self.cache.leaves(base)?,
            None => Vec::new(),
        };
        let rows = leaves.iter().flat_map(|leaf| rows_of(leaf));
        self.keep_view(ino, rows);
        let directory = self.inode(ino)?.directory();
        let found = directory.and_then(|directory| directory.listings.find(cookie));
        found.ok_or_else(|| Error::new(Kind::Internal, "a listing was not kept").into())
    }

    /// Keeps a view of the base's names merged with the changed ones.
    pub(super) fn keep_view(&mut self, ino: Ino, base: impl Iterator<Item = Row>) {
        let Some(directory) = self.inodes.get(&ino).and_then(|inode| inode.directory()) else { return };
        let mut rows: Vec<Row> = base.filter(|row| !directory.changes.contains_key(row.name.as_bytes())).collect();
        for (name, change) in &directory.changes {
            if let Some(ino) = change.ino {
                let kind = self.inodes.get(&ino).map(|inode| inode.kind());
                rows.push(Row::new(name.clone(), ino, kind));
            }
        }
        if let Some(directory) = self.inodes.get_mut(&ino).and_then(|inode| inode.directory_mut()) {
            directory.listings.add(rows);
        }
    }

    /// Kind and, if asked for, attributes of a row; `None` if the name is gone by now.
    fn listed(&mut self, parent: Ino, row: &Row, plus: bool) -> Answer<Option<(FileKind, Option<Attr>)>> {
        let directory = self.inode(parent)?.directory().expect("because its view was just found");
        let change = directory.changes.get(row.name.as_bytes()).copied();
        if change.is_some_and(|change| change.ino != Some(row.ino)) {
            return Ok(None);
        }
        let large = directory.base_entries > LISTING_SYNC_MAX;
        let here = |inode: &&super::inode::Inode| {
            inode.nlink > 0 && inode.parent.as_ref().is_some_and(|(at, name)| *at == parent && *name == row.name)
        };
        if let Some(inode) = self.inodes.get(&row.ino).filter(here) {
            return Ok(Some((inode.kind(), plus.then(|| inode.attr(row.ino)))));
        }
        match (plus, row.kind) {
            (false, Some(kind)) => return Ok(Some((kind, None))),
            // The leaves of a large directory do not stay in memory: the kernel looks up what it wants.
            (true, Some(kind)) if large => return Ok(Some((kind, None))),
            _ => {}
        }
        if self.find(parent, row.name.as_bytes())? != Some(row.ino) {
            return Ok(None);
        }
        let inode = self.inode(row.ino)?;
        Ok(Some((inode.kind(), plus.then(|| inode.attr(row.ino)))))
    }
}

/// The rows of a leaf.
pub(super) fn rows_of(leaf: &TreeNode) -> Vec<Row> {
    match leaf {
        TreeNode::Leaf(entries) => entries.iter().map(Row::of).collect(),
        TreeNode::Interior { .. } => Vec::new(),
    }
}
