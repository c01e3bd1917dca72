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

/// Objects of which it is remembered which tree nodes were read.
pub(super) struct Remembering<'a> {
    objects: &'a dyn NewObjects,
    read: Mutex<Remembered>,
}

/// Objects to which is not added what was read from the earlier snapshot, which is read ahead.
pub(super) struct Reusing<'a> {
    earlier: TreesAhead<'a>,
    objects: &'a Remembering<'a>,
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

impl<'a> Remembering<'a> {
    pub(super) fn new(objects: &'a dyn NewObjects) -> Self {
        Remembering { objects, read: Mutex::default() }
    }

    fn has_read(&self, id: &ObjectId) -> bool {
        self.read.lock().ids.contains(id)
    }
}

impl<'a> Reusing<'a> {
    pub(super) fn new(objects: &'a Remembering<'a>) -> Self {
        Reusing { earlier: TreesAhead::new(objects), objects }
    }
}

#[async_trait]
impl Objects for Remembering<'_> {
    fn key(&self) -> &IdKey {
        self.objects.key()
    }

    async fn read_many(&self, ids: &[ObjectId]) -> Result<Vec<Bytes>> {
        let found = self.objects.read_many(ids).await?;
        let mut read = self.read.lock();
        ids.iter().filter(|id| id.kind == ObjectKind::Tree).for_each(|id| read.add(*id));
        Ok(found)
    }
}

#[async_trait]
impl Objects for Reusing<'_> {
    fn key(&self) -> &IdKey {
        self.objects.key()
    }

    async fn read_many(&self, ids: &[ObjectId]) -> Result<Vec<Bytes>> {
        self.earlier.read_many(ids).await
    }
}

#[async_trait]
impl NewObjects for Reusing<'_> {
    async fn add(&self, kind: ObjectKind, canonical: Bytes) -> Result<ObjectId> {
        if kind == ObjectKind::Tree {
            let id = self.key().object_id(kind, &canonical);
            if self.objects.has_read(&id) {
                return Ok(id);
            }
        }
        self.objects.objects.add(kind, canonical).await
    }
}
