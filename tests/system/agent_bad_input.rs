//! Models, tools and people that do what they should not: the session stops or goes on and says so, its log can be read, the
//! workspace is whole.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use api::wire::session::Event;
use serde_json::json;

use crate::world::crooked::{Crooked, event, stream};
use crate::world::{Aimock, Run, Script, Session, World, has_program};

/// A world with a workspace `w` that holds one file.
fn world() -> Option<World> {
    let world = World::with_mounts()?;
    if !has_program("bwrap") {
        return None;
    }
    let source = world.folder("source");
    fs::write(source.join("file.txt"), "one\ntwo\n").unwrap();
    world.command(["import"]).arg(&source).args(["--workspace", "w"]).run().ok();
    Some(world)
}

/// The result of a call: text and error flag.
fn result(events: &[Event], call: &str) -> (String, bool) {
    let finished = events.iter().find(|event| event.key == format!("finished:{call}"));
    let result = &finished.unwrap_or_else(|| panic!("{call} has ended")).data["result"];
    (result["text"].as_str().expect("a text").to_owned(), result["is_error"].as_bool().expect("a flag"))
}

/// The events are whole: no holes, each call answered, and the last one ends the session in this state.
#[track_caller]
fn ended(session: &mut Session<'_>, state: &str) -> Vec<Event> {
    let events = session.events();
    for (place, event) in events.iter().enumerate() {
        assert_eq!(event.sequence, place as u64 + 1, "no holes");
    }
    let last = events.last().expect("events");
    assert_eq!((&*last.kind, last.data["state"].as_str()), ("session.ended", Some(state)), "{}", session.describe());
    assert!(
        last.data["message"].as_str().is_some_and(|text| !text.is_empty()) || state == "done",
        "says why: {last:?}"
    );
    let id = session.id();
    for command in [&["session", "list"][..], &["session", "show", &id]] {
        let shown = session.world().esker(command).ok();
        assert!(shown.out.contains(&id[..8]), "{shown}");
    }
    events
}

fn workspace_is_whole(world: &World) {
    assert_eq!(world.esker(["cat", "w:file.txt"]).ok().out, "one\ntwo\n");
    world.esker(["check", "--full"]).ok();
}

const SKILL: &str = "---\nname: shared\ndescription: For all\n---\n\none skill for all\n";

#[test]
fn a_model_that_asks_for_nonsense_is_told_so_and_goes_on() {
    let Some(world) = world() else { return };
    fs::write(world.path("SKILL.md"), SKILL).unwrap();
    let mut put = world.command(["doc", "put", "skills/shared/SKILL.md"]);
    put.arg(world.path("SKILL.md")).args(["--scope", "org"]).run().ok();
    let mut script = Script::new("m");
    let read = |path: &str| json!({"file_path": path});
    let edit = |path: &str| json!({"file_path": path, "old_string": "one", "new_string": "1"});
    script.turn(
        "",
        &[("c1", "Nope", json!({"x": 1})), ("c2", "Read", json!({})), ("c3", "Read", json!({"file_path": 7}))],
    );
    script.turn("", &[("c4", "Read", read("/etc/passwd")), ("c5", "Edit", edit("/workspace/file.txt"))]);
    script.turn("", &[("c6", "Skill", json!({"skill": "no such"})), ("c7", "Read", read("/workspace/../etc/passwd"))]);
    let shared = "/skills/shared/SKILL.md";
    script.turn("", &[("c8", "Read", read(shared)), ("c8b", "Edit", edit(shared))]);
    let command = format!("cat /etc/shadow; ls /root; echo mine >> {shared} || echo refused; exit 7");
    script.turn("", &[("c9", "Bash", json!({"command": command}))]);
    script.turn("", &[("c10", "Bash", json!({"command": "cat /workspace/file.txt"}))]).turn("that was all", &[]);
    let Some(aimock) = Aimock::start(&world, &[script]) else { return };
    let mut session = Session::start(&world, &aimock, "w", "m", "Do strange things.");
    session.ends_well();
    let events = ended(&mut session, "done");
    let expected = [
        ("c1", true, "No such tool available: Nope"),
        ("c2", true, "file_path` is missing"),
        ("c3", true, "expected as `string`"),
        ("c4", true, ""),
        ("c5", true, "has not been read yet"),
        ("c6", true, "Unknown skill"),
        ("c7", true, ""),
        ("c8", false, "one skill for all"),
        ("c8b", true, "org"),
        ("c9", true, "refused"),
        ("c10", false, "one\ntwo"),
    ];
    for (call, error, text) in expected {
        let (said, is_error) = result(&events, call);
        assert!(is_error == error && said.contains(text), "{call}: {is_error} {said:?}");
        assert!(!said.contains("root:"), "nothing of the host: {said:?}");
    }
    let skill = world.esker(["doc", "get", "skills/shared/SKILL.md", "--scope", "org"]).ok().out;
    assert_eq!(skill, SKILL, "what all share is not an agent's to change");
    workspace_is_whole(&world);
}

