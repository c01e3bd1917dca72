//! Esker as a user without a running engine calls it: the command starts one, which is measured too and stopped afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use vfs_core::{Error, Kind, Result};

use super::super::command::{program, run};
use super::measure::{self, Cost};
use super::tool::{Place, Tool, bytes_below};

/// The key of the benchmark's repositories.
const KEY: &str = "4553b3e1f0a92c7788d1c4e65a3f90127bce04d8f6a13592e7b80c46d15f2a93";
const WORKSPACE: &str = "bench";

/// The program that is measured.
#[derive(Debug, Clone)]
pub(super) struct Program(PathBuf);

impl Program {
    /// This one, unless another is named.
    pub(super) fn find(named: Option<&Path>) -> Result<Program> {
        let path = match named {
            Some(path) => fs::canonicalize(path),
            None => std::env::current_exe(),
        };
        path.map(Program).map_err(|error| Error::io("cannot find the program to measure", error))
    }

    /// A command of it on this data folder.
    pub(super) fn command(&self, data: &Path) -> Command {
        let mut command = program(&self.0, Path::new("/"));
        for name in ["ESKER_ENGINE", "ESKER_TOKEN", "ESKER_KEY", "ESKER_KEY_FILE"] {
            command.env_remove(name);
        }
        command.arg("--data").arg(data);
        command
    }
}

/// Its store.
pub(super) struct Esker {
    pub(super) program: Program,
    pub(super) encrypt: bool,
}

impl Esker {
    fn command(&self, place: &Place) -> Result<Command> {
        let mut command = self.program.command(&place.repository());
        command.env("HOME", place.home());
        if self.encrypt {
            command.env("ESKER_KEY_FILE", self.key_file(place)?);
        }
        Ok(command)
    }

    fn key_file(&self, place: &Place) -> Result<PathBuf> {
        let path = place.home().join("key");
        let text = format!("{KEY}\n");
        fs::write(&path, text).map_err(|error| Error::io("cannot write a key", error))?;
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .map_err(|error| Error::io("cannot keep a key", error))?;
        Ok(path)
    }

    /// Runs a command without an engine before it, and adds what its engine took.
    fn measured(&self, place: &Place, command: &mut Command) -> Result<Cost> {
        let mut cost = measure::run(command)?;
        let (processor, peak) = measure::of_process(engine_of(&place.repository())?)?;
        cost.processor_seconds += processor;
        cost.peak_bytes += peak;
        run(self.command(place)?.arg("shutdown"))?;
        Ok(cost)
    }
}

/// The process of the engine that runs on a data folder.
pub(super) fn engine_of(data: &Path) -> Result<u32> {
    let path = data.join("engine.json");
    let text = fs::read(&path).map_err(|error| Error::io(format!("cannot read {}", path.display()), error))?;
    let info: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let pid = info["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    pid.ok_or_else(|| Error::new(Kind::Internal, format!("{} names no process", path.display())))
}

impl Tool for Esker {
    fn name(&self) -> &'static str {
        "esker"
    }

    fn version(&self) -> Result<String> {
        let said = run(program(&self.program.0, Path::new("/")).arg("--version"))?;
        let own = std::env::current_exe().is_ok_and(|own| own == self.program.0);
        let build = match own {
            true if cfg!(debug_assertions) => "an unoptimised build: times say little",
            true => "release build",
            false => "a program that was named",
        };
        Ok(format!("{}, {build}", String::from_utf8_lossy(&said).trim()))
    }

    fn setting(&self) -> String {
        let asked = if self.encrypt { "encryption asked for" } else { "encryption off" };
        format!("{asked}; with the start of an engine; stored: bucket and database")
    }

    fn prepare(&self, _place: &Place) -> Result<()> {
        // A command makes what it needs.
        Ok(())
    }

    fn backup(&self, place: &Place, tree: &Path) -> Result<Cost> {
        let mut command = self.command(place)?;
        command.arg("import").arg(tree).args(["--workspace", WORKSPACE]);
        self.measured(place, &mut command)
    }

    fn restore(&self, place: &Place, _tree: &Path, target: &Path) -> Result<Cost> {
        let mut command = self.command(place)?;
        command.args(["export", WORKSPACE]).arg(target);
        self.measured(place, &mut command)
    }

    /// The bucket and the database; logs and caches can be lost.
    fn stored(&self, place: &Place) -> Result<u64> {
        let repository = place.repository();
        let database = fs::metadata(repository.join("esker.db")).map_or(0, |file| file.len());
        let log = fs::metadata(repository.join("esker.db-wal")).map_or(0, |file| file.len());
        Ok(bytes_below(&repository.join("bucket"))? + database + log)
    }

    /// Whether the bucket is encrypted, as its config says and not as somebody asked.
    fn remark(&self, place: &Place) -> Option<String> {
        let config = fs::read(place.repository().join("bucket/config.json")).ok()?;
        let config: serde_json::Value = serde_json::from_slice(&config).ok()?;
        let encrypted = config["data_keys"].as_array().is_some_and(|keys| !keys.is_empty());
        let bucket = bytes_below(&place.repository().join("bucket")).ok()?;
        let state = if encrypted { "encrypted" } else { "not encrypted" };
        Some(format!("{state}; {:.1} MiB of it in the bucket", bucket as f64 / f64::from(1 << 20)))
    }
}
