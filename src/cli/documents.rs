//! `esker doc`: the command line of documents.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// What can be done with documents.
#[derive(Debug, Subcommand)]
pub(crate) enum Doc {
    /// Write a document, or every file of a folder (such as a skill) below a path
    Put(DocPut),
    /// Print a document's bytes as they are
    Get(DocGet),
    /// List documents
    List(DocList),
    /// List the versions of a document, newest first
    Log(DocLog),
    /// Bring an older version back as a new one
    Restore(DocRestore),
    /// Delete a document; its versions stay
    Rm(DocRm),
    /// Show the documents of a view at a folder
    Mount(DocMount),
}

/// Options of `doc put`.
#[derive(Debug, Args)]
pub(crate) struct DocPut {
    /// The document's path, such as skills/review/SKILL.md; for a folder, the path to put its files below
    #[arg(value_name = "PATH")]
    pub path: String,
    /// The file with the content, a folder, or - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub file: PathBuf,
    #[command(flatten)]
    pub scope: InScope,
    #[command(flatten)]
    pub basis: IfVersion,
    /// On another version, merge by lines; if that cannot be done, keep what was to be written as a side version
    #[arg(long, requires = "version")]
    pub merge: bool,
}

/// Options of `doc get`.
#[derive(Debug, Args)]
pub(crate) struct DocGet {
    /// The document's path
    #[arg(value_name = "PATH")]
    pub path: String,
    #[command(flatten)]
    pub within: Within,
    /// This version instead of the newest; without --scope, of the document in the scope org
    #[arg(long, value_name = "N", conflicts_with = "view", value_parser = clap::value_parser!(u64).range(1..))]
    pub version: Option<u64>,
}

/// Options of `doc list`.
#[derive(Debug, Args)]
pub(crate) struct DocList {
    /// Only this path and what is below it
    #[arg(value_name = "PREFIX")]
    pub prefix: Option<String>,
    #[command(flatten)]
    pub within: Within,
    /// List all scopes, also what a nearer one covers
    #[arg(long, conflicts_with_all = ["view", "scope"])]
    pub all: bool,
}

/// Options of `doc log`.
#[derive(Debug, Args)]
pub(crate) struct DocLog {
    /// The document's path
    #[arg(value_name = "PATH")]
    pub path: String,
    #[command(flatten)]
    pub scope: InScope,
}

/// Options of `doc restore`.
#[derive(Debug, Args)]
pub(crate) struct DocRestore {
    /// The document's path
    #[arg(value_name = "PATH")]
    pub path: String,
    /// The version to bring back
    #[arg(value_name = "VERSION", value_parser = clap::value_parser!(u64).range(1..))]
    pub old: u64,
    #[command(flatten)]
    pub scope: InScope,
    #[command(flatten)]
    pub basis: IfVersion,
}

/// Options of `doc rm`.
#[derive(Debug, Args)]
pub(crate) struct DocRm {
    /// The document's path
    #[arg(value_name = "PATH")]
    pub path: String,
    #[command(flatten)]
    pub scope: InScope,
    #[command(flatten)]
    pub basis: IfVersion,
}

/// The scope that is written, or looked into.
#[derive(Debug, Clone, Args)]
pub(crate) struct InScope {
    /// Whose document it is: org, user/NAME or agent/NAME
    #[arg(long, value_name = "SCOPE", default_value = "org")]
    pub scope: String,
}

/// What a change is based on.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct IfVersion {
    /// Only if the newest version is this one; 0: only if there is no document [default: whatever it is now]
    #[arg(id = "version", long = "if-version", value_name = "N")]
    pub version: Option<u64>,
}

/// Where to look.
#[derive(Debug, Clone, Args)]
pub(crate) struct Within {
    /// Scopes, nearest first, with commas [default: agent/main,user/LOGIN,org]
    #[arg(long, value_name = "SCOPES")]
    pub view: Option<String>,
    /// One scope
    #[arg(long, value_name = "SCOPE", conflicts_with = "view")]
    pub scope: Option<String>,
}

/// Options of `doc mount`.
#[derive(Debug, Args)]
pub(crate) struct DocMount {
    /// An empty folder; made if it does not exist
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub at: PathBuf,
    #[command(flatten)]
    pub who: Viewer,
    /// Come back as soon as it is mounted
    #[arg(long)]
    pub detach: bool,
    /// Let other users in
    #[arg(long)]
    pub allow_other: bool,
    /// Started by another command: standard output is the readiness pipe
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// For whom documents are shown: the view is the agent's scope, then the user's, then org.
#[derive(Debug, Clone, Args)]
pub(crate) struct Viewer {
    /// The agent whose documents are nearest
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub agent: String,
    /// The user whose documents come next [default: the one who is logged in]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// A scope that may be written, besides the agent's own in a session; may be repeated [default without --session: all]
    #[arg(long = "grant", value_name = "SCOPE")]
    pub grants: Vec<String>,
    /// The session to which changes are attributed
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
}
