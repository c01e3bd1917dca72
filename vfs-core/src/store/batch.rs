//! New objects on their way into packs.
//!
//! An object is named when it is added and readable from then on. Many at a time are looked up in the index,
//! compressed off the async threads and put into the open pack of their class; a full pack goes to the bucket and
//! then into the index. Contents are durable before the trees that name them. All that was added is durable once
//! [`Batch::finish`] has returned; a batch that is dropped before leaves packs that gc removes.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::Store;
use super::pins::Pinned;
use crate::db::{orphans, packs};
use crate::error::{Error, Kind, Result};
use crate::id::{IdKey, ObjectId, ObjectKind, PackId};
use crate::limits::{BATCH_PENDING_BYTES, BATCH_PENDING_OBJECTS, OBJECT_MAX, PACK_TARGET, SMALL_OBJECT_MAX};
use crate::objects::{NewObjects, Objects};
use crate::pack::{Pack, PackClass, PackWriter, Stored};

/// Collects new objects; they are durable once it is finished.
pub struct Batch {
    store: Store,
    state: Mutex<State>,
    /// Held by whoever moves objects onwards; whoever adds too much meanwhile waits here.
    turn: tokio::sync::Mutex<()>,
}

struct State {
    known: HashMap<ObjectId, Place>,
    pending: Vec<ObjectId>,
    pending_bytes: usize,
    contents: Option<PackWriter>,
    trees: Option<PackWriter>,
    /// Finished packs that are not in the index yet, in the order they must get there.
    closed: VecDeque<Arc<Finished>>,
    pinned: Pinned,
    added: u64,
    reused: u64,
}

/// Where an object of the batch is.
enum Place {
    /// Not in the store yet; its canonical bytes.
    Pending(Bytes),
    /// In the store.
    Stored,
}

impl Batch {
    pub(super) fn new(store: Store) -> Batch {
        let state = State {
            known: HashMap::new(),
            pending: Vec::new(),
            pending_bytes: 0,
            contents: None,
            trees: None,
            closed: VecDeque::new(),
            pinned: store.pins().none(),
            added: 0,
            reused: 0,
        };
        Batch { store, state: Mutex::new(state), turn: tokio::sync::Mutex::default() }
    }

    /// Makes everything added so far durable and finds it in the index. Returns the packs that this batch counts on,
    /// new ones and reused ones: whoever makes its objects reachable revives them in the same transaction.
    pub async fn finish(&self) -> Result<BTreeSet<PackId>> {
        let _turn = self.turn.lock().await;
        while self.move_pending().await? {}
        {
            let mut state = self.state.lock();
            state.close(PackClass::Trees)?;
        }
        self.upload_closed().await?;
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

    /// Whether an object was added to this batch.
    pub fn holds(&self, id: &ObjectId) -> bool {
        self.state.lock().known.contains_key(id)
    }

    /// How many different objects were added, and how many of those the store had already (as far as known).
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.added, state.reused)
    }

    /// Looks up, compresses and packs what waits; returns whether anything did. An error, or a caller that goes away,
    /// leaves it waiting.
    async fn move_pending(&self) -> Result<bool> {
        let waiting: Vec<(ObjectId, Bytes)> = {
            let state = self.state.lock();
            let bytes_of = |id: &ObjectId| match state.known.get(id) {
                Some(Place::Pending(bytes)) => Some((*id, bytes.clone())),
                _ => None,
            };
            state.pending.iter().filter_map(bytes_of).collect()
        };
        if waiting.is_empty() {
            return Ok(false);
        }
        let ids: Vec<ObjectId> = waiting.iter().map(|(id, _)| *id).collect();
        let located = self.store.locate(&ids).await?;
        let new: Vec<_> = waiting.into_iter().filter(|(id, _)| !located.contains_key(id)).collect();
        let stored = compress_all(new).await?;
        let mut state = self.state.lock();
        state.pending.drain(..ids.len());
        for (id, location) in located {
            state.moved(&id);
            state.pinned.add(location.pack);
            state.known.insert(id, Place::Stored);
            state.reused += 1;
        }
        for (id, stored) in stored {
            state.moved(&id);
            let class = PackClass::of(id.kind);
            let writer = state.writer(class);
            let mut open = match writer.take() {
                Some(open) => open,
                None => self.store.new_pack(class)?,
            };
            open.push(id, &stored)?;
            let full = open.size() >= PACK_TARGET;
            *writer = Some(open);
            if full {
                state.close(class)?;
            }
        }
        Ok(true)
    }

    #[cfg(test)]
    pub(super) async fn move_pending_for_tests(&self) -> Result<bool> {
        self.move_pending().await
    }

    /// Brings finished packs into the bucket and then, all at once, into the index.
    async fn upload_closed(&self) -> Result<()> {
        let packs: Vec<Arc<Finished>> = self.state.lock().closed.iter().cloned().collect();
        if packs.is_empty() {
            return Ok(());
        }
        let holding = self.store.add_packs(&packs).await?;
        let mut state = self.state.lock();
        holding.into_iter().for_each(|pack| state.pinned.add(pack));
        for entry in packs.iter().flat_map(|pack| &pack.pack.entries) {
            state.known.insert(entry.id, Place::Stored);
        }
        state.closed.drain(..packs.len());
        Ok(())
    }
}

impl State {
    fn writer(&mut self, class: PackClass) -> &mut Option<PackWriter> {
        match class {
            PackClass::Contents => &mut self.contents,
            PackClass::Trees | PackClass::Bundle => &mut self.trees,
        }
    }

