//! Sessions as people and scripts see them: the real command, a real engine, a log that somebody tampered with.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use api::client::Client;
use api::wire::session::{AppendEvents, CreateSession, EndTurn, NewEvent, TakeLease};
use serde_json::{Value, json};

use crate::world::{Run, World};

/// Stands in the log once, so that it is found in the database's file.
const MARK: &str = "unmistakable-words-of-the-model";

fn event(kind: &str, key: &str, turn: u64, data: Value) -> NewEvent {
    NewEvent { key: key.into(), kind: kind.into(), turn, tool_call: String::new(), data }
}

async fn append(client: &Client, id: &str, epoch: u64, events: Vec<NewEvent>) {
    client.append_events(id, &AppendEvents { epoch, events }).await.unwrap();
}

/// A session with one turn on a new workspace; its id and the epoch of its lease.
async fn one_turn(client: Client) -> (String, u64) {
    let head = client.workspace("w").await.unwrap().head;
    let new = CreateSession {
        workspace: "w".into(),
        agent: "main".into(),
        user: "ana".into(),
        title: "fix \u{202e}it".into(),
    };
    let id = client.create_session(&new).await.unwrap().id;
    let owner = TakeLease { owner: "7 on here".into(), dead_epoch: None };
    let epoch = client.take_session(&id, &owner).await.unwrap().epoch;
    let content = json!([
        { "type": "text", "text": format!("{MARK}\u{1b}[31m") },
        { "type": "tool_use", "id": "t", "name": "Bash", "input": { "command": "cargo test" } },
    ]);
    let events = vec![
        event("session.started", "start", 0, json!({ "task": "Fix the test." })),
        event("turn.started", "turn:1", 1, json!({})),
        event("model.answer", "answer:1", 1, json!({ "content": content })),
        event("tool.finished", "finished:t", 1, json!({ "name": "Bash", "result": { "text": "ok\u{7}" } })),
    ];
    append(&client, &id, epoch, events).await;
    let end = EndTurn { epoch, snapshot: head, data: json!({}) };
    client.end_turn(&id, 1, &end).await.unwrap();
    append(&client, &id, epoch, vec![event("turn.started", "turn:2", 2, json!({}))]).await;
    (id, epoch)
}

fn sequences(text: &str) -> Vec<u64> {
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.map(|event| event["sequence"].as_u64().unwrap()).collect()
}

#[test]
fn a_session_is_listed_and_shown_turn_by_turn() {
    let world = World::new();
    assert!(world.esker(["session", "list"]).ok().out.contains("no sessions"));
    world.esker(["workspace", "create", "w"]).ok();
    let (id, _) = world.ask(one_turn);
    let listed = world.esker(["session", "list", "--workspace", "w"]).ok();
    assert!(listed.out.contains(&id[..12]) && listed.out.contains("running"), "{listed}");
    let list = world.esker(["session", "list", "--json"]).ok().json();
    assert_eq!((&list[0]["id"], &list[0]["turns"]), (&json!(id), &json!(1)));
    let shown = world.esker(["session", "show", &id[..6]]).ok();
    let steering = |letter: char| letter.is_control() && letter != '\n' || letter == '\u{202e}';
    assert!(!shown.out.contains(steering) && !listed.out.contains(steering), "{:?}", shown.out);
    for part in ["7 on here", "task: Fix the test.", "── turn 1", MARK, "→ Bash cargo test", "← Bash", "■ snapshot"]
    {
        assert!(shown.out.contains(part), "{part:?} is missing: {shown}");
    }
    let turn = world.esker(["session", "show", &id, "--turn", "1"]).ok();
    assert!(turn.out.contains(MARK) && !turn.out.contains("turn 2") && !turn.out.contains("task:"), "{turn}");
    assert_eq!(sequences(&world.esker(["session", "show", &id, "--json"]).ok().out), [1, 2, 3, 4, 5, 6]);
    assert_eq!(sequences(&world.esker(["session", "show", &id, "--json", "--turn", "2"]).ok().out), [6]);
    world.esker(["session", "show", "0000000000000000"]).fails(3);
    world.esker(["session", "show", "xyz"]).fails(2);
    world.esker(["session", "list", "--workspace", "missing"]).fails(3);
    world.esker(["check"]).ok();
}

