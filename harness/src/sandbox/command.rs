//! A command in the sandbox: started, waited for, found again.
//!
//! Each call has a folder, named by the call's id. Its state is in files (see `runner`), so that any process can tell what
//! became of it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use vfs_core::{Error, Kind, Result};

use super::runner::{COMMAND, END, INTERRUPT, LOCK, ORDER, OUTPUT, Order, STARTED, put};
use super::{Bind, Own, SHELL, Sandbox};
use crate::tools::limits::{OUTPUT_BYTES_MAX, RUNNER_GRACE, RUNNER_POLL};
use crate::tools::texts::machine_failed;

/// One command and its folder.
#[derive(Debug, Clone)]
pub struct Command {
    folder: PathBuf,
}

/// Why a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// By itself.
    Exited,
    /// It was killed when its time was over.
    TimedOut,
    /// It was killed because it made too many processes.
    TooManyTasks,
    /// It was killed because a person stopped the session.
    Interrupted,
    /// It did not begin: the sandbox said so before the command's first step.
    Failed,
    /// It may have begun, and its end was not seen.
    Unknown,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Why.
    pub reason: Reason,
    /// The status, as shells count: 128 and the signal if one killed it.
    pub code: i32,
    /// The current directory after it, if it went well.
    pub current: Option<String>,
    /// How much it said, also what was not kept.
    pub output_bytes: u64,
    /// How long it ran.
    pub duration_ms: u64,
    /// Why it did not begin, or what is missing of its output.
    pub problem: String,
}

impl End {
    pub(super) fn failed(problem: String) -> End {
        End { reason: Reason::Failed, code: 1, current: None, output_bytes: 0, duration_ms: 0, problem }
    }
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was never started.
    NeverRan,
    /// It ended.
    Ended(End),
    /// It began, and nobody saw its end: the machine or the runner died.
    Unknown,
}

/// What a command is given.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// Its text.
    pub text: &'a str,
    /// Where it begins.
    pub current: &'a str,
    /// Where it begins if that is gone.
    pub fallback: &'a str,
    /// How long it may run.
    pub timeout: Duration,
    /// What it sees.
    pub binds: &'a [Bind],
}

impl Command {
    /// The command of a call, in the folder of all calls. Ids come from a model, so the name is made of their hash.
    pub fn of_call(calls: &Path, id: &str) -> Command {
        let name = blake3::hash(id.as_bytes()).to_hex();
        Command { folder: calls.join(&name[..32]) }
    }

