//! Logs, sound and unsound.

use api::wire::name::Time;
use api::wire::session::Event;
use serde_json::{Value, json};
use vfs_core::Kind;

use super::{CallState, Conversation};
use crate::dialect::Role;

fn event(sequence: u64, kind: &str, turn: u64, call: &str, data: Value) -> Event {
    let time = Time { seconds: 0, nanos: 0 };
    Event {
        sequence,
        key: format!("{kind}{sequence}"),
        kind: kind.into(),
        turn,
        tool_call: call.into(),
        time,
        epoch: 1,
        data,
    }
}

/// Numbers the events of a log.
fn log(events: Vec<(&str, u64, &str, Value)>) -> Vec<Event> {
    let numbered = events.into_iter().enumerate();
    numbered.map(|(at, (kind, turn, call, data))| event(at as u64 + 1, kind, turn, call, data)).collect()
}

fn started() -> (&'static str, u64, &'static str, Value) {
    let prompt = json!({ "model": "m", "max_tokens": 1, "system": "s", "tools": [] });
    ("session.started", 0, "", json!({ "task": "the task", "prompt": prompt, "snapshot": "11".repeat(32) }))
}

fn answer(turn: u64, stop: &str, blocks: Value) -> (&'static str, u64, &'static str, Value) {
    ("model.answer", turn, "", json!({ "content": blocks, "stop_reason": stop }))
}

fn result(turn: u64, call: &'static str, text: &str, is_error: bool) -> (&'static str, u64, &'static str, Value) {
    let result = json!({ "text": text, "is_error": is_error, "wrote": false });
    ("tool.finished", turn, call, json!({ "name": "Read", "result": result }))
}

fn turn_started(turn: u64) -> (&'static str, u64, &'static str, Value) {
    ("turn.started", turn, "", json!({}))
}

fn turn_ended(turn: u64) -> (&'static str, u64, &'static str, Value) {
    ("turn.ended", turn, "", json!({ "snapshot": "22".repeat(32), "documents": [] }))
}