#[test]
fn a_follower_sees_each_event_once_although_the_engine_is_killed() {
    let mut world = World::new();
    world.start_engine();
    world.esker(["workspace", "create", "w"]).ok();
    let (id, epoch) = world.ask(one_turn);
    let mut child =
        world.command(["session", "show", &id, "--follow", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen: Vec<String> = lines.by_ref().take(6).map(Result::unwrap).collect();
    for round in 0..2 {
        match round {
            0 => world.kill_engine(),
            _ => drop(world.esker(["shutdown"]).ok()),
        }
        // Whoever comes first, the follower or this, starts the next engine.
        world.ask(async |client| {
            let notice = event("notice", &format!("notice:{round}"), 2, json!({ "message": "still here" }));
            append(&client, &id, epoch, vec![notice]).await;
        });
        seen.extend(lines.by_ref().take(1).map(Result::unwrap));
    }
    world.ask(async |client| {
        append(&client, &id, epoch, vec![event("session.ended", "ended:1", 0, json!({ "state": "done" }))]).await;
    });
    seen.extend(lines.map(Result::unwrap));
    assert!(child.wait().unwrap().success(), "it ends with the session");
    assert_eq!(sequences(&seen.join("\n")), (1..=9).collect::<Vec<_>>());
}

#[test]
fn a_log_that_was_tampered_with_says_so() {
    let world = World::new();
    world.esker(["workspace", "create", "w"]).ok();
    let (id, epoch) = world.ask(one_turn);
    // So much that SQLite moves its write-ahead log into the file, and then begins the log anew: what is changed in the
    // log itself fails its checksums and is dropped, which is as if it had never been committed.
    world.ask(async |client| {
        for bytes in [3 << 20, 3 << 20, 3 << 20, 1] {
            let key = format!("notice:{}", client.session(&id).await.unwrap().last_event);
            append(&client, &id, epoch, vec![event("notice", &key, 0, json!("x".repeat(bytes)))]).await;
        }
    });
    world.esker(["shutdown"]).ok();
    let path = world.data().join("esker.db");
    let mut bytes = fs::read(&path).unwrap();
    let found = bytes.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK.as_bytes());
    let found: Vec<usize> = found.map(|(at, _)| at).collect();
    assert!(!found.is_empty(), "the words are in the file");
    found.into_iter().for_each(|at| bytes[at] = b'U');
    fs::write(&path, bytes).unwrap();
    let shown = world.esker(["session", "show", &id]).fails(7);
    assert!(shown.err.contains("event 3 "), "{shown}");
    let check = world.esker(["check"]).fails(7);
    assert!(check.out.contains(&id) && check.out.contains("event 3 "), "{check}");
    world.esker(["session", "list"]).ok();
}

#[test]
fn another_machine_sees_sessions_with_address_and_token() {
    let mut world = World::new();
    world.start_engine();
    world.esker(["workspace", "create", "w"]).ok();
    let (id, _) = world.ask(one_turn);
    let token = fs::read_to_string(world.data().join("token")).unwrap();
    let info: Value = serde_json::from_slice(&fs::read(world.data().join("engine.json")).unwrap()).unwrap();
    let url = format!("http://{}", info["address"].as_str().expect("it listens on TCP"));
    let elsewhere = World::new();
    let list = elsewhere.esker(["session", "list", "--json", "--server", &url, "--token", token.trim()]).ok().json();
    assert_eq!(list[0]["id"], json!(id));
    let shown =
        elsewhere.command(["session", "show", &id, "--engine", &url]).env("ESKER_TOKEN", token.trim()).run().ok();
    assert!(shown.out.contains(MARK));
    elsewhere.esker(["session", "list", "--server", &url, "--token", "wrong"]).fails(5);
    elsewhere.command(["session", "list", "--server", &url]).env_remove("ESKER_TOKEN").run().fails(5);
}
