//! The tools that models were trained on (Claude Code): Read, Write, Edit, Glob, Grep, Bash, Skill; over the routes of
//! decision 0014, against the API only.
//!
//! | file | what |
//! |---|---|
//! | `input` | schemas, and what is told of an input that does not fit |
//! | `texts` | the words of results |
//! | `shelf` | one way to look at, read and write files and documents |
//! | `seen` | what the session has read, for read-before-write |
//! | `read`, `write`, `edit`, `glob`, `grep`, `bash`, `skill` | one tool each |
//! | `documents` | the search of Glob and Grep in documents |
//!
//! Keeps true: nothing is written over what the session has not seen (the engine checks the tag that was read); a call
//! that has an effect can be asked afterwards whether it had it.

mod bash;
mod documents;
mod edit;
mod glob;
mod grep;
mod input;
pub(crate) mod limits;
mod read;
mod seen;
mod shelf;
mod skill;
pub(crate) mod texts;
mod write;

use std::path::PathBuf;

use api::client::Client;
use serde_json::{Map, Value};
use vfs_core::{Error, Kind, Result};

use crate::call::{Plan, ToolCall, ToolResult, Tools};
use crate::mounts::Mounts;
use crate::routes::{Place, Routes};
use crate::sandbox::{Sandbox, SandboxCommand};
use crate::skills::Skills;
use seen::{Detail, Seen};

/// What the tools of a session need.
pub struct Options {
    /// The way to the engine.
    pub client: Client,
    /// Name or id of the workspace.
    pub workspace: String,
    /// Name of the agent, whose scope is `agent/NAME`; empty if it has none.
    pub agent: String,
    /// Name of the user; empty if there is none.
    pub user: String,
    /// Scopes of documents that may be written, besides the agent's own.
    pub grants: Vec<String>,
    /// The session's id.
    pub session: String,
    /// The epoch of its lease.
    pub epoch: u64,
    /// How commands are run.
    pub sandbox: Sandbox,
    /// What they see.
    pub mounts: Mounts,
    /// A folder of this session on this machine, for running commands and long outputs. The same one when it is resumed.
    pub folder: PathBuf,
}

/// The tools of one session.
pub struct Toolbox {
    options: Options,
    routes: Routes,
    /// The current directory of Bash, on which relative paths stand.
    current: String,
    /// What was read, by the path that is shown.
    seen: Seen,
    skills: Skills,
    /// Commands whose results are not known to be in the log.
    commands: Vec<SandboxCommand>,
}

/// A checked call.
struct Request<'a> {
    call: &'a ToolCall,
    input: Map<String, Value>,
}

impl Request<'_> {
    fn text(&self, name: &str) -> &str {
        self.input.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn has(&self, name: &str) -> bool {
        self.input.contains_key(name)
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.input.get(name).and_then(Value::as_f64)
    }

    fn flag(&self, name: &str) -> Option<bool> {
        self.input.get(name).and_then(Value::as_bool)
    }
}

