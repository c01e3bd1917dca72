//! Medians, ratios and their two shapes: JSON for machines, a Markdown table for people.

use serde_json::{Value, json};

use super::super::machine::{kernel, median, processors};
use super::Measured;
use super::arena::Arena;
use super::material::Material;

/// The whole result.
#[derive(Debug)]
pub(super) struct Report {
    runs: u32,
    files: usize,
    disk: String,
    pub(super) rows: Vec<Row>,
}

/// One row: all its runs on both sides.
#[derive(Debug)]
pub(super) struct Row {
    name: &'static str,
    /// Seconds of each run: local, Esker.
    seconds: [Vec<f64>; 2],
    requests: Vec<u64>,
    cannot: Option<String>,
}

const DURABILITY: &str = "local: everything is in the journal, which is synced on fsync and every second";

impl Row {
    pub(super) fn new(name: &'static str) -> Row {
        Row { name, seconds: [Vec::new(), Vec::new()], requests: Vec::new(), cannot: None }
    }

    /// Adds a run of side 0 (local) or 1 (Esker).
    pub(super) fn add(&mut self, side: usize, measured: Measured) {
        match measured {
            Measured::Took { seconds, requests } => {
                self.seconds[side].push(seconds);
                self.requests.extend(requests);
            }
            Measured::Cannot { why } => self.cannot = Some(format!("{}: {why}", ["ext4", "esker"][side])),
        }
    }

    fn medians(&self) -> Option<(f64, f64)> {
        Some((median(&self.seconds[0])?, median(&self.seconds[1])?))
    }

    fn median_requests(&self) -> Option<u64> {
        let requests: Vec<f64> = self.requests.iter().map(|&count| count as f64).collect();
        median(&requests).map(|count| count as u64)
    }
}

impl Report {
    pub(super) fn new(runs: u32, material: &Material, local: &Arena) -> Report {
        Report { runs, files: material.files, disk: local.disk().to_owned(), rows: Vec::new() }
    }

    pub(super) fn json(&self) -> String {
        let rows: Vec<Value> = self.rows.iter().map(row_json).collect();
        let report = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "optimised": !cfg!(debug_assertions),
            "runs": self.runs,
            "files": self.files,
            "disk": self.disk,
            "durability": DURABILITY,
            "processors": processors(),
            "kernel": kernel(),
            "rows": rows,
        });
        format!("{report:#}\n")
    }

    pub(super) fn markdown(&self) -> String {
        let build = if cfg!(debug_assertions) { "an unoptimised build: times say little" } else { "release build" };
        let mut text =
            String::from("# Benchmarks\n\nMade by `esker bench mount`; times of one machine, so read the ratios.\n\n");
        text += &format!(
            "* esker {}, {build}; Linux {}, {} processors\n",
            env!("CARGO_PKG_VERSION"),
            kernel(),
            processors()
        );
        text += &format!(
            "* medians of {} runs, both sides in turn; {} files in the archive and the repository\n",
            self.runs, self.files
        );
        text += &format!("* local disk and Esker's data folder: {}\n", self.disk);
        text += &format!("* durability level {DURABILITY}; ext4: as mounted by default\n\n");
        text += "| | ext4, s | Esker, s | ratio | FUSE requests |\n|---|---|---|---|---|\n";
        for row in &self.rows {
            text += &row_markdown(row);
        }
        text
    }
}

fn row_json(row: &Row) -> Value {
    let medians = row.medians();
    json!({
        "name": row.name,
        "ext4_seconds": row.seconds[0],
        "esker_seconds": row.seconds[1],
        "ext4_median_seconds": medians.map(|(local, _)| local),
        "esker_median_seconds": medians.map(|(_, esker)| esker),
        "ratio": medians.map(|(local, esker)| esker / local),
        "fuse_requests": row.requests,
        "cannot": row.cannot,
    })
}

fn row_markdown(row: &Row) -> String {
    if let Some(why) = &row.cannot {
        let why: String = why.replace('|', "/").replace('\n', " ");
        return format!("| {} | | | | cannot run: {why} |\n", row.name);
    }
    let Some((local, esker)) = row.medians() else { return format!("| {} | | | | did not run |\n", row.name) };
    let requests = row.median_requests().map_or_else(String::new, |count| count.to_string());
    format!("| {} | {local:.3} | {esker:.3} | ×{:.2} | {requests} |\n", row.name, esker / local)
}
