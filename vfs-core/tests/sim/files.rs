//! What the worlds' files are, how a change of them is written, and how a snapshot is read back.

use std::collections::BTreeMap;

use bytes::Bytes;
use vfs_core::base::Base;
use vfs_core::build::build;
use vfs_core::change::{ChangeSet, DirectoryChange, NodeChange, bare_node};
use vfs_core::clock::Time;
use vfs_core::id::{ChunkId, ObjectKind, PlainDigest, SnapshotId};
use vfs_core::name::Name;
use vfs_core::object::{Blob, Body, ChunkRef, Content, Extent, Ino, Node, Subtree, Target, TreeNode};
use vfs_core::objects::NewObjects;
use vfs_core::repo::Repo;
use vfs_core::store::Batch;
use vfs_core::testing::Random;
use vfs_core::{Error, Result};

/// The files of a root directory.
pub(crate) type Files = BTreeMap<String, Bytes>;

/// Contents that there are: few, so that they are used again when they are garbage already.
const CONTENTS: u64 = 12;

/// The content of a number: more than sits inline in an entry, and incompressible.
pub(crate) fn content(number: u64) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_le_bytes());
    let mut bytes = vec![0; 300 + (number % 7) as usize * 211];
    hasher.finalize_xof().fill(&mut bytes);
    bytes.into()
}

/// One change of one file.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) name: String,
    /// Its chunks; `None` removes it.
    pub(crate) chunks: Option<Vec<Bytes>>,
}

impl Change {
    /// A change by chance. Now and then it says the same as another one, or nothing new.
    pub(crate) fn random(random: &mut Random, files: &Files) -> Change {
        let name = format!("f{}", random.below(5));
        if files.contains_key(&name) && random.percent(20) {
            return Change { name, chunks: None };
        }
        let count = 1 + random.below(2);
        Change { name, chunks: Some((0..count).map(|_| content(random.below(CONTENTS))).collect()) }
    }

    /// A change that writes one content.
    pub(crate) fn write(name: &str, number: u64) -> Change {
        Change { name: name.to_owned(), chunks: Some(vec![content(number)]) }
    }

    /// What is there afterwards.
    pub(crate) fn apply(&self, files: &Files) -> Files {
        let mut after = files.clone();
        match &self.chunks {
            Some(chunks) => after.insert(self.name.clone(), chunks.concat().into()),
            None => after.remove(&self.name),
        };
        after
    }

    /// As a publish carries it.
    pub(crate) fn change_set(&self, root: &Node, ino: Ino, chunks: &[ChunkRef], now: Time) -> ChangeSet {
        let mut nodes = vec![NodeChange { node: root.clone(), extents: None, linked: false }];
        let mut names = DirectoryChange { ino: Ino::ROOT, upserts: Vec::new(), removals: Vec::new() };
        let name = Name::new(self.name.as_bytes()).unwrap();
        if self.chunks.is_none() {
            names.removals.push(name);
        } else {
            let mut node = bare_node(ino, Body::File(Content::EMPTY), 0o644, 1, 1, now);
            let extents = match chunks {
                [one] => {
                    node.body = Body::File(Content::Chunk(*one));
                    None
                }
                several => Some(Blob::new(several.iter().map(|chunk| Extent::Chunk(*chunk)))),
            };
            nodes.push(NodeChange { node, extents, linked: false });
            names.upserts.push((name, ino));
        }
        ChangeSet { nodes, directories: vec![names], unlinked: Vec::new() }
    }

    /// Builds the root that a publish without a lease moves to.
    pub(crate) async fn build(
        &self,
        repo: &Repo,
        batch: &Batch,
        base: SnapshotId,
        now: Time,
    ) -> Result<(Node, Option<Subtree>)> {
        let snapshot = repo.snapshot(base).await?;
        let ino = repo.take_inos(1).await?;
        let mut chunks = Vec::new();
        for chunk in self.chunks.iter().flatten() {
            let id = batch.add(ObjectKind::Chunk, chunk.clone()).await?;
            let (digest, length) = (PlainDigest::of(chunk), chunk.len() as u32);
            chunks.push(ChunkRef { id: ChunkId::from_bytes(id.hash), digest, length });
        }
        let changes = self.change_set(&snapshot.root, ino, &chunks, now);
        let built = build(batch, &snapshot, &changes).await?;
        Ok((built.root, built.links))
    }
}

/// The files of a snapshot, read through [`Base`].
pub(crate) async fn files(repo: &Repo, snapshot: SnapshotId) -> Result<Files> {
    let Body::Directory(subtree) = repo.snapshot(snapshot).await?.root.body else {
        return Err(Error::corrupt("the root is no directory"));
    };
    let (mut files, mut waiting) = (Files::new(), vec![subtree.tree]);
    let mut entries = Vec::new();
    while let Some(tree) = waiting.pop() {
        match &*repo.trees(&[tree]).await?[0] {
            TreeNode::Leaf(more) => entries.extend(more.iter().cloned()),
            TreeNode::Interior { children, .. } => waiting.extend(children.iter().map(|child| child.subtree.tree)),
        }
    }
    for entry in &entries {
        let Target::Node(node) = &entry.target else { panic!("these tests make no hard links") };
        let bytes = match &node.body {
            Body::File(Content::Chunk(chunk)) => repo.chunks(&[*chunk]).await?.concat().into(),
            Body::File(Content::Blob { id, .. }) => {
                let blob = repo.blob(*id).await?;
                let chunk_of = |extent: &Extent| match extent {
                    Extent::Chunk(chunk) => Some(*chunk),
                    Extent::Hole(_) => None,
                };
                let chunks: Vec<ChunkRef> = blob.extents().iter().filter_map(chunk_of).collect();
                repo.chunks(&chunks).await?.concat().into()
            }
            Body::File(Content::Inline(bytes)) => Bytes::copy_from_slice(bytes),
            other => panic!("these tests make no {other:?}"),
        };
        files.insert(entry.name.to_string(), bytes);
    }
    Ok(files)
}
