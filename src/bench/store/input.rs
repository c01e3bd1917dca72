//! What is kept: a tree of sources that changes a little, and a mix of binaries.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use vfs_core::{Error, Kind, Result};

use super::super::command::{program, run};
use super::super::source::{registry_sources, take_files};
use super::Step;

/// One file in so many changes.
const CHANGED_EVERY: usize = 100;
/// Smaller files are no binaries worth the name.
const BINARY_MIN_BYTES: u64 = 16 << 10;
/// One file may not be a quarter of everything.
const BINARY_MAX_BYTES: u64 = 256 << 20;

/// A tree on disk.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) name: &'static str,
    pub(super) path: PathBuf,
    /// All its files, in the order of their paths.
    files: Vec<PathBuf>,
    pub(super) bytes: u64,
    /// Bytes of the files that the last change touched.
    pub(super) changed_bytes: u64,
    changes: bool,
}

impl Input {
    /// Sources: many small files.
    pub(super) fn source(scratch: &Path, from: Option<&Path>, wanted: usize) -> Result<Input> {
        let path = folder(scratch, "source")?;
        eprintln!("preparing {wanted} source files (not timed)");
        let from = match from {
            Some(from) => from.to_owned(),
            None => registry_sources()?,
        };
        take_files(&from, &path, wanted)?;
        Input::of("source tree", path, true)
    }

    /// Binaries of this machine: its libraries, programs and toolchains. The same ones on the same machine.
    pub(super) fn binaries(scratch: &Path, bytes: u64) -> Result<Input> {
        let path = folder(scratch, "binaries")?;
        eprintln!("preparing {} MiB of binaries (not timed)", bytes >> 20);
        let mut found = Vec::new();
        for root in binary_roots() {
            collect(&root, &mut found)?;
        }
        found.sort_by_key(|file| (scattered(file), file.clone()));
        let (mut taken, mut seen) = (0, HashSet::new());
        for (number, file) in found.iter().enumerate() {
            let Ok(metadata) = fs::metadata(file) else { continue };
            let fits = (BINARY_MIN_BYTES..=BINARY_MAX_BYTES.min(bytes / 4)).contains(&metadata.len());
            if !fits || taken + metadata.len() > bytes || !seen.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            let name = file.file_name().unwrap_or(OsStr::new("file")).to_string_lossy().into_owned();
            // A file that may not be read is not of the mix.
            if fs::copy(file, path.join(format!("{number:06}-{name}"))).is_ok() {
                taken += metadata.len();
            }
        }
        Input::of("binaries", path, false)
    }

    fn of(name: &'static str, path: PathBuf, changes: bool) -> Result<Input> {
        let mut files = Vec::new();
        collect(&path, &mut files)?;
        files.sort();
        if files.is_empty() {
            return Err(Error::new(Kind::NotFound, format!("{} holds no files", path.display())));
        }
        let bytes = files.iter().filter_map(|file| fs::metadata(file).ok()).map(|metadata| metadata.len()).sum();
        Ok(Input { name, path, files, bytes, changed_bytes: 0, changes })
    }

    /// What is measured with it.
    pub(super) fn steps(&self) -> &'static [Step] {
        match self.changes {
            true => &[Step::First, Step::Again, Step::Changed, Step::Restore],
            false => &[Step::First, Step::Again, Step::Restore],
        }
    }

    /// As the tables call it.
    pub(super) fn describe(&self) -> String {
        format!("{}: {} files, {:.1} MiB", self.name, self.files.len(), self.bytes as f64 / f64::from(1 << 20))
    }

    /// A line more in the middle of one file in a hundred, in other files each time.
    pub(super) fn change(&mut self, run: u32) -> Result<()> {
        self.changed_bytes = 0;
        for file in self.files.iter().skip(run as usize * 7 % CHANGED_EVERY).step_by(CHANGED_EVERY) {
            let failed = |error| Error::io(format!("cannot change {}", file.display()), error);
            let content = fs::read(file).map_err(failed)?;
            let (before, after) = content.split_at(content.len() / 2);
            let line = format!("\n// changed in repetition {run}\n");
            let changed = [before, line.as_bytes(), after].concat();
            fs::write(file, &changed).map_err(failed)?;
            self.changed_bytes += changed.len() as u64;
        }
        Ok(())
    }

    /// Reads everything once, so that nobody is the first.
    pub(super) fn warm(&self) -> Result<()> {
        let mut buffer = vec![0; 1 << 20];
        for path in &self.files {
            let failed = |error| Error::io(format!("cannot read {}", path.display()), error);
            let mut file = fs::File::open(path).map_err(failed)?;
            while file.read(&mut buffer).map_err(failed)? > 0 {}
        }
        Ok(())
    }

    /// Whether a restored tree holds the same names and contents.
    pub(super) fn verify(&self, restored: &Path) -> Result<()> {
        let same =
            run(program("diff", Path::new("/")).args(["-r", "--no-dereference", "-q"]).arg(&self.path).arg(restored));
        same.map(drop).map_err(|error| Error::corrupt("what was restored is not what was kept").because(error))
    }

    pub(super) fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.path).map_err(|error| Error::io("cannot remove an input", error))
    }
}

fn folder(scratch: &Path, name: &str) -> Result<PathBuf> {
    let path = scratch.join(name);
    fs::create_dir(&path).map_err(|error| Error::io(format!("cannot make {}", path.display()), error))?;
    Ok(path)
}

fn binary_roots() -> Vec<PathBuf> {
    let home = std::env::home_dir().unwrap_or_default();
    let toolchains =
        std::env::var_os("RUSTUP_HOME").map_or_else(|| home.join(".rustup"), PathBuf::from).join("toolchains");
    [PathBuf::from("/usr/lib"), PathBuf::from("/usr/bin"), PathBuf::from("/usr/local/lib"), toolchains]
        .into_iter()
        .filter(|root| root.is_dir())
        .collect()
}

/// All files below a folder, without following links; what may not be listed is left out.
fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Ok(()),
        Err(error) => return Err(Error::io(format!("cannot list {}", folder.display()), error)),
    };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            collect(&entry.path(), found)?;
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// A place in an order that mixes folders and kinds, the same each time.
fn scattered(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}
