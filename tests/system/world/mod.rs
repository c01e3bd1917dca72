//! The test world: a fresh data folder, engines and mounts of the built binary, and guards that end them.
//!
//! Everything a test starts belongs to a [`World`] or a [`Mount`], whose drop kills and unmounts even when the test panics.
//! Processes are found by their command line, which names the world's own folder, so no other process is ever touched.

mod aimock;
mod command;
pub(crate) mod crooked;
mod mount;
#[path = "../../../vfs-core/src/testing/postgres.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a file of vfs-core's feature testing, which the program is built without"
)]
pub(crate) mod postgres;
mod proxy;
pub(crate) mod servers;
mod session;
mod source;

pub(crate) use aimock::{Aimock, Script, npm_file};
pub(crate) use command::{Done, Run};
pub(crate) use mount::Mount;
pub(crate) use proxy::Proxy;
pub(crate) use servers::{Server, fresh_bucket, moto, objects, seaweedfs};
pub(crate) use session::{Session, key};
pub(crate) use source::{crate_sources, same_tree};

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use api::client::{Client, Endpoint};
use tempfile::TempDir;

/// The program under test: the one built with these tests, or the one that `ESKER_TEST_BIN` names.
pub(crate) fn esker() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| match std::env::var_os("ESKER_TEST_BIN") {
        Some(program) => fs::canonicalize(program).expect("ESKER_TEST_BIN is there"),
        None => PathBuf::from(env!("CARGO_BIN_EXE_esker")),
    });
    &PROGRAM
}

/// How long starting or stopping a process may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A data folder of its own and everything that runs on it.
pub(crate) struct World {
    folder: TempDir,
    engine: Option<Child>,
    /// What every program of this world finds in its environment: where its bucket is, and the keys to it.
    environment: Vec<(String, String)>,
}

impl World {
    /// A world in which nothing runs yet. `None` if this machine cannot mount and skipping is allowed.
    pub(crate) fn with_mounts() -> Option<World> {
        can_mount().then(World::new)
    }

    /// A world for tests without mounts.
    pub(crate) fn new() -> World {
        let base = std::env::var_os("ESKER_TEST_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        // Short, because a Unix socket's path has 108 bytes.
        let folder = tempfile::Builder::new().prefix("eskt-").tempdir_in(base).expect("a folder for the test");
        fs::create_dir(folder.path().join("home")).expect("a home folder");
        World { folder, engine: None, environment: Vec::new() }
    }

    /// Gives the programs that start from now on one more variable.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// A path in this world's folder.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// An empty folder of this name.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("a folder in the test's folder");
        path
    }

