//! The others: restic, borg and casync, as Debian ships them, with settings as near to Esker's as they have.

use std::path::{Path, PathBuf};
use std::process::Command;

use vfs_core::{Error, Kind, Result};

use super::super::command::{program, run};
use super::measure::{self, Cost};
use super::tool::{Place, Tool};

/// The first line of `--version`, or that the program is not there.
fn version_of(name: &str, argument: &str) -> Result<String> {
    let said = run(program(name, Path::new("/")).arg(argument)).map_err(|error| {
        Error::new(Kind::NotFound, format!("{name} is not installed: scripts/setup --bench")).because(error)
    })?;
    Ok(String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned())
}

/// Name of the tree below its parent.
fn name_of(tree: &Path) -> PathBuf {
    tree.file_name().map(PathBuf::from).unwrap_or_default()
}

/// restic: encrypted always, compressed as version 2 of its format does by default.
pub(super) struct Restic;

impl Restic {
    fn command(&self, place: &Place) -> Command {
        let mut command = program("restic", Path::new("/"));
        command.env("HOME", place.home()).env("RESTIC_CACHE_DIR", place.home().join("cache"));
        command.env("RESTIC_PASSWORD", "bench").arg("--repo").arg(place.repository());
        command
    }
}

impl Tool for Restic {
    fn name(&self) -> &'static str {
        "restic"
    }

    fn version(&self) -> Result<String> {
        version_of("restic", "version")
    }

    fn setting(&self) -> String {
        "encrypted (it cannot do without), compression auto".to_owned()
    }

    fn prepare(&self, place: &Place) -> Result<()> {
        run(self.command(place).args(["--quiet", "init"])).map(drop)
    }

    fn backup(&self, place: &Place, tree: &Path) -> Result<Cost> {
        measure::run(self.command(place).args(["--quiet", "backup"]).arg(tree))
    }

    fn restore(&self, place: &Place, _tree: &Path, target: &Path) -> Result<Cost> {
        measure::run(self.command(place).args(["--quiet", "restore", "latest", "--target"]).arg(target))
    }

    /// restic restores the whole path.
    fn restored(&self, tree: &Path, target: &Path) -> PathBuf {
        target.join(tree.strip_prefix("/").unwrap_or(tree))
    }
}

/// borg: encrypted, zstd.
pub(super) struct Borg;

impl Borg {
    fn command(&self, place: &Place, folder: &Path) -> Command {
        let mut command = program("borg", folder);
        command.env("HOME", place.home()).env("BORG_BASE_DIR", place.home()).env("BORG_PASSPHRASE", "bench");
        command
    }
}

impl Tool for Borg {
    fn name(&self) -> &'static str {
        "borg"
    }

    fn version(&self) -> Result<String> {
        version_of("borg", "--version")
    }

    fn setting(&self) -> String {
        "encrypted (repokey-blake2), zstd level 3".to_owned()
    }

    fn prepare(&self, place: &Place) -> Result<()> {
        run(self
            .command(place, Path::new("/"))
            .args(["init", "--encryption", "repokey-blake2"])
            .arg(place.repository()))
        .map(drop)
    }

    fn backup(&self, place: &Place, tree: &Path) -> Result<Cost> {
        let archive = format!("{}::{{now:%Y-%m-%dT%H:%M:%S.%f}}", place.repository().display());
        let parent = tree.parent().unwrap_or(Path::new("/"));
        let mut command = self.command(place, parent);
        measure::run(command.args(["create", "--compression", "zstd,3", &archive]).arg(name_of(tree)))
    }

    fn restore(&self, place: &Place, _tree: &Path, target: &Path) -> Result<Cost> {
        let listed = run(self.command(place, target).args(["list", "--short", "--last", "1"]).arg(place.repository()))?;
        let newest = String::from_utf8_lossy(&listed).trim().to_owned();
        let archive = format!("{}::{newest}", place.repository().display());
        measure::run(self.command(place, target).args(["extract", &archive]))
    }

    fn restored(&self, tree: &Path, target: &Path) -> PathBuf {
        target.join(name_of(tree))
    }
}

/// casync: compressed, never encrypted, and without a memory of what it saw.
pub(super) struct Casync;

impl Casync {
    fn command(&self, place: &Place, what: &str) -> Command {
        let mut command = program("casync", Path::new("/"));
        command
            .env("HOME", place.home())
            .arg(what)
            .arg(format!("--store={}", place.repository().join("store").display()));
        command
    }

    fn index(place: &Place) -> PathBuf {
        place.repository().join("newest.caidx")
    }
}

impl Tool for Casync {
    fn name(&self) -> &'static str {
        "casync"
    }

    fn version(&self) -> Result<String> {
        version_of("casync", "--version")
    }

    fn setting(&self) -> String {
        "not encrypted (it cannot), zstd; only its newest index is kept".to_owned()
    }

    fn prepare(&self, _place: &Place) -> Result<()> {
        Ok(())
    }

    fn backup(&self, place: &Place, tree: &Path) -> Result<Cost> {
        measure::run(self.command(place, "make").arg(Casync::index(place)).arg(tree))
    }

    fn restore(&self, place: &Place, _tree: &Path, target: &Path) -> Result<Cost> {
        measure::run(self.command(place, "extract").arg(Casync::index(place)).arg(target))
    }
}
