//! Documents over real sockets: each route once as it should be, and as it should not.

use bytes::Bytes;
use vfs_core::{Kind, Result};

use super::world::World;
use crate::client::{Basis, Client, DocumentContent, Put};
use crate::wire::document::{
    Document, DocumentConflict, DocumentQuery, DocumentText, DocumentsQuery, RestoreDocument, WriteDocumentQuery,
};

fn to(scope: &str, path: &str) -> WriteDocumentQuery {
    WriteDocumentQuery { scope: scope.into(), path: path.into(), author: "ana".into(), ..WriteDocumentQuery::default() }
}

fn of(scope: &str, path: &str) -> DocumentQuery {
    DocumentQuery { scope: Some(scope.into()), path: path.into(), ..DocumentQuery::default() }
}

async fn put(client: &Client, scope: &str, path: &str, basis: Basis, content: &'static str) -> Document {
    written(client.put_document(&to(scope, path), basis, content.into()).await)
}

fn written(put: Result<Put>) -> Document {
    match put.unwrap() {
        Put::Written(document) => document,
        Put::Conflict(conflict) => panic!("a conflict: {conflict:?}"),
    }
}

fn conflict(put: Result<Put>) -> DocumentConflict {
    match put.unwrap() {
        Put::Written(document) => panic!("written: {document:?}"),
        Put::Conflict(conflict) => *conflict,
    }
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> Kind {
    result.unwrap_err().kind()
}

fn text(version: u64, text: &str) -> DocumentText {
    DocumentText { version, deleted: false, text: text.into(), hex: None }
}

#[tokio::test]
async fn a_document_is_written_read_listed_and_deleted() {
    let world = World::new().await;
    for client in [&world.client, &world.over_tcp(super::world::TOKEN)] {
        let scope = if matches!(client.endpoint(), crate::client::Endpoint::Unix(_)) { "org" } else { "user/äö" };
        let made = put(client, scope, "skills/ä b+c%?&=#/SKILL.md", Basis::Absent, "one\n").await;
        assert_eq!((made.scope.as_str(), made.version, made.base, made.size), (scope, 1, 0, 4));
        assert_eq!((made.author.as_str(), made.deleted, made.side, made.digest.len()), ("ana", false, false, 64));
        let read = client.document(&of(scope, "skills/ä b+c%?&=#/SKILL.md")).await.unwrap();
        let expected = DocumentContent { scope: scope.into(), version: 1, content: Bytes::from_static(b"one\n") };
        assert_eq!(read, expected);
        put(client, scope, "skills/ä b+c%?&=#/SKILL.md", Basis::Version(1), "two\n").await;
        let first = DocumentQuery { version: Some(1), ..of(scope, "skills/ä b+c%?&=#/SKILL.md") };
        assert_eq!(client.document(&first).await.unwrap(), expected);
        let versions = client.document_versions(scope, "skills/ä b+c%?&=#/SKILL.md").await.unwrap();
        assert_eq!(versions.iter().map(|version| version.version).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(versions[1], made);
        let query = DocumentsQuery { scope: Some(scope.into()), prefix: Some("skills/".into()), view: None };
        assert_eq!(client.documents(&query).await.unwrap(), versions[..1]);
        let path = to(scope, "skills/ä b+c%?&=#/SKILL.md");
        let deleted = written(client.delete_document(&path, Basis::Version(2)).await);
        assert!(deleted.deleted && deleted.digest.is_empty() && deleted.version == 3);
        assert_eq!(kind(client.document(&of(scope, &path.path)).await), Kind::NotFound);
        assert_eq!(client.documents(&query).await.unwrap(), []);
        let back = RestoreDocument {
            scope: scope.into(),
            path: path.path.clone(),
            version: 1,
            if_version: 3,
            author: "ben".into(),
        };
        let restored = client.restore_document(&back).await.unwrap();
        assert_eq!((restored.version, &restored.digest, restored.author.as_str()), (4, &made.digest, "ben"));
        assert_eq!(client.restore_document(&back).await.unwrap(), restored, "said again");
        assert_eq!(kind(client.restore_document(&RestoreDocument { version: 2, ..back }).await), Kind::Conflict);
    }
}

#[tokio::test]
async fn bytes_come_back_as_they_went_in() {
    let world = World::new().await;
    let bytes: Bytes = (0..=255u8).cycle().take(100_000).collect();
    written(world.client.put_document(&to("org", "a"), Basis::Absent, bytes.clone()).await);
    assert_eq!(world.client.document(&of("org", "a")).await.unwrap().content, bytes);
    let conflict = conflict(world.client.put_document(&to("org", "a"), Basis::Absent, "\u{0}x".into()).await);
    assert_eq!(conflict.theirs.hex, Some(hex::encode(&bytes)));
    assert_eq!((conflict.yours.text.as_str(), conflict.yours.hex), ("\u{0}x", None));
}

#[tokio::test]
async fn a_stale_write_is_told_base_theirs_and_yours() {
    let world = World::new().await;
    let client = &world.client;
    put(client, "org", "a", Basis::Absent, "base\n").await;
    put(client, "org", "a", Basis::Version(1), "theirs\n").await;
    let plain = conflict(client.put_document(&to("org", "a"), Basis::Version(1), "yours\n".into()).await);
    let expected =
        DocumentConflict { base: Some(text(1, "base\n")), theirs: text(2, "theirs\n"), yours: text(0, "yours\n") };
    assert_eq!(plain, expected);
    let first = conflict(client.put_document(&to("org", "a"), Basis::Absent, "yours\n".into()).await);
    assert_eq!(first, DocumentConflict { base: None, ..expected.clone() });
    let merge = WriteDocumentQuery { merge: true, ..to("org", "a") };
    let kept = conflict(client.put_document(&merge, Basis::Version(1), "yours\n".into()).await);
    assert_eq!(kept.yours, text(3, "yours\n"));
    let appended = written(client.put_document(&merge, Basis::Version(2), "theirs\nmore\n".into()).await);
    assert_eq!((appended.version, appended.base), (4, 2));
    let gone = conflict(client.delete_document(&to("org", "a"), Basis::Version(1)).await);
    assert!(gone.yours.deleted && gone.theirs.version == 4);
    let (status, body) =
        world.raw_with("PUT", "/v1/documents/content?scope=org&path=a", "if-match: \"1\"\r\n", Some("yours")).await;
    assert_eq!((status.as_u16(), body["error"]["kind"].as_str()), (409, Some("conflict")), "{body}");
    assert_eq!(body["conflict"]["theirs"]["version"], 4, "{body}");
}

#[tokio::test]
async fn a_write_says_what_it_is_based_on() {
    let world = World::new().await;
    let url = "/v1/documents/content?scope=org&path=a";
    for headers in [
        "",
        "if-match: 1\r\n",
        "if-match: *\r\n",
        "if-match: \"0\"\r\n",
        "if-match: \"x\"\r\n",
        "if-match: \"1\", \"2\"\r\n",
        "if-match: W/\"1\"\r\n",
        "if-none-match: \"1\"\r\n",
        "if-match: \"1\"\r\nif-none-match: *\r\n",
        "if-match: \"-1\"\r\n",
    ] {
        for method in ["PUT", "DELETE"] {
            let (status, body) = world.raw_with(method, url, headers, Some("x")).await;
            assert_eq!((status.as_u16(), body["error"]["kind"].as_str()), (400, Some("invalid")), "{headers:?}");
            let message = body["error"]["message"].as_str().unwrap();
            assert!(message.contains("If-Match") && message.contains("If-None-Match: *"), "says how: {message}");
        }
    }
    assert_eq!(world.raw_with("PUT", url, "if-none-match: *\r\n", Some("x")).await.0.as_u16(), 200);
}

#[tokio::test]
async fn the_nearest_scope_of_a_view_is_read() {
    let world = World::new().await;
    let client = &world.client;
    put(client, "org", "a", Basis::Absent, "org").await;
    put(client, "org", "b", Basis::Absent, "org").await;
    put(client, "agent/main", "a", Basis::Absent, "agent").await;
    let view = Some("agent/main,user/ana,org".to_owned());
    let query = DocumentQuery { view: view.clone(), path: "a".into(), ..DocumentQuery::default() };
    assert_eq!(client.document(&query).await.unwrap().scope, "agent/main");
    let listed = client.documents(&DocumentsQuery { view: view.clone(), ..DocumentsQuery::default() }).await.unwrap();
    let names: Vec<_> = listed.iter().map(|one| (one.scope.as_str(), one.path.as_str())).collect();
    assert_eq!(names, [("agent/main", "a"), ("org", "b")]);
    assert_eq!(client.documents(&DocumentsQuery::default()).await.unwrap().len(), 3, "all scopes");
    let both = DocumentQuery { view, scope: Some("org".into()), path: "a".into(), version: None };
    assert_eq!(kind(client.document(&both).await), Kind::Invalid);
    assert_eq!(
        kind(client.document(&DocumentQuery { path: "a".into(), ..DocumentQuery::default() }).await),
        Kind::Invalid
    );
}

#[tokio::test]
async fn grants_are_kept_even_if_there_are_none() {
    let world = World::new().await;
    for grants in ["", "agent/main", "user/ana,agent/main"] {
        let query = WriteDocumentQuery { grants: Some(grants.into()), ..to("org", "a") };
        let refused = world.client.put_document(&query, Basis::Absent, "x".into()).await.unwrap_err();
        assert!(refused.kind() == Kind::Denied && refused.context().contains("esker doc put"), "{grants:?}: {refused}");
        let query =
            WriteDocumentQuery { grants: Some(grants.into()), ..to("agent/main", grants.len().to_string().as_str()) };
        let put = world.client.put_document(&query, Basis::Absent, "x".into()).await;
        assert_eq!(put.is_ok(), !grants.is_empty(), "{grants:?}");
    }
    assert_eq!(kind(world.client.document(&of("org", "a")).await), Kind::NotFound, "nothing was written");
}

#[tokio::test]
async fn bad_requests_are_refused_in_our_shape() {
    let world = World::new().await;
    let client = &world.client;
    for path in ["", "/a", "a/../b", "a//b", "a\nb"] {
        assert_eq!(
            kind(client.put_document(&to("org", path), Basis::Absent, "x".into()).await),
            Kind::Invalid,
            "{path:?}"
        );
        assert_eq!(kind(client.document(&of("org", path)).await), Kind::Invalid, "{path:?}");
    }
    let long = "x".repeat(256);
    assert_eq!(kind(client.put_document(&to("org", &long), Basis::Absent, "x".into()).await), Kind::NameTooLong);
    assert_eq!(kind(client.put_document(&to("team/x", "a"), Basis::Absent, "x".into()).await), Kind::Invalid);
    assert_eq!(kind(client.put_document(&to("org", "a"), Basis::Version(1), "x".into()).await), Kind::NotFound);
    let most = Bytes::from(vec![b'x'; vfs_core::limits::DOCUMENT_MAX]);
    written(client.put_document(&to("org", "large"), Basis::Absent, most.clone()).await);
    let more = Bytes::from([&most[..], b"x"].concat());
    assert_eq!(kind(client.put_document(&to("org", "larger"), Basis::Absent, more).await), Kind::TooLarge);
    let session = WriteDocumentQuery { session: "0123456789abcdef".into(), ..to("org", "a") };
    assert_eq!(kind(client.put_document(&session, Basis::Absent, "x".into()).await), Kind::NotFound);
    for url in [
        "content?scope=org&path=%ff",
        "content?scope=org",
        "content?scope=org&path=a&path=b",
        "content?scope=org&pth=a",
        "content?path=a&scope=org&version=x",
        "versions?scope=org",
        "versions?path=a&scope=nobody",
    ] {
        let (status, body) = world.raw("GET", &format!("/v1/documents/{url}"), None).await;
        assert_eq!((status.as_u16(), body["error"]["kind"].as_str()), (400, Some("invalid")), "{url}");
    }
    let (status, _) = world.raw("POST", "/v1/documents/restore", Some("{\"scope\":\"org\"}")).await;
    assert_eq!(status.as_u16(), 400);
    let refused = world.over_tcp("wrong").documents(&DocumentsQuery::default()).await;
    assert_eq!(kind(refused), Kind::Denied);
}
