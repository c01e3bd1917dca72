//! New objects on their way into packs.
//!
//! An object is named when it is added and readable from then on. Many at a time, a *load*, are looked up in the index,
//! compressed off the async threads, and put, encrypted where the repo is, into the open pack of their class. A pack that
//! grows is uploaded in parts while it does; a full one goes into the index. While one load is packed, the next one is
//! compressed, and whoever adds at the same time hashes.
//!
//! What stays true:
//!
//! * Contents are durable and in the index before the trees that name them: loads keep the order in which objects were
//!   added, and a pack of trees is never registered before the contents that were packed before it.
//! * All that was added is durable once [`Batch::finish`] has returned; a batch that is dropped before leaves at most
//!   packs that gc removes.
//! * Memory does not grow with what is added: a few loads, [`crate::limits::UPLOAD_PARTS_AT_ONCE`] parts and the one
//!   that fills, and what the open packs hold by name. An object that the index has is forgotten.
//! * An error loses nothing, the call can be made again; but a pack of which a part was lost cannot be mended. Then the
//!   batch is *broken*, every call says so, and its work begins again in another one.
//!
//! Whoever adds from several futures must poll all of them while it waits for one: one may have the turn, and only its
//! being polled gives the turn to the next (`ahead.rs` does so; a `buffered` stream alone does not).

mod load;
mod open_packs;
mod upload;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use self::load::Load;
use self::open_packs::OpenPacks;
use self::upload::Uploads;
use super::Store;
use super::pins::Pinned;
use crate::error::{Error, Kind, Result};
use crate::id::{IdKey, ObjectId, ObjectKind, PackId};
use crate::limits::{BATCH_PENDING_BYTES, BATCH_PENDING_OBJECTS, OBJECT_MAX, SMALL_OBJECT_MAX};
use crate::objects::{NewObjects, Objects};
use crate::pack::PackClass;

/// Collects new objects; they are durable once it is finished.
pub struct Batch {
    store: Store,
    state: Mutex<State>,
    /// Changed by whoever holds `turn`, off the async threads.
    packs: Arc<Mutex<OpenPacks>>,
    /// Held by whoever moves objects onwards; whoever adds too much meanwhile waits here.
    turn: tokio::sync::Mutex<Uploads>,
}

struct State {
    /// Everything that was added and is not in the index yet.
    known: HashMap<ObjectId, Place>,
    /// In the order in which they were added; not yet part of a load.
    pending: VecDeque<ObjectId>,
    pending_bytes: usize,
    /// What of the pending objects is being prepared, and its bytes: while it is, as much may be added again.
    preparing: (usize, usize),
    /// Compressed, and packed next.
    ready: Option<Arc<Load>>,
    pinned: Pinned,
    added: u64,
    reused: u64,
}

/// Where an object of the batch is.
enum Place {
    /// Not in a pack yet; its canonical bytes.
    Waiting(Bytes),
    /// In a pack of this class that is not in the index yet.
    Packed(PackClass),
}

impl Batch {
    pub(super) fn new(store: Store) -> Batch {
        let state = State {
            known: HashMap::new(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            preparing: (0, 0),
            ready: None,
            pinned: store.pins().none(),
            added: 0,
            reused: 0,
        };
        let packs = Arc::new(Mutex::new(OpenPacks::new(store.clone())));
        Batch { store, state: Mutex::new(state), packs, turn: tokio::sync::Mutex::default() }
    }

    /// Makes everything added so far durable and finds it in the index. Returns the packs that this batch counts on,
    /// new ones and reused ones: whoever makes its objects reachable revives them in the same transaction.
    pub async fn finish(&self) -> Result<BTreeSet<PackId>> {
        let mut uploads = self.turn.lock().await;
        while self.move_on(&mut uploads).await? {}
        self.close(PackClass::Trees, &mut uploads).await?;
        Ok(self.state.lock().pinned.packs().clone())
    }

    /// Counts on objects that are in the store already; `NotFound` if one is not. Returns their canonical lengths.
    pub async fn rely_on(&self, ids: &[ObjectId]) -> Result<Vec<u32>> {
        let located = self.store.locate(ids).await?;
        let mut state = self.state.lock();
        ids.iter()
            .map(|id| {
                let missing = || Error::new(Kind::NotFound, format!("there is no {id}"));
                let location = located.get(id).ok_or_else(missing)?;
                state.pinned.add(location.pack);
                Ok(location.entry.plain_length)
            })
            .collect()
    }

    /// Whether an object was added to this batch and is not in the index yet.
    pub fn holds(&self, id: &ObjectId) -> bool {
        self.state.lock().known.contains_key(id)
    }

    /// Whether its work must begin again in another batch.
    pub fn is_broken(&self) -> bool {
        self.packs.lock().is_broken()
    }

    /// How many objects were added, and how many of those the store had already (as far as known). One that comes again
    /// after the index has it counts again, on both sides.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.added, state.reused)
    }

