//! Documents, sessions, turn logs.

use super::*;
use crate::id::SessionId;

pub(super) fn version(scope: &str, path: &str, version: u64, content: &[u8]) -> VersionRow {
    VersionRow {
        scope: scope.into(),
        path: path.into(),
        version,
        base: version - 1,
        size: content.len() as u64,
        digest: *blake3::hash(content).as_bytes(),
        deleted: false,
        side: false,
        time: at(version as i64),
        author: "ana".into(),
        session: "s".into(),
        turn: 2,
        tool_call: "call".into(),
        request: [version as u8; 32],
    }
}

async fn add(connection: &mut Connection, tenant: i64, scope: &str, path: &str, number: u64, content: &[u8]) {
    let document = DocumentRow { scope: scope.into(), path: path.into(), head: number, newest: number };
    documents::put(connection, tenant, &document).await.unwrap();
    documents::add(connection, tenant, &version(scope, path, number, content), content).await.unwrap();
}

/// The document `a` of the organisation with two versions.
pub(super) async fn one_document(place: &Place, tenant: i64) {
    let mut transaction = place.database.begin().await.unwrap();
    add(&mut transaction, tenant, "org", "a", 1, b"one\0").await;
    add(&mut transaction, tenant, "org", "a", 2, b"").await;
    place.database.commit(transaction).await.unwrap();
}

pub(super) async fn documents_have_versions(place: &Place) {
    let tenant = one_workspace(place).await;
    one_document(place, tenant).await;
    let mut transaction = place.database.begin().await.unwrap();
    let document = documents::find(&mut transaction, tenant, "org", "a").await.unwrap().unwrap();
    assert_eq!((document.head, document.newest), (2, 2));
    assert_eq!(documents::find(&mut transaction, tenant, "org", "b").await.unwrap(), None);
    let versions = documents::versions(&mut transaction, tenant, "org", "a").await.unwrap();
    assert_eq!(versions, [version("org", "a", 2, b""), version("org", "a", 1, b"one\0")]);
    let one = documents::version(&mut transaction, tenant, "org", "a", 1).await.unwrap().unwrap();
    assert_eq!(one, versions[1]);
    assert_eq!(documents::version(&mut transaction, tenant, "org", "a", 3).await.unwrap(), None);
    assert_eq!(&documents::content(&mut transaction, tenant, &one).await.unwrap()[..], b"one\0");
    assert_eq!(&documents::content(&mut transaction, tenant, &versions[0]).await.unwrap()[..], b"");
    let made = async |connection: &mut Connection, after, request| {
        let found = documents::made_by(connection, tenant, &document, after, &[request; 32]).await.unwrap();
        found.map(|row| row.version)
    };
    assert_eq!(made(&mut transaction, 0, 1).await, Some(1));
    assert_eq!(made(&mut transaction, 1, 1).await, None);
    assert_eq!(made(&mut transaction, 1, 2).await, Some(2));
    let written = documents::versions_of_turn(&mut transaction, "s", 2).await.unwrap();
    assert_eq!(written, [("org".into(), "a".into(), 1), ("org".into(), "a".into(), 2)]);
    assert!(documents::versions_of_turn(&mut transaction, "s", 3).await.unwrap().is_empty());
    let again = documents::add(&mut transaction, tenant, &one, b"one\0").await.unwrap_err();
    assert_eq!(again.kind(), Kind::Corrupt, "a version is never written over");
}

pub(super) async fn heads_are_listed_by_bytes(place: &Place) {
    let tenant = one_workspace(place).await;
    let mut transaction = place.database.begin().await.unwrap();
    for (scope, path) in
        [("org", "b"), ("org", "B"), ("org", "a-b"), ("org", "a/b"), ("org", "a/ä"), ("org", "a"), ("team", "a")]
    {
        add(&mut transaction, tenant, scope, path, 1, b"x").await;
    }
    let mut list = async |scope: Option<&str>, prefix: &str| -> Vec<String> {
        let heads = documents::heads(&mut transaction, tenant, scope, prefix).await.unwrap();
        heads.into_iter().map(|row| format!("{}:{}", row.scope, row.path)).collect()
    };
    let all = ["org:B", "org:a", "org:a-b", "org:a/b", "org:a/ä", "org:b", "team:a"];
    assert_eq!(list(None, "").await, all);
    assert_eq!(list(Some("team"), "").await, ["team:a"]);
    assert_eq!(list(Some("org"), "a").await, ["org:a", "org:a/b", "org:a/ä"]);
    assert!(list(Some("org"), "c").await.is_empty());
    let page = documents::page(&mut transaction, tenant, ("org", "a"), 3).await.unwrap();
    let paths: Vec<_> = page.iter().map(|(scope, path, row)| (scope.as_str(), path.as_str(), row.is_ok())).collect();
    assert_eq!(paths, [("org", "a-b", true), ("org", "a/b", true), ("org", "a/ä", true)]);
    place.database.commit(transaction).await.unwrap();
    place.vandal("UPDATE documents SET head = 2 WHERE path = 'b'").await;
    let mut reader = place.database.read().await.unwrap();
    assert_eq!(documents::heads(&mut reader, tenant, None, "").await.unwrap_err().kind(), Kind::Corrupt);
    let page = documents::page(&mut reader, tenant, ("org", "a/ä"), 1).await.unwrap();
    assert!(page[0].2.is_err(), "the others can still be read");
}