impl Toolbox {
    /// The tools of a session that begins or goes on. Checks the sandbox and mounts what is to be mounted.
    pub async fn open(mut options: Options) -> Result<Toolbox> {
        options.sandbox.check()?;
        match options.mounts.ensure().await {
            // The driver finds out that the workspace is gone, and writes it down.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => {
                // Half of what a session needs is of no use to anybody.
                let _ = options.mounts.close().await;
                return Err(error);
            }
            Ok(_) => {}
        }
        Ok(Toolbox::new(options))
    }

    fn new(mut options: Options) -> Toolbox {
        let own = format!("agent/{}", options.agent);
        if !options.agent.is_empty() && !options.grants.contains(&own) {
            options.grants.push(own);
        }
        let routes = Routes::claude();
        let current = routes.workspace.clone();
        Toolbox { options, routes, current, seen: Seen::default(), skills: Skills::default(), commands: Vec::new() }
    }

    /// Unmounts what was mounted for the session and removes what only a running call needs. Its long outputs stay.
    pub async fn close(&mut self) -> Result<()> {
        self.forget_commands(0);
        self.options.mounts.close().await
    }

    /// Ends a command that still runs and unmounts; what the command came to is kept for who resumes the session.
    pub async fn interrupt(&mut self) -> Result<()> {
        for command in &self.commands {
            command.interrupt().await?;
        }
        self.options.mounts.close().await
    }

    /// The scopes whose documents are seen, nearest first.
    fn view(&self) -> Vec<String> {
        let own = [("agent", &self.options.agent), ("user", &self.options.user)];
        let named = own.iter().filter(|(_, name)| !name.is_empty()).map(|(kind, name)| format!("{kind}/{name}"));
        named.chain(["org".to_owned()]).collect()
    }

    /// What a path means here, and how it is written without dots.
    fn place(&self, path: &str) -> (Place, String) {
        (self.routes.place(path, &self.current), crate::routes::absolute(path, &self.current))
    }

    /// A path as Glob and Grep show it: from the current directory if it is below it.
    fn shown(&self, absolute: &str) -> String {
        match crate::routes::below(absolute, &self.current) {
            Some(rest) if !rest.is_empty() => rest.to_owned(),
            _ => absolute.to_owned(),
        }
    }

    /// Keeps a text that is too long to show; returns the path under which it can be read.
    fn keep_output(&self, call: &str, text: &str) -> Result<String> {
        let folder = self.outputs();
        let name = format!("{}.txt", &blake3::hash(call.as_bytes()).to_hex()[..16]);
        let failed = |error| texts::machine_failed(format!("cannot keep an output in {}", folder.display()), error);
        std::fs::create_dir_all(&folder).map_err(failed)?;
        std::fs::write(folder.join(&name), text).map_err(failed)?;
        Ok(format!("{}/{name}", self.routes.outputs))
    }

    fn outputs(&self) -> PathBuf {
        self.options.folder.join("outputs")
    }

    /// Names this run folder. A call that was started in another one left no trace here.
    fn folder_id(&self) -> Result<String> {
        let path = self.options.folder.join("id");
        let failed = |error| texts::machine_failed(format!("cannot use {}", path.display()), error);
        match std::fs::read_to_string(&path) {
            Ok(id) => Ok(id),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut bytes = [0; 8];
                getrandom::fill(&mut bytes)
                    .map_err(|error| Error::new(Kind::Internal, "no random numbers").because(error.to_string()))?;
                std::fs::create_dir_all(&self.options.folder).map_err(failed)?;
                std::fs::write(&path, hex::encode(bytes)).map_err(failed)?;
                Ok(hex::encode(bytes))
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn calls(&self) -> PathBuf {
        self.options.folder.join("calls")
    }

    /// Removes the folders of commands but the newest ones.
    fn forget_commands(&mut self, keep: usize) {
        let end = self.commands.len().saturating_sub(keep);
        for command in self.commands.drain(..end) {
            command.forget();
        }
    }

    async fn plan_checked(&mut self, request: &Request<'_>) -> Result<Plan> {
        match request.call.name.as_str() {
            "Write" => self.plan_write(request).await,
            "Edit" => self.plan_edit(request).await,
            "Bash" => self.plan_bash(request),
            _ => Ok(Plan::Run(Value::Null)),
        }
    }

    async fn run_checked(&mut self, request: &Request<'_>, plan: &Value) -> Result<ToolResult> {
        match request.call.name.as_str() {
            "Read" => self.read(request).await,
            "Write" => self.write(request, plan).await,
            "Edit" => self.edit(request, plan).await,
            "Glob" => self.glob(request).await,
            "Grep" => self.grep(request).await,
            "Bash" => self.bash(request, plan).await,
            _ => self.skill(request).await,
        }
    }

    async fn recover_checked(&mut self, request: &Request<'_>, plan: &Value) -> Result<ToolResult> {
        match request.call.name.as_str() {
            "Write" => self.recover_write(request, plan).await,
            "Edit" => self.recover_edit(request, plan).await,
            "Bash" => self.recover_bash(request, plan).await,
            _ => self.run_checked(request, plan).await,
        }
    }

    /// An error that the model can do something about becomes a result.
    async fn settle(&self, result: Result<ToolResult>) -> Result<ToolResult> {
        match result {
            Err(error) if texts::is_models_business(&error) => {
                self.workspace_is_there(&error).await?;
                Ok(ToolResult::error(error.to_string()))
            }
            other => other,
        }
    }

    /// "Not found" may mean the whole workspace, and then the session cannot go on.
    async fn workspace_is_there(&self, error: &Error) -> Result<()> {
        if error.kind() != Kind::NotFound {
            return Ok(());
        }
        match self.options.client.workspace(&self.options.workspace).await {
            Err(gone) if gone.kind() == Kind::NotFound => Err(Error::new(
                Kind::NotFound,
                format!("the workspace {} is gone: the session cannot go on", self.options.workspace),
            )),
            _ => Ok(()),
        }
    }

    /// Takes in what a result says of files and of the current directory.
    fn take_in(&mut self, detail: &Value) {
        let Ok(detail) = serde_json::from_value::<Detail>(detail.clone()) else { return };
        if let Some(current) = detail.current {
            self.current = current;
        }
        for note in detail.seen {
            self.seen.take(note);
        }
    }
}

#[async_trait::async_trait]
impl Tools for Toolbox {
    async fn definitions(&mut self) -> Result<Vec<Value>> {
        Ok(input::definitions())
    }

    async fn instructions(&mut self) -> Result<String> {
        self.instruct().await
    }

    async fn plan(&mut self, call: &ToolCall) -> Result<Plan> {
        self.forget_commands(1);
        // A dead mount takes the file tools with it; worse, what was written through it must not be written behind its back.
        self.options.mounts.ensure().await?;
        let input = match input::check(&call.name, call.input.as_ref()) {
            Ok(input) => input,
            Err(text) => return Ok(Plan::Answer(ToolResult::error(text))),
        };
        let request = Request { call, input };
        match self.plan_checked(&request).await {
            Err(error) => self.settle(Err(error)).await.map(Plan::Answer),
            planned => planned,
        }
    }

    async fn run(&mut self, call: &ToolCall, plan: &Value) -> Result<ToolResult> {
        let input = match input::check(&call.name, call.input.as_ref()) {
            Ok(input) => input,
            Err(text) => return Ok(ToolResult::error(text)),
        };
        let request = Request { call, input };
        let mut done = self.run_checked(&request, plan).await;
        // A mount that died takes the file tools with it; what the call did meanwhile is asked for, not done again.
        if call.name != "Bash" && done.as_ref().is_err_and(|error| error.kind() == Kind::Unavailable) {
            self.options.mounts.ensure().await?;
            done = self.recover_checked(&request, plan).await;
        }
        let done = self.settle(done).await?;
        self.take_in(&done.detail);
        Ok(done)
    }

    async fn recover(&mut self, call: &ToolCall, plan: &Value) -> Result<ToolResult> {
        let input = match input::check(&call.name, call.input.as_ref()) {
            Ok(input) => input,
            Err(text) => return Ok(ToolResult::error(text)),
        };
        self.options.mounts.ensure().await?;
        let recovered = self.recover_checked(&Request { call, input }, plan).await;
        let done = self.settle(recovered).await?;
        self.take_in(&done.detail);
        Ok(done)
    }

    async fn revive(&mut self) -> Result<()> {
        self.options.mounts.ensure().await.map(drop)
    }

    fn notices(&mut self) -> Vec<String> {
        let came_back = self.options.mounts.came_back();
        came_back.then(|| "a mount had died and was brought back".to_owned()).into_iter().collect()
    }

    fn remember(&mut self, call: &ToolCall, result: &ToolResult) {
        self.take_in(&result.detail);
        if call.name == "Bash" {
            SandboxCommand::of_call(&self.calls(), &call.id).forget();
        }
    }
}

#[cfg(test)]
mod tests;
