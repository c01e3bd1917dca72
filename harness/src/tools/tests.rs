//! Tools against an engine in this process: rules of reading before writing, documents and grants, searches, skills.

mod commands;
mod recovery;
mod searches;
mod world;

use serde_json::json;

use super::*;
use world::World;

#[tokio::test]
async fn files_are_read_before_they_are_written() {
    let world = World::new().await;
    let mut tools = world.tools();
    let created = tools.say("Write", json!({"file_path": "/workspace/a/b.txt", "content": "one\ntwo\n"})).await;
    assert_eq!(
        created.text,
        "File created successfully at: /workspace/a/b.txt (file state is current in your context — no need to Read it back)"
    );
    assert!(created.wrote && !created.is_error);
    let updated = tools.say("Write", json!({"file_path": "a/b.txt", "content": "one\n2\n"})).await;
    assert_eq!(
        updated.text,
        "The file a/b.txt has been updated successfully. (file state is current in your context — no need to Read it back)"
    );
    world.put("c.txt", "x\n").await;
    let refused = "<tool_use_error>File has not been read yet. Read it first before writing to it.</tool_use_error>";
    for (tool, input) in [
        ("Write", json!({"file_path": "/workspace/c.txt", "content": "y"})),
        ("Write", json!({"file_path": "/workspace/a", "content": "y"})),
        ("Edit", json!({"file_path": "/workspace/c.txt", "old_string": "x", "new_string": "y"})),
    ] {
        assert_eq!(tools.fails(tool, input).await, refused);
    }
    assert_eq!(tools.ok("Read", json!({"file_path": "/workspace/c.txt"})).await, "1\tx\n2\t");
    assert_eq!(
        tools.ok("Read", json!({"file_path": "c.txt"})).await,
        "Wasted call — file unchanged since your last Read. Refer to that earlier tool_result instead."
    );
    world.put("c.txt", "other\n").await;
    let modified = "<tool_use_error>File has been modified since read, either by the user or by a linter. Read it again before attempting to write it.</tool_use_error>";
    assert_eq!(tools.fails("Write", json!({"file_path": "/workspace/c.txt", "content": "y"})).await, modified);
    assert_eq!(
        tools.fails("Edit", json!({"file_path": "/workspace/c.txt", "old_string": "o", "new_string": "y"})).await,
        modified
    );
    assert_eq!(world.get("c.txt").await, "other\n");
    assert_eq!(tools.ok("Read", json!({"file_path": "/workspace/c.txt"})).await, "1\tother\n2\t");
    // Touched, but what the model read is still there.
    world.put("c.txt", "other\n").await;
    let edited =
        tools.ok("Edit", json!({"file_path": "/workspace/c.txt", "old_string": "other", "new_string": "this"})).await;
    assert!(edited.starts_with("The file /workspace/c.txt has been updated successfully."));
    assert_eq!(world.get("c.txt").await, "this\n");
}

#[tokio::test]
async fn edits_say_what_is_wrong() {
    let world = World::new().await;
    let mut tools = world.tools();
    world.put("e.txt", "foo bar foo\r\nend\r\n").await;
    tools.ok("Read", json!({"file_path": "e.txt"})).await;
    let edit = |old: &str, new: &str, all: bool| json!({"file_path": "/workspace/e.txt", "old_string": old, "new_string": new, "replace_all": all});
    assert!(
        tools.fails("Edit", edit("foo", "x", false)).await.starts_with("<tool_use_error>Found 2 matches of the string")
    );
    assert_eq!(
        tools.fails("Edit", edit("nope", "x", false)).await,
        "<tool_use_error>String to replace not found in file.\nString: nope</tool_use_error>"
    );
    assert_eq!(
        tools.fails("Edit", edit("x", "x", false)).await,
        "<tool_use_error>No changes to make: old_string and new_string are exactly the same.</tool_use_error>"
    );
    assert_eq!(
        tools.fails("Edit", edit("", "x", false)).await,
        "<tool_use_error>Cannot create new file - file already exists.</tool_use_error>"
    );
    assert_eq!(
        tools.ok("Edit", edit("foo", "baz", true)).await,
        "The file /workspace/e.txt has been updated. All occurrences were successfully replaced. (file state is current in your context — no need to Read it back)"
    );
    tools.ok("Edit", edit("baz\nend", "baz\nthe\nend", false)).await;
    assert_eq!(world.get("e.txt").await, "baz bar baz\r\nthe\r\nend\r\n");
    tools.ok("Edit", json!({"file_path": "/workspace/new.txt", "old_string": "", "new_string": "n"})).await;
    assert_eq!(world.get("new.txt").await, "n");
    let missing = json!({"file_path": "/workspace/none", "old_string": "a", "new_string": "b"});
    assert_eq!(
        tools.fails("Edit", missing).await,
        "<tool_use_error>File does not exist. Note: your current working directory is /workspace.</tool_use_error>"
    );
    let folder = json!({"file_path": "/workspace", "old_string": "a", "new_string": "b"});
    assert_eq!(
        tools.fails("Edit", folder).await,
        "<tool_use_error>Error calling tool (Edit): EISDIR: illegal operation on a directory, read</tool_use_error>"
    );
}

