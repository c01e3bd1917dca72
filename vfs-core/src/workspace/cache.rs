//! Objects of the base that are in memory: the synchronous half of a base.

use std::sync::Arc;

use bytes::Bytes;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::answer::{Answer, Miss, Stop};
use super::listing::Row;
use crate::base::Base;
use crate::error::{Error, Kind, Result};
use crate::id::{BlobId, ChunkId, TreeId};
use crate::limits::{CHUNK_CACHE_MAX, TREE_CACHE_MAX, TREES_PER_READ};
use crate::object::{Blob, ChunkRef, Entry, Subtree, Target, TreeNode};

/// A base with bounded caches in front.
pub(super) struct CachedBase {
    base: Arc<dyn Base>,
    trees: Cache<TreeId, Arc<TreeNode>>,
    blobs: Cache<BlobId, Arc<Blob>>,
    chunks: Cache<ChunkId, Bytes>,
}

impl CachedBase {
    pub(super) fn new(base: Arc<dyn Base>) -> Self {
        CachedBase {
            base,
            trees: bounded(TREE_CACHE_MAX * 3 / 4, |node: &Arc<TreeNode>| tree_weight(node)),
            blobs: bounded(TREE_CACHE_MAX / 4, |blob: &Arc<Blob>| 64 + 80 * blob.extents().len() as u32),
            chunks: bounded(CHUNK_CACHE_MAX, |chunk: &Bytes| 64 + chunk.len() as u32),
        }
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> u64 {
        self.trees.weighted_size() + self.blobs.weighted_size() + self.chunks.weighted_size()
    }

    pub(super) fn tree(&self, id: TreeId) -> Answer<Arc<TreeNode>> {
        self.trees.get(&id).ok_or_else(|| Stop::Miss(Miss::Trees(vec![id])))
    }

    pub(super) fn blob(&self, id: BlobId) -> Answer<Arc<Blob>> {
        self.blobs.get(&id).ok_or(Stop::Miss(Miss::Blob(id)))
    }

    pub(super) fn chunk(&self, chunk: &ChunkRef) -> Option<Bytes> {
        self.chunks.get(&chunk.id)
    }

    pub(super) fn keep_blob(&self, id: BlobId, blob: Arc<Blob>) {
        self.blobs.insert(id, blob);
    }

    /// Fetches what was missing.
    pub(super) async fn fill(&self, miss: &Miss) -> Result<()> {
        match miss {
            Miss::Trees(ids) => {
                let nodes = self.base.trees(ids).await?;
                ids.iter().zip(nodes).for_each(|(id, node)| self.trees.insert(*id, node));
            }
            Miss::Blob(id) => self.blobs.insert(*id, self.base.blob(*id).await?),
            Miss::Chunks(chunks) => {
                for (chunk, content) in chunks.iter().zip(self.read_chunks(chunks).await?) {
                    self.chunks.insert(chunk.id, content);
                }
            }
            Miss::Names(_) | Miss::Inos | Miss::Thaw => {
                return Err(Error::new(Kind::Internal, "not a miss of the base"));
            }
        }
        Ok(())
    }

    async fn read_chunks(&self, chunks: &[ChunkRef]) -> Result<Vec<Bytes>> {
        let contents = self.base.chunks(chunks).await?;
        let fits = |(chunk, content): (&ChunkRef, &Bytes)| chunk.length as usize == content.len();
        if contents.len() != chunks.len() || !chunks.iter().zip(&contents).all(fits) {
            return Err(Error::corrupt("a chunk has another length than its file says"));
        }
        Ok(contents)
    }

    /// A blob, from memory or not.
    pub(super) async fn read_blob(&self, id: BlobId) -> Result<Arc<Blob>> {
        match self.blobs.get(&id) {
            Some(blob) => Ok(blob),
            None => self.base.blob(id).await,
        }
    }

    /// Content that is read once, past the cache.
    pub(super) async fn read_chunk(&self, chunk: &ChunkRef) -> Result<Bytes> {
        if let Some(content) = self.chunks.get(&chunk.id) {
            return Ok(content);
        }
        let mut contents = self.read_chunks(std::slice::from_ref(chunk)).await?;
        contents.pop().ok_or_else(|| Error::new(Kind::Internal, "a read of one chunk returned none"))
    }

    /// The entry with this name in a tree.
    pub(super) fn entry(&self, root: TreeId, name: &[u8]) -> Answer<Option<Entry>> {
        let mut node = self.tree(root)?;
        loop {
            match &*node {
                TreeNode::Leaf(_) => return Ok(node.entry(name).cloned()),
                TreeNode::Interior { .. } => match node.child(name) {
                    Some(child) => node = self.tree(child.subtree.tree)?,
                    None => return Ok(None),
                },
            }
        }
    }

    /// The leaf that `name` is in or would be in.
    pub(super) fn leaf(&self, root: TreeId, name: &[u8]) -> Answer<Option<Arc<TreeNode>>> {
        let mut node = self.tree(root)?;
        while let TreeNode::Interior { .. } = &*node {
            let Some(child) = node.child(name) else { return Ok(None) };
            node = self.tree(child.subtree.tree)?;
        }
        Ok(Some(node))
    }

    /// Every leaf of a tree, in order; misses name all nodes of a level at once.
    pub(super) fn leaves(&self, root: TreeId) -> Answer<Vec<Arc<TreeNode>>> {
        let mut level = vec![self.tree(root)?];
        while let Some(TreeNode::Interior { .. }) = level.first().map(|node| &**node) {
            let mut below = Vec::new();
            let mut missing = Vec::new();
            for node in &level {
                let TreeNode::Interior { children, .. } = &**node else { continue };
                for child in children {
                    match self.trees.get(&child.subtree.tree) {
                        Some(node) => below.push(node),
                        None => missing.push(child.subtree.tree),
                    }
                }
            }
            if !missing.is_empty() {
                return Err(Stop::Miss(Miss::Trees(missing)));
            }
            level = below;
        }
        Ok(level)
    }

    /// The names of a tree of any size, read past the cache level by level.
    pub(super) async fn read_rows(&self, root: TreeId) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let mut level = vec![root];
        while !level.is_empty() {
            let mut below = Vec::new();
            for ids in level.chunks(TREES_PER_READ) {
                for node in self.base.trees(ids).await? {
                    match &*node {
                        TreeNode::Leaf(entries) => rows.extend(entries.iter().map(Row::of)),
                        TreeNode::Interior { children, .. } => {
                            below.extend(children.iter().map(|child| child.subtree.tree));
                        }
                    }
                }
            }
            level = below;
        }
        Ok(rows)
    }

