//! Documents in a mount: the real command, a real engine, ordinary programs.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::world::{Done, Run, World};

/// Runs a script in a folder.
fn sh(world: &World, folder: &Path, script: &str) -> Done {
    world.program("sh").args(["-c", script]).current_dir(folder).run()
}

fn put(world: &World, scope: &str, path: &str, content: &str) {
    let file = world.path("content");
    fs::write(&file, content).unwrap();
    world.command(["doc", "put", path]).arg(&file).args(["--scope", scope]).run().ok();
}

fn get(world: &World, scope: &str, path: &str) -> String {
    world.esker(["doc", "get", path, "--scope", scope]).ok().out
}

/// Mounts documents at a folder of this name; what the command said about it.
fn mount(world: &World, name: &str, more: &[&str]) -> Value {
    let at = world.path(name);
    world.command(["doc", "mount", "--detach", "--user", "ana", "--json"]).args(more).arg(&at).run().ok().json()
}

fn pid_of(said: &Value) -> Pid {
    Pid::from_raw(said["pid"].as_i64().unwrap() as i32).unwrap()
}

#[test]
fn documents_are_read_and_written_in_a_mount() {
    let Some(mut world) = World::with_mounts() else { return };
    world.start_engine();
    put(&world, "org", "skills/review/SKILL.md", "one\n");
    mount(&world, "docs", &[]);
    let docs = world.path("docs");
    assert_eq!(sh(&world, &docs, "cat skills/review/SKILL.md").ok().out, "one\n");
    put(&world, "org", "skills/review/SKILL.md", "two\n");
    assert_eq!(sh(&world, &docs, "cat skills/review/SKILL.md").ok().out, "two\n");
    sh(&world, &docs, "echo first > memories/notes.md && echo second >> memories/notes.md").ok();
    assert_eq!(get(&world, "agent/main", "memories/notes.md"), "first\nsecond\n");
    // Others' lines and ours are both there, and it says who wrote what on what.
    put(&world, "agent/main", "memories/notes.md", "first\nsecond\nthird\n");
    sh(&world, &docs, "echo fourth >> memories/notes.md && sed -i s/second/2nd/ memories/notes.md").ok();
    assert_eq!(get(&world, "agent/main", "memories/notes.md"), "first\n2nd\nthird\nfourth\n");
    let log = world.esker(["doc", "log", "memories/notes.md", "--scope", "agent/main", "--json"]).ok().json();
    let versions: Vec<(u64, u64)> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|version| (version["version"].as_u64().unwrap(), version["base"].as_u64().unwrap()))
        .collect();
    assert_eq!(versions, [(5, 4), (4, 3), (3, 2), (2, 1), (1, 0)]);
    assert!(log.as_array().unwrap().iter().all(|version| version["author"] != ""), "{log}");

    // Without its engine the mount starts another one, and goes on.
    world.kill_engine();
    sh(&world, &docs, "echo fifth >> memories/notes.md").ok();
    assert_eq!(sh(&world, &docs, "tail -n 2 memories/notes.md && ls").ok().out, "fourth\nfifth\nmemories\nskills\n");
    assert_eq!(get(&world, "agent/main", "memories/notes.md"), "first\n2nd\nthird\nfourth\nfifth\n");
    world.command(["unmount"]).arg(&docs).run().ok();
    assert_eq!(fs::read_dir(&docs).unwrap().count(), 0, "unmounted");
    world.esker(["check", "--full"]).ok();
}

#[test]
fn what_is_not_granted_is_refused_in_the_mount() {
    let Some(world) = World::with_mounts() else { return };
    put(&world, "org", "skills/s.md", "shared\n");
    mount(&world, "docs", &["--grant", "agent/main"]);
    let docs = world.path("docs");
    let refused = sh(&world, &docs, "echo mine >> skills/s.md");
    assert!(refused.code != 0 && refused.err.contains("Permission denied"), "{refused}");
    assert!(sh(&world, &docs, "rm -f skills/s.md").err.contains("Permission denied"));
    sh(&world, &docs, "echo mine > memories/m.md").ok();
    assert_eq!(get(&world, "agent/main", "memories/m.md"), "mine\n");
    assert_eq!(get(&world, "org", "skills/s.md"), "shared\n");
}

