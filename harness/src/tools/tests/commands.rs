//! Bash: the current directory, long outputs, and commands that the harness did not see end.

use serde_json::json;

use super::world::{Used, World};
use crate::call::Tools;

fn tools(world: &World) -> Option<Used> {
    let sandbox = crate::sandbox::tests::sandbox()?;
    Some(world.tools_with(|options| options.sandbox = sandbox))
}

#[tokio::test]
async fn the_current_directory_stays() {
    let world = World::new().await;
    let Some(mut tools) = tools(&world) else { return };
    assert_eq!(tools.ok("Bash", json!({"command": "mkdir -p a/b; cd a/b"})).await, "(Bash completed with no output)");
    assert_eq!(tools.ok("Bash", json!({"command": "pwd"})).await, "/workspace/a/b");
    assert!(tools.fails("Read", json!({"file_path": "x"})).await.ends_with("is /workspace/a/b."));
    assert_eq!(tools.ok("Bash", json!({"command": "cd /tmp && pwd"})).await, "/tmp\nShell cwd was reset to /workspace");
    assert_eq!(tools.ok("Bash", json!({"command": "pwd"})).await, "/workspace");
    let call = tools.call("Bash", json!({"command": "echo out; echo err >&2; exit 3"}));
    let failed = tools.run(&call).await;
    assert_eq!((failed.text.as_str(), failed.is_error, failed.wrote), ("Exit code 3\nout\nerr", true, true));
}

#[tokio::test]
async fn a_command_that_takes_too_long_says_so() {
    let world = World::new().await;
    let Some(mut tools) = tools(&world) else { return };
    let call = tools.call("Bash", json!({"command": "echo early; sleep 60", "timeout": 1500}));
    let result = tools.run(&call).await;
    assert_eq!((result.text.as_str(), result.is_error), ("Exit code 143\nCommand timed out after 1s\nearly", true));
}

#[tokio::test]
async fn a_long_output_goes_to_a_file_that_can_be_read() {
    let world = World::new().await;
    let Some(mut tools) = tools(&world) else { return };
    let text = tools.ok("Bash", json!({"command": "seq 1 20000"})).await;
    assert!(
        text.starts_with("<persisted-output>\nOutput too large (106.3KB). Full output saved to: /tool-results/"),
        "{text}"
    );
    let path = text.split_whitespace().find(|word| word.starts_with("/tool-results/")).unwrap();
    assert_eq!(tools.ok("Bash", json!({"command": format!("tail -n 1 {path}")})).await, "20000");
    assert_eq!(
        tools.ok("Read", json!({"file_path": path, "offset": 19999, "limit": 2})).await,
        "19999\t19999\n20000\t20000"
    );
    assert!(tools.fails("Write", json!({"file_path": path, "content": ""})).await.contains("is read-only"));
    for path in ["/tool-results/../../data", "/tool-results/a/b"] {
        assert!(!tools.fails("Read", json!({"file_path": path})).await.is_empty());
    }
}

#[tokio::test]
async fn a_command_runs_once() {
    let world = World::new().await;
    let Some(mut first) = tools(&world) else { return };
    let call = first.call("Bash", json!({"command": "echo x >> count; cd /workspace; cat count; exit 4"}));
    let plan = first.plan(&call).await;
    // Planned, and the harness died: it never ran, so it runs now.
    let mut second = tools(&world).unwrap();
    let told = second.tools.recover(&call, &plan).await.unwrap();
    assert_eq!(told.text, "Exit code 4\nx");
    // It ran, and the harness died before the result was in the log.
    let mut third = tools(&world).unwrap();
    assert_eq!(third.tools.recover(&call, &plan).await.unwrap(), told);
    assert_eq!(std::fs::read_to_string(world.folder.path().join("workspace/count")).unwrap(), "x\n");
    // In the log: its folder goes.
    third.tools.remember(&call, &told);
    assert_eq!(std::fs::read_dir(world.folder.path().join("session/calls")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_command_that_was_started_elsewhere_does_not_run_here() {
    let world = World::new().await;
    let Some(mut first) = tools(&world) else { return };
    let call = first.call("Bash", json!({"command": "echo x >> count"}));
    let plan = first.plan(&call).await;
    // Another machine, or another data folder: nothing of the call is here, which says nothing.
    let mut other = world.tools_with(|options| options.folder = world.folder.path().join("elsewhere"));
    let told = other.tools.recover(&call, &plan).await.unwrap();
    assert!(told.is_error && told.text.contains("not known"), "{}", told.text);
    assert!(!world.folder.path().join("workspace/count").exists(), "it must not run");
}

#[tokio::test]
async fn a_command_that_is_interrupted_is_told_of_and_does_not_run_again() {
    let world = World::new().await;
    let Some(mut first) = tools(&world) else { return };
    let call = first.call("Bash", json!({"command": "echo x | tee -a count; sleep 60; echo y >> count"}));
    let plan = first.plan(&call).await;
    let count = world.folder.path().join("workspace/count");
    let written = async {
        while !count.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        told = first.tools.run(&call, &plan) => panic!("it has ended: {told:?}"),
        () = written => {}
    }
    first.tools.interrupt().await.unwrap();
    let told = tools(&world).unwrap().tools.recover(&call, &plan).await.unwrap();
    assert_eq!(told.text, "Exit code 137\nCommand was interrupted by the user\nx");
    assert_eq!(std::fs::read_to_string(count).unwrap(), "x\n");
}
