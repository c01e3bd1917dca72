//! glob and grep: a table of what ripgrep says.

use super::*;

/// A small project with everything that ripgrep has rules for.
async fn project() -> World {
    World::with(&[
        (".gitignore", "target/\n*.log\n!keep.log\n/only-root\n"),
        (".ignore", "ignored-by-ignore\n"),
        (".hidden/file.rs", "fn hidden\n"),
        (".env", "secret\n"),
        (".git/config", "fn in_git\n"),
        (".git/info/exclude", "excluded\n"),
        ("excluded", "fn excluded\n"),
        ("Cargo.toml", "[package]\nname = \"x\"\n"),
        ("src/main.rs", "fn main() {\n    helper();\n}\n\nfn helper() {}\n"),
        ("src/lib.rs", "pub fn lib() {}\n// LATER: Fn\n"),
        ("src/deep/er/mod.rs", "mod x;\nfn deep() {}\n"),
        ("src/notes.log", "fn log\n"),
        ("src/keep.log", "fn kept\n"),
        ("src/only-root", "fn not_at_root\n"),
        ("only-root", "fn at_root\n"),
        ("target/out.rs", "fn built\n"),
        ("sub/.gitignore", "!*.log\nlocal\n"),
        ("sub/again.log", "fn again\n"),
        ("sub/local", "fn local\n"),
        ("ignored-by-ignore", "fn ignored\n"),
        ("binary", "fn before\n\0fn after\n"),
        ("crlf.txt", "fn crlf\r\nsecond\r\n"),
        ("docs/a b.md", "# fn in docs\n"),
    ])
    .await
}

async fn globbed(world: &World, request: Glob) -> Vec<String> {
    let request = Glob { limit: 1000, ..request };
    let Answer::Globbed(found) = world.ask(Request::Glob(request)).await.unwrap() else { panic!() };
    assert!(!found.truncated);
    let mut paths: Vec<_> = found.files.iter().map(|file| text(&file.name)).collect();
    paths.sort();
    paths
}

fn glob(pattern: &str) -> Glob {
    Glob { pattern: pattern.into(), ..Glob::default() }
}

#[tokio::test]
async fn globs_that_would_exhaust_the_stack_are_refused() {
    let bomb = format!("{}{}", "{a,".repeat(13_000), "}".repeat(13_000));
    let world =
        World::with(&[("a", "text\n"), (".gitignore", &format!("{bomb}\nskipped\n")), ("skipped", "text\n")]).await;
    let refused = world.ask(Request::Glob(glob(&bomb))).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Invalid);
    // Ends that the library does not take for such.
    for half in ["{\\},", "{[}],"] {
        let nested = format!("{}{}", half.repeat(400), "}".repeat(400));
        assert_eq!(world.ask(Request::Glob(glob(&nested))).await.unwrap_err().kind(), Kind::Invalid);
    }
    let grep = Grep { pattern: "text".into(), glob: vec![bomb], limit: 10, ..Grep::default() };
    assert_eq!(world.ask(Request::Grep(grep)).await.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(globbed(&world, glob("*")).await, ["a"], "a bomb among the ignored is passed over");
}

#[tokio::test]
async fn globs_match_as_they_do_in_ripgrep() {
    let world = project().await;
    let table: &[(Glob, &[&str])] = &[
        (glob("*.rs"), &["src/deep/er/mod.rs", "src/lib.rs", "src/main.rs"]),
        (glob("**/*.rs"), &["src/deep/er/mod.rs", "src/lib.rs", "src/main.rs"]),
        (glob("src/*.rs"), &["src/lib.rs", "src/main.rs"]),
        (glob("/src/*.rs"), &["src/lib.rs", "src/main.rs"]),
        (glob("./src/*.rs"), &["src/lib.rs", "src/main.rs"]),
        (glob("src/**"), &["src/deep/er/mod.rs", "src/keep.log", "src/lib.rs", "src/main.rs", "src/only-root"]),
        (glob("src/**/mod.rs"), &["src/deep/er/mod.rs"]),
        (glob("{Cargo.toml,src/lib.rs}"), &["Cargo.toml", "src/lib.rs"]),
        (glob("[CD]argo.t?ml"), &["Cargo.toml"]),
        (glob("cargo.toml"), &[]),
        (glob("*.log"), &["src/keep.log", "sub/again.log"]),
        (glob("a b.md"), &["docs/a b.md"]),
        (glob("only-root"), &["src/only-root"]),
        (glob("excluded"), &[]),
        (glob("local"), &[]),
        (glob("*env*"), &[]),
        (Glob { hidden: true, ..glob("*env*") }, &[".env"]),
        (Glob { hidden: true, ..glob("config") }, &[]),
        (Glob { hidden: true, no_ignore: true, ..glob(".git/**") }, &[]),
        (
            Glob { no_ignore: true, ..glob("*.rs") },
            &["src/deep/er/mod.rs", "src/lib.rs", "src/main.rs", "target/out.rs"],
        ),
        (Glob { path: Raw::from("src"), ..glob("*.rs") }, &["src/deep/er/mod.rs", "src/lib.rs", "src/main.rs"]),
        (Glob { path: Raw::from("src"), ..glob("deep/**") }, &["src/deep/er/mod.rs"]),
        (Glob { path: Raw::from("src"), ..glob("*.log") }, &["src/keep.log"]),
        (Glob { path: Raw::from("target"), ..glob("*") }, &["target/out.rs"]),
        (Glob { path: Raw::from(".hidden"), ..glob("*") }, &[".hidden/file.rs"]),
    ];
    for (request, expected) in table {
        assert_eq!(globbed(&world, request.clone()).await, *expected, "{request:?}");
    }
    for bad in ["", "[", "a{b"] {
        assert_eq!(kind(world.ask(Request::Glob(Glob { limit: 1, ..glob(bad) })).await), Kind::Invalid, "{bad}");
    }
    let in_file = Glob { path: Raw::from("Cargo.toml"), limit: 1, ..glob("*") };
    assert_eq!(kind(world.ask(Request::Glob(in_file)).await), Kind::NotADirectory);
}