#[test]
fn broken_answers_of_a_model_do_no_harm() {
    let Some(world) = world() else { return };
    let call = |id: &str| json!({"type": "tool_use", "id": id, "name": "Bash", "input": {}});
    let whole = stream(&[(call("ok"), "{\"command\": \"echo well\"}")], "tool_use");
    let odd =
        event(&json!({"type": "ping"})) + ": a comment\n\n" + &event(&json!({"type": "never_heard_of", "x": [1]}));
    let answers = vec![
        stream(&[(call("broken"), "{\"command\": \"echo")], "tool_use"),
        stream(&[(call("list"), "[1, 2]"), (call("text"), "\"rm -rf /\""), (call("null"), "null")], "tool_use"),
        whole.replacen("event: content_block_start", &format!("{odd}event: content_block_start"), 1),
        stream(&[(json!({"type": "text", "text": ""}), "the end")], "end_turn"),
    ];
    let model = Crooked::start(answers);
    let mut session = Session::with_options(&world, &model.url, "w", "m", "Speak.", &[]);
    session.ends_well();
    let events = ended(&mut session, "done");
    for id in ["broken", "list", "text", "null"] {
        let (said, is_error) = result(&events, id);
        assert!(is_error && !said.is_empty(), "{id}: {said:?}");
    }
    assert_eq!(result(&events, "ok"), ("well".to_owned(), false));
    assert_eq!(model.requests(), 4, "nothing was asked twice");
    workspace_is_whole(&world);
}

#[test]
fn a_model_that_goes_round_in_circles_is_stopped() {
    let Some(world) = world() else { return };
    let mut script = Script::new("m");
    let ids: Vec<String> = (0..30).map(|number| format!("c{number}")).collect();
    for id in &ids {
        script.turn("again", &[(id, "Read", json!({"file_path": "/workspace/missing"}))]);
    }
    let Some(aimock) = Aimock::start(&world, &[script]) else { return };
    let mut session = Session::start(&world, &aimock, "w", "m", "Find it.");
    assert_ne!(session.end(), 0, "a loop is no success");
    let events = session.events();
    let last = events.last().expect("events");
    assert_eq!(last.data["reason"], "loop", "{}", session.describe());
    assert!(aimock.requests().len() < 12, "{} requests", aimock.requests().len());
    let state = last.data["state"].as_str().expect("a state").to_owned();
    ended(&mut session, &state);
    workspace_is_whole(&world);
}

