//! One file or directory at a time.

use super::*;
use crate::limits::{FILE_PIECE_MAX, FILE_WRITE_MAX};
use crate::object::FileKind;
use crate::workspace::{SetAttr, SetXattr};

#[tokio::test]
async fn a_file_is_made_read_replaced_and_its_tag_says_so() {
    let world = World::new().await;
    let made = world.write("a/b/file", b"one").await.unwrap();
    assert!(made.created);
    assert_eq!((made.entry.mode, made.entry.size, text(&made.entry.name)), (0o644, 3, "a/b/file".into()));
    assert_eq!(world.read("/a//b/file").await.unwrap(), "one");
    assert_eq!(world.piece("a/b/file").await.unwrap().etag, made.entry.etag);
    assert_eq!(world.stat("a/b/file").await.unwrap(), made.entry);

    let again = world.write("a/b/file", b"two!").await.unwrap();
    assert!(!again.created);
    assert_ne!(again.entry.etag, made.entry.etag);
    assert_ne!(again.entry.ino, made.entry.ino, "a fresh inode");
    assert_eq!(world.names("a/b").await, ["file"]);
    world.publish().await;
    assert_eq!(world.stat("a/b/file").await.unwrap(), again.entry, "a checkpoint changes no tag");
    let empty = world.write("a/b/file", b"").await.unwrap();
    assert_eq!((empty.entry.size, world.read("a/b/file").await.unwrap()), (0, String::new()));
}

#[tokio::test]
async fn every_change_of_attributes_changes_the_tag() {
    let world = World::new().await;
    let ino = Ino(world.write("f", b"x").await.unwrap().entry.ino);
    let mut tags = vec![world.stat("f").await.unwrap().etag];
    let change = SetAttr { mode: Some(0o600), ..SetAttr::default() };
    by_kernel(&world.workspace, |workspace| workspace.setattr(ino, &change)).await;
    tags.push(world.stat("f").await.unwrap().etag);
    by_kernel(&world.workspace, |workspace| workspace.setxattr(ino, b"user.a", b"1", SetXattr::Any)).await;
    tags.push(world.stat("f").await.unwrap().etag);
    by_kernel(&world.workspace, |workspace| workspace.write(ino, 0, b"y", false)).await;
    tags.push(world.stat("f").await.unwrap().etag);
    tags.dedup();
    assert_eq!(tags.len(), 4);
}

#[tokio::test]
async fn a_replaced_file_keeps_mode_owner_and_attributes_but_no_privileges() {
    let world = World::new().await;
    let ino = Ino(world.write("f", b"x").await.unwrap().entry.ino);
    let change = SetAttr { mode: Some(0o4755), uid: Some(12), gid: Some(34), ..SetAttr::default() };
    by_kernel(&world.workspace, |workspace| workspace.setattr(ino, &change)).await;
    by_kernel(&world.workspace, |workspace| workspace.setxattr(ino, b"user.a", b"1", SetXattr::Any)).await;
    let entry = world.write("f", b"new").await.unwrap().entry;
    assert_eq!((entry.mode, entry.uid, entry.gid), (0o755, 12, 34));
    let value = by_kernel(&world.workspace, |workspace| {
        workspace.lookup(Ino::ROOT, b"f")?;
        workspace.getxattr(Ino(entry.ino), b"user.a")
    })
    .await;
    assert_eq!(&value[..], b"1");
}

