//! What the kernel says about mounts: which one covers a path.
//!
//! Never touches the mounted file system itself, which may be dead or may be served by this very process.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use vfs_core::{Error, Result};

/// One line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountEntry {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// The type with the subtype: `fuse.esker`.
    pub kind: String,
    /// What was mounted.
    pub source: String,
    /// No changes.
    pub read_only: bool,
}

impl MountEntry {
    /// Whether it is one of ours.
    pub(crate) fn is_esker(&self) -> bool {
        self.kind.starts_with("fuse") && (self.kind == "fuse.esker" || self.source.starts_with("esker"))
    }

    /// Whether it shows documents, not a workspace.
    pub(crate) fn shows_documents(&self) -> bool {
        self.is_esker() && self.source.starts_with("esker-docs:")
    }
}

/// All mounts of this process's namespace, in mount order.
pub(crate) fn mounts() -> Result<Vec<MountEntry>> {
    let text =
        fs::read("/proc/self/mountinfo").map_err(|error| Error::io("cannot read /proc/self/mountinfo", error))?;
    Ok(text.split(|&byte| byte == b'\n').filter_map(parse).collect())
}

/// The mount at exactly this path, the topmost one.
pub(crate) fn mount_at(path: &Path) -> Result<Option<MountEntry>> {
    Ok(mounts()?.into_iter().rev().find(|mount| mount.mountpoint == path))
}

/// The mount that `path` lies on.
pub(crate) fn mount_of(path: &Path) -> Result<Option<MountEntry>> {
    let all = mounts()?;
    for ancestor in path.ancestors() {
        if let Some(mount) = all.iter().rev().find(|mount| mount.mountpoint == ancestor) {
            return Ok(Some(mount.clone()));
        }
    }
    Ok(None)
}

/// `36 35 98:0 /root /mountpoint options tags - type source super`
fn parse(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|&byte| byte == b' ');
    let mountpoint = unescape(fields.nth(4)?);
    let read_only = fields.next()?.split(|&byte| byte == b',').any(|option| option == b"ro");
    let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
    Some(MountEntry {
        mountpoint: PathBuf::from(OsString::from_vec(mountpoint)),
        kind: String::from_utf8_lossy(rest.next()?).into_owned(),
        source: String::from_utf8_lossy(&unescape(rest.next()?)).into_owned(),
        read_only,
    })
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut at = 0;
    while at < field.len() {
        let digits =
            field.get(at + 1..at + 4).filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        match (field[at], digits) {
            (b'\\', Some(digits)) => {
                plain.push(digits.iter().fold(0_u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')));
                at += 4;
            }
            (byte, _) => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mountinfo() {
        let line = br"36 35 0:98 / /mnt/a\040b\134c rw,nosuid shared:1 master:2 - fuse.esker esker:w rw,user_id=0";
        let mount = parse(line).unwrap();
        assert_eq!(mount.mountpoint, Path::new("/mnt/a b\\c"));
        assert_eq!((mount.kind.as_str(), mount.source.as_str()), ("fuse.esker", "esker:w"));
        assert!(mount.is_esker() && !mount.read_only);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn the_root_is_mounted() {
        assert!(mount_at(Path::new("/")).unwrap().is_some());
        assert!(mount_of(Path::new("/proc/self/fd")).unwrap().is_some_and(|mount| mount.kind == "proc"));
    }
}
