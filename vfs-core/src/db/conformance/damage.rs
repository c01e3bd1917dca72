//! What was changed behind the database's back is found when it is read.

use super::*;

/// Every column of every guarded table, changed by itself.
pub(super) async fn every_guarded_row_is_compared(place: &Place) {
    let tenant = one_workspace(place).await;
    logs::one_document(place, tenant).await;
    let session = logs::one_session(place, tenant, 3).await;
    let read = async |table: &str| -> Result<()> {
        let mut reader = place.database.read().await?;
        match table {
            "refs" => refs::get(&mut reader, workspace(1)).await.map(drop),
            "history" => history::newest(&mut reader, workspace(1), true, 9).await.map(drop),
            "leases" => leases::get(&mut reader, workspace(1)).await.map(drop),
            "documents" => documents::find(&mut reader, tenant, "org", "a").await.map(drop),
            "document_versions" => documents::versions(&mut reader, tenant, "org", "a").await.map(drop),
            "sessions" => sessions::get(&mut reader, tenant, session.id).await.map(drop),
            "turns" => turn_log::turns(&mut reader, &session).await.map(drop),
            _ => turn_log::page(&mut reader, &session, 0, 99, usize::MAX).await.map(drop),
        }
    };
    for (table, columns) in [
        ("refs", &["snapshot", "epoch", "sequence", "position"][..]),
        ("history", &["snapshot", "time", "automatic", "message", "author", "session", "turn"]),
        ("leases", &["holder", "epoch", "host", "pid", "mountpoint", "last_seen", "base"]),
        ("documents", &["head", "newest"]),
        ("document_versions", &["base", "size", "digest", "deleted", "side", "time", "author", "tool_call", "request"]),
        ("sessions", &["agent", "epoch", "owner", "last_seen", "last_sequence", "last_chain", "turns", "began_on"]),
        ("events", &["key", "kind", "turn", "tool_call", "time", "epoch", "data", "chain"]),
        ("turns", &["snapshot", "before", "time"]),
    ] {
        read(table).await.unwrap();
        for column in columns {
            let mut transaction = place.database.begin().await.unwrap();
            transaction.vandal(&spoil(table, column)).await.unwrap();
            place.database.commit(transaction).await.unwrap();
            let error = read(table).await.expect_err(&format!("{table}.{column} was changed"));
            assert_eq!(error.kind(), Kind::Corrupt, "{table}.{column}: {error}");
            let mut transaction = place.database.begin().await.unwrap();
            transaction.vandal(&heal(table)).await.unwrap();
            place.database.commit(transaction).await.unwrap();
        }
        read(table).await.unwrap();
    }
}

/// Changes one column of every row and keeps the rows as they were in a second table.
fn spoil(table: &str, column: &str) -> String {
    const BYTES: [&str; 10] =
        ["snapshot", "holder", "base", "digest", "request", "last_chain", "began_on", "chain", "before", "workspace"];
    const TEXT: [&str; 13] = [
        "message",
        "author",
        "session",
        "host",
        "mountpoint",
        "tool_call",
        "agent",
        "owner",
        "key",
        "kind",
        "data",
        "documents",
        "title",
    ];
    let is_version = table == "document_versions" && column == "base";
    let changed = if BYTES.contains(&column) && !is_version {
        let other = if table == "events" { "substr(chain, 2)" } else { "row_hash" };
        other.to_owned()
    } else if TEXT.contains(&column) || (table == "history" && column == "turn") {
        format!("{column} || 'x'")
    } else {
        format!("{column} + 1")
    };
    let kept = format!("DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT * FROM {table}");
    format!("{kept}; UPDATE {table} SET {column} = {changed}")
}

/// Puts them back, in place: other tables refer to them.
fn heal(table: &str) -> String {
    let columns: &[&str] = match table {
        "refs" => &["snapshot", "epoch", "sequence", "position"],
        "history" => &["snapshot", "time", "automatic", "message", "author", "session", "turn"],
        "leases" => &["holder", "epoch", "host", "pid", "mountpoint", "last_seen", "base"],
        "documents" => &["head", "newest"],
        "document_versions" => &["base", "size", "digest", "deleted", "side", "time", "author", "tool_call", "request"],
        "sessions" => &["agent", "epoch", "owner", "last_seen", "last_sequence", "last_chain", "turns", "began_on"],
        "events" => &["key", "kind", "turn", "tool_call", "time", "epoch", "data", "chain"],
        _ => &["snapshot", "before", "time"],
    };
    let key = match table {
        "events" => "sequence",
        "turns" => "number",
        "document_versions" => "version",
        _ => "row_hash",
    };
    let back: Vec<String> = columns
        .iter()
        .map(|name| format!("{name} = (SELECT {name} FROM kept WHERE kept.{key} = {table}.{key})"))
        .collect();
    format!("UPDATE {table} SET {}", back.join(", "))
}

pub(super) async fn a_cut_log_is_found(place: &Place) {
    let tenant = one_workspace(place).await;
    let session = logs::one_session(place, tenant, 5).await;
    let page = async || {
        let mut reader = place.database.read().await.unwrap();
        turn_log::page(&mut reader, &session, 0, 99, usize::MAX).await
    };
    assert_eq!(page().await.unwrap().len(), 5);
    for (cut, back) in [("sequence = 5", "55"), ("sequence = 2", "52")] {
        // Moved away, then back.
        let moved = format!("UPDATE events SET sequence = sequence + 50 WHERE {cut}");
        place.vandal(&moved).await;
        assert_eq!(page().await.unwrap_err().kind(), Kind::Corrupt, "{cut}");
        let mut reader = place.database.read().await.unwrap();
        assert_eq!(turn_log::strangers(&mut reader).await.unwrap(), [session.id.to_hex()]);
        drop(reader);
        place.vandal(&format!("UPDATE events SET sequence = sequence - 50 WHERE sequence = {back}")).await;
    }
    assert_eq!(page().await.unwrap().len(), 5);
}