#[tokio::test]
async fn a_write_says_what_it_is_based_on() {
    let world = World::new().await;
    let first = world.write_on("f", b"1", Basis::Absent).await.unwrap().entry.etag;
    assert_eq!(kind(world.write_on("f", b"2", Basis::Absent).await), Kind::Conflict);
    let second = world.write_on("f", b"2", Basis::Etag(first.clone())).await.unwrap().entry.etag;
    let stale = world.files.run(Request::Write(Write {
        path: Raw::from("f"),
        parents: true,
        basis: Basis::Etag(first.clone()),
        content: Source::Here(Raw::from("3")),
    }));
    let Done { result, changed } = stale.await;
    assert_eq!((kind(result), changed), (Kind::Conflict, vec![]));
    assert_eq!(world.read("f").await.unwrap(), "2");
    assert_eq!(world.stat("f").await.unwrap().etag, second, "nothing has changed");
    assert_eq!(kind(world.write_on("none/such", b"3", Basis::Etag(first)).await), Kind::Conflict);
    assert_eq!(world.names("").await, ["f"], "no directory was made either");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_writers_with_the_same_tag_exactly_one_wins() {
    let world = World::new().await;
    for round in 0..20 {
        let tag = world.write("f", b"start").await.unwrap().entry.etag;
        let writers = (0..8).map(|number| {
            let (files, tag) = (world.files.clone(), tag.clone());
            let content = Source::Here(Raw::from(&format!("writer {number}")));
            let write = Write { path: Raw::from("f"), parents: false, basis: Basis::Etag(tag), content };
            tokio::spawn(async move { files.run(Request::Write(write)).await.result })
        });
        let mut won = 0;
        for writer in writers.collect::<Vec<_>>() {
            match writer.await.unwrap() {
                Ok(_) => won += 1,
                Err(error) => assert_eq!(error.kind(), Kind::Conflict),
            }
        }
        assert_eq!(won, 1, "round {round}");
    }
}

#[tokio::test]
async fn a_file_with_several_names_is_written_in_place() {
    let world = World::new().await;
    let ino = Ino(world.write("one", b"a longer text").await.unwrap().entry.ino);
    by_kernel(&world.workspace, |workspace| workspace.link(ino, Ino::ROOT, b"two")).await;
    let done = world.files.run(Request::Write(Write {
        path: Raw::from("two"),
        parents: false,
        basis: Basis::Any,
        content: Source::Here(Raw::from("short")),
    }));
    let done = done.await;
    assert!(done.result.is_ok());
    assert!(done.changed.contains(&Invalidation::Inode(ino)), "{:?}", done.changed);
    for name in ["one", "two"] {
        assert_eq!(world.read(name).await.unwrap(), "short");
        assert_eq!(world.stat(name).await.unwrap().ino, ino.0);
    }
}

#[tokio::test]
async fn large_content_comes_in_pieces_and_nothing_is_seen_of_it_before_the_write() {
    let world = World::new().await;
    let content: Vec<u8> = (0..3 * FILE_PIECE_MAX + 17).map(|at| (at % 251) as u8).collect();
    for (index, piece) in content.chunks(FILE_PIECE_MAX).enumerate() {
        let offset = (index * FILE_PIECE_MAX) as u64;
        world.ask(Request::Upload { upload: 5, offset, content: Raw::from(piece) }).await.unwrap();
    }
    assert!(world.names("").await.is_empty());
    let write = |length: usize| {
        let content = Source::Uploaded { upload: 5, length: length as u64 };
        Request::Write(Write { path: Raw::from("f"), parents: false, basis: Basis::Any, content })
    };
    world.ask(write(content.len())).await.unwrap();
    assert_eq!(kind(world.ask(write(content.len())).await), Kind::Unavailable, "it is used once");
    let mut read = Vec::new();
    while read.len() < content.len() {
        let request = Request::Read { path: Raw::from("f"), offset: read.len() as u64, length: 1 << 40 };
        let Answer::Piece(piece) = world.ask(request).await.unwrap() else { panic!() };
        assert!(!piece.content.0.is_empty() && piece.content.0.len() <= FILE_PIECE_MAX);
        read.extend(piece.content.0);
    }
    assert!(read == content);
    let gap = world.ask(Request::Upload { upload: 6, offset: 9, content: Raw::from("x") }).await;
    assert_eq!(kind(gap), Kind::Unavailable, "a piece is missing");
    let huge = Source::Here(Raw(vec![0; FILE_WRITE_MAX + 1]));
    let write = Write { path: Raw::from("g"), parents: false, basis: Basis::Any, content: huge };
    assert_eq!(kind(world.ask(Request::Write(write)).await), Kind::TooLarge);
}

#[tokio::test]
async fn symlinks_are_followed_inside_and_lead_nowhere_outside() {
    let world = World::new().await;
    world.write("dir/sub/file", b"content").await.unwrap();
    for (path, target) in [
        ("to-file", "dir/sub/file"),
        ("to-dir", "dir"),
        ("dir/up", "../dir/./sub"),
        ("dir/up-and-out", "../../etc/passwd"),
        ("out", "/etc/passwd"),
        ("loop", "loop"),
        ("ping", "pong"),
        ("pong", "ping"),
        ("dangling", "dir/new"),
        ("etc", "/etc"),
    ] {
        world.symlink(path, target).await;
    }
    for path in ["to-file", "to-dir/sub/file", "dir/up/file", "to-dir/up/file"] {
        assert_eq!(world.read(path).await.unwrap(), "content", "{path}");
    }
    for path in ["out", "dir/up-and-out", "etc/passwd", "dangling", "none", "dir/none/file"] {
        assert_eq!(kind(world.read(path).await), Kind::NotFound, "{path}");
        assert_eq!(kind(world.stat(path).await), Kind::NotFound, "{path}");
    }
    for path in ["../../etc/passwd", "..", "dir/../to-file", "dir/.", "a\0b"] {
        assert_eq!(kind(world.read(path).await), Kind::Invalid, "{path}");
    }
    assert_eq!(kind(world.read("loop").await), Kind::Invalid);
    assert_eq!(kind(world.read("ping").await), Kind::Invalid);
    assert_eq!(kind(world.read("to-file/x").await), Kind::NotADirectory);
    assert_eq!(kind(world.read(&"x".repeat(300)).await), Kind::NameTooLong);
    assert_eq!(kind(world.read(&"x/".repeat(3000)).await), Kind::NameTooLong);
    assert_eq!(kind(world.read("dir").await), Kind::IsADirectory);

    // A write goes where the symlink points, and the symlink stays.
    world.write("to-file", b"written").await.unwrap();
    assert_eq!(world.read("dir/sub/file").await.unwrap(), "written");
    world.write("dangling", b"new").await.unwrap();
    assert_eq!(world.read("dir/new").await.unwrap(), "new");
    for path in ["out", "etc/esker-was-here", "dir/up-and-out"] {
        assert_eq!(kind(world.write(path, b"x").await), Kind::NotFound, "{path}");
    }
    assert!(!std::path::Path::new("/etc/esker-was-here").exists());
    let Answer::Listing(listing) =
        world.ask(Request::List { path: Raw::from(""), after: None, limit: 100 }).await.unwrap()
    else {
        panic!()
    };
    let link = listing.entries.iter().find(|entry| text(&entry.name) == "to-file").unwrap();
    assert_eq!((link.kind, text(link.target.as_ref().unwrap())), (FileKind::Symlink, "dir/sub/file".into()));
}

#[tokio::test]
async fn a_directory_is_listed_in_pages_by_bytes() {
    let world = World::with(&[("d/b", "2"), ("d/a", "1"), ("d/c/x", "3"), ("d/é", "4")]).await;
    let page = |after: Option<&str>, limit| Request::List { path: Raw::from("d"), after: after.map(Raw::from), limit };
    let Answer::Listing(first) = world.ask(page(None, 2)).await.unwrap() else { panic!() };
    assert_eq!(first.entries.iter().map(|entry| text(&entry.name)).collect::<Vec<_>>(), ["a", "b"]);
    assert!(first.more && text(&first.node.name) == "d");
    let Answer::Listing(rest) = world.ask(page(Some("b"), 2)).await.unwrap() else { panic!() };
    assert_eq!(rest.entries.iter().map(|entry| text(&entry.name)).collect::<Vec<_>>(), ["c", "é"]);
    assert!(!rest.more);
    assert_eq!(rest.entries[0].kind, FileKind::Directory);
    assert_eq!(kind(world.ask(page(None, 0)).await), Kind::Invalid);
}

#[tokio::test]
async fn nothing_stays_in_memory_that_was_only_looked_at() {
    let world = World::with(&[("a/b/c", "1"), ("a/d", "2"), ("e/f", "3")]).await;
    world.symlink("link", "a/b").await;
    world.publish().await;
    let before = world.workspace.status().known_inodes;
    for _ in 0..3 {
        world.read("a/b/c").await.unwrap();
        world.read("link/c").await.unwrap();
        world.names("a").await;
        let _ = world.read("a/none").await;
        let glob = Glob { pattern: "*".into(), limit: 10, ..Glob::default() };
        world.ask(Request::Glob(glob)).await.unwrap();
        let grep = Grep { pattern: "1".into(), limit: 10, ..Grep::default() };
        world.ask(Request::Grep(grep)).await.unwrap();
    }
    assert_eq!(world.workspace.status().known_inodes, before);
    for round in 0..3 {
        world.write("a/b/c", format!("{round}").as_bytes()).await.unwrap();
        world.write("x/y", b"1").await.unwrap();
        world.ask(Request::Remove { path: Raw::from("x"), recursive: true }).await.unwrap();
    }
    world.publish().await;
    assert_eq!(world.workspace.status().known_inodes, before);
}

fn edit(path: &str, old: &str, new: &str) -> Edit {
    Edit { path: Raw::from(path), old: Raw::from(old), new: Raw::from(new), replace_all: false, if_match: None }
}

#[tokio::test]
async fn an_edit_finds_its_text_once_or_not_at_all() {
    let world = World::with(&[("src/f", "fn one() {}\nfn two() {}\nlast\n")]).await;
    let Answer::Edited(edited) = world.ask(Request::Edit(edit("src/f", "two", "three"))).await.unwrap() else {
        panic!()
    };
    assert_eq!(edited.replacements, 1);
    assert_eq!(
        edited.diff,
        "--- a/src/f\n+++ b/src/f\n@@ -1,3 +1,3 @@\n fn one() {}\n-fn two() {}\n+fn three() {}\n last\n"
    );
    assert_eq!(world.read("src/f").await.unwrap(), "fn one() {}\nfn three() {}\nlast\n");
    assert_eq!(world.stat("src/f").await.unwrap().etag, edited.entry.etag);
    let tag = edited.entry.etag;

    assert_eq!(kind(world.ask(Request::Edit(edit("src/f", "none", "x"))).await), Kind::Invalid);
    let error = world.ask(Request::Edit(edit("src/f", "fn", "x"))).await.unwrap_err();
    assert!(error.kind() == Kind::Invalid && error.context().contains("2 times"), "{error}");
    assert_eq!(kind(world.ask(Request::Edit(edit("src/f", "", "x"))).await), Kind::Invalid);
    assert_eq!(kind(world.ask(Request::Edit(edit("src/f", "fn", "fn"))).await), Kind::Invalid);
    assert_eq!(kind(world.ask(Request::Edit(edit("src", "a", "b"))).await), Kind::IsADirectory);
    assert_eq!(kind(world.ask(Request::Edit(edit("none", "a", "b"))).await), Kind::NotFound);
    let stale = Edit { if_match: Some("1-2.3-4".into()), ..edit("src/f", "last", "x") };
    assert_eq!(kind(world.ask(Request::Edit(stale)).await), Kind::Conflict);
    assert_eq!(world.stat("src/f").await.unwrap().etag, tag, "nothing was changed");

    let all = Edit { replace_all: true, if_match: Some(tag), ..edit("src/f", "fn", "pub fn") };
    let Answer::Edited(edited) = world.ask(Request::Edit(all)).await.unwrap() else { panic!() };
    assert_eq!(edited.replacements, 2);
    assert_eq!(world.read("src/f").await.unwrap(), "pub fn one() {}\npub fn three() {}\nlast\n");
}

#[tokio::test]
async fn edits_of_hostile_texts_end_soon() {
    let world = World::new().await;
    world.write("f", "a".repeat(4_000_000).as_bytes()).await.unwrap();
    let start = std::time::Instant::now();
    let missing = edit("f", &format!("{}b", "a".repeat(500_000)), "x");
    assert_eq!(kind(world.ask(Request::Edit(missing)).await), Kind::Invalid);
    let bomb = Edit { replace_all: true, ..edit("f", "a", &"b".repeat(100_000)) };
    assert_eq!(kind(world.ask(Request::Edit(bomb)).await), Kind::TooLarge);
    let lines: String = (0..300_000).map(|line| format!("{line}\n")).collect();
    world.write("f", lines.as_bytes()).await.unwrap();
    let all = Edit { replace_all: true, ..edit("f", "\n", ";\n") };
    let Answer::Edited(edited) = world.ask(Request::Edit(all)).await.unwrap() else { panic!() };
    assert!(edited.replacements == 300_000 && edited.diff.len() < 200);
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_at_once_are_all_made() {
    let world = World::new().await;
    let lines: String = (0..8).map(|line| format!("<{line}>\n")).collect();
    world.write("f", lines.as_bytes()).await.unwrap();
    let edits = (0..8).map(|line| {
        let files = world.files.clone();
        let request = Request::Edit(edit("f", &format!("<{line}>"), &format!("[{line}]")));
        tokio::spawn(async move { files.run(request).await.result })
    });
    for edit in edits.collect::<Vec<_>>() {
        edit.await.unwrap().unwrap();
    }
    assert_eq!(world.read("f").await.unwrap(), lines.replace('<', "[").replace('>', "]"));
}

#[tokio::test]
async fn names_are_made_moved_and_removed() {
    let world = World::with(&[("a/b/c", "1"), ("a/d", "2")]).await;
    let make = |path: &str, parents| Request::MakeDirectory { path: Raw::from(path), parents };
    let remove = |path: &str, recursive| Request::Remove { path: Raw::from(path), recursive };
    let rename = |from: &str, to: &str| Request::Rename { from: Raw::from(from), to: Raw::from(to) };
    world.ask(make("x/y/z", true)).await.unwrap();
    world.ask(make("x/y/z", true)).await.unwrap();
    assert_eq!(kind(world.ask(make("x/y", false)).await), Kind::AlreadyExists);
    assert_eq!(kind(world.ask(make("a/d", true)).await), Kind::AlreadyExists);
    assert_eq!(kind(world.ask(make("p/q", false)).await), Kind::NotFound);
    assert_eq!(kind(world.ask(make("a/d/e", true)).await), Kind::NotADirectory);
    world.ask(make("p", false)).await.unwrap();

    assert_eq!(kind(world.ask(remove("a", false)).await), Kind::NotEmpty);
    assert_eq!(kind(world.ask(remove("", true)).await), Kind::Invalid);
    assert_eq!(kind(world.ask(remove("none", true)).await), Kind::NotFound);
    world.ask(remove("p", false)).await.unwrap();
    world.symlink("link", "a").await;
    world.ask(remove("link", true)).await.unwrap();
    assert_eq!(world.read("a/d").await.unwrap(), "2", "the symlink went, not what it points at");

    world.ask(rename("a/d", "x/moved")).await.unwrap();
    world.ask(rename("a/b", "x/y/z")).await.unwrap();
    assert_eq!(world.read("x/y/z/c").await.unwrap(), "1");
    assert_eq!(kind(world.ask(rename("x", "x/y/inside")).await), Kind::Invalid);
    assert_eq!(kind(world.ask(rename("x/moved", "none/such")).await), Kind::NotFound);
    assert_eq!(kind(world.ask(rename("none", "x/n")).await), Kind::NotFound);
    assert_eq!(kind(world.ask(rename("", "n")).await), Kind::Invalid);

    let y = Ino(world.stat("x/y").await.unwrap().ino);
    let Done { result, changed } = world.files.run(remove("x", true)).await;
    result.unwrap();
    let name = |name: &str| crate::name::Name::new(name.as_bytes()).unwrap();
    let at = |item: &Invalidation| changed.iter().position(|other| other == item).unwrap();
    assert!(at(&Invalidation::Entry(y, name("z"))) < at(&Invalidation::Entry(Ino::ROOT, name("x"))));
    assert_eq!(world.names("").await, ["a"]);
}

#[tokio::test]
async fn whatever_changed_is_told() {
    let world = World::new().await;
    let write = |path: &str| {
        let content = Source::Here(Raw::from("x"));
        Request::Write(Write { path: Raw::from(path), parents: true, basis: Basis::Any, content })
    };
    let name = |name: &str| crate::name::Name::new(name.as_bytes()).unwrap();
    let changed = world.files.run(write("d/f")).await.changed;
    let directory = Ino(world.stat("d").await.unwrap().ino);
    for item in [
        Invalidation::Entry(Ino::ROOT, name("d")),
        Invalidation::Listing(Ino::ROOT),
        Invalidation::Entry(directory, name("f")),
        Invalidation::Listing(directory),
    ] {
        assert!(changed.contains(&item), "{item:?} in {changed:?}");
    }
    assert_eq!(world.files.run(Request::Stat { path: Raw::from("d") }).await.changed, []);
    let refused = world.files.run(Request::Rename { from: Raw::from("d"), to: Raw::from("d/e") }).await;
    assert!(refused.result.is_err() && refused.changed.is_empty());
}

#[tokio::test]
async fn a_snapshot_is_read_and_never_written() {
    let world = World::with(&[("a/b", "1")]).await;
    let id = world.workspace.base();
    let snapshot = world.repo.snapshot(id).await.unwrap();
    let shown = Workspace::open_read_only(id, snapshot, Arc::new(world.repo.clone()), Arc::new(SystemClock));
    let files = Files::new(shown.await.unwrap());
    let Answer::Piece(piece) =
        files.run(Request::Read { path: Raw::from("a/b"), offset: 0, length: 9 }).await.result.unwrap()
    else {
        panic!()
    };
    assert_eq!((&piece.content.0[..], piece.etag), (&b"1"[..], world.stat("a/b").await.unwrap().etag));
    let content = Source::Here(Raw::from("x"));
    let write = Write { path: Raw::from("a/b"), parents: false, basis: Basis::Any, content };
    assert_eq!(kind(files.run(Request::Write(write)).await.result), Kind::Denied);
}

#[test]
fn requests_and_answers_travel_as_they_are() {
    let request = Request::Write(Write {
        path: Raw(b"a\xff".to_vec()),
        parents: true,
        basis: Basis::Etag("1-2.3-4".into()),
        content: Source::Here(Raw(vec![0, 255])),
    });
    let text = serde_json::to_string(&request).unwrap();
    assert!(text.contains("\"61ff\""), "{text}");
    assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
    assert_eq!(serde_json::from_value::<Request>(serde_json::to_value(&request).unwrap()).unwrap(), request);
    assert!(serde_json::from_str::<Raw>("\"6\"").is_err());
}
