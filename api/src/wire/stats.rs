//! What is counted: how much there is, and what it took.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use vfs_core::repo::Statistics;

use super::job::GcReport;
use super::name::Time;

/// How much a repo holds, what that takes, and how the engine that answers does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// When the sums were made; the counters of requests and caches are of this moment.
    pub time: Time,
    /// What the heads of all workspaces show.
    pub heads: Logical,
    /// What all kept snapshots show; missing if they are too many to add up.
    pub kept: Option<Logical>,
    /// Objects, each once, by kind.
    pub objects: Vec<ObjectStats>,
    /// Canonical bytes of all objects, each once.
    pub unique_bytes: u64,
    /// The same as stored.
    pub stored_bytes: u64,
    /// Logical bytes of all kept snapshots (of the heads, if `kept` is missing) to unique bytes.
    pub dedup_ratio: Option<f64>,
    /// Unique bytes to stored bytes.
    pub compression_ratio: Option<f64>,
    /// Packs.
    pub packs: u64,
    /// Their bytes, with what nothing reaches any more.
    pub pack_bytes: u64,
    /// Packs that wait for their end.
    pub condemned_packs: u64,
    /// Requests to the bucket since this engine started.
    pub requests: Requests,
    /// This engine's cache of trees in memory.
    pub memory_cache: MemoryCache,
    /// This engine's cache on disk; missing where the bucket is local.
    pub disk_cache: Option<DiskCache>,
    /// Spans of packs that were read ahead.
    pub spans_read_ahead: u64,
    /// What gc did last; missing if it never ran.
    pub last_gc: Option<LastGc>,
}

/// What snapshots show, each counted whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = LogicalStats)]
pub struct Logical {
    /// Snapshots added up.
    pub snapshots: u64,
    /// Names of files and directories in them.
    pub entries: u64,
    /// Bytes of their files; holes count.
    pub bytes: u64,
}

/// Objects of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ObjectStats {
    /// `chunk`, `blob`, `tree` or `snapshot`.
    pub kind: String,
    /// How many.
    pub objects: u64,
    /// Their canonical bytes.
    pub unique_bytes: u64,
    /// The same as stored.
    pub stored_bytes: u64,
}

/// Requests to the bucket; each try counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = BucketRequests)]
pub struct Requests {
    /// Whole objects read.
    pub get: u64,
    /// Parts of objects read.
    pub range: u64,
    /// Lists.
    pub list: u64,
    /// Objects made.
    pub create: u64,
    /// Parts of objects sent.
    pub part: u64,
    /// Objects deleted.
    pub delete: u64,
    /// Of all these, tries after the first.
    pub retries: u64,
    /// Bytes of objects read.
    pub bytes_in: u64,
    /// Bytes of objects written.
    pub bytes_out: u64,
}

/// The cache of trees in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemoryCache {
    /// Objects found.
    pub hits: u64,
    /// Objects not found.
    pub misses: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Bytes that may be held.
    pub limit_bytes: u64,
    /// Objects held.
    pub objects: u64,
}

/// The cache on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiskCache {
    /// Objects found, and right.
    pub hits: u64,
    /// Objects that had to be fetched.
    pub misses: u64,
    /// Stored bytes of the objects found.
    pub hit_bytes: u64,
    /// Objects that were there with wrong bytes; they were fetched anew.
    pub wrong: u64,
    /// Room taken on the disk.
    pub bytes: u64,
    /// Room that may be taken.
    pub limit_bytes: u64,
    /// Packs of which something is there.
    pub packs: u64,
    /// The disk was full or the folder gone: nothing is kept any more.
    pub stopped: bool,
}

/// What gc did last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastGc {
    /// When it ended.
    pub time: Time,
    /// What it reported.
    pub report: GcReport,
}

impl From<Statistics> for Stats {
    fn from(statistics: Statistics) -> Self {
        let (dedup_ratio, compression_ratio) = (statistics.dedup_ratio(), statistics.compression_ratio());
        let last_gc = statistics.last_gc.map(|last| LastGc { time: last.time.into(), report: last.report.into() });
        Stats {
            time: statistics.time.into(),
            heads: statistics.heads.into(),
            kept: statistics.kept.map(Logical::from),
            objects: statistics.objects.into_iter().map(ObjectStats::from).collect(),
            unique_bytes: statistics.unique_bytes,
            stored_bytes: statistics.stored_bytes,
            dedup_ratio,
            compression_ratio,
            packs: statistics.packs,
            pack_bytes: statistics.pack_bytes,
            condemned_packs: statistics.condemned_packs,
            requests: statistics.requests.into(),
            memory_cache: statistics.caches.memory.into(),
            disk_cache: statistics.caches.disk.map(DiskCache::from),
            spans_read_ahead: statistics.caches.spans_read_ahead,
            last_gc,
        }
    }
}

/// The same fields under the same names.
macro_rules! same {
    ($from:path => $to:ident { $($field:ident),* $(,)? }) => {
        impl From<$from> for $to {
            fn from(value: $from) -> Self {
                $to { $($field: value.$field),* }
            }
        }
    };
}

same!(vfs_core::repo::Logical => Logical { snapshots, entries, bytes });
same!(vfs_core::repo::ObjectStatistics => ObjectStats { kind, objects, unique_bytes, stored_bytes });
same!(vfs_core::bucket::Requests => Requests {
    get, range, list, create, part, delete, retries, bytes_in, bytes_out
});
same!(vfs_core::store::MemoryCacheStatistics => MemoryCache { hits, misses, bytes, limit_bytes, objects });
same!(vfs_core::store::DiskCacheStatistics => DiskCache {
    hits, misses, hit_bytes, wrong, bytes, limit_bytes, packs, stopped
});
