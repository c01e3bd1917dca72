//! Bash: a command in the sandbox, its output and where it left the current directory.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vfs_core::{Error, Kind, Result};

use super::limits::{
    BASH_CHARACTERS_MAX, BASH_END_CHARACTERS, BASH_TIMEOUT, BASH_TIMEOUT_MAX, COMMAND_BYTES_MAX, OUTPUT_BYTES_MAX,
    TASKS_MAX,
};
use super::seen::{Detail, to_value};
use super::{Request, Toolbox, texts};
use crate::call::{Plan, ToolResult};
use crate::routes::Place;
use crate::sandbox::{End, Fate, Reason, SandboxCommand, Wanted};

/// What must be known if the harness dies while the command runs. The rest is in the command's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct BashPlan {
    /// Where it begins.
    current: String,
    /// How long it may run.
    timeout_ms: u64,
    /// The run folder in which it runs.
    #[serde(default)]
    folder: String,
}

impl Toolbox {
    pub(super) fn plan_bash(&self, request: &Request<'_>) -> Result<Plan> {
        let command = request.text("command");
        if command.len() > COMMAND_BYTES_MAX || command.contains('\0') {
            let text = format!("The command is longer than {COMMAND_BYTES_MAX} bytes, or holds a zero byte.");
            return Ok(Plan::Answer(ToolResult::error(texts::refused(&text))));
        }
        let timeout = match request.number("timeout") {
            Some(milliseconds) if milliseconds >= 1.0 => {
                Duration::from_millis(milliseconds as u64).min(BASH_TIMEOUT_MAX)
            }
            _ => BASH_TIMEOUT,
        };
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let plan = BashPlan { current: self.current.clone(), timeout_ms, folder: self.folder_id()? };
        Ok(Plan::Run(serde_json::to_value(plan).expect("because a plan is plain data")))
    }

    pub(super) async fn bash(&mut self, request: &Request<'_>, plan: &Value) -> Result<ToolResult> {
        let plan = parse(plan)?;
        let binds = self.sandbox_binds().await?;
        let command = SandboxCommand::of_call(&self.calls(), &request.call.id);
        self.commands.push(command.clone());
        let wanted = Wanted {
            text: request.text("command"),
            current: &plan.current,
            fallback: &self.routes.workspace,
            timeout: Duration::from_millis(plan.timeout_ms),
            binds: &binds,
        };
        match command.run(&self.options.sandbox, &wanted).await? {
            Fate::NeverRan => Err(Error::new(Kind::Unavailable, "the process that runs commands does not start")),
            fate => self.told(request, &plan, &command, fate),
        }
    }

    pub(super) async fn recover_bash(&mut self, request: &Request<'_>, plan: &Value) -> Result<ToolResult> {
        let parsed = parse(plan)?;
        let command = SandboxCommand::of_call(&self.calls(), &request.call.id);
        match command.recover(Duration::from_millis(parsed.timeout_ms)).await? {
            // Only the folder in which it would have run can tell that it never did.
            Fate::NeverRan if parsed.folder == self.folder_id()? => self.bash(request, plan).await,
            Fate::NeverRan => self.told(request, &parsed, &command, Fate::Unknown),
            fate => {
                self.commands.push(command.clone());
                self.told(request, &parsed, &command, fate)
            }
        }
    }

    /// What a command sees: the mounts, brought back if they died, and the outputs that were too long.
    async fn sandbox_binds(&mut self) -> Result<Vec<crate::sandbox::Bind>> {
        let mut binds = self.options.mounts.ensure().await?;
        let outputs = self.outputs();
        std::fs::create_dir_all(&outputs)
            .map_err(|error| texts::machine_failed("cannot make the folder of outputs", error))?;
        binds.push(crate::sandbox::Bind {
            source: outputs,
            target: self.routes.outputs.clone().into(),
            writable: false,
        });
        Ok(binds)
    }

    /// What the model is told of a command's fate.
    fn told(&self, request: &Request<'_>, plan: &BashPlan, command: &SandboxCommand, fate: Fate) -> Result<ToolResult> {
        let output = String::from_utf8_lossy(&command.output()?).into_owned();
        let end = match fate {
            Fate::Ended(end) => end,
            _ => {
                let text = texts::unknown("The command began, and how it ended is not known. Its output so far:");
                let output = shorten(trim(&output));
                return Ok(ToolResult { wrote: true, ..ToolResult::error(format!("{text}\n{output}")) });
            }
        };
        let output = match end.output_bytes > OUTPUT_BYTES_MAX {
            true => format!("{output}\n[The output was {} bytes; the rest was not kept.]", end.output_bytes),
            false => output,
        };
        let output = if end.problem.is_empty() { output } else { format!("{output}\n[{}]", end.problem) };
        let (mut text, is_error) = text_of(request.text("command"), plan, &end, trim(&output));
        if !is_error && text.chars().count() > BASH_CHARACTERS_MAX {
            let path = self.keep_output(&request.call.id, &text)?;
            text = texts::persisted(&text, &path);
        }
        let (current, note) = self.arrive(&end);
        text.push_str(&note);
        let detail = to_value(&Detail { seen: Vec::new(), current: Some(current) });
        Ok(ToolResult { text, is_error, wrote: true, detail, follow_up: None })
    }

