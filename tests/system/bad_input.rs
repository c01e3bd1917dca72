//! Bad input: each wrong call has its exit code and one line that says what is wrong; none panics, none hangs.

use std::fs;

use crate::world::{Run, World};

/// Arguments, exit code, and a word that the message must hold.
type Row = (&'static [&'static str], i32, &'static str);

const ROWS: &[Row] = &[
    (&["no-such-command"], 2, "no-such-command"),
    (&["mount"], 2, "W"),
    (&["log", "w", "--limit", "many"], 2, "many"),
    (&["checkpoint", "w"], 2, "message"),
    (&["log", "missing"], 3, "missing"),
    (&["ls", "missing"], 3, "missing"),
    (&["ls", "w:no/such/folder"], 3, "no/such/folder"),
    (&["cat", "w:no-file"], 3, "no-file"),
    (&["cat", "missing:file"], 3, "missing"),
    (&["cat", "w@ffffffffffffffff:file"], 3, "ffff"),
    (&["cat", "w:folder"], 1, "folder"),
    (&["ls", "w:file/below"], 1, "file"),
    (&["cat", "w@not-hex:file"], 3, "names no snapshot"),
    (&["restore", "w", "ffffffffffffffff"], 3, "ffff"),
    (&["restore", "missing", "ffffffffffffffff"], 3, ""),
    (&["fork", "missing", "new"], 3, "missing"),
    (&["fork", "w", "w"], 4, "w"),
    (&["workspace", "create", "w"], 4, "w"),
    (&["workspace", "create", "a/b"], 2, "a/b"),
    (&["workspace", "create", ".."], 2, ".."),
    (&["workspace", "create", ""], 2, ""),
    (&["workspace", "delete", "missing"], 3, "missing"),
    (&["import", "/no/such/path", "--workspace", "w"], 3, "/no/such/path"),
    (&["import", "/proc/version", "--workspace", "w"], 1, "/proc/version"),
    (&["export", "missing", "/tmp/esker-never-made"], 3, "missing"),
    (&["diff", "w", "missing"], 3, "missing"),
    (&["unmount", "/proc"], 2, "/proc"),
    (&["unmount", "/no/such/path"], 3, "/no/such/path"),
    (&["status", "/proc"], 3, "/proc"),
    (&["mount", "missing", "/tmp/esker-never-mounted"], 3, "missing"),
    (&["completion", "no-shell"], 2, "no-shell"),
];

#[test]
fn each_wrong_call_has_its_exit_code_and_one_line() {
    let world = World::new();
    let source = world.folder("source");
    fs::create_dir(source.join("folder")).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    world.command(["import"]).arg(&source).args(["--workspace", "w"]).run().ok();
    let mut wrong = Vec::new();
    for (arguments, code, word) in ROWS {
        let done = world.esker(*arguments);
        let from_clap = done.err.contains("Usage:") || done.err.contains("For more information");
        let one_line = from_clap || done.err.trim_end().lines().count() == 1;
        if done.code != *code || !done.err.contains(word) || !one_line || done.err.contains("panicked") {
            wrong.push(format!("expected {code}, {word:?}, one line: {done}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows are wrong:\n{}", wrong.len(), ROWS.len(), wrong.join("\n"));
    // Nothing of this did any harm.
    assert_eq!(world.esker(["cat", "w:file"]).ok().out, "content");
    world.esker(["check", "--full"]).ok();
}

#[test]
fn what_else_lies_in_the_data_folder_is_left_alone() {
    let world = World::new();
    let data = world.folder("data");
    fs::write(data.join("precious"), "not Esker's").unwrap();
    world.esker(["workspace", "create", "w"]).ok();
    world.esker(["workspace", "delete", "w"]).ok();
    world.esker(["gc", "--grace", "0"]).ok();
    assert_eq!(fs::read_to_string(data.join("precious")).unwrap(), "not Esker's");
}

#[test]
fn a_data_folder_of_a_newer_format_is_refused() {
    let world = World::new();
    world.esker(["workspace", "create", "w"]).ok();
    for pid in world.processes() {
        let pid = rustix::process::Pid::from_raw(pid).expect("a process id is not 0");
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    world.wait_for("the engine to end", |world| world.processes().is_empty());
    let format = world.data().join("format");
    let ours = fs::read(&format).unwrap();
    fs::write(&format, "esker 99\n").unwrap();
    world.esker(["workspace", "list"]).fails(10);
    fs::write(&format, ours).unwrap();
    world.esker(["workspace", "list"]).ok();
}

#[test]
fn a_path_that_is_taken_is_not_written_over() {
    let world = World::new();
    world.esker(["workspace", "create", "w"]).ok();
    let target = world.folder("target");
    fs::write(target.join("precious"), "mine").unwrap();
    let done = world.command(["export", "w"]).arg(&target).run();
    assert_ne!(done.code, 0, "{done}");
    assert_eq!(fs::read_to_string(target.join("precious")).unwrap(), "mine");
}
