//! What `/proc/self/mountinfo` says about a path, and what follows for a mount point.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::Errno;
use vfs_core::{Error, Kind, Result};

use crate::device;

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// `st_dev` of the files below.
    pub(crate) device: u64,
    pub(crate) mountpoint: PathBuf,
    /// `ext4`, `fuse.esker`, …
    pub(crate) kind: String,
}

/// Lazily unmounts what a dead daemon left at `path` (every access answers ENOTCONN). Returns whether it did; anything
/// else is left untouched.
pub fn clear_dead_mount(path: &Path) -> Result<bool> {
    let path = absolute(path)?;
    let Some(top) = topmost(&path)? else { return Ok(false) };
    if top.kind != "fuse" && !top.kind.starts_with("fuse.") {
        return Ok(false);
    }
    // Cached attributes outlive the daemon, so the kernel must be made to ask.
    match statx(CWD, &path, AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS) {
        Err(Errno::NOTCONN) => {
            device::unmount(&path, true)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Checks that `path` is an empty directory on which nothing is mounted. Errors say what to do.
pub fn check_mountpoint(path: &Path) -> Result<()> {
    let shown = path.display();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let context = format!("the mount point {shown} does not exist; make it first: mkdir -p {shown}");
            return Err(Error::new(Kind::NotFound, context));
        }
        Err(error) if error.raw_os_error() == Some(Errno::NOTCONN.raw_os_error()) => {
            let context = format!("{shown} holds the mount of a program that died; clear it: umount -l {shown}");
            return Err(Error::new(Kind::Busy, context));
        }
        Err(error) => return Err(Error::io(format!("the mount point {shown} cannot be looked at"), error)),
    };
    if !metadata.is_dir() {
        return Err(Error::new(Kind::NotADirectory, format!("the mount point {shown} is not a directory")));
    }
    if let Some(mounted) = topmost(&absolute(path)?)? {
        let context = format!("{shown} is already a mount point ({}); unmount it or choose another", mounted.kind);
        return Err(Error::new(Kind::Busy, context));
    }
    let mut names = std::fs::read_dir(path)
        .map_err(|error| Error::io(format!("the mount point {shown} cannot be listed"), error))?;
    if names.next().is_some() {
        let context = format!(
            "the mount point {shown} is not empty; the mount would hide what is in it: choose an empty directory"
        );
        return Err(Error::new(Kind::NotEmpty, context));
    }
    Ok(())
}

/// Whether something is mounted at `path`. Works on dead mounts too, and asks no file system.
pub fn is_mounted(path: &Path) -> bool {
    absolute(path).and_then(|path| topmost(&path)).is_ok_and(|mounted| mounted.is_some())
}

/// What is mounted at exactly this absolute path; of several mounts the one on top.
pub(crate) fn topmost(path: &Path) -> Result<Option<Mounted>> {
    let table = std::fs::read("/proc/self/mountinfo")
        .map_err(|error| Error::io("the table of mounts, /proc/self/mountinfo, cannot be read", error))?;
    Ok(parse(&table).into_iter().rfind(|mounted| mounted.mountpoint == path))
}

/// The absolute path without symlinks. The last component is not looked at: it may be a dead mount.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    let failed = |error| Error::io(format!("the folder of {} cannot be found", path.display()), error);
    if let Ok(whole) = std::fs::canonicalize(path) {
        return Ok(whole);
    }
    let path = std::path::absolute(path).map_err(failed)?;
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok(std::fs::canonicalize(parent).map_err(failed)?.join(name)),
        _ => Ok(path),
    }
}

/// Reads the table: `id parent major:minor root mountpoint options tags… - type source options`.
pub(crate) fn parse(table: &[u8]) -> Vec<Mounted> {
    table.split(|&byte| byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|&byte| byte == b' ');
    let device = parse_device(std::str::from_utf8(fields.nth(2)?).ok()?, 10)?;
    let mountpoint = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    let kind = fields.skip_while(|&field| field != b"-").nth(1)?;
    Some(Mounted { device, mountpoint, kind: String::from_utf8_lossy(kind).into_owned() })
}

/// `major:minor` as `st_dev`. Decimal here, hexadecimal in `/proc/<pid>/maps`.
pub(crate) fn parse_device(text: &str, radix: u32) -> Option<u64> {
    let (major, minor) = text.split_once(':')?;
    Some(rustix::fs::makedev(u32::from_str_radix(major, radix).ok()?, u32::from_str_radix(minor, radix).ok()?))
}

/// Undoes `\040` and its like: the kernel writes space, tab, newline, backslash and `#` as three octal digits.
pub(crate) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|digits| first == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        let value = octal.map(|digits| digits.iter().fold(0u32, |value, digit| value * 8 + u32::from(digit - b'0')));
        match value.and_then(|value| u8::try_from(value).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &after[3..];
            }
            None => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