pub(super) async fn strange_versions_are_found(place: &Place) {
    let tenant = one_workspace(place).await;
    one_document(place, tenant).await;
    let strangers = async || {
        let mut reader = place.database.read().await.unwrap();
        documents::strangers(&mut reader, tenant, 9).await.unwrap()
    };
    assert!(strangers().await.is_empty());
    place.vandal("UPDATE document_versions SET version = -4 WHERE version = 1").await;
    assert_eq!(strangers().await, [("org".into(), "a".into(), -4)]);
    place.vandal("UPDATE documents SET newest = 1").await;
    assert_eq!(strangers().await.len(), 2);
}

/// A session with this many events, the second of which begins a turn.
pub(super) async fn one_session(place: &Place, tenant: i64, events: u64) -> SessionRow {
    let mut session = SessionRow::new(SessionId::from_bytes([0xab; 8]), workspace(1), snapshot(1), at(1));
    session.epoch = 3;
    session.owner = "owner".into();
    let mut transaction = place.database.begin().await.unwrap();
    sessions::put(&mut transaction, tenant, &session).await.unwrap();
    for number in 1..=events {
        let kind = if number == 2 { "turn.started" } else { "note" };
        let event = EventRow {
            sequence: number,
            key: format!("key {number}"),
            kind: kind.into(),
            turn: 1,
            tool_call: String::new(),
            time: at(number as i64),
            epoch: 3,
            data: r#"{"text":"\u0000 ü"}"#.into(),
        };
        turn_log::append(&mut transaction, &mut session, &event).await.unwrap();
    }
    let before = snapshot(2);
    let documents = vec![DocumentVersion { scope: "org".into(), path: "a".into(), version: 1 }];
    for number in 1..=2 {
        let turn = TurnRow { number, snapshot: snapshot(1), before, documents: documents.clone(), time: at(3) };
        turn_log::put_turn(&mut transaction, session.id, &turn).await.unwrap();
    }
    session.turns = 2;
    sessions::put(&mut transaction, tenant, &session).await.unwrap();
    place.database.commit(transaction).await.unwrap();
    session
}

pub(super) async fn sessions_are_listed(place: &Place) {
    let tenant = one_workspace(place).await;
    let owned = one_session(place, tenant, 1).await;
    let mut transaction = place.database.begin().await.unwrap();
    assert_eq!(sessions::get(&mut transaction, tenant, owned.id).await.unwrap(), Some(owned.clone()));
    assert_eq!(sessions::get(&mut transaction, tenant + 1, owned.id).await.unwrap(), None);
    for number in 1..=3 {
        let id = SessionId::from_bytes([0xa0 + number; 8]);
        let row = SessionRow::new(id, workspace(2), snapshot(1), at(i64::from(number)));
        sessions::put(&mut transaction, tenant, &row).await.unwrap();
    }
    let hex = |rows: Vec<SessionRow>| -> Vec<u8> { rows.into_iter().map(|row| row.id.as_bytes()[0]).collect() };
    let newest = sessions::newest(&mut transaction, tenant, None, 3).await.unwrap();
    assert_eq!(hex(newest), [0xa3, 0xa2, 0xa1], "newest first, then by id");
    let newest = sessions::newest(&mut transaction, tenant, Some(workspace(1)), 9).await.unwrap();
    assert_eq!(hex(newest), [0xab]);
    let found = sessions::owned(&mut transaction, tenant, workspace(1)).await.unwrap();
    assert_eq!(found, std::slice::from_ref(&owned));
    assert!(sessions::owned(&mut transaction, tenant, workspace(2)).await.unwrap().is_empty());
    let starting = sessions::starting_with(&mut transaction, tenant, "a").await.unwrap();
    assert_eq!(starting.len(), 2, "two are enough to know that there are several");
    assert_eq!(sessions::starting_with(&mut transaction, tenant, "aba").await.unwrap(), [owned.id]);
    assert!(sessions::starting_with(&mut transaction, tenant, "b").await.unwrap().is_empty());
    assert_eq!(sessions::ids(&mut transaction, tenant).await.unwrap().len(), 4);
    let ended = SessionRow { ended: "done".into(), owner: String::new(), epoch: 4, ..owned };
    sessions::put(&mut transaction, tenant, &ended).await.unwrap();
    assert_eq!(sessions::get(&mut transaction, tenant, ended.id).await.unwrap(), Some(ended));
}

