//! One suite for every store of documents: an engine behind its socket, and the memory of the mount's tests.
//!
//! What the mount's tests prove on the memory holds for an engine only as far as the two do the same.

#![allow(clippy::unwrap_used, reason = "a test or example may panic")]

mod world;

use std::sync::Arc;

use api::client::{Basis, Client, Endpoint, Put};
use api::server::{EngineInfo, Listeners, ServerState};
use api::wire::document::{Document, DocumentConflict};
use bytes::Bytes;
use fuse_mount::documents::{DocumentStore, EngineDocuments, Name, OnConflict, Writer};
use vfs_core::Kind;
use vfs_core::clock::SystemClock;
use vfs_core::id::PlainDigest;
use vfs_core::repo::Repo;
use world::documents::MemoryDocuments;

const GRANTS: [&str; 2] = ["agent/main", "org"];
const VIEW: &str = "agent/main,user/ana,org";

const MAIN: Name<'_> = Name { scope: "agent/main", path: "memories/m" };
const ORG: Name<'_> = Name { scope: "org", path: "memories/m" };

/// Runs a behaviour on every store, each of them fresh.
async fn on_each<F: Future<Output = ()>>(behaviour: impl Fn(Arc<dyn DocumentStore>) -> F) {
    behaviour(MemoryDocuments::new(&GRANTS)).await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let repo = Repo::in_memory(Arc::new(SystemClock)).await.unwrap();
    let info = EngineInfo { data_folder: folder.path().join("data"), bucket: "memory".into(), token: None };
    let state = ServerState::new(repo, info, Arc::new(SystemClock));
    let bound = Listeners { unix: Some(socket.clone()), tcp: None }.bind().await.unwrap();
    let served = tokio::spawn(bound.serve(state.clone(), std::future::pending()));
    let client = Client::new(Endpoint::Unix(socket)).unwrap();
    let grants = GRANTS.map(str::to_owned).to_vec();
    let writer = Writer { author: "test".into(), session: String::new(), grants };
    behaviour(Arc::new(EngineDocuments::new(client, writer))).await;
    state.stop();
    served.await.unwrap().unwrap();
}

async fn put(store: &dyn DocumentStore, name: Name<'_>, basis: Basis, text: &str, on_conflict: OnConflict) -> Put {
    store.put(name, basis, Bytes::copy_from_slice(text.as_bytes()), on_conflict, "").await.unwrap()
}

async fn written(store: &dyn DocumentStore, name: Name<'_>, basis: Basis, text: &str) -> Document {
    match put(store, name, basis, text, OnConflict::Merge).await {
        Put::Written(document) => document,
        Put::Conflict(conflict) => panic!("{conflict:?}"),
    }
}

#[track_caller]
fn conflict(put: Put) -> DocumentConflict {
    match put {
        Put::Conflict(conflict) => *conflict,
        Put::Written(document) => panic!("{document:?}"),
    }
}

async fn text(store: &dyn DocumentStore, view: &str) -> String {
    String::from_utf8(store.read(view, MAIN.path).await.unwrap().content.to_vec()).unwrap()
}

#[tokio::test]
async fn a_document_is_written_read_and_listed() {
    on_each(|store| async move {
        assert_eq!(store.read(VIEW, MAIN.path).await.unwrap_err().kind(), Kind::NotFound);
        assert!(store.list(VIEW).await.unwrap().is_empty());
        let first = written(&*store, MAIN, Basis::Absent, "one\n").await;
        assert_eq!((first.version, first.base, first.size, first.side), (1, 0, 4, false));
        assert_eq!(first.digest, PlainDigest::of(b"one\n").to_hex());
        let found = store.read(VIEW, MAIN.path).await.unwrap();
        assert_eq!((found.scope.as_str(), found.version, &found.content[..]), ("agent/main", 1, &b"one\n"[..]));
        let second = written(&*store, MAIN, Basis::Version(1), "two\n").await;
        assert_eq!((second.version, second.base), (2, 1));
        let listed = store.list(VIEW).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].path.as_str(), listed[0].version, listed[0].size), (MAIN.path, 2, 4));
    })
    .await;
}

#[tokio::test]
async fn the_nearest_scope_is_shown_and_a_deletion_covers_nothing() {
    on_each(|store| async move {
        written(&*store, ORG, Basis::Absent, "org\n").await;
        written(&*store, MAIN, Basis::Absent, "main\n").await;
        assert_eq!(text(&*store, VIEW).await, "main\n");
        assert_eq!(text(&*store, "org").await, "org\n");
        assert_eq!(store.list(VIEW).await.unwrap()[0].scope, "agent/main");
        let Put::Written(deleted) = store.delete(MAIN, Basis::Version(1)).await.unwrap() else { panic!() };
        assert_eq!((deleted.version, deleted.deleted), (2, true));
        assert_eq!(text(&*store, VIEW).await, "org\n");
        assert_eq!(store.list(VIEW).await.unwrap()[0].scope, "org");
        // Made again after a deletion: nothing to be based on.
        let again = written(&*store, MAIN, Basis::Absent, "again\n").await;
        assert_eq!(again.version, 3);
    })
    .await;
}

