//! How much there is, and what it took.

use std::collections::HashSet;
use std::time::Duration;

use super::{GcReport, Repo};
use crate::bucket::Requests;
use crate::clock::Time;
use crate::db::meta;
use crate::error::{Error, Kind, Result};
use crate::id::SnapshotId;
use crate::limits::{LOOKUP_MAX, STATISTICS_SNAPSHOTS_MAX};
use crate::object::{Body, Snapshot};
use crate::objects::Objects;
use crate::reach::Roots;
use crate::store::CacheStatistics;

/// Setting of the database: what gc did last.
const LAST_GC: &str = "last_gc";

/// Everything that is counted.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Statistics {
    /// When the sums were made.
    pub time: Time,
    /// What the heads of all workspaces show.
    pub heads: Logical,
    /// What all snapshots show that are kept: heads, histories, bases of leases. `None` if they are too many to add up.
    pub kept: Option<Logical>,
    /// Objects, each once, by kind.
    pub objects: Vec<ObjectStatistics>,
    /// Canonical bytes of all objects, each once.
    pub unique_bytes: u64,
    /// The same as stored: compressed where that pays.
    pub stored_bytes: u64,
    /// Packs.
    pub packs: u64,
    /// Their bytes, with what nothing reaches any more.
    pub pack_bytes: u64,
    /// Packs that wait for their end.
    pub condemned_packs: u64,
    /// Requests to the bucket since this engine opened it.
    pub requests: Requests,
    /// The caches of this engine.
    pub caches: CacheStatistics,
    /// What gc did last, if it ever ran.
    pub last_gc: Option<LastGc>,
}

/// What snapshots show, each counted whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Logical {
    /// Snapshots added up; several heads may be the same.
    pub snapshots: u64,
    /// Names of files and directories in them.
    pub entries: u64,
    /// Bytes of their files; holes count.
    pub bytes: u64,
}

/// Objects of one kind.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ObjectStatistics {
    /// `chunk`, `blob`, `tree` or `snapshot`.
    pub kind: String,
    /// How many.
    pub objects: u64,
    /// Their canonical bytes.
    pub unique_bytes: u64,
    /// The same as stored.
    pub stored_bytes: u64,
}

/// What gc did last.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LastGc {
    /// When it ended.
    pub time: Time,
    /// What it reported.
    pub report: GcReport,
}

impl Statistics {
    /// Logical bytes of all kept snapshots (of the heads, where those are too many) to the unique bytes that they are
    /// made of. `None` if nothing is stored.
    pub fn dedup_ratio(&self) -> Option<f64> {
        ratio(self.kept.unwrap_or(self.heads).bytes, self.unique_bytes)
    }

    /// Unique bytes to stored bytes. `None` if nothing is stored.
    pub fn compression_ratio(&self) -> Option<f64> {
        ratio(self.unique_bytes, self.stored_bytes)
    }
}

fn ratio(over: u64, under: u64) -> Option<f64> {
    (under > 0).then(|| over as f64 / under as f64)
}

impl Repo {
    pub(super) async fn add_up(&self, age: Duration) -> Result<Statistics> {
        // One at a time: the others find what it made.
        let mut recent = self.inner.statistics.lock().await;
        let now = self.now();
        let young = |statistics: &&Statistics| {
            let nanos = now.as_nanos() - statistics.time.as_nanos();
            (0..=age.as_nanos() as i128).contains(&nanos) && !age.is_zero()
        };
        let mut statistics = match recent.as_ref().filter(young) {
            Some(statistics) => statistics.clone(),
            None => self.sums(now).await?,
        };
        statistics.requests = self.store().bucket().requests();
        statistics.caches = self.store().cache_statistics();
        *recent = Some(statistics.clone());
        Ok(statistics)
    }

    async fn sums(&self, now: Time) -> Result<Statistics> {
        let heads: Vec<SnapshotId> =
            self.list_workspaces().await?.into_iter().map(|workspace| workspace.head).collect();
        let mut connection = self.database().read().await?;
        let kept: Vec<SnapshotId> = Roots::read(&mut connection, self.inner.tenant_number, &HashSet::new())
            .await?
            .snapshots
            .into_iter()
            .collect();
        let last_gc = meta::get(&mut connection, LAST_GC).await?;
        drop(connection);
        let index = self.store().index_totals().await?;
        let kept = match kept.len() <= STATISTICS_SNAPSHOTS_MAX {
            true => Some(self.logical(&kept).await?),
            false => None,
        };
        let objects: Vec<ObjectStatistics> = index
            .kinds
            .iter()
            .map(|totals| ObjectStatistics {
                kind: totals.kind.as_str().to_owned(),
                objects: totals.objects,
                unique_bytes: totals.plain_bytes,
                stored_bytes: totals.stored_bytes,
            })
            .collect();
        Ok(Statistics {
            time: now,
            heads: self.logical(&heads).await?,
            kept,
            unique_bytes: objects.iter().map(|kind| kind.unique_bytes).sum(),
            stored_bytes: objects.iter().map(|kind| kind.stored_bytes).sum(),
            objects,
            packs: index.packs,
            pack_bytes: index.pack_bytes,
            condemned_packs: index.condemned_packs,
            requests: Requests::default(),
            caches: CacheStatistics::default(),
            // Another version may have had other things to report.
            last_gc: last_gc.and_then(|text| serde_json::from_str(&text).ok()),
        })
    }

    /// Adds up snapshots; one that is there several times counts as often.
    async fn logical(&self, snapshots: &[SnapshotId]) -> Result<Logical> {
        let mut sum = Logical::default();
        for part in snapshots.chunks(LOOKUP_MAX) {
            let ids: Vec<_> = part.iter().map(|&id| id.into()).collect();
            for bytes in self.store().read_many(&ids).await? {
                let snapshot = Snapshot::decode(&bytes)?;
                sum.snapshots += 1;
                if let Body::Directory(root) = &snapshot.root.body {
                    sum.entries = sum.entries.saturating_add(root.totals.nodes);
                    sum.bytes = sum.bytes.saturating_add(root.totals.bytes);
                }
                sum.bytes = sum.bytes.saturating_add(snapshot.links.map_or(0, |links| links.totals.bytes));
            }
        }
        Ok(sum)
    }

    pub(super) async fn remember_gc(&self, report: &GcReport) -> Result<()> {
        let last = LastGc { time: self.now(), report: report.clone() };
        let text = serde_json::to_string(&last)
            .map_err(|error| Error::new(Kind::Internal, "gc's report could not be remembered").because(error))?;
        let mut transaction = self.database().begin().await?;
        meta::set(&mut transaction, LAST_GC, &text).await?;
        self.database().commit(transaction).await
    }
}
