//! The command line: every command, option and its help. Parses, nothing else.
//!
//! Paths and addresses stay `OsString`, because names need not be UTF-8.

mod documents;
mod keep;
mod sessions;

use std::ffi::OsString;
use std::path::PathBuf;

pub(crate) use documents::{
    Doc, DocGet, DocList, DocLog, DocMount, DocPut, DocRestore, DocRm, IfVersion, Viewer, Within,
};
pub(crate) use keep::{Gc, Retention, Tag, TagCommand};
pub(crate) use sessions::{Session, SessionList, SessionShow};

use clap::{Args, Parser, Subcommand, ValueHint};

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 other error; 2 wrong usage; 3 not found; 4 conflict, busy or lease lost; 5 denied;
6 engine, bucket or FUSE unavailable; 7 damage found; 8 disk or quota full, or of check: only damage that hits
nothing; 10 another version is needed.
W names a workspace and means its live state; W@SNAPSHOT means that snapshot (its first digits, or a tag, are enough).";

/// A filesystem for agents: workspaces that are mounted in milliseconds and keep every state.
#[derive(Debug, Parser)]
#[command(name = "esker", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// The data folder [default: $XDG_DATA_HOME/esker or ~/.local/share/esker]
    #[arg(long, global = true, value_name = "DIR", env = "ESKER_DATA", value_hint = ValueHint::DirPath)]
    pub data: Option<PathBuf>,
    /// Use the engine at this address (http://HOST:PORT) instead of the data folder's own; also as --engine
    #[arg(long = "server", alias = "engine", global = true, value_name = "URL", env = "ESKER_ENGINE")]
    pub engine: Option<String>,
    /// The token of that engine; better in the environment, because other users see command lines
    #[arg(long, global = true, value_name = "T", env = "ESKER_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The file with the key of an encrypted repo; a new data folder that is made with one is encrypted. ESKER_KEY holds
    /// a key itself
    #[arg(long, global = true, value_name = "FILE", env = "ESKER_KEY_FILE", value_hint = ValueHint::FilePath)]
    pub key_file: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// Everything that `esker` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Import a folder as a workspace and mount it; Ctrl-C publishes and unmounts
    Up(Up),
    /// Run the engine in front, also on a TCP address
    Serve(Serve),
    /// Make the key of an encrypted repo
    #[command(subcommand)]
    Key(Key),
    /// Stop the engine; mounts go on and start another when they need one
    Shutdown,
    /// Import a folder into a workspace
    Import(Import),
    /// Write a workspace or snapshot into a folder
    Export(Export),
    /// Show a workspace at a folder
    Mount(Mount),
    /// Publish what a mount holds and unmount it
    Unmount(Unmount),
    /// Show the state of a mount
    Status(Status),
    /// Publish what was written so far; prints the snapshot
    Checkpoint(Checkpoint),
    /// List the snapshots of a workspace, newest first
    Log(Log),
    /// List a directory
    Ls(Ls),
    /// Print a file
    Cat(Cat),
    /// Show what differs between two workspaces or snapshots
    Diff(Diff),
    /// Make a snapshot the state of the workspace (the present one is kept in the log)
    Restore(Restore),
    /// Make a new workspace from another's state; copies nothing
    Fork(Fork),
    /// List, create or delete workspaces
    #[command(subcommand)]
    Workspace(Workspace),
    /// Print a link to the admin page: browse snapshots, diffs, sessions and documents
    Admin,
    /// Let an agent work in a workspace; Ctrl-C stops it so that it can be resumed
    Run(Run),
    /// Skills, memories and instructions: versioned files that workspaces share
    #[command(subcommand)]
    Doc(Doc),
    /// List and show the sessions of agents
    #[command(subcommand)]
    Session(Session),
    /// Show, set or clear how much a workspace, or all together, may hold
    #[command(subcommand)]
    Quota(Quota),
    /// Verify the stored data
    Check(Check),
    /// Undo damage as far as that is possible, and say which paths are lost
    Repair(Repair),
    /// Make a new database from a bucket and its ref log alone, in a data folder without one (--data)
    Rebuild(Rebuild),
    /// Drop what nothing reaches any more, and snapshots that no retention rule keeps
    Gc(Gc),
    /// Names that keep snapshots; `W@NAME` means the snapshot of a tag
    Tag(Tag),
    /// Which snapshots gc keeps: rules for a workspace, or for all
    #[command(subcommand)]
    Retention(Retention),
    /// Say how much is stored, what that takes, and how the caches do
    Stats,
    /// See an agent at work in half a minute: a scripted model, everything else is real
    Demo(Demo),
    /// Say what this machine has, and what is missing for what
    Doctor,
    /// Measure this machine
    #[command(subcommand)]
    Bench(Bench),
    /// Print the completion script for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Bytes, or K, M, G or T of them (of 1,024 each).
fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: use bytes, or a number with K, M, G or T, such as 20G");
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        Some((at, 'T' | 't')) => (&text[..at], 40),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// Options of `up`.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The folder to import; it is only read
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,
    /// Where to mount [default: mounts/WORKSPACE in the data folder]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub at: Option<PathBuf>,
    /// Leave out what matches (like a line of .gitignore); may be repeated
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
}

/// Options of `serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Listen on this TCP address too; its clients need the token in the data folder
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Where bytes go, set when the data folder is made: file:///…, s3://bucket/prefix, gs://bucket/prefix,
    /// az://container/prefix
    #[arg(long, value_name = "URL", env = "ESKER_BUCKET")]
    pub bucket: Option<String>,
    /// Keep at most so much of a remote bucket on this disk, such as 500M or 20G; 0 for nothing [default: 4G]
    #[arg(long, value_name = "SIZE", env = "ESKER_CACHE_SIZE", value_parser = size)]
    pub cache_size: Option<u64>,
    /// A team's database, remembered by the data folder: postgres://USER:PASSWORD@HOST/DATABASE; better in the
    /// environment, because other users see command lines [default: SQLite in the data folder]
    #[arg(long, value_name = "URL", env = "ESKER_DATABASE", hide_env_values = true)]
    pub database: Option<String>,
    /// Started by another command: standard output is the readiness pipe; leave when idle
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Write a new random key into a new file that only you can read. Whoever loses it loses everything in the repo
    New {
        /// The file; it must not exist
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

/// Options of `import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The folder to import
    #[arg(value_name = "PATH", value_hint = ValueHint::DirPath, required_unless_present = "tar")]
    pub path: Option<PathBuf>,
    /// Import this tar archive (also .tar.zst) instead of a folder; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "path")]
    pub tar: Option<PathBuf>,
    /// Read every file, also those that look as they did when they were imported last
    #[arg(long, conflicts_with = "tar")]
    pub reread: bool,
    /// The workspace; made if it does not exist
    #[arg(long, short, value_name = "W")]
    pub workspace: String,
    /// Leave out what matches (like a line of .gitignore); may be repeated
    #[arg(long, value_name = "GLOB", conflicts_with = "tar")]
    pub exclude: Vec<String>,
}

/// Options of `export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// What to export; a path only into a tar archive
    #[arg(value_name = "W[@SNAPSHOT][:PATH]")]
    pub source: OsString,
    /// The folder to make; must not exist or be empty
    #[arg(value_name = "PATH", value_hint = ValueHint::DirPath, required_unless_present = "tar")]
    pub path: Option<PathBuf>,
    /// Write this tar archive instead of a folder; - is standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "path")]
    pub tar: Option<PathBuf>,
    #[command(flatten)]
    pub state: State,
}

/// Options of `mount`.
#[derive(Debug, Args)]
pub(crate) struct Mount {
    /// What to show; a snapshot is shown read-only
    #[arg(value_name = "W[@SNAPSHOT]")]
    pub source: OsString,
    /// An empty folder; made if it does not exist
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub at: PathBuf,
    /// Come back as soon as it is mounted
    #[arg(long)]
    pub detach: bool,
    /// Show the published state, refuse changes
    #[arg(long)]
    pub read_only: bool,
    /// Let other users in
    #[arg(long)]
    pub allow_other: bool,
    /// Show documents as well, at this folder, until the workspace is unmounted
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub docs: Option<PathBuf>,
    #[command(flatten)]
    pub who: Viewer,
    /// Started by another command: standard output is the readiness pipe
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// Options of `unmount`.
#[derive(Debug, Args)]
pub(crate) struct Unmount {
    /// Where the workspace or the documents are mounted
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub at: PathBuf,
    /// Unmount even if something uses it
    #[arg(long)]
    pub lazy: bool,
}

/// Options of `status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Where a workspace or documents are mounted, or a folder inside
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath, default_value = ".")]
    pub at: PathBuf,
}

/// Options of `checkpoint`.
#[derive(Debug, Args)]
pub(crate) struct Checkpoint {
    /// The workspace
    #[arg(value_name = "W")]
    pub workspace: String,
    /// What the log says about it
    #[arg(long, short)]
    pub message: String,
}

/// Options of `log`.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// The workspace
    #[arg(value_name = "W")]
    pub workspace: String,
    /// Show the automatic checkpoints too
    #[arg(long)]
    pub all: bool,
    /// Show at most this many
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 100)]
    pub limit: u32,
}

