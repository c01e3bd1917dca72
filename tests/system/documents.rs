//! Documents as people and scripts use them: the real command, a real engine.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::world::{Done, Run, World};

/// `esker doc …` with standard input.
fn with_input(world: &World, arguments: &[&str], input: &[u8]) -> Done {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    world.command(["doc"]).args(arguments).stdin(Stdio::from(file)).run()
}

fn doc(world: &World, arguments: &[&str]) -> Done {
    world.command(["doc"]).args(arguments).run()
}

fn json(world: &World, arguments: &[&str]) -> Value {
    world.command(["doc"]).args(arguments).arg("--json").run().ok().json()
}

#[test]
fn a_document_lives_through_its_versions() {
    let world = World::new();
    let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let made = with_input(&world, &["put", "memories/notes.bin", "-"], &bytes).ok();
    assert_eq!(made.out, "org:memories/notes.bin version 1\n");
    assert_eq!(doc(&world, &["get", "memories/notes.bin"]).ok().bytes, bytes, "every byte as it was");
    with_input(&world, &["put", "memories/notes.bin", "-"], b"two\n").ok();
    assert_eq!(doc(&world, &["get", "memories/notes.bin"]).ok().out, "two\n");
    assert_eq!(doc(&world, &["get", "memories/notes.bin", "--version", "1"]).ok().bytes, bytes);
    doc(&world, &["rm", "memories/notes.bin"]).ok();
    doc(&world, &["get", "memories/notes.bin"]).fails(3);
    doc(&world, &["rm", "memories/notes.bin"]).fails(3);
    assert_eq!(json(&world, &["list"]), Value::Array(vec![]));
    doc(&world, &["restore", "memories/notes.bin", "1"]).ok();
    assert_eq!(doc(&world, &["get", "memories/notes.bin"]).ok().bytes, bytes);
    let log = json(&world, &["log", "memories/notes.bin"]);
    let versions: Vec<_> = log.as_array().unwrap().iter().map(|version| &version["version"]).collect();
    assert_eq!(versions, [4, 3, 2, 1]);
    assert_eq!((&log[1]["deleted"], &log[0]["base"], &log[0]["digest"]), (&true.into(), &3.into(), &log[3]["digest"]));
    assert!(log.as_array().unwrap().iter().all(|version| version["author"] != ""), "each has an author: {log}");
    let people = doc(&world, &["log", "memories/notes.bin"]).ok();
    assert!(people.out.lines().count() == 5 && people.out.contains("deleted"), "{people}");
    world.esker(["check", "--full"]).ok();
}

#[test]
fn a_stale_write_is_refused_and_shows_all_three() {
    let world = World::new();
    with_input(&world, &["put", "a", "-"], b"base\n").ok();
    with_input(&world, &["put", "a", "-", "--if-version", "1"], b"theirs \x1b[31m\n").ok();
    let refused = with_input(&world, &["put", "a", "-", "--if-version", "1"], b"yours\n").fails(4);
    assert!(refused.out.is_empty() && !refused.err.contains('\x1b'), "{refused:?}", refused = refused.err);
    for part in ["-base", "+theirs \\u{1b}[31m", "+yours", "--if-version 2"] {
        assert!(refused.err.contains(part), "{part}: {refused}");
    }
    with_input(&world, &["put", "a", "-", "--if-version", "0"], b"yours\n").fails(4);
    assert_eq!(doc(&world, &["get", "a", "--scope", "org"]).ok().out, "theirs \x1b[31m\n", "nothing was written");
    let refused = with_input(&world, &["put", "a", "-", "--if-version", "1", "--json"], b"yours\n").fails(4);
    let conflict = refused.json();
    assert_eq!(conflict["conflict"]["base"]["text"], "base\n");
    assert_eq!(conflict["conflict"]["theirs"]["version"], 2);
    assert_eq!(conflict["conflict"]["yours"]["text"], "yours\n");
    let error: Value = serde_json::from_str(&refused.err).unwrap();
    assert_eq!(error["error"]["kind"], "conflict");
    doc(&world, &["rm", "a", "--if-version", "1"]).fails(4);
    doc(&world, &["restore", "a", "1", "--if-version", "1"]).fails(4);
    let kept = with_input(&world, &["put", "a", "-", "--if-version", "1", "--merge"], b"yours\n").fails(4);
    assert!(kept.err.contains("side version 3"), "{kept}");
    assert_eq!(doc(&world, &["get", "a", "--version", "3"]).ok().out, "yours\n");
    with_input(&world, &["put", "a", "-", "--if-version", "2", "--merge"], b"theirs \x1b[31m\nmore\n").ok();
}