    /// The inode with this number in a link table.
    pub(super) fn linked(&self, table: &Subtree, ino: crate::object::Ino) -> Answer<crate::object::Node> {
        let missing = || Error::corrupt(format!("inode {} is missing in the link table", ino.0)).into();
        self.find_linked(table, ino)?.ok_or_else(missing)
    }

    /// The inode with this number in a link table, if it is there.
    pub(super) fn find_linked(&self, table: &Subtree, ino: crate::object::Ino) -> Answer<Option<crate::object::Node>> {
        let name = crate::object::tree::link_name(ino);
        Ok(match self.entry(table.tree, name.as_bytes())?.map(|entry| entry.target) {
            Some(Target::Node(node)) => Some(node),
            _ => None,
        })
    }
}

/// A cache of `bytes` that takes every new entry: a miss that was filled must be a hit when it is asked for again.
fn bounded<K, V>(bytes: u64, weigh: fn(&V) -> u32) -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    let builder = Cache::builder().max_capacity(bytes).eviction_policy(EvictionPolicy::lru());
    builder.weigher(move |_, value| weigh(value)).build()
}

/// Roughly what a decoded node takes in memory.
fn tree_weight(node: &TreeNode) -> u32 {
    match node {
        TreeNode::Leaf(entries) => 64 + 320 * entries.len() as u32,
        TreeNode::Interior { children, .. } => 64 + 200 * children.len() as u32,
    }
}