    /// Starts it and waits for its end. If the caller goes away, it runs on.
    pub async fn run(&self, sandbox: &Sandbox, wanted: &Wanted<'_>) -> Result<Fate> {
        let lock = self.prepare(sandbox, wanted)?;
        let mut runner = sandbox.runner.iter();
        let program = runner.next().ok_or_else(|| Error::new(Kind::Internal, "no runner is configured"))?;
        let mut child = tokio::process::Command::new(program)
            .args(runner)
            .arg(&self.folder)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(lock))
            .stdout(Stdio::null())
            .stderr(self.log()?)
            .spawn()
            .map_err(|error| machine_failed("cannot start the process that runs commands", error))?;
        let patience = wanted.timeout + RUNNER_GRACE;
        let waited = tokio::time::timeout(patience, child.wait()).await;
        if !matches!(waited, Ok(Ok(_))) {
            return Err(Error::new(Kind::Unavailable, "the process that runs a command does not end"));
        }
        self.look()
    }

    /// Finds out what became of it; waits while it runs.
    pub async fn recover(&self, patience: Duration) -> Result<Fate> {
        let until = Instant::now() + patience + RUNNER_GRACE;
        while self.is_running()? {
            if Instant::now() >= until {
                return Err(Error::new(Kind::Unavailable, "the process that runs a command does not end"));
            }
            tokio::time::sleep(RUNNER_POLL).await;
        }
        self.look()
    }

    /// Kills it and waits for its end, which is kept for who resumes. Fine if it does not run.
    pub async fn interrupt(&self) -> Result<()> {
        if !self.is_running()? {
            return Ok(());
        }
        put(&self.folder, INTERRUPT, b"").map_err(|error| self.failed(error))?;
        self.recover(Duration::ZERO).await.map(drop)
    }

    /// What it said, as far as that was kept.
    pub fn output(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match File::open(self.folder.join(OUTPUT)) {
            Ok(file) => file.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| self.failed(error))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Err(error) => return Err(self.failed(error)),
        };
        Ok(bytes)
    }

    /// Forgets it: its result is in the log.
    pub fn forget(&self) {
        if let Err(error) = fs::remove_dir_all(&self.folder)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {}: {error}", self.folder.display());
        }
    }

    /// Writes down what is to be done, and takes the lock that the runner will hold.
    fn prepare(&self, sandbox: &Sandbox, wanted: &Wanted<'_>) -> Result<File> {
        self.forget();
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(|error| self.failed(error))?;
        let own = Own::make(&self.folder)?;
        let arguments = sandbox.arguments(wanted.binds, &own);
        let program = std::iter::once(sandbox.bubblewrap.as_os_str());
        let all = program.chain(arguments.iter().map(|argument| argument.as_os_str()));
        let order = Order {
            sandbox: all.map(|argument| argument.as_bytes().to_vec()).collect(),
            shell: SHELL.to_owned(),
            current: wanted.current.to_owned(),
            fallback: wanted.fallback.to_owned(),
            timeout_ms: u64::try_from(wanted.timeout.as_millis()).unwrap_or(u64::MAX),
        };
        let order = serde_json::to_vec(&order)
            .map_err(|error| Error::new(Kind::Internal, "an order cannot be written").because(error))?;
        // Not synced: without `started`, which is, they mean nothing.
        let written = fs::write(self.folder.join(COMMAND), wanted.text);
        written.and_then(|()| fs::write(self.folder.join(ORDER), &order)).map_err(|error| self.failed(error))?;
        let lock = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(self.folder.join(LOCK));
        let lock = lock.map_err(|error| self.failed(error))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| self.failed(error.into()))?;
        Ok(lock)
    }

    fn log(&self) -> Result<File> {
        File::create(self.folder.join("runner.log")).map_err(|error| self.failed(error))
    }

    /// Whether a runner lives: it holds the lock.
    fn is_running(&self) -> Result<bool> {
        let lock = match File::open(self.folder.join(LOCK)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(self.failed(error)),
        };
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(self.failed(error.into())),
        }
    }

    /// What its files say, now that no runner lives.
    fn look(&self) -> Result<Fate> {
        match fs::read(self.folder.join(END)) {
            Ok(bytes) => {
                let end: End = serde_json::from_slice(&bytes)
                    .map_err(|error| Error::new(Kind::Corrupt, "the end of a command makes no sense").because(error))?;
                match end.reason {
                    Reason::Failed => Err(self.not_begun(&end)),
                    Reason::Unknown => Ok(Fate::Unknown),
                    _ => Ok(Fate::Ended(end)),
                }
            }
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(self.failed(error)),
            Err(_) if self.folder.join(STARTED).exists() => Ok(Fate::Unknown),
            Err(_) => Ok(Fate::NeverRan),
        }
    }

    /// The sandbox did not come up: not the command's fault, and nothing has happened.
    fn not_begun(&self, end: &End) -> Error {
        let output = self.output().unwrap_or_default();
        let said = String::from_utf8_lossy(&output[..output.len().min(2000)]).trim().to_owned();
        self.forget();
        Error::new(Kind::Unavailable, format!("{}: {said}", end.problem))
    }

    fn failed(&self, error: std::io::Error) -> Error {
        machine_failed(format!("the folder {} of a command cannot be used", self.folder.display()), error)
    }
}
