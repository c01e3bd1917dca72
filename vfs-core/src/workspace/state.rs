//! The overlay in memory: the inodes, and what one journal record does to them.
//!
//! Every change goes the same way, live and in a replay: checked, written to the journal as a record, applied by
//! [`State::apply`]. Lookups fall through the changed names to the base trees.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::answer::{Answer, Miss, Stop};
use super::cache::CachedBase;
use super::extents::Piece;
use super::inode::{Inode, InodeBody, InodeXattrs, UNCHANGED};
use super::journal::Journal;
use super::record::{Place, Record};
use crate::clock::Time;
use crate::error::{Error, Kind, Result};
use crate::id::SnapshotId;
use crate::name::Name;
use crate::object::{FileKind, Ino, Node, Snapshot, Subtree, Target};
use crate::quota::{Quota, Usage};

/// Everything of a workspace that changes, under one lock.
pub(super) struct State {
    pub(super) inodes: HashMap<Ino, Inode>,
    pub(super) base: SnapshotId,
    pub(super) links: Option<Subtree>,
    pub(super) cache: Arc<CachedBase>,
    /// `None`: read-only.
    pub(super) journal: Option<Journal>,
    /// Inode numbers that are ours and not used yet.
    pub(super) free_inos: Range<u64>,
    /// Grows with every cut; what was adopted in an older one must be adopted again.
    pub(super) period: u32,
    /// Inodes changed since the base.
    pub(super) changed: BTreeSet<Ino>,
    /// Inodes of the link table that lost their last name, with the position where.
    pub(super) unlinked: BTreeMap<Ino, u64>,
    /// Inodes that the journal calls nameless: their changes are not replayed.
    pub(super) nameless: BTreeSet<Ino>,
    /// Inodes that lost their last name and are still open.
    pub(super) orphans: BTreeSet<Ino>,
    /// Inodes marked as adopted by records that are staged, not written.
    adopting: Vec<Ino>,
    pub(super) frozen: bool,
    pub(super) closed: bool,
    /// What the workspace may come to, and what it holds now, published or not.
    pub(super) quota: Quota,
    pub(super) usage: Usage,
}

impl State {
    pub(super) fn new(base: SnapshotId, snapshot: &Snapshot, cache: Arc<CachedBase>) -> State {
        let mut root = Inode::from_node(&snapshot.root, None, false);
        root.references = 1;
        State {
            inodes: HashMap::from([(Ino::ROOT, root)]),
            base,
            links: snapshot.links,
            cache,
            journal: None,
            free_inos: 0..0,
            period: 1,
            changed: BTreeSet::new(),
            unlinked: BTreeMap::new(),
            nameless: BTreeSet::new(),
            orphans: BTreeSet::new(),
            adopting: Vec::new(),
            frozen: false,
            closed: false,
            quota: Quota::NONE,
            usage: Usage::of(snapshot),
        }
    }

    pub(super) fn inode(&self, ino: Ino) -> Result<&Inode> {
        self.inodes
            .get(&ino)
            .ok_or_else(|| Error::new(Kind::Stale, format!("inode {} is not in the workspace any more", ino.0)))
    }

    fn inode_mut(&mut self, ino: Ino) -> Result<&mut Inode> {
        self.inodes
            .get_mut(&ino)
            .ok_or_else(|| Error::corrupt(format!("the journal changes inode {}, which it does not know", ino.0)))
    }

    /// The inode that `name` stands for, brought into memory; `None` if there is no such name.
    pub(super) fn find(&mut self, parent: Ino, name: &[u8]) -> Answer<Option<Ino>> {
        if name.len() > crate::limits::NAME_MAX {
            return Err(Error::new(Kind::NameTooLong, "a name has at most 255 bytes").into());
        }
        let inode = self.inode(parent)?;
        let Some(directory) = inode.directory() else {
            return Err(
                Error::new(Kind::NotADirectory, "a name was looked up in something that is not a directory").into()
            );
        };
        if let Some(change) = directory.changes.get(name) {
            return Ok(change.ino);
        }
        let Some(base) = directory.base else { return Ok(None) };
        let Some(entry) = self.cache.entry(base, name)? else { return Ok(None) };
        match entry.target {
            Target::Node(node) => {
                self.bring_in(&node, Some((parent, entry.name)), false);
                Ok(Some(node.ino))
            }
            Target::Link(ino) => {
                self.find_linked(ino, Some((parent, entry.name)))?;
                Ok(Some(ino))
            }
        }
    }

