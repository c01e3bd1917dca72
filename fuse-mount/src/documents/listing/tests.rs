//! Directories follow from the paths of documents.

use super::*;

fn listing(paths: &[&str]) -> Listing {
    let document = |path: &&str| Document {
        scope: "org".into(),
        path: (*path).to_owned(),
        version: 1,
        base: 0,
        size: 3,
        digest: String::new(),
        deleted: *path == "deleted",
        side: false,
        time: Time::default().into(),
        author: String::new(),
        session: String::new(),
        turn: 0,
        tool_call: String::new(),
    };
    Listing::new(paths.iter().map(document).collect(), Instant::now(), 0)
}

#[tokio::test]
async fn directories_are_implied() {
    let listing = listing(&["a/b/c", "a/d", "a-b", "z", "deleted", "../escape", "bad\nname"]);
    for path in ["", "a", "a/b"] {
        assert!(listing.is_directory(path), "{path}");
    }
    for path in ["a-b", "z", "a/b/c", "b", "deleted", ".."] {
        assert!(!listing.is_directory(path), "{path}");
    }
    assert_eq!(listing.below("a").map(|(path, _)| path).collect::<Vec<_>>(), ["a/b/c", "a/d"]);
    assert_eq!(listing.below("").count(), 4);
    assert!(listing.head("a/d").is_some() && listing.head("a").is_none() && listing.head("deleted").is_none());
    assert_eq!(listing.totals(), (4, 12));
}

#[tokio::test]
async fn a_document_with_others_below_it_is_a_directory() {
    let listing = listing(&["a", "a/b"]);
    assert!(listing.is_directory("a") && listing.head("a").is_none());
}

#[test]
fn empty_directories_are_kept_until_they_are_used() {
    let mut made = Made::default();
    made.keep("a/b");
    made.keep("c");
    made.keep("skills");
    assert!(made.contains("a") && made.contains("a/b") && made.contains("skills") && made.contains("memories"));
    assert!(!made.contains("b") && !made.contains("a/b/c"));
    assert_eq!(made.below("").collect::<Vec<_>>(), ["a/b", "c"]);
    made.used_by("a/b/file");
    assert!(!made.contains("a/b") && made.contains("c"));
    made.remove("c");
    assert_eq!(made.len(), 0);
}
