//! A whole tree as a value, so that two can be compared and the first difference named.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use rustix::fs as sys;

use super::apply::{comparable, xattr_names};
use super::operation::Stat;

/// Everything about a tree that must agree, by path.
#[derive(Debug)]
pub(crate) struct Manifest {
    entries: BTreeMap<PathBuf, Entry>,
    exact_times: bool,
}

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    stat: Stat,
    /// A digest of the content, or the target of a symlink.
    content: Content,
    xattrs: BTreeMap<OsString, Vec<u8>>,
    /// The first path of the same inode.
    same_as: PathBuf,
    mtime: (i64, i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    None,
    Digest(u64),
    Target(OsString),
}

impl Manifest {
    /// Reads a tree.
    pub(crate) fn read(root: &Path) -> Manifest {
        let mut manifest = Manifest { entries: BTreeMap::new(), exact_times: false };
        let mut inodes = HashMap::new();
        manifest.visit(root, Path::new(""), &mut inodes);
        manifest
    }

    /// Compares all modification times too, not only those before 2017.
    pub(crate) fn with_times(mut self) -> Manifest {
        self.exact_times = true;
        self
    }

    /// The first difference, in words; `None` if the trees are equal.
    pub(crate) fn difference(&self, other: &Manifest) -> Option<String> {
        let exact = self.exact_times && other.exact_times;
        for (path, entry) in &self.entries {
            match other.entries.get(path) {
                None => return Some(format!("{path:?} is only on the left: {entry:?}")),
                Some(theirs) if entry.differs(theirs, exact) => {
                    return Some(format!("{path:?} differs\n  left  {entry:?}\n  right {theirs:?}"));
                }
                Some(_) => {}
            }
        }
        let extra = other.entries.iter().find(|(path, _)| !self.entries.contains_key(*path))?;
        Some(format!("{:?} is only on the right: {:?}", extra.0, extra.1))
    }

    fn visit(&mut self, root: &Path, path: &Path, inodes: &mut HashMap<u64, PathBuf>) {
        let full = root.join(path);
        let stat = sys::lstat(&full).unwrap_or_else(|error| panic!("lstat {full:?}: {error}"));
        let kind = sys::FileType::from_raw_mode(stat.st_mode);
        let content = match kind {
            sys::FileType::RegularFile => Content::Digest(digest(&full)),
            sys::FileType::Symlink => Content::Target(std::fs::read_link(&full).expect("a symlink").into_os_string()),
            _ => Content::None,
        };
        let entry = Entry {
            stat: comparable(&stat),
            content,
            xattrs: xattrs(&full),
            same_as: inodes.entry(stat.st_ino).or_insert_with(|| path.to_owned()).clone(),
            mtime: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        };
        // The root's own attributes belong to whoever made the folder.
        if !path.as_os_str().is_empty() {
            self.entries.insert(path.to_owned(), entry);
        }
        if kind.is_dir() {
            let listing = std::fs::read_dir(&full).unwrap_or_else(|error| panic!("read {full:?}: {error}"));
            let mut names: Vec<OsString> = listing.map(|entry| entry.expect("an entry").file_name()).collect();
            names.sort();
            for name in names {
                self.visit(root, &path.join(name), inodes);
            }
        }
    }
}

impl Entry {
    fn differs(&self, other: &Entry, exact_times: bool) -> bool {
        let mut other = other.clone();
        if !exact_times {
            other.mtime = self.mtime;
        }
        *self != other
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stat { mode, links, uid, gid, size, .. } = &self.stat;
        write!(f, "mode {mode:o} links {links} owner {uid}:{gid} size {size} mtime {:?}", self.mtime)?;
        write!(f, " {:?} xattrs {:?} first name {:?}", self.content, self.xattrs, self.same_as)
    }
}

fn digest(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    std::fs::read(path).unwrap_or_else(|error| panic!("read {path:?}: {error}")).hash(&mut hasher);
    hasher.finish()
}

fn xattrs(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let names = xattr_names(path).unwrap_or_default();
    let value = |name: &OsString| {
        let mut value = vec![0; 64 * 1024];
        let length = sys::lgetxattr(path, name.as_os_str(), &mut value).expect("a listed attribute can be read");
        value.truncate(length);
        value
    };
    names.iter().map(|name| (name.clone(), value(name))).collect()
}
