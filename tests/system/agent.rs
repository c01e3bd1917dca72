//! The acceptance test of the product: two agents work at once on a real repository while everything they stand on is killed.
//!
//! A model that nobody here wrote drives them. Afterwards every turn must have left what its calls did and nothing else, no
//! call may have run twice, every memory must say who wrote it in which call, and the models must not have noticed anything.

mod plan;
mod project;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::wire::document::Document;
use serde_json::Value;

use crate::world::{Aimock, Run, Session, World, crate_sources, has_program, key, same_tree};
use plan::Plan;

/// Files of the repository, at least.
const FILES: usize = 5_000;

#[test]
fn agents_go_on_whatever_is_killed() {
    let Some(mut world) = World::with_mounts() else { return };
    if !has_program("bwrap") {
        return;
    }
    let (source, files) = crate_sources(&world, "source", FILES);
    assert!(files >= FILES, "{files} files");
    project::write(&source.join("app"));
    world.start_engine();
    world.command(["import"]).arg(&source).args(["--workspace", "first"]).run().ok();
    world.esker(["fork", "first", "second"]).ok();
    let skill = world.path("SKILL.md");
    std::fs::write(&skill, project::SKILL).unwrap();
    world.command(["doc", "put", "skills/mending/SKILL.md"]).arg(&skill).args(["--scope", "org"]).run().ok();

    let first = plan::first();
    let second = plan::second();
    let scripts = [first.script.clone(), second.script.clone()];
    let Some(aimock) = Aimock::start(&world, &scripts) else { return };
    let mut one = Session::start(&world, &aimock, "first", "model-one", "Mend the app, and tell others how.");
    let mut two = Session::start(&world, &aimock, "second", "model-two", "Write a report, and learn from others.");

    // The harness, while the model speaks.
    one.wait_for("turn:4");
    std::thread::sleep(Duration::from_millis(300));
    assert!(!one.events().iter().any(|event| event.key == "answer:4"), "the model still speaks");
    one.kill();
    one.resume();
    // The harness, while a command runs.
    one.wait_for("started:one_06");
    std::thread::sleep(Duration::from_millis(500));
    one.kill();
    the_key_is_nowhere(&[two.pid()]);
    one.resume();
    // The harness, when a call has just ended and the turn has not.
    one.wait_for("finished:one_09");
    one.kill();
    one.resume();
    // The engine, while a command waits for the other agent's memory.
    one.wait_for("started:one_10");
    the_key_is_nowhere(&[one.pid(), two.pid()]);
    world.kill_engine_under_way();
    // The mount, while the model speaks.
    one.wait_for("turn:11");
    std::thread::sleep(Duration::from_millis(200));
    kill_mount(&world, "first");
    assert!(!one.events().iter().any(|event| event.key == "answer:11"), "the model still spoke");
    // Whoever has started the engine that runs now.
    the_key_is_nowhere(&[one.pid(), two.pid()]);
    one.ends_well();
    two.ends_well();

    println!("{}\n{}", one.describe(), two.describe());
    for (session, plan, workspace) in [(&mut one, &first, "first"), (&mut two, &second, "second")] {
        the_model_noticed_nothing(&aimock, plan, session);
        no_call_ran_twice(plan, session);
        every_turn_left_what_it_did(&world, plan, session, workspace);
        the_workspace_is_whole(&world, &source, plan, workspace);
    }
    the_memories_say_who_wrote_them(&world, &one.id(), &two.id());
    world.esker(["check", "--full"]).ok();
    let leaked = world.program("grep").args(["-rlaF", &key()]).arg(world.data()).run();
    assert_eq!(leaked.code, 1, "the key of the model is in the data folder: {leaked}");
    for session in [&one, &two] {
        assert!(!session.output().contains(&key()), "the harness printed the key");
    }
}

