//! `esker bench`: everyday programs on a mount against local ext4, and the store against programs for backups.
//!
//! Everything is prepared before it is timed, sides alternate within one run, nothing needs a network. Wall-clock times of one
//! machine: read ratios. Knows `esker` and the others from outside, as a user does; only what has no command is called in process.

mod command;
mod machine;
mod mount;
mod source;
mod store;

use std::fs;
use std::path::{Path, PathBuf};

use vfs_core::{Error, Result};

pub(crate) use mount::BenchMount;
pub(crate) use mount::run as run_mount;
pub(crate) use store::BenchStore;
pub(crate) use store::run as run_store;

/// Repetitions beyond which nobody learns anything more.
const RUNS_MAX: u32 = 100;

/// A folder of this benchmark, removed at the end.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    /// A fresh one in this folder.
    fn new(parent: &Path) -> Result<Scratch> {
        let path = parent.join(format!("esker-bench-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| Error::io(format!("cannot make {}", path.display()), error))?;
        Ok(Scratch(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Prints the result, and writes it into the files that were asked for.
fn publish(
    as_json: &str,
    as_markdown: &str,
    json_file: &Option<PathBuf>,
    markdown_file: &Option<PathBuf>,
    json: bool,
) -> Result<()> {
    for (file, text) in [(json_file, as_json), (markdown_file, as_markdown)] {
        if let Some(file) = file {
            fs::write(file, text).map_err(|error| Error::io(format!("cannot write {}", file.display()), error))?;
        }
    }
    print!("{}", if json { as_json } else { as_markdown });
    Ok(())
}
