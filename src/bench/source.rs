//! Real files to work on: the sources in cargo's registry, or a folder that somebody names.

use std::fs;
use std::path::{Path, PathBuf};

use vfs_core::{Error, Kind, Result};

use super::command::{program, run};

pub(super) fn registry_sources() -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let sources = home.map(|home| home.join("registry/src")).filter(|path| path.is_dir());
    sources.ok_or_else(|| {
        Error::new(Kind::NotFound, "there are no crate sources here: name a folder of real files with --source")
    })
}

/// Copies whole subfolders in order of their names until there are enough files.
pub(super) fn take_files(from: &Path, to: &Path, wanted: usize) -> Result<usize> {
    let found = run(program("find", from).args([".", "-type", "f", "-print0"]))?;
    let mut names: Vec<&[u8]> = found.split(|&byte| byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.truncate(wanted);
    let list = to.with_extension("list");
    fs::write(&list, names.join(&0)).map_err(|error| Error::io("cannot write a list", error))?;
    let pack =
        program("tar", from).args(["--null", "-cf", "-", "-T"]).arg(&list).stdout(std::process::Stdio::piped()).spawn();
    let mut pack = pack.map_err(|error| Error::io("tar does not start", error))?;
    let stream = pack.stdout.take().ok_or_else(|| Error::new(Kind::Internal, "tar has no output"))?;
    run(program("tar", to).args(["-xf", "-"]).stdin(stream))?;
    pack.wait().map_err(|error| Error::io("tar does not end", error))?;
    if names.is_empty() {
        return Err(Error::new(Kind::NotFound, format!("{} has no files", from.display())));
    }
    Ok(names.len())
}
