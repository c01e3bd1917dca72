//! The command line of what looks after a repo: `quota`, `check`, `repair`, `rebuild`, `gc`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

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
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
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
    use clap::Parser;

    use super::*;

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
        assert!(
            crate::cli::Cli::try_parse_from(["esker", "check", "--resume"]).is_err(),
            "only a full check can go on"
        );
    }
}
