//! The tables: medians with their spread, times of Esker, and what cannot run says why. JSON has every single run.

use serde_json::{Value, json};
use vfs_core::Result;

use super::super::machine::{kernel, median, processors};
use super::input::Input;
use super::tool::Tool;
use super::{BenchStore, Measured, Step};

const MIB: f64 = (1 << 20) as f64;

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Report {
    runs: u32,
    encrypt: bool,
    tools: Vec<(&'static str, Result<String, String>, String)>,
    sections: Vec<Section>,
    notes: Vec<Notes>,
}

/// One step of one input: a table with a row for each program.
#[derive(Debug)]
struct Section {
    input: &'static str,
    describe: String,
    step: Step,
    changed_bytes: u64,
    rows: Vec<Row>,
}

/// One program in one step.
#[derive(Debug)]
pub(super) struct Row {
    tool: &'static str,
    runs: Vec<Measured>,
    cannot: Option<String>,
}

/// Rows without a peer.
#[derive(Debug)]
struct Notes {
    name: &'static str,
    lines: Result<Vec<Line>, String>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub(super) what: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    pub(super) remark: String,
}

impl Report {
    pub(super) fn new(options: &BenchStore, tools: &[Box<dyn Tool>]) -> Report {
        let tools = tools
            .iter()
            .map(|tool| (tool.name(), tool.version().map_err(|error| error.chain()), tool.setting()))
            .collect();
        Report { runs: options.runs, encrypt: options.encrypt, tools, sections: Vec::new(), notes: Vec::new() }
    }

    /// Adds one run of one program, and shows it.
    pub(super) fn add(&mut self, input: &Input, step: Step, tool: &'static str, run: u32, measured: Result<Measured>) {
        match &measured {
            Ok(done) => eprintln!(
                "{:>2}/{} {:<12} {:<32} {tool:<7} {:>8.3} s, {:.2} s processor, {:.0} MiB peak, {:.1} MiB stored",
                run + 1,
                self.runs,
                input.name,
                step.name(),
                done.cost.seconds,
                done.cost.processor_seconds,
                done.cost.peak_bytes as f64 / MIB,
                done.stored as f64 / MIB
            ),
            Err(error) => eprintln!(
                "{:>2}/{} {:<12} {:<32} {tool:<7} {}",
                run + 1,
                self.runs,
                input.name,
                step.name(),
                error.chain()
            ),
        }
        let known = self.sections.iter().position(|section| section.input == input.name && section.step == step);
        let index = known.unwrap_or_else(|| {
            self.sections.push(Section {
                input: input.name,
                describe: input.describe(),
                step,
                changed_bytes: input.changed_bytes,
                rows: Vec::new(),
            });
            self.sections.len() - 1
        });
        let rows = &mut self.sections[index].rows;
        let row = match rows.iter().position(|row| row.tool == tool) {
            Some(row) => &mut rows[row],
            None => {
                rows.push(Row { tool, runs: Vec::new(), cannot: None });
                rows.last_mut().expect("because one was just added")
            }
        };
        match measured {
            Ok(done) => row.runs.push(done),
            Err(error) => row.cannot = Some(error.chain()),
        }
    }

    /// Adds rows without a peer, or why there are none.
    pub(super) fn note(&mut self, name: &'static str, lines: Result<Vec<Line>>) {
        self.notes.push(Notes { name, lines: lines.map_err(|error| error.chain()) });
    }

    pub(super) fn json(&self) -> String {
        let tools: Vec<Value> = self
            .tools
            .iter()
            .map(|(name, version, setting)| json!({"name": name, "version": version.as_ref().ok(), "cannot": version.as_ref().err(), "setting": setting}))
            .collect();
        let notes: Vec<Value> = self.notes.iter().map(Notes::json).collect();
        let report = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "optimised": !cfg!(debug_assertions),
            "runs": self.runs,
            "encryption_asked_for": self.encrypt,
            "processors": processors(),
            "kernel": kernel(),
            "tools": tools,
            "steps": self.sections.iter().map(Section::json).collect::<Vec<_>>(),
            "alone": notes,
        });
        format!("{report:#}\n")
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = String::from(
            "# The store, measured\n\nMade by `esker bench store`; times of one machine, so read the ratios.\n\n",
        );
        text += &format!(
            "* Linux {}, {} processors; medians of {} runs, the programs in turn\n",
            kernel(),
            processors(),
            self.runs
        );
        for (name, version, setting) in &self.tools {
            match version {
                Ok(version) => text += &format!("* {name}: {version}; {setting}\n"),
                Err(why) => text += &format!("* {name}: cannot run: {}\n", plain(why)),
            }
        }
        text += "* processor time and peak memory: the command with its children; for Esker also its engine\n";
        let mut input = "";
        for section in &self.sections {
            if section.input != input {
                input = section.input;
                text += &format!("\n## {}\n", section.describe);
            }
            text += &section.markdown();
        }
        for notes in &self.notes {
            text += &notes.markdown();
        }
        text
    }
}

