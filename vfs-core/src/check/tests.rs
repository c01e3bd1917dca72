//! check: finds each kind of damage, says what it hits, changes nothing.

use crate::id::{ObjectId, ObjectKind, PackId};
use crate::objects::{NewObjects, Objects};
use crate::progress::silent;
use crate::repo::tests::{Mount, content, note, repo};
use crate::repo::{CheckOptions, CheckReport, Repo, Severity};

async fn repo_with_files() -> Repo {
    let (repo, _) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    mount.write("a", &[content(1, 5000), content(2, 5000)], note("one")).await.unwrap();
    mount.write("b", &[content(3, 5000)], note("two")).await.unwrap();
    repo
}

async fn check(repo: &Repo, full: bool) -> CheckReport {
    let before = repo.store().bucket().list("").await.unwrap();
    let report = repo.check(CheckOptions { full }, &silent).await.unwrap();
    assert_eq!(repo.store().bucket().list("").await.unwrap(), before, "check changes nothing");
    report
}

async fn pack_of(repo: &Repo, id: ObjectId) -> PackId {
    repo.store().locate(&[id]).await.unwrap()[&id].pack
}

async fn change_pack(repo: &Repo, pack: PackId, change: impl FnOnce(&mut Vec<u8>)) {
    let name = repo.store().pack_name(pack);
    let mut bytes = repo.store().bucket().get(&name).await.unwrap().to_vec();
    change(&mut bytes);
    repo.store().bucket().delete(&name).await.unwrap();
    repo.store().bucket().create(&name, bytes.into()).await.unwrap();
}

fn chunk(repo: &Repo, seed: u64) -> ObjectId {
    repo.store().key().chunk_id(&content(seed, 5000)).into()
}

#[tokio::test]
async fn a_sound_repo_has_no_damage() {
    let repo = repo_with_files().await;
    let quick = check(&repo, false).await;
    assert_eq!((quick.damages.as_slice(), quick.workspaces, quick.snapshots), (&[][..], 1, 3));
    let full = check(&repo, true).await;
    assert_eq!(full.damages, []);
    assert!(full.verified_objects > quick.verified_objects && full.reachable_objects == quick.reachable_objects);
}

#[tokio::test]
async fn a_changed_byte_of_content_is_found_by_the_full_check_with_its_path() {
    let repo = repo_with_files().await;
    let id = chunk(&repo, 2);
    let location = repo.store().locate(&[id]).await.unwrap()[&id];
    change_pack(&repo, location.pack, |bytes| bytes[location.entry.offset as usize + 1] ^= 1).await;
    assert_eq!(check(&repo, false).await.damages, []);
    let report = check(&repo, true).await;
    let hits: Vec<_> = report.damages.iter().flat_map(|damage| &damage.hits).collect();
    assert!(!hits.is_empty() && hits.iter().all(|hit| hit.starts_with("w@") && hit.ends_with(":/a")), "{report:?}");
    assert_eq!(hits.len(), 2, "both snapshots hold the file: {hits:?}");
}

#[tokio::test]
async fn a_missing_pack_is_found_by_the_quick_check_with_all_paths() {
    let repo = repo_with_files().await;
    let pack = pack_of(&repo, chunk(&repo, 1)).await;
    repo.store().bucket().delete(&repo.store().pack_name(pack)).await.unwrap();
    let report = check(&repo, false).await;
    assert!(report.damages.iter().any(|damage| damage.what.contains("missing in the bucket")), "{report:?}");
    assert!(report.damages.iter().any(|damage| damage.hits.iter().any(|hit| hit.ends_with(":/a"))), "{report:?}");
}

#[tokio::test]
async fn a_pack_cut_short_is_found_by_the_quick_check() {
    let repo = repo_with_files().await;
    let pack = pack_of(&repo, chunk(&repo, 3)).await;
    change_pack(&repo, pack, |bytes| bytes.truncate(bytes.len() - 1)).await;
    let report = check(&repo, false).await;
    assert!(report.damages.iter().any(|damage| damage.hits.iter().any(|hit| hit.ends_with(":/b"))), "{report:?}");
}