#[test]
fn a_model_that_is_away_is_waited_for() {
    let Some(world) = world() else { return };
    let error = |status: u16, kind: &str| json!({"response": {"error": {"message": "not now", "type": kind}, "status": status}});
    let mut limited = error(429, "rate_limit_error");
    limited["response"]["retryAfter"] = json!(1);
    let words = "These words will never be whole, for the line is cut in the middle of them.";
    let cut = json!({"response": {"content": words}, "latency": 15, "chunkSize": 8, "truncateAfterChunks": 6});
    let mut script = Script::new("m");
    script.fault(0, limited).fault(1, error(500, "api_error")).fault(2, error(529, "overloaded_error"));
    script.turn("", &[("c1", "Bash", json!({"command": "echo once >> /workspace/log"}))]);
    script.fault(0, cut).turn("done", &[]);
    let Some(aimock) = Aimock::start(&world, &[script]) else { return };

    // Nobody listens at first; the harness is killed while it waits, and resumed when the model is there.
    let mut session = Session::with_options(&world, "http://127.0.0.1:9", "w", "m", "Wait.", &[]);
    session.wait_for_kind("notice");
    session.kill();
    session.at(&aimock.url);
    session.resume();
    session.ends_well();
    let events = ended(&mut session, "done");
    let notices: Vec<String> =
        events.iter().filter(|event| event.kind == "notice").map(|event| event.data.to_string()).collect();
    assert!(notices.len() >= 5, "{notices:#?}");
    for word in ["429", "500", "529"] {
        assert!(notices.iter().any(|notice| notice.contains(word)), "{word}: {notices:#?}");
    }
    let answers: Vec<&Event> = events.iter().filter(|event| event.kind == "model.answer").collect();
    assert_eq!(answers.len(), 2, "what was cut is no answer");
    assert!(!answers.iter().any(|answer| answer.data.to_string().contains("never be whole")));
    assert_eq!(world.esker(["cat", "w:log"]).ok().out, "once\n");
    workspace_is_whole(&world);
}

#[test]
fn a_command_that_never_ends_is_ended() {
    let Some(world) = world() else { return };
    let endless = "echo begun; (setsid sh -c 'trap \"\" TERM HUP; sleep 98761' &) ; trap '' TERM; sleep 98762";
    let mut script = Script::new("m");
    script.turn("", &[("c1", "Bash", json!({"command": endless, "timeout": 1500}))]);
    script.turn("", &[("c2", "Bash", json!({"command": "pgrep -f 9876 | wc -l; echo alive"}))]).turn("done", &[]);
    let Some(aimock) = Aimock::start(&world, &[script]) else { return };
    let mut session = Session::start(&world, &aimock, "w", "m", "Sleep.");
    session.ends_well();
    let events = ended(&mut session, "done");
    let (said, is_error) = result(&events, "c1");
    assert!(is_error && said.contains("timed out") && said.contains("begun"), "{said:?}");
    assert!(result(&events, "c2").0.contains("alive"));
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        assert!(!line.starts_with("sleep\0") || !line.contains("9876"), "still there: {line}");
    }
    workspace_is_whole(&world);
}

#[test]
fn a_workspace_that_is_gone_is_named() {
    let Some(world) = world() else { return };
    let mut script = Script::new("m");
    script.turn("", &[("c1", "Bash", json!({"command": "echo x > /workspace/x; sleep 4"}))]).turn("done", &[]);
    let Some(aimock) = Aimock::start(&world, &[script]) else { return };
    let mut nowhere = Session::start(&world, &aimock, "nowhere", "none", "Go.");
    assert_eq!(nowhere.end(), 3, "{}", nowhere.output());
    assert!(nowhere.output().contains("nowhere"), "{}", nowhere.output());
    assert!(world.ask(async |client| client.sessions(None).await).unwrap().is_empty(), "no session came of it");

    let mut session = Session::start(&world, &aimock, "w", "m", "Go.");
    session.wait_for("started:c1");
    session.kill();
    let id = session.id();
    world.release("w");
    world.esker(["workspace", "delete", "w"]).ok();
    session.resume();
    assert_ne!(session.end(), 0, "{}", session.describe());
    let said = session.output();
    assert!(!said.contains("panicked") && said.contains("workspace"), "{said}");
    assert!(session.events().len() >= 4, "its log can still be read: {}", session.describe());
    world.esker(["session", "show", &id]).ok();
    world.esker(["check", "--full"]).ok();
}

