//! What repair must never do: delete bytes, give an epoch out twice, undo a publish, lose an older state.

use super::*;
use crate::pack::{PackClass, Stored};

/// Everything in the bucket.
async fn bucket(repo: &Repo) -> BTreeMap<String, Bytes> {
    let bucket = repo.store().bucket();
    let mut found = BTreeMap::new();
    for object in bucket.list("").await.unwrap() {
        found.insert(object.name.clone(), bucket.get(&object.name).await.unwrap());
    }
    found
}

async fn flip(repo: &Repo, id: ObjectId) {
    let location = repo.store().locate(&[id]).await.unwrap()[&id];
    let name = repo.store().pack_name(location.pack);
    let mut bytes = repo.store().bucket().get(&name).await.unwrap().to_vec();
    bytes[location.entry.offset as usize] ^= 1;
    overwrite(repo, &name, Some(bytes)).await;
}

#[tokio::test]
async fn no_bytes_of_the_bucket_are_deleted() {
    let repo = world().await;
    // A pack that nobody needs: its one object is in the index elsewhere.
    let mut writer = repo.store().new_pack(PackClass::Contents).unwrap();
    let known = content(1, 5_000);
    writer.push(repo.store().key().chunk_id(&known).into(), &Stored::new(&known).unwrap()).unwrap();
    let (idle, bytes) = writer.finish().unwrap();
    repo.store().bucket().create(&repo.store().pack_name(idle.id), bytes).await.unwrap();
    // One whose index is damaged, and one that has lost an object.
    flip(&repo, repo.store().key().chunk_id(&content(2, 6_000)).into()).await;
    let trees = repo.workspace("fork").await.unwrap().head;
    let trees = repo.store().pack_name(repo.store().locate(&[trees.into()]).await.unwrap()[&trees.into()].pack);
    let mut bytes = repo.store().bucket().get(&trees).await.unwrap().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    overwrite(&repo, &trees, Some(bytes)).await;
    let before = bucket(&repo).await;
    let report = mend(&repo).await;
    assert!(report.copied_objects > 0 && report.abandoned_packs >= 3 && !report.heads.is_empty(), "{report:?}");
    let after = bucket(&repo).await;
    let changed: Vec<_> = before.iter().filter(|(name, bytes)| after.get(*name) != Some(*bytes)).collect();
    assert!(changed.is_empty(), "{:?}", changed.iter().map(|(name, _)| name).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_head_whose_root_is_lost_becomes_what_was_there_before() {
    let repo = world().await;
    let info = repo.workspace("w").await.unwrap();
    let rows = repo.history(info.id, true, 10).await.unwrap();
    let Body::Directory(root) = repo.snapshot(info.head).await.unwrap().root.body else { panic!("it is a directory") };
    flip(&repo, root.tree.into()).await;
    repo.store().forget_cached();
    let before = readable(&repo).await;
    mend(&repo).await;
    let now = repo.history(info.id, true, 10).await.unwrap();
    assert_eq!(now.len(), rows.len() + 1);
    let after = readable(&repo).await;
    let files_of = |row: &crate::repo::HistoryRow| {
        let at = format!("w#{}:", row.sequence);
        let below = after.iter().filter_map(|(path, hash)| Some((path.strip_prefix(&at)?, hash)));
        below.collect::<BTreeMap<_, _>>()
    };
    assert!(files_of(&rows[1]).len() > 100);
    assert_eq!(files_of(&now[0]), files_of(&rows[1]), "the state before");
    repaired(&repo, &before, "a lost root").await;
}

#[tokio::test]
async fn no_epoch_is_given_out_twice_however_often_it_is_repaired() {
    let repo = world().await;
    let mut highest = 0;
    for _ in 0..3 {
        sql(&repo, "UPDATE refs SET snapshot = zeroblob(32)").await;
        assert!(!mend(&repo).await.is_idle());
        for _ in 0..3 {
            let mount = Mount::new(&repo, "w").await;
            assert!(mount.lease.epoch > highest, "{} after {highest}", mount.lease.epoch);
            highest = mount.lease.epoch;
            repo.detach(&mount.lease).await.unwrap();
        }
    }
}

/// Makes a head that holds nothing but one file.
async fn publish_alone(repo: &Repo) {
    loop {
        let info = repo.workspace("w").await.unwrap();
        let source = tempfile::tempdir().unwrap();
        std::fs::write(source.path().join("later"), content(7, 2_000)).unwrap();
        let batch = repo.batch();
        let made = import(&batch, &Inos(repo), source.path(), None, &ImportOptions::default(), &silent).await.unwrap();
        match repo.move_head(info.id, info.head, batch, made.root, made.links, note("later")).await {
            Ok(_) => return,
            Err(error) => assert_eq!(error.kind(), Kind::Conflict),
        }
    }
}

/// Polls so many times, then hands the rest of the work on.
async fn poll_some<F: Future>(mut work: Pin<Box<F>>, polls: usize) -> std::result::Result<F::Output, Pin<Box<F>>> {
    for _ in 0..polls {
        if let Some(output) = Stopped(Box::pin(work.as_mut()), 1).await {
            return Ok(output);
        }
        tokio::time::sleep(std::time::Duration::from_micros(300)).await;
    }
    Err(work)
}

#[tokio::test]
async fn a_publish_beside_a_repair_is_not_undone() {
    let (mut between, mut conflicts) = (0, 0);
    for polls in (0..).step_by(35) {
        let place = tempfile::tempdir().unwrap();
        let clock = std::sync::Arc::new(crate::clock::SystemClock);
        let data = place.path().join("data");
        let options = crate::repo::RepoOptions { data, bucket: None, database: None, key: None, clock };
        let repo = Repo::open(options).await.unwrap();
        fill(&repo).await;
        flip(&repo, repo.store().key().chunk_id(&content(2, 6_000)).into()).await;
        repo.store().forget_cached();
        let options = RepairOptions::default();
        let result = match poll_some(Box::pin(repair(&repo, &options, &silent)), polls).await {
            Ok(result) => {
                result.unwrap();
                break;
            }
            Err(rest) => futures::join!(rest, publish_alone(&repo)).0,
        };
        between += 1;
        if let Err(error) = result {
            assert_eq!(error.kind(), Kind::Conflict, "{}", error.chain());
            conflicts += 1;
        }
        mend(&repo).await;
        let newest = repo.history(repo.workspace("w").await.unwrap().id, true, 1).await.unwrap()[0].sequence;
        let found = readable(&repo).await;
        assert!(found.contains_key(&format!("w#{newest}:/later")), "undone, begun after {polls} polls");
        assert_eq!(full(&repo).await.damages, []);
    }
    assert!(between > 2, "{between} publishes came in between, {conflicts} stopped the repair");
}
