//! `esker session`: the command line of sessions.

use clap::{Args, Subcommand};

/// What can be seen of sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum Session {
    /// List sessions, newest first
    List(SessionList),
    /// Show a session turn by turn: what the model said and did, and what each turn left
    Show(SessionShow),
}

/// Options of `session list`.
#[derive(Debug, Args)]
pub(crate) struct SessionList {
    /// Only those of this workspace (one that is deleted: by its id)
    #[arg(long, short, value_name = "W")]
    pub workspace: Option<String>,
}

/// Options of `session show`.
#[derive(Debug, Args)]
pub(crate) struct SessionShow {
    /// The session; the first digits of its id are enough
    #[arg(value_name = "SESSION")]
    pub session: String,
    /// Go on as the session does, until it ends
    #[arg(long, short)]
    pub follow: bool,
    /// Show this turn only
    #[arg(long, value_name = "NUMBER")]
    pub turn: Option<u64>,
}
