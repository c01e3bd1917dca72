//! Objects in packs: reads by index, adds in batches.

mod batch;

use async_trait::async_trait;
use bytes::Bytes;

pub use batch::Batch;

use crate::error::Result;
use crate::id::{IdKey, ObjectId};
use crate::objects::Objects;

/// The objects of one tenant. Clones are the same store.
#[derive(Clone)]
pub struct Store {}

#[async_trait]
impl Objects for Store {
    fn key(&self) -> &IdKey {
        unimplemented!()
    }

    async fn read_many(&self, ids: &[ObjectId]) -> Result<Vec<Bytes>> {
        let _ = ids;
        unimplemented!()
    }
}
