//! The blocking half of an export: makes names relative to open directories and never follows one that exists.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat, fchmod,
    fchown, fsync, ftruncate, futimens, linkat, lsetxattr, mkdirat, mknodat, open, openat, symlinkat, syncfs,
    utimensat,
};
use rustix::io::{Errno, pwrite};

use crate::clock::Time;
use crate::error::{Error, Kind, Result};
use crate::name::Name;
use crate::object::{Body, Node, Xattrs};

/// Mode of what is still being filled: nobody else looks in.
const PRIVATE: Mode = Mode::from_raw_mode(0o700);

fn failed(what: impl std::fmt::Display) -> impl Fn(Errno) -> Error {
    move |errno| Error::io(format!("{what} cannot be written: {errno}"), errno.into())
}

fn c_name(name: &Name) -> CString {
    CString::new(name.as_bytes()).expect("because a name holds no NUL")
}

/// Makes the target, or checks that it is an empty directory.
pub(super) fn make_target(target: &Path) -> Result<OwnedFd> {
    match std::fs::create_dir(target) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::io(format!("{} cannot be made", target.display()), error)),
    }
    let context = || format!("{} cannot be exported to", target.display());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(target, flags, Mode::empty()).map_err(|errno| Error::io(context(), errno.into()))?;
    let mut names = rustix::fs::Dir::read_from(&directory).map_err(|errno| Error::io(context(), errno.into()))?;
    let used = names.any(|entry| !entry.is_ok_and(|entry| matches!(entry.file_name().to_bytes(), b"." | b"..")));
    if used {
        let why = format!("{} is not empty: export to a new or empty folder", target.display());
        return Err(Error::new(Kind::NotEmpty, why));
    }
    Ok(directory)
}

/// Syncs all that was written, then the name of the target.
pub(super) fn sync(root: &OwnedFd, target: &Path) -> Result<()> {
    syncfs(root).map_err(failed(target.display()))?;
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(parent, flags, Mode::empty()).map_err(failed(parent.display()))?;
    fsync(&directory).map_err(failed(parent.display()))
}

pub(super) fn make_directory(at: &OwnedFd, name: &Name) -> Result<OwnedFd> {
    let path = c_name(name);
    mkdirat(at, &*path, PRIVATE).map_err(failed(name))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, &*path, flags, Mode::empty()).map_err(failed(name))
}

pub(super) fn make_file(at: &OwnedFd, name: &Name) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, &*c_name(name), flags, Mode::RUSR | Mode::WUSR).map_err(failed(name))
}

pub(super) fn write_at(file: &OwnedFd, offset: u64, bytes: &[u8]) -> Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        match pwrite(file, &bytes[written..], offset + written as u64) {
            Ok(more) => written += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed("a file")(errno)),
        }
    }
    Ok(())
}

pub(super) fn set_length(file: &OwnedFd, length: u64) -> Result<()> {
    ftruncate(file, length).map_err(failed("a file"))
}

/// Owner, attributes, mode, times: in this order, since each would undo the ones after it if it came later.
pub(super) fn finish_file(
    file: &OwnedFd,
    at: &OwnedFd,
    name: &Name,
    node: &Node,
    xattrs: &Xattrs,
    owner: bool,
) -> Result<Vec<String>> {
    if owner {
        fchown(file, Some(Uid::from_raw(node.uid)), Some(Gid::from_raw(node.gid))).map_err(failed(name))?;
    }
    let warnings = set_xattrs(&beneath(at, name), xattrs);
    fchmod(file, Mode::from_raw_mode(node.mode.into())).map_err(failed(name))?;
    futimens(file, &times(node.mtime)).map_err(failed(name))?;
    Ok(warnings)
}

pub(super) fn finish_directory(directory: &OwnedFd, node: &Node, xattrs: &Xattrs, owner: bool) -> Result<Vec<String>> {
    let failed = failed("a directory");
    if owner {
        fchown(directory, Some(Uid::from_raw(node.uid)), Some(Gid::from_raw(node.gid))).map_err(&failed)?;
    }
    let warnings = set_xattrs(format!("/proc/self/fd/{}/.", directory.as_raw_fd()).as_bytes(), xattrs);
    fchmod(directory, Mode::from_raw_mode(node.mode.into())).map_err(&failed)?;
    futimens(directory, &times(node.mtime)).map_err(&failed)?;
    Ok(warnings)
}

pub(super) fn make_symlink(
    at: &OwnedFd,
    name: &Name,
    target: &[u8],
    node: &Node,
    xattrs: &Xattrs,
    owner: bool,
) -> Result<Vec<String>> {
    let target = CString::new(target)
        .map_err(|error| Error::corrupt("the target of a symbolic link holds a NUL").because(error))?;
    symlinkat(&*target, at, &*c_name(name)).map_err(failed(name))?;
    finish_name(at, name, node, xattrs, owner)
}

pub(super) fn make_special(
    at: &OwnedFd,
    name: &Name,
    node: &Node,
    xattrs: &Xattrs,
    owner: bool,
) -> Result<Vec<String>> {
    let kind = if node.body == Body::Fifo { FileType::Fifo } else { FileType::Socket };
    let path = c_name(name);
    mknodat(at, &*path, kind, Mode::RUSR | Mode::WUSR, 0).map_err(failed(name))?;
    let warnings = finish_name(at, name, node, xattrs, owner)?;
    // Behind the change of owner, which clears bits; times stay. The name is a fresh one of ours, not a symlink.
    chmodat(at, &*path, Mode::from_raw_mode(node.mode.into()), AtFlags::empty()).map_err(failed(name))?;
    Ok(warnings)
}

/// Owner, attributes and times of a name that is not opened.
fn finish_name(at: &OwnedFd, name: &Name, node: &Node, xattrs: &Xattrs, owner: bool) -> Result<Vec<String>> {
    let path = c_name(name);
    if owner {
        let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
        chownat(at, &*path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(failed(name))?;
    }
    let warnings = set_xattrs(&beneath(at, name), xattrs);
    utimensat(at, &*path, &times(node.mtime), AtFlags::SYMLINK_NOFOLLOW).map_err(failed(name))?;
    Ok(warnings)
}

pub(super) fn link(root: &OwnedFd, first: &Path, at: &OwnedFd, name: &Name) -> Result<()> {
    linkat(root, first, at, &*c_name(name), AtFlags::empty()).map_err(failed(name))
}

/// A path that names an entry of an open directory, for calls that take no descriptor.
fn beneath(at: &OwnedFd, name: &Name) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", at.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    path
}

fn set_xattrs(path: &[u8], xattrs: &Xattrs) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, value) in xattrs.iter() {
        if let Err(errno) = lsetxattr(path, &**name, value, XattrFlags::empty()) {
            let shown = String::from_utf8_lossy(name);
            warnings.push(format!("its extended attribute {shown} cannot be set: {errno}"));
        }
    }
    warnings
}

/// The access time stays as it is.
fn times(mtime: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() },
    }
}
