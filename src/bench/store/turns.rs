//! Many turns of an agent on a large workspace, with gc all the while: how far the bucket grows beyond what is needed.
//!
//! Everything is the real thing: files are changed in a mount, a checkpoint ends each turn, and `esker gc` runs again and again beside
//! them. Of the history only the newest states stay, so most of what turns write becomes garbage.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use vfs_core::{Error, Kind, Result};

use super::super::command::run as run_program;
use super::super::machine::median;
use super::esker::{Program, engine_of};
use super::measure::of_process;
use super::report::Line;
use super::tool::bytes_below;

const FILE_BYTES: usize = 1 << 20;
/// What an edit replaces in the middle of a file.
const EDIT_BYTES: usize = 16 << 10;
/// Files that a turn edits, beside one that it writes anew.
const EDITS: usize = 8;
/// Snapshots that stay, and after how many seconds garbage may go.
const KEPT: &str = "20";
const GRACE_SECONDS: &str = "1";
/// A turn takes at least this long: no model answers faster.
const TURN: Duration = Duration::from_millis(500);
/// The bucket is measured at each of so many turns.
const MEASURED_EVERY: u32 = 20;
const WORKSPACE: &str = "turns";

/// The rows.
pub(super) fn run(scratch: &Path, esker: &Program, turns: u32, bytes: u64) -> Result<Vec<Line>> {
    let folder = scratch.join("turns");
    eprintln!("turns: a workspace of {} MiB (not timed)", bytes >> 20);
    let agent = Agent::new(esker, &folder, (bytes as usize).div_ceil(FILE_BYTES).max(1))?;
    agent.esker(&["retention", "set", WORKSPACE, "--keep-last", KEPT])?;
    eprintln!("turns: {turns} of them");
    let done = AtomicBool::new(false);
    let (worked, collected) = std::thread::scope(|scope| {
        let collector = scope.spawn(|| agent.collect_until(&done));
        let worked = agent.work(turns);
        done.store(true, Ordering::Release);
        (worked, collector.join())
    });
    let (turn_seconds, ratios) = worked?;
    let (runs, copied) = collected.map_err(|_| Error::new(Kind::Internal, "gc panicked"))??;
    agent.esker(&["check", "--full"])?;
    let (processor, peak) = of_process(engine_of(&agent.data)?)?;
    let worst = ratios.iter().copied().fold(0.0, f64::max);
    let last = ratios.last().copied().unwrap_or_default();
    let line = |what: String, value: f64, unit, remark: String| Line { what, value, unit, remark };
    let size = format!("{} MiB, {turns} turns", bytes >> 20);
    drop(agent);
    fs::remove_dir_all(&folder).map_err(|error| Error::io("cannot remove a folder", error))?;
    Ok(vec![
        line(
            format!("bucket to reachable bytes at worst, {size}"),
            worst,
            "times",
            format!(
                "{last:.3} at the end; {runs} runs of gc beside the turns copied {} MiB; checked in full",
                copied >> 20
            ),
        ),
        line(
            format!("a turn: {EDITS} edits, a new file, a checkpoint, {size}"),
            median(&turn_seconds).unwrap_or_default() * 1e3,
            "ms, p50",
            format!(
                "one each {} ms; engine: {processor:.1} s CPU, {:.0} MiB peak",
                TURN.as_millis(),
                peak as f64 / f64::from(1 << 20)
            ),
        ),
    ])
}

/// Numbers by chance, the same in each run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Nothing in them can be compressed or is there twice.
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(count).collect()
    }
}

/// A workspace that is mounted, and an engine.
struct Agent {
    program: Program,
    data: PathBuf,
    mounted: PathBuf,
    files: usize,
}

impl Agent {
    fn new(program: &Program, folder: &Path, files: usize) -> Result<Agent> {
        let failed = |error| Error::io("cannot make the files of a workspace", error);
        let (source, mounted, data) = (folder.join("source"), folder.join("mounted"), folder.join("data"));
        fs::create_dir_all(&mounted).map_err(failed)?;
        let mut chance = Chance(1);
        for number in 0..files {
            let path = source.join(name(number));
            fs::create_dir_all(path.parent().unwrap_or(&source)).map_err(failed)?;
            fs::write(path, chance.bytes(FILE_BYTES)).map_err(failed)?;
        }
        let agent = Agent { program: program.clone(), data, mounted, files };
        run_program(agent.command().arg("import").arg(&source).args(["--workspace", WORKSPACE]))?;
        fs::remove_dir_all(&source).map_err(failed)?;
        run_program(agent.command().args(["mount", WORKSPACE]).arg(&agent.mounted).arg("--detach"))?;
        Ok(agent)
    }

    fn command(&self) -> Command {
        self.program.command(&self.data)
    }

    fn esker(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        run_program(self.command().args(arguments))
    }

    /// The turns; returns how long each took, and how large the bucket was beside what is needed.
    fn work(&self, turns: u32) -> Result<(Vec<f64>, Vec<f64>)> {
        let (mut seconds, mut ratios, mut chance) = (Vec::new(), Vec::new(), Chance(2));
        for turn in 0..turns {
            let start = Instant::now();
            self.turn(&mut chance).map_err(|error| Error::io("cannot write into the mount", error))?;
            self.esker(&["checkpoint", WORKSPACE, "-m", &format!("turn {turn}")])?;
            seconds.push(start.elapsed().as_secs_f64());
            std::thread::sleep(TURN.saturating_sub(start.elapsed()));
            if (turn + 1) % MEASURED_EVERY == 0 {
                let needed = number(&self.esker(&["gc", "--dry-run", "--json"])?, "reachable_bytes")?;
                let bucket = bytes_below(&self.data.join("bucket")).unwrap_or_default();
                ratios.push(bucket as f64 / needed.max(1) as f64);
                eprintln!(
                    "turn {:>5}: the bucket has {:.3} times what is needed",
                    turn + 1,
                    bucket as f64 / needed as f64
                );
            }
        }
        Ok((seconds, ratios))
    }

    fn turn(&self, chance: &mut Chance) -> std::io::Result<()> {
        for _ in 0..EDITS {
            let file = File::options().write(true).open(self.mounted.join(name(chance.below(self.files))))?;
            let place = chance.below(FILE_BYTES - EDIT_BYTES);
            file.write_all_at(&chance.bytes(EDIT_BYTES), place as u64)?;
        }
        let path = self.mounted.join(name(chance.below(self.files)));
        let fresh = self.mounted.join("fresh");
        File::create(&fresh)?.write_all(&chance.bytes(FILE_BYTES))?;
        fs::rename(fresh, path)
    }

    /// Collects garbage until it is told to stop; says how often, and how many bytes it copied.
    fn collect_until(&self, done: &AtomicBool) -> Result<(u32, u64)> {
        let (mut runs, mut copied) = (0, 0);
        while !done.load(Ordering::Acquire) {
            copied += number(&self.esker(&["gc", "--grace", GRACE_SECONDS, "--json"])?, "copied_bytes")?;
            runs += 1;
        }
        Ok((runs, copied))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        for arguments in [vec!["unmount".into(), self.mounted.clone()], vec!["shutdown".into()]] {
            if let Err(error) = run_program(self.command().args(arguments)) {
                eprintln!("esker: {}", error.context());
            }
        }
    }
}

fn name(number: usize) -> String {
    format!("folder-{:03}/file-{number:05}", number / 32)
}

fn number(json: &[u8], field: &str) -> Result<u64> {
    let value: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    value[field].as_u64().ok_or_else(|| Error::new(Kind::Internal, format!("gc's report has no {field}")))
}
