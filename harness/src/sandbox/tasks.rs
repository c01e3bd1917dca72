//! How many processes and threads a command may have.
//!
//! The kernel holds the limit where this process may make a cgroup with the `pids` controller (version 1 below its own, or
//! version 2 at the root); a resource limit would not do, because the kernel spares root. Everywhere, the runner counts as
//! well and ends what has too many.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::tools::limits::TASKS_KERNEL_MAX;

/// A cgroup in which this process is until it is dropped.
pub(super) struct Limit {
    folder: PathBuf,
    above: PathBuf,
}

impl Limit {
    /// Enters a fresh cgroup; whatever is started from now on is in it. `None` where that is not possible.
    pub(super) fn enter() -> Option<Limit> {
        let table = fs::read_to_string("/proc/self/cgroup").ok()?;
        let above = table.lines().find_map(first_version).into_iter().chain([PathBuf::from("/sys/fs/cgroup")]);
        above.into_iter().find_map(|above| {
            remove_left_overs(&above);
            // Another one that tidies up may take an empty cgroup away before it is entered.
            Limit::below(&above).or_else(|_| Limit::below(&above)).ok()
        })
    }

    fn below(above: &Path) -> io::Result<Limit> {
        let folder = above.join(format!("esker-{}", std::process::id()));
        if let Err(error) = fs::create_dir(&folder)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        let limit = Limit { folder, above: above.to_owned() };
        fs::write(limit.folder.join("pids.max"), TASKS_KERNEL_MAX.to_string())?;
        fs::write(limit.folder.join("cgroup.procs"), std::process::id().to_string())?;
        Ok(limit)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // What is left in it keeps it there; nobody else is harmed by an empty one.
        let _ = fs::write(self.above.join("cgroup.procs"), std::process::id().to_string());
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Cgroups of runners that were killed; one that is in use cannot be removed.
fn remove_left_overs(above: &Path) {
    for entry in fs::read_dir(above).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("esker-") {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Where the `pids` controller of version 1 has this process.
fn first_version(line: &str) -> Option<PathBuf> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let is_pids = controllers.split(',').any(|controller| controller == "pids");
    is_pids.then(|| Path::new("/sys/fs/cgroup").join(controllers).join(path.trim_start_matches('/')))
}

/// Processes and threads of this machine.
pub(super) fn tasks_of_machine() -> u64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let tasks = text.split(' ').nth(3).and_then(|field| field.split_once('/')?.1.parse().ok());
    tasks.unwrap_or(0)
}

/// Processes and threads in the sandbox that `bwrap` started; `None` if they cannot be told from others.
pub(super) fn tasks_inside(bubblewrap: u32) -> Option<u64> {
    let children = fs::read_to_string(format!("/proc/{bubblewrap}/task/{bubblewrap}/children")).ok()?;
    let first = children.split_whitespace().next()?;
    let namespace = fs::read_link(format!("/proc/{first}/ns/pid")).ok()?;
    let processes = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter(|entry| fs::read_link(entry.path().join("ns/pid")).is_ok_and(|other| other == namespace));
    Some(processes.map(|entry| threads_of(&entry.path())).sum())
}

fn threads_of(process: &Path) -> u64 {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    // The name in parentheses may hold anything; the 18th field of what follows it is the number of threads.
    let threads = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(17)?.parse().ok());
    threads.unwrap_or(1)
}
