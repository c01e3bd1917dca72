//! Paths and their inode numbers.
//!
//! A path keeps its number as long as the kernel knows it. A name that is removed and made again gets another one, and so
//! does a directory in the place of a file: the kernel would mix them up.

use std::collections::HashMap;
use std::ffi::OsStr;

use fuser::Errno;
use vfs_core::documents::DocumentPath;

/// The number of the folder itself, whose path is empty.
pub(super) const ROOT: u64 = 1;

/// What the kernel knows by number.
#[derive(Debug)]
pub(super) struct Names {
    by_number: HashMap<u64, Known>,
    by_path: HashMap<(String, bool), u64>,
    next: u64,
}

#[derive(Debug)]
struct Known {
    path: String,
    is_directory: bool,
    /// Times that the kernel was told and has not forgotten.
    lookups: u64,
}

impl Names {
    pub(super) fn new() -> Names {
        let mut names = Names { by_number: HashMap::new(), by_path: HashMap::new(), next: ROOT };
        names.number("", true);
        names
    }

    /// The path behind a number, and whether it was a directory.
    pub(super) fn path(&self, number: u64) -> Option<(&str, bool)> {
        self.by_number.get(&number).map(|known| (known.path.as_str(), known.is_directory))
    }

    /// Whether the number still stands for what is at its path, and not for something that was removed.
    pub(super) fn is_current(&self, number: u64) -> bool {
        let known = self.by_number.get(&number);
        known.is_some_and(|known| self.by_path.get(&(known.path.clone(), known.is_directory)) == Some(&number))
    }

    /// The number of a path, a new one if it has none.
    pub(super) fn number(&mut self, path: &str, is_directory: bool) -> u64 {
        if let Some(number) = self.by_path.get(&(path.to_owned(), is_directory)) {
            return *number;
        }
        let number = self.next;
        self.next += 1;
        self.by_number.insert(number, Known { path: path.to_owned(), is_directory, lookups: 0 });
        self.by_path.insert((path.to_owned(), is_directory), number);
        number
    }

    /// The kernel was told of a number once more.
    pub(super) fn remember(&mut self, number: u64) {
        if let Some(known) = self.by_number.get_mut(&number) {
            known.lookups += 1;
        }
    }

    /// The kernel has forgotten a number `times` times.
    pub(super) fn forget(&mut self, number: u64, times: u64) {
        let Some(known) = self.by_number.get_mut(&number).filter(|_| number != ROOT) else { return };
        known.lookups = known.lookups.saturating_sub(times);
        if known.lookups == 0 {
            self.remove(number);
        }
    }

    /// The path is gone: whatever is made there later gets another number.
    pub(super) fn drop_path(&mut self, path: &str) {
        self.by_path.remove(&(path.to_owned(), false));
        self.by_path.remove(&(path.to_owned(), true));
    }

    /// A name was moved, and with a directory everything below it. What was at the new place loses its number.
    pub(super) fn moved(&mut self, from: &str, to: &str) {
        self.drop_path(to);
        for (number, known) in &mut self.by_number {
            let Some(rest) = known.path.strip_prefix(from).filter(|rest| rest.is_empty() || rest.starts_with('/'))
            else {
                continue;
            };
            let new = format!("{to}{rest}");
            let key = (std::mem::replace(&mut known.path, new.clone()), known.is_directory);
            // A number that stood for something removed there stays without a path.
            if self.by_path.get(&key) == Some(number) {
                self.by_path.remove(&key);
                self.by_path.insert((new, known.is_directory), *number);
            }
        }
    }

    /// Forgets numbers that were only listed.
    pub(super) fn drop_unknown(&mut self) {
        let listed: Vec<u64> = self.by_number.iter().filter(|(_, known)| known.lookups == 0).map(|(n, _)| *n).collect();
        listed.into_iter().filter(|number| *number != ROOT).for_each(|number| self.remove(number));
    }

    /// How many numbers are known.
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    fn remove(&mut self, number: u64) {
        let Some(known) = self.by_number.remove(&number) else { return };
        let key = (known.path, known.is_directory);
        if self.by_path.get(&key) == Some(&number) {
            self.by_path.remove(&key);
        }
    }
}

/// The path of a name below a directory, if documents may have it (decision 0011).
pub(super) fn child(parent: &str, name: &OsStr) -> Result<String, Errno> {
    let name = name.to_str().ok_or(Errno::EINVAL)?;
    let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
    match path.parse::<DocumentPath>() {
        Ok(_) => Ok(path),
        Err(error) => Err(crate::translate::errno(&error)),
    }
}

/// The directory that a path lies in; empty for the folder itself.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Whether `path` lies somewhere below `directory`.
pub(super) fn is_below(path: &str, directory: &str) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