#[tokio::test]
async fn reads_say_what_is_wrong() {
    let world = World::new().await;
    let mut tools = world.tools();
    world.put("d/small.txt", "x").await;
    let read = |path: &str| json!({"file_path": path});
    let table = [
        ("/workspace/none.txt", "File does not exist. Note: your current working directory is /workspace."),
        (
            "/workspace/d/small.md",
            "File does not exist. Note: your current working directory is /workspace. Did you mean d/small.txt?",
        ),
        ("/workspace/d/small.txt/x", "File does not exist. Note: your current working directory is /workspace."),
        ("/workspace/d", "EISDIR: illegal operation on a directory, read '/workspace/d'"),
        ("/skills", "EISDIR: illegal operation on a directory, read '/skills'"),
        ("/skills/none.md", "File does not exist. Note: your current working directory is /workspace."),
        (
            "/workspace/x.so",
            "<tool_use_error>This tool cannot read binary files. The file appears to be a binary .so file. Please use appropriate tools for binary file analysis.</tool_use_error>",
        ),
        (
            "/etc/passwd",
            "<tool_use_error>/etc/passwd is not available here: files are in /workspace, documents in /skills and /memories.</tool_use_error>",
        ),
        (
            "/workspace/../etc/passwd",
            "<tool_use_error>/workspace/../etc/passwd is not available here: files are in /workspace, documents in /skills and /memories.</tool_use_error>",
        ),
    ];
    for (path, text) in table {
        assert_eq!(tools.fails("Read", read(path)).await, text);
    }
    for tool in ["Write", "Edit"] {
        let input = json!({"file_path": "/etc/x", "content": "x", "old_string": "", "new_string": "x"});
        let keep: Vec<&str> =
            if tool == "Write" { vec!["file_path", "content"] } else { vec!["file_path", "old_string", "new_string"] };
        let input = input.as_object().unwrap().iter().filter(|(name, _)| keep.contains(&name.as_str()));
        let input = Value::Object(input.map(|(name, value)| (name.clone(), value.clone())).collect());
        assert!(tools.fails(tool, input).await.contains("/etc/x is not available here"));
    }
}

#[tokio::test]
async fn large_files_are_read_in_parts() {
    let world = World::new().await;
    let mut tools = world.tools();
    let text: String = (1..=1_200_000).map(|number| format!("line {number}\n")).collect();
    world.put("big.txt", &text).await;
    let refused = tools.fails("Read", json!({"file_path": "big.txt"})).await;
    assert!(refused.starts_with("File content (14149.3KB) exceeds maximum allowed size (256KB)."), "{refused}");
    let part = tools.ok("Read", json!({"file_path": "big.txt", "offset": 900_000, "limit": 2})).await;
    assert_eq!(part, "900000\tline 900000\n900001\tline 900001");
    let end = tools.ok("Read", json!({"file_path": "big.txt", "offset": 1_200_000, "limit": 9})).await;
    assert_eq!(end, "1200000\tline 1200000\n1200001\t");
}

