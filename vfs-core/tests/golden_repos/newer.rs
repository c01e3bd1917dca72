//! What a newer Esker wrote is refused with words that say so, and not one byte of it changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{Connection, SqliteConnection};
use vfs_core::progress::silent;
use vfs_core::rebuild::rebuild;
use vfs_core::repo::{CheckOptions, Repo};
use vfs_core::{Error, Kind};

use crate::{Golden, files};

/// Every file below a folder with the hash of its bytes. One that goes in between is gone.
fn hashes(folder: &Path) -> BTreeMap<PathBuf, blake3::Hash> {
    let read = |path: PathBuf| fs::read(&path).ok().map(|bytes| (path, blake3::hash(&bytes)));
    files(folder).into_iter().filter_map(read).collect()
}

/// The folder is what it was. SQLite's helpers beside a database go when its last connection is closed, a moment after it is let go.
async fn assert_untouched(golden: &Golden, before: &BTreeMap<PathBuf, blake3::Hash>) {
    for _ in 0..3000 {
        if hashes(&golden.data()) == *before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let after = hashes(&golden.data());
    let changed: Vec<_> = after.iter().filter(|(path, hash)| before.get(*path) != Some(*hash)).collect();
    panic!("{}: {changed:?} changed", golden.name);
}

async fn refused(golden: &Golden) -> Error {
    let error = Repo::open(golden.options()).await.err().expect("a newer repo was opened");
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    assert!(error.context().contains("newer Esker"), "{error}");
    error
}

#[tokio::test]
async fn a_newer_data_folder_is_refused_untouched() {
    for golden in Golden::all() {
        fs::write(golden.data().join("format"), "esker 1\n").unwrap();
        let before = hashes(&golden.data());
        assert!(refused(&golden).await.context().contains("esker 1"));
        assert_untouched(&golden, &before).await;
    }
}

#[tokio::test]
async fn a_newer_database_is_refused_untouched() {
    for golden in Golden::all() {
        let path = format!("sqlite:{}", golden.data().join("esker.db").display());
        let mut database = SqliteConnection::connect(&path).await.unwrap();
        sqlx::raw_sql("PRAGMA user_version = 5; CREATE TABLE later (x TEXT)").execute(&mut database).await.unwrap();
        database.close().await.unwrap();
        let before = hashes(&golden.data());
        assert!(refused(&golden).await.context().contains("schema version 5"));
        assert_untouched(&golden, &before).await;
    }
}

#[tokio::test]
async fn a_newer_config_is_refused_untouched() {
    for golden in Golden::all() {
        let path = golden.data().join("bucket/config.json");
        let text = fs::read_to_string(&path).unwrap();
        let newer = text.replace("\"format\": 0", "\"format\": 2").replace("\"format\": 1", "\"format\": 2");
        assert_ne!(newer, text);
        // A newer one may look quite different.
        for newer in [newer.as_str(), r#"{"format": 2, "something": ["else"]}"#] {
            fs::write(&path, newer).unwrap();
            let before = hashes(&golden.data());
            assert!(refused(&golden).await.context().contains("format 2"));
            let data = golden.place.path().join("rebuilt");
            let error = rebuild(&golden.rebuild_options(&data), &silent).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unsupported, "{error}");
            assert_untouched(&golden, &before).await;
        }
    }
}

/// A config is written once: newer packs lie in buckets whose config is old. Who has the bucket alone must see what they are, or
/// the newest snapshots would be lost and their packs taken for garbage.
#[tokio::test]
async fn a_bucket_with_a_newer_pack_is_not_rebuilt() {
    for golden in Golden::all() {
        let pack = files(&golden.data()).into_iter().find(|path| path.to_string_lossy().contains("/packs/")).unwrap();
        let mut bytes = fs::read(&pack).unwrap();
        assert_eq!(&bytes[..7], b"ESKPACK");
        bytes[7] = 2;
        *bytes.last_mut().unwrap() = b'2';
        fs::write(&pack, &bytes).unwrap();
        assert_not_rebuilt(&golden).await;
        let check = golden.open().await.check(CheckOptions { full: true }, &silent).await.unwrap();
        assert!(check.damages.iter().any(|damage| damage.what.contains("newer Esker")), "{:?}", check.damages);
        // With the end of ours, only a byte has changed: that does not stop a rebuild.
        *bytes.last_mut().unwrap() = b'1';
        fs::write(&pack, &bytes).unwrap();
        let data = golden.place.path().join("rebuilt");
        let report = rebuild(&golden.rebuild_options(&data), &silent).await.unwrap();
        assert_eq!(report.unreadable_packs.len(), 1, "{}: {report:?}", golden.name);
    }
}

#[tokio::test]
async fn a_bucket_with_a_newer_move_is_not_rebuilt() {
    for golden in Golden::all() {
        let entry = files(&golden.data()).into_iter().find(|path| path.to_string_lossy().contains("/reflog/")).unwrap();
        let bytes = fs::read(&entry).unwrap();
        let newer = match golden.key {
            None => br#"{"format":1,"something":"else"}"#.to_vec(),
            // What it is sealed with would not open.
            Some(_) => [b"ESKSEAL\x02", &bytes[9..]].concat(),
        };
        fs::write(&entry, newer).unwrap();
        assert_not_rebuilt(&golden).await;
        // One changed byte is not a newer format.
        let changed = match golden.key {
            None => String::from_utf8(bytes).unwrap().replace("\"format\":0", "\"format\":1").into_bytes(),
            Some(_) => [b"ESKSEAL\x02", &bytes[8..]].concat(),
        };
        fs::write(&entry, changed).unwrap();
        if golden.name == "packs-0" {
            // Its entries have no digest by which a change shows.
            continue;
        }
        let data = golden.place.path().join("rebuilt");
        let report = rebuild(&golden.rebuild_options(&data), &silent).await.unwrap();
        assert_eq!(report.unreadable_moves.len(), 1, "{}: {report:?}", golden.name);
    }
}

/// A rebuild is refused, and neither the bucket nor the database that it has knows that somebody tried.
async fn assert_not_rebuilt(golden: &Golden) {
    let before = hashes(&golden.data());
    let data = golden.place.path().join("refused");
    let error = rebuild(&golden.rebuild_options(&data), &silent).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{}: {error}", golden.name);
    assert!(error.context().contains("newer"), "{error}");
    assert_untouched(golden, &before).await;
    assert_eq!(files(&data).iter().filter(|path| !path.ends_with("format")).count(), 0, "nothing is left");
    golden.open().await;
}
