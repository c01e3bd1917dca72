//! A gc beside a repair: what repair has copied out of a damaged pack while gc slept is as alive as it was before.

use super::*;
use crate::gc::Surroundings;
use crate::gc::collector::{Collector, Phase};
use crate::repair::tests::{overwrite, packs, readable, world};
use crate::repair::{RepairOptions, repair};

/// Flips the last bit of every pack: its index is damaged, its objects are not, so repair copies them out.
async fn damage_all_indexes(repo: &Repo) {
    for pack in packs(repo).await {
        let name = repo.store().pack_name(pack);
        let mut bytes = repo.store().bucket().get(&name).await.unwrap().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        overwrite(repo, &name, Some(bytes)).await;
    }
}

#[tokio::test]
async fn what_repair_copies_while_gc_sleeps_stays() {
    for phase in [Phase::Mark, Phase::Weigh, Phase::Decide, Phase::Delete, Phase::Judge, Phase::Choose] {
        let repo = world().await;
        let whole = readable(&repo).await;
        damage_all_indexes(&repo).await;
        let mut sleeper = Collector::new(repo.store().clone(), DELETE_NOW, Surroundings::default());
        while sleeper.phase != phase {
            sleeper.step(&silent).await.unwrap();
        }
        let other = repo.beside().await;
        let report = repair(&other, &RepairOptions::default(), &silent).await.unwrap();
        assert!(report.copied_objects > 10 && report.lost.is_empty(), "{report:?}");
        // It may give up, but not take anything away.
        while !sleeper.step(&silent).await.unwrap_or(true) {}
        assert_eq!(readable(&repo).await, whole, "repaired before {phase:?}");
        assert_sound(&repo).await;
    }
}
