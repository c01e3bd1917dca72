//! A load: objects that are looked up and compressed together, and then packed together.

use std::sync::Arc;

use bytes::Bytes;

use super::upload::Uploads;
use super::{Batch, Place, off_thread};
use crate::error::Result;
use crate::id::ObjectId;
use crate::limits::{BATCH_PENDING_BYTES, BATCH_PENDING_OBJECTS};
use crate::pack::{PackClass, Stored};

/// Compressed objects in the order in which they were added.
pub(super) struct Load {
    pub(super) objects: Vec<(ObjectId, Stored)>,
}

impl Batch {
    /// Prepares the next load while the one before is packed, and brings finished packs into the index. Returns whether
    /// there was anything to do. An error, or a caller that goes away, leaves everything in its place.
    pub(super) async fn move_on(&self, uploads: &mut Uploads) -> Result<bool> {
        self.packs.lock().check_whole()?;
        let ready = self.state.lock().ready.clone();
        let next = self.next_load();
        if ready.is_none() && next.is_empty() {
            return Ok(false);
        }
        let _preparing = Preparing::begin(self, &next);
        let (packed, prepared) = futures::join!(self.pack(ready, uploads), self.prepare(&next));
        packed?;
        let (load, in_store) = prepared?;
        let mut state = self.state.lock();
        for (id, bytes) in &next {
            debug_assert_eq!(state.pending.front(), Some(id), "only whoever has the turn takes from the front");
            state.pending.pop_front();
            state.pending_bytes -= bytes.len();
        }
        for (id, pack) in in_store {
            state.pinned.add(pack);
            state.known.remove(&id);
            state.reused += 1;
        }
        state.ready = (!load.objects.is_empty()).then(|| Arc::new(load));
        Ok(true)
    }

    /// The objects that have waited longest. They stay where they are until they are prepared.
    fn next_load(&self) -> Vec<(ObjectId, Bytes)> {
        let state = self.state.lock();
        let mut bytes_left = BATCH_PENDING_BYTES;
        let mut load = Vec::new();
        for id in state.pending.iter().take(BATCH_PENDING_OBJECTS) {
            let Some(Place::Waiting(bytes)) = state.known.get(id) else { continue };
            load.push((*id, bytes.clone()));
            match bytes_left.checked_sub(bytes.len()) {
                Some(left) => bytes_left = left,
                None => break,
            }
        }
        load
    }

    /// Compresses what the store does not have; says of the rest in which packs it is.
    async fn prepare(&self, objects: &[(ObjectId, Bytes)]) -> Result<(Load, Vec<(ObjectId, crate::id::PackId)>)> {
        let ids: Vec<ObjectId> = objects.iter().map(|(id, _)| *id).collect();
        let located = match ids.is_empty() {
            true => Default::default(),
            false => self.store.locate(&ids).await?,
        };
        let new: Vec<_> = objects.iter().filter(|(id, _)| !located.contains_key(id)).cloned().collect();
        let in_store = located.into_iter().map(|(id, location)| (id, location.pack)).collect();
        Ok((Load { objects: compress_all(new).await? }, in_store))
    }

    /// Puts a load into the open packs, sends what fills a part, and brings full packs into the index.
    async fn pack(&self, load: Option<Arc<Load>>, uploads: &mut Uploads) -> Result<()> {
        let Some(load) = load else { return Ok(()) };
        let bytes = load.objects.iter().map(|(_, stored)| stored.bytes.len()).sum();
        let packs = self.packs.clone();
        let packing = load.clone();
        off_thread(bytes, move || packs.lock().push(&packing)).await?;
        {
            let mut state = self.state.lock();
            // It was packed once; a caller that went away before this line comes back with the same load.
            state.ready = None;
            for (id, _) in &load.objects {
                state.known.insert(*id, Place::Packed(PackClass::of(id.kind)));
            }
        }
        self.packs.lock().packed = None;
        self.upload(uploads).await
    }
}

/// Makes room for as much as is being prepared, until that is over.
struct Preparing<'a>(&'a Batch);

impl<'a> Preparing<'a> {
    fn begin(batch: &'a Batch, load: &[(ObjectId, Bytes)]) -> Preparing<'a> {
        batch.state.lock().preparing = (load.len(), load.iter().map(|(_, bytes)| bytes.len()).sum());
        Preparing(batch)
    }
}

impl Drop for Preparing<'_> {
    fn drop(&mut self) {
        self.0.state.lock().preparing = (0, 0);
    }
}

/// Compresses on as many threads as the machine has, off the async ones.
async fn compress_all(objects: Vec<(ObjectId, Bytes)>) -> Result<Vec<(ObjectId, Stored)>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let total: usize = objects.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut parts = Vec::with_capacity(threads);
    let mut part = Vec::new();
    let mut part_bytes = 0;
    // By bytes and not by number: one thread must not get all the large ones.
    for (id, bytes) in objects {
        part_bytes += bytes.len();
        part.push((id, bytes));
        if part_bytes >= total.div_ceil(threads) {
            parts.push((part_bytes, std::mem::take(&mut part)));
            part_bytes = 0;
        }
    }
    parts.push((part_bytes, part));
    let compressed = parts.into_iter().map(|(bytes, part)| {
        off_thread(bytes, move || part.into_iter().map(|(id, bytes)| Ok((id, Stored::new(&bytes)?))).collect())
    });
    let compressed: Vec<Vec<_>> = futures::future::try_join_all(compressed).await?;
    Ok(compressed.into_iter().flatten().collect())
}
