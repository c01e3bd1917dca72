//! A driver that dies at every point, and the next one that goes on (promise P16 in small).

use std::sync::Arc;

use api::wire::session::Event;
use serde_json::json;

use super::model::{Reply, Script, Server, call, text};
use super::tools::Effects;
use super::{World, options};

/// Five turns with everything in them: several calls, broken input, an unknown tool, one id twice, thinking, a skill,
/// a model that is overloaded once.
pub(super) fn script() -> Script {
    Arc::new(|answers, time| {
        let blocks = match answers {
            0 => vec![text("Let me look."), call("r1", "Read", r#"{"file_path":"/a","n":0.30000000000000004}"#)],
            1 => vec![call("w1", "Write", r#"{"file":"a"}"#), call("b1", "Bash", r#"{"command":"ls"}"#)],
            2 if time == 0 => return Reply::Status(529, vec![], "{}".into()),
            2 => vec![
                call("x1", "Write", r#"{"file":"#),
                call("x2", "Nope", "{}"),
                call("w1", "Write", r#"{"file":"b"}"#),
            ],
            3 => vec![
                json!({ "type": "thinking", "thinking": "hm…", "signature": "c2ln" }),
                call("b2", "Bash", r#"{"command":"make"}"#),
                call("s1", "Skill", r#"{"skill":"x"}"#),
            ],
            _ => vec![text("All is done.")],
        };
        let stop = if answers < 4 { "tool_use" } else { "end_turn" };
        Reply::Blocks(blocks, stop)
    })
}

/// What must be true of a session that has run to its end, however often its driver died.
pub(super) fn check(events: &[Event], effects: &Effects, model: &Server, what: &str) {
    let mut keys: Vec<&str> = events.iter().map(|event| event.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), events.len(), "{what}: a key is there twice");
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event.sequence, at as u64 + 1, "{what}");
    }
    let count = |kind: &str| events.iter().filter(|event| event.kind == kind).count();
    let expected =
        [("session.started", 1), ("turn.started", 5), ("model.answer", 5), ("turn.ended", 5), ("session.ended", 1)];
    for (kind, number) in expected {
        assert_eq!(count(kind), number, "{what}: {kind}");
    }
    assert_eq!(count("tool.finished"), 8, "{what}: results");
    assert_eq!(events.last().unwrap().data["state"], "done", "{what}");
    let done = effects.done();
    for id in ["w1", "b1", "call_t3_2", "b2", "s1"] {
        assert_eq!(done.get(id), Some(&1), "{what}: {id} had its effect");
    }
    assert!(done["r1"] >= 1, "{what}");
    let requests = model.requests();
    assert_eq!(requests.len(), 5, "{what}: turns that were asked for");
    for (turn, bodies) in requests {
        assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{what}: the requests of turn {turn} differ");
    }
}

impl World {
    fn check(&self, what: &str) {
        check(&self.events(), &self.effects, &self.model, what);
        assert!(self.engine.snapshots().len() >= 4, "{what}: three turns wrote");
    }
}

#[tokio::test]
async fn a_session_that_nothing_happens_to() {
    let world = World::new(script()).await;
    let ended = world.drive(&options(Some("do it"))).await.unwrap();
    assert_eq!(ended.state, "done");
    world.check("no crash");
    assert_eq!(world.engine.snapshots().len(), 4, "the first state and the three turns that wrote");
}

#[tokio::test]
async fn every_point_may_be_the_last_one() {
    let mut world = World::new(script()).await;
    world.points.arm(0);
    world.drive(&options(Some("do it"))).await.unwrap();
    let points = world.points.reached.load(std::sync::atomic::Ordering::SeqCst);
    assert!(points > 80, "only {points} points");
    for number in 1..=points {
        world.reset();
        let options = options(Some("do it"));
        let first = world.drive_until(number, &options).await;
        let before = world.events();
        world.points.arm(0);
        if first.is_none_or(|ended| ended.is_err()) {
            // The text belongs to the session that was begun; only one that was not gets it again.
            let again = if before.is_empty() { options } else { super::options(None) };
            world.drive(&again).await.unwrap_or_else(|error| panic!("point {number}: {}", error.chain()));
        }
        assert_eq!(world.events()[..before.len()], before, "point {number}: the log was changed");
        world.check(&format!("point {number}"));
    }
}

#[tokio::test]
async fn many_deaths_in_one_session() {
    let mut world = World::new(script()).await;
    for seed in 1..=40_u64 {
        world.reset();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut deaths = 0;
        loop {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let text = world.events().is_empty().then_some("do it");
            match world.drive_until(1 + state % 24, &options(text)).await {
                None => deaths += 1,
                Some(ended) => {
                    ended.unwrap_or_else(|error| panic!("seed {seed}: {}", error.chain()));
                    break;
                }
            }
            assert!(deaths < 500, "seed {seed} does not get on");
        }
        world.points.arm(0);
        assert!(deaths > 0 || seed > 1, "seed {seed} did not die once");
        world.check(&format!("seed {seed}, {deaths} deaths"));
    }
}
