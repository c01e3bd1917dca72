//! `esker bench store`: the store against restic, borg and casync, on the same files, in one run.
//!
//! Inputs: a source tree, the same again, the same after a change of one file in a hundred, and a mix of binaries. Each program has a
//! fresh repository in each repetition and all take turns at each step, so noise hits all alike. What a user would call is what is
//! timed: for Esker that includes the start of an engine, whose processor time and memory are counted with the client's. At the end
//! come rows without a peer: small files to S3, what growth costs, and many turns with gc beside them.

mod esker;
mod growth;
mod input;
mod measure;
mod peers;
mod report;
mod small_files;
mod tool;
mod turns;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use vfs_core::{Error, Kind, Result};

use super::{RUNS_MAX, Scratch, publish};
use input::Input;
use report::Report;
use tool::{Place, Tool};

/// Options of `bench store`.
#[derive(Debug, Args)]
pub(crate) struct BenchStore {
    /// Repetitions; medians are shown
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    pub runs: u32,
    /// Write the results as JSON, too
    #[arg(long, value_name = "FILE")]
    pub json_file: Option<PathBuf>,
    /// Write the results as Markdown, too
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Work in a folder of this one; it needs some four times the size of the inputs [default: the temporary folder]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Real files for the source tree [default: the sources in cargo's registry]
    #[arg(long, value_name = "DIR")]
    pub source: Option<PathBuf>,
    /// Files of the source tree
    #[arg(long, value_name = "COUNT", default_value_t = 24_000)]
    pub files: usize,
    /// MiB of binaries
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    pub size: u64,
    /// Only these programs: esker, restic, borg, casync; may be repeated
    #[arg(long = "tool", value_name = "NAME")]
    pub tools: Vec<String>,
    /// Only these parts: source, binaries, small, growth, turns; may be repeated
    #[arg(long = "part", value_name = "NAME")]
    pub parts: Vec<String>,
    /// Turns of an agent on a workspace of --size
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    pub turns: u32,
    /// Esker encrypts, as restic and borg do
    #[arg(long)]
    pub encrypt: bool,
    /// Measure this esker instead of the one that runs [default: itself]
    #[arg(long, value_name = "PROGRAM")]
    pub program: Option<PathBuf>,
    /// Measure growth at a million files as well, which takes minutes
    #[arg(long)]
    pub million: bool,
    /// SeaweedFS, for small files that are stored in S3 [default: weed, if it is installed]
    #[arg(long, value_name = "PROGRAM", default_value = "weed")]
    pub seaweedfs: PathBuf,
}

/// What `--part` may name.
const PARTS: [&str; 5] = ["source", "binaries", "small", "growth", "turns"];

/// Runs the benchmark and prints its tables, as JSON if asked.
pub(crate) async fn run(options: BenchStore, json: bool) -> Result<()> {
    check(&options)?;
    let parent = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    let scratch = Scratch::new(&parent)?;
    let esker = esker::Program::find(options.program.as_deref())?;
    let tools = tools(&options, &esker);
    let mut report = Report::new(&options, &tools);
    if wanted(&options, "source") {
        let tree = Input::source(scratch.path(), options.source.as_deref(), options.files)?;
        compare(&options, scratch.path(), tree, &tools, &mut report)?;
    }
    if wanted(&options, "binaries") {
        let mix = Input::binaries(scratch.path(), options.size << 20)?;
        compare(&options, scratch.path(), mix, &tools, &mut report)?;
    }
    if wanted(&options, "small") {
        report.note("small files", small_files::run(scratch.path(), &esker, &options.seaweedfs, options.runs));
    }
    if wanted(&options, "growth") {
        report.note("growth", growth::run(scratch.path(), &esker, options.million).await);
    }
    if wanted(&options, "turns") {
        report.note("turns", turns::run(scratch.path(), &esker, options.turns, options.size << 20));
    }
    publish(&report.json(), &report.markdown(), &options.json_file, &options.markdown, json)
}

fn check(options: &BenchStore) -> Result<()> {
    if options.runs == 0 || options.runs > RUNS_MAX {
        return Err(Error::new(Kind::Invalid, format!("--runs is between 1 and {RUNS_MAX}")));
    }
    if let Some(part) = options.parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
        return Err(Error::new(Kind::Invalid, format!("--part {part:?} is none of {}", PARTS.join(", "))));
    }
    let known = ["esker", "restic", "borg", "casync"];
    match options.tools.iter().find(|tool| !known.contains(&tool.as_str())) {
        Some(tool) => Err(Error::new(Kind::Invalid, format!("--tool {tool:?} is none of {}", known.join(", ")))),
        None => Ok(()),
    }
}

