//! A local folder into objects, exactly: kinds, modes, owners, times, links, attributes, holes.
//!
//! ```text
//! walk      one thread: directories in order, beneath the root, no symlink followed
//! beside    the earlier snapshot beside it: what has to be read?
//! read      several threads: what each name is, file content cut into chunks
//! assemble  objects and trees, in order; inode numbers kept from an earlier snapshot
//! compare   has the folder changed since?
//! ```
//!
//! Memory is bounded: by the names of the directories between the root and the place that is read, by a fixed number of
//! files on their way, and by the inodes with several names. Nothing is written to the folder. A file that changes while it is
//! read is read again; if it never rests, it is stored as last read and reported.

pub mod archive;
mod assemble;
mod attributes;
mod beside;
mod compare;
mod read;
mod reuse;
mod settle;
mod walk;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use globset::GlobSet;

pub use compare::differences;

use crate::error::{Error, Kind, Result};
use crate::object::{Ino, Node, Snapshot, Subtree, Totals};
use crate::objects::NewObjects;
use crate::progress::OnProgress;

/// Where fresh inode numbers come from.
#[async_trait]
pub trait InoSource: Send + Sync {
    /// Takes `count` numbers that nobody has; returns the first.
    async fn take(&self, count: u64) -> Result<Ino>;
}

/// What of a folder is imported.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Paths relative to the folder that are left out, with everything below.
    pub excludes: GlobSet,
    /// Absolute paths that are left out and reported: data folders, mounts.
    pub skip: Vec<PathBuf>,
    /// Leave out what is on another file system than the folder.
    pub one_file_system: bool,
    /// Read every file, also those that look as they did in the earlier snapshot.
    pub reread: bool,
}

impl Default for ImportOptions {
    fn default() -> Self {
        ImportOptions { excludes: GlobSet::empty(), skip: Vec::new(), one_file_system: true, reread: false }
    }
}

/// How large a folder is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Names of any kind that would be imported, without the folder itself.
    pub names: u64,
    /// Bytes of the files, hard links once.
    pub bytes: u64,
    /// Names of each inode (device, number) that has several inside the folder.
    several: HashMap<(u64, u64), u64>,
}

/// What an import made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The root directory.
    pub root: Node,
    /// The link table.
    pub links: Option<Subtree>,
    /// Sums over all that was imported; files with several names count in [`Imported::links`].
    pub totals: Totals,
    /// What was left out, or not stored as it was, with the reason: for a warning each.
    pub skipped: Vec<(PathBuf, String)>,
}

/// Measures a folder, so that its size can be said before an import starts.
pub async fn scan(folder: &Path, options: &ImportOptions) -> Result<Scanned> {
    let (folder, options) = (folder.to_owned(), options.clone());
    let scanned = tokio::task::spawn_blocking(move || {
        let mut scan = walk::Scan::default();
        walk::walk(&folder, &options, &mut scan)?;
        Ok(scan.finish())
    });
    scanned.await.map_err(|error| Error::new(Kind::Internal, "the scan of a folder died").because(error))?
}

/// Imports `folder`. Inodes keep the number they have in `previous` where path and kind are the same, and what looks as it
/// did there is not read (see `beside`). The result counts on the objects of `previous`: publish it on top of that.
pub async fn import(
    objects: &dyn NewObjects,
    inos: &dyn InoSource,
    folder: &Path,
    previous: Option<&Snapshot>,
    options: &ImportOptions,
    progress: &OnProgress,
) -> Result<Imported> {
    let scanned = Arc::new(scan(folder, options).await?);
    let events = read::start(folder, options);
    assemble::assemble(objects, inos, previous, &scanned, events, options.reread, progress).await
}