    /// Brings an inode of the base's link table into memory.
    pub(super) fn find_linked(&mut self, ino: Ino, place: Option<(Ino, Name)>) -> Answer<()> {
        if !self.inodes.contains_key(&ino) {
            let Some(table) = self.links else {
                return Err(
                    Error::corrupt(format!("inode {} is said to be in a link table that is not there", ino.0)).into()
                );
            };
            let node = self.cache.linked(&table, ino)?;
            self.bring_in(&node, place, true);
        }
        Ok(())
    }

    /// Brings an inode of the base into memory, unless it is there.
    pub(super) fn bring_in(&mut self, node: &Node, place: Option<(Ino, Name)>, linked: bool) {
        if self.inodes.contains_key(&node.ino) {
            return;
        }
        self.hold_parent(place.as_ref());
        self.inodes.insert(node.ino, Inode::from_node(node, place, linked));
    }

    fn hold_parent(&mut self, place: Option<&(Ino, Name)>) {
        if let Some((parent, _)) = place
            && let Some(parent) = self.inodes.get_mut(parent)
        {
            parent.residents += 1;
        }
    }

    fn release_parent(&mut self, place: Option<&(Ino, Name)>) {
        if let Some((parent, _)) = place {
            if let Some(inode) = self.inodes.get_mut(parent) {
                inode.residents = inode.residents.saturating_sub(1);
            }
            self.drop_if_idle(*parent);
        }
    }

    /// Moves an inode in memory to another place.
    fn set_place(&mut self, ino: Ino, place: Option<(Ino, Name)>) -> Result<()> {
        self.hold_parent(place.as_ref());
        let old = std::mem::replace(&mut self.inode_mut(ino)?.parent, place);
        self.release_parent(old.as_ref());
        Ok(())
    }

    /// Lets go of an inode that nobody needs in memory.
    pub(super) fn drop_if_idle(&mut self, ino: Ino) {
        let mut next = Some(ino);
        while let Some(ino) = next.take() {
            let Some(inode) = self.inodes.get(&ino) else { return };
            let gone = inode.nlink == 0;
            let needed = inode.references > 0 || inode.residents > 0 || (inode.changed_at != UNCHANGED && !gone);
            if ino == Ino::ROOT || needed {
                return;
            }
            let inode = self.inodes.remove(&ino).expect("because it was just seen");
            self.changed.remove(&ino);
            self.orphans.remove(&ino);
            if let Some((parent, _)) = inode.parent {
                if let Some(above) = self.inodes.get_mut(&parent) {
                    above.residents = above.residents.saturating_sub(1);
                }
                next = Some(parent);
            }
        }
    }

    /// Refuses changes where there can be none now.
    pub(super) fn check_writable(&self) -> Answer<()> {
        if self.closed {
            return Err(Error::new(Kind::Unavailable, "the workspace is closed").into());
        }
        if self.frozen {
            return Err(Stop::Miss(Miss::Thaw));
        }
        if self.journal.is_none() {
            return Err(Error::new(Kind::Denied, "the workspace is shown read-only").into());
        }
        Ok(())
    }

    fn journal_mut(&mut self) -> Result<&mut Journal> {
        self.journal.as_mut().ok_or_else(|| Error::new(Kind::Denied, "the workspace is shown read-only"))
    }

