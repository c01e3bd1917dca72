//! The real Claude Code program works in a mount as on the local disk: one script, run twice, the same answers and the same tree.
//!
//! The model is aimock; what the tools said is read from the requests it got. Both runs see one path, so nothing of the answers
//! has to be translated but times, sizes of folders, and where Claude Code keeps its own files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{Aimock, Mount, Run, Script, World, crate_sources, npm_file, same_tree};

/// Calls whose lines come in any order: files of one age stand as the folder lists them, counts as ripgrep's threads end.
const UNORDERED: &[&str] = &["toolu_11_1", "toolu_12_0"];

/// What a call answered: the text, and whether it was an error.
type Answers = BTreeMap<String, (String, bool)>;

#[test]
fn claude_code_works_in_a_mount_as_on_the_local_disk() {
    let Some(world) = World::with_mounts() else { return };
    let Some(claude) = npm_file("@anthropic-ai/claude-code-linux-x64/claude") else { return };
    let source = project(&world);
    // Alone in a folder of its own, because `ls -la` shows that too.
    let place = world.folder("place").join("work");
    let script = script(&place);
    let calls = script.1;
    let Some(aimock) = Aimock::start(&world, &[script.0]) else { return };

    world.program("cp").arg("-a").arg(&source).arg(&place).run().ok();
    let local = run(&world, &claude, &aimock, &place);
    let local_tree = world.path("after-local");
    fs::rename(&place, &local_tree).unwrap();

    world.command(["import"]).arg(&source).args(["--workspace", "w"]).run().ok();
    let mut mount = Mount::new(&world, "w", "place/work");
    let mounted = run(&world, &claude, &aimock, &place);
    same_tree_and_history(&world, &local_tree, &mount.dir);
    mount.unmount(&world);

    assert_eq!(local.len(), calls, "every call was answered: {:?}", local.keys());
    assert_eq!(local.keys().collect::<Vec<_>>(), mounted.keys().collect::<Vec<_>>());
    expectations(&local);
    let differing: Vec<_> = local.iter().filter(|(id, here)| *here != &mounted[*id]).collect();
    for (id, here) in &differing {
        println!("{id} on the local disk: {here:#?}\nin the mount: {:#?}", mounted[*id]);
    }
    assert!(differing.is_empty(), "{} of {calls} calls answered otherwise in the mount", differing.len());
    let exported = world.path("exported");
    world.command(["export", "w"]).arg(&exported).run().ok();
    same_tree_and_history(&world, &local_tree, &exported);
    world.esker(["check", "--full"]).ok();
}

