//! Running a program to its end with a deadline, and saying what came out when it was not what a test wanted.
//!
//! Output goes through files, so a detached engine that kept our pipe open could not hang a test; that it does not keep it
//! open is a test of its own.

use std::io::{Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// No ordinary command in these tests may take longer.
const DEADLINE: Duration = Duration::from_secs(280);

/// What a finished program left.
#[derive(Debug)]
pub(crate) struct Done {
    /// The exit code; 128 + signal for a killed one.
    pub(crate) code: i32,
    /// Standard output, made readable.
    pub(crate) out: String,
    /// Standard output as it was.
    pub(crate) bytes: Vec<u8>,
    /// Standard error, made readable.
    pub(crate) err: String,
    what: String,
}

impl Done {
    /// The same, if it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Done {
        assert_eq!(self.code, 0, "{self}");
        self
    }

    /// The same, if it failed with this code and said why in one line on standard error.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> Done {
        assert_eq!(self.code, code, "{self}");
        assert!(!self.err.contains("panicked"), "a panic is no answer: {self}");
        assert!(!self.err.trim().is_empty(), "a failure says why: {self}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cut = |text: &str| text.chars().take(4000).collect::<String>();
        write!(f, "{} → {}\nstdout: {}\nstderr: {}", self.what, self.code, cut(&self.out), cut(&self.err))
    }
}

/// Runs a command to its end.
pub(crate) trait Run {
    /// Runs it; its code, output and errors are the caller's to judge.
    fn run(&mut self) -> Done {
        self.run_within(DEADLINE)
    }

    /// The same with another deadline, for suites that take long.
    fn run_within(&mut self, deadline: Duration) -> Done;
}

impl Run for Command {
    fn run_within(&mut self, deadline: Duration) -> Done {
        let mut out = tempfile::tempfile().expect("a file for the output");
        let mut err = tempfile::tempfile().expect("a file for the errors");
        let what = format!("{:?} {:?}", self.get_program(), self.get_args().collect::<Vec<_>>());
        let mut child = self
            .stdout(Stdio::from(out.try_clone().expect("the output file twice")))
            .stderr(Stdio::from(err.try_clone().expect("the error file twice")))
            .spawn()
            .unwrap_or_else(|error| panic!("{what} does not start: {error}"));
        let status = wait(&mut child, deadline).unwrap_or_else(|| {
            let _ = child.kill();
            panic!("{what} did not end within {deadline:?}");
        });
        let mut bytes = read_back(&mut out);
        let err = String::from_utf8_lossy(&read_back(&mut err)).into_owned();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        bytes.shrink_to_fit();
        Done { code: code(status), out: text, bytes, err, what }
    }
}

/// Waits for a child, `None` after the deadline.
pub(crate) fn wait(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if start.elapsed() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(if start.elapsed() < Duration::from_millis(200) { 1 } else { 10 }));
    }
}

fn read_back(file: &mut std::fs::File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().expect("the output can be read again");
    file.read_to_end(&mut bytes).expect("the output can be read");
    bytes
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