    /// Stages the records that tell a replay where `ino` is, if this period has none yet. Ancestors come first.
    pub(super) fn adopt(&mut self, ino: Ino) -> Result<()> {
        let mut chain = Vec::new();
        let mut next = Some(ino);
        while let Some(ino) = next.take() {
            let inode = self.inode(ino)?;
            if inode.adopted == self.period || ino == Ino::ROOT {
                break;
            }
            chain.push(ino);
            if !inode.linked && inode.nlink > 0 {
                next = inode.parent.as_ref().map(|(parent, _)| *parent);
            }
        }
        for ino in chain.into_iter().rev() {
            let inode = self.inodes.get_mut(&ino).expect("because it was just seen");
            let place = match &inode.parent {
                _ if inode.nlink == 0 => Place::Nowhere,
                _ if inode.linked => Place::LinkTable,
                Some((parent, name)) => Place::Name { parent: *parent, name: name.as_bytes() },
                None => return Err(Error::new(Kind::Internal, format!("inode {} has no place", ino.0))),
            };
            let journal =
                self.journal.as_mut().ok_or_else(|| Error::new(Kind::Denied, "the workspace is read-only"))?;
            journal.stage(&Record::Adopt { ino, place });
            inode.adopted = self.period;
            self.adopting.push(ino);
        }
        Ok(())
    }

    /// Adopts the directories of all names of an inode that may leave the link table.
    pub(super) fn adopt_names(&mut self, ino: Ino) -> Result<()> {
        let parents: Vec<Ino> = self.inode(ino)?.names.iter().flatten().map(|(parent, _)| *parent).collect();
        for parent in parents {
            if self.inodes.contains_key(&parent) {
                self.adopt(parent)?;
            }
        }
        Ok(())
    }

    /// Writes a record (after the staged adoptions) and applies it.
    pub(super) fn change(&mut self, record: &Record<'_>, data: &[u8]) -> Result<()> {
        let written = self.journal_mut()?.write(record, data);
        let adopting = std::mem::take(&mut self.adopting);
        let data_position = match written {
            Ok(position) => position,
            Err(error) => {
                for ino in adopting {
                    if let Some(inode) = self.inodes.get_mut(&ino) {
                        inode.adopted = 0;
                    }
                }
                return Err(error);
            }
        };
        let end = self.journal_mut()?.position();
        self.apply(record, data_position, end)
    }

