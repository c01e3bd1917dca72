//! The process between the harness and a command: it starts the sandbox, keeps the output, ends what takes too long, and
//! writes down how it ended. It has a session of its own and goes on when the harness dies.
//!
//! Keeps true: `started` is on disk before the command can do anything; `end.json` appears whole, after the output is on
//! disk; while the runner lives, the lock that it was given as its standard input is held. So whoever comes later knows
//! which of "never ran", "runs", "ended so" and "nobody knows" is the case.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use super::command::{End, Reason};
use super::tasks::{Limit, tasks_inside, tasks_of_machine};
use crate::tools::limits::{CWD_BYTES_MAX, DRAIN_PATIENCE, OPEN_FILES_MAX, OUTPUT_BYTES_MAX, TASKS_MAX, WATCH_TICK};

/// The hidden command of `esker` that is this process.
pub const NAME: &str = "sandbox-runner";

/// The order to the runner.
pub(super) const ORDER: &str = "order.json";
/// The text of the command.
pub(super) const COMMAND: &str = "command";
/// Held by the runner while it lives.
pub(super) const LOCK: &str = "lock";
/// There as soon as the command may have done something.
pub(super) const STARTED: &str = "started";
/// What the command said.
pub(super) const OUTPUT: &str = "output";
/// Put there by who wants the command to end.
pub(super) const INTERRUPT: &str = "interrupt";
/// How it ended.
pub(super) const END: &str = "end.json";

/// What the runner is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Program and arguments of the sandbox, as bytes: paths need not be UTF-8.
    pub(super) sandbox: Vec<Vec<u8>>,
    /// The shell inside.
    pub(super) shell: String,
    /// Where the command begins.
    pub(super) current: String,
    /// Where it begins if that is gone.
    pub(super) fallback: String,
    /// How long it may run, in milliseconds.
    pub(super) timeout_ms: u64,
}

/// Runs the order in a folder to its end. The whole life of the runner's process.
pub fn main(folder: &Path) -> io::Result<()> {
    // Fails only for a leader of a process group, which a terminal's signals do not reach either.
    let _ = rustix::process::setsid();
    leave_keyring()?;
    let order: Order = serde_json::from_slice(&fs::read(folder.join(ORDER))?)?;
    let began = Instant::now();
    let output = private(&folder.join(OUTPUT))?;
    put(folder, STARTED, b"")?;
    let _limit = Limit::enter();
    let end = match Running::start(&order, folder, output) {
        Ok(running) => running.watch(began, Duration::from_millis(order.timeout_ms), &folder.join(INTERRUPT)),
        Err(error) => End::failed(format!("the sandbox cannot be started: {error}")),
    };
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    put(folder, END, &serde_json::to_vec(&End { duration_ms, ..end })?)
}

/// Keys that the caller's session keeps in the kernel are no business of a command.
fn leave_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for a fresh, anonymous keyring; nothing is read or written through the pointer.
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
    let error = io::Error::last_os_error();
    // A kernel without keys has none to hide.
    if joined < 0 && error.raw_os_error() != Some(libc::ENOSYS) { Err(error) } else { Ok(()) }
}

/// Writes a file so that it is whole or not there, and stays there.
pub(super) fn put(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let fresh = folder.join(format!("{name}.new"));
    let mut file = private(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, folder.join(name))?;
    File::open(folder)?.sync_all()
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)
}

/// A sandbox and the threads that listen to it.
struct Running {
    pid: u32,
    ended: Receiver<io::Result<ExitStatus>>,
    output: Receiver<io::Result<u64>>,
    control: Said,
    tasks_before: u64,
}

impl Running {
    fn start(order: &Order, folder: &Path, output: File) -> io::Result<Running> {
        let (from_output, to_output) = io::pipe()?;
        let (from_control, to_control) = io::pipe()?;
        // The command's shell says through it that it began and where it ended; nothing else is inherited.
        rustix::io::fcntl_setfd(&to_control, rustix::io::FdFlags::empty())?;
        let control = to_control.as_raw_fd();
        let mut sandbox = order.sandbox.iter().map(|bytes| {
            let bytes: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(bytes);
            bytes
        });
        let program = sandbox.next().ok_or_else(|| io::Error::other("the order names no sandbox"))?;
        let tasks_before = tasks_of_machine();
        let child = Command::new(program)
            .args(sandbox)
            .args(["--", &order.shell, "-c", &script(control, &order.fallback), &order.shell, &order.current])
            .env_clear()
            .current_dir("/")
            .stdin(File::open(folder.join(COMMAND))?)
            .stdout(to_output.try_clone()?)
            .stderr(to_output)
            .spawn()?;
        drop(to_control);
        Ok(Running {
            pid: child.id(),
            ended: wait(child),
            output: keep(from_output, output),
            control: listen(from_control),
            tasks_before,
        })
    }

