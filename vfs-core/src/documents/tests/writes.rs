//! Each way that a write can go, and what readers see then.

use super::*;
use crate::limits::DOCUMENT_MAX;

const ABSENT: Basis = Basis::Absent;

fn at(version: u64) -> Basis {
    Basis::Version(version)
}

#[tokio::test]
async fn versions_count_up_and_stay() {
    let (repo, clock) = repo().await;
    let first = written(&repo, &put("org", "skills/a/SKILL.md", ABSENT, "one")).await;
    assert_eq!((first.version, first.base, first.size, first.author.as_str()), (1, 0, 3, "ana"));
    clock.advance(std::time::Duration::from_secs(1));
    let second = written(&repo, &put("org", "skills/a/SKILL.md", at(1), "two!")).await;
    assert_eq!((second.version, second.base, second.size), (2, 1, 4));
    assert!(second.time > first.time);
    let (version, content) = repo.read_document(&org(), &path("skills/a/SKILL.md"), Some(1)).await.unwrap();
    assert_eq!((version, content.as_ref()), (first.clone(), &b"one"[..]));
    let scope = Scope::org();
    assert_eq!(repo.document_versions(&scope, &path("skills/a/SKILL.md")).await.unwrap(), [second, first]);
    assert_eq!(kind(repo.document_versions(&scope, &path("skills/a")).await), Some(Kind::NotFound));
    assert_eq!(kind(repo.read_document(&org(), &path("skills/a/SKILL.md"), Some(3)).await), Some(Kind::NotFound));
}

