//! Promise P3: `kill -9` of mount or engine needs no repair by hand and loses nothing that was answered.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::model::chance::{Chance, seed_or};
use crate::world::{Mount, Run, World, crate_sources};

#[test]
fn git_is_whole_after_the_mount_is_killed_in_the_middle_of_its_work() {
    let Some(world) = World::with_mounts() else { return };
    let (source, _) = crate_sources(&world, "source", 800);
    world.esker(["workspace", "create", "w"]).ok();
    let mut mount = Mount::new(&world, "w", "m");
    world.program("cp").arg("-a").arg(&source).arg(mount.path("repo")).run().ok();
    let git = |arguments: &[&str]| {
        let mut command = world.program("git");
        command.current_dir(world.path("m/repo")).args(arguments);
        command
    };
    git(&["init", "-q"]).run().ok();
    git(&["add", "-A"]).run().ok();
    git(&["commit", "-q", "-m", "before"]).run().ok();
    let committed = git(&["rev-parse", "HEAD"]).run().ok().out;

    let mut chance = Chance::new(seed_or(3));
    for round in 0..4 {
        fs::write(mount.path(format!("repo/round-{round}")), format!("{round}\n")).unwrap();
        for entry in fs::read_dir(mount.path("repo")).unwrap().flatten().filter(|entry| entry.path().is_dir()).take(20)
        {
            fs::write(entry.path().join("changed"), format!("round {round}\n")).unwrap();
        }
        let script = "rm -f .git/index.lock; git add -A && git commit -q -m more && git gc -q";
        let mut work = world.program("sh");
        let work =
            work.current_dir(world.path("m/repo")).args(["-c", script]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut work = work.process_group(0).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(5 + chance.below(400)));
        mount.kill();
        // A git that was listing a directory asks a dead mount for the rest of it for ever.
        std::thread::sleep(Duration::from_millis(100));
        let group = rustix::process::Pid::from_child(&work);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = work.wait();

        let start = Instant::now();
        mount.start(&world);
        let back = start.elapsed();
        assert!(back < Duration::from_secs(10), "back only after {back:?}");
        println!("round {round}: back after {back:?}");
        // git's own leftovers of an interrupted run are allowed, damage is not.
        git(&["fsck", "--full"]).run().ok();
        git(&["cat-file", "-e", committed.trim()]).run().ok();
        assert_eq!(fs::read_to_string(mount.path(format!("repo/round-{round}"))).unwrap(), format!("{round}\n"));
    }
    world.checkpoint("w", "after the crashes");
    drop(mount);
    world.esker(["check", "--full"]).ok();
}

#[test]
fn every_answered_write_is_there_after_kill() {
    let Some(world) = World::with_mounts() else { return };
    world.esker(["workspace", "create", "w"]).ok();
    let mut mount = Mount::new(&world, "w", "m");
    let mut chance = Chance::new(seed_or(4));
    let mut expected = 0;
    for _ in 0..8 {
        for _ in 0..chance.below(60) {
            fs::write(mount.path(format!("file-{expected}")), vec![expected as u8; chance.below(20_000) as usize + 1])
                .unwrap();
            expected += 1;
        }
        mount.kill();
        mount.start(&world);
        assert_eq!(fs::read_dir(&mount.dir).unwrap().count(), expected);
        for number in 0..expected {
            let content = fs::read(mount.path(format!("file-{number}"))).unwrap();
            assert!(!content.is_empty() && content.iter().all(|&byte| byte == number as u8), "file-{number} changed");
        }
    }
}

#[test]
fn a_mount_outlives_its_engine_and_publishes_to_the_next_one() {
    let Some(mut world) = World::with_mounts() else { return };
    world.start_engine();
    world.esker(["workspace", "create", "w"]).ok();
    let mount = Mount::new(&world, "w", "m");
    fs::write(mount.path("before"), "1").unwrap();
    world.kill_engine();
    fs::write(mount.path("while away"), "2").unwrap();
    assert_eq!(fs::read_to_string(mount.path("before")).unwrap(), "1");
    // Whoever needs an engine now, the mount or the next command, starts one.
    fs::write(mount.path("after"), "3").unwrap();
    // Until the mount has found the new engine, the answer is "try again" (6), never a state without its work.
    world.wait_for("the mount to come back", |world| {
        let done = world.esker(["checkpoint", "w", "-m", "all three"]);
        assert!(done.code == 0 || done.code == 6, "{done}");
        done.code == 0
    });
    let snapshot = world.checkpoint("w", "the same");
    for (name, content) in [("before", "1"), ("while away", "2"), ("after", "3")] {
        assert_eq!(world.esker(["cat", &format!("w@{snapshot}:{name}")]).ok().out, content);
    }
}

#[test]
fn an_engine_killed_during_an_import_leaves_a_sound_repo() {
    let Some(mut world) = World::with_mounts() else { return };
    let (source, _) = crate_sources(&world, "source", 2_000);
    let mut chance = Chance::new(seed_or(5));
    for round in 0..3 {
        world.start_engine();
        let mut import = world.command(["import"]);
        let import = import.arg(&source).args(["--workspace", "w"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut import = import.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(20 + chance.below(600)));
        world.kill_engine();
        let _ = import.wait();
        let check = world.esker(["check", "--full"]);
        // 8: a pack that was not registered any more, which gc removes.
        assert!(matches!(check.code, 0 | 8), "round {round}: {check}");
        // The check may have started an engine of its own; it must make room.
        stop_engines(&world);
    }
    world.command(["import"]).arg(&source).args(["--workspace", "w"]).run().ok();
    world.esker(["check", "--full"]).ok();
    let exported = world.path("exported");
    world.command(["export", "w"]).arg(&exported).run().ok();
    crate::world::same_tree(&source, &exported);
}

fn stop_engines(world: &World) {
    for pid in world.processes() {
        let pid = rustix::process::Pid::from_raw(pid).expect("a process id is not 0");
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    world.wait_for("the engines to end", |world| world.processes().is_empty());
}