    /// Where the next command begins: where this one ended, if that is a folder of the session.
    fn arrive(&self, end: &End) -> (String, String) {
        let Some(path) = end.current.as_deref() else { return (self.current.clone(), String::new()) };
        match self.routes.place(path, "/") {
            Place::Workspace(_) | Place::Document(_) => (crate::routes::absolute(path, "/"), String::new()),
            _ => {
                let home = self.routes.workspace.clone();
                let note = format!("\nShell cwd was reset to {home}");
                (home, note)
            }
        }
    }
}

fn parse(plan: &Value) -> Result<BashPlan> {
    serde_json::from_value(plan.clone())
        .map_err(|error| Error::new(Kind::Corrupt, "the log's plan of a command makes no sense").because(error))
}

/// The text of a result, and whether it is one of a failure.
fn text_of(command: &str, plan: &BashPlan, end: &End, output: &str) -> (String, bool) {
    let head = match end.reason {
        Reason::TimedOut => format!("Exit code 143\nCommand timed out after {}", duration(plan.timeout_ms)),
        Reason::Interrupted => "Exit code 137\nCommand was interrupted by the user".to_owned(),
        Reason::TooManyTasks => {
            format!("Exit code 137\nCommand was killed: it had more than {TASKS_MAX} processes and threads at once")
        }
        _ if end.code == 0 || finds_nothing(command, end.code) => {
            let text = if output.is_empty() { "(Bash completed with no output)" } else { output };
            return (text.to_owned(), false);
        }
        _ => format!("Exit code {}", end.code),
    };
    let text = if output.is_empty() { head } else { format!("{head}\n{}", first(output, BASH_CHARACTERS_MAX)) };
    (shorten(&text), true)
}

/// Programs that say "nothing found" or "not the same" with status 1 have not failed.
fn finds_nothing(command: &str, code: i32) -> bool {
    let last = command.rsplit(['|', ';', '&', '\n']).next().unwrap_or_default();
    let word = last.split_whitespace().next().unwrap_or_default();
    code == 1 && ["grep", "egrep", "fgrep", "rg", "diff", "test", "["].contains(&word)
}

/// Whole units as models know them: `1s`, `2m 0s`.
fn duration(milliseconds: u64) -> String {
    match milliseconds / 1000 {
        0 => format!("{milliseconds}ms"),
        seconds if seconds < 60 => format!("{seconds}s"),
        seconds => format!("{}m {}s", seconds / 60, seconds % 60),
    }
}

/// Without leading blank lines, and without white space at the end.
fn trim(output: &str) -> &str {
    let mut text = output.trim_end();
    while let Some((line, rest)) = text.split_once('\n') {
        if !line.trim().is_empty() {
            break;
        }
        text = rest;
    }
    text
}

/// The first characters of a text.
fn first(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(at, _)| &text[..at])
}

/// Both ends of a text that is too long.
fn shorten(text: &str) -> String {
    let count = text.chars().count();
    if count <= 2 * BASH_END_CHARACTERS {
        return text.to_owned();
    }
    let tail_at = text.char_indices().nth(count - BASH_END_CHARACTERS).map_or(text.len(), |(at, _)| at);
    let cut = count - 2 * BASH_END_CHARACTERS;
    let (head, tail) = (first(text, BASH_END_CHARACTERS), &text[tail_at..]);
    format!("{head}\n\n... [{cut} characters truncated] ...\n\n{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(reason: Reason, code: i32) -> End {
        End { reason, code, current: None, output_bytes: 0, duration_ms: 1, problem: String::new() }
    }

    #[test]
    fn results_read_as_models_know_them() {
        let exited = Reason::Exited;
        let table = [
            ("echo hi", exited, 0, "hi\n", "hi", false),
            ("true", exited, 0, "", "(Bash completed with no output)", false),
            ("x", exited, 0, "\n \n  lead\n\ntrail\n\n", "  lead\n\ntrail", false),
            ("exit 3", exited, 3, "out\nerr\n", "Exit code 3\nout\nerr", true),
            ("false", exited, 1, "", "Exit code 1", true),
            ("cat x | grep y", exited, 1, "", "(Bash completed with no output)", false),
            ("grep y x", exited, 2, "grep: x: no\n", "Exit code 2\ngrep: x: no", true),
            ("sleep 9", Reason::TimedOut, 137, "early\n", "Exit code 143\nCommand timed out after 1s\nearly", true),
            (
                ":",
                Reason::TooManyTasks,
                137,
                "",
                "Exit code 137\nCommand was killed: it had more than 2000 processes and threads at once",
                true,
            ),
        ];
        let plan = BashPlan { current: "/workspace".into(), timeout_ms: 1500, folder: String::new() };
        for (command, reason, code, output, text, is_error) in table {
            let told = text_of(command, &plan, &end(reason, code), trim(output));
            assert_eq!(told, (text.to_owned(), is_error), "{command}");
        }
        assert_eq!((duration(120_000), duration(999)), ("2m 0s".to_owned(), "999ms".to_owned()));
    }

    #[test]
    fn long_failures_show_both_ends() {
        let plan = BashPlan { current: "/workspace".into(), timeout_ms: 1500, folder: String::new() };
        let (text, is_error) = text_of("x", &plan, &end(Reason::Exited, 2), &"é".repeat(40_000));
        assert!(is_error && text.starts_with("Exit code 2\né") && text.ends_with('é'));
        assert!(text.contains("\n\n... [20012 characters truncated] ...\n\n"));
        assert_eq!(text.chars().count(), 10_000 + "\n\n... [20012 characters truncated] ...\n\n".len());
        assert_eq!(shorten(&"a".repeat(10_000)).len(), 10_000);
    }
}
