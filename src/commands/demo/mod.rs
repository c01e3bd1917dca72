//! `esker demo`: an agent at work in half a minute, without an account. Everything is real but the model: a small server
//! on this machine speaks the model's protocol and reads its lines from a script.
//!
//! The tour runs the same commands that a user would type, in processes of their own, and prints them.

mod project;
mod script;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use api::client::Client;
use api::wire::session::Session;
use harness::scripted;
use tokio::process::{Child, Command};
use vfs_core::{Error, Kind, Result};

use crate::cli::Demo;
use crate::context::Context;
use crate::exit::{Failure, Outcome};

/// The workspace that the agent works in.
const WORKSPACE: &str = "demo";
/// What the agent is asked to do.
const TASK: &str = "The tests fail. Find out why, fix it, and note down what you learned.";
/// So long until the agent has started the command in which it is killed: it takes seconds, a slow machine more.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the turn log is looked at meanwhile.
const POLL: Duration = Duration::from_millis(50);
/// Long enough for the command to be really under way.
const INTO_THE_COMMAND: Duration = Duration::from_millis(700);

/// A tour in a folder of its own.
struct Tour<'a> {
    context: &'a Context,
    exe: PathBuf,
    data: PathBuf,
    model: String,
}

/// Goes through the tour.
pub(crate) async fn run(context: &Context, options: Demo) -> Outcome {
    let data = data_folder(context, &options)?;
    let model = scripted::serve(script::script()).await?;
    let exe = std::env::current_exe().map_err(|error| Error::io("cannot find this program", error))?;
    let context = Context { data: crate::folder::DataFolder::find(Some(&data))?, ..context.clone() };
    let tour = Tour { context: &context, exe, data: data.clone(), model };
    let client = context.client().await?;
    if client.workspace(WORKSPACE).await.is_ok() {
        let line = format!("{} has a workspace {WORKSPACE} already: choose another --data folder", data.display());
        return Err(Failure::new(Kind::AlreadyExists, line));
    }
    tour.prepare().await?;
    let session = tour.work(&client).await?;
    tour.show(&session).await
}

/// The folder that the user named, or a fresh one that stays, so that everything can be looked at afterwards.
fn data_folder(context: &Context, options: &Demo) -> Outcome<PathBuf> {
    if options.here {
        return Ok(context.data.path().to_owned());
    }
    let mut chance = [0; 4];
    getrandom::fill(&mut chance)
        .map_err(|error| Error::new(Kind::Internal, "no random numbers").because(error.to_string()))?;
    let path = std::env::temp_dir().join(format!("esker-demo-{}", hex::encode(chance)));
    // Must not be there yet: others may write among the temporary files.
    let made = DirBuilder::new().mode(0o700).create(&path);
    made.map_err(|error| Error::io(format!("cannot make {}", path.display()), error))?;
    Ok(path)
}