pub(super) async fn events_are_pages(place: &Place) {
    let tenant = one_workspace(place).await;
    let session = one_session(place, tenant, 7).await;
    let mut reader = place.database.read().await.unwrap();
    let mut page = async |after, limit, bytes| -> Vec<u64> {
        let events = turn_log::page(&mut reader, &session, after, limit, bytes).await.unwrap();
        events.into_iter().map(|event| event.sequence).collect()
    };
    assert_eq!(page(0, 99, usize::MAX).await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(page(2, 3, usize::MAX).await, [3, 4, 5]);
    // Broken off by bytes: the connection goes on all the same.
    assert_eq!(page(2, 99, 1).await, [3]);
    assert_eq!(page(6, 99, usize::MAX).await, [7]);
    assert!(page(7, 99, usize::MAX).await.is_empty());
    let event = turn_log::by_key(&mut reader, session.id, "key 4").await.unwrap().unwrap();
    assert_eq!((event.sequence, event.data.as_str()), (4, r#"{"text":"\u0000 ü"}"#));
    assert_eq!(turn_log::by_key(&mut reader, session.id, "key").await.unwrap(), None);
    drop(reader);
    let mut transaction = place.database.begin().await.unwrap();
    let mut session = session;
    let twice = EventRow { sequence: 8, ..event };
    let error = turn_log::append(&mut transaction, &mut session, &twice).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists, "a key is there once");
}

pub(super) async fn turns_are_recorded(place: &Place) {
    let tenant = one_workspace(place).await;
    let session = one_session(place, tenant, 1).await;
    let mut reader = place.database.read().await.unwrap();
    let turns = turn_log::turns(&mut reader, &session).await.unwrap();
    assert_eq!(turns.iter().map(|turn| turn.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((turns[0].snapshot, turns[0].before, turns[0].documents.len()), (snapshot(1), snapshot(2), 1));
    assert_eq!(turn_log::turn(&mut reader, session.id, 2).await.unwrap().as_ref(), turns.last());
    assert_eq!(turn_log::turn(&mut reader, session.id, 3).await.unwrap(), None);
    let longer = SessionRow { turns: 3, ..session };
    assert_eq!(turn_log::turns(&mut reader, &longer).await.unwrap_err().kind(), Kind::Corrupt);
    assert!(turn_log::strangers(&mut reader).await.unwrap().is_empty());
}

pub(super) async fn an_open_turn_attributes(place: &Place) {
    let tenant = one_workspace(place).await;
    let mut session = one_session(place, tenant, 2).await;
    let id = session.id.to_hex();
    let mut transaction = place.database.begin().await.unwrap();
    assert_eq!(documents::attribution(&mut transaction, &id, Some(3)).await.unwrap(), (1, String::new()));
    let lost = documents::attribution(&mut transaction, &id, Some(2)).await.unwrap_err();
    assert_eq!(lost.kind(), Kind::LeaseLost);
    let nobody = documents::attribution(&mut transaction, "0000", None).await.unwrap_err();
    assert_eq!(nobody.kind(), Kind::NotFound);
    let steps = [
        ("tool.started", "a", (1, "a")),
        ("tool.started", "b", (1, "b")),
        ("tool.finished", "b", (1, "a")),
        ("tool.finished", "a", (1, "")),
        ("turn.ended", "", (0, "")),
    ];
    for (number, (kind, call, expected)) in steps.into_iter().enumerate() {
        let event = EventRow {
            sequence: 3 + number as u64,
            key: format!("{kind} {call}"),
            kind: kind.into(),
            turn: 1,
            tool_call: call.into(),
            time: at(5),
            epoch: 3,
            data: "{}".into(),
        };
        turn_log::append(&mut transaction, &mut session, &event).await.unwrap();
        let found = documents::attribution(&mut transaction, &id, None).await.unwrap();
        assert_eq!((found.0, found.1.as_str()), expected, "after {kind} {call}");
    }
}