#[tokio::test]
async fn a_damaged_tree_is_found_by_the_quick_check() {
    let repo = repo_with_files().await;
    let head = repo.workspace("w").await.unwrap().head;
    let location = repo.store().locate(&[head.into()]).await.unwrap()[&ObjectId::from(head)];
    change_pack(&repo, location.pack, |bytes| bytes[location.entry.offset as usize + 3] ^= 1).await;
    assert!(!check(&repo, false).await.damages.is_empty());
}

#[tokio::test]
async fn an_object_that_left_the_index_is_found() {
    let repo = repo_with_files().await;
    let mut transaction = repo.database().begin().await.unwrap();
    let hash = hex::encode(chunk(&repo, 1).hash);
    transaction.vandal(&format!("DELETE FROM objects WHERE hash = x'{hash}'")).await.unwrap();
    repo.database().commit(transaction).await.unwrap();
    let report = check(&repo, false).await;
    assert!(report.damages[0].what.contains("not in the index") && !report.damages[0].hits.is_empty(), "{report:?}");
}

#[tokio::test]
async fn an_index_that_points_elsewhere_is_found() {
    let repo = repo_with_files().await;
    let batch = repo.batch();
    let unreachable = batch.add(ObjectKind::Chunk, content(50, 5000)).await.unwrap();
    batch.finish().await.unwrap();
    let mut transaction = repo.database().begin().await.unwrap();
    let hash = hex::encode(unreachable.hash);
    transaction.vandal(&format!("UPDATE objects SET offset = offset + 1 WHERE hash = x'{hash}'")).await.unwrap();
    repo.database().commit(transaction).await.unwrap();
    assert_eq!(check(&repo, false).await.damages, [], "nothing reachable is hit");
    assert!(!check(&repo, true).await.damages.is_empty());
}

#[tokio::test]
async fn a_row_that_does_not_match_its_hash_is_found() {
    for statement in ["UPDATE refs SET epoch = epoch + 1", "UPDATE history SET turn = 'x'", "UPDATE leases SET pid = 0"]
    {
        let repo = repo_with_files().await;
        let mut transaction = repo.database().begin().await.unwrap();
        transaction.vandal(statement).await.unwrap();
        repo.database().commit(transaction).await.unwrap();
        let report = check(&repo, false).await;
        assert_eq!(report.damages.len(), 1, "{statement}: {report:?}");
    }
}

async fn share(repo: &Repo, share: crate::repo::Share) -> CheckReport {
    repo.check_share(share, &silent).await.unwrap()
}

#[tokio::test]
async fn an_interrupted_check_goes_on_where_it_was() {
    use crate::repo::Share;
    let repo = repo_with_files().await;
    let all = check(&repo, true).await;
    assert!(all.packs > 2 && all.read_packs == all.packs && all.resumed_packs == 0);
    // Ended: there is nothing to go on with, so everything is read.
    let resume = Share { resume: true, ..Share::default() };
    assert_eq!(share(&repo, resume).await.read_packs, all.packs);
    // As an interruption after two packs leaves it.
    let bad = pack_of(&repo, chunk(&repo, 1)).await;
    change_pack(&repo, bad, |bytes| bytes[30] ^= 1).await;
    let mut transaction = repo.database().begin().await.unwrap();
    crate::db::meta::set(&mut transaction, "full_check_began", &repo.now().as_nanos().to_string()).await.unwrap();
    transaction.vandal("DELETE FROM checked_packs").await.unwrap();
    let mut packs: Vec<_> = crate::gc::list_packs(repo.store()).await.unwrap().into_keys().collect();
    packs.retain(|pack| *pack != bad);
    for (pack, damaged) in [(packs[0], false), (bad, true)] {
        crate::db::checked::put(&mut transaction, pack, repo.now(), damaged).await.unwrap();
    }
    repo.database().commit(transaction).await.unwrap();
    let rest = share(&repo, resume).await;
    assert_eq!((rest.resumed_packs, rest.read_packs), (1, all.packs - 1), "the damaged one is read again");
    assert_eq!(rest.worst(), Some(Severity::Stored));
}