/// Kills the process that holds a workspace's mount.
fn kill_mount(world: &World, workspace: &str) {
    let holders = world.processes().into_iter().filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|&byte| byte == 0).collect();
        let has = |word: &str| words.contains(&word.as_bytes());
        has("mount") && has(workspace) && !has("doc")
    });
    let holders: Vec<i32> = holders.collect();
    assert_eq!(holders.len(), 1, "one process mounts {workspace}");
    let pid = rustix::process::Pid::from_raw(holders[0]).expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("the mount can be killed");
}

/// No process but these has the key in its environment or command line.
fn the_key_is_nowhere(but: &[u32]) {
    let key = key();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if but.contains(&pid) {
            continue;
        }
        for file in ["environ", "cmdline"] {
            let bytes = std::fs::read(entry.path().join(file)).unwrap_or_default();
            let leaked = bytes.windows(key.len()).any(|window| window == key.as_bytes());
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            assert!(!leaked, "the key is in {file} of {pid}: {}", String::from_utf8_lossy(&line));
        }
    }
}

/// Every request was one that the script foresaw, and its results are what the script says they must be.
fn the_model_noticed_nothing(aimock: &Aimock, plan: &Plan, session: &mut Session<'_>) {
    let requests = aimock.requests_for(plan.model);
    for request in &requests {
        assert_eq!(request["response"]["status"], 200, "a request that the script does not know: {request}");
    }
    let turns: BTreeSet<usize> = requests.iter().map(turn_of).collect();
    assert_eq!(turns, (0..plan.turns()).collect(), "one request for each turn, and perhaps more after a crash");
    assert!(requests.len() <= plan.turns() + 4, "{} requests for {} turns", requests.len(), plan.turns());
    let last = requests.iter().max_by_key(|request| turn_of(request)).expect("a request");
    let results: BTreeMap<&str, &str> = last["body"]["messages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|message| message["role"] == "tool")
        .filter_map(|message| Some((message["tool_call_id"].as_str()?, message["content"].as_str()?)))
        .collect();
    assert_eq!(results.keys().copied().collect::<Vec<_>>(), plan.calls(), "{}", session.describe());
    for (call, expected) in &plan.expected {
        for text in expected {
            assert!(results[&**call].contains(text), "{call} says {:?}, not {text:?}", results[&**call]);
        }
        assert!(!results[&**call].contains("unknown"), "{call}: {:?}", results[&**call]);
    }
    let told = last.to_string();
    assert!(!told.contains(&key()), "the model was told its key");
}

/// The number of answers that a request holds.
fn turn_of(request: &Value) -> usize {
    let messages = request["body"]["messages"].as_array().into_iter().flatten();
    messages.filter(|message| message["role"] == "assistant").count()
}

fn no_call_ran_twice(plan: &Plan, session: &mut Session<'_>) {
    let events = session.events();
    for (place, event) in events.iter().enumerate() {
        assert_eq!(event.sequence, place as u64 + 1, "the turn log has no holes");
        assert!(!event.data.to_string().contains(&key()), "the key is in the turn log: {}", event.key);
    }
    for call in plan.calls() {
        let count = |kind: &str| events.iter().filter(|event| event.kind == kind && event.tool_call == call).count();
        assert_eq!((count("tool.started"), count("tool.finished")), (1, 1), "{call}: {}", session.describe());
    }
}

fn every_turn_left_what_it_did(world: &World, plan: &Plan, session: &mut Session<'_>, workspace: &str) {
    let turns = session.turns();
    assert_eq!(turns.len(), plan.turns(), "{}", session.describe());
    let mut state: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for (turn, expected) in turns.iter().zip(&plan.changes) {
        let at = |path: &str| format!("{workspace}@{}:{path}", turn.snapshot);
        let before = format!("{workspace}@{}", turn.before);
        let after = format!("{workspace}@{}", turn.snapshot);
        let diff = world.esker(["diff", &before, &after, "--json"]).ok().out;
        let changed: BTreeSet<String> = diff.lines().map(path_of).collect();
        let wanted: BTreeSet<String> = expected.keys().cloned().collect();
        assert_eq!(changed, wanted, "what turn {} of {workspace} changed: {}", turn.number, session.describe());
        for (path, content) in expected {
            state.insert(path, content.as_deref());
        }
        for (path, content) in &state {
            match content {
                Some(content) => assert_eq!(world.esker(["cat", &at(path)]).ok().out, *content, "turn {}", turn.number),
                None => drop(world.esker(["cat", &at(path)]).fails(3)),
            }
        }
    }
    for pair in turns.windows(2) {
        assert_eq!(pair[0].snapshot, pair[1].before, "turns follow each other");
    }
    let log = world.esker(["log", workspace, "--json", "-n", "1000"]).ok().json();
    for turn in turns.iter().zip(&plan.changes).filter(|(_, changes)| !changes.is_empty()).map(|(turn, _)| turn) {
        let entries = log.as_array().expect("a list");
        let entry = entries.iter().find(|entry| entry["snapshot"] == turn.snapshot.to_string());
        let entry =
            entry.unwrap_or_else(|| panic!("the log of {workspace} lists the snapshot of turn {}", turn.number));
        assert_eq!(
            (&entry["session"], &entry["turn"]),
            (&session.id().into(), &turn.number.to_string().into()),
            "{entry}"
        );
    }
}

fn path_of(line: &str) -> String {
    let entry: Value = serde_json::from_str(line).expect("a line of a diff is JSON");
    entry["path"].as_str().expect("a path").to_owned()
}

/// The whole tree is the source with what the plan changed.
fn the_workspace_is_whole(world: &World, source: &std::path::Path, plan: &Plan, workspace: &str) {
    let exported = world.path(format!("exported-{workspace}"));
    world.command(["export", workspace]).arg(&exported).run().ok();
    let expected = world.path(format!("expected-{workspace}"));
    world.program("cp").arg("-a").arg(source).arg(&expected).run().ok();
    for (path, content) in plan.changes.iter().flatten() {
        match content {
            Some(content) => std::fs::write(expected.join(path), content).unwrap(),
            None => std::fs::remove_file(expected.join(path)).unwrap(),
        }
    }
    for tree in [&exported, &expected] {
        world.program("find").arg(tree).args(["-exec", "touch", "-hd", "@1000000000", "{}", "+"]).run().ok();
    }
    same_tree(&expected, &exported);
}

/// Who wrote which version of the shared memories: scope, author, session, turn, tool call, and what it says.
fn the_memories_say_who_wrote_them(world: &World, one: &str, two: &str) {
    let versions = |path: &str| -> Vec<Document> {
        let mut versions =
            world.ask(async |client| client.document_versions("agent/main", path).await).expect("versions");
        versions.reverse();
        versions
    };
    let learned = versions("memories/learned.md");
    let notes = versions("memories/notes.md");
    let wrote = |versions: &[Document]| -> Vec<(u64, u64, String, u64, String)> {
        let row = |document: &Document| {
            let who = if document.session == one {
                "one"
            } else if document.session == two {
                "two"
            } else {
                "?"
            };
            (document.version, document.base, who.to_owned(), document.turn, document.tool_call.clone())
        };
        versions.iter().map(row).collect()
    };
    let row = |version, base, who: &str, turn, call: &str| (version, base, who.to_owned(), turn, call.to_owned());
    assert_eq!(wrote(&learned), [row(1, 0, "one", 7, "one_07"), row(2, 1, "two", 3, "two_03")]);
    assert_eq!(wrote(&notes), [row(1, 0, "two", 4, "two_04"), row(2, 1, "one", 12, "one_13")]);
    for document in learned.iter().chain(&notes) {
        assert_eq!(document.author, "agent/main", "{document:?}");
        assert!(!document.side && !document.deleted, "{document:?}");
    }
    let said = |path: &str| world.esker(["doc", "get", path, "--scope", "agent/main"]).ok().out;
    assert_eq!(said("memories/learned.md"), plan::LEARNED.to_owned() + plan::LEARNED_TOO);
    assert_eq!(said("memories/notes.md"), plan::NOTE.to_owned() + plan::NOTE_TOO);
}