    /// A program with this world's home, a fixed identity for git, and no network for cargo.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let home = std::env::var("HOME").unwrap_or_default();
        let mut command = Command::new(program);
        command
            .env("HOME", self.path("home"))
            .env("CARGO_HOME", std::env::var("CARGO_HOME").unwrap_or(format!("{home}/.cargo")))
            .env("RUSTUP_HOME", std::env::var("RUSTUP_HOME").unwrap_or(format!("{home}/.rustup")))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "Test")
            .env("GIT_AUTHOR_EMAIL", "test@example.invalid")
            .env("GIT_COMMITTER_NAME", "Test")
            .env("GIT_COMMITTER_EMAIL", "test@example.invalid")
            .env("GIT_CONFIG_COUNT", "2")
            .env("GIT_CONFIG_KEY_0", "init.defaultBranch")
            .env("GIT_CONFIG_VALUE_0", "main")
            .env("GIT_CONFIG_KEY_1", "safe.directory")
            .env("GIT_CONFIG_VALUE_1", "*")
            .env("CARGO_NET_OFFLINE", "true")
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("ESKER_DATA")
            .env_remove("XDG_DATA_HOME")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// `esker --data <this world> <arguments>`, ready to run.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.program(esker());
        command.arg("--data").arg(self.data()).args(arguments);
        command
    }

    /// Runs `esker` to its end, whatever that is.
    pub(crate) fn esker<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Done {
        self.command(arguments).run()
    }

    /// Takes a checkpoint and returns its snapshot.
    pub(crate) fn checkpoint(&self, workspace: &str, message: &str) -> String {
        let out = self.esker(["checkpoint", workspace, "-m", message]).ok().out;
        let id = out.trim().to_owned();
        assert!(!id.is_empty() && !id.contains(char::is_whitespace), "checkpoint prints the snapshot id, not {out:?}");
        id
    }

    /// Starts an engine of this world in the foreground, where a test wants to kill it, and waits until it answers.
    pub(crate) fn start_engine(&mut self) -> u32 {
        self.start_engine_with(&[])
    }

    /// The same with more arguments for `esker serve`.
    pub(crate) fn start_engine_with(&mut self, arguments: &[&str]) -> u32 {
        assert!(self.engine.is_none(), "one engine a world");
        let log = fs::File::create(self.path("serve.log")).expect("a log file");
        let child = self
            .command(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(log.try_clone().expect("the log file twice"))
            .stderr(log)
            .spawn()
            .expect("esker serve starts");
        let pid = child.id();
        self.engine = Some(child);
        self.wait_for("the engine's socket", |world| world.engine_answers());
        pid
    }

    /// Ends the engine that [`World::start_engine`] started, without asking it.
    pub(crate) fn kill_engine(&mut self) {
        let mut child = self.engine.take().expect("an engine was started");
        child.kill().expect("the engine can be killed");
        child.wait().expect("the engine ends");
    }

    /// The same while others use this world; [`World::kill_engine`] may follow.
    pub(crate) fn kill_engine_under_way(&self) {
        let engine = rustix::process::Pid::from_child(self.engine.as_ref().expect("an engine was started"));
        rustix::process::kill_process(engine, rustix::process::Signal::KILL).expect("the engine can be killed");
    }

    fn engine_answers(&self) -> bool {
        let Ok(text) = fs::read_to_string(self.data().join("engine.json")) else { return false };
        let Ok(info) = serde_json::from_str::<serde_json::Value>(&text) else { return false };
        let ours = self.engine.as_ref().map(|child| u64::from(child.id()));
        info["pid"].as_u64() == ours
            && info["socket"].as_str().is_some_and(|path| std::os::unix::net::UnixStream::connect(path).is_ok())
    }

    /// Waits until `ready`, or fails naming what was waited for, with the logs.
    pub(crate) fn wait_for(&self, what: &str, ready: impl Fn(&World) -> bool) {
        let start = Instant::now();
        while !ready(self) {
            if start.elapsed() > PATIENCE {
                panic!("waited {PATIENCE:?} for {what}\n{}", self.logs());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The ends of all log files, for failures.
    pub(crate) fn logs(&self) -> String {
        let mut text = String::new();
        for path in [self.path("serve.log"), self.data().join("engine.log")] {
            if let Ok(log) = fs::read_to_string(&path) {
                let tail: Vec<&str> = log.lines().rev().take(30).collect();
                text += &format!("--- {}\n", path.display());
                for line in tail.into_iter().rev() {
                    text += line;
                    text.push('\n');
                }
            }
        }
        text
    }

    /// Asks the engine through the API, starting one if none runs.
    pub(crate) fn ask<T>(&self, question: impl AsyncFnOnce(Client) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let socket = self.engine_socket().unwrap_or_else(|| {
            self.esker(["workspace", "list"]).ok();
            self.engine_socket().expect("an engine runs")
        });
        runtime.block_on(async { question(Client::new(Endpoint::Unix(socket)).expect("a client")).await })
    }

    /// The socket of the engine, if one answers.
    fn engine_socket(&self) -> Option<PathBuf> {
        let text = fs::read(self.data().join("engine.json")).ok()?;
        let info: serde_json::Value = serde_json::from_slice(&text).ok()?;
        let socket = PathBuf::from(info["socket"].as_str()?);
        std::os::unix::net::UnixStream::connect(&socket).is_ok().then_some(socket)
    }

    /// Unmounts a workspace wherever it is mounted in this world, as a person would.
    pub(crate) fn release(&self, workspace: &str) {
        for point in mount::mounts_below(self.folder.path()) {
            let status = self.command(["status", "--json"]).arg(&point).run();
            if status.code == 0 && status.json()["workspace"] == workspace {
                self.command(["unmount"]).arg(&point).run().ok();
            }
        }
    }

    /// Processes of the program under test whose command line or open lock names this world.
    pub(crate) fn processes(&self) -> Vec<i32> {
        mount::processes_naming(self.folder.path())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        mount::unmount_below(self.folder.path());
        // Again and again: a mount that loses its engine starts another one while we look.
        let start = Instant::now();
        loop {
            let running = self.processes();
            if running.is_empty() || start.elapsed() > PATIENCE {
                break;
            }
            for pid in running.into_iter().filter_map(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            if let Some(child) = &mut self.engine {
                let _ = child.try_wait();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if let Some(mut child) = self.engine.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        mount::unmount_below(self.folder.path());
    }
}

/// Whether this machine can mount; where skipping is not allowed (`ESKER_TEST_REQUIRE` or `CI`), a machine that cannot is a failure.
pub(crate) fn can_mount() -> bool {
    let fuse = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    match fuse {
        Ok(_) => true,
        Err(error) => {
            missing(&format!("/dev/fuse cannot be opened: {error}"));
            false
        }
    }
}

/// Whether a program is there; the same rule as [`can_mount`].
pub(crate) fn has_program(name: &str) -> bool {
    let found = find_program(name).is_some();
    if !found {
        missing(&format!("{name} is not installed: run scripts/setup"));
    }
    found
}

/// Where a program is that [`has_program`] found.
pub(crate) fn program_path(name: &str) -> String {
    find_program(name).expect("asked for after has_program").to_string_lossy().into_owned()
}

fn find_program(name: &str) -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".esker-tools/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain([tools]).map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn missing(what: &str) {
    let required =
        |name| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0" && value != "false");
    if required("ESKER_TEST_REQUIRE") || required("CI") {
        panic!("{what} (and a test may not be skipped here)");
    }
    eprintln!("skipped: {what}");
}
