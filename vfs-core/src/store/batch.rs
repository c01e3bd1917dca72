//! New objects on their way into packs.

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;
use crate::id::{IdKey, ObjectId, ObjectKind};
use crate::objects::{NewObjects, Objects};

/// Collects new objects; they are durable once it is finished.
pub struct Batch {}

#[async_trait]
impl Objects for Batch {
    fn key(&self) -> &IdKey {
        unimplemented!()
    }

    async fn read_many(&self, ids: &[ObjectId]) -> Result<Vec<Bytes>> {
        let _ = ids;
        unimplemented!()
    }
}

#[async_trait]
impl NewObjects for Batch {
    async fn add(&self, kind: ObjectKind, canonical: Bytes) -> Result<ObjectId> {
        let _ = (kind, canonical);
        unimplemented!()
    }
}