#[tokio::test]
async fn a_stale_write_is_refused_or_merged() {
    on_each(|store| async move {
        written(&*store, MAIN, Basis::Absent, "a\nb\nc\nd\ne\n").await;
        written(&*store, MAIN, Basis::Version(1), "a\nb\nc\nd\ne\ntheirs\n").await;
        let refused = put(&*store, MAIN, Basis::Version(1), "a\nb\nc\nd\ne\nmine\n", OnConflict::Refuse).await;
        assert_eq!(conflict(refused).theirs.version, 2);
        assert_eq!(text(&*store, VIEW).await, "a\nb\nc\nd\ne\ntheirs\n");
        // Both appended.
        let merged = written(&*store, MAIN, Basis::Version(1), "a\nb\nc\nd\ne\nmine\n").await;
        assert_eq!((merged.version, merged.side), (3, false));
        assert_eq!(text(&*store, VIEW).await, "a\nb\nc\nd\ne\ntheirs\nmine\n");
        assert_eq!(merged.digest, PlainDigest::of(b"a\nb\nc\nd\ne\ntheirs\nmine\n").to_hex());
        // By lines.
        written(&*store, MAIN, Basis::Version(1), "A\nb\nc\nd\ne\n").await;
        assert_eq!(text(&*store, VIEW).await, "A\nb\nc\nd\ne\ntheirs\nmine\n");
    })
    .await;
}

#[tokio::test]
async fn a_conflict_keeps_both() {
    on_each(|store| async move {
        written(&*store, MAIN, Basis::Absent, "old\n").await;
        written(&*store, MAIN, Basis::Version(1), "theirs\n").await;
        let told = conflict(put(&*store, MAIN, Basis::Version(1), "mine\n", OnConflict::Merge).await);
        assert_eq!(told.base.unwrap().text, "old\n");
        assert_eq!((told.theirs.version, told.theirs.text.as_str()), (2, "theirs\n"));
        assert_eq!((told.yours.version, told.yours.text.as_str()), (3, "mine\n"));
        assert_eq!(text(&*store, VIEW).await, "theirs\n");
        // The next version is numbered after the side version and based on the head.
        let next = written(&*store, MAIN, Basis::Version(2), "next\n").await;
        assert_eq!((next.version, next.base), (4, 2));
        // What is deleted is not merged with.
        store.delete(MAIN, Basis::Version(4)).await.unwrap();
        let told = conflict(put(&*store, MAIN, Basis::Version(4), "next\nmine\n", OnConflict::Merge).await);
        assert!(told.theirs.deleted);
    })
    .await;
}

#[tokio::test]
async fn the_same_bytes_are_no_new_version() {
    on_each(|store| async move {
        written(&*store, MAIN, Basis::Absent, "same\n").await;
        assert_eq!(written(&*store, MAIN, Basis::Version(1), "same\n").await.version, 1);
        written(&*store, MAIN, Basis::Version(1), "new\n").await;
        // As a write is that was answered and not heard, and is sent again.
        assert_eq!(written(&*store, MAIN, Basis::Version(1), "new\n").await.version, 2);
    })
    .await;
}

#[tokio::test]
async fn two_that_make_the_same_document_merge() {
    on_each(|store| async move {
        written(&*store, MAIN, Basis::Absent, "first\n").await;
        let told = put(&*store, MAIN, Basis::Absent, "", OnConflict::Refuse).await;
        assert_eq!(conflict(told).theirs.version, 1);
        written(&*store, MAIN, Basis::Absent, "second\n").await;
        assert_eq!(text(&*store, VIEW).await, "first\nsecond\n");
    })
    .await;
}

#[tokio::test]
async fn a_stale_deletion_is_refused() {
    on_each(|store| async move {
        written(&*store, MAIN, Basis::Absent, "one\n").await;
        written(&*store, MAIN, Basis::Version(1), "two\n").await;
        assert_eq!(conflict(store.delete(MAIN, Basis::Version(1)).await.unwrap()).theirs.version, 2);
        assert_eq!(text(&*store, VIEW).await, "two\n");
        store.delete(MAIN, Basis::Version(2)).await.unwrap();
        assert_eq!(store.read(VIEW, MAIN.path).await.unwrap_err().kind(), Kind::NotFound);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_granted_is_denied() {
    on_each(|store| async move {
        let name = Name { scope: "user/ana", path: "memories/m" };
        let denied = store.put(name, Basis::Absent, Bytes::from_static(b"x"), OnConflict::Merge, "").await;
        assert_eq!(denied.unwrap_err().kind(), Kind::Denied);
        assert_eq!(store.delete(name, Basis::Version(1)).await.unwrap_err().kind(), Kind::Denied);
        assert!(store.list(VIEW).await.unwrap().is_empty());
    })
    .await;
}