    /// Does what a record says; see [`State::apply`].
    pub(super) fn apply_uncounted(&mut self, record: &Record<'_>, data_position: u64, end: u64) -> Result<()> {
        match *record {
            Record::Synced { .. } | Record::Adopt { .. } => Ok(()),
            Record::Inos { first, count } => {
                self.free_inos = first..first + count;
                Ok(())
            }
            Record::Make { parent, name, ino, kind, mode, uid, gid, rdev, target, time } => {
                let body = InodeBody::new(kind, rdev, target);
                self.insert_new(ino, Inode { nlink: 1, ..Inode::new(body, mode, (uid, gid), time, end) });
                self.changed.insert(ino);
                self.set_name((parent, name), None, Some(ino), time, end)?;
                self.set_place(ino, Some((parent, Name::new(name)?)))
            }
            Record::Link { ino, parent, name, time } => {
                let new_place = (parent, Name::new(name)?);
                let first_place = {
                    let inode = self.inode_mut(ino)?;
                    inode.nlink += 1;
                    let first = if inode.linked { None } else { inode.parent.clone() };
                    inode.linked = true;
                    match &first {
                        Some(first) => inode.names = Some(vec![first.clone(), new_place]),
                        None => inode.names.iter_mut().for_each(|names| names.push(new_place.clone())),
                    }
                    first
                };
                // It may have left the table since the base.
                self.unlinked.remove(&ino);
                if let Some((parent, name)) = first_place {
                    // The first name, too, has to point into the link table from now on.
                    let directory = self.inode_mut(parent)?.directory_mut().ok_or_else(not_a_directory)?;
                    directory.set(name, Some(ino), end);
                    self.touch(parent, None, end)?;
                }
                self.touch(ino, Some(time), end)?;
                self.set_name((parent, name), None, Some(ino), time, end)
            }
            Record::Unlink { ino, parent, name, time } => {
                self.set_name((parent, name), Some(ino), None, time, end)?;
                self.lose_name(ino, (parent, name), time, end)
            }
            Record::Rename { ino, parent, name, new_parent, new_name, replaced, exchange, time } => {
                self.apply_rename(ino, (parent, name), (new_parent, new_name), replaced, exchange, time, end)
            }
            Record::Attr { ino, mode, uid, gid, size, atime, mtime, time } => {
                let inode = self.inode_mut(ino)?;
                inode.mode = mode.unwrap_or(inode.mode);
                inode.uid = uid.unwrap_or(inode.uid);
                inode.gid = gid.unwrap_or(inode.gid);
                inode.atime = atime.or(inode.atime);
                if let (Some(size), Some(file)) = (size, inode.file_mut()) {
                    file.resize(size);
                    inode.mtime = time;
                }
                inode.mtime = mtime.unwrap_or(inode.mtime);
                self.touch(ino, Some(time), end)
            }
            Record::Write { ino, offset, mode, time, length } => {
                let inode = self.inode_mut(ino)?;
                inode.mode = mode.unwrap_or(inode.mode);
                inode.mtime = time;
                let file = inode.file_mut().ok_or_else(not_a_file)?;
                file.overlay.insert(offset, Piece { length, position: data_position, zero: false });
                file.size = file.size.max(offset + length);
                self.touch(ino, Some(time), end)
            }
            Record::Zero { ino, offset, length, size, mode, time } => {
                let inode = self.inode_mut(ino)?;
                inode.mode = mode.unwrap_or(inode.mode);
                inode.mtime = time;
                let file = inode.file_mut().ok_or_else(not_a_file)?;
                file.overlay.insert(offset, Piece { length, position: data_position, zero: true });
                file.size = size;
                self.touch(ino, Some(time), end)
            }
            Record::Xattr { ino, name, value, time } => {
                let inode = self.inode_mut(ino)?;
                let InodeXattrs::Own(xattrs) = &mut inode.xattrs else {
                    return Err(Error::corrupt("the journal changes attributes that were not loaded"));
                };
                let xattrs = Arc::make_mut(xattrs);
                match value {
                    Some(value) => xattrs.set(name, value)?,
                    None => drop(xattrs.remove(name)),
                }
                self.touch(ino, Some(time), end)
            }
            Record::Fresh { ino, mode, uid, gid, time } => {
                let body = InodeBody::new(FileKind::File, 0, &[]);
                self.insert_new(ino, Inode::new(body, mode, (uid, gid), time, end));
                Ok(())
            }
            Record::Place { ino, parent, name, replaced, time } => {
                self.inode_mut(ino)?.nlink = 1;
                self.set_name((parent, name), replaced, Some(ino), time, end)?;
                self.set_place(ino, Some((parent, Name::new(name)?)))?;
                self.touch(ino, Some(time), end)?;
                match replaced {
                    Some(other) => self.lose_name(other, (parent, name), time, end),
                    None => Ok(()),
                }
            }
        }
    }

