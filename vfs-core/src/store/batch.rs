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
use crate::pack::{Pack, PackClass, PackEntry, PackWriter, Stored, unpack};

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
    contents: PackWriter,
    trees: PackWriter,
    /// Finished packs that are not in the index yet, in the order they must get there.
    closed: VecDeque<Arc<Pack>>,
    pinned: Pinned,
    added: u64,
    reused: u64,
}

/// Where an object of the batch is.
enum Place {
    /// Not looked at yet.
    Pending(Bytes),
    /// In the open pack of its class.
    Open(PackEntry),
    /// In a finished pack; its stored bytes.
    Closed(PackEntry, Bytes),
    /// In the store.
    Stored,
}

impl Batch {
    pub(super) fn new(store: Store) -> Batch {
        let state = State {
            known: HashMap::new(),
            pending: Vec::new(),
            pending_bytes: 0,
            contents: PackWriter::new(store.tenant(), PackClass::Contents),
            trees: PackWriter::new(store.tenant(), PackClass::Trees),
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
            state.close(PackClass::Trees, self.store.tenant());
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
            state.forget_pending(&id);
            state.pinned.add(location.pack);
            state.known.insert(id, Place::Stored);
            state.reused += 1;
        }
        for (id, stored) in stored {
            state.forget_pending(&id);
            let class = PackClass::of(id.kind);
            let entry = state.writer(class).push(id, &stored);
            state.known.insert(id, Place::Open(entry));
            if state.writer(class).size() >= PACK_TARGET {
                state.close(class, self.store.tenant());
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
        let packs: Vec<Arc<Pack>> = self.state.lock().closed.iter().cloned().collect();
        if packs.is_empty() {
            return Ok(());
        }
        let holding = self.store.add_packs(&packs).await?;
        let mut state = self.state.lock();
        holding.into_iter().for_each(|pack| state.pinned.add(pack));
        for entry in packs.iter().flat_map(|pack| &pack.entries) {
            state.known.insert(entry.id, Place::Stored);
        }
        state.closed.drain(..packs.len());
        Ok(())
    }
}

impl State {
    fn writer(&mut self, class: PackClass) -> &mut PackWriter {
        match class {
            PackClass::Contents => &mut self.contents,
            PackClass::Trees => &mut self.trees,
        }
    }

    fn forget_pending(&mut self, id: &ObjectId) {
        if let Some(Place::Pending(bytes)) = self.known.get(id) {
            self.pending_bytes -= bytes.len();
        }
    }

    /// Finishes the open pack of a class. Contents go first: no tree may be in the index before what it names.
    fn close(&mut self, class: PackClass, tenant: crate::id::TenantId) {
        if class == PackClass::Trees {
            self.close(PackClass::Contents, tenant);
        }
        if self.writer(class).is_empty() {
            return;
        }
        let writer = std::mem::replace(self.writer(class), PackWriter::new(tenant, class));
        let pack = Arc::new(writer.finish());
        for entry in &pack.entries {
            let range = entry.offset as usize..entry.offset as usize + entry.stored_length as usize;
            self.known.insert(entry.id, Place::Closed(*entry, pack.bytes.slice(range)));
        }
        self.closed.push_back(pack);
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

impl Store {
    /// Makes packs durable in the bucket, then, in one transaction, their objects findable. Returns the packs that hold
    /// these objects now.
    pub(crate) async fn add_packs(&self, new: &[Arc<Pack>]) -> Result<BTreeSet<PackId>> {
        let _no_sweep = self.inner.sweep.read().await;
        let uploads = new.iter().map(|pack| async {
            self.inner.bucket.create_named_by_content(&self.pack_name(pack.id), pack.bytes.clone()).await
        });
        let mut uploads = Some(futures::future::try_join_all(uploads));
        if let Some(uploads) = uploads.take_if(|_| !sabotaged!(IndexBeforeUpload)) {
            uploads.await?;
        }
        let now = self.inner.clock.now();
        let mut holding = BTreeSet::new();
        let mut transaction = self.inner.database.begin().await?;
        for pack in new {
            holding.extend(packs::register(&mut transaction, self.inner.tenant_number, pack, now).await?);
            orphans::forget(&mut transaction, pack.id).await?;
        }
        self.inner.database.commit(transaction).await?;
        if let Some(uploads) = uploads {
            uploads.await?;
        }
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
                    Some(Place::Open(entry)) => {
                        let writer = match PackClass::of(id.kind) {
                            PackClass::Contents => &state.contents,
                            PackClass::Trees => &state.trees,
                        };
                        let stored = Bytes::copy_from_slice(writer.stored_bytes(entry));
                        Some(unpack(self.store.key(), entry, &stored)?)
                    }
                    Some(Place::Closed(entry, stored)) => Some(unpack(self.store.key(), entry, stored)?),
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
