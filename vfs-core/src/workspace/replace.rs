//! A whole file in one step: new content under a name, for callers that have no open file.
//!
//! Keeps true: nobody sees a part of it. The workspace's lock is held from the check to the last record, so neither
//! a checkpoint nor an operation of the mount comes in between; and the content goes to a fresh inode without a name, so
//! a journal that breaks off before the name is given replays to the file as it was.

use super::Workspace;
use super::answer::{Answer, Attr, Miss, Stop};
use super::attributes::without_privileges;
use super::record::Record;
use super::state::State;
use crate::clock::Time;
use crate::error::{Error, Kind, Result};
use crate::limits::{FILE_SIZE_MAX, REPLACE_RECORD};
use crate::name::Name;
use crate::object::{FileKind, Ino};
use crate::quota::Usage;

/// What a replace did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaced {
    /// The file now.
    pub attr: Attr,
    /// The inode that lost this name; `None` if the name is new or its file was written in place.
    pub old: Option<Ino>,
    /// The file has other names, so its inode was kept and written over.
    pub in_place: bool,
}

impl Workspace {
    /// Gives `name` new content. `check` sees what has the name now and may refuse; nothing can change between the
    /// check and the end. The file keeps mode, owner and extended attributes; a new one is `mode` and its directory's
    /// owner's. A file with several names is written in place.
    pub fn replace(
        &self,
        parent: Ino,
        name: &[u8],
        mode: u16,
        content: &[u8],
        check: &dyn Fn(Option<&Attr>) -> Result<()>,
    ) -> Answer<Replaced> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.check_writable()?;
        Name::check(name)?;
        if content.len() as u64 > FILE_SIZE_MAX {
            return Err(Error::new(Kind::TooLarge, "the file would be too large").into());
        }
        let old = state.find(parent, name)?;
        let seen = old.map(|ino| state.inode(ino).map(|inode| inode.attr(ino))).transpose()?;
        check(seen.as_ref())?;
        if state.inode(parent)?.nlink == 0 {
            return Err(Error::new(Kind::NotFound, "the directory has been removed").into());
        }
        let before = state.held_by([old, None]);
        state.check_more(Usage { bytes: content.len() as u64, files: 1 }, before)?;
        let time = self.clock.now();
        let replaced = match seen {
            Some(attr) if attr.kind != FileKind::File => return Err(not_a_file(attr.kind).into()),
            Some(attr) if attr.nlink > 1 => state.write_over(&attr, content, time)?,
            seen => state.put_fresh((parent, name), seen, mode, content, time)?,
        };
        self.note_change();
        Ok(replaced)
    }
}

fn not_a_file(kind: FileKind) -> Error {
    match kind {
        FileKind::Directory => Error::new(Kind::IsADirectory, "a directory has no content"),
        _ => Error::new(Kind::Invalid, "only a file has content to replace"),
    }
}

impl State {
    fn put_fresh(
        &mut self,
        place: (Ino, &[u8]),
        old: Option<Attr>,
        mode: u16,
        content: &[u8],
        time: Time,
    ) -> Answer<Replaced> {
        let (parent, name) = place;
        // Whatever may be missing is asked for before the first record.
        let xattrs = old.map(|old| self.xattrs(old.ino)).transpose()?;
        if self.free_inos.is_empty() {
            return Err(Stop::Miss(Miss::Inos));
        }
        let ino = Ino(self.free_inos.start);
        let above = self.inode(parent)?;
        let (mode, uid, gid) = match &old {
            Some(old) => (without_privileges(old.mode).unwrap_or(old.mode), old.uid, old.gid),
            None => (mode & 0o7777, above.uid, above.gid),
        };
        let placed = (|| {
            self.change(&Record::Fresh { ino, mode, uid, gid, time }, &[])?;
            self.write_pieces(ino, content, time)?;
            for (name, value) in xattrs.iter().flat_map(|xattrs| xattrs.iter()) {
                self.change(&Record::Xattr { ino, name, value: Some(value), time }, &[])?;
            }
            self.adopt(parent)?;
            if let Some(old) = &old {
                self.adopt(old.ino)?;
                self.adopt_names(old.ino)?;
            }
            self.change(&Record::Place { ino, parent, name, replaced: old.map(|old| old.ino), time }, &[])
        })();
        if let Err(error) = placed {
            self.drop_if_idle(ino);
            return Err(error.into());
        }
        Ok(Replaced { attr: self.inode(ino)?.attr(ino), old: old.map(|old| old.ino), in_place: false })
    }

    fn write_over(&mut self, old: &Attr, content: &[u8], time: Time) -> Answer<Replaced> {
        let ino = old.ino;
        self.adopt(ino)?;
        self.write_pieces(ino, content, time)?;
        let mode = without_privileges(old.mode);
        let size = Some(content.len() as u64);
        self.change(
            &Record::Attr { ino, mode, uid: None, gid: None, size, atime: None, mtime: Some(time), time },
            &[],
        )?;
        Ok(Replaced { attr: self.inode(ino)?.attr(ino), old: None, in_place: true })
    }

    fn write_pieces(&mut self, ino: Ino, content: &[u8], time: Time) -> Result<()> {
        for (index, piece) in content.chunks(REPLACE_RECORD).enumerate() {
            let offset = (index * REPLACE_RECORD) as u64;
            let length = piece.len() as u64;
            self.change(&Record::Write { ino, offset, mode: None, time, length }, piece)?;
        }
        Ok(())
    }
}
