//! Operations on attributes, extended attributes and symlink targets.

use std::sync::Arc;

use bytes::Bytes;

use super::answer::{Answer, Attr, Miss, SetAttr, SetXattr, Statfs, Stop, TimeChange};
use super::inode::{InodeBody, InodeXattrs, SymlinkBody};
use super::record::Record;
use super::state::State;
use super::{SET_GROUP_ID, SET_USER_ID, Workspace};
use crate::error::{Error, Kind};
use crate::limits::FILE_SIZE_MAX;
use crate::object::{Content, Ino, Xattrs, XattrsRef};

/// The mode without the bits that a write by somebody else must take away; `None` if it has none of them.
pub(super) fn without_privileges(mode: u16) -> Option<u16> {
    const GROUP_EXECUTE: u16 = 0o010;
    let mut killed = mode & !SET_USER_ID;
    if mode & GROUP_EXECUTE != 0 {
        killed &= !SET_GROUP_ID;
    }
    (killed != mode).then_some(killed)
}

impl Workspace {
    /// The attributes of an inode.
    pub fn getattr(&self, ino: Ino) -> Answer<Attr> {
        Ok(self.state.lock().inode(ino)?.attr(ino))
    }

    /// Changes attributes.
    pub fn setattr(&self, ino: Ino, change: &SetAttr) -> Answer<Attr> {
        let mut state = self.state.lock();
        state.check_writable()?;
        let inode = state.inode(ino)?;
        if let Some(size) = change.size {
            match &inode.body {
                InodeBody::File(_) if size > FILE_SIZE_MAX => {
                    return Err(Error::new(Kind::TooLarge, "the file would be too large").into());
                }
                InodeBody::File(_) => state.check_size(ino, size)?,
                InodeBody::Directory(_) => return Err(Error::new(Kind::IsADirectory, "a directory has no size").into()),
                _ => return Err(Error::new(Kind::Invalid, "only a file has a size to change").into()),
            }
        }
        let time = self.clock.now();
        let at = |change: TimeChange| match change {
            TimeChange::Now => time,
            TimeChange::At(time) => time,
        };
        let mut mode = change.mode.map(|mode| mode & 0o7777);
        if change.kill_privileges && !inode.is_directory() {
            mode = without_privileges(mode.unwrap_or(inode.mode)).or(mode);
        }
        let record = Record::Attr {
            ino,
            mode,
            uid: change.uid,
            gid: change.gid,
            size: change.size,
            atime: change.atime.map(at),
            mtime: change.mtime.map(at),
            time,
        };
        state.adopt(ino)?;
        state.change(&record, &[])?;
        self.note_change();
        Ok(state.inode(ino)?.attr(ino))
    }

    /// The target of a symlink.
    pub fn readlink(&self, ino: Ino) -> Answer<Bytes> {
        let state = self.state.lock();
        match &state.inode(ino)?.body {
            InodeBody::Symlink(SymlinkBody::Own(target)) => Ok(target.clone()),
            InodeBody::Symlink(SymlinkBody::Base(Content::Inline(target))) => Ok(target.clone()),
            InodeBody::Symlink(SymlinkBody::Base(Content::Chunk(chunk))) => {
                state.cache.chunk(chunk).ok_or_else(|| Stop::Miss(Miss::Chunks(vec![*chunk])))
            }
            InodeBody::Symlink(_) => Err(Error::corrupt("a symlink's target is a blob").into()),
            _ => Err(Error::new(Kind::Invalid, "only a symlink has a target").into()),
        }
    }

    /// One extended attribute.
    pub fn getxattr(&self, ino: Ino, name: &[u8]) -> Answer<Bytes> {
        let state = self.state.lock();
        let xattrs = state.xattrs(ino)?;
        xattrs.get(name).cloned().ok_or_else(no_attribute)
    }

    /// All names of extended attributes, each followed by NUL.
    pub fn listxattr(&self, ino: Ino) -> Answer<Bytes> {
        let state = self.state.lock();
        let mut names = Vec::new();
        for (name, _) in state.xattrs(ino)?.iter() {
            names.extend_from_slice(name);
            names.push(0);
        }
        Ok(names.into())
    }

    /// Sets an extended attribute.
    pub fn setxattr(&self, ino: Ino, name: &[u8], value: &[u8], how: SetXattr) -> Answer<()> {
        let mut state = self.state.lock();
        state.check_writable()?;
        let mut xattrs = state.xattrs(ino)?;
        match (xattrs.get(name).is_some(), how) {
            (true, SetXattr::Create) => return Err(Error::new(Kind::AlreadyExists, "the attribute exists").into()),
            (false, SetXattr::Replace) => return Err(no_attribute()),
            _ => {}
        }
        // Checks the limits on a copy before anything is written.
        Arc::make_mut(&mut xattrs).set(name, value)?;
        self.change_xattr(&mut state, ino, name, Some(value))
    }

    /// Removes an extended attribute.
    pub fn removexattr(&self, ino: Ino, name: &[u8]) -> Answer<()> {
        let mut state = self.state.lock();
        state.check_writable()?;
        if state.xattrs(ino)?.get(name).is_none() {
            return Err(no_attribute());
        }
        self.change_xattr(&mut state, ino, name, None)
    }

    fn change_xattr(&self, state: &mut State, ino: Ino, name: &[u8], value: Option<&[u8]>) -> Answer<()> {
        let own = state.xattrs(ino)?;
        if let Some(inode) = state.inodes.get_mut(&ino) {
            inode.xattrs = InodeXattrs::Own(own);
        }
        state.adopt(ino)?;
        state.change(&Record::Xattr { ino, name, value, time: self.clock.now() }, &[])?;
        self.note_change();
        Ok(())
    }

    /// Sizes of the workspace: what the disk under the journal still takes.
    pub fn statfs(&self) -> Statfs {
        const INODES: u64 = 1 << 40;
        let (mut total_bytes, mut free_bytes) = self.folder_space().unwrap_or((1 << 50, 0));
        let (mut total_inodes, mut free_inodes) = (INODES, INODES / 2);
        let (quota, usage) = {
            let state = self.state.lock();
            (state.quota, state.usage)
        };
        if let Some(max) = quota.bytes {
            (total_bytes, free_bytes) = (max, free_bytes.min(max.saturating_sub(usage.bytes)));
        }
        if let Some(max) = quota.files {
            (total_inodes, free_inodes) = (max, max.saturating_sub(usage.files));
        }
        Statfs { total_bytes, free_bytes, total_inodes, free_inodes }
    }
}

fn no_attribute() -> Stop {
    Error::new(Kind::NoAttribute, "there is no such attribute").into()
}

impl State {
    /// The extended attributes of an inode.
    pub(super) fn xattrs(&self, ino: Ino) -> Answer<Arc<Xattrs>> {
        match &self.inode(ino)?.xattrs {
            InodeXattrs::Own(xattrs) => Ok(xattrs.clone()),
            InodeXattrs::Base(XattrsRef::None) => Ok(Arc::default()),
            InodeXattrs::Base(XattrsRef::Inline(bytes)) => Ok(Arc::new(Xattrs::decode(bytes)?)),
            InodeXattrs::Base(XattrsRef::Chunk(chunk)) => match self.cache.chunk(chunk) {
                Some(bytes) => Ok(Arc::new(Xattrs::decode(&bytes)?)),
                None => Err(Stop::Miss(Miss::Chunks(vec![*chunk]))),
            },
        }
    }
}
