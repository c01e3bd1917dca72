//! Extended attributes of what is imported.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{fgetxattr, fgetxattr_query, flistxattr, flistxattr_query};
use rustix::fs::{lgetxattr, lgetxattr_query, llistxattr, llistxattr_query};
use rustix::io::Errno;

use crate::name::Name;
use crate::object::Xattrs;

/// Most lists of names fit here, so that one call is enough; nearly every file has none.
const NAMES_USUAL: usize = 512;

/// What has the attributes.
pub(super) enum Of<'a> {
    /// An open file or directory.
    Open(&'a OwnedFd),
    /// A name that is not opened; a symlink itself.
    Name(&'a OwnedFd, &'a Name),
}

impl Of<'_> {
    /// A path that names the file whatever has happened to the directories above it.
    fn path(directory: &OwnedFd, name: &Name) -> Vec<u8> {
        let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
        path.extend_from_slice(name.as_bytes());
        path
    }

    fn names(&self) -> rustix::io::Result<Vec<u8>> {
        let mut usual = [0; NAMES_USUAL];
        let length = match self {
            Of::Open(file) => flistxattr(file, &mut usual),
            Of::Name(directory, name) => llistxattr(Of::path(directory, name), &mut usual),
        };
        match (length, self) {
            (Ok(length), _) => Ok(usual[..length].to_vec()),
            (Err(Errno::RANGE), Of::Open(file)) => sized(|| flistxattr_query(file), |buffer| flistxattr(file, buffer)),
            (Err(Errno::RANGE), Of::Name(directory, name)) => {
                let path = Of::path(directory, name);
                sized(|| llistxattr_query(&*path), |buffer| llistxattr(&*path, buffer))
            }
            (Err(errno), _) => Err(errno),
        }
    }

    fn value(&self, key: &[u8]) -> rustix::io::Result<Vec<u8>> {
        match self {
            Of::Open(file) => sized(|| fgetxattr_query(file, key), |buffer| fgetxattr(file, key, buffer)),
            Of::Name(directory, name) => {
                let path = Of::path(directory, name);
                sized(|| lgetxattr_query(&*path, key), |buffer| lgetxattr(&*path, key, buffer))
            }
        }
    }
}

/// The extended attributes of a file, and what could not be kept.
pub(super) fn xattrs(of: &Of<'_>) -> (Xattrs, Vec<String>) {
    let mut found = Xattrs::default();
    let mut warnings = Vec::new();
    let names = match of.names() {
        Ok(names) => names,
        Err(Errno::OPNOTSUPP | Errno::NOENT) => return (found, warnings),
        Err(errno) => {
            warnings.push(format!("its extended attributes cannot be read: {errno}"));
            return (found, warnings);
        }
    };
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let shown = String::from_utf8_lossy(name);
        match of.value(name) {
            Ok(value) => {
                if let Err(error) = found.set(name, &value) {
                    warnings.push(format!("its extended attribute {shown} is not kept: {error}"));
                }
            }
            Err(Errno::NODATA) => {}
            Err(errno) => warnings.push(format!("its extended attribute {shown} cannot be read: {errno}")),
        }
    }
    (found, warnings)
}

/// Asks for a size, then for that many bytes; again if they have become more.
fn sized(
    size: impl Fn() -> rustix::io::Result<usize>,
    get: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    loop {
        let mut buffer = vec![0; size()?];
        match get(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) => {}
            Err(errno) => return Err(errno),
        }
    }
}
