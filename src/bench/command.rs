//! Running a program quietly; if it fails, its last line of errors says why.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use vfs_core::{Error, Kind, Result};

/// A program in a folder, without a terminal and without a network where it can be told so.
pub(super) fn program(name: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(name);
    command.current_dir(folder).stdin(Stdio::null());
    for (key, value) in [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_AUTHOR_NAME", "Bench"),
        ("GIT_AUTHOR_EMAIL", "bench@example.invalid"),
        ("GIT_COMMITTER_NAME", "Bench"),
        ("GIT_COMMITTER_EMAIL", "bench@example.invalid"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("CARGO_NET_OFFLINE", "true"),
    ] {
        command.env(key, value);
    }
    command.env_remove("CARGO_TARGET_DIR").env_remove("RUSTC_WRAPPER");
    command
}

/// Runs it to its end and returns what it printed.
pub(super) fn run(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| Error::io(format!("{name} does not start"), error))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message");
    Err(Error::new(Kind::Unavailable, format!("{name} failed ({}): {last}", output.status)))
}
