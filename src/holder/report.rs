//! What a mount says of itself to `esker status`: on SIGUSR1 it writes a file beside its journal.
//!
//! This needs no engine, so it also answers while the engine is away.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use vfs_core::clock::{Clock, SystemClock};
use vfs_core::workspace::{HolderInfo, Status};
use vfs_core::{Error, Kind, Result};

use super::Holder;
use crate::limits::{POLL, REPORT_PATIENCE};

/// What a mount has in its overlay and its caches, and what the kernel asked of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Nanoseconds since 1970, which tells a new report from an old one.
    pub(crate) at_ns: i128,
    /// Overlay, journal and caches.
    pub(crate) overlay: Status,
    /// Requests of the kernel by operation, and how many of them had to wait for the base (`misses`).
    pub(crate) requests: BTreeMap<String, u64>,
}

/// The mount's side: writes a report whenever it is asked for.
pub(super) async fn run(holder: Arc<Holder>, mut asked: tokio::signal::unix::Signal) {
    while asked.recv().await.is_some() {
        if let Err(error) = write(&holder) {
            tracing::warn!("cannot write a status report: {}", error.chain());
        }
    }
}

fn write(holder: &Holder) -> Result<()> {
    let requests = holder.mount.counters().by_operation.into_iter().map(|(name, count)| (name.to_owned(), count));
    let report = Report {
        at_ns: SystemClock.now().as_nanos(),
        overlay: holder.workspace.status(),
        requests: requests.collect(),
    };
    let path = report_path(&holder.folder);
    let temporary = path.with_extension("new");
    fs::write(&temporary, crate::print::json_line(&report))
        .and_then(|()| fs::rename(&temporary, &path))
        .map_err(|error| Error::io(format!("cannot write {}", path.display()), error))
}

/// The command's side: asks the process that holds `folder` and waits for its answer.
pub(crate) async fn ask(folder: &Path, holder: &HolderInfo) -> Result<Report> {
    let before = read(folder).map(|report| report.at_ns);
    let pid = i32::try_from(holder.pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Error::new(Kind::Internal, format!("{} is no process id", holder.pid)))?;
    kill_process(pid, Signal::USR1)
        .map_err(|error| Error::io(format!("cannot ask process {} for its status", holder.pid), error.into()))?;
    let until = Instant::now() + REPORT_PATIENCE;
    loop {
        match read(folder) {
            Some(report) if Some(report.at_ns) != before => return Ok(report),
            _ if Instant::now() >= until => {
                let line = format!("process {} does not answer; its log is in {}", holder.pid, folder.display());
                return Err(Error::new(Kind::Unavailable, line));
            }
            _ => tokio::time::sleep(POLL / 5).await,
        }
    }
}

fn read(folder: &Path) -> Option<Report> {
    serde_json::from_slice(&fs::read(report_path(folder)).ok()?).ok()
}

fn report_path(folder: &Path) -> PathBuf {
    folder.join("status.json")
}