    #[cfg(test)]
    pub(super) async fn move_on_for_tests(&self) -> Result<bool> {
        let mut uploads = self.turn.lock().await;
        self.move_on(&mut uploads).await
    }

    /// How many objects are remembered.
    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.state.lock().known.len()
    }

    /// Ends the open pack of a class, and what must come before it, and brings all that is finished into the index.
    async fn close(&self, class: PackClass, uploads: &mut Uploads) -> Result<()> {
        let packs = self.packs.clone();
        off_thread(usize::MAX, move || packs.lock().close(class)).await?;
        self.upload(uploads).await
    }

    /// Sees to it that an object that is in an open pack can be read from the store.
    async fn settle(&self, ids: &[ObjectId]) -> Result<()> {
        let class = {
            let state = self.state.lock();
            ids.iter().filter_map(|id| state.packed(id)).max()
        };
        let Some(class) = class else { return Ok(()) };
        let mut uploads = self.turn.lock().await;
        self.close(class, &mut uploads).await
    }
}

impl State {
    fn is_full(&self) -> bool {
        let (objects, bytes) = self.preparing;
        self.pending.len().saturating_sub(objects) >= BATCH_PENDING_OBJECTS
            || self.pending_bytes.saturating_sub(bytes) >= BATCH_PENDING_BYTES
    }

    fn packed(&self, id: &ObjectId) -> Option<PackClass> {
        match self.known.get(id) {
            Some(Place::Packed(class)) => Some(*class),
            Some(Place::Waiting(_)) | None => None,
        }
    }
}

#[async_trait]
impl Objects for Batch {
    fn key(&self) -> &IdKey {
        self.store.key()
    }

    async fn read_many(&self, ids: &[ObjectId]) -> Result<Vec<Bytes>> {
        self.settle(ids).await?;
        let waiting: Vec<Option<Bytes>> = {
            let state = self.state.lock();
            let bytes_of = |id| match state.known.get(id) {
                Some(Place::Waiting(bytes)) => Some(bytes.clone()),
                Some(Place::Packed(_)) | None => None,
            };
            ids.iter().map(bytes_of).collect()
        };
        let elsewhere: Vec<ObjectId> =
            ids.iter().zip(&waiting).filter(|(_, bytes)| bytes.is_none()).map(|(id, _)| *id).collect();
        if elsewhere.iter().any(|id| self.state.lock().packed(id).is_some()) {
            // Somebody packed it since we looked.
            self.settle(&elsewhere).await?;
        }
        let mut read = self.store.read_many(&elsewhere).await?.into_iter();
        let missed = || Error::new(Kind::Internal, "a read left an object out");
        waiting.into_iter().map(|bytes| bytes.or_else(|| read.next()).ok_or_else(missed)).collect()
    }
}

#[async_trait]
impl NewObjects for Batch {
    async fn add(&self, kind: ObjectKind, canonical: Bytes) -> Result<ObjectId> {
        let length = canonical.len();
        if length > OBJECT_MAX {
            let message = format!("a {} of {length} bytes is over the limit of {OBJECT_MAX}", kind.as_str());
            return Err(Error::new(Kind::TooLarge, message));
        }
        let (key, bytes) = (self.store.key().clone(), canonical.clone());
        let id = off_thread(length, move || Ok(key.object_id(kind, &bytes))).await?;
        let full = {
            let mut state = self.state.lock();
            if state.known.contains_key(&id) {
                return Ok(id);
            }
            state.known.insert(id, Place::Waiting(canonical));
            state.pending.push_back(id);
            state.pending_bytes += length;
            state.added += 1;
            state.is_full()
        };
        if full {
            let mut uploads = self.turn.lock().await;
            // Somebody else may have moved it while we waited.
            if self.state.lock().is_full() {
                self.move_on(&mut uploads).await?;
            }
        }
        Ok(id)
    }
}

/// Does what takes a while for many bytes on a thread that may block, and for few at once.
async fn off_thread<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    if bytes <= SMALL_OBJECT_MAX {
        return work();
    }
    // Packs get their ids in here, and an actor's ids follow from the seed of its thread.
    #[cfg(feature = "testing")]
    if crate::testing::has_actor() {
        return work();
    }
    let panicked = |error| Error::new(Kind::Internal, "work on new objects panicked").because(error);
    tokio::task::spawn_blocking(work).await.map_err(panicked)?
}