    /// Waits for the end, or makes one.
    fn watch(self, began: Instant, timeout: Duration, interrupt: &Path) -> End {
        let deadline = began + timeout;
        let mut reason = Reason::Exited;
        let status = loop {
            match self.ended.recv_timeout(WATCH_TICK) {
                Ok(status) => break status,
                Err(RecvTimeoutError::Disconnected) => break Err(io::Error::other("nobody waits for the sandbox")),
                Err(RecvTimeoutError::Timeout) if reason != Reason::Exited => {}
                Err(RecvTimeoutError::Timeout) if interrupt.exists() => {
                    reason = Reason::Interrupted;
                    self.kill();
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                    reason = Reason::TimedOut;
                    self.kill();
                }
                Err(RecvTimeoutError::Timeout) if self.has_too_many_tasks() => {
                    reason = Reason::TooManyTasks;
                    self.kill();
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        // Something that was left behind may keep the pipe open; what was said by then counts.
        let control = self.control.wait(DRAIN_PATIENCE);
        let (output_bytes, problem) = match self.output.recv_timeout(DRAIN_PATIENCE) {
            Ok(Ok(bytes)) => (bytes, String::new()),
            Ok(Err(error)) => (0, format!("The rest of the output could not be kept: {error}")),
            Err(_) => (0, String::new()),
        };
        // From here on the command may have done something: only the sandbox's own word that it did not makes it one
        // that may run again.
        let Ok(status) = status else {
            return End { reason: Reason::Unknown, ..End::failed("its end was not seen".into()) };
        };
        let (control, control_ended) = control;
        let mut lines = control.split(|byte| *byte == b'\n');
        let began = lines.next() == Some(b"began");
        if !began && reason == Reason::Exited {
            let failed = End::failed("the sandbox did not start the command".into());
            return if control_ended { failed } else { End { reason: Reason::Unknown, ..failed } };
        }
        let current = lines.next().and_then(|line| String::from_utf8(line.to_vec()).ok());
        let current = current.filter(|line| line.starts_with('/'));
        End { reason, code: code(status), current, output_bytes, duration_ms: 0, problem }
    }

    /// The sandbox dies with its parent's process, and everything in it with the sandbox's first process.
    fn kill(&self) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }

    /// The machine's count is one read; only if that has grown, the sandbox's own tasks are counted.
    fn has_too_many_tasks(&self) -> bool {
        tasks_of_machine() > self.tasks_before + TASKS_MAX
            && tasks_inside(self.pid).is_none_or(|count| count > TASKS_MAX)
    }
}

/// What runs inside: says that it began, runs the command with nothing to read, and says where it ended if it went well.
fn script(control: i32, fallback: &str) -> String {
    format!(
        "echo began >&{control}; ulimit -c 0; ulimit -n {OPEN_FILES_MAX} 2>/dev/null; ulimit -u {} 2>/dev/null; \
         echo 800 2>/dev/null >/proc/self/oom_score_adj; cd -- \"$1\" 2>/dev/null || cd {fallback}; \
         __command=$(cat); set --; \
         eval \"$__command\" {control}>&- </dev/null && {{ pwd -P >&{control} 2>/dev/null || true; }}",
        2 * TASKS_MAX
    )
}

/// A command that was killed by a signal has the status that shells give it.
fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}

fn wait(mut child: Child) -> Receiver<io::Result<ExitStatus>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(child.wait()));
    receiver
}

/// Copies the output into its file up to the limit, reads on to the end, and says how much it was.
fn keep(mut from: impl Read + Send + 'static, mut to: File) -> Receiver<io::Result<u64>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut copy = || {
            let (mut total, mut piece) = (0_u64, vec![0; 64 * 1024]);
            loop {
                let length = from.read(&mut piece)?;
                if length == 0 {
                    to.sync_all()?;
                    return Ok(total);
                }
                let room = usize::try_from(OUTPUT_BYTES_MAX.saturating_sub(total)).unwrap_or(0);
                to.write_all(&piece[..length.min(room)])?;
                total += length as u64;
            }
        };
        sender.send(copy())
    });
    receiver
}

/// What came through a pipe so far.
struct Said {
    pieces: Receiver<Vec<u8>>,
}

impl Said {
    /// Everything up to the end of the pipe, and whether that came within the time.
    fn wait(&self, patience: Duration) -> (Vec<u8>, bool) {
        let until = Instant::now() + patience;
        let mut all = Vec::new();
        loop {
            match self.pieces.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(piece) => all.extend(piece),
                Err(RecvTimeoutError::Disconnected) => return (all, true),
                Err(RecvTimeoutError::Timeout) => return (all, false),
            }
        }
    }
}

fn listen(from: impl Read + Send + 'static) -> Said {
    let (sender, pieces) = channel();
    std::thread::spawn(move || {
        let (mut from, mut piece) = (from.take(CWD_BYTES_MAX), [0; 4096]);
        while let Ok(length @ 1..) = from.read(&mut piece) {
            if sender.send(piece[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    Said { pieces }
}