#[tokio::test]
async fn the_newest_files_come_first_and_the_rest_is_cut() {
    let world = World::new().await;
    for name in ["b", "c", "a", "d"] {
        world.write(name, b"x").await.unwrap();
    }
    let Answer::Globbed(found) = world.ask(Request::Glob(Glob { limit: 3, ..glob("*") })).await.unwrap() else {
        panic!()
    };
    assert!(found.truncated);
    assert_eq!(found.files.iter().map(|file| text(&file.name)).collect::<Vec<_>>(), ["d", "a", "c"]);
    assert_eq!(kind(world.ask(Request::Glob(glob("*"))).await), Kind::Invalid, "a limit of 0");
}

async fn found(world: &World, request: Grep) -> Grepped {
    let limit = if request.limit == 0 { 1000 } else { request.limit };
    let Answer::Grepped(found) = world.ask(Request::Grep(Grep { limit, ..request })).await.unwrap() else { panic!() };
    found
}

fn grep(pattern: &str) -> Grep {
    Grep { pattern: pattern.into(), ..Grep::default() }
}

async fn paths(world: &World, request: Grep) -> Vec<String> {
    let found = found(world, request).await;
    assert!(!found.truncated);
    found.files.iter().map(|file| format!("{}:{}", text(&file.path), file.matches)).collect()
}

#[tokio::test]
async fn greps_look_where_ripgrep_looks() {
    let world = project().await;
    let named = |globs: &[&str]| globs.iter().map(|glob| glob.to_string()).collect::<Vec<_>>();
    let table: &[(Grep, &[&str])] = &[
        // Not in `binary`: a NUL near the start ends the search before it begins.
        (
            grep("fn "),
            &[
                "crlf.txt:1",
                "docs/a b.md:1",
                "src/deep/er/mod.rs:1",
                "src/keep.log:1",
                "src/lib.rs:1",
                "src/main.rs:2",
                "src/only-root:1",
                "sub/again.log:1",
            ],
        ),
        (Grep { types: named(&["rust"]), ..grep("fn ") }, &["src/deep/er/mod.rs:1", "src/lib.rs:1", "src/main.rs:2"]),
        (Grep { glob: named(&["*.md"]), ..grep("fn ") }, &["docs/a b.md:1"]),
        (
            Grep { glob: named(&["src/**", "!*.log"]), ..grep("fn ") },
            &["src/deep/er/mod.rs:1", "src/lib.rs:1", "src/main.rs:2", "src/only-root:1"],
        ),
        // What a glob asks for is shown even if it is ignored, unless its directory is.
        (Grep { glob: named(&["*.log"]), ..grep("fn ") }, &["src/keep.log:1", "src/notes.log:1", "sub/again.log:1"]),
        (Grep { glob: named(&["out.rs"]), ..grep("fn ") }, &[]),
        (Grep { path: Raw::from("src/notes.log"), ..grep("fn ") }, &["src/notes.log:1"]),
        (Grep { path: Raw::from("src/deep"), ..grep("fn ") }, &["src/deep/er/mod.rs:1"]),
        (Grep { path: Raw::from("target"), ..grep("fn ") }, &["target/out.rs:1"]),
        (Grep { hidden: true, ..grep("secret|hidden") }, &[".env:1", ".hidden/file.rs:1"]),
        (Grep { hidden: true, no_ignore: true, ..grep("in_git|built") }, &["target/out.rs:1"]),
        (grep("Fn"), &["src/lib.rs:1"]),
        (Grep { ignore_case: true, path: Raw::from("src/lib.rs"), ..grep("FN") }, &["src/lib.rs:2"]),
        (Grep { fixed: true, ..grep("main()") }, &["src/main.rs:1"]),
        (grep("main()"), &["src/main.rs:1"]),
        (grep("^second$"), &[]),
        (grep("after"), &[]),
    ];
    for (request, expected) in table {
        assert_eq!(paths(&world, request.clone()).await, *expected, "{request:?}");
    }
    let multiline = Grep { multiline: true, ..grep(r"\{\n.*helper") };
    assert_eq!(paths(&world, multiline).await, ["src/main.rs:5"]);
    for bad in ["", "(", "a\nb", "[z-a]", "(?<"] {
        assert_eq!(kind(world.ask(Request::Grep(Grep { limit: 1, ..grep(bad) })).await), Kind::Invalid, "{bad:?}");
    }
    let unknown = Grep { types: named(&["cobol85"]), limit: 1, ..grep("x") };
    assert_eq!(kind(world.ask(Request::Grep(unknown)).await), Kind::Invalid);
    let bomb = Grep { limit: 1, ..grep(&"((a{100}){100}){100}".repeat(2)) };
    assert_eq!(kind(world.ask(Request::Grep(bomb)).await), Kind::Invalid, "too large when it is compiled");
}

