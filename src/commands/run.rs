//! `esker run`: lets an agent work in a workspace, or goes on with a session that was cut off.
//!
//! Text and one line for each tool call go to the terminal, inert; with `--json` the events of the turn log, one a line.

use std::ffi::OsString;
use std::path::Path;

use api::client::Client;
use api::wire::session::CreateSession;
use harness::dialect::{Model, Settings};
use harness::log::{CallState, Ended, OpenTurn};
use harness::mounts::{EskerCommand, Mounts};
use harness::run::{Options as Driving, Place, Run, Shown};
use harness::sandbox::Sandbox;
use harness::tools::{Options as ToolOptions, Toolbox};
use vfs_core::{Error, Kind};

use crate::cli::Run as Options;
use crate::commands::show::Screen;
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::signals::Signals;

/// Longest title of a session: a line of a list.
const TITLE_MAX: usize = 80;

/// Runs a session until it ends or cannot go on.
pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let mut signals = Signals::listen()?;
    let model = Model::new(Settings::read(|name| std::env::var(name).ok(), options.model.as_deref())?)?;
    let program = std::env::current_exe().map_err(|error| Error::io("cannot find the program itself", error))?;
    // Before there is a session: without a sandbox nothing begins.
    let mut sandbox = Sandbox::of_this_program();
    sandbox.check()?;
    check(&options)?;
    let client = context.client().await?;
    let place = Place::new(context.data.runs(), format!("{} on {}", std::process::id(), crate::holder::host()));
    let screen = Screen::new(context.printer);
    let mut run = tokio::select! {
        biased;
        () = signals.next() => return Err(Failure::new(Kind::Unavailable, "interrupted before the session began")),
        opened = open(&client, &options, &place, &screen) => opened?,
    };
    let id = run.session().id.clone();
    screen.session(run.session());
    let needs = Needs { context, options: &options, client: &client, program: &program, sandbox };
    let driven = drive(&needs, &mut run, &model, &screen, &mut signals).await;
    screen.finish();
    // Whoever took the session over needs the lease and the mounts.
    if !driven.as_ref().is_err_and(|failure| failure.kind() == Kind::LeaseLost) {
        run.release().await;
    }
    verdict(&id, driven?.as_ref())
}

/// What can be refused before anything is made.
fn check(options: &Options) -> Outcome {
    if options.text.as_ref().is_some_and(|text| text.trim().is_empty()) {
        return Err(Failure::new(Kind::Invalid, "the task is empty: say what is to be done"));
    }
    for grant in &options.grants {
        grant.parse::<vfs_core::documents::Scope>()?;
    }
    Ok(())
}

/// What a run stands on.
struct Needs<'a> {
    context: &'a Context,
    options: &'a Options,
    client: &'a Client,
    program: &'a Path,
    sandbox: Sandbox,
}

/// A new session, or one to go on with.
async fn open(client: &Client, options: &Options, place: &Place, screen: &Screen) -> Outcome<Run> {
    if let Some(id) = &options.resume {
        return Ok(Run::resume(client, id, place, &|shown| screen.show(shown)).await?);
    }
    let (Some(workspace), Some(task)) = (&options.workspace, &options.text) else {
        return Err(Failure::new(Kind::Invalid, "say --workspace W and the task, or --resume SESSION"));
    };
    let request = CreateSession {
        workspace: workspace.clone(),
        agent: options.agent.clone(),
        user: options.user.clone().unwrap_or_else(login),
        title: title(task),
    };
    refuse_second(client, workspace).await?;
    Run::begin(client, &request, place).await.map_err(|error| no_workspace(error, workspace))
}

/// Looked at before a session is made, so that a refusal leaves no empty one behind; what decides is the lease.
async fn refuse_second(client: &Client, workspace: &str) -> Outcome {
    let others = client.sessions(Some(workspace)).await.map_err(|error| no_workspace(error, workspace))?;
    let Some(other) = others.iter().find(|other| other.state == "running") else { return Ok(()) };
    let owner = other.lease.as_ref().map_or("somebody", |lease| &lease.owner);
    let line = format!(
        "session {} ({owner}) runs in the workspace {workspace}: wait for its end, or fork the workspace",
        other.id
    );
    Err(Failure::new(Kind::Busy, line))
}

