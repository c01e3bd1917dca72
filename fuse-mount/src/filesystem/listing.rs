//! One page of a directory: what fits into the buffer that the kernel offers.
//!
//! A listing with attributes counts a reference for each entry it hands over, so an entry without attributes in memory
//! ends the page, and is looked up if it is the page's first.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fuser::{Errno, INodeNo, ReplyDirectory, ReplyDirectoryPlus};
use vfs_core::object::Ino;
use vfs_core::workspace::{Answer, Attr, Listed, Stop, Workspace};

use super::answer::Refuse;
use super::{GENERATION, operations};
use crate::limits::CACHE_TTL;
use crate::translate as to;

pub(crate) struct Page {
    directory: Ino,
    /// Where the next entry is.
    cookie: u64,
    taken: usize,
    reply: Reply,
}

enum Reply {
    Plain(ReplyDirectory),
    Plus(ReplyDirectoryPlus, Option<(u32, u32)>),
}

/// An entry that stopped a page because its attributes are not in memory.
struct Unknown {
    name: Vec<u8>,
    cookie: u64,
}

impl Page {
    pub(crate) fn plain(directory: Ino, cookie: u64, reply: ReplyDirectory) -> Self {
        Page { directory, cookie, taken: 0, reply: Reply::Plain(reply) }
    }

    pub(crate) fn plus(directory: Ino, cookie: u64, reply: ReplyDirectoryPlus, owner: Option<(u32, u32)>) -> Self {
        Page { directory, cookie, taken: 0, reply: Reply::Plus(reply, owner) }
    }

    /// Takes entries until the buffer is full or the directory at its end. After a miss, goes on where it was.
    pub(crate) fn fill(&mut self, workspace: &Workspace) -> Answer<()> {
        loop {
            let mut unknown = None;
            let (directory, cookie, plus) = (self.directory, self.cookie, matches!(self.reply, Reply::Plus(..)));
            match workspace.list(directory, cookie, plus, &mut |listed| self.add(&listed, &mut unknown)) {
                Err(Stop::Miss(_)) if self.taken > 0 => return Ok(()),
                answer => answer?,
            }
            match unknown {
                Some(unknown) if self.taken == 0 => self.look_up(workspace, &unknown)?,
                _ => return Ok(()),
            }
        }
    }

    fn add(&mut self, listed: &Listed<'_>, unknown: &mut Option<Unknown>) -> bool {
        let name = OsStr::from_bytes(listed.name);
        let full = match (&mut self.reply, listed.attr) {
            (Reply::Plain(reply), _) => {
                reply.add(INodeNo(listed.ino.0), listed.cookie, to::file_type(listed.kind), name)
            }
            // The kernel takes no attributes of these two, only number and kind.
            (Reply::Plus(reply, _), _) if matches!(listed.name, b"." | b"..") => {
                let attr = to::only_number_and_kind(listed.ino, listed.kind);
                reply.add(attr.ino, listed.cookie, name, &CACHE_TTL, &attr, GENERATION)
            }
            (Reply::Plus(reply, owner), Some(attr)) => {
                let attr = to::attr(&attr, *owner);
                reply.add(attr.ino, listed.cookie, name, &CACHE_TTL, &attr, GENERATION)
            }
            (Reply::Plus(..), None) => {
                *unknown = Some(Unknown { name: listed.name.to_vec(), cookie: listed.cookie });
                return false;
            }
        };
        if !full {
            self.taken += 1;
            self.cookie = listed.cookie;
        }
        !full
    }

    /// The lookup counts the reference that the listing would have counted.
    fn look_up(&mut self, workspace: &Workspace, unknown: &Unknown) -> Answer<()> {
        match operations::find(workspace, self.directory, &unknown.name)? {
            Some(attr) => {
                let listed = listed(&unknown.name, unknown.cookie, attr);
                if !self.add(&listed, &mut None) {
                    workspace.forget(attr.ino, 1);
                }
            }
            // Removed meanwhile.
            None => self.cookie = unknown.cookie,
        }
        Ok(())
    }

    pub(crate) fn send(self) {
        match self.reply {
            Reply::Plain(reply) => reply.ok(),
            Reply::Plus(reply, _) => reply.ok(),
        }
    }
}

fn listed(name: &[u8], cookie: u64, attr: Attr) -> Listed<'_> {
    Listed { name, ino: attr.ino, kind: attr.kind, cookie, attr: Some(attr) }
}

impl Refuse for Page {
    fn refuse(self, errno: Errno) {
        match self.reply {
            Reply::Plain(reply) => reply.error(errno),
            Reply::Plus(reply, _) => reply.error(errno),
        }
    }
}