#[tokio::test]
async fn lines_come_with_numbers_and_context() {
    let world = project().await;
    let request = Grep { lines: true, before: 1, after: 1, path: Raw::from("src/main.rs"), ..grep("helper\\(\\) ") };
    let file = found(&world, request).await.files.remove(0);
    let lines: Vec<_> = file.lines.iter().map(|line| (line.number, line.text.as_str(), line.context)).collect();
    assert_eq!(lines, [(4, "", true), (5, "fn helper() {}", false)]);
    assert_eq!(file.matches, 1);
    let crlf = found(&world, Grep { lines: true, ..grep("crlf") }).await.files.remove(0);
    assert_eq!(crlf.lines[0].text, "fn crlf");
}

#[tokio::test]
async fn answers_are_bounded_and_say_so() {
    let world = World::new().await;
    let long = format!("{}needle", "é".repeat(5000));
    world.write("a", long.as_bytes()).await.unwrap();
    world.write("b", "needle\n".repeat(50).as_bytes()).await.unwrap();
    world.write("c", b"needle\n").await.unwrap();
    let all = found(&world, Grep { lines: true, ..grep("needle") }).await;
    assert!(!all.truncated);
    assert_eq!(all.files[0].lines[0].text.chars().count(), 2000);
    assert_eq!(all.files[1].lines.len(), 50);
    let some = found(&world, Grep { lines: true, limit: 10, ..grep("needle") }).await;
    assert!(some.truncated);
    assert_eq!(some.files.iter().map(|file| file.lines.len()).sum::<usize>(), 10);
    let files = found(&world, Grep { limit: 2, ..grep("needle") }).await;
    assert!(files.truncated && files.files.len() == 2 && files.files[1].matches == 50);
    let exact = found(&world, Grep { limit: 3, ..grep("needle") }).await;
    assert!(!exact.truncated && exact.files.len() == 3);

    let much = "needle in a line that is not short at all\n".repeat(200_000);
    world.write("much", much.as_bytes()).await.unwrap();
    let request = Grep { lines: true, limit: 10_000, path: Raw::from("much"), ..grep("needle") };
    let answer = world.ask(Request::Grep(Grep { ..request })).await.unwrap();
    assert!(serde_json::to_vec(&answer).unwrap().len() < 3 * crate::limits::FILES_ANSWER_MAX / 2);
    let count = found(&world, Grep { path: Raw::from("much"), ..grep("needle") }).await;
    assert_eq!(count.files[0].matches, 200_000);
}

#[tokio::test]
async fn searches_see_what_is_not_published_and_skip_links() {
    let world = project().await;
    world.write("src/new.rs", b"fn unpublished() {}\n").await.unwrap();
    world.symlink("link.rs", "src/new.rs").await;
    world.symlink("dir", "src").await;
    assert_eq!(paths(&world, grep("unpublished")).await, ["src/new.rs:1"]);
    assert_eq!(globbed(&world, glob("new.rs")).await, ["src/new.rs"]);
    assert_eq!(globbed(&world, glob("link.rs")).await, Vec::<String>::new());
    assert_eq!(paths(&world, Grep { path: Raw::from("link.rs"), ..grep("unpublished") }).await, ["link.rs:1"]);
}
