//! The one command: parses, starts or finds the engine, calls, prints. No logic of its own.

mod address;
mod bench;
mod cli;
mod commands;
mod context;
mod engine;
mod exit;
mod folder;
mod holder;
mod key;
mod limits;
mod memory;
mod mounts;
mod print;
mod progress;
mod ready;
mod signals;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind as Usage;
use tracing_subscriber::EnvFilter;
use vfs_core::{Error, Kind};

use cli::{Cli, Command};
use context::Context;
use exit::{Failure, Outcome};
use folder::DataFolder;
use print::Printer;

fn main() -> ExitCode {
    memory::set_up();
    if let Some(code) = sandbox_runner() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_usage(&error),
    };
    let printer = Printer::new(cli.json);
    let detached = is_detached(&cli.command);
    if detached {
        ready::leave_session();
        std::panic::set_hook(Box::new(|panic| tracing::error!("a bug in esker: {panic}")));
    }
    log_to_stderr(detached);
    match run(cli, printer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if detached {
                ready::say_failed(&failure);
            }
            printer.failure(&failure);
            failure.code.into()
        }
    }
}

/// `esker sandbox-runner FOLDER`: the process between a harness and one command. It needs neither options nor an engine.
fn sandbox_runner() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    if words.next()? != harness::sandbox::runner::NAME {
        return None;
    }
    let folder = words.next()?;
    Some(match harness::sandbox::runner::main(folder.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

fn run(cli: Cli, printer: Printer) -> Outcome {
    let data = DataFolder::find(cli.data.as_deref())?.with_key_file(cli.key_file)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::io("cannot start the runtime", error))?;
    let context = Context { printer, data, engine: cli.engine.filter(|url| !url.is_empty()), token: cli.token };
    let done = runtime.block_on(commands::run(&context, cli.command));
    // Nothing is left to wait for: what matters was awaited, and a blocked read of the terminal must not keep us.
    runtime.shutdown_background();
    done
}

/// Help and version are no errors; a wrong command line is one of the error shapes.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    let asked = matches!(error.kind(), Usage::DisplayHelp | Usage::DisplayVersion);
    let json = std::env::args_os().take_while(|argument| argument != "--").any(|argument| argument == "--json");
    if asked || !json {
        let _ = error.print();
        return if asked { ExitCode::SUCCESS } else { exit::Code::Usage.into() };
    }
    let text = error.render().to_string();
    let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    Printer::new(true).failure(&Failure::new(Kind::Invalid, first));
    exit::Code::Usage.into()
}

/// Whether this process was started in the background by another command.
fn is_detached(command: &Command) -> bool {
    match command {
        Command::Serve(options) => options.detached,
        Command::Mount(options) => options.detached,
        Command::Doc(cli::Doc::Mount(options)) => options.detached,
        _ => false,
    }
}

/// The log goes to standard error: the terminal, or the log file of a process in the background, which tells more.
fn log_to_stderr(detached: bool) {
    let default = if detached { "info" } else { "error" };
    let filter = EnvFilter::try_from_env("ESKER_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| LogWriter)
        .log_internal_errors(false)
        .with_ansi(!detached && std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .init();
}

/// Standard error, where nothing ever fails: a log on a full disk must not take the mount down with it.
struct LogWriter;

impl std::io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = std::io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
