//! How much the store holds, and how its caches do.

use super::{DiskCacheStatistics, Store};
use crate::db::{KindTotals, packs};
use crate::error::Result;
use crate::limits::OBJECT_CACHE_BYTES;

/// Sums over the index of one tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IndexTotals {
    pub(crate) kinds: Vec<KindTotals>,
    pub(crate) packs: u64,
    pub(crate) pack_bytes: u64,
    pub(crate) condemned_packs: u64,
}

/// The cache of trees, blobs and snapshots in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MemoryCacheStatistics {
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

/// How the caches of this engine do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CacheStatistics {
    /// In memory.
    pub memory: MemoryCacheStatistics,
    /// On the disk, where there is such a cache.
    pub disk: Option<DiskCacheStatistics>,
    /// Spans read ahead.
    pub spans_read_ahead: u64,
}

impl Store {
    /// Sums over the index: reads all of it.
    pub(crate) async fn index_totals(&self) -> Result<IndexTotals> {
        let mut connection = self.database().read().await?;
        let kinds = packs::totals(&mut connection, self.tenant_number()).await?;
        let rows = packs::all(&mut connection, self.tenant_number()).await?;
        Ok(IndexTotals {
            kinds,
            packs: rows.len() as u64,
            pack_bytes: rows.iter().map(|row| row.size).sum(),
            condemned_packs: rows.iter().filter(|row| row.condemned.is_some()).count() as u64,
        })
    }

    /// How the caches do.
    pub fn cache_statistics(&self) -> CacheStatistics {
        let cache = self.inner.cache.lock();
        let memory = MemoryCacheStatistics {
            hits: cache.hits,
            misses: cache.misses,
            bytes: cache.bytes() as u64,
            limit_bytes: OBJECT_CACHE_BYTES as u64,
            objects: cache.objects() as u64,
        };
        drop(cache);
        CacheStatistics {
            memory,
            disk: self.inner.reads.cache.get().map(|cache| cache.statistics()),
            spans_read_ahead: self.inner.reads.ahead.spans.get(),
        }
    }
}
