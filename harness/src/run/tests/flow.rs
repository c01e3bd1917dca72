//! How turns and sessions go: the model's moods, limits, what is away or gone.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vfs_core::Kind;

use super::model::{Reply, Script, call, text, turns};
use super::{Seen, World, options};
use crate::limits::{CALLS_MAX, LOOP_MAX};
use crate::run::Options;

/// The first answer goes wrong in these ways, one after the other, then it is right.
fn faults(replies: Vec<Reply>) -> Script {
    Arc::new(move |_, time| replies.get(time).cloned().unwrap_or_else(|| Reply::Blocks(vec![text("well")], "end_turn")))
}

fn status(status: u16) -> Reply {
    let body =
        json!({ "type": "error", "error": { "type": "some_error", "message": "sk-secret-key \u{1b}[31m is\nbad" } });
    Reply::Status(status, vec![], body.to_string())
}

#[tokio::test]
async fn what_is_shown_is_text_and_events() {
    let world = World::new(turns(vec![vec![text("Let me "), call("r", "Read", "{}")], vec![text("Bye")]])).await;
    let seen = Seen::default();
    let mut run = world.begin().await.unwrap();
    let mut tools = world.tools();
    run.drive(&mut tools, &world.dialect, &options(Some("x")), &|shown| seen.take(shown)).await.unwrap();
    let expected = "<session.started><turn.started>Let me <model.answer><tool.started><tool.finished><turn.ended>\
                    <turn.started>Bye<model.answer><turn.ended><session.ended>";
    assert_eq!(seen.text(), expected);
    assert_eq!(tools.remembered(), ["r"], "what finishes now is remembered as what finished before a crash");
    assert_eq!(world.engine.barriers.load(Ordering::SeqCst), 1, "nothing was written: only the first one");
    let headers = world.model.headers();
    assert_eq!(
        (&headers[0]["x-api-key"], &headers[0]["anthropic-version"]),
        (&"sk-secret-key".parse().unwrap(), &"2023-06-01".parse().unwrap())
    );
}

