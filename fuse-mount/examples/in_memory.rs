//! Mounts an empty workspace that is kept in memory (its journal: in a folder), for suites from outside:
//!
//! ```text
//! cargo run -p fuse-mount --example in_memory -- MOUNTPOINT JOURNAL_FOLDER
//! ```
//!
//! Ends when it is unmounted and then says which requests it answered.

#![allow(clippy::unwrap_used, reason = "a test or example may panic")]

use std::path::PathBuf;

use fuse_mount::{Mount, MountOptions};

#[allow(dead_code, reason = "tests use the rest")]
#[path = "../tests/world/base.rs"]
mod base;

fn main() -> vfs_core::Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(mountpoint), Some(folder)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: in_memory MOUNTPOINT JOURNAL_FOLDER");
        std::process::exit(2);
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime because this machine has threads");
    let workspace = runtime.block_on(async { base::MemoryBase::new().await?.open(&folder).await })?;
    let options = MountOptions { allow_other: true, ..MountOptions::default() };
    let mount = Mount::start(workspace, &mountpoint, &options, runtime.handle().clone())?;
    println!("mounted at {}", mount.mountpoint().display());
    let ended = mount.wait();
    for (operation, count) in mount.counters().by_operation {
        println!("{operation:>16} {count}");
    }
    ended
}