#[tokio::test]
async fn a_stale_write_changes_nothing_and_is_told_all_three() {
    let (repo, _) = repo().await;
    written(&repo, &put("org", "a", ABSENT, "base")).await;
    written(&repo, &put("org", "a", at(1), "theirs")).await;
    let conflict = conflicting(&repo, &put("org", "a", at(1), "yours")).await;
    assert_eq!(conflict, Conflict { base: Some(side(1, "base")), theirs: side(2, "theirs"), yours: side(0, "yours") });
    let conflict = conflicting(&repo, &put("org", "a", ABSENT, "yours")).await;
    assert_eq!(conflict, Conflict { base: None, theirs: side(2, "theirs"), yours: side(0, "yours") });
    let conflict = conflicting(&repo, &delete("org", "a", at(1))).await;
    assert!(conflict.yours.deleted && conflict.yours.version == 0);
    assert_eq!(content(&repo, &org(), "a").await.unwrap(), (2, "theirs".into()));
    assert_eq!(repo.document_versions(&Scope::org(), &path("a")).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_based_on_nothing_that_was_is_refused() {
    let (repo, _) = repo().await;
    assert_eq!(kind(repo.write_document(&put("org", "a", at(1), "x")).await), Some(Kind::NotFound));
    assert_eq!(kind(repo.write_document(&delete("org", "a", ABSENT)).await), Some(Kind::NotFound));
    written(&repo, &put("org", "a", ABSENT, "x")).await;
    assert_eq!(kind(repo.write_document(&put("org", "a", at(2), "y")).await), Some(Kind::Invalid));
    assert_eq!(kind(repo.write_document(&merging("org", "a", at(2), "y")).await), Some(Kind::Invalid));
}

#[tokio::test]
async fn the_same_bytes_add_no_version() {
    let (repo, _) = repo().await;
    let first = written(&repo, &put("org", "a", ABSENT, "x")).await;
    assert_eq!(written(&repo, &put("org", "a", at(1), "x")).await, first);
    assert_eq!(written(&repo, &put("org", "a", ABSENT, "x")).await, first, "stale, but there is nothing to lose");
    written(&repo, &put("org", "a", at(1), "y")).await;
    assert_eq!(written(&repo, &put("org", "a", at(1), "y")).await.version, 2);
    assert_eq!(repo.document_versions(&Scope::org(), &path("a")).await.unwrap().len(), 2);
}

#[tokio::test]
async fn deleting_and_restoring_add_versions() {
    let (repo, _) = repo().await;
    written(&repo, &put("org", "a", ABSENT, "one")).await;
    let deleted = written(&repo, &delete("org", "a", at(1))).await;
    assert!(deleted.deleted && deleted.version == 2 && deleted.size == 0);
    assert_eq!(kind(content(&repo, &org(), "a").await), Some(Kind::NotFound));
    assert_eq!(kind(repo.read_document(&org(), &path("a"), Some(2)).await), Some(Kind::NotFound));
    assert_eq!(repo.documents(&org(), None).await.unwrap(), []);
    assert_eq!(written(&repo, &delete("org", "a", at(1))).await, deleted, "said again");
    assert_eq!(kind(repo.write_document(&delete("org", "a", ABSENT)).await), Some(Kind::NotFound));
    let restored = repo.restore_document(&Scope::org(), &path("a"), 1, 2, "ben").await.unwrap();
    assert_eq!((restored.version, restored.base, restored.author.as_str()), (3, 2, "ben"));
    assert_eq!(content(&repo, &org(), "a").await.unwrap(), (3, "one".into()));
    let stale = repo.restore_document(&Scope::org(), &path("a"), 2, 3, "ben").await;
    assert_eq!(kind(stale), Some(Kind::NotFound), "a deletion has no content");
    written(&repo, &put("org", "a", at(3), "two")).await;
    assert_eq!(kind(repo.restore_document(&Scope::org(), &path("a"), 1, 3, "ben").await), Some(Kind::Conflict));
    written(&repo, &delete("org", "a", at(4))).await;
    let again = written(&repo, &put("org", "a", ABSENT, "three")).await;
    assert_eq!((again.version, again.base), (6, 5), "a deleted document is absent; its versions go on");
}

#[tokio::test]
async fn the_nearest_scope_that_has_it_counts() {
    let (repo, _) = repo().await;
    written(&repo, &put("org", "a", ABSENT, "org")).await;
    written(&repo, &put("org", "b/c", ABSENT, "org")).await;
    written(&repo, &put("org", "b.", ABSENT, "org")).await;
    written(&repo, &put("org", "b0", ABSENT, "org")).await;
    written(&repo, &put("user/ana", "a", ABSENT, "ana")).await;
    written(&repo, &put("user/ben", "a", ABSENT, "ben")).await;
    let all = view("agent/main,user/ana,org");
    assert_eq!(content(&repo, &all, "a").await.unwrap(), (1, "ana".into()));
    let names =
        |list: Vec<Version>| list.into_iter().map(|one| format!("{}:{}", one.scope, one.path)).collect::<Vec<_>>();
    assert_eq!(names(repo.documents(&all, None).await.unwrap()), ["user/ana:a", "org:b.", "org:b/c", "org:b0"]);
    assert_eq!(names(repo.documents(&all, Some(&path("b"))).await.unwrap()), ["org:b/c"]);
    assert_eq!(names(repo.documents(&all, Some(&path("b/c"))).await.unwrap()), ["org:b/c"]);
    assert_eq!(
        names(repo.documents(&Within::All, Some(&path("a"))).await.unwrap()),
        ["org:a", "user/ana:a", "user/ben:a"]
    );
    written(&repo, &delete("user/ana", "a", at(1))).await;
    assert_eq!(content(&repo, &all, "a").await.unwrap().1, "org", "a deleted document covers nothing");
    assert_eq!(names(repo.documents(&all, Some(&path("a"))).await.unwrap()), ["org:a"]);
    assert_eq!(kind(repo.read_document(&all, &path("a"), Some(1)).await), Some(Kind::Invalid));
    assert_eq!(kind(content(&repo, &view("user/cem"), "a").await), Some(Kind::NotFound));
}

#[tokio::test]
async fn names_differ_byte_by_byte() {
    let (repo, _) = repo().await;
    for (number, name) in ["a", "A", "ä", "a\u{308}", "a%", "a_", "a "].into_iter().enumerate() {
        written(&repo, &put("org", name, ABSENT, number.to_string())).await;
        assert_eq!(content(&repo, &org(), name).await.unwrap(), (1, number.to_string()), "{name:?}");
    }
}

#[tokio::test]
async fn what_was_not_granted_is_not_written() {
    let (repo, _) = repo().await;
    let grants = Grants::parse(Some("agent/main")).unwrap();
    let refused = repo.write_document(&Write { grants: grants.clone(), ..put("org", "a", ABSENT, "x") }).await;
    assert_eq!(kind(refused), Some(Kind::Denied));
    written(&repo, &put("org", "a", ABSENT, "x")).await;
    assert_eq!(
        kind(repo.write_document(&Write { grants: grants.clone(), ..delete("org", "a", at(1)) }).await),
        Some(Kind::Denied)
    );
    written(&repo, &Write { grants, ..put("agent/main", "a", ABSENT, "x") }).await;
}

#[tokio::test]
async fn limits_hold() {
    let (repo, _) = repo().await;
    let large = vec![b'x'; DOCUMENT_MAX + 1];
    assert_eq!(kind(repo.write_document(&put("org", "a", ABSENT, &large)).await), Some(Kind::TooLarge));
    written(&repo, &put("org", "a", ABSENT, &large[1..])).await;
    written(&repo, &put("org", "empty", ABSENT, "")).await;
    assert_eq!(content(&repo, &org(), "empty").await.unwrap(), (1, String::new()));
    let writer = Writer { author: "x".repeat(1025), ..Writer::default() };
    assert_eq!(kind(repo.write_document(&Write { writer, ..put("org", "b", ABSENT, "x") }).await), Some(Kind::Invalid));
    // Two halves that fit one by one: kept aside, not thrown away.
    let (grown, other) = (format!("{}\n", "y".repeat(700_000)), format!("{}\n", "z".repeat(700_000)));
    written(&repo, &put("org", "c", ABSENT, "")).await;
    written(&repo, &put("org", "c", at(1), &grown)).await;
    let conflict = conflicting(&repo, &merging("org", "c", at(1), &other)).await;
    assert_eq!((conflict.theirs.version, conflict.yours.version), (2, 3));
    assert_eq!(repo.read_document(&org(), &path("c"), Some(3)).await.unwrap().1, other.as_bytes());
}

#[tokio::test]
async fn what_can_be_merged_is_merged() {
    let (repo, _) = repo().await;
    written(&repo, &put("org", "a", ABSENT, "1\n2\n3\n4\n5\n")).await;
    written(&repo, &put("org", "a", at(1), "one\n2\n3\n4\n5\n")).await;
    let merged = written(&repo, &merging("org", "a", at(1), "1\n2\n3\n4\nfive\n")).await;
    assert_eq!((merged.version, merged.base, merged.side), (3, 1, false));
    assert_eq!(content(&repo, &org(), "a").await.unwrap().1, "one\n2\n3\n4\nfive\n");
    let merged = written(&repo, &merging("org", "a", at(1), "1\n2\n3\n4\n5\n")).await;
    assert_eq!(merged.version, 3, "yours changed nothing, so theirs is the answer");
    let same = written(&repo, &merging("org", "a", at(2), "one\n2\n3\n4\nfive\n")).await;
    assert_eq!(same.version, 3, "both made the same change of a line");
    written(&repo, &put("org", "log", ABSENT, "begin\n")).await;
    written(&repo, &put("org", "log", at(1), "begin\ntheirs\n")).await;
    written(&repo, &merging("org", "log", at(1), "begin\nyours\n")).await;
    assert_eq!(content(&repo, &org(), "log").await.unwrap(), (3, "begin\ntheirs\nyours\n".into()));
}

#[tokio::test]
async fn what_cannot_be_merged_is_kept_aside() {
    let (repo, _) = repo().await;
    written(&repo, &put("org", "a", ABSENT, "base\n")).await;
    written(&repo, &put("org", "a", at(1), "theirs\n")).await;
    let conflict = conflicting(&repo, &merging("org", "a", at(1), "yours\n")).await;
    let expected = Conflict { base: Some(side(1, "base\n")), theirs: side(2, "theirs\n"), yours: side(3, "yours\n") };
    assert_eq!(conflict, expected);
    assert_eq!(content(&repo, &org(), "a").await.unwrap(), (2, "theirs\n".into()), "the head has not moved");
    let kept = repo.read_document(&org(), &path("a"), Some(3)).await.unwrap();
    assert!(kept.0.side && kept.0.base == 1 && kept.1.as_ref() == b"yours\n");
    assert_eq!(conflicting(&repo, &put("org", "a", at(1), "other")).await.theirs.version, 2);
    let refused = repo.write_document(&merging("org", "a", at(3), "yours\nmore\n")).await;
    assert_eq!(kind(refused), Some(Kind::Invalid), "nothing is based on a side version");
    let next = written(&repo, &put("org", "a", at(2), "both\n")).await;
    assert_eq!(next.version, 4);
    let back = repo.restore_document(&Scope::org(), &path("a"), 3, 4, "ana").await.unwrap();
    assert_eq!((back.version, back.side), (5, false), "a side version can be brought back");
    let plain = merging("org", "a", at(1), b"\xff\xfe");
    assert_eq!(conflicting(&repo, &plain).await.yours.version, 6, "bytes are not merged");
}

#[tokio::test]
async fn a_deletion_is_never_merged_with_a_change() {
    let (repo, _) = repo().await;
    written(&repo, &put("org", "a", ABSENT, "base\n")).await;
    written(&repo, &delete("org", "a", at(1))).await;
    let conflict = conflicting(&repo, &merging("org", "a", at(1), "base\nyours\n")).await;
    assert!(conflict.theirs.deleted && conflict.yours.version == 3, "{conflict:?}");
    assert_eq!(kind(content(&repo, &org(), "a").await), Some(Kind::NotFound), "still deleted");
    written(&repo, &put("org", "b", ABSENT, "base\n")).await;
    written(&repo, &put("org", "b", at(1), "base\nmore\n")).await;
    let conflict = conflicting(&repo, &Write { merge: true, ..delete("org", "b", at(1)) }).await;
    assert!(conflict.yours.deleted && conflict.yours.version == 0, "a deletion is nothing to keep: {conflict:?}");
    assert_eq!(content(&repo, &org(), "b").await.unwrap().0, 2);
}

#[tokio::test]
async fn a_path_is_a_document_or_leads_to_some() {
    let (repo, _) = repo().await;
    written(&repo, &put("org", "a/b", ABSENT, "x")).await;
    let refused = |write: Write| {
        let repo = repo.clone();
        async move { repo.write_document(&write).await.unwrap_err().kind() }
    };
    assert_eq!(refused(put("org", "a/b/c", ABSENT, "x")).await, Kind::NotADirectory);
    assert_eq!(refused(put("org", "a", ABSENT, "x")).await, Kind::IsADirectory);
    written(&repo, &put("org", "a/bc", ABSENT, "only the same letters")).await;
    written(&repo, &delete("org", "a/b", at(1))).await;
    written(&repo, &put("org", "a/b/c", ABSENT, "x")).await;
    assert_eq!(refused(put("org", "a/b", at(2), "x")).await, Kind::IsADirectory, "nor can it come back");
}

#[tokio::test]
async fn equal_lines_of_two_writers_are_two_lines() {
    let (repo, _) = repo().await;
    written(&repo, &put("org", "a", ABSENT, "base\n")).await;
    let append = merging("org", "a", at(1), "base\nsame\n");
    written(&repo, &append).await;
    written(&repo, &append).await;
    assert_eq!(
        content(&repo, &org(), "a").await.unwrap().1,
        "base\nsame\nsame\n",
        "nobody said that it is a repetition"
    );
    let keyed = Write { writer: Writer { key: "k".into(), ..append.writer.clone() }, ..append };
    written(&repo, &keyed).await;
    written(&repo, &keyed).await;
    assert_eq!(content(&repo, &org(), "a").await.unwrap().1, "base\nsame\nsame\nsame\n", "one key is one write");
}

#[tokio::test]
async fn a_write_that_is_said_again_is_answered_with_its_version() {
    let (repo, _) = repo().await;
    let by = |call: &str, write: Write| {
        let writer = Writer { tool_call: call.into(), ..write.writer.clone() };
        Write { writer, ..write }
    };
    let first = by("call-1", put("org", "a", ABSENT, "one\n"));
    let made = written(&repo, &first).await;
    written(&repo, &put("org", "a", at(1), "one\ntwo\n")).await;
    assert_eq!(written(&repo, &first).await, made, "although the head has moved on");
    let append = by("call-2", merging("org", "a", at(1), "one\nthree\n"));
    let merged = written(&repo, &append).await;
    assert_eq!(merged.version, 3);
    assert_eq!(written(&repo, &append).await, merged, "not appended twice");
    let other = by("call-3", merging("org", "a", at(1), "one\nthree\n"));
    assert_eq!(written(&repo, &other).await.version, 4, "another call said the same: that is another line");
    assert_eq!(content(&repo, &org(), "a").await.unwrap().1, "one\ntwo\nthree\nthree\n");
    let lost = by("call-4", merging("org", "a", at(1), "other\n"));
    let conflict = conflicting(&repo, &lost).await;
    assert_eq!(conflict.yours.version, 5);
    assert_eq!(conflicting(&repo, &lost).await, conflict, "not kept aside twice");
    // The same call may write the same again after somebody deleted it: that is a new write.
    written(&repo, &by("call-1", delete("org", "a", at(4)))).await;
    assert_eq!(written(&repo, &first).await.version, 7);
}
