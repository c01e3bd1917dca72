//! Suites from outside: written by others, for any filesystem. Long, so they run by `scripts/test-long`, which installs them.

use std::fs;
use std::time::Duration;

use crate::model::chance::{operations_or, seed_or};
use crate::world::{Mount, Run, World, has_program};

/// No suite may take longer.
const DEADLINE: Duration = Duration::from_secs(2 * 3600);

/// The C library knows the limits of ext4 by its magic number; no FUSE filesystem can tell it its own.
const IMPOSSIBLE: &[&str] = &["link::link_count_max"];

/// Promise P10: every test that ext4 runs must run and pass.
#[test]
#[ignore = "long: scripts/test-long"]
fn pjdfstest_passes_as_on_ext4() {
    if !has_program("pjdfstest") {
        return;
    }
    let Some(world) = World::with_mounts() else { return };
    world.esker(["workspace", "create", "w"]).ok();
    let mount = Mount::with_options(&world, "w", "m", &["--allow-other"]);
    let ours = pjdfstest(&world, &mount.dir);
    let reference = pjdfstest(&world, &world.folder("reference"));
    for (name, verdict) in [("ext4", &reference), ("Esker", &ours)] {
        println!("{name}: {} run, {} failed, {} skipped", verdict.run, verdict.failed.len(), verdict.skipped.len());
    }
    let new: Vec<_> = ours.failed.iter().filter(|name| !reference.failed.contains(name)).collect();
    assert!(new.is_empty(), "{} tests fail here and not on ext4:\n{new:#?}", new.len());
    let left_out: Vec<_> = ours
        .skipped
        .iter()
        .filter(|name| !reference.skipped.contains(name) && !IMPOSSIBLE.contains(&name.as_str()))
        .collect();
    assert!(left_out.is_empty(), "ext4 runs these and we do not: {left_out:#?}");
}

struct Verdict {
    run: usize,
    failed: Vec<String>,
    skipped: Vec<String>,
}

fn pjdfstest(world: &World, folder: &std::path::Path) -> Verdict {
    // As others must be able to enter the folders above.
    for above in folder.ancestors().take(3).skip(1) {
        let _ = world.program("chmod").arg("a+rx").arg(above).run();
    }
    let config = world.path("pjdfstest.toml");
    fs::write(&config, PJDFSTEST_CONFIG).unwrap();
    let program = crate::world::program_path("pjdfstest");
    let done = world
        .program(&program)
        .arg("-c")
        .arg(&config)
        .arg("-p")
        .arg(folder)
        .args(["-s", "/dev/shm"])
        .run_within(DEADLINE);
    let verdict = read_verdict(&done.out);
    assert!(verdict.run > 100, "pjdfstest ran only {} tests: {done}", verdict.run);
    verdict
}

/// Reads lines of `suite::test   ok | skipped | FAILED`.
fn read_verdict(output: &str) -> Verdict {
    let mut verdict = Verdict { run: 0, failed: Vec::new(), skipped: Vec::new() };
    for line in output.lines().filter(|line| line.contains("::")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [name, "skipped"] => verdict.skipped.push(name.to_owned()),
            [_, "ok"] => verdict.run += 1,
            [name, _] => {
                verdict.run += 1;
                verdict.failed.push(name.to_owned());
            }
            _ => {}
        }
    }
    verdict
}

/// All optional features that Linux has.
const PJDFSTEST_CONFIG: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
stat_st_birthtime = {}
utime_now = {}
utimensat = {}
file_flags = []

[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"], ["games", "games"]]
"#;

/// Promise P12: the data path is exact.
#[test]
#[ignore = "long: scripts/test-long"]
fn fsx_finds_no_wrong_byte() {
    if !has_program("fsx") {
        return;
    }
    let Some(world) = World::with_mounts() else { return };
    world.esker(["workspace", "create", "w"]).ok();
    let mount = Mount::new(&world, "w", "m");
    let (seed, operations) = (seed_or(9).to_string(), operations_or(100_000).to_string());
    let mut fsx = world.program(crate::world::program_path("fsx"));
    fsx.current_dir(world.path(""))
        .args(["-S", &seed, "-N", &operations])
        .arg(mount.path("file"))
        .run_within(DEADLINE)
        .ok();
    drop(mount);
    world.esker(["check", "--full"]).ok();
}
