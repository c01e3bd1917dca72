//! A session of an agent: `esker run` in a process that a test may kill, and what its turn log says.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use api::wire::session::{Event, Turn};

use super::command::wait;
use super::{Aimock, World};

/// The key of the model, which must be nowhere but in the process of the harness. Tests that run beside have others.
pub(crate) fn key() -> String {
    format!("sk-ant-esker-test-7f3a9c55e1-{}", std::process::id())
}

/// How long anything in a session may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// One session and the process that drives it, if one does.
pub(crate) struct Session<'w> {
    world: &'w World,
    url: String,
    workspace: String,
    model: String,
    options: Vec<String>,
    /// Its id, once it is known.
    id: Option<String>,
    child: Option<Child>,
}

impl<'w> Session<'w> {
    /// Starts a session on a workspace with a model of this name.
    pub(crate) fn start(world: &'w World, aimock: &Aimock, workspace: &str, model: &str, task: &str) -> Session<'w> {
        Session::with_options(world, &aimock.url, workspace, model, task, &[])
    }

    /// The same at any address, with more arguments for `esker run`.
    pub(crate) fn with_options(
        world: &'w World,
        url: &str,
        workspace: &str,
        model: &str,
        task: &str,
        options: &[&str],
    ) -> Session<'w> {
        let mut session = Session {
            world,
            url: url.to_owned(),
            workspace: workspace.to_owned(),
            model: model.to_owned(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            id: None,
            child: None,
        };
        session.child = Some(session.command(&["--workspace", workspace, task]).spawn().expect("esker run starts"));
        session
    }

    /// Goes on with the session in a new process.
    pub(crate) fn resume(&mut self) {
        assert!(self.child.is_none(), "still running");
        let id = self.id();
        self.child = Some(self.command(&["--resume", &id]).spawn().expect("esker run starts"));
    }

    /// From now on the model is at another address.
    pub(crate) fn at(&mut self, url: &str) {
        url.clone_into(&mut self.url);
    }

    /// The world it lives in.
    pub(crate) fn world(&self) -> &'w World {
        self.world
    }

    /// `esker run` with the key in its environment and its output in a file.
    pub(crate) fn command(&self, arguments: &[&str]) -> std::process::Command {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path()).expect("a log file");
        let mut command = self.world.command(["run"]);
        command
            .args(&self.options)
            .args(arguments)
            .env("ANTHROPIC_BASE_URL", &self.url)
            .env("ANTHROPIC_API_KEY", key())
            .env("ANTHROPIC_MODEL", &self.model)
            .env_remove("ANTHROPIC_AUTH_TOKEN")
            .env_remove("ANTHROPIC_CUSTOM_HEADERS")
            .stdout(Stdio::from(log.try_clone().expect("the log file twice")))
            .stderr(Stdio::from(log));
        command
    }

    fn log_path(&self) -> std::path::PathBuf {
        self.world.path(format!("run-{}.log", self.model))
    }

    /// What the processes of the session printed.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The process that drives it.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    /// Kills the harness as a crash would.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("running");
        assert!(child.try_wait().expect("a child").is_none(), "it had ended already: {}", self.describe());
        child.kill().expect("the harness can be killed");
        child.wait().expect("the harness ends");
    }

    /// Waits for the harness to end; its exit code.
    pub(crate) fn end(&mut self) -> i32 {
        let mut child = self.child.take().expect("running");
        match wait(&mut child, PATIENCE) {
            Some(status) => status.code().unwrap_or(-1),
            None => {
                let _ = child.kill();
                panic!("the session did not end within {PATIENCE:?}: {}", self.describe());
            }
        }
    }

    /// The same, where it must have gone well.
    #[track_caller]
    pub(crate) fn ends_well(&mut self) {
        let code = self.end();
        assert_eq!(code, 0, "{}", self.describe());
        let last = self.events().pop().expect("events");
        assert_eq!((&*last.kind, last.data["state"].as_str()), ("session.ended", Some("done")), "{}", self.describe());
    }

    /// The session's id: that of the only session on its workspace.
    pub(crate) fn id(&mut self) -> String {
        if let Some(id) = &self.id {
            return id.clone();
        }
        let start = Instant::now();
        loop {
            let sessions = self.world.ask(async |client| client.sessions(Some(&self.workspace)).await);
            if let Ok([session]) = sessions.as_deref() {
                return self.id.insert(session.id.clone()).clone();
            }
            assert!(start.elapsed() < PATIENCE, "no session on {}: {sessions:?}\n{}", self.workspace, self.output());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its turn log; empty while the engine is away.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        let id = self.id();
        let page = self.world.ask(async |client| client.events(&id, 0, 10_000).await);
        page.map(|page| page.events).unwrap_or_default()
    }

    /// Its turns that have ended.
    pub(crate) fn turns(&mut self) -> Vec<Turn> {
        let id = self.id();
        self.world.ask(async |client| client.turns(&id).await).expect("the turns")
    }

    /// Waits until the turn log has an event with this key.
    pub(crate) fn wait_for(&mut self, key: &str) {
        self.wait_until(key, |event| event.key == key);
    }

    /// Waits until the turn log has an event of this kind.
    pub(crate) fn wait_for_kind(&mut self, kind: &str) {
        self.wait_until(kind, |event| event.kind == kind);
    }

    fn wait_until(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) {
        let start = Instant::now();
        while !self.events().iter().any(&is_it) {
            let ended = self.child.as_mut().is_some_and(|child| child.try_wait().expect("a child").is_some());
            assert!(!ended && start.elapsed() < PATIENCE, "waited for {what} in vain: {}", self.describe());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What is known of it, for failures.
    pub(crate) fn describe(&mut self) -> String {
        let sessions = self.world.ask(async |client| client.sessions(Some(&self.workspace)).await).unwrap_or_default();
        let events = if sessions.is_empty() { Vec::new() } else { self.events() };
        let mut text = format!("session {:?} on {}\n{}\n", self.id, self.workspace, self.output());
        for event in &events {
            let data: String = event.data.to_string().chars().take(300).collect();
            let time = (event.time.seconds % 1000, event.time.nanos / 1_000_000);
            text += &format!("{:4} {time:?} {} {} {data}\n", event.sequence, event.turn, event.key);
        }
        text
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
