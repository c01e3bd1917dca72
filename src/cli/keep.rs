//! `esker gc`, `esker tag` and `esker retention`: the command line of what is kept.

use std::ffi::OsString;

use clap::{Args, Subcommand};

/// Options of `gc`.
#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// Keep what was written, or found unreachable, in the last so many seconds [default: a day]
    #[arg(long, value_name = "SECONDS")]
    pub grace: Option<u64>,
    /// Change nothing, say what would go and how much that frees
    #[arg(long)]
    pub dry_run: bool,
    /// Copy what lives in packs of which less than so many percent is alive; 0 copies nothing [default: 50]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub repack_below: Option<u8>,
}

/// Options of `tag`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true, subcommand_negates_reqs = true)]
pub(crate) struct Tag {
    /// The snapshot to tag; without one, the newest that is published
    #[arg(value_name = "W[@SNAPSHOT]", required = true)]
    pub source: Option<OsString>,
    /// The name: letters, digits and . _ - +
    #[arg(value_name = "NAME", required = true)]
    pub name: Option<String>,
    #[command(subcommand)]
    pub command: Option<TagCommand>,
}

/// What else can be done with tags.
#[derive(Debug, Subcommand)]
pub(crate) enum TagCommand {
    /// List the tags of a workspace
    List {
        /// The workspace
        #[arg(value_name = "W")]
        workspace: String,
    },
    /// Remove a tag; gc frees its snapshot if nothing else keeps it
    Rm {
        /// The workspace
        #[arg(value_name = "W")]
        workspace: String,
        /// The tag
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// What can be done with retention rules.
#[derive(Debug, Subcommand)]
pub(crate) enum Retention {
    /// Show the rules
    Show {
        /// The workspace [default: the rules for all]
        #[arg(value_name = "W")]
        workspace: Option<String>,
    },
    /// Set the rules; what none of them keeps goes with the next gc
    Set(SetRetention),
    /// Take the rules away
    Clear {
        /// The workspace [default: the rules for all]
        #[arg(value_name = "W")]
        workspace: Option<String>,
    },
}

/// Options of `retention set`.
#[derive(Debug, Args)]
#[command(after_help = "\
What one of the rules keeps stays, and so do, whatever they say: the newest state, the newest named snapshot, tagged
snapshots, and what a mount stands on. `esker gc --dry-run` says what would go.")]
#[group(id = "rules", required = true, multiple = true, args = ["keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_within"])]
pub(crate) struct SetRetention {
    /// The workspace [default: all that have no rules of their own]
    #[arg(value_name = "W")]
    pub workspace: Option<String>,
    /// Keep the newest so many named snapshots
    #[arg(long, value_name = "COUNT")]
    pub keep_last: Option<u64>,
    /// Keep the newest of each of the newest so many hours (UTC) that have one
    #[arg(long, value_name = "COUNT")]
    pub keep_hourly: Option<u64>,
    /// The same for days
    #[arg(long, value_name = "COUNT")]
    pub keep_daily: Option<u64>,
    /// The same for weeks, which begin on Monday
    #[arg(long, value_name = "COUNT")]
    pub keep_weekly: Option<u64>,
    /// Keep all that are at most this much older than the newest: 90m, 36h, 2d12h, 4w
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub keep_within: Option<u64>,
}

/// Seconds of `2d12h`: numbers with w, d, h, m or s behind each.
fn parse_duration(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no duration: write 90m, 36h, 2d12h or 4w");
    let (mut seconds, mut digits) = (0u64, String::new());
    for letter in text.chars() {
        let unit: u64 = match letter {
            '0'..='9' => {
                digits.push(letter);
                continue;
            }
            'w' => 7 * 24 * 3600,
            'd' => 24 * 3600,
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return Err(wrong()),
        };
        let number: u64 = std::mem::take(&mut digits).parse().map_err(|_| wrong())?;
        seconds = number.checked_mul(unit).and_then(|part| seconds.checked_add(part)).ok_or_else(wrong)?;
    }
    match digits.is_empty() && seconds > 0 {
        true => Ok(seconds),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn durations_are_understood_or_refused() {
        assert_eq!(parse_duration("90m"), Ok(5400));
        assert_eq!(parse_duration("2d12h"), Ok(216_000));
        assert_eq!(parse_duration("4w"), Ok(2_419_200));
        for wrong in ["", "0d", "5", "d", "1x", "-1d", "1d5", "99999999999999999999w", "\u{e9}"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tags_are_made_listed_and_removed() {
        let parse = |words: &[&str]| Cli::try_parse_from([&["esker", "tag"], words].concat());
        let Command::Tag(made) = parse(&["w@ab12", "v1"]).unwrap().command else { panic!() };
        assert_eq!((made.source, made.name), (Some("w@ab12".into()), Some("v1".into())));
        let Command::Tag(listed) = parse(&["list", "w"]).unwrap().command else { panic!() };
        assert!(matches!(listed.command, Some(TagCommand::List { workspace }) if workspace == "w"));
        assert!(matches!(parse(&["rm", "w", "v1"]).unwrap().command, Command::Tag(_)));
        assert!(parse(&["w@ab12"]).is_err() && parse(&[]).is_err());
    }

    #[test]
    fn rules_need_one_at_least() {
        assert!(Cli::try_parse_from(["esker", "retention", "set", "w"]).is_err());
        assert!(Cli::try_parse_from(["esker", "retention", "set", "--keep-last", "3", "--keep-within", "1d"]).is_ok());
        assert!(Cli::try_parse_from(["esker", "gc", "--repack-below", "101"]).is_err());
    }
}