    fn moved(&mut self, id: &ObjectId) {
        if let Some(Place::Pending(bytes)) = self.known.get(id) {
            self.pending_bytes -= bytes.len();
        }
    }

    /// Finishes the open pack of a class. Contents go first: no tree may be in the index before what it names.
    fn close(&mut self, class: PackClass) -> Result<()> {
        if class == PackClass::Trees {
            self.close(PackClass::Contents)?;
        }
        if let Some(writer) = self.writer(class).take() {
            let (pack, bytes) = writer.finish()?;
            self.closed.push_back(Arc::new(Finished { pack, bytes }));
        }
        Ok(())
    }
}

/// Compresses on as many threads as the machine has, off the async ones.
async fn compress_all(objects: Vec<(ObjectId, Bytes)>) -> Result<Vec<(ObjectId, Stored)>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let part_length = objects.len().div_ceil(threads).max(1);
    let parts: Vec<_> = objects
        .chunks(part_length)
        .map(|part| {
            let part = part.to_vec();
            tokio::task::spawn_blocking(move || {
                part.into_iter().map(|(id, bytes)| Ok((id, Stored::new(&bytes)?))).collect::<Result<Vec<_>>>()
            })
        })
        .collect();
    let mut stored = Vec::with_capacity(objects.len());
    for part in parts {
        let panicked = |error| Error::new(Kind::Internal, "compressing objects panicked").because(error);
        stored.extend(part.await.map_err(panicked)??);
    }
    Ok(stored)
}

/// A finished pack and its bytes.
pub(crate) struct Finished {
    pack: Pack,
    bytes: Bytes,
}

impl Store {
    fn new_pack(&self, class: PackClass) -> Result<PackWriter> {
        let id = PackId::from_bytes(self.inner.chance.bytes()?);
        Ok(PackWriter::new(self.tenant(), class, id, self.keys().for_new_pack(id)))
    }

    async fn upload_pack(&self, pack: &Pack, bytes: Bytes) -> Result<()> {
        let name = self.pack_name(pack.id);
        self.inner.bucket.create_named_by_content(&name, bytes).await.map(|_| ())
    }

    /// Makes packs durable in the bucket, then, in one transaction, their objects findable. Returns the packs that hold
    /// these objects now.
    pub(crate) async fn add_packs(&self, new: &[Arc<Finished>]) -> Result<BTreeSet<PackId>> {
        let _no_sweep = self.inner.sweep.read().await;
        let uploads = new.iter().map(|pack| async { self.upload_pack(&pack.pack, pack.bytes.clone()).await });
        futures::future::try_join_all(uploads).await?;
        let now = self.inner.clock.now();
        let mut holding = BTreeSet::new();
        let mut transaction = self.inner.database.begin().await?;
        for pack in new {
            orphans::refuse_dead(&mut transaction, pack.pack.id).await?;
            holding.extend(packs::register(&mut transaction, self.inner.tenant_number, &pack.pack, now).await?);
            orphans::forget(&mut transaction, pack.pack.id).await?;
        }
        self.inner.database.commit(transaction).await?;
        Ok(holding)
    }
}

#[async_trait]
impl Objects for Batch {
    fn key(&self) -> &IdKey {
        self.store.key()
    }

    async fn read_many(&self, ids: &[ObjectId]) -> Result<Vec<Bytes>> {
        let mut results: Vec<Option<Bytes>> = Vec::with_capacity(ids.len());
        {
            let state = self.state.lock();
            for id in ids {
                results.push(match state.known.get(id) {
                    Some(Place::Pending(bytes)) => Some(bytes.clone()),
                    Some(Place::Stored) | None => None,
                });
            }
        }
        let elsewhere: Vec<ObjectId> =
            ids.iter().zip(&results).filter(|(_, result)| result.is_none()).map(|(id, _)| *id).collect();
        let mut read = self.store.read_many(&elsewhere).await?.into_iter();
        let missed = || Error::new(Kind::Internal, "a read left an object out");
        results.into_iter().map(|result| result.or_else(|| read.next()).ok_or_else(missed)).collect()
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
        let id = name(self.store.key(), kind, &canonical).await?;
        let full = {
            let mut state = self.state.lock();
            if state.known.contains_key(&id) {
                return Ok(id);
            }
            state.known.insert(id, Place::Pending(canonical));
            state.pending.push(id);
            state.pending_bytes += length;
            state.added += 1;
            state.is_full()
        };
        if full {
            let _turn = self.turn.lock().await;
            // Somebody else may have moved it while we waited.
            if self.state.lock().is_full() {
                self.move_pending().await?;
                self.upload_closed().await?;
            }
        }
        Ok(id)
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.pending.len() >= BATCH_PENDING_OBJECTS || self.pending_bytes >= BATCH_PENDING_BYTES
    }
}

async fn name(key: &IdKey, kind: ObjectKind, canonical: &Bytes) -> Result<ObjectId> {
    if canonical.len() <= SMALL_OBJECT_MAX {
        return Ok(key.object_id(kind, canonical));
    }
    let (key, canonical) = (key.clone(), canonical.clone());
    let panicked = |error| Error::new(Kind::Internal, "hashing an object panicked").because(error);
    tokio::task::spawn_blocking(move || key.object_id(kind, &canonical)).await.map_err(panicked)
}