/// Options of `ls`.
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// The directory
    #[arg(value_name = "W[@SNAPSHOT][:PATH]")]
    pub source: OsString,
    #[command(flatten)]
    pub state: State,
}

/// Options of `cat`.
#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// The file
    #[arg(value_name = "W[@SNAPSHOT]:PATH")]
    pub source: OsString,
    #[command(flatten)]
    pub state: State,
}

/// Options of `diff`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The older state
    #[arg(value_name = "A")]
    pub from: OsString,
    /// The newer state
    #[arg(value_name = "B")]
    pub to: OsString,
    #[command(flatten)]
    pub state: State,
}

/// Options of `restore`.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The workspace
    #[arg(value_name = "W")]
    pub workspace: String,
    /// The snapshot; its first digits are enough
    #[arg(value_name = "SNAPSHOT")]
    pub snapshot: String,
}

/// Options of `fork`.
#[derive(Debug, Args)]
pub(crate) struct Fork {
    /// The state to start from
    #[arg(value_name = "W[@SNAPSHOT]")]
    pub source: OsString,
    /// The name of the new workspace
    #[arg(value_name = "NEW")]
    pub new: String,
    #[command(flatten)]
    pub state: State,
}

/// Which state the name of a workspace means.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct State {
    /// Take the published state; do not ask a mount to publish first
    #[arg(long)]
    pub published: bool,
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Use the data folder of --data, instead of a fresh one among the temporary files
    #[arg(long)]
    pub here: bool,
}

/// What can be measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Everyday programs on a mount and on local ext4, in turn
    Mount(crate::bench::BenchMount),
    /// The store against restic, borg and casync, on the same files in turn
    Store(crate::bench::BenchStore),
}

/// What can be done with workspaces.
#[derive(Debug, Subcommand)]
pub(crate) enum Workspace {
    /// List all workspaces
    List,
    /// Make an empty workspace
    Create {
        /// Its name
        name: String,
    },
    /// Delete a workspace that is not mounted; gc frees what only it reached
    Delete {
        /// Its name
        name: String,
    },
}

/// Options of `run`.
#[derive(Debug, Args)]
#[command(after_help = "\
The model: ANTHROPIC_API_KEY (or ANTHROPIC_AUTH_TOKEN), ANTHROPIC_BASE_URL, ANTHROPIC_MODEL, ANTHROPIC_CUSTOM_HEADERS.
The key stays in this process. Exit code 0: the agent is done; anything else says why not, and how to go on.")]
pub(crate) struct Run {
    /// What is to be done; with --resume, what is said in addition
    #[arg(value_name = "TASK", required_unless_present = "resume")]
    pub text: Option<String>,
    /// The workspace
    #[arg(long, short, value_name = "W", required_unless_present = "resume", conflicts_with = "resume")]
    pub workspace: Option<String>,
    /// Go on with this session, as its agent and with its model (the first digits of its id are enough)
    #[arg(long, value_name = "SESSION")]
    pub resume: Option<String>,
    /// The agent's name; it may write the documents of agent/NAME
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub agent: String,
    /// The user for whom it works [default: your login]
    #[arg(long, value_name = "LOGIN")]
    pub user: Option<String>,
    /// A scope whose documents it may write too: org, user/NAME; may be repeated
    #[arg(long = "grant", value_name = "SCOPE", conflicts_with = "resume")]
    pub grants: Vec<String>,
    /// The model
    #[arg(long, value_name = "NAME", conflicts_with = "resume")]
    pub model: Option<String>,
    /// Stop after so many turns
    #[arg(long, value_name = "COUNT", default_value_t = harness::limits::TURNS_MAX)]
    pub max_turns: u64,
}

/// What can be done with quotas.
#[derive(Debug, Subcommand)]
pub(crate) enum Quota {
    /// Show quota and usage
    Show {
        /// The workspace [default: all together]
        #[arg(value_name = "W")]
        workspace: Option<String>,
    },
    /// Set a quota; what is not named keeps its limit
    Set {
        /// The workspace [default: all together]
        #[arg(value_name = "W")]
        workspace: Option<String>,
        /// Most bytes of files, with K, M, G or T for powers of 1024
        #[arg(long, value_name = "SIZE", value_parser = parse_size, required_unless_present = "files")]
        bytes: Option<u64>,
        /// Most files, directories and links
        #[arg(long, value_name = "COUNT")]
        files: Option<u64>,
    },
    /// Take all limits away
    Clear {
        /// The workspace [default: all together]
        #[arg(value_name = "W")]
        workspace: Option<String>,
    },
}

/// A number of bytes, as `1000`, `64K` or `10G`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        unit => return Err(format!("{unit} is no unit: K, M, G and T are")),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{text} is no number of bytes"))?;
    number.checked_mul(unit).ok_or_else(|| format!("{text} is too large"))
}

