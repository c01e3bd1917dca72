//! Asking a workspace from a thread that may wait: what is missing is fetched, then asked for again.
//!
//! Every inode that a look holds on to is counted as the kernel's references are, and given back when the look is over.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::request::{Entry, Raw};
use crate::error::{Error, Kind, Result};
use crate::limits::MISS_ROUNDS_MAX;
use crate::name::Name;
use crate::object::{FileKind, Ino};
use crate::workspace::{Answer, Attr, Stop, Workspace};

/// A workspace and a way to wait for it.
pub(super) struct Look {
    workspace: Arc<Workspace>,
    runtime: Handle,
}

/// An inode that stays in memory as long as this lives.
pub(super) struct Held {
    workspace: Arc<Workspace>,
    /// As it was found.
    pub(super) attr: Attr,
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.attr.ino != Ino::ROOT {
            self.workspace.forget(self.attr.ino, 1);
        }
    }
}

impl Held {
    pub(super) fn ino(&self) -> Ino {
        self.attr.ino
    }

    pub(super) fn is_directory(&self) -> bool {
        self.attr.kind == FileKind::Directory
    }
}

impl Look {
    pub(super) fn new(workspace: Arc<Workspace>, runtime: Handle) -> Look {
        Look { workspace, runtime }
    }

    /// Asks until nothing is missing.
    pub(super) fn ask<T>(&self, mut operation: impl FnMut(&Workspace) -> Answer<T>) -> Result<T> {
        for _ in 0..MISS_ROUNDS_MAX {
            match operation(&self.workspace) {
                Ok(answer) => return Ok(answer),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Miss(miss)) => self.runtime.block_on(self.workspace.fill(miss)).map_err(unavailable)?,
            }
        }
        Err(Error::new(Kind::Unavailable, "the base answered again and again without giving what was missing"))
    }

    pub(super) fn root(&self) -> Result<Held> {
        let attr = self.ask(|workspace| workspace.getattr(Ino::ROOT))?;
        Ok(Held { workspace: self.workspace.clone(), attr })
    }

    /// What a name stands for; `None` if there is no such name.
    pub(super) fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Option<Held>> {
        match self.ask(|workspace| workspace.lookup(parent, name)) {
            Ok(attr) => Ok(Some(Held { workspace: self.workspace.clone(), attr })),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes over the reference that an operation has counted.
    pub(super) fn hold(&self, attr: Attr) -> Held {
        Held { workspace: self.workspace.clone(), attr }
    }

    /// All names of a directory, by their bytes.
    pub(super) fn names(&self, ino: Ino) -> Result<Vec<(Name, Option<FileKind>)>> {
        let mut names = self.ask(|workspace| workspace.names(ino))?;
        names.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        Ok(names)
    }

    /// What is shown of an inode under a name.
    pub(super) fn entry(&self, name: &[u8], attr: &Attr) -> Result<Entry> {
        let target = match attr.kind {
            FileKind::Symlink => Some(Raw::from(&self.ask(|workspace| workspace.readlink(attr.ino))?)),
            _ => None,
        };
        Ok(Entry {
            name: Raw::from(name),
            kind: attr.kind,
            mode: attr.mode,
            uid: attr.uid,
            gid: attr.gid,
            size: attr.size,
            nlink: attr.nlink,
            ino: attr.ino.0,
            mtime: attr.mtime,
            target,
            etag: etag(attr),
        })
    }
}

/// Changes whenever content or attributes do, because each such change moves ctime.
pub(super) fn etag(attr: &Attr) -> String {
    format!("{:x}-{:x}.{:x}-{:x}", attr.ino.0, attr.ctime.seconds, attr.ctime.nanos, attr.size)
}

/// Whatever the base says of its own objects ("there is no such chunk"), the caller's path is not at fault.
fn unavailable(error: Error) -> Error {
    match error.kind() {
        Kind::NotFound | Kind::Invalid => {
            Error::new(Kind::Unavailable, "content of the base could not be had").because(error)
        }
        _ => error,
    }
}
