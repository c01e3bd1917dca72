//! Two hundred turns with gc all the while: the bucket stays close to what is needed.

use super::*;
use crate::gc::{Surroundings, gc};
use crate::repo::RetentionRules;
use crate::testing::Random;

const TURNS: u64 = 200;
const FILES: u64 = 48;
const FILE_BYTES: u64 = 12_000;
/// Small packs, so that a small repository has many.
const PACK_BYTES: u64 = 64 * 1024;
/// A fresh repository is hardly larger than what one turn leaves behind.
const SETTLED_AFTER: u64 = 12;
const GC: GcOptions = GcOptions { repack_below_percent: 88, ..DELETE_NOW };
const DRY: GcOptions = GcOptions { dry_run: true, ..DELETE_NOW };

/// All files in one publish, so that they share packs.
async fn import(mount: &mut Mount) {
    mount.position = 1;
    mount.repo.begin(&mount.lease, mount.base, 1).await.unwrap();
    let chunks = (0..FILES).map(|number| content(number, FILE_BYTES as usize)).collect();
    let refs = mount.repo.put_chunks(&mount.lease, 1, chunks).await.unwrap();
    for (number, chunk) in refs.iter().enumerate() {
        let changes = mount.change(&format!("f{number:02}"), &[*chunk]).await;
        mount.repo.put_changes(&mount.lease, 1, changes).await.unwrap();
    }
    mount.commit(note("import")).await.unwrap();
}

#[tokio::test]
async fn two_hundred_turns_keep_the_bucket_below_a_fifth_more_than_is_needed() {
    let (repo, clock) = repo().await;
    let mut random = Random::new(4);
    let mut mount = Mount::new(&repo, "w").await;
    import(&mut mount).await;
    let rules = RetentionRules { keep_last: Some(6), keep_hourly: Some(4), ..RetentionRules::default() };
    repo.set_retention(None, Some(rules)).await.unwrap();
    let (mut worst, mut removed, mut copied) = (0.0f64, 0, 0);
    for turn in 0..TURNS {
        clock.advance(HOUR / 10);
        for _ in 0..=random.below(2) {
            let name = format!("f{:02}", random.below(FILES));
            let bytes = content(1000 + random.next() % 1_000_000, (FILE_BYTES + random.below(4000)) as usize);
            mount.write(&name, &[bytes], note(&format!("turn {turn}"))).await.unwrap();
        }
        let surroundings = Surroundings { pack_target: Some(PACK_BYTES), ..Surroundings::default() };
        let report = gc(repo.store(), GC, surroundings, &silent).await.unwrap();
        removed += report.removed_rows.iter().map(|removed| removed.rows).sum::<u64>();
        copied += report.copied_bytes;
        if turn >= SETTLED_AFTER {
            let needed = repo.gc(DRY, &silent).await.unwrap().reachable_bytes;
            let bucket: u64 = repo.store().bucket().list("").await.unwrap().iter().map(|object| object.size).sum();
            worst = worst.max(bucket as f64 / needed as f64);
        }
    }
    println!("worst {worst:.3}; {removed} snapshots removed, {copied} bytes copied");
    assert!(removed > TURNS / 2 && copied > 0, "{removed} snapshots removed, {copied} bytes copied");
    assert!(worst < 1.2, "the bucket had {worst:.3} times what was needed");
    assert_eq!(files(&repo, mount.base).await.unwrap().len(), FILES as usize);
    assert_sound(&repo).await;
}
