//! Packs that rot slowly, each turn a part of a file, under gc as it is unless told otherwise: no bucket of half-dead packs.

use bytes::Bytes;

use super::*;
use crate::gc::{GcReport, RetentionRules};

const TURNS: u64 = 200;
const FILES: usize = 24;
const CHUNKS: usize = 10;
const CHUNK_BYTES: usize = 12_000;
/// Between two turns, and the grace period.
const TURN: Duration = Duration::from_secs(600);

async fn percent_of_living(repo: &Repo, report: &GcReport) -> u64 {
    let listed = repo.store().bucket().list("t").await.unwrap();
    let bucket: u64 = listed.iter().map(|object| object.size).sum();
    bucket * 100 / report.reachable_bytes
}

/// Each turn changes a part of a file, which one is chance: all packs rot, none dies at once.
#[tokio::test]
async fn packs_that_rot_slowly_are_copied_in_time() {
    let (repo, clock) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let chunk = |seed: usize| content(seed as u64, CHUNK_BYTES);
    let mut contents: Vec<Vec<Bytes>> =
        (0..FILES).map(|file| (0..CHUNKS).map(|part| chunk(file * CHUNKS + part)).collect()).collect();
    for (file, chunks) in contents.iter().enumerate() {
        mount.write(&format!("f{file}"), chunks, note("first")).await.unwrap();
    }
    let rules = RetentionRules { keep_last: Some(3), ..RetentionRules::default() };
    repo.set_retention(None, Some(rules)).await.unwrap();
    let options = GcOptions { grace: TURN, ..GcOptions::default() };
    let (mut worst, mut copied) = (0, 0);
    let mut at_worst = GcReport::default();
    for turn in 0..TURNS {
        clock.advance(TURN);
        let dice = content(turn + 7, 2);
        let (file, part) = (usize::from(dice[0]) % FILES, usize::from(dice[1]) % CHUNKS);
        contents[file][part] = chunk(1000 + turn as usize);
        mount.write(&format!("f{file}"), &contents[file], note("turn")).await.unwrap();
        let report = repo.gc(options, &silent).await.unwrap();
        copied += report.copied_bytes;
        let percent = percent_of_living(&repo, &report).await;
        if percent > worst {
            (worst, at_worst) = (percent, report);
        }
    }
    println!("at worst {worst} % of what lives, {copied} bytes copied: {at_worst:?}");
    let head = repo.workspace("w").await.unwrap().head;
    for (name, bytes) in files(&repo, head).await.unwrap() {
        let file: usize = name[1..].parse().unwrap();
        assert!(bytes == contents[file].concat(), "{name}");
    }
    assert_sound(&repo).await;
    assert!(copied > 0 && worst < 120, "at worst {worst} %");
}