fn call(id: &str) -> Value {
    json!({ "type": "tool_use", "id": id, "name": "Read", "input": {} })
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

#[test]
fn a_turn_becomes_two_messages() {
    let mut skill = result(1, "b", "Launching", false);
    skill.3["result"]["follow_up"] = json!("the body");
    let events = log(vec![
        started(),
        ("notice", 0, "", json!({ "whatever": [1] })),
        turn_started(1),
        answer(1, "tool_use", json!([text("hm"), call("a"), call("b")])),
        ("tool.started", 1, "a", json!({ "plan": { "x": 1 } })),
        result(1, "a", "", true),
        skill,
        turn_ended(1),
    ]);
    let conversation = Conversation::read(&events).unwrap();
    let messages = conversation.messages();
    assert_eq!(messages.iter().map(|m| m.role).collect::<Vec<_>>(), [Role::User, Role::Assistant, Role::User]);
    let failed = json!({ "type": "tool_result", "tool_use_id": "a", "content": "(no output)", "is_error": true });
    let launched = json!({ "type": "tool_result", "tool_use_id": "b", "content": "Launching" });
    assert_eq!(messages[2].content, [failed, launched, text("the body")]);
    assert_eq!((conversation.turns(), conversation.finished().len()), (1, 2));
    assert_eq!(conversation.snapshot().unwrap().to_hex(), "22".repeat(32));
}

#[test]
fn every_prefix_of_a_log_says_how_far_it_came() {
    let events = log(vec![
        started(),
        turn_started(1),
        answer(1, "tool_use", json!([call("a"), call("b")])),
        ("tool.started", 1, "a", json!({ "plan": { "x": 1 } })),
        result(1, "a", "ok", false),
        result(1, "b", "no", true),
        turn_ended(1),
    ]);
    let read = |length: usize| Conversation::read(&events[..length]).unwrap();
    assert!(read(0).started().is_none());
    assert!(read(1).open().is_none());
    assert!(read(2).open().unwrap().answer().is_none());
    let state = |length: usize, index: usize| read(length).open().unwrap().calls()[index].1.clone();
    assert_eq!(state(3, 0), CallState::Waiting);
    assert_eq!(state(4, 0), CallState::Started(json!({ "x": 1 })));
    assert_eq!(state(5, 1), CallState::Waiting);
    assert!(matches!(state(5, 0), CallState::Finished { .. }));
    assert!(!read(5).open().unwrap().is_finished() && read(6).open().unwrap().is_finished());
    assert!(read(7).open().is_none());
    // Read at once or event by event: the same.
    let mut grown = Conversation::default();
    events.iter().for_each(|event| grown.take(event).unwrap());
    events.iter().for_each(|event| grown.take(event).unwrap());
    assert_eq!(grown.messages(), read(7).messages());
}

#[test]
fn nonsense_is_corrupt() {
    let begun = || vec![started(), turn_started(1), answer(1, "tool_use", json!([call("a")]))];
    let with = |mut more: Vec<(&'static str, u64, &'static str, Value)>, last| {
        more.push(last);
        more
    };
    let cases = vec![
        ("no beginning", vec![turn_started(1)]),
        ("begins twice", vec![started(), started()]),
        ("a turn is left out", vec![started(), turn_started(2)]),
        ("a turn in a turn", with(begun(), turn_started(2))),
        ("a message in a turn", with(begun(), ("user.message", 0, "", json!({ "text": "x" })))),
        ("a second answer", with(begun(), answer(1, "end_turn", json!([])))),
        ("an answer without a turn", vec![started(), answer(1, "end_turn", json!([]))]),
        ("another turn's answer", vec![started(), turn_started(1), answer(2, "end_turn", json!([]))]),
        ("an unknown call starts", with(begun(), ("tool.started", 1, "z", json!({})))),
        ("an unknown call ends", with(begun(), result(1, "z", "", false))),
        ("ends too early", with(begun(), turn_ended(1))),
        ("ends without an answer", vec![started(), turn_started(1), turn_ended(1)]),
        ("a body of another shape", vec![("session.started", 0, "", json!({ "task": 1 }))]),
        ("a call ends twice", with(with(begun(), result(1, "a", "x", false)), result(1, "a", "x", false))),
        ("starts after its end", with(with(begun(), result(1, "a", "x", false)), ("tool.started", 1, "a", json!({})))),
    ];
    for (what, events) in cases {
        let error = Conversation::read(&log(events)).map(|_| ()).expect_err(what);
        assert_eq!(error.kind(), Kind::Corrupt, "{what}");
    }
    let mut holes = log(vec![started(), turn_started(1)]);
    holes[1].sequence = 3;
    assert_eq!(Conversation::read(&holes).unwrap_err().kind(), Kind::Corrupt);
    let newer = log(vec![started(), ("session.dreamt", 0, "", json!({}))]);
    assert_eq!(Conversation::read(&newer).unwrap_err().kind(), Kind::Unsupported);
}

#[test]
fn calls_get_ids_that_are_theirs_alone() {
    let long = "x".repeat(200);
    let blocks = json!([call("a"), call("a"), call(""), call("../../etc"), call(&long), call("call_t1_3")]);
    let events = log(vec![started(), turn_started(1), answer(1, "tool_use", blocks.clone())]);
    let ids = |conversation: &Conversation| -> Vec<String> {
        conversation.open().unwrap().calls().iter().map(|(call, _)| call.id.clone()).collect()
    };
    let found = ids(&Conversation::read(&events).unwrap());
    assert_eq!(found, ["a", "call_t1_1", "call_t1_2", "call_t1_3", "call_t1_4", "call_t1_5"]);
    assert_eq!(found, ids(&Conversation::read(&events).unwrap()), "the log alone decides");
}

#[test]
fn a_refusal_is_not_acted_upon_and_not_repeated() {
    let events = log(vec![
        started(),
        turn_started(1),
        answer(1, "refusal", json!([text("I will n"), call("a")])),
        turn_ended(1),
        ("session.ended", 0, "", json!({ "state": "failed", "reason": "refusal" })),
        ("user.message", 0, "", json!({ "text": "then do this" })),
    ]);
    let conversation = Conversation::read(&events).unwrap();
    assert_eq!(conversation.messages().len(), 2);
    assert!(conversation.messages().iter().all(|message| message.role == Role::User));
    assert!(conversation.ended().is_none());
}

#[test]
fn repeated_failures_are_counted_until_somebody_steps_in() {
    let turn = |number, error: &str| {
        let id: &'static str = ["", "a", "b", "c", "d"][number as usize];
        let call = json!([{ "type": "tool_use", "id": id, "name": "Read", "input": { "p": 1 } }]);
        vec![
            turn_started(number),
            answer(number, "tool_use", call),
            result(number, id, error, true),
            turn_ended(number),
        ]
    };
    let mut events = [vec![started()], turn(1, "no"), turn(2, "no"), turn(3, "other"), turn(4, "other")].concat();
    assert_eq!(Conversation::read(&log(events[..9].to_vec())).unwrap().failures().0, 2);
    assert_eq!(Conversation::read(&log(events.clone())).unwrap().failures().0, 2, "another error is another failure");
    events.push(("session.ended", 0, "", json!({ "state": "stopped", "reason": "loop" })));
    assert_eq!(Conversation::read(&log(events)).unwrap().failures().0, 0);
}
