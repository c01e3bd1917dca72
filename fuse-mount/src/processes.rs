//! What `/proc` says about who uses a device: who keeps it from being unmounted, and who has mapped its files.
//!
//! Looking asks no daemon (`STATX_DONT_SYNC`), so it never waits for this or any other mount. Processes that may not be
//! looked at, or that live in a PID namespace that this one cannot see, are passed over.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use vfs_core::{Error, Kind, Result};

use crate::device::device_of;
use crate::limits::{FLUSH_DEADLINE, HOLDERS_SHOWN};
use crate::mountinfo::parse_device;

/// A process that uses the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pid: u32,
    command: String,
    how: &'static str,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {}: {})", self.command, self.pid, self.how)
    }
}

/// Up to [`HOLDERS_SHOWN`] processes that use `device`.
pub(crate) fn users(device: u64) -> Vec<User> {
    processes().filter_map(|(pid, folder)| user(pid, &folder, device)).take(HOLDERS_SHOWN).collect()
}

fn user(pid: u32, folder: &Path, device: u64) -> Option<User> {
    let is_there = |path: PathBuf| device_of(&path).is_ok_and(|found| found == device);
    let open = || std::fs::read_dir(folder.join("fd")).is_ok_and(|files| files.flatten().any(|f| is_there(f.path())));
    let how = if is_there(folder.join("cwd")) {
        "works in it"
    } else if is_there(folder.join("root")) {
        "has it as its root"
    } else if is_there(folder.join("exe")) {
        "runs a program from it"
    } else if open() {
        "has a file of it open"
    } else if mappings(folder).any(|mapping| mapping.device == device) {
        "has a file of it mapped"
    } else {
        return None;
    };
    let command = std::fs::read_to_string(folder.join("comm")).unwrap_or_default();
    Some(User { pid, command: command.trim_end().to_owned(), how })
}

/// Fsyncs each file of `device` that is mapped shared and writable anywhere, and so has every dirty page written.
pub(crate) fn flush_mapped(device: u64) -> Result<()> {
    let deadline = Instant::now() + FLUSH_DEADLINE;
    let mut done = HashSet::new();
    for (_, folder) in processes() {
        for mapping in mappings(&folder).filter(|mapping| mapping.device == device && mapping.can_be_dirty) {
            if done.contains(&mapping.inode) {
                continue;
            }
            if Instant::now() > deadline {
                let context =
                    format!("writing back what programs have mapped took over {} s", FLUSH_DEADLINE.as_secs());
                return Err(Error::new(Kind::Unavailable, context));
            }
            if let Some(file) = open_mapped(&folder, &mapping) {
                let failed =
                    |error| Error::io(format!("mapped inode {} could not be written back", mapping.inode), error);
                file.sync_all().map_err(failed)?;
                done.insert(mapping.inode);
            }
        }
    }
    Ok(())
}

/// Opens the file behind a mapping: by the mapping itself, which also reaches a removed file; else, where that is not
/// allowed, by its path. `None` if the mapping is gone, which has written its pages.
fn open_mapped(folder: &Path, mapping: &Mapping) -> Option<File> {
    if let Ok(file) = File::open(folder.join("map_files").join(&mapping.range)) {
        return Some(file);
    }
    let path = mapping.path.strip_prefix("/").ok()?;
    let file = File::open(folder.join("root").join(path)).ok()?;
    let metadata = file.metadata().ok()?;
    (metadata.dev() == mapping.device && metadata.ino() == mapping.inode).then_some(file)
}

/// Numbered folders of `/proc`.
fn processes() -> impl Iterator<Item = (u32, PathBuf)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// `start-end` in hexadecimal, as `map_files` names it.
    range: String,
    /// Shared and writable.
    can_be_dirty: bool,
    device: u64,
    inode: u64,
    path: PathBuf,
}

fn mappings(folder: &Path) -> impl Iterator<Item = Mapping> {
    let lines = File::open(folder.join("maps")).ok().map(|file| BufReader::new(file).split(b'\n'));
    lines.into_iter().flatten().map_while(std::result::Result::ok).filter_map(|line| parse_mapping(&line))
}

/// `start-end perms offset major:minor inode path`; none without a file.
fn parse_mapping(line: &[u8]) -> Option<Mapping> {
    let line = String::from_utf8_lossy(line);
    let mut fields = line.splitn(6, ' ');
    let range = fields.next()?.to_owned();
    let permissions = fields.next()?.as_bytes();
    let device = parse_device(fields.nth(1)?, 16)?;
    let inode = fields.next()?.parse().ok().filter(|&inode| inode != 0)?;
    let path = PathBuf::from(fields.next().unwrap_or_default().trim_start());
    let can_be_dirty = permissions.get(1) == Some(&b'w') && permissions.get(3) == Some(&b's');
    Some(Mapping { range, can_be_dirty, device, inode, path })
}

#[cfg(test)]
mod tests;
