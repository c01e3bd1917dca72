//! Databases of every earlier step of the schema, made of a golden repo's: each is brought up to date and has all that it had.

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use crate::manifest::{Manifest, manifest};
use crate::{Golden, assert_sound, publish_later};

/// What takes a database back by one step. Every step has only added, so that nothing else has to be undone.
const UNDO: [&str; 3] = [
    "DROP TABLE document_versions; DROP TABLE documents;",
    "DROP TABLE turns; DROP TABLE events; DROP TABLE sessions;",
    "DROP TABLE checked_packs; DROP TABLE usage; DROP TABLE side_refs;
     ALTER TABLE tenants DROP COLUMN quota_files; ALTER TABLE tenants DROP COLUMN quota_bytes;
     ALTER TABLE tenants DROP COLUMN retention; ALTER TABLE workspaces DROP COLUMN quota_files;
     ALTER TABLE workspaces DROP COLUMN quota_bytes; ALTER TABLE workspaces DROP COLUMN retention;
     ALTER TABLE orphans DROP COLUMN dead; ALTER TABLE packs DROP COLUMN emptied;",
];

async fn connect(golden: &Golden) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite:{}", golden.data().join("esker.db").display())).await.unwrap()
}

/// What the tables look like, in SQLite's own words.
async fn tables(database: &mut SqliteConnection) -> Vec<(String, String)> {
    let sql = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
    let tables: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(database).await.unwrap();
    // A column that is dropped and added again may stand in other spaces.
    let plain = |sql: &str| sql.split_whitespace().collect::<Vec<_>>().join(" ").replace(" ,", ",").replace(" )", ")");
    tables.into_iter().map(|(name, sql)| (name, plain(&sql))).collect()
}

/// What is left of a repo whose database goes back to this many steps.
fn remaining(manifest: &Manifest, steps: usize) -> Manifest {
    let mut manifest = manifest.clone();
    if steps < 4 {
        (manifest.tags, manifest.rules) = Default::default();
    }
    if steps < 3 {
        manifest.sessions.clear();
    }
    if steps < 2 {
        manifest.documents.clear();
    }
    manifest
}

#[tokio::test]
async fn databases_of_every_step_are_brought_up_to_date() {
    for (name, steps) in [("packs-1", 3), ("packs-1", 2), ("packs-1", 1), ("packs-1-encrypted", 1), ("packs-0", 1)] {
        let golden = Golden::unpack(name);
        let mut database = connect(&golden).await;
        let newest = tables(&mut database).await;
        for (index, undo) in UNDO.iter().enumerate().rev().take(4 - steps) {
            sqlx::raw_sql(*undo).execute(&mut database).await.unwrap();
            let version = format!("PRAGMA user_version = {}", index + 1);
            sqlx::raw_sql(AssertSqlSafe(version)).execute(&mut database).await.unwrap();
        }
        assert_ne!(tables(&mut database).await, newest, "it is an old one");
        database.close().await.unwrap();
        let repo = golden.open().await;
        assert_eq!(manifest(&repo).await, remaining(&golden.manifest, steps), "{name} of step {steps}");
        assert_sound(&repo, name).await;
        publish_later(&repo, "first").await;
        let first = repo.workspace("first").await.unwrap();
        repo.add_tag(first.id, "later", first.head).await.unwrap();
        assert_sound(&repo, name).await;
        assert_eq!(tables(&mut connect(&golden).await).await, newest, "{name} of step {steps}");
    }
}
