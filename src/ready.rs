//! How a process is started in the background: own session, log file, and a pipe that says "ready" or why not.
//!
//! The pipe is the child's standard output, so no descriptor number has to be passed on. The child writes one line
//! to it and then puts its log file in its place. A child that dies before that line closes the pipe, and the last
//! line of its log says why.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vfs_core::{Error, Kind};

use crate::exit::{Code, Failure, Outcome};

/// A log file that is longer when a process starts is set aside as `.old`, so that logs stay bounded.
const LOG_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// So much of the end of a log is read to find its last line.
const LOG_TAIL_BYTES: u64 = 4096;

/// The one line that a child says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// It works.
    Ready(serde_json::Value),
    /// It does not.
    Failed { kind: String, message: String, exit: u8 },
}

/// Starts `esker` with `arguments` in the background and waits until it is ready; gives back what it said.
pub(crate) fn start(arguments: &[OsString], log: &Path, patience: Duration) -> Outcome<serde_json::Value> {
    start_with(arguments, None, log, patience)
}

/// The same with the token of an engine elsewhere, which no command line shows.
pub(crate) fn start_with(
    arguments: &[OsString],
    token: Option<&str>,
    log: &Path,
    patience: Duration,
) -> Outcome<serde_json::Value> {
    let log_file = open_log(log)?;
    let (reader, writer) = std::io::pipe().map_err(|error| Error::io("cannot make a pipe", error))?;
    let mut command = Command::new(program());
    // It outlives the caller; the model's key must not.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ANTHROPIC_")) {
        command.env_remove(name);
    }
    let child = command
        .args(arguments)
        .envs(token.map(|token| ("ESKER_TOKEN", token)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(log_file)
        .spawn()
        .map_err(|error| Error::io("cannot start esker in the background", error))?;
    let pid = child.id();
    reap(child);
    match first_line(reader, patience) {
        Some(Ok(line)) if !line.is_empty() => answer(&line),
        Some(_) => Err(Failure::new(
            Kind::Unavailable,
            format!("the process ended before it was ready: {} (log: {})", last_line(log), log.display()),
        )),
        None => Err(Failure::new(
            Kind::Unavailable,
            format!(
                "process {pid} is not ready after {} s: {} (log: {})",
                patience.as_secs(),
                last_line(log),
                log.display()
            ),
        )),
    }
}

/// The child's side: leaves the caller's session. Signals of the caller's terminal do not reach it any more.
pub(crate) fn leave_session() {
    // Fails only for the leader of a process group, which then has a session of its own or was started by a shell.
    let _ = rustix::process::setsid();
}

/// The child's side: it works. From here on, standard output is the log.
pub(crate) fn say_ready(value: &serde_json::Value) -> Outcome {
    say(&Line::Ready(value.clone()))
}

/// The child's side: it does not.
pub(crate) fn say_failed(failure: &Failure) {
    let kind = failure.kind().as_str().to_owned();
    let _ = say(&Line::Failed { kind, message: failure.line(), exit: failure.code as u8 });
}

fn say(line: &Line) -> Outcome {
    let mut out = std::io::stdout().lock();
    let text = crate::print::json_line(line);
    // A caller that has given up is no reason to stop.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    rustix::stdio::dup2_stdout(std::io::stderr()).map_err(|error| Error::io("cannot close the pipe", error.into()))?;
    Ok(())
}

fn answer(line: &str) -> Outcome<serde_json::Value> {
    match serde_json::from_str(line) {
        Ok(Line::Ready(value)) => Ok(value),
        Ok(Line::Failed { kind, message, exit }) => {
            let kind = Kind::from_wire(&kind).unwrap_or(Kind::Internal);
            Err(Failure { code: Code::from_number(exit), error: Error::new(kind, message) })
        }
        Err(_) => Err(Failure::new(Kind::Unavailable, format!("the process in the background said {line:?}"))),
    }
}

/// Waits for a line on a thread of its own, because a pipe has no deadline.
fn first_line(reader: impl Read + Send + 'static, patience: Duration) -> Option<std::io::Result<String>> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(reader).read_line(&mut line);
        let _ = sender.send(read.map(|_| line.trim_end().to_owned()));
    });
    receiver.recv_timeout(patience).ok()
}

/// Collects the child when it ends, so that a caller that lives long keeps no zombie.
fn reap(mut child: Child) {
    std::thread::spawn(move || child.wait());
}

/// This program, also after its file was replaced by another version.
fn program() -> PathBuf {
    match std::env::current_exe() {
        Ok(path) if path.exists() => path,
        _ => PathBuf::from("/proc/self/exe"),
    }
}

fn open_log(path: &Path) -> Outcome<File> {
    if std::fs::metadata(path).is_ok_and(|found| found.len() > LOG_MAX_BYTES) {
        let _ = std::fs::rename(path, path.with_extension("log.old"));
    }
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    Ok(opened.map_err(|error| Error::io(format!("cannot open the log file {}", path.display()), error))?)
}

/// The last line of a log, for a message.
pub(crate) fn last_line(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut tail = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut tail)?;
        Ok(String::from_utf8_lossy(&tail).into_owned())
    };
    let tail = read().unwrap_or_default();
    tail.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("its log is empty").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_kind_and_code() {
        let line = crate::print::json_line(&Line::Failed { kind: "busy".into(), message: "taken".into(), exit: 4 });
        let failure = answer(&line).unwrap_err();
        assert_eq!((failure.kind(), failure.code, failure.line().as_str()), (Kind::Busy, Code::Busy, "taken"));
        let line =
            crate::print::json_line(&Line::Failed { kind: "unsupported".into(), message: String::new(), exit: 10 });
        assert_eq!(answer(&line).unwrap_err().code, Code::Newer);
        assert_eq!(answer("nonsense").unwrap_err().kind(), Kind::Unavailable);
    }

    #[test]
    fn waits_for_the_line_only_so_long() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"hello\nmore").unwrap();
        assert_eq!(first_line(reader, Duration::from_secs(5)).unwrap().unwrap(), "hello");
        let (silent, _writer) = std::io::pipe().unwrap();
        assert!(first_line(silent, Duration::from_millis(20)).is_none());
        let (closed, writer) = std::io::pipe().unwrap();
        drop(writer);
        assert_eq!(first_line(closed, Duration::from_secs(5)).unwrap().unwrap(), "");
    }

    #[test]
    fn the_last_line_of_a_log_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("x.log");
        assert_eq!(last_line(&log), "its log is empty");
        std::fs::write(&log, "first\nlast words\n\n").unwrap();
        assert_eq!(last_line(&log), "last words");
    }

    #[test]
    fn a_long_log_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("x.log");
        File::create(&log).unwrap().set_len(LOG_MAX_BYTES + 1).unwrap();
        open_log(&log).unwrap();
        assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);
        assert!(folder.path().join("x.log.old").exists());
    }
}