#[test]
fn a_memory_that_somebody_else_changed_is_not_overwritten() {
    let Some(world) = world() else { return };
    let put = |text: &str| {
        let file = world.path("memory.md");
        fs::write(&file, text).unwrap();
        let mut put = world.command(["doc", "put", "memories/shared.md"]);
        put.arg(&file).args(["--scope", "agent/main"]).run().ok();
    };
    put("as it was\n");
    let path = "/memories/shared.md";
    let edit = json!({"file_path": path, "old_string": "as it was", "new_string": "as I want it"});
    let write = json!({"file_path": path, "content": "mine alone\n"});
    let long = "I take my time. ".repeat(30);
    let mut script = Script::new("m");
    script.turn("", &[("c1", "Read", json!({"file_path": path}))]);
    script.turn(&long, &[("c2", "Edit", edit), ("c3", "Write", write)]).slowly(60);
    script.turn("", &[("c4", "Read", json!({"file_path": path}))]);
    let added =
        json!({"file_path": path, "old_string": "as they want it", "new_string": "as they want it, and I agree"});
    script.turn("", &[("c5", "Edit", added)]).turn("done", &[]);
    let Some(aimock) = Aimock::start(&world, &[script]) else { return };
    let mut session = Session::start(&world, &aimock, "w", "m", "Remember.");
    session.wait_for("turn:2");
    put("as they want it\n");
    session.ends_well();
    let events = ended(&mut session, "done");
    for call in ["c2", "c3"] {
        let (said, is_error) = result(&events, call);
        assert!(is_error && said.contains("modified since read"), "{call}: {said:?}");
    }
    assert!(result(&events, "c4").0.contains("as they want it"));
    assert!(!result(&events, "c5").1, "{:?}", result(&events, "c5"));
    let said = world.esker(["doc", "get", "memories/shared.md", "--scope", "agent/main"]).ok().out;
    assert_eq!(said, "as they want it, and I agree\n");
    workspace_is_whole(&world);
}

#[test]
fn without_bubblewrap_nothing_runs() {
    let Some(world) = world() else { return };
    let mut script = Script::new("m");
    script.turn("", &[("c1", "Bash", json!({"command": "echo ran > /workspace/ran"}))]).turn("done", &[]);
    let Some(aimock) = Aimock::start(&world, &[script]) else { return };
    // All programs but one; then one that does not work.
    let programs = world.folder("programs");
    for folder in ["/usr/bin", "/usr/sbin"] {
        for entry in fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.file_name() != "bwrap") {
            let _ = std::os::unix::fs::symlink(entry.path(), programs.join(entry.file_name()));
        }
    }
    let go = || {
        let mut command = world.command(["run", "--workspace", "w", "Go."]);
        command.env("PATH", &programs).env("ANTHROPIC_BASE_URL", &aimock.url).env("ANTHROPIC_API_KEY", "k");
        let refused = command.env("ANTHROPIC_MODEL", "m").run_within(Duration::from_secs(60)).fails(6);
        assert!(refused.err.contains("bubblewrap"), "says what is missing: {refused}");
    };
    go();
    fs::write(programs.join("bwrap"), "#!/bin/sh\necho 'No permissions to create new namespace' >&2; exit 1\n")
        .unwrap();
    fs::set_permissions(programs.join("bwrap"), fs::Permissions::from_mode(0o755)).unwrap();
    go();
    assert!(aimock.requests().is_empty(), "the model was not asked");
    assert!(world.ask(async |client| client.sessions(None).await).unwrap().is_empty(), "no session came of it");
    workspace_is_whole(&world);
}