fn wanted(options: &BenchStore, part: &str) -> bool {
    options.parts.is_empty() || options.parts.iter().any(|name| name == part)
}

fn tools(options: &BenchStore, esker: &esker::Program) -> Vec<Box<dyn Tool>> {
    let all: Vec<Box<dyn Tool>> = vec![
        Box::new(esker::Esker { program: esker.clone(), encrypt: options.encrypt }),
        Box::new(peers::Restic),
        Box::new(peers::Borg),
        Box::new(peers::Casync),
    ];
    all.into_iter()
        .filter(|tool| options.tools.is_empty() || options.tools.iter().any(|name| name == tool.name()))
        .collect()
}

/// All programs on one input, `runs` times.
fn compare(
    options: &BenchStore,
    scratch: &Path,
    mut input: Input,
    tools: &[Box<dyn Tool>],
    report: &mut Report,
) -> Result<()> {
    for run in 0..options.runs {
        let places: Vec<Place> =
            tools.iter().map(|tool| Place::new(scratch, tool.name())).collect::<Result<Vec<_>>>()?;
        let mut lame: Vec<bool> = tools.iter().zip(&places).map(|(tool, place)| tool.prepare(place).is_err()).collect();
        for step in input.steps() {
            if *step == Step::Changed {
                input.change(run)?;
            }
            input.warm()?;
            for index in turns(tools.len(), run, *step) {
                let (tool, place) = (&tools[index], &places[index]);
                let measured = match lame[index] {
                    false => one(tool.as_ref(), place, &input, *step, run == 0),
                    true => Err(tool
                        .prepare(place)
                        .err()
                        .unwrap_or_else(|| Error::new(Kind::Unavailable, "gave up before"))),
                };
                lame[index] |= measured.is_err();
                report.add(&input, *step, tool.name(), run, measured);
            }
        }
        for place in places {
            let path = place.folder;
            fs::remove_dir_all(&path).map_err(|error| Error::io(format!("cannot remove {}", path.display()), error))?;
        }
    }
    input.remove()
}

/// What is done with an input, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Into an empty repository.
    First,
    /// Again, with nothing changed.
    Again,
    /// Again, with one file in a hundred changed.
    Changed,
    /// The newest state into an empty folder.
    Restore,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::First => "first backup",
            Step::Again => "again, nothing changed",
            Step::Changed => "again, 1 % of the files changed",
            Step::Restore => "restore",
        }
    }
}

/// The order of the programs: each repetition begins with another one, each step turns it around.
fn turns(count: usize, run: u32, step: Step) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).map(|index| (index + run as usize) % count.max(1)).collect();
    if (step as u8).is_multiple_of(2) {
        order.reverse();
    }
    order
}

/// What one step of one program took.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    cost: measure::Cost,
    /// Bytes of its repository afterwards.
    stored: u64,
    /// What else is to be said of it.
    remark: Option<String>,
}

fn one(tool: &dyn Tool, place: &Place, input: &Input, step: Step, verify: bool) -> Result<Measured> {
    // What came before must not be written back on this step's time.
    rustix::fs::sync();
    if step != Step::Restore {
        let cost = tool.backup(place, &input.path)?;
        return Ok(Measured { cost, stored: tool.stored(place)?, remark: tool.remark(place) });
    }
    let target = place.folder.join("restored");
    fs::create_dir(&target).map_err(|error| Error::io("cannot make a folder", error))?;
    let cost = tool.restore(place, &input.path, &target)?;
    if verify {
        input.verify(&tool.restored(&input.path, &target))?;
    }
    fs::remove_dir_all(&target).map_err(|error| Error::io("cannot remove what was restored", error))?;
    Ok(Measured { cost, stored: tool.stored(place)?, remark: None })
}

#[cfg(test)]
mod tests;