impl Section {
    fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        json!({"input": self.input, "describe": self.describe, "step": self.step.name(), "changed_bytes": self.changed_bytes, "rows": rows})
    }

    fn markdown(&self) -> String {
        let changed = match self.step {
            Step::Changed => format!(" ({:.2} MiB in the changed files)", self.changed_bytes as f64 / MIB),
            _ => String::new(),
        };
        let mut text = format!("\n### {}{changed}\n\n", self.step.name());
        text += "| | time, s | spread | × Esker | CPU, s | peak, MiB | stored, MiB | |\n|---|---|---|---|---|---|---|---|\n";
        let esker = self.rows.iter().find(|row| row.tool == "esker").and_then(|row| row.median(Measured::seconds));
        for row in &self.rows {
            text += &row.markdown(esker);
        }
        text
    }
}

impl Measured {
    fn seconds(&self) -> f64 {
        self.cost.seconds
    }
}

impl Row {
    fn median(&self, of: impl Fn(&Measured) -> f64) -> Option<f64> {
        median(&self.runs.iter().map(of).collect::<Vec<_>>())
    }

    fn json(&self) -> Value {
        let runs: Vec<Value> = self
            .runs
            .iter()
            .map(|run| {
                json!({
                    "seconds": run.cost.seconds,
                    "processor_seconds": run.cost.processor_seconds,
                    "peak_bytes": run.cost.peak_bytes,
                    "stored_bytes": run.stored,
                    "remark": run.remark,
                })
            })
            .collect();
        json!({
            "tool": self.tool,
            "median_seconds": self.median(Measured::seconds),
            "median_processor_seconds": self.median(|run| run.cost.processor_seconds),
            "peak_bytes": self.runs.iter().map(|run| run.cost.peak_bytes).max(),
            "median_stored_bytes": self.median(|run| run.stored as f64),
            "runs": runs,
            "cannot": self.cannot,
        })
    }

    /// The row of a table; `esker` is Esker's median time, to which the others are compared.
    pub(super) fn markdown(&self, esker: Option<f64>) -> String {
        if let Some(why) = &self.cannot {
            return format!("| {} | | | | | | | cannot run: {} |\n", self.tool, plain(why));
        }
        let Some(seconds) = self.median(Measured::seconds) else {
            return format!("| {} | | | | | | | did not run |\n", self.tool);
        };
        let least = self.runs.iter().map(Measured::seconds).fold(f64::INFINITY, f64::min);
        let most = self.runs.iter().map(Measured::seconds).fold(0.0, f64::max);
        let ratio = esker.map_or_else(String::new, |esker| format!("{:.2}", seconds / esker));
        let peak = self.runs.iter().map(|run| run.cost.peak_bytes).max().unwrap_or_default();
        let remark = self.runs.last().and_then(|run| run.remark.clone()).unwrap_or_default();
        format!(
            "| {} | {seconds:.3} | {least:.3} to {most:.3} | {ratio} | {:.2} | {:.0} | {:.2} | {} |\n",
            self.tool,
            self.median(|run| run.cost.processor_seconds).unwrap_or_default(),
            peak as f64 / MIB,
            self.median(|run| run.stored as f64).unwrap_or_default() / MIB,
            plain(&remark),
        )
    }
}

impl Notes {
    fn json(&self) -> Value {
        let lines = self.lines.as_ref().map(|lines| {
            lines
                .iter()
                .map(|line| json!({"what": line.what, "value": line.value, "unit": line.unit, "remark": line.remark}))
                .collect::<Vec<_>>()
        });
        json!({"name": self.name, "rows": lines.as_ref().ok(), "cannot": lines.as_ref().err()})
    }

    fn markdown(&self) -> String {
        let mut text = format!("\n## {}\n\n", self.name);
        match &self.lines {
            Err(why) => text += &format!("cannot run: {}\n", plain(why)),
            Ok(lines) => {
                text += "| | | | |\n|---|---|---|---|\n";
                for line in lines {
                    text +=
                        &format!("| {} | {:.2} | {} | {} |\n", line.what, line.value, line.unit, plain(&line.remark));
                }
            }
        }
        text
    }
}

/// Text that cannot break a table.
fn plain(text: &str) -> String {
    text.replace('|', "/").replace('\n', " ")
}

#[cfg(test)]
impl Row {
    /// A row of these runs, for tests.
    pub(super) fn of(tool: &'static str, runs: Vec<Measured>, cannot: Option<String>) -> Row {
        Row { tool, runs, cannot }
    }
}
