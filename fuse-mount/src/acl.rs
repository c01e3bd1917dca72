//! POSIX access control lists, as far as the kernel leaves them to the daemon (`FUSE_POSIX_ACL`).
//!
//! The kernel reads the lists as extended attributes and checks permissions by them. Ours is to keep a list and the
//! mode in step (setxattr, chmod), and to hand a directory's default list down to what is made in it. The rules are those
//! of the kernel's own `fs/posix_acl.c`, so that ext4 and a mount give the same answers.

use vfs_core::Kind;
use vfs_core::object::{FileKind, Ino};
use vfs_core::workspace::{Answer, SetAttr, SetXattr, Stop, Workspace};

/// The attribute with the list of an inode.
pub(crate) const ACCESS: &[u8] = b"system.posix_acl_access";
/// The attribute with the list that a directory hands down.
pub(crate) const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    tag: u16,
    permissions: u16,
    id: u32,
}

/// A list with at least its owner, group and other entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acl(Vec<Entry>);

impl Acl {
    /// Reads the kernel's form: version, then tag, permissions and id of each entry.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Acl> {
        let (version, rest) = bytes.split_first_chunk()?;
        let (entries, odd) = rest.as_chunks::<8>();
        if u32::from_le_bytes(*version) != VERSION || !odd.is_empty() {
            return None;
        }
        let entry = |bytes: &[u8; 8]| {
            let [t0, t1, p0, p1, i0, i1, i2, i3] = *bytes;
            let (tag, permissions) = (u16::from_le_bytes([t0, t1]), u16::from_le_bytes([p0, p1]));
            Entry { tag, permissions: permissions & 7, id: u32::from_le_bytes([i0, i1, i2, i3]) }
        };
        let acl = Acl(entries.iter().map(entry).collect());
        let has = |tag| acl.0.iter().filter(|entry| entry.tag == tag).count() == 1;
        let known = acl.0.iter().all(|e| matches!(e.tag, USER_OBJ | USER | GROUP_OBJ | GROUP | MASK | OTHER));
        (known && has(USER_OBJ) && has(GROUP_OBJ) && has(OTHER)).then_some(acl)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for entry in &self.0 {
            bytes.extend(entry.tag.to_le_bytes());
            bytes.extend(entry.permissions.to_le_bytes());
            bytes.extend(entry.id.to_le_bytes());
        }
        bytes
    }

    /// Whether it says more than a mode can.
    pub(crate) fn is_extended(&self) -> bool {
        self.0.iter().any(|entry| matches!(entry.tag, USER | GROUP | MASK))
    }

    /// The entry that the group bits of the mode show: the mask if there is one.
    fn group_class(&self) -> u16 {
        if self.0.iter().any(|entry| entry.tag == MASK) { MASK } else { GROUP_OBJ }
    }

    /// Where the entries lie that the mode shows.
    fn shifts(&self) -> [(u16, u16); 3] {
        [(USER_OBJ, 6), (self.group_class(), 3), (OTHER, 0)]
    }

    fn permissions(&self, tag: u16) -> u16 {
        self.0.iter().find(|entry| entry.tag == tag).map_or(0, |entry| entry.permissions)
    }

    /// The nine permission bits (`posix_acl_equiv_mode`).
    pub(crate) fn mode(&self) -> u16 {
        self.shifts().iter().fold(0, |mode, &(tag, shift)| mode | self.permissions(tag) << shift)
    }

    /// Takes the permission bits of a chmod (`__posix_acl_chmod_masq`).
    pub(crate) fn chmod(&mut self, mode: u16) {
        for (tag, shift) in self.shifts() {
            self.0.iter_mut().filter(|entry| entry.tag == tag).for_each(|entry| entry.permissions = mode >> shift & 7);
        }
    }

    /// Narrows a list that is handed down to the mode asked for (`posix_acl_create_masq`).
    pub(crate) fn narrow(&mut self, mode: u16) {
        self.chmod(self.mode() & mode);
    }
}

pub(crate) fn is_acl(name: &[u8]) -> bool {
    name == ACCESS || name == DEFAULT
}

fn read(workspace: &Workspace, ino: Ino, name: &[u8]) -> Answer<Option<Acl>> {
    match workspace.getxattr(ino, name) {
        // A list that cannot be read is not obeyed by the kernel either.
        Ok(bytes) => Ok(Acl::decode(&bytes)),
        Err(Stop::Failed(error)) if error.kind() == Kind::NoAttribute => Ok(None),
        Err(stop) => Err(stop),
    }
}

/// Lists that a new inode gets.
pub(crate) struct Inherited {
    access: Option<Vec<u8>>,
    default: Option<Vec<u8>>,
}

/// The mode of a new inode in `parent` and its lists. Where the parent hands down a list, that takes the umask's place.
pub(crate) fn inherit(
    workspace: &Workspace,
    parent: Ino,
    kind: FileKind,
    mode: u16,
    umask: u16,
) -> Answer<(u16, Inherited)> {
    let none = Inherited { access: None, default: None };
    if kind == FileKind::Symlink {
        return Ok((mode, none));
    }
    let Some(default) = read(workspace, parent, DEFAULT)? else { return Ok((mode & !umask, none)) };
    let mut access = default.clone();
    access.narrow(mode);
    let mode = mode & !0o777 | access.mode();
    let access = access.is_extended().then(|| access.encode());
    let default = (kind == FileKind::Directory).then(|| default.encode());
    Ok((mode, Inherited { access, default }))
}

impl Inherited {
    pub(crate) fn is_empty(&self) -> bool {
        self.access.is_none() && self.default.is_none()
    }

    pub(crate) fn store(&self, workspace: &Workspace, ino: Ino) -> Answer<()> {
        for (name, list) in [(ACCESS, &self.access), (DEFAULT, &self.default)] {
            if let Some(list) = list {
                workspace.setxattr(ino, name, list, SetXattr::Any)?;
            }
        }
        Ok(())
    }
}

/// Sets a list, and with the access list the mode. One that says no more than the mode is not kept.
pub(crate) fn set(workspace: &Workspace, ino: Ino, name: &[u8], value: &[u8], keeps_set_gid: bool) -> Answer<()> {
    let invalid = || vfs_core::Error::new(Kind::Invalid, "this is no access control list");
    let acl = Acl::decode(value).ok_or_else(invalid)?;
    if name == DEFAULT {
        return workspace.setxattr(ino, name, value, SetXattr::Any);
    }
    let mut mode = workspace.getattr(ino)?.mode & !0o777 | acl.mode();
    if !keeps_set_gid {
        mode &= !0o2000;
    }
    if acl.is_extended() {
        workspace.setxattr(ino, name, value, SetXattr::Any)?;
    } else {
        remove(workspace, ino, name)?;
    }
    workspace.setattr(ino, &SetAttr { mode: Some(mode), ..SetAttr::default() })?;
    Ok(())
}

/// Removes a list; that there is none is no error.
pub(crate) fn remove(workspace: &Workspace, ino: Ino, name: &[u8]) -> Answer<()> {
    match workspace.removexattr(ino, name) {
        Err(Stop::Failed(error)) if error.kind() == Kind::NoAttribute => Ok(()),
        answer => answer,
    }
}

/// Before a chmod: puts the new permission bits into the list, if there is one.
pub(crate) fn chmod(workspace: &Workspace, ino: Ino, mode: u16) -> Answer<()> {
    if let Some(mut acl) = read(workspace, ino, ACCESS)? {
        acl.chmod(mode);
        workspace.setxattr(ino, ACCESS, &acl.encode(), SetXattr::Any)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