/// Mounts what the tools need and lets the session run; `None` if a signal came first.
async fn drive(
    needs: &Needs<'_>,
    run: &mut Run,
    model: &Model,
    screen: &Screen,
    signals: &mut Signals,
) -> Outcome<Option<Ended>> {
    let options = needs.options;
    let driving = Driving {
        text: options.text.clone(),
        grants: options.grants.clone(),
        turns_max: options.max_turns,
        ..Driving::default()
    };
    let opening = Toolbox::open(tool_options(needs, run)?);
    let mut tools = tokio::select! {
        biased;
        () = signals.next() => return Ok(None),
        opened = opening => opened?,
    };
    let show = |shown: Shown<'_>| screen.show(shown);
    let ended = tokio::select! {
        biased;
        () = signals.next() => None,
        ended = run.drive(&mut tools, model, &driving, &show) => Some(ended),
    };
    screen.finish();
    let is_lost = matches!(&ended, Some(Err(error)) if error.kind() == Kind::LeaseLost);
    // Of a call that has begun, the trace must stay: who resumes finds out from it what became of the call.
    let calls = run.conversation().open().map(OpenTurn::calls).unwrap_or_default();
    let has_begun = calls.iter().any(|(_, state)| matches!(state, CallState::Started(_)));
    if !is_lost {
        tokio::select! {
            biased;
            () = signals.next() => {}
            closed = async { if has_begun { tools.interrupt().await } else { tools.close().await } } => {
                if let Err(error) = closed {
                    needs.context.printer.warning(&format!("not everything was ended and unmounted: {}", error.chain()));
                }
            }
        }
    }
    Ok(ended.transpose()?)
}

fn tool_options(needs: &Needs<'_>, run: &Run) -> Outcome<ToolOptions> {
    let session = run.session();
    // What was granted at the beginning holds for the whole session.
    let started = run.conversation().started();
    let grants = started.map_or_else(|| needs.options.grants.clone(), |started| started.grants.clone());
    let data = &needs.context.data;
    let folder = data.runs().join("sessions").join(&session.id);
    crate::folder::private(&folder)?;
    let mut command: Vec<OsString> = vec![needs.program.into(), "--data".into(), data.path().into()];
    if let Some(url) = &needs.context.engine {
        command.extend(["--engine".into(), url.into()]);
    }
    let esker = EskerCommand {
        command,
        environment: needs.context.token.iter().map(|token| ("ESKER_TOKEN".into(), token.into())).collect(),
        folder: folder.join("mounts"),
        workspace: match session.workspace_name.as_str() {
            "" => session.workspace.to_hex(),
            name => name.to_owned(),
        },
        agent: session.agent.clone(),
        user: session.user.clone(),
        grants: grants.clone(),
        session: session.id.clone(),
    };
    Ok(ToolOptions {
        client: needs.client.clone(),
        workspace: session.workspace.to_hex(),
        agent: session.agent.clone(),
        user: session.user.clone(),
        grants,
        session: session.id.clone(),
        epoch: run.epoch(),
        sandbox: needs.sandbox.clone(),
        mounts: Mounts::esker(needs.client.clone(), esker),
        folder,
    })
}

/// What the shell is told of the end of a session.
fn verdict(id: &str, ended: Option<&Ended>) -> Outcome {
    let Some(ended) = ended else { return Err(interrupted(id)) };
    let kind = match (ended.state.as_str(), ended.reason.as_str()) {
        ("done", _) => return Ok(()),
        (_, "model") => Kind::Unavailable,
        (_, "workspace") => Kind::NotFound,
        _ => Kind::LimitExceeded,
    };
    let hint = match ended.state.as_str() {
        "stopped" => format!("; `esker run --resume {id}` goes on"),
        _ => String::new(),
    };
    Err(Failure::new(kind, format!("the session {id} has {}: {}{hint}", ended.state, ended.message)))
}

fn interrupted(id: &str) -> Failure {
    Failure {
        code: crate::exit::Code::Failed,
        error: Error::new(Kind::Unavailable, format!("interrupted; `esker run --resume {id}` goes on")),
    }
}

fn no_workspace(error: Error, workspace: &str) -> Failure {
    match error.kind() {
        Kind::NotFound => {
            let shown = crate::print::visible(workspace.as_bytes());
            let line = format!(
                "there is no workspace {shown}: `esker workspace create` or `esker import DIR -w NAME` makes one, `esker workspace list` lists them"
            );
            Error::new(Kind::NotFound, line).because(error).into()
        }
        _ => error.into(),
    }
}

/// The user of this process.
fn login() -> String {
    let named =
        ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
    named.unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()))
}

/// The first line of a task, for lists.
fn title(task: &str) -> String {
    let line = task.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("(no task)");
    let line: String = line.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    match line.char_indices().nth(TITLE_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_a_short_line() {
        assert_eq!(title("\n  fix \u{1b}[31m it\nand more"), "fix  [31m it");
        assert_eq!(title(&"ä".repeat(200)).chars().count(), TITLE_MAX + 1);
        assert_eq!(title(" \n"), "(no task)");
    }
}