#[tokio::test]
async fn a_model_that_is_away_for_a_while_is_asked_again_with_notices() {
    let storm = vec![
        status(500),
        status(529),
        status(503),
        Reply::Cut(vec![text("half an answer")], 700),
        Reply::Raw(String::new()),
    ];
    let world = World::new(faults(storm)).await;
    let seen = Seen::default();
    let mut run = world.begin().await.unwrap();
    let ended =
        run.drive(&mut world.tools(), &world.dialect, &options(Some("x")), &|shown| seen.take(shown)).await.unwrap();
    assert_eq!(ended.state, "done");
    let notices = world.bodies("notice");
    let codes: Vec<&str> = notices.iter().map(|notice| notice["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["500", "529", "503", "broken", "broken"]);
    let requests = &world.model.requests()[&0];
    assert!(requests.len() == 6 && requests.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(seen.text().contains("<void>"), "what was shown of a broken answer is taken back");
    let log = serde_json::to_string(&world.events()).unwrap();
    assert!(!log.contains("sk-secret-key") && log.contains("[secret]"), "the key is in the log");
    assert!(!notices[0]["message"].as_str().unwrap().contains('\u{1b}'));
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let slow = Reply::Status(429, vec![("retry-after", "1")], "{}".into());
    let world = World::new(faults(vec![slow])).await;
    let begun = Instant::now();
    world.drive(&options(Some("x"))).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(world.bodies("notice")[0]["pause_ms"], 1000);
}

#[tokio::test]
async fn a_model_that_stays_away_stops_the_session_which_can_be_resumed() {
    let world = World::new(faults(vec![status(500), status(500), status(500)])).await;
    let few = Options { tries_max: 3, ..options(Some("x")) };
    let ended = world.drive(&few).await.unwrap();
    assert_eq!((ended.state.as_str(), ended.reason.as_str()), ("stopped", "model"));
    assert_eq!((world.bodies("notice").len(), world.bodies("model.answer").len()), (2, 0));
    assert_eq!(world.drive(&options(None)).await.unwrap().state, "done");
    assert_eq!(world.bodies("turn.started").len(), 1, "the same turn goes on");
}

#[tokio::test]
async fn a_refused_key_is_said_at_once() {
    for (code, word) in
        [(401, "ANTHROPIC_API_KEY"), (400, "400"), (403, "403"), (404, "ANTHROPIC_BASE_URL"), (302, "302")]
    {
        let world = World::new(faults(vec![status(code), status(code)])).await;
        let ended = world.drive(&options(Some("x"))).await.unwrap();
        assert_eq!((ended.state.as_str(), ended.reason.as_str()), ("stopped", "model"));
        assert!(ended.message.contains(word) && !ended.message.contains("secret-key"), "{}", ended.message);
        assert_eq!(
            (world.model.requests()[&0].len(), world.bodies("notice").len()),
            (1, 0),
            "{code} is not tried again"
        );
    }
}

#[tokio::test]
async fn redirects_do_not_carry_the_key_away() {
    let away = Reply::Status(307, vec![("location", "http://127.0.0.1:1/v1/messages")], String::new());
    let world = World::new(faults(vec![away])).await;
    assert_eq!(world.drive(&options(Some("x"))).await.unwrap().reason, "model");
    assert_eq!(world.model.requests()[&0].len(), 1);
}

#[tokio::test]
async fn stop_reasons() {
    let one = |stop: &'static str, blocks: Vec<Value>| -> Script {
        Arc::new(move |answers, time| match (answers, time) {
            (0, 0) => Reply::Blocks(blocks.clone(), stop),
            _ => Reply::Blocks(vec![text("end")], "end_turn"),
        })
    };
    let cases = [
        ("refusal", vec![text("no"), call("a", "Bash", "{}")], "failed", "refusal", 1),
        ("model_context_window_exceeded", vec![text("…")], "failed", "context", 1),
        ("pause_turn", vec![text("wait")], "done", "done", 2),
        ("max_tokens", vec![text("and then")], "done", "done", 2),
        ("max_tokens", vec![call("a", "Read", "{\"x")], "done", "done", 2),
        ("stop_sequence", vec![text("x")], "done", "done", 1),
        ("something_new", vec![text("x")], "done", "done", 1),
        ("something_new", vec![call("a", "Read", "{}")], "done", "done", 2),
        ("end_turn", vec![], "done", "done", 1),
    ];
    for (stop, blocks, state, reason, turns) in cases {
        let world = World::new(one(stop, blocks)).await;
        let ended = world.drive(&options(Some("x"))).await.unwrap();
        assert_eq!((ended.state.as_str(), ended.reason.as_str()), (state, reason), "{stop}");
        assert_eq!(world.bodies("turn.ended").len(), turns, "{stop}");
        if stop == "refusal" {
            assert!(world.effects.done().is_empty(), "a refused answer is not acted upon");
            assert_eq!(world.drive(&options(None)).await.unwrap().state, "failed");
            assert_eq!(world.drive(&options(Some("else"))).await.unwrap().reason, "done");
        }
    }
}

#[tokio::test]
async fn answers_that_are_cut_again_and_again_stop_the_session() {
    let world = World::new(Arc::new(|_, _| Reply::Blocks(vec![text("more")], "max_tokens"))).await;
    assert_eq!(world.drive(&options(Some("x"))).await.unwrap().reason, "tokens");
    assert_eq!(world.bodies("turn.ended").len(), 3);
}

#[tokio::test]
async fn a_loop_is_stopped_and_may_go_on_when_somebody_says_so() {
    let same = |answers: usize| vec![call(&format!("c{answers}"), "Nope", r#"{"a":1}"#)];
    let world = World::new(Arc::new(move |answers, _| Reply::Blocks(same(answers), "tool_use"))).await;
    let ended = world.drive(&options(Some("x"))).await.unwrap();
    assert_eq!((ended.state.as_str(), ended.reason.as_str()), ("stopped", "loop"));
    assert!(ended.message.contains("Nope"));
    assert_eq!(world.bodies("turn.ended").len(), LOOP_MAX);
    world.drive(&options(Some("try something else"))).await.unwrap();
    assert_eq!(world.bodies("turn.ended").len(), 2 * LOOP_MAX);
}

#[tokio::test]
async fn turns_and_calls_have_limits() {
    let world =
        World::new(Arc::new(|answers, _| Reply::Blocks(vec![call(&format!("c{answers}"), "Read", "{}")], "tool_use")))
            .await;
    let ended = world.drive(&Options { turns_max: 3, ..options(Some("x")) }).await.unwrap();
    assert_eq!((ended.state.as_str(), ended.reason.as_str()), ("stopped", "turns"));
    world.drive(&Options { turns_max: 2, ..options(None) }).await.unwrap();
    assert_eq!(world.bodies("turn.ended").len(), 5);

    let many: Vec<Value> = (0..CALLS_MAX + 2).map(|at| call(&format!("c{at}"), "Read", "{}")).collect();
    let world = World::new(turns(vec![many])).await;
    world.drive(&options(Some("x"))).await.unwrap();
    assert_eq!(world.effects.done().len(), CALLS_MAX);
    let refused = world.bodies("tool.finished").iter().filter(|body| body["result"]["is_error"] == true).count();
    assert_eq!(refused, 2, "every call of an answer has a result");
}

#[tokio::test]
async fn a_session_that_is_done_takes_more() {
    let world = World::new(turns(vec![vec![text("one")], vec![text("two")]])).await;
    world.drive(&options(Some("first"))).await.unwrap();
    let events = world.events().len();
    assert_eq!(world.drive(&options(None)).await.unwrap().state, "done");
    assert_eq!(world.events().len(), events, "nothing to do, nothing to say");
    world.drive(&options(Some("second"))).await.unwrap();
    let request: Value = serde_json::from_slice(&world.model.requests()[&1][0]).unwrap();
    assert_eq!(request["messages"][2]["content"][0]["text"], "second");
    let keys: Vec<String> =
        world.events().into_iter().map(|event| event.key).filter(|key| key.starts_with("end")).collect();
    assert_eq!(keys, ["end:1", "ended:1", "end:2", "ended:2"]);
}

#[tokio::test]
async fn a_deleted_workspace_ends_the_session_clearly() {
    let world = World::new(turns(vec![vec![call("g", "Gone", "{}")]])).await;
    let ended = world.drive(&options(Some("x"))).await.unwrap();
    assert_eq!((ended.state.as_str(), ended.reason.as_str()), ("failed", "workspace"));
    assert_eq!(world.bodies("session.ended").len(), 1);
}

#[tokio::test]
async fn tools_that_cannot_work_stop_the_session() {
    let world = World::new(turns(vec![vec![call("g", "Broken", "{}")]])).await;
    let ended = world.drive(&options(Some("x"))).await.unwrap();
    assert_eq!((ended.state.as_str(), ended.reason.as_str()), ("stopped", "tools"));
    assert!(ended.message.contains("the disk is full"));
}

#[tokio::test]
async fn a_call_during_which_something_went_away_is_looked_after() {
    let world = World::new(turns(vec![vec![call("s", "Slow", "{}")]])).await;
    assert_eq!(world.drive(&options(Some("x"))).await.unwrap().state, "done");
    assert_eq!(world.effects.done()["s"], 1);
    assert_eq!(world.bodies("tool.finished")[0]["recovered"], true);
}

#[tokio::test]
async fn a_barrier_waits_for_the_mount_and_brings_it_back() {
    let world = World::new(turns(vec![vec![call("w", "Write", "{}")]])).await;
    world.engine.broken_barriers.store(2, Ordering::SeqCst);
    assert_eq!(world.drive(&options(Some("x"))).await.unwrap().state, "done");
    // Looked at before the barrier, and after each that failed.
    assert_eq!(world.effects.revived.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn an_engine_that_stays_away_stops_the_run_which_can_be_resumed() {
    let world = Arc::new(World::new(turns(vec![vec![call("r", "Read", "{}")], vec![text("end")]])).await);
    let mut run = world.begin().await.unwrap();
    let engine = world.engine.clone();
    let away = move |shown: crate::run::Shown<'_>| {
        if let crate::run::Shown::Event(event) = shown
            && event.kind == "tool.started"
        {
            engine.away.store(true, Ordering::SeqCst);
        }
    };
    let short = Options { engine_patience: Duration::from_millis(50), ..options(Some("x")) };
    let error = run.drive(&mut world.tools(), &world.dialect, &short, &away).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    drop(run);
    world.engine.away.store(false, Ordering::SeqCst);
    assert_eq!(world.drive(&options(None)).await.unwrap().state, "done");
}

#[tokio::test]
async fn a_snapshot_that_was_thinned_is_replaced() {
    let world = World::new(turns(vec![vec![text("nothing to do")]])).await;
    let mut run = world.begin().await.unwrap();
    let engine = world.engine.clone();
    let thin = move |shown: crate::run::Shown<'_>| {
        if let crate::run::Shown::Event(event) = shown
            && event.kind == "model.answer"
        {
            engine.forget_snapshots();
        }
    };
    run.drive(&mut world.tools(), &world.dialect, &options(Some("x")), &thin).await.unwrap();
    assert_eq!(world.bodies("turn.ended").len(), 1);
}

#[tokio::test]
async fn a_session_without_a_task_says_so() {
    let world = World::new(turns(vec![])).await;
    for text in [None, Some(" \n")] {
        let error = world.drive(&options(text)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{text:?}");
    }
    assert_eq!(world.drive(&options(Some("now"))).await.unwrap().state, "done");
}