#[test]
fn writers_at_once_lose_nothing() {
    let world = World::new();
    with_input(&world, &["put", "log", "-"], b"").ok();
    let writer = |number: usize| {
        let world = &world;
        move || {
            for line in 0..6 {
                let line = format!("{number}:{line}\n");
                loop {
                    let now = json(world, &["get", "log", "--scope", "org"]);
                    let (version, text) = (now["version"].to_string(), now["text"].as_str().unwrap());
                    let content = format!("{text}{line}");
                    let put = with_input(world, &["put", "log", "-", "--if-version", &version], content.as_bytes());
                    match put.code {
                        0 => break,
                        4 => {}
                        _ => panic!("{put}"),
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| (0..3).for_each(|number| drop(scope.spawn(writer(number)))));
    let text = doc(&world, &["get", "log"]).ok().out;
    assert_eq!(text.lines().count(), 18, "{text}");
    for number in 0..3 {
        let begin = format!("{number}:");
        let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(&begin)).collect();
        assert_eq!(lines, ["0", "1", "2", "3", "4", "5"], "{text}");
    }
}

#[test]
fn a_folder_of_skills_comes_in_and_the_nearest_scope_counts() {
    let world = World::new();
    let skill = world.folder("review");
    fs::create_dir_all(skill.join("scripts/deep")).unwrap();
    fs::write(skill.join("SKILL.md"), "---\nname: review\n---\n").unwrap();
    fs::write(skill.join("scripts/deep/run me.sh"), "#!/bin/sh\n").unwrap();
    fs::write(skill.join("logo.bin"), [0, 159, 146, 150]).unwrap();
    let put = |extra: &[&str]| world.command(["doc", "put", "skills/review/"]).arg(&skill).args(extra).run();
    assert_eq!(put(&[]).ok().out.matches("  new").count(), 3);
    fs::write(skill.join("SKILL.md"), "---\nname: review\n---\nmore\n").unwrap();
    let again = put(&[]).ok().out;
    assert_eq!((again.matches("  as it was").count(), again.matches("  changed").count()), (2, 1), "{again}");
    let list = json(&world, &["list", "skills/review"]);
    let names: Vec<_> = list.as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect();
    assert_eq!(names, ["skills/review/SKILL.md", "skills/review/logo.bin", "skills/review/scripts/deep/run me.sh"]);
    assert_eq!(doc(&world, &["get", "skills/review/logo.bin"]).ok().bytes, [0, 159, 146, 150]);

    let path = "skills/review/SKILL.md";
    with_input(&world, &["put", path, "-", "--scope", "user/ana"], b"ana's\n").ok();
    with_input(&world, &["put", path, "-", "--scope", "agent/main"], b"the agent's\n").ok();
    let get = |view: &str| doc(&world, &["get", path, "--view", view]).ok().out;
    assert_eq!(get("agent/main,user/ana,org"), "the agent's\n");
    assert_eq!(get("user/ana,org"), "ana's\n");
    assert_eq!(get("user/ben,org"), "---\nname: review\n---\nmore\n");
    assert_eq!(doc(&world, &["get", path]).ok().out, "the agent's\n", "the default view begins with the agent");
    assert_eq!(json(&world, &["list", path, "--all"]).as_array().unwrap().len(), 3);
    assert_eq!(json(&world, &["list", path, "--scope", "user/ana"])[0]["scope"], "user/ana");
    doc(&world, &["rm", path, "--scope", "agent/main"]).ok();
    assert_eq!(get("agent/main,user/ana,org"), "ana's\n", "a deleted document covers nothing");
    let people = doc(&world, &["list"]).ok();
    assert!(people.out.starts_with("SCOPE") && people.out.lines().count() == 4, "{people}");

    std::os::unix::fs::symlink("/etc/passwd", skill.join("link")).unwrap();
    fs::write(skill.join("A first"), "x").unwrap();
    put(&[]).fails(2);
    assert_eq!(json(&world, &["list", "skills/review/A first", "--all"]), Value::Array(vec![]), "nothing was begun");
    put(&["--if-version", "1"]).fails(2);
}

#[test]
fn each_wrong_call_has_its_exit_code_and_one_line() {
    let world = World::new();
    let large = world.path("large");
    fs::write(&large, vec![b'x'; 1024 * 1024 + 1]).unwrap();
    fs::create_dir(world.path("empty")).unwrap();
    let (large, empty) = (large.display().to_string(), world.path("empty").display().to_string());
    with_input(&world, &["put", "a", "-"], b"x").ok();
    let rows: &[(&[&str], i32, &str)] = &[
        (&["get", "missing"], 3, "missing"),
        (&["get", "a", "--version", "9"], 3, "version 9"),
        (&["get", "a", "--version", "0"], 2, "0"),
        (&["get", "a", "--view", "org,nobody"], 2, "nobody"),
        (&["get", "a", "--view", "org", "--scope", "org"], 2, ""),
        (&["get", "../a"], 2, "../a"),
        (&["get", "/a"], 2, "relative"),
        (&["get", "a\u{1b}b"], 2, "control"),
        (&["log", "missing"], 3, "missing"),
        (&["log", "a", "--scope", "team/x"], 2, "team/x"),
        (&["rm", "missing"], 3, "missing"),
        (&["restore", "a", "9"], 3, "version 9"),
        (&["restore", "missing", "1"], 3, "missing"),
        (&["put", "a/", "/dev/null"], 2, "a/"),
        (&["put", "b", "/no/such/file"], 3, "/no/such/file"),
        (&["put", "b", &large], 1, "too large"),
        (&["put", "b", &empty], 3, "no files"),
        (&["put", "b", "/dev/null", "--if-version", "3"], 3, "version 3"),
        (&["put", "b", "/dev/null", "--scope", "user/"], 2, "user/"),
        (&["put", "b", "/dev/null", "--merge"], 2, "--if-version"),
        (&["list", "a//b"], 2, "a//b"),
    ];
    for (arguments, code, word) in rows {
        let done = doc(&world, arguments);
        let from_clap = done.err.contains("Usage:") || done.err.contains("For more information");
        let one_line = from_clap || done.err.trim_end().lines().count() == 1;
        assert!(done.code == *code && done.err.contains(word) && one_line, "expected {code}, {word:?}: {done}");
        assert!(!done.err.contains("panicked") && !done.err.contains('\u{1b}'), "{done}");
    }
    assert_eq!(doc(&world, &["get", "a"]).ok().out, "x");
    world.esker(["check", "--full"]).ok();
}

#[test]
fn documents_survive_the_engine_and_a_flipped_bit_is_found() {
    use std::os::unix::fs::FileExt;
    let world = World::new();
    let needle = "a needle in a document";
    with_input(&world, &["put", "a", "-"], format!("{}{needle}", "x".repeat(9_000)).as_bytes()).ok();
    with_input(&world, &["put", "b", "-"], b"sound\n").ok();
    // Enough for SQLite to move it from its write-ahead log into the file.
    for number in 0..8 {
        with_input(&world, &["put", &format!("filler {number}"), "-"], &vec![b'y'; 1024 * 1024]).ok();
    }
    for pid in world.processes() {
        let pid = rustix::process::Pid::from_raw(pid).expect("a process id is not 0");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    world.wait_for("the engine to end", |world| world.processes().is_empty());
    assert!(doc(&world, &["get", "a"]).ok().out.ends_with(needle), "what was answered is durable");
    world.esker(["shutdown"]).ok();
    let file = world.data().join("esker.db");
    let bytes = fs::read(&file).unwrap();
    let place = bytes.windows(needle.len()).position(|part| part == needle.as_bytes()).expect("it is in the file");
    let open = fs::OpenOptions::new().write(true).open(&file).unwrap();
    open.write_all_at(&[bytes[place] ^ 4], place as u64).unwrap();
    doc(&world, &["get", "a"]).fails(7);
    let check = world.esker(["check", "--full"]).fails(7);
    assert!(check.out.contains("version 1 of a in org"), "{check}");
    assert_eq!(doc(&world, &["get", "b"]).ok().out, "sound\n");
}
