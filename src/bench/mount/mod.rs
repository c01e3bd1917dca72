//! `esker bench mount`: everyday programs on a mount and on local ext4, in turn, in one run.
//!
//! Everything is prepared before it is timed and nothing needs a network. Both sides lie on ext4 in a loop file of their own,
//! so they pay for the same kind of disk. Wall-clock times of one machine: read ratios, not absolutes; the number of FUSE
//! requests is nearly the same everywhere. Knows the commands of `esker` only from outside, as a user does.

mod arena;
mod material;
mod report;
mod rows;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use vfs_core::{Error, Kind, Result};

use super::{RUNS_MAX, Scratch, publish};
use arena::Arena;
use material::Material;
use report::{Report, Row};
use rows::{ROWS, Work};

/// Options of `bench mount`.
#[derive(Debug, Args)]
pub(crate) struct BenchMount {
    /// Repetitions; medians are shown
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    pub runs: u32,
    /// Write the results as JSON, too
    #[arg(long, value_name = "FILE")]
    pub json_file: Option<PathBuf>,
    /// Write the results as Markdown, too
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Real files to work on [default: the sources in cargo's registry]
    #[arg(long, value_name = "DIR")]
    pub source: Option<PathBuf>,
    /// Take at most this many files of the source
    #[arg(long, value_name = "COUNT", default_value_t = 5000)]
    pub files: usize,
    /// Only rows whose name holds this
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
}

/// Runs the benchmark and prints its table, as JSON if asked.
pub(crate) fn run(options: &BenchMount, json: bool) -> Result<()> {
    if options.runs == 0 || options.runs > RUNS_MAX {
        return Err(Error::new(Kind::Invalid, format!("--runs is between 1 and {RUNS_MAX}")));
    }
    let scratch = Scratch::new(&std::env::temp_dir())?;
    eprintln!("preparing (nothing of this is timed)");
    let wanted = |row: &&rows::Definition| options.only.as_ref().is_none_or(|text| row.name.contains(text.as_str()));
    let with_npm = ROWS.iter().filter(wanted).any(|row| row.name == rows::NPM_CI);
    let material = Material::prepare(scratch.path(), options.source.as_deref(), options.files, with_npm)?;
    let arenas = [Arena::local(&scratch)?, Arena::esker(&scratch)?];
    let mut report = Report::new(options.runs, &material, &arenas[0]);
    for row in ROWS.iter().filter(wanted) {
        report.rows.push(Row::new(row.name));
    }
    for repetition in 0..options.runs {
        for (side, arena) in arenas.iter().enumerate() {
            let folder = arena.fresh_folder(repetition)?;
            let work = Work { folder, material: &material };
            for (index, row) in ROWS.iter().filter(wanted).enumerate() {
                let measured = measure(row, &work, arena);
                eprintln!(
                    "{:>2}/{} {:<6} {:<28} {}",
                    repetition + 1,
                    options.runs,
                    arena.name(),
                    row.name,
                    measured.short()
                );
                report.rows[index].add(side, measured);
            }
        }
    }
    drop(arenas);
    publish(&report.json(), &report.markdown(), &options.json_file, &options.markdown, json)
}

/// One timed run of one row.
enum Measured {
    Took { seconds: f64, requests: Option<u64> },
    Cannot { why: String },
}

impl Measured {
    fn short(&self) -> String {
        match self {
            Measured::Took { seconds, requests: None } => format!("{seconds:.3} s"),
            Measured::Took { seconds, requests: Some(requests) } => format!("{seconds:.3} s, {requests} requests"),
            Measured::Cannot { why } => why.clone(),
        }
    }
}

fn measure(row: &rows::Definition, work: &Work<'_>, arena: &Arena) -> Measured {
    let timed = || {
        (row.prepare)(work)?;
        // What came before must not be written back on this row's time.
        rustix::fs::sync();
        let before = arena.requests()?;
        let start = Instant::now();
        (row.work)(work)?;
        let seconds = start.elapsed().as_secs_f64();
        let after = arena.requests()?;
        Ok(Measured::Took { seconds, requests: after.zip(before).map(|(after, before)| after.saturating_sub(before)) })
    };
    timed().unwrap_or_else(|error: Error| Measured::Cannot { why: error.chain() })
}

#[cfg(test)]
mod tests;
