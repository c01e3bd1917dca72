//! Nodes of the earlier snapshot are not added again.
//!
//! What was read from the earlier snapshot is stored, and stays: whoever publishes an import does so on top of that
//! snapshot. So a tree node that comes out the same costs its hash, not a look into the index.

use std::collections::{HashSet, VecDeque};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::error::Result;
use crate::id::{IdKey, ObjectId, ObjectKind};
use crate::objects::{NewObjects, Objects};
use crate::tree::TreesAhead;

/// Ids that are remembered, 33 bytes each and twice; one that was forgotten is looked up again.
const REMEMBERED_MAX: usize = 32 * 1024;

/// Objects that remember which tree nodes were read, and read them ahead.
pub(super) struct Reusing<'a> {
    objects: &'a dyn NewObjects,
    earlier: TreesAhead<'a>,
    read: Mutex<Remembered>,
}

#[derive(Default)]
struct Remembered {
    ids: HashSet<ObjectId>,
    order: VecDeque<ObjectId>,
}

impl Remembered {
    fn add(&mut self, id: ObjectId) {
        if !self.ids.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

impl<'a> Reusing<'a> {
    pub(super) fn new(objects: &'a dyn NewObjects) -> Self {
        Reusing { objects, earlier: TreesAhead::new(objects), read: Mutex::default() }
    }

    /// For a tree in which names are looked up: nothing is read ahead there.
    pub(super) fn for_lookups(&'a self) -> Lookups<'a> {
        Lookups(self)
    }

    fn remember(&self, ids: &[ObjectId]) {
        let mut read = self.read.lock();
        ids.iter().filter(|id| id.kind == ObjectKind::Tree).for_each(|id| read.add(*id));
    }
}

#[async_trait]
impl Objects for Reusing<'_> {
    fn key(&self) -> &IdKey {
        self.objects.key()
    }

    async fn read_many(&self, ids: &[ObjectId]) -> Result<Vec<Bytes>> {
        let found = self.earlier.read_many(ids).await?;
        self.remember(ids);
        Ok(found)
    }
}

/// See [`Reusing::for_lookups`].
pub(super) struct Lookups<'a>(&'a Reusing<'a>);

#[async_trait]
impl Objects for Lookups<'_> {
    fn key(&self) -> &IdKey {
        self.0.key()
    }

    async fn read_many(&self, ids: &[ObjectId]) -> Result<Vec<Bytes>> {
        let found = self.0.objects.read_many(ids).await?;
        self.0.remember(ids);
        Ok(found)
    }
}

#[async_trait]
impl NewObjects for Reusing<'_> {
    async fn add(&self, kind: ObjectKind, canonical: Bytes) -> Result<ObjectId> {
        if kind == ObjectKind::Tree {
            let id = self.key().object_id(kind, &canonical);
            if self.read.lock().ids.contains(&id) {
                return Ok(id);
            }
        }
        self.objects.add(kind, canonical).await
    }
}
