//! The POSIX suite `pjdfstest` (0.2.2, from the crate registry) on a mount, where it is installed:
//! `cargo install pjdfstest --locked --version 0.2.2`. `PJDFSTEST` names it if it is not on the path.
//!
//! The tests that remount read-only are off here: mount(8) would look for a helper of ours, and on ext4, too, six of the
//! thirteen fail in a full run because the suite itself leaves a removed file open. `lifecycle.rs` has ours.

#![allow(clippy::unwrap_used, reason = "a test or example may panic")]

mod world;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use world::{World, can_mount};

const CONFIGURATION: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
utimensat = {}
utime_now = {}
[settings]
naptime = 0.01
allow_remount = false
expected_failures = []
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"#;

#[test]
fn pjdfstest_passes() {
    let program = std::env::var("PJDFSTEST").unwrap_or_else(|_| "pjdfstest".into());
    if !can_mount() || Command::new(&program).arg("--version").output().is_err() {
        eprintln!("skipped: {program} is not installed");
        return;
    }
    let world = World::new();
    let other = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::set_permissions(other.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let configuration = other.path().join("pjdfstest.toml");
    fs::write(&configuration, CONFIGURATION).unwrap();
    let output = Command::new(program)
        .arg("-c")
        .arg(&configuration)
        .arg("-p")
        .arg(world.mount().mountpoint())
        .arg("-s")
        .arg(other.path())
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let failed: Vec<&str> = text.lines().filter(|line| line.trim_end().ends_with("FAILED")).collect();
    let summary = text.lines().find(|line| line.starts_with("Summary")).unwrap_or_default();
    assert!(output.status.success() && failed.is_empty(), "{failed:#?} {summary}");
    let passed = text.lines().filter(|line| line.trim_end().ends_with(" ok")).count();
    assert!(passed >= 384, "{summary}");
}