#[tokio::test]
async fn documents_are_files_with_grants() {
    let world = World::new().await;
    let mut tools = world.tools();
    world.put_document("org", "skills/review/SKILL.md", "---\ndescription: Reviews\n---\nLook hard.\n").await;
    assert_eq!(
        tools.ok("Read", json!({"file_path": "/skills/review/SKILL.md"})).await,
        "1\t---\n2\tdescription: Reviews\n3\t---\n4\tLook hard.\n5\t"
    );
    let edit = json!({"file_path": "/skills/review/SKILL.md", "old_string": "hard", "new_string": "away"});
    let denied = tools.fails("Edit", edit).await;
    assert!(denied.starts_with("Permission denied: this agent may not write /skills/review/SKILL.md"), "{denied}");
    assert!(denied.ends_with("it may write documents of agent/main only; a person can grant more."), "{denied}");
    let created = tools.say("Write", json!({"file_path": "/memories/x.md", "content": "a\n"})).await;
    assert!(created.text.starts_with("File created successfully at: /memories/x.md") && !created.wrote);
    tools.ok("Edit", json!({"file_path": "/memories/x.md", "old_string": "a", "new_string": "b"})).await;
    let versions = world.client.document_versions("agent/main", "memories/x.md").await.unwrap();
    assert_eq!(versions.iter().map(|version| version.tool_call.as_str()).collect::<Vec<_>>(), ["call-4", "call-3"]);
    assert_eq!(versions[0].author, "agent/main");
    // Another session writes; ours does not write over it.
    world.put_document_on("agent/main", "memories/x.md", 2, "theirs\n").await;
    let stale = json!({"file_path": "/memories/x.md", "content": "ours"});
    assert!(tools.fails("Write", stale).await.contains("File has been modified since read"));
    assert_eq!(tools.ok("Read", json!({"file_path": "/memories/x.md"})).await, "1\ttheirs\n2\t");
    let mut reader = world.tools_with(|options| options.agent.clear());
    let refused = reader.fails("Write", json!({"file_path": "/memories/y.md", "content": "y"})).await;
    assert!(refused.contains("it may not write documents at all"), "{refused}");
}

#[tokio::test]
async fn skills_are_listed_and_loaded() {
    let world = World::new().await;
    let mut tools = world.tools();
    assert!(!tools.tools.instructions().await.unwrap().contains("Skill tool"));
    world
        .put_document(
            "org",
            "skills/greet/SKILL.md",
            "---\ndescription: Greets\nwhen_to_use: When asked\n---\nHello $ARGUMENTS!\n",
        )
        .await;
    world.put_document("org", "skills/bad/SKILL.md", "---\n: [\n---\n# Title line\n").await;
    world.put_document("org", "skills/manual/SKILL.md", "---\ndisable-model-invocation: true\n---\nx\n").await;
    let text = tools.tools.instructions().await.unwrap();
    assert!(text.contains("The following skills are available for use with the Skill tool:\n\n- bad: Title line\n- greet: Greets - When asked\n"), "{text}");
    let loaded = tools.say("Skill", json!({"skill": "/greet", "args": "Bob"})).await;
    assert_eq!(loaded.text, "Launching skill: greet");
    assert_eq!(loaded.follow_up.unwrap(), "Base directory for this skill: /skills/greet\n\nHello Bob!\n");
    assert_eq!(
        tools.fails("Skill", json!({"skill": "nosuch"})).await,
        "<tool_use_error>Unknown skill: nosuch</tool_use_error>"
    );
    assert_eq!(
        tools.fails("Skill", json!({"skill": "manual"})).await,
        "<tool_use_error>Skill manual cannot be used with Skill tool due to disable-model-invocation</tool_use_error>"
    );
    // The nearer scope covers the wider, and a new version is seen at once.
    world.put_document("agent/main", "skills/greet/SKILL.md", "Mine.").await;
    assert!(tools.say("Skill", json!({"skill": "greet"})).await.follow_up.unwrap().ends_with("\n\nMine."));
}

#[tokio::test]
async fn what_was_read_comes_back_with_the_log() {
    let world = World::new().await;
    world.put("a.txt", "a\n").await;
    let mut first = world.tools();
    let call = first.call("Read", json!({"file_path": "/workspace/a.txt"}));
    let result = first.run(&call).await;
    let log = serde_json::to_string(&result).unwrap();
    let mut second = world.tools();
    second.tools.remember(&call, &serde_json::from_str(&log).unwrap());
    second.ok("Write", json!({"file_path": "/workspace/a.txt", "content": "b\n"})).await;
    assert_eq!(world.get("a.txt").await, "b\n");
}

#[tokio::test]
async fn a_workspace_that_is_gone_ends_the_session() {
    let world = World::new().await;
    let mut tools = world.tools();
    world.client.delete_workspace("w").await.unwrap();
    let call = tools.call("Read", json!({"file_path": "/workspace/a"}));
    let error = tools.tools.run(&call, &Value::Null).await.unwrap_err();
    assert!(error.kind() == Kind::NotFound && error.to_string().contains("the workspace w is gone"), "{error}");
}

#[tokio::test]
async fn wrong_calls_are_answered() {
    let world = World::new().await;
    let mut tools = world.tools();
    assert_eq!(
        tools.fails("Nope", json!({})).await,
        "<tool_use_error>Error: No such tool available: Nope</tool_use_error>"
    );
    let call = ToolCall { id: "x".into(), name: "Read".into(), input: None };
    let Plan::Answer(result) = tools.tools.plan(&call).await.unwrap() else { panic!("it would run") };
    assert!(result.is_error);
    assert_eq!(tools.tools.definitions().await.unwrap().len(), 7);
}
