//! What the benchmark asks of a program: keep this tree, give it back, say how much it keeps.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use vfs_core::{Error, Result};

use super::measure::Cost;

/// The folder of one program in one repetition: its repository, its caches, its home.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
}

impl Place {
    pub(super) fn new(scratch: &Path, name: &str) -> Result<Place> {
        let place = Place { folder: scratch.join(format!("at-{name}")) };
        for path in [place.folder.clone(), place.home(), place.repository()] {
            fs::create_dir(&path).map_err(|error| Error::io(format!("cannot make {}", path.display()), error))?;
        }
        Ok(place)
    }

    /// For caches and keys, which are not counted as stored.
    pub(super) fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// For what is stored.
    pub(super) fn repository(&self) -> PathBuf {
        self.folder.join("repository")
    }
}

/// A program that keeps trees. Esker and three peers; `tests.rs` has the same questions for all of them.
pub(super) trait Tool {
    /// As `--tool` and the tables name it.
    fn name(&self) -> &'static str;

    /// Its version, or why it cannot run here.
    fn version(&self) -> Result<String>;

    /// How it is set up, for whoever reads the table.
    fn setting(&self) -> String;

    /// Makes an empty repository; not timed.
    fn prepare(&self, place: &Place) -> Result<()>;

    /// Keeps the tree as it is now.
    fn backup(&self, place: &Place, tree: &Path) -> Result<Cost>;

    /// Writes the newest state of the tree that lay at `tree` into an empty folder.
    fn restore(&self, place: &Place, tree: &Path, target: &Path) -> Result<Cost>;

    /// Where in the folder the tree is after a restore.
    fn restored(&self, _tree: &Path, target: &Path) -> PathBuf {
        target.to_owned()
    }

    /// Bytes of everything that it needs to give the trees back.
    fn stored(&self, place: &Place) -> Result<u64> {
        bytes_below(&place.repository())
    }

    /// What else is to be said after a backup.
    fn remark(&self, _place: &Place) -> Option<String> {
        None
    }
}

/// The lengths of all files below a folder, each file once.
pub(super) fn bytes_below(folder: &Path) -> Result<u64> {
    let failed = |error| Error::io(format!("cannot measure {}", folder.display()), error);
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let metadata = entry.metadata().map_err(failed)?;
        bytes += if metadata.is_dir() {
            bytes_below(&entry.path())?
        } else if metadata.is_file() {
            metadata.len() / metadata.nlink().max(1)
        } else {
            0
        };
    }
    Ok(bytes)
}