impl Tour<'_> {
    /// A small project, a skill for everybody.
    async fn prepare(&self) -> Outcome {
        self.say("A small project whose tests fail, and a skill that the team shares:");
        let project = self.data.join("demo-project");
        project::write(&project)?;
        let skill = project::write_skill(&self.data)?;
        self.command(&["import", &text(&project), "--workspace", WORKSPACE]).await?;
        self.command(&["doc", "put", "skills/fix-tests/SKILL.md", &text(&skill), "--scope", "org"]).await
    }

    /// The agent works, is killed in the middle of a command, and goes on.
    async fn work(&self, client: &Client) -> Outcome<Session> {
        self.say("An agent works on it. Its loop runs here, outside of the sandbox; its commands run inside:");
        let mut child = self.start(&["run", "--workspace", WORKSPACE, TASK])?;
        let session = self.wait_for_call(client, &mut child, &scripted::call_id(script::KILLED_IN)).await?;
        tokio::time::sleep(INTO_THE_COMMAND).await;
        child.kill().await.map_err(|error| Error::io("cannot kill the agent", error))?;
        self.say(
            "kill -9: the agent is gone in the middle of its tests. The command runs on, the log is whole. It goes on:",
        );
        self.command(&["run", "--resume", &session.id]).await?;
        Ok(client.session(&session.id).await?)
    }

    /// What is left of it all.
    async fn show(&self, session: &Session) -> Outcome {
        self.say("Each turn that wrote something left a snapshot; this is what the session changed:");
        self.command(&["log", WORKSPACE]).await?;
        let first = self.first_snapshot().await?;
        self.command(&["diff", &format!("{WORKSPACE}@{first}"), WORKSPACE]).await?;
        self.say("The memory lives in the database, version by version, not in the sandbox:");
        self.command(&["doc", "log", "memories/project.md", "--scope", "agent/main"]).await?;
        self.command(&["doc", "get", "memories/project.md"]).await?;
        self.say("The same on a page, with the diff of every turn:");
        self.command(&["admin"]).await?;
        let data = self.data.display();
        self.context.printer.line(&format!(
            "\nLook on:   esker --data {data} session show {}\nClean up:  esker --data {data} shutdown; rm -r {data}",
            session.id
        ))
    }

    async fn first_snapshot(&self) -> Result<String> {
        let client = self.context.client().await.map_err(|failure| Error::new(failure.kind(), failure.line()))?;
        let rows = client.log(WORKSPACE, true, 1_000).await?;
        let imported = rows.iter().rev().nth(1).or(rows.last());
        imported
            .map(|row| row.snapshot.to_hex()[..12].to_owned())
            .ok_or_else(|| Error::new(Kind::NotFound, format!("the workspace {WORKSPACE} has no history")))
    }

    /// Waits until the turn log says that a call has started.
    async fn wait_for_call(&self, client: &Client, child: &mut Child, call: &str) -> Outcome<Session> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(session) = client.sessions(Some(WORKSPACE)).await?.into_iter().next() {
                let events = client.events(&session.id, 0, 1_000).await?.events;
                if events.iter().any(|event| event.kind == "tool.started" && event.tool_call == call) {
                    return Ok(session);
                }
            }
            if let Ok(Some(status)) = child.try_wait() {
                let line = format!("the agent ended before its time ({status}); what it said is above");
                return Err(Failure::new(Kind::Unavailable, line));
            }
            tokio::time::sleep(POLL).await;
        }
        Err(Failure::new(Kind::Unavailable, format!("the agent did not get to its tests in {} s", PATIENCE.as_secs())))
    }

    fn say(&self, line: &str) {
        let _ = self.context.printer.line(&format!("\n# {line}"));
    }

    /// Runs a command of ours to its end, as a user would.
    async fn command(&self, arguments: &[&str]) -> Outcome {
        let mut child = self.start(arguments)?;
        let status = child.wait().await.map_err(|error| Error::io("cannot wait for a command", error))?;
        if status.success() {
            return Ok(());
        }
        let line = format!("`esker {}` failed ({status}); what it said is above", arguments.join(" "));
        Err(Failure::new(Kind::Internal, line))
    }

    fn start(&self, arguments: &[&str]) -> Outcome<Child> {
        let shown: Vec<String> = arguments.iter().map(|argument| quoted(argument)).collect();
        self.context.printer.line(&format!("$ esker {}", shown.join(" ")))?;
        let mut command = Command::new(&self.exe);
        command.arg("--data").arg(&self.data).args(arguments);
        command
            .env("ANTHROPIC_BASE_URL", &self.model)
            .env("ANTHROPIC_API_KEY", "demo")
            .env_remove("ANTHROPIC_AUTH_TOKEN");
        command.env_remove("ESKER_ENGINE").stdin(Stdio::null()).kill_on_drop(true);
        Ok(command.spawn().map_err(|error| Error::io("cannot start a command", error))?)
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// An argument as one would type it.
fn quoted(argument: &str) -> String {
    if argument.contains(' ') { format!("\"{argument}\"") } else { argument.to_owned() }
}
