//! Measures import and export: `cargo run --example import_speed -- FOLDER [TARGET]`
//!
//! Objects stay in memory, so this is the cost of walking, reading, cutting, hashing and building trees alone.

#![allow(clippy::unwrap_used, reason = "a test or example may panic")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use vfs_core::Result;
use vfs_core::diff::diff;
use vfs_core::export::{ExportOptions, export};
use vfs_core::id::IdKey;
use vfs_core::import::{ImportOptions, InoSource, differences, import, scan};
use vfs_core::object::{Ino, Provenance, Snapshot};
use vfs_core::objects::MemoryObjects;
use vfs_core::progress::silent;

struct Counter(AtomicU64);

#[async_trait]
impl InoSource for Counter {
    async fn take(&self, count: u64) -> Result<Ino> {
        Ok(Ino(self.0.fetch_add(count, Ordering::Relaxed)))
    }
}

fn peak_kib() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("no VmHWM").to_string()
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments.next().expect("because the first argument is a folder");
    let (objects, counter) = (MemoryObjects::new(IdKey::golden()), Counter(AtomicU64::new(16)));
    let options = ImportOptions::default();
    let start = Instant::now();
    let scanned = scan(&folder, &options).await?;
    println!("scan {:?}: {} names, {} bytes", start.elapsed(), scanned.names, scanned.bytes);
    let mut previous: Option<Snapshot> = None;
    for what in ["import", "import again"] {
        let start = Instant::now();
        let imported = import(&objects, &counter, &folder, previous.as_ref(), &options, &silent).await?;
        println!(
            "{what} {:?}: {:?}, {} skipped, {}",
            start.elapsed(),
            imported.totals,
            imported.skipped.len(),
            peak_kib()
        );
        let snapshot = Snapshot {
            root: imported.root,
            links: imported.links,
            parents: vec![],
            author: String::new(),
            time: Default::default(),
            message: String::new(),
            automatic: false,
            provenance: Provenance::default(),
        };
        if let Some(previous) = &previous {
            println!("{} differences", diff(&objects, previous, &snapshot, 1000).await?.0.len());
        }
        previous = Some(snapshot);
    }
    let snapshot = previous.expect("because two imports were made");
    let start = Instant::now();
    println!(
        "differences {}: {:?}",
        differences(&objects, &folder, &snapshot, &options, 100).await?.len(),
        start.elapsed()
    );
    if let Some(target) = arguments.next() {
        let start = Instant::now();
        let exported = export(&objects, &snapshot, &target, ExportOptions::default(), &silent).await?;
        println!("export {:?}: {} names, {} skipped", start.elapsed(), exported.names, exported.skipped.len());
    }
    Ok(())
}