    fn insert_new(&mut self, ino: Ino, inode: Inode) {
        self.inodes.insert(ino, Inode { adopted: self.period, ..inode });
        self.free_inos.start = self.free_inos.start.max(ino.0 + 1);
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one record")]
    fn apply_rename(
        &mut self,
        ino: Ino,
        from: (Ino, &[u8]),
        to: (Ino, &[u8]),
        replaced: Option<Ino>,
        exchange: bool,
        time: Time,
        end: u64,
    ) -> Result<()> {
        let back = if exchange { replaced } else { None };
        self.set_name(from, Some(ino), back, time, end)?;
        self.set_name(to, replaced, Some(ino), time, end)?;
        self.move_name(ino, from, to)?;
        self.touch(ino, Some(time), end)?;
        match (replaced, exchange) {
            (Some(other), true) => {
                self.move_name(other, to, from)?;
                self.touch(other, Some(time), end)
            }
            (Some(other), false) => self.lose_name(other, to, time, end),
            (None, _) => Ok(()),
        }
    }

    /// Lets a name of a directory stand for `ino` (or nothing), keeping its counts and times.
    fn set_name(
        &mut self,
        place: (Ino, &[u8]),
        was: Option<Ino>,
        ino: Option<Ino>,
        time: Time,
        end: u64,
    ) -> Result<()> {
        let (parent, name) = place;
        let is_directory = |state: &Self, ino: Option<Ino>| {
            ino.and_then(|ino| state.inodes.get(&ino)).is_some_and(Inode::is_directory)
        };
        let (lost, won) = (is_directory(self, was), is_directory(self, ino));
        let directory = self.inode_mut(parent)?.directory_mut().ok_or_else(not_a_directory)?;
        directory.entries = directory.entries + u64::from(ino.is_some()) - u64::from(was.is_some());
        directory.subdirs = directory.subdirs + u64::from(won) - u64::from(lost);
        directory.set(Name::new(name)?, ino, end);
        let inode = self.inode_mut(parent)?;
        inode.mtime = time;
        self.touch(parent, Some(time), end)
    }

    /// One of an inode's names has moved.
    fn move_name(&mut self, ino: Ino, from: (Ino, &[u8]), to: (Ino, &[u8])) -> Result<()> {
        let place = (to.0, Name::new(to.1)?);
        if let Some(names) = &mut self.inode_mut(ino)?.names {
            for name in names.iter_mut().filter(|name| name.0 == from.0 && name.1.as_bytes() == from.1) {
                *name = place.clone();
            }
        }
        self.set_place(ino, Some(place))
    }

    /// An inode that is down to one known name leaves the link table; its entry holds it again.
    fn leave_link_table(&mut self, ino: Ino, end: u64) -> Result<()> {
        let inode = self.inode_mut(ino)?;
        let last = match (inode.nlink, &inode.names) {
            (1, Some(names)) => names.first().cloned(),
            _ => None,
        };
        // A directory that is not in memory keeps its pointer into the table; that is as right, only longer.
        let Some((parent, name)) = last.filter(|(parent, _)| self.inodes.contains_key(parent)) else { return Ok(()) };
        let inode = self.inode_mut(ino)?;
        inode.linked = false;
        inode.names = None;
        self.unlinked.insert(ino, end);
        let directory = self.inode_mut(parent)?.directory_mut().ok_or_else(not_a_directory)?;
        directory.set(name.clone(), Some(ino), end);
        self.touch(parent, None, end)?;
        self.set_place(ino, Some((parent, name)))
    }

    fn lose_name(&mut self, ino: Ino, place: (Ino, &[u8]), time: Time, end: u64) -> Result<()> {
        let inode = self.inode_mut(ino)?;
        inode.nlink = if inode.is_directory() { 0 } else { inode.nlink.saturating_sub(1) };
        if let Some(names) = &mut inode.names {
            names.retain(|name| !(name.0 == place.0 && name.1.as_bytes() == place.1));
        }
        let (gone, linked) = (inode.nlink == 0, inode.linked);
        self.touch(ino, Some(time), end)?;
        if gone {
            self.changed.remove(&ino);
            self.orphans.insert(ino);
            if linked {
                self.unlinked.insert(ino, end);
            }
            self.set_place(ino, None)?;
            self.drop_if_idle(ino);
            return Ok(());
        }
        self.leave_link_table(ino, end)
    }

    /// Notes that an inode has changed, and when if its ctime moves.
    fn touch(&mut self, ino: Ino, ctime: Option<Time>, end: u64) -> Result<()> {
        let inode = self.inode_mut(ino)?;
        inode.ctime = ctime.unwrap_or(inode.ctime);
        inode.changed_at = end;
        if inode.nlink > 0 {
            self.changed.insert(ino);
        }
        Ok(())
    }
}

fn not_a_directory() -> Error {
    Error::corrupt("the journal changes a name in something that is not a directory")
}

fn not_a_file() -> Error {
    Error::corrupt("the journal writes to something that is not a file")
}