/// A small project with tests and a fault, in a git repository among some hundreds of real files.
fn project(world: &World) -> std::path::PathBuf {
    let (source, _) = crate_sources(world, "source", 300);
    let app = source.join("app");
    fs::create_dir_all(app.join("tests")).unwrap();
    fs::write(app.join("maths.py"), MATHS).unwrap();
    fs::write(app.join("tests/test_maths.py"), TESTS).unwrap();
    fs::write(app.join("notes ☃.txt"), "first\r\nsecond\r\n").unwrap();
    fs::write(app.join("run.sh"), "#!/bin/sh\nexec python3 -m unittest discover -s tests -v\n").unwrap();
    fs::set_permissions(app.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("maths.py", app.join("link.py")).unwrap();
    for arguments in [&["init", "-q"][..], &["add", "-A"], &["commit", "-q", "-m", "begin"]] {
        dated(world.program("git")).current_dir(&source).args(arguments).run().ok();
    }
    source
}

const MATHS: &str = "def twice(number):\n    return number + 2\n\n\ndef half(number):\n    return number / 2\n";

const TESTS: &str = "import unittest\n\nimport maths\n\n\nclass Maths(unittest.TestCase):\n    def test_twice(self):\n        \
    self.assertEqual(maths.twice(21), 42)\n\n    def test_half(self):\n        self.assertEqual(maths.half(4), 2)\n";

/// Commits that do not depend on when they are made.
fn dated(mut command: std::process::Command) -> std::process::Command {
    command.env("GIT_AUTHOR_DATE", "1700000000 +0000").env("GIT_COMMITTER_DATE", "1700000000 +0000");
    command
}

/// The session: its script and the number of its calls.
fn script(place: &Path) -> (Script, usize) {
    let path = |name: &str| place.join(name).display().to_string();
    let bash = |command: &str| ("Bash", json!({"command": command}));
    let read = |name: &str| ("Read", json!({"file_path": path(name)}));
    let edit = |name: &str, old: &str, new: &str| {
        ("Edit", json!({"file_path": path(name), "old_string": old, "new_string": new}))
    };
    let turns: Vec<Vec<(&str, Value)>> = vec![
        vec![bash("ls -la app && git status --short && git log --oneline")],
        vec![bash("cd app && ! ./run.sh")],
        vec![read("app/maths.py"), ("Grep", json!({"pattern": "def \\w+", "path": path("app"), "type": "py"}))],
        vec![edit("app/maths.py", "number + 2", "number * 2")],
        vec![bash("./run.sh")],
        vec![("Write", json!({"file_path": path("app/new/deep.txt"), "content": "one\ntwo\nthree\n"}))],
        vec![bash(
            "sed -i -e 's/two/2/' new/deep.txt && grep -c . new/deep.txt && stat -c '%n %s %F %a' new/deep.txt run.sh",
        )],
        // It wrote that file itself, so it was told of sed's change, and may go on.
        vec![edit("app/new/deep.txt", "three", "3"), read("app/new/deep.txt")],
        vec![edit("app/new/deep.txt", "three", "3")],
        vec![edit("app/notes ☃.txt", "x", "y"), read("app/notes ☃.txt")],
        vec![edit("app/notes ☃.txt", "second", "zweite")],
        vec![("Glob", json!({"pattern": "**/*.py"})), ("Glob", json!({"pattern": "**/lib.rs", "path": path("")}))],
        vec![("Grep", json!({"pattern": "unsafe impl", "path": path(""), "output_mode": "count"}))],
        vec![(
            "Grep",
            json!({"pattern": "number", "path": path("app/maths.py"), "output_mode": "content", "-n": true, "-C": 1}),
        )],
        vec![bash("find . -type f -newer run.sh -o -type l | grep -v pycache | sort; find .. -name '*.toml' | wc -l")],
        vec![bash(
            "git add -A . ':!*pycache*' && git commit -q -m 'Twice is twice' && git show --stat --format=%H%n%s",
        )],
        vec![bash(
            "mv new/deep.txt moved.txt && rmdir new && ln moved.txt hard.txt && stat -c %h hard.txt && rm link.py",
        )],
        vec![bash(
            "printf 'a\\n' >> moved.txt; tail -n 2 hard.txt; truncate -s 5 hard.txt; wc -c moved.txt; cat nothing",
        )],
        vec![bash("git stash -q -u && git stash pop && git status --porcelain && git diff --stat")],
        vec![bash("tar -cf ../t.tar . && tar -tf ../t.tar | grep -v pycache | sort && rm ../t.tar")],
        vec![bash("find .. -name __pycache__ -exec rm -r {} +; cd .. && git gc -q && git fsck --full && ls -la app .")],
        vec![read("app/missing.txt"), bash("chmod 640 app/moved.txt; exit 3")],
        // It only read this one: a change behind its back must be noticed.
        vec![read("app/run.sh")],
        vec![bash("echo '# end' >> app/run.sh")],
        vec![edit("app/run.sh", "# end", "# fin")],
    ];
    let mut script = Script::new("claude-opus-4-8");
    let mut count = 0;
    for (number, calls) in turns.iter().enumerate() {
        let ids: Vec<String> = (0..calls.len()).map(|call| format!("toolu_{number:02}_{call}")).collect();
        let calls: Vec<_> = calls.iter().zip(&ids).map(|((name, input), id)| (&**id, *name, input.clone())).collect();
        count += calls.len();
        script.turn("", &calls);
    }
    script.turn("all done", &[]);
    (script, count)
}

/// Runs the session in a folder to its end; what each call answered.
fn run(world: &World, claude: &Path, aimock: &Aimock, place: &Path) -> Answers {
    let before = aimock.requests().len();
    let done = dated(world.program(claude))
        .current_dir(place)
        .args(["-p", "Repair the project.", "--tools", "Read,Write,Edit,Glob,Grep,Bash"])
        .args(["--model", "claude-opus-4-8", "--permission-mode", "bypassPermissions"])
        .args(["--output-format", "stream-json", "--verbose"])
        .env("ANTHROPIC_BASE_URL", &aimock.url)
        .env("ANTHROPIC_API_KEY", "none")
        .env("IS_SANDBOX", "1")
        .env("DISABLE_TELEMETRY", "1")
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        .env("CLAUDE_CODE_MAX_RETRIES", "0")
        .env("NO_PROXY", "127.0.0.1")
        .env("SHELL", "/bin/bash")
        .env("LANG", "C.UTF-8")
        .env("TZ", "UTC")
        .run_within(Duration::from_secs(120))
        .ok();
    assert!(done.out.contains("all done"), "the session came to its end: {done}");
    let requests = aimock.requests().split_off(before);
    for request in &requests {
        assert_eq!(request["response"]["status"], 200, "a request that the script does not know: {request}");
    }
    // What was sent to the model, and from the program's own output which of it were errors.
    let errors = errors(&done.out);
    let last =
        requests.iter().filter_map(|request| request["body"]["messages"].as_array()).max_by_key(|list| list.len());
    let results = last.expect("a request").iter().filter(|message| message["role"] == "tool");
    results
        .map(|message| {
            let id = message["tool_call_id"].as_str().expect("a result names its call").to_owned();
            let text = message["content"].as_str().unwrap_or_else(|| panic!("{id} is text: {message}"));
            let mut lines: Vec<String> = text.lines().map(plain_line).collect();
            if UNORDERED.contains(&id.as_str()) {
                lines.sort();
            }
            let error = errors[&id];
            (id, (lines.join("\n"), error))
        })
        .collect()
}

/// Which calls ended in an error, by the program's own account.
fn errors(output: &str) -> BTreeMap<String, bool> {
    let mut errors = BTreeMap::new();
    for line in output.lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
        for block in event["message"]["content"].as_array().into_iter().flatten() {
            if let Some(id) = block["tool_use_id"].as_str() {
                errors.insert(id.to_owned(), block["is_error"] == true);
            }
        }
    }
    errors
}

