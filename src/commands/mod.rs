//! One command a file: calls the engine and prints what it says.

mod admin;
mod archive;
mod completion;
mod demo;
mod doctor;
mod documents;
mod files;
mod history;
mod keep;
mod key;
mod maintenance;
mod mount;
mod quota;
mod repair;
mod run;
mod serve;
mod sessions;
mod show;
mod stats;
mod status;
mod transfer;
mod unmount;
mod up;
mod workspaces;

use crate::cli::{Bench, Command};
use crate::context::Context;
use crate::exit::Outcome;

/// Runs a command.
pub(crate) async fn run(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Up(options) => up::run(context, options).await,
        Command::Serve(options) => serve::run(context, options).await,
        Command::Key(command) => key::run(context, command),
        Command::Shutdown => serve::shutdown(context).await,
        Command::Import(options) => transfer::import(context, options).await,
        Command::Export(options) => transfer::export(context, options).await,
        Command::Mount(options) => mount::run(context, options).await,
        Command::Unmount(options) => unmount::run(context, options).await,
        Command::Status(options) => status::run(context, options).await,
        Command::Checkpoint(options) => history::checkpoint(context, options).await,
        Command::Log(options) => history::log(context, options).await,
        Command::Ls(options) => files::ls(context, options).await,
        Command::Cat(options) => files::cat(context, options).await,
        Command::Diff(options) => history::diff(context, options).await,
        Command::Restore(options) => history::restore(context, options).await,
        Command::Fork(options) => workspaces::fork(context, options).await,
        Command::Workspace(options) => workspaces::run(context, options).await,
        Command::Run(options) => run::run(context, options).await,
        Command::Admin => admin::run(context).await,
        Command::Doc(options) => documents::run(context, options).await,
        Command::Session(options) => sessions::run(context, options).await,
        Command::Quota(options) => quota::run(context, options).await,
        Command::Check(options) => maintenance::check(context, options).await,
        Command::Repair(options) => repair::repair(context, options).await,
        Command::Rebuild(options) => repair::rebuild(context, options).await,
        Command::Gc(options) => keep::gc(context, options).await,
        Command::Tag(options) => keep::tag(context, options).await,
        Command::Retention(options) => keep::retention(context, options).await,
        Command::Stats => stats::run(context).await,
        Command::Demo(options) => demo::run(context, options).await,
        Command::Doctor => doctor::run(context.printer, &context.data),
        Command::Bench(Bench::Mount(options)) => Ok(crate::bench::run_mount(&options, context.printer.is_json())?),
        Command::Bench(Bench::Store(options)) => Ok(crate::bench::run_store(options, context.printer.is_json()).await?),
        Command::Completion { shell } => completion::run(context.printer, shell),
    }
}
