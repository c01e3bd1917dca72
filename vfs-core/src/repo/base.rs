//! The repo as what a workspace stands on.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::Repo;
use crate::base::Base;
use crate::error::{Error, Result};
use crate::id::{BlobId, ObjectId, TreeId};
use crate::object::{Blob, ChunkRef, TreeNode};
use crate::objects::Objects;

#[async_trait]
impl Base for Repo {
    async fn trees(&self, ids: &[TreeId]) -> Result<Vec<Arc<TreeNode>>> {
        let ids: Vec<ObjectId> = ids.iter().map(|&id| id.into()).collect();
        let nodes = self.store().read_many(&ids).await?;
        nodes.iter().map(|bytes| TreeNode::decode(bytes).map(Arc::new)).collect()
    }

    async fn blob(&self, id: BlobId) -> Result<Arc<Blob>> {
        Blob::decode(&self.store().read(id.into()).await?).map(Arc::new)
    }

    async fn chunks(&self, chunks: &[ChunkRef]) -> Result<Vec<Bytes>> {
        let ids: Vec<ObjectId> = chunks.iter().map(|chunk| chunk.id.into()).collect();
        let contents = self.store().read_many(&ids).await?;
        for (chunk, content) in chunks.iter().zip(&contents) {
            if content.len() != chunk.length as usize {
                return Err(Error::corrupt(format!("chunk {} has another length than its file says", chunk.id)));
            }
        }
        Ok(contents)
    }
}