#[test]
fn a_mount_of_documents_says_what_it_is_and_ends_when_told() {
    let Some(world) = World::with_mounts() else { return };
    let said = mount(&world, "docs", &[]);
    let docs = world.path("docs");
    assert_eq!(said["view"], serde_json::json!(["agent/main", "user/ana", "org"]));
    let status = world.command(["status", "--json"]).arg(docs.join("memories")).run().ok().json();
    assert_eq!((&status["view"], &status["shown"]["pid"]), (&said["view"], &said["pid"]));
    assert!(world.command(["status"]).arg(&docs).run().ok().out.contains("agent/main,user/ana,org"));
    let again = world.command(["doc", "mount", "--detach"]).arg(&docs).run().fails(4);
    assert!(again.err.contains("esker-docs"), "{again}");
    // A signal ends it as well, and takes nothing with it that was closed.
    sh(&world, &docs, ": > memories/empty").ok();
    kill_process(pid_of(&said), Signal::TERM).unwrap();
    world.wait_for("the end of the mount", |world| !world.path("docs").join("memories").exists());
    assert_eq!(get(&world, "agent/main", "memories/empty"), "");
}

#[test]
fn a_dead_mount_of_documents_is_cleared() {
    let Some(world) = World::with_mounts() else { return };
    let said = mount(&world, "docs", &[]);
    let docs = world.path("docs");
    sh(&world, &docs, "echo kept > memories/m.md").ok();
    kill_process(pid_of(&said), Signal::KILL).unwrap();
    world.wait_for("the end of its process", |world| fs::metadata(world.path("docs")).is_err());
    let dead = world.command(["status"]).arg(&docs).run().fails(6);
    assert!(dead.err.contains("is gone"), "{dead}");
    let said = mount(&world, "docs", &[]);
    assert_eq!(sh(&world, &docs, "cat memories/m.md").ok().out, "kept\n");
    kill_process(pid_of(&said), Signal::KILL).unwrap();
    world.wait_for("the end of its process", |world| fs::metadata(world.path("docs")).is_err());
    world.command(["unmount"]).arg(&docs).run().ok();
    assert_eq!(fs::read_dir(&docs).unwrap().count(), 0);
}

#[test]
fn a_workspace_brings_its_documents_along() {
    let Some(world) = World::with_mounts() else { return };
    world.esker(["workspace", "create", "w"]).ok();
    let (work, docs) = (world.path("work"), world.path("docs"));
    let mount = |world: &World| {
        world.command(["mount", "w"]).arg(&work).arg("--docs").arg(&docs).args(["--detach", "--json"]).run().ok().json()
    };
    let said = mount(&world);
    assert_eq!(said["documents"].as_str(), docs.to_str());
    sh(&world, &docs, "echo memory > memories/m.md && cp memories/m.md ../work/file").ok();
    let status = world.command(["status", "--json"]).arg(&docs).run().ok().json();
    assert_eq!(status["shown"]["pid"], said["pid"], "one process for both");
    world.command(["unmount"]).arg(&work).run().ok();
    assert_eq!((fs::read_dir(&work).unwrap().count(), fs::read_dir(&docs).unwrap().count()), (0, 0));
    assert_eq!(world.esker(["cat", "w:file"]).ok().out, "memory\n");
    assert_eq!(get(&world, "agent/main", "memories/m.md"), "memory\n");
    // The documents may go first; the workspace stays.
    mount(&world);
    world.command(["unmount"]).arg(&docs).run().ok();
    assert_eq!(fs::read_to_string(work.join("file")).unwrap(), "memory\n");
    world.command(["unmount"]).arg(&work).run().ok();
}
