//! The commands as scripts use them: JSON, pipes, detached mounts, refusals that protect.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use crate::world::{Mount, Run, World};

#[test]
fn json_is_json_everywhere() {
    let world = World::new();
    let source = world.folder("source");
    fs::write(source.join("file"), "content").unwrap();
    world.command(["import"]).arg(&source).args(["--workspace", "w", "--json"]).run().ok().json();
    for arguments in [
        &["workspace", "list"][..],
        &["workspace", "create", "empty"],
        &["log", "w", "--all"],
        &["ls", "w:"],
        &["fork", "w", "f"],
        &["diff", "w", "f"],
        &["checkpoint", "w", "-m", "message"],
        &["check", "--full"],
        &["gc"],
        &["doctor"],
    ] {
        // One value, or for lists that may be long one value a line, perhaps none.
        let done = world.command(arguments).arg("--json").run().ok();
        let each_line = done.out.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
        assert!(each_line || done.json().is_object() || done.json().is_array(), "{done}");
    }
    let refused = world.esker(["log", "missing", "--json"]).fails(3);
    println!("{refused}");
}

#[test]
fn a_command_in_a_pipe_ends_although_it_started_an_engine() {
    let world = World::new();
    let mut child = world.command(["workspace", "list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipes = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    // Ends only when every copy of the pipe is closed: a detached engine must not keep one.
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let result = pipes.0.read_to_string(&mut text).and(pipes.1.read_to_string(&mut text));
        let _ = done.send(result);
    });
    let result = ended.recv_timeout(crate::world::PATIENCE).expect("the pipe is closed when the command has ended");
    result.unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_detached_mount_is_there_when_the_command_returns() {
    let Some(world) = World::with_mounts() else { return };
    world.esker(["workspace", "create", "w"]).ok();
    let dir = world.folder("m");
    world.command(["mount", "w"]).arg(&dir).arg("--detach").run().ok();
    fs::write(dir.join("file"), "content").unwrap();
    let status = world.command(["status"]).arg(&dir).arg("--json").run().ok().json();
    assert!(status.is_object(), "{status}");
    world.command(["unmount"]).arg(&dir).run().ok();
    assert!(!dir.join("file").exists(), "unmounted");
    assert_eq!(world.esker(["cat", "w:file"]).ok().out, "content", "unmount publishes");
}

#[test]
fn a_second_mount_is_refused_with_the_place_of_the_first() {
    let Some(world) = World::with_mounts() else { return };
    world.esker(["workspace", "create", "w"]).ok();
    let mount = Mount::new(&world, "w", "m");
    let other = world.folder("other");
    let refused = world.command(["mount", "w"]).arg(&other).run().fails(4);
    assert!(refused.err.contains(&mount.dir.display().to_string()), "names the mount: {refused}");
    assert!(refused.err.contains(&mount.pid().as_raw_nonzero().to_string()), "names the process: {refused}");
    world.esker(["workspace", "delete", "w"]).fails(4);
    fs::write(mount.path("still works"), "yes").unwrap();
}

#[test]
fn a_snapshot_is_mounted_read_only() {
    let Some(world) = World::with_mounts() else { return };
    let source = world.folder("source");
    fs::write(source.join("file"), "content").unwrap();
    world.command(["import"]).arg(&source).args(["--workspace", "w"]).run().ok();
    let snapshot = world.checkpoint("w", "the one to look at");
    let mount = Mount::new(&world, &format!("w@{snapshot}"), "m");
    assert_eq!(fs::read_to_string(mount.path("file")).unwrap(), "content");
    let refused = fs::write(mount.path("file"), "changed").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(rustix::io::Errno::ROFS.raw_os_error()));
    // The workspace itself is still free.
    let second = Mount::new(&world, "w", "live");
    fs::write(second.path("file"), "changed").unwrap();
    assert_eq!(fs::read_to_string(mount.path("file")).unwrap(), "content");
}