#[tokio::test]
async fn the_parts_make_the_whole_and_old_ones_come_first() {
    use crate::repo::Share;
    let repo = repo_with_files().await;
    let all = check(&repo, true).await.packs;
    let mut read = 0;
    for part in 1..=3 {
        read += share(&repo, Share { part: Some((part, 3)), ..Share::default() }).await.read_packs;
    }
    assert_eq!(read, all);
    let day = Share { older_than: Some(std::time::Duration::from_secs(86_400)), ..Share::default() };
    assert_eq!(share(&repo, day).await.read_packs, 0, "all were read just now");
    let none = Share { part: Some((4, 3)), ..Share::default() };
    assert_eq!(repo.check_share(none, &silent).await.unwrap_err().kind(), crate::Kind::Invalid);
}

#[tokio::test]
async fn damage_that_hits_nothing_is_called_so() {
    let repo = repo_with_files().await;
    let batch = repo.batch();
    let unreachable = batch.add(ObjectKind::Chunk, content(50, 5000)).await.unwrap();
    batch.finish().await.unwrap();
    let pack = pack_of(&repo, unreachable).await;
    change_pack(&repo, pack, |bytes| bytes[40] ^= 1).await;
    let report = check(&repo, true).await;
    assert_eq!(report.worst(), Some(Severity::Nothing), "{report:?}");
    let mut transaction = repo.database().begin().await.unwrap();
    transaction.vandal("UPDATE objects SET pack = 4711 WHERE pack = (SELECT MAX(id) FROM packs)").await.unwrap();
    repo.database().commit(transaction).await.unwrap();
    let report = check(&repo, false).await;
    assert_eq!(report.damages.len(), 1, "{report:?}");
    assert_eq!(report.worst(), Some(Severity::Nothing), "a row without a pack");
}

#[tokio::test]
async fn a_pack_without_rows_is_named_until_gc_knows_it() {
    let repo = repo_with_files().await;
    let name = repo.store().pack_name(PackId::from_bytes([7; 32]));
    repo.store().bucket().create(&name, bytes::Bytes::from_static(b"left over")).await.unwrap();
    let report = check(&repo, false).await;
    assert_eq!((report.worst(), report.damages.len()), (Some(Severity::Nothing), 1), "{report:?}");
    let options = crate::repo::GcOptions { grace: std::time::Duration::from_secs(3600), ..Default::default() };
    repo.gc(options, &silent).await.unwrap();
    let report = check(&repo, false).await;
    assert_eq!((report.damages.len(), report.waiting_orphans), (0, 1), "{report:?}");
}

#[tokio::test]
async fn a_changed_byte_of_the_ref_log_is_found() {
    let repo = repo_with_files().await;
    let folder = format!("t/{}/reflog", repo.tenant());
    let name = repo.store().bucket().list(&folder).await.unwrap().pop().unwrap().name;
    let whole = repo.store().bucket().get(&name).await.unwrap();
    for position in 0..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[position] ^= 1 << (position % 7);
        repo.store().bucket().delete(&name).await.unwrap();
        repo.store().bucket().create(&name, bytes.into()).await.unwrap();
        let log = crate::rebuild::log::read(repo.store().bucket(), repo.store().keys(), None).await.unwrap();
        assert_eq!(log.damaged.len(), 1, "byte {position} of {whole:?}");
    }
    let report = check(&repo, true).await;
    assert_eq!((report.worst(), report.damages.len()), (Some(Severity::Nothing), 1), "{report:?}");
}

#[tokio::test]
async fn a_damaged_entry_of_the_ref_log_hides_no_missing_one() {
    let repo = repo_with_files().await;
    let folder = format!("t/{}/reflog", repo.tenant());
    let names = repo.store().bucket().list(&folder).await.unwrap();
    repo.store().bucket().delete(&names[0].name).await.unwrap();
    let strange = format!("{folder}/{}/{:016x}-{:016x}-deleted", crate::id::WorkspaceId::from_bytes([9; 16]), 1, 1);
    repo.store().bucket().create(&strange, bytes::Bytes::from_static(b"of a workspace that is gone")).await.unwrap();
    let report = check(&repo, true).await;
    let found: Vec<&str> = report.damages.iter().map(|damage| damage.what.as_str()).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().any(|what| what.contains("lacks the move")), "{found:?}");
}
