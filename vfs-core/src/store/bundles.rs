//! Attach bundles: the first objects that a mount of a snapshot reads, in one object of the bucket.
//!
//! `t/<tenant>/bundles/<snapshot id>.pack`, a pack that the index does not know. It holds copies only: a bundle
//! that is damaged, or not there, costs requests and nothing else. Each object in it is verified by its id. gc removes
//! the bundles of snapshots that it drops ([`list`], [`remove`]).

use bytes::Bytes;

use super::Store;
use super::read::blocking;
use crate::bucket::Created;
use crate::db::Location;
use crate::error::{Error, Result};
use crate::id::{ObjectId, SnapshotId};
use crate::limits::{BUNDLE_MAX, OBJECT_CACHE_BYTES};
use crate::pack::{HEADER_LENGTH, PackClass, PackHeader, PackWriter, Stored, read_index, unpack};

/// Objects on their way into a bundle, the most wanted first.
pub(crate) struct Bundle {
    writer: PackWriter,
}

impl Bundle {
    /// Adds objects until one does not fit; false from then on.
    pub(crate) async fn add(&mut self, objects: Vec<(ObjectId, Bytes)>) -> Result<bool> {
        let compress = move || objects.into_iter().map(|(id, bytes)| Ok((id, Stored::new(&bytes)?))).collect();
        let stored: Result<Vec<(ObjectId, Stored)>> = blocking(compress).await?;
        for (id, stored) in stored? {
            if self.writer.size() + (stored.bytes.len() + ENTRY_MAX) as u64 > BUNDLE_MAX as u64 {
                return Ok(false);
            }
            self.writer.push(id, &stored)?;
        }
        Ok(true)
    }
}

/// More than one object adds to the footer, and by being sealed.
const ENTRY_MAX: usize = 80;

/// The folder of the tenant's bundles in the bucket.
fn folder(store: &Store) -> String {
    format!("t/{}/bundles", store.tenant())
}

fn name(store: &Store, snapshot: SnapshotId) -> String {
    format!("{}/{snapshot}.pack", folder(store))
}

/// All bundles in the bucket, with their sizes.
pub(crate) async fn list(store: &Store) -> Result<Vec<(SnapshotId, u64)>> {
    let listed = store.bucket().list(&folder(store)).await?;
    let snapshot_of = |name: &str| name.rsplit('/').next()?.strip_suffix(".pack")?.parse().ok();
    Ok(listed.into_iter().filter_map(|object| Some((snapshot_of(&object.name)?, object.size))).collect())
}

/// Removes the bundle of a snapshot; fine if there is none.
pub(crate) async fn remove(store: &Store, snapshot: SnapshotId) -> Result<()> {
    store.bucket().delete(&name(store, snapshot)).await
}

/// Starts a bundle.
pub(crate) fn start(store: &Store) -> Result<Bundle> {
    Ok(Bundle { writer: store.new_pack(PackClass::Bundle)? })
}

/// Writes the bundle of a snapshot. One that is there stays: it holds the same.
pub(crate) async fn write(store: &Store, snapshot: SnapshotId, bundle: Bundle) -> Result<Created> {
    let (_, bytes) = bundle.writer.finish()?;
    store.bucket().create(&name(store, snapshot), bytes).await
}

/// Reads the bundle of a snapshot into the memory cache with one request; returns how many objects it had. Any error
/// means that there is no use in it.
pub(crate) async fn read(store: &Store, snapshot: SnapshotId) -> Result<u64> {
    let bytes = store.bucket().get_available(&name(store, snapshot), 0..BUNDLE_MAX as u64 + 1).await?;
    let keys = store.keys().clone();
    let unpack_all = move || -> Result<Vec<(ObjectId, Bytes)>> {
        if bytes.len() > BUNDLE_MAX {
            return Err(Error::corrupt("an attach bundle is too large"));
        }
        // Its own random id is in its header; the object has the snapshot's name.
        let nameless = || Error::corrupt("an attach bundle is of an old version");
        let pack = PackHeader::read(&bytes[..bytes.len().min(HEADER_LENGTH)])?.id.ok_or_else(nameless)?;
        let index = read_index(&keys, pack, &bytes)?;
        let plain: u64 = index.entries.iter().map(|entry| u64::from(entry.plain_length)).sum();
        if plain > OBJECT_CACHE_BYTES as u64 {
            return Err(Error::corrupt("an attach bundle is a bomb"));
        }
        let unpack_one = |entry| {
            let crate::pack::PackEntry { id, offset, stored_length, .. } = entry;
            let stored = bytes.slice(offset as usize..offset as usize + stored_length as usize);
            Ok((id, unpack(&keys, pack, &entry, &stored)?))
        };
        index.entries.into_iter().map(unpack_one).collect()
    };
    let objects = blocking(unpack_all).await??;
    let mut cache = store.inner.cache.lock();
    objects.iter().for_each(|(id, bytes)| cache.put(*id, bytes.clone()));
    Ok(objects.len() as u64)
}

impl Store {
    /// Whether reading an object takes a request to the bucket, as far as this engine knows.
    pub(crate) async fn is_cold(&self, id: ObjectId) -> Result<bool> {
        if self.inner.cache.lock().holds(&id) {
            return Ok(false);
        }
        let Some(cache) = self.inner.reads.cache.get().cloned() else { return Ok(true) };
        let Some(Location { pack, entry }) = self.locate(&[id]).await?.remove(&id) else { return Ok(true) };
        Ok(!cache.holds(pack, &(entry.offset..entry.offset + u64::from(entry.stored_length))))
    }
}