/// Options of `check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 7: damage hits stored data. Exit code 8: it hits nothing (a pack or a row that nothing reaches).
A share of the packs is read with --part or --older-than; one run a day with --part 1/30, 2/30, ... reads all in a month.")]
pub(crate) struct Check {
    /// Read and verify every byte, not only that everything is there
    #[arg(long)]
    pub full: bool,
    /// Go on where the last full check was interrupted
    #[arg(long, requires = "full")]
    pub resume: bool,
    /// Read only packs that were not read for so long: 30d, 12h, 90m, 5s
    #[arg(long, value_name = "AGE", requires = "full", value_parser = parse_age)]
    pub older_than: Option<u64>,
    /// Read only this part of the packs
    #[arg(long, value_name = "N/M", requires = "full", value_parser = parse_part)]
    pub part: Option<(u32, u32)>,
}

/// Seconds of an age such as `30d`.
fn parse_age(text: &str) -> Result<u64, String> {
    let unclear = || format!("{text:?} is no age: use a number with d, h, m or s, such as 30d");
    let split = text.len().saturating_sub(1);
    let (number, unit) = text.split_at_checked(split).ok_or_else(unclear)?;
    let seconds: u64 = match unit {
        "d" => 24 * 3600,
        "h" => 3600,
        "m" => 60,
        "s" => 1,
        _ => return Err(unclear()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds)).ok_or_else(unclear)
}

/// A part such as `2/7`.
fn parse_part(text: &str) -> Result<(u32, u32), String> {
    let unclear = || format!("{text:?} is no part: use N/M with N from 1 to M, such as 2/7");
    let (part, parts) = text.split_once('/').ok_or_else(unclear)?;
    let (part, parts): (u32, u32) = (part.parse().map_err(|_| unclear())?, parts.parse().map_err(|_| unclear())?);
    if part == 0 || part > parts { Err(unclear()) } else { Ok((part, parts)) }
}

/// Options of `repair`.
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing in the bucket is deleted. Heads that lack something move to a new snapshot without exactly the lost paths; what
lacked it is kept as damaged/TIME-SEQUENCE. Workspaces must not be mounted.")]
pub(crate) struct Repair {
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Write what is left of lost files into this folder, with holes where content is gone
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub salvage: Option<PathBuf>,
}

/// Options of `rebuild`.
#[derive(Debug, Args)]
#[command(after_help = "\
The database before is refused from then on: two databases on one bucket would delete each other's data.
Documents, sessions, tokens, tags and retention rules are not in the bucket and are not rebuilt.")]
pub(crate) struct Rebuild {
    /// Where the bytes are: file:///..., s3://bucket/prefix
    #[arg(long, value_name = "URL")]
    pub bucket: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_engine_elsewhere_has_two_names_and_a_token() {
        for name in ["--server", "--engine"] {
            let cli = Cli::try_parse_from(["esker", "session", "list", name, "http://h:1", "--token", "t"]).unwrap();
            assert_eq!((cli.engine.as_deref(), cli.token.as_deref()), (Some("http://h:1"), Some("t")));
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("0", 0), ("1000", 1000), ("64k", 65_536), ("10G", 10 << 30), ("1TiB", 1 << 40)] {
            assert_eq!(parse_size(text), Ok(bytes));
        }
        for text in ["", "G", "1.5G", "-1", "1X", "99999999T"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ages_and_parts_are_understood_or_refused() {
        assert_eq!((parse_age("2d"), parse_age("90m")), (Ok(172_800), Ok(5_400)));
        assert!(
            ["", "d", "2", "2w", "-1d", "99999999999999999d", "\u{e9}"].iter().all(|text| parse_age(text).is_err())
        );
        assert_eq!(parse_part("2/7"), Ok((2, 7)));
        assert!(["", "2", "0/7", "8/7", "a/b", "1/"].iter().all(|text| parse_part(text).is_err()));
        assert!(Cli::try_parse_from(["esker", "check", "--resume"]).is_err(), "only a full check can go on");
    }

    #[test]
    fn options_may_follow_the_command() {
        let cli = Cli::try_parse_from(["esker", "log", "w", "--json", "--data", "/d"]).unwrap();
        assert!(cli.json);
        assert_eq!(cli.data.as_deref(), Some("/d".as_ref()));
    }

    #[test]
    fn sizes_have_a_unit_or_none() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("500M"), Ok(500 << 20));
        assert_eq!(size("20g"), Ok(20 << 30));
        for wrong in ["", "G", "-1", "1.5G", "4GiB", "99999999999T"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
