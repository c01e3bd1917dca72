//! Glob and Grep over files and documents.

use serde_json::json;

use super::world::World;

async fn world_with_files() -> World {
    let world = World::new().await;
    for (path, text) in [
        ("src/a.rs", "// x\nneedle needle\n"),
        (".hid/h.rs", "needle\n"),
        (".gitignore", "ignored\n"),
        ("ignored/i.rs", "needle\n"),
        ("src/b.txt", "nothing\n"),
    ] {
        world.put(path, text).await;
    }
    world.put_document("org", "skills/review/SKILL.md", "one\nA needle\nthree\n").await;
    world.put_document("agent/main", "memories/notes/x.md", "nothing\n").await;
    world
}

#[tokio::test]
async fn files_are_found_by_name() {
    let world = world_with_files().await;
    let mut tools = world.tools();
    let glob = |pattern: &str, path: &str| json!({"pattern": pattern, "path": path});
    assert_eq!(tools.ok("Glob", json!({"pattern": "**/*.rs"})).await, "src/a.rs\n.hid/h.rs\nignored/i.rs");
    assert_eq!(tools.ok("Glob", glob("*.rs", "/workspace/src")).await, "src/a.rs");
    assert_eq!(tools.ok("Glob", json!({"pattern": "/workspace/src/*"})).await, "src/a.rs\nsrc/b.txt");
    assert_eq!(tools.ok("Glob", json!({"pattern": "src"})).await, "No files found");
    assert_eq!(tools.ok("Glob", glob("**/*.md", "/skills")).await, "/skills/review/SKILL.md");
    assert_eq!(tools.ok("Glob", glob("*.md", "/memories")).await, "/memories/notes/x.md");
    assert_eq!(tools.ok("Glob", glob("notes/*", "/memories")).await, "/memories/notes/x.md");
    assert_eq!(
        tools.fails("Glob", glob("*", "nodir")).await,
        "<tool_use_error>Directory does not exist: /workspace/nodir. Note: your current working directory is /workspace.</tool_use_error>"
    );
    assert_eq!(
        tools.fails("Glob", glob("*", "src/a.rs")).await,
        "<tool_use_error>Path is not a directory: /workspace/src/a.rs</tool_use_error>"
    );
    assert!(tools.fails("Glob", glob("*", "/etc")).await.contains("/etc is not available here"));
    assert!(tools.fails("Glob", glob("*", "/memories/none")).await.contains("Directory does not exist"));
}

#[tokio::test]
async fn text_is_found_in_files_and_documents() {
    let world = world_with_files().await;
    let mut tools = world.tools();
    let grep = |path: &str, mode: &str| json!({"pattern": "needle", "path": path, "output_mode": mode});
    assert_eq!(tools.ok("Grep", json!({"pattern": "needle"})).await, "Found 2 files\n.hid/h.rs\nsrc/a.rs");
    assert_eq!(tools.ok("Grep", json!({"pattern": "needle", "glob": "src/**"})).await, "Found 1 file\nsrc/a.rs");
    assert_eq!(tools.ok("Grep", grep(".", "content")).await, ".hid/h.rs:1:needle\nsrc/a.rs:2:needle needle");
    assert_eq!(tools.ok("Grep", grep("src/a.rs", "content")).await, "2:needle needle");
    assert_eq!(
        tools.ok("Grep", grep(".", "count")).await,
        ".hid/h.rs:1\nsrc/a.rs:1\n\nFound 2 total occurrences across 2 files."
    );
    assert_eq!(
        tools.ok("Grep", json!({"pattern": "NEEDLE", "path": "/skills", "-i": true})).await,
        "Found 1 file\n/skills/review/SKILL.md"
    );
    assert_eq!(
        tools.ok("Grep", json!({"pattern": "needle", "path": "/skills", "output_mode": "content", "-C": 1})).await,
        "/skills/review/SKILL.md-1-one\n/skills/review/SKILL.md:2:A needle\n/skills/review/SKILL.md-3-three"
    );
    assert_eq!(tools.ok("Grep", grep("/memories", "files_with_matches")).await, "No files found");
    assert_eq!(
        tools.ok("Grep", json!({"pattern": "needle", "path": "/skills", "type": "rust"})).await,
        "No files found"
    );
    assert_eq!(tools.ok("Grep", grep("/skills/review/SKILL.md", "content")).await, "2:A needle");
    assert!(tools.fails("Grep", json!({"pattern": "fn ("})).await.contains("regex parse error"));
    assert!(
        tools
            .fails("Grep", grep("nodir", "content"))
            .await
            .starts_with("<tool_use_error>Path does not exist: /workspace/nodir.")
    );
}
