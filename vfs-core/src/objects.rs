//! Reading and adding objects, whatever keeps them.
//!
//! Implemented by the store (reads), by a batch of the store (adds, and reads what it added) and by memory.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::error::{Error, Kind, Result};
use crate::id::{IdKey, ObjectId, ObjectKind};

/// Reads objects by id.
#[async_trait]
pub trait Objects: Send + Sync {
    /// The tenant's id key.
    fn key(&self) -> &IdKey;

    /// The canonical bytes of these objects, in order, each verified against its id.
    async fn read_many(&self, ids: &[ObjectId]) -> Result<Vec<Bytes>>;

    /// The canonical bytes of one object.
    async fn read(&self, id: ObjectId) -> Result<Bytes> {
        let mut objects = self.read_many(&[id]).await?;
        objects.pop().ok_or_else(|| Error::new(Kind::Internal, "a read of one object returned none"))
    }
}

/// Adds objects.
#[async_trait]
pub trait NewObjects: Objects {
    /// Names `canonical` and keeps it. Readable here at once; durable when the batch says so.
    async fn add(&self, kind: ObjectKind, canonical: Bytes) -> Result<ObjectId>;
}

/// Objects in memory, for tests and for trees that are only looked at.
#[derive(Debug)]
pub struct MemoryObjects {
    key: IdKey,
    objects: Mutex<HashMap<ObjectId, Bytes>>,
}

impl MemoryObjects {
    /// No objects, named with `key`.
    pub fn new(key: IdKey) -> Self {
        MemoryObjects { key, objects: Mutex::default() }
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[async_trait]
impl Objects for MemoryObjects {
    fn key(&self) -> &IdKey {
        &self.key
    }

    async fn read_many(&self, ids: &[ObjectId]) -> Result<Vec<Bytes>> {
        let objects = self.objects.lock();
        ids.iter()
            .map(|id| objects.get(id).cloned().ok_or_else(|| Error::new(Kind::NotFound, format!("there is no {id}"))))
            .collect()
    }
}

#[async_trait]
impl NewObjects for MemoryObjects {
    async fn add(&self, kind: ObjectKind, canonical: Bytes) -> Result<ObjectId> {
        let id = self.key.object_id(kind, &canonical);
        self.objects.lock().insert(id, canonical);
        Ok(id)
    }
}