/// A line of a result without what no two runs have in common.
fn plain_line(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    // `ls -l`: time; and size and number of blocks of folders, which are the filesystem's own business.
    if words.len() >= 9 && matches!(words[0].as_bytes()[0], b'd' | b'-' | b'l') && words[0].len() == 10 {
        let size = if words[0].starts_with('d') { "SIZE" } else { words[4] };
        return format!("{} {} {} {} {size} TIME {}", words[0], words[1], words[2], words[3], words[8..].join(" "));
    }
    match words[..] {
        ["total", _] => "total BLOCKS".to_owned(),
        ["Ran", count, "tests", "in", _] => format!("Ran {count} tests in TIME"),
        ["Dropped", "refs/stash@{0}", _] => "Dropped refs/stash@{0}".to_owned(),
        _ => line.to_owned(),
    }
}

/// That the script did what it was written for; otherwise two equal failures would pass for success.
fn expectations(answers: &Answers) {
    let expected = [
        ("toolu_00_0", false, "maths.py"),
        ("toolu_01_0", false, "FAILED (failures=1)"),
        ("toolu_02_1", false, "Found 2 files"),
        ("toolu_03_0", false, "has been updated successfully"),
        ("toolu_04_0", false, "OK"),
        ("toolu_06_0", false, "new/deep.txt 12 regular file 644"),
        ("toolu_07_0", false, "has been updated successfully"),
        ("toolu_07_1", false, "2\t2"),
        ("toolu_08_0", true, "String to replace not found"),
        ("toolu_10_0", false, "has been updated successfully"),
        ("toolu_11_0", false, "maths.py"),
        ("toolu_11_1", false, "src/lib.rs"),
        ("toolu_12_0", false, "total occurrences"),
        ("toolu_15_0", false, "Twice is twice"),
        ("toolu_16_0", false, "2"),
        ("toolu_17_0", true, "No such file"),
        ("toolu_18_0", false, "moved.txt"),
        ("toolu_21_1", true, "Exit code 3"),
        ("toolu_24_0", true, "has been modified since read"),
    ];
    for (id, error, text) in expected {
        let (answer, is_error) = &answers[id];
        assert!(*is_error == error && answer.contains(text), "{id}: error {is_error}, {answer:?}");
    }
}

/// Two trees are equal. Of `.git`, whose index and packs no two runs make alike, what it says is compared: commits are named by
/// their content.
fn same_tree_and_history(world: &World, left: &Path, right: &Path) {
    let state = |tree: &Path| {
        let git = |arguments: &[&str]| world.program("git").current_dir(tree).args(arguments).run().ok().out;
        git(&["fsck", "--full", "--strict"]);
        (git(&["ls-files", "--stage"]), git(&["status", "--porcelain"]), git(&["log", "--format=%H %s"]))
    };
    assert_eq!(state(left), state(right));
    let copies = [("left", left), ("right", right)].map(|(name, tree)| {
        let copy = world.folder(name);
        world.program("rsync").args(["-aH", "--delete", "--exclude=/.git"]).arg(tree.join("")).arg(&copy).run().ok();
        copy
    });
    timeless(&copies);
    same_tree(&copies[0], &copies[1]);
}

/// Sets all times alike: two runs cannot agree in them.
fn timeless(folders: &[std::path::PathBuf]) {
    for folder in folders {
        let done = std::process::Command::new("find")
            .arg(folder)
            .args(["-exec", "touch", "-hd", "@1000000000", "{}", "+"])
            .run();
        done.ok();
    }
}