#[test]
fn what_a_read_only_mount_shows_outlives_its_history() {
    let Some(world) = World::with_mounts() else { return };
    let source = world.folder("source");
    for number in 0..50 {
        fs::write(source.join(format!("{number}")), format!("content {number}").repeat(500)).unwrap();
    }
    world.command(["import"]).arg(&source).args(["--workspace", "w"]).run().ok();
    let snapshot = world.checkpoint("w", "the one to look at");
    let mut mount = Mount::new(&world, &format!("w@{snapshot}"), "m");
    let mut live = Mount::new(&world, "w", "live");
    for round in 0..3 {
        for number in 0..50 {
            fs::write(live.path(format!("{number}")), format!("{round} {number}")).unwrap();
        }
        world.checkpoint("w", &format!("round {round}"));
    }
    live.unmount(&world);
    world.esker(["retention", "set", "w", "--keep-last", "1"]).ok();
    world.esker(["gc", "--grace", "0"]).ok();
    // None of these was read before: nothing is in the memory of the mount or of the kernel.
    for number in 0..50 {
        let content = fs::read_to_string(mount.path(format!("{number}"))).unwrap();
        assert_eq!(content, format!("content {number}").repeat(500));
    }
    mount.unmount(&world);
    world.esker(["gc", "--grace", "0"]).ok();
    world.esker(["ls", &format!("w@{snapshot}:")]).fails(3);
}

#[test]
fn a_command_sees_what_a_mount_wrote_a_moment_ago() {
    let Some(world) = World::with_mounts() else { return };
    world.esker(["workspace", "create", "w"]).ok();
    let mount = Mount::new(&world, "w", "m");
    for round in 0..5 {
        let content = format!("round {round}\n");
        fs::write(mount.path("file"), &content).unwrap();
        assert_eq!(world.esker(["cat", "w:file"]).ok().out, content);
    }
    fs::remove_file(mount.path("file")).unwrap();
    world.esker(["cat", "w:file"]).fails(3);
}

#[test]
fn up_imports_and_mounts_and_publishes_at_the_end() {
    let Some(world) = World::with_mounts() else { return };
    let source = world.folder("project");
    fs::create_dir(source.join("target")).unwrap();
    fs::write(source.join("target/big"), "left out").unwrap();
    fs::write(source.join("file"), "content").unwrap();
    let at = world.folder("at");
    let mut up = world.command(["up"]);
    up.arg(&source).arg("--at").arg(&at).args(["--exclude", "target"]);
    let mut child = up.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    world.wait_for("the mount", |_| at.join("file").exists());
    assert!(!at.join("target").exists(), "excluded");
    fs::write(at.join("made here"), "new").unwrap();
    assert!(!source.join("made here").exists(), "the source is only read");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "Ctrl-C ends it well: {status}");
    assert_eq!(world.esker(["cat", "project:made here"]).ok().out, "new");
}

#[test]
fn help_and_completions_need_no_engine() {
    let world = World::new();
    for arguments in [&["--help"][..], &["mount", "--help"], &["--version"], &["completion", "bash"]] {
        assert!(!world.esker(arguments).ok().out.is_empty());
    }
    assert!(!world.data().exists(), "no data folder was made for that");
}

#[test]
fn gc_keeps_what_is_reachable_and_frees_a_deleted_workspace() {
    let world = World::new();
    let mut chance = crate::model::chance::Chance::new(8);
    for name in ["kept", "dropped"] {
        let source = world.folder(name);
        let noise: Vec<u8> = (0..3_000_000).map(|_| chance.bits() as u8).collect();
        fs::write(source.join("noise"), noise).unwrap();
        world.command(["import"]).arg(&source).args(["--workspace", name]).run().ok();
    }
    let used = || folder_bytes(&world.data().join("bucket"));
    let before = used();
    world.esker(["workspace", "delete", "dropped"]).ok();
    world.esker(["gc", "--grace", "0"]).ok();
    world.esker(["gc", "--grace", "0"]).ok();
    assert!(used() + 2_500_000 < before, "gc freed nothing: {before} bytes before, {} after", used());
    assert_eq!(world.esker(["cat", "kept:noise"]).ok().bytes, fs::read(world.path("kept/noise")).unwrap());
    world.esker(["check", "--full"]).ok();
}

fn folder_bytes(folder: &std::path::Path) -> u64 {
    let bytes = |entry: fs::DirEntry| {
        let metadata = entry.metadata().expect("metadata");
        if metadata.is_dir() { folder_bytes(&entry.path()) } else { metadata.len() }
    };
    fs::read_dir(folder).expect("a readable folder").flatten().map(bytes).sum()
}
