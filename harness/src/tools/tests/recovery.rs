//! The harness dies between planning a call and its result: the effect happens once, and what is not known is said.

use serde_json::json;

use super::world::World;
use crate::call::{ToolCall, Tools};

/// Calls that write, after a first part that makes them possible, and what is there afterwards.
fn writes() -> Vec<(&'static str, serde_json::Value, &'static str)> {
    vec![
        ("Write", json!({"file_path": "/workspace/new.txt", "content": "after\n"}), "created"),
        ("Write", json!({"file_path": "/workspace/old.txt", "content": "after\n"}), "updated"),
        ("Edit", json!({"file_path": "/workspace/old.txt", "old_string": "before", "new_string": "after"}), "updated"),
        ("Write", json!({"file_path": "/memories/new.md", "content": "after\n"}), "created"),
        ("Write", json!({"file_path": "/memories/old.md", "content": "after\n"}), "updated"),
        ("Edit", json!({"file_path": "/memories/old.md", "old_string": "before", "new_string": "after"}), "updated"),
    ]
}

async fn world_with_old_files() -> World {
    let world = World::new().await;
    world.put("old.txt", "before\n").await;
    world.put_document("agent/main", "memories/old.md", "before\n").await;
    world
}

async fn content(world: &World, path: &str) -> String {
    let mut tools = world.tools();
    tools.ok("Read", json!({"file_path": path})).await
}

/// Numbers of versions of the document, or of snapshots of the workspace.
async fn effects(world: &World, path: &str) -> usize {
    match path.strip_prefix("/memories/") {
        Some(rest) => {
            world.client.document_versions("agent/main", &format!("memories/{rest}")).await.map_or(0, |all| all.len())
        }
        None => world.client.log("w", true, 100).await.unwrap().len(),
    }
}

#[tokio::test]
async fn a_write_that_did_not_happen_is_done() {
    for (name, input, word) in writes() {
        let world = world_with_old_files().await;
        let (call, plan) = planned(&world, name, &input).await;
        let mut next = world.tools();
        let result = next.tools.recover(&call, &plan).await.unwrap();
        assert!(!result.is_error && result.text.contains(word), "{name} {input}: {}", result.text);
        assert_eq!(content(&world, input["file_path"].as_str().unwrap()).await, "1\tafter\n2\t");
    }
}

#[tokio::test]
async fn a_write_that_happened_is_not_done_again() {
    for (name, input, word) in writes() {
        let world = world_with_old_files().await;
        let path = input["file_path"].as_str().unwrap();
        let mut first = world.tools();
        if path.contains("old") {
            first.ok("Read", json!({"file_path": path})).await;
        }
        let call = first.call(name, input.clone());
        let plan = first.plan(&call).await;
        let told = first.tools.run(&call, &plan).await.unwrap();
        let before = effects(&world, path).await;
        let mut next = world.tools();
        let result = next.tools.recover(&call, &plan).await.unwrap();
        assert_eq!((&result.text, result.is_error, result.wrote), (&told.text, false, told.wrote), "{name} {input}");
        assert!(result.text.contains(word));
        assert_eq!(effects(&world, path).await, before, "{name} {input} ran again");
        // And the file counts as known.
        next.ok("Write", json!({"file_path": path, "content": "more"})).await;
    }
}

#[tokio::test]
async fn what_somebody_else_wrote_is_not_overwritten() {
    for (name, input, _) in writes() {
        let world = world_with_old_files().await;
        let (call, plan) = planned(&world, name, &input).await;
        let path = input["file_path"].as_str().unwrap();
        match (path.strip_prefix("/workspace/"), path.contains("old")) {
            (Some(path), _) => world.put(path, "theirs\n").await,
            (None, true) => world.put_document_on("agent/main", "memories/old.md", 1, "theirs\n").await,
            (None, false) => world.put_document("agent/main", "memories/new.md", "theirs\n").await,
        }
        let mut next = world.tools();
        let result = next.tools.recover(&call, &plan).await.unwrap();
        assert!(result.is_error && result.text.starts_with("Outcome unknown:"), "{name} {input}: {}", result.text);
        assert_eq!(content(&world, path).await, "1\ttheirs\n2\t");
    }
}

#[tokio::test]
async fn a_planned_write_finds_what_came_in_between() {
    for (name, input, _) in
        writes().into_iter().filter(|(_, input, _)| input["file_path"].as_str().unwrap().starts_with("/workspace"))
    {
        let world = world_with_old_files().await;
        let path = input["file_path"].as_str().unwrap();
        let mut tools = world.tools();
        if path.contains("old") {
            tools.ok("Read", json!({"file_path": path})).await;
        }
        let call = tools.call(name, input.clone());
        let plan = tools.plan(&call).await;
        world.put(path.strip_prefix("/workspace/").unwrap(), "theirs\n").await;
        let result = tools.tools.run(&call, &plan).await.unwrap();
        assert!(result.is_error && !result.wrote, "{name} {input}: {}", result.text);
        assert_eq!(content(&world, path).await, "1\ttheirs\n2\t");
    }
}

async fn planned(world: &World, name: &str, input: &serde_json::Value) -> (ToolCall, serde_json::Value) {
    let mut tools = world.tools();
    let path = input["file_path"].as_str().unwrap();
    if path.contains("old") {
        tools.ok("Read", json!({"file_path": path})).await;
    }
    let call = tools.call(name, input.clone());
    let plan = tools.plan(&call).await;
    (call, plan)
}
