//! Requests that are more than one call of the workspace.

use fuser::{Errno, INodeNo, Request};
use vfs_core::Kind;
use vfs_core::object::{FileKind, Ino};
use vfs_core::workspace::{Allocate, Answer, Attr, NewNode, Seek, SetAttr, Stop, Workspace};

use crate::acl;
use crate::limits::{COPY_MAX, REQUEST_MAX};
use crate::translate as to;

const EXCLUSIVE: i32 = 0o200;
const TRUNCATE: i32 = 0o1000;
const SET_ID_BITS: u16 = 0o6000;

/// A new inode, but for its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Maker {
    parent: Ino,
    kind: FileKind,
    mode: u16,
    umask: u16,
    uid: u32,
    gid: u32,
    rdev: u32,
}

impl Maker {
    pub(crate) fn new(request: &Request, parent: INodeNo, kind: FileKind, mode: u32, umask: u32, rdev: u32) -> Self {
        let (uid, gid, parent) = (request.uid(), request.gid(), to::ino(parent));
        Maker { parent, kind, mode: to::permissions(mode), umask: to::permissions(umask), uid, gid, rdev }
    }

    pub(crate) fn make(&self, workspace: &Workspace, name: &[u8], target: &[u8]) -> Answer<Attr> {
        let Maker { parent, kind, uid, gid, rdev, .. } = *self;
        let (mode, inherited) = acl::inherit(workspace, parent, kind, self.mode, self.umask)?;
        let attr = workspace.make(parent, name, &NewNode { kind, mode, uid, gid, rdev, target })?;
        if inherited.is_empty() {
            return Ok(attr);
        }
        // Nothing of a new inode can be missing, so this fails only where the file must not stay without its list.
        match inherited.store(workspace, attr.ino) {
            Ok(()) => workspace.getattr(attr.ino),
            Err(stop) => {
                let removed = match kind {
                    FileKind::Directory => workspace.rmdir(parent, name),
                    _ => workspace.unlink(parent, name),
                };
                workspace.forget(attr.ino, 1);
                removed.and(Err(stop))
            }
        }
    }
}

/// Whether `answer` is a plain "there is none".
fn or_none<T>(answer: Answer<T>) -> Answer<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Stop::Failed(error)) if error.kind() == Kind::NotFound => Ok(None),
        Err(stop) => Err(stop),
    }
}

pub(crate) fn find(workspace: &Workspace, parent: Ino, name: &[u8]) -> Answer<Option<Attr>> {
    or_none(workspace.lookup(parent, name))
}

/// `None` past the last data: ENXIO.
pub(crate) fn seek(workspace: &Workspace, ino: Ino, offset: u64, what: Seek) -> Answer<Option<u64>> {
    or_none(workspace.seek(ino, offset, what))
}

/// Makes a file, or takes the one that appeared since the kernel looked (an API write) unless it has to be new. The
/// kernel takes the file for new then, so a truncation that was asked for is ours to do.
pub(crate) fn create(workspace: &Workspace, maker: &Maker, name: &[u8], flags: i32) -> Answer<Attr> {
    match maker.make(workspace, name, b"") {
        Err(Stop::Failed(error)) if error.kind() == Kind::AlreadyExists && flags & EXCLUSIVE == 0 => {
            let attr = workspace.lookup(maker.parent, name)?;
            if attr.kind != FileKind::File || flags & TRUNCATE == 0 {
                return Ok(attr);
            }
            let empty = SetAttr { size: Some(0), kill_privileges: maker.uid != 0, ..SetAttr::default() };
            workspace.setattr(attr.ino, &empty).inspect_err(|_| workspace.forget(attr.ino, 1))
        }
        answer => answer,
    }
}

/// On a mount that shows everything as one user, giving a file to that user changes nothing, and to another is refused.
pub(crate) fn hide_owner(change: &mut SetAttr, owner: Option<(u32, u32)>) -> Result<(), Errno> {
    let Some((uid, gid)) = owner else { return Ok(()) };
    if change.uid.is_some_and(|new| new != uid) || change.gid.is_some_and(|new| new != gid) {
        return Err(Errno::EPERM);
    }
    (change.uid, change.gid) = (None, None);
    Ok(())
}

/// Changes attributes. A chown of anything but a directory clears setuid and setgid, also root's: as ext4.
///
/// A request that changes nothing is how the kernel, before a write by somebody unprivileged, says that the two bits have
/// to go (or a chown to nobody in particular); only this answer brings the new mode into its cache.
pub(crate) fn set_attr(workspace: &Workspace, ino: Ino, mut change: SetAttr, chown: bool) -> Answer<Attr> {
    if change == SetAttr::default() {
        clear_set_ids(workspace, ino)?;
        return workspace.getattr(ino);
    }
    if chown && workspace.getattr(ino)?.kind != FileKind::Directory {
        change.kill_privileges = true;
    }
    if let Some(mode) = change.mode {
        acl::chmod(workspace, ino, mode)?;
    }
    workspace.setattr(ino, &change)
}

/// As a write by an unprivileged caller does.
fn clear_set_ids(workspace: &Workspace, ino: Ino) -> Answer<()> {
    if workspace.getattr(ino)?.mode & SET_ID_BITS != 0 {
        workspace.setattr(ino, &SetAttr { kill_privileges: true, ..SetAttr::default() })?;
    }
    Ok(())
}

pub(crate) fn allocate(
    workspace: &Workspace,
    ino: Ino,
    offset: u64,
    length: u64,
    how: Allocate,
    kill: bool,
) -> Answer<()> {
    if kill {
        clear_set_ids(workspace, ino)?;
    }
    workspace.allocate(ino, offset, length, how)
}

/// Copies up to [`COPY_MAX`] bytes and says how many; the caller asks again for the rest. What was copied before a miss
/// or an error is answered first, so nothing is copied twice.
pub(crate) fn copy(
    workspace: &Workspace,
    (from, from_offset): (Ino, u64),
    (into, into_offset): (Ino, u64),
    length: u64,
    kill: bool,
) -> Answer<u32> {
    let length = length.min(COPY_MAX);
    let mut copied = 0;
    while copied < length {
        let piece = (length - copied).min(REQUEST_MAX.into()) as usize;
        let step = workspace.read(from, from_offset + copied, piece).and_then(|data| {
            if !data.is_empty() {
                workspace.write(into, into_offset + copied, &data, kill)?;
            }
            Ok(data.len() as u64)
        });
        match step {
            Ok(0) => break,
            Ok(bytes) => copied += bytes,
            Err(_) if copied > 0 => break,
            Err(stop) => return Err(stop),
        }
    }
    Ok(copied as u32)
}
