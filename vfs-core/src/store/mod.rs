//! Objects in packs: reads by index, adds in batches.
//!
//! Every object that leaves this module was hashed again. Two guards keep gc away from what is being written: packs
//! that an open [`Batch`] counts on are pinned, and nothing is deleted while a pack is between bucket and index. Both
//! only save work: what decides is that a publish revives the packs it counts on in its own transaction.

mod ahead;
mod batch;
pub(crate) mod bundles;
mod cache;
mod disk_cache;
mod pins;
mod read;
mod statistics;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::RwLock;

pub use batch::Batch;
pub use disk_cache::DiskCacheStatistics;
pub(crate) use pins::{Pinned, Pins};
pub use statistics::{CacheStatistics, MemoryCacheStatistics};

use crate::bucket::Bucket;
use crate::chance::Chance;
use crate::clock::{Clock, Time};
use crate::db::{Database, Location, packs};
use crate::error::{Error, Kind, Result};
use crate::id::{IdKey, ObjectId, ObjectKind, PackId, TenantId};
use crate::keys::TenantKeys;
use crate::limits::OBJECT_CACHE_BYTES;
use crate::objects::Objects;
use crate::pack::{PackClass, PackWriter};

/// The objects of one tenant. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    bucket: Bucket,
    database: Database,
    clock: Arc<dyn Clock>,
    tenant_number: i64,
    keys: TenantKeys,
    /// Gives packs their names.
    chance: Chance,
    cache: Mutex<cache::Cache>,
    reads: read::Reads,
    pins: Pins,
    /// Shared while a pack is between bucket and index, alone while gc deletes.
    sweep: RwLock<()>,
}

impl Store {
    /// The objects of the tenant of `keys`, which is `tenant_number` in the database.
    pub(crate) fn new(
        bucket: Bucket,
        database: Database,
        clock: Arc<dyn Clock>,
        tenant_number: i64,
        keys: TenantKeys,
        chance: Chance,
    ) -> Store {
        let cache = Mutex::new(cache::Cache::new(OBJECT_CACHE_BYTES));
        let (reads, pins, sweep) = (read::Reads::default(), Pins::default(), RwLock::default());
        let inner = Inner { bucket, database, clock, tenant_number, keys, chance, cache, reads, pins, sweep };
        Store { inner: Arc::new(inner) }
    }

    /// Keeps what is read from a remote bucket in a folder, in at most so many bytes. Without effect for a local bucket,
    /// which is no slower than the cache would be, and for 0 bytes. `Busy` if another engine has the folder.
    pub(crate) fn cache_in(&self, folder: &Path, limit_bytes: u64) -> Result<()> {
        if self.bucket().is_local() || limit_bytes == 0 {
            return Ok(());
        }
        let cache = disk_cache::DiskCache::open(folder, limit_bytes)?;
        let twice = |_| Error::new(Kind::Invalid, "the store has a disk cache already");
        self.inner.reads.cache.set(Arc::new(cache)).map_err(twice)
    }

    /// Starts collecting new objects.
    pub fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    /// The folder of the tenant's packs in the bucket.
    pub(crate) fn pack_folder(&self) -> String {
        format!("t/{}/packs", self.tenant())
    }

    /// The name of a pack in the bucket.
    pub(crate) fn pack_name(&self, pack: PackId) -> String {
        let hex = pack.to_hex();
        format!("{}/{}/{hex}.pack", self.pack_folder(), &hex[..2])
    }

    /// Where these objects are; those that are not stored are missing from the answer.
    pub async fn locate(&self, ids: &[ObjectId]) -> Result<HashMap<ObjectId, Location>> {
        let mut connection = self.inner.database.read().await?;
        packs::locate(&mut connection, self.inner.tenant_number, ids).await
    }

    pub(crate) fn tenant(&self) -> TenantId {
        self.inner.keys.tenant()
    }

    /// An empty pack under a name that nothing else has, ever.
    pub(crate) fn new_pack(&self, class: PackClass) -> Result<PackWriter> {
        let id = PackId::from_bytes(self.inner.chance.bytes()?);
        Ok(PackWriter::new(self.tenant(), class, id, self.keys().for_new_pack(id)))
    }

    /// What names, seals and opens its objects.
    pub(crate) fn keys(&self) -> &TenantKeys {
        &self.inner.keys
    }

    pub(crate) fn bucket(&self) -> &Bucket {
        &self.inner.bucket
    }

    pub(crate) fn database(&self) -> &Database {
        &self.inner.database
    }

    pub(crate) fn tenant_number(&self) -> i64 {
        self.inner.tenant_number
    }

    pub(crate) fn now(&self) -> Time {
        self.inner.clock.now()
    }

    pub(crate) fn pins(&self) -> &Pins {
        &self.inner.pins
    }

    /// Held by gc while it deletes.
    pub(crate) async fn alone(&self) -> tokio::sync::RwLockWriteGuard<'_, ()> {
        self.inner.sweep.write().await
    }

    /// Forgets what was read.
    #[cfg(test)]
    pub(crate) fn forget_cached(&self) {
        *self.inner.cache.lock() = cache::Cache::new(OBJECT_CACHE_BYTES);
    }
}

#[async_trait]
impl Objects for Store {
    fn key(&self) -> &IdKey {
        self.inner.keys.id()
    }

    async fn read_many(&self, ids: &[ObjectId]) -> Result<Vec<Bytes>> {
        let mut found: HashMap<ObjectId, Bytes> = HashMap::with_capacity(ids.len());
        {
            let mut cache = self.inner.cache.lock();
            let kept = ids.iter().filter(|id| id.kind != ObjectKind::Chunk);
            found.extend(kept.filter_map(|id| Some((*id, cache.get(id)?))));
        }
        let mut missing: Vec<ObjectId> = ids.iter().filter(|id| !found.contains_key(*id)).copied().collect();
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            let locations = self.locate(&missing).await?;
            let locations: Vec<Location> = missing
                .iter()
                .map(|id| locations.get(id).copied().ok_or_else(|| not_stored(id)))
                .collect::<Result<_>>()?;
            for (location, bytes) in locations.iter().zip(self.fetch(&locations).await) {
                let bytes = bytes?;
                // Content is read once by whoever keeps it; trees are read again and again.
                if location.entry.id.kind != ObjectKind::Chunk {
                    self.inner.cache.lock().put(location.entry.id, bytes.clone());
                }
                found.insert(location.entry.id, bytes);
            }
        }
        ids.iter().map(|id| found.get(id).cloned().ok_or_else(|| not_stored(id))).collect()
    }
}

fn not_stored(id: &ObjectId) -> Error {
    Error::new(Kind::NotFound, format!("there is no {id}"))
}
