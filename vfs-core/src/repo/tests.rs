//! The repo on its own: opening, workspaces, leases, publishing, restoring.

mod engines;
mod leases;
mod open;
mod publish;
mod quotas;
mod store;
mod workspaces;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::*;
use crate::base::{Attached, Base, Publisher};
use crate::change::{ChangeSet, DirectoryChange, NodeChange, bare_node};
use crate::error::Kind;
use crate::name::Name;
use crate::object::{Blob, Body, ChunkRef, Content, Extent, Target, TreeNode};

/// A clock that stands still until it is moved.
pub(crate) struct TestClock(Mutex<Time>);

impl TestClock {
    pub(crate) fn new() -> Arc<TestClock> {
        Arc::new(TestClock(Mutex::new(Time { seconds: 1_800_000_000, nanos: 5 })))
    }

    pub(crate) fn advance(&self, by: Duration) {
        let mut now = self.0.lock();
        *now = Time::from_nanos(now.as_nanos() + by.as_nanos() as i128);
    }

    pub(crate) fn set(&self, to: Time) {
        *self.0.lock() = to;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        *self.0.lock()
    }
}

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) async fn repo() -> (Repo, Arc<TestClock>) {
    let clock = TestClock::new();
    (Repo::in_memory(clock.clone()).await.unwrap(), clock)
}

pub(crate) fn holder(number: u8) -> HolderId {
    HolderId::from_bytes([number; 16])
}

pub(crate) fn who(pid: u32) -> HolderDescription {
    HolderDescription { host: "here".into(), pid, mountpoint: format!("/mnt/{pid}") }
}

pub(crate) fn note(message: &str) -> PublishNote {
    PublishNote { author: "ada".into(), message: message.into(), ..PublishNote::default() }
}

pub(crate) fn automatic() -> PublishNote {
    PublishNote { automatic: true, ..PublishNote::default() }
}

pub(crate) fn content(seed: u64, length: usize) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    let mut bytes = vec![0; length];
    hasher.finalize_xof().fill(&mut bytes);
    bytes.into()
}

/// A holder as simple as can be: files in the root, each of chunks.
pub(crate) struct Mount {
    pub(crate) repo: Repo,
    pub(crate) lease: Lease,
    pub(crate) base: SnapshotId,
    pub(crate) root: Node,
    pub(crate) position: u64,
}

impl Mount {
    pub(crate) async fn new(repo: &Repo, name: &str) -> Mount {
        let info = match repo.workspace(name).await {
            Ok(info) => info,
            Err(_) => repo.create_workspace(name, None, None).await.unwrap(),
        };
        let attached = repo.attach(info.id, holder(1), &who(1)).await.unwrap();
        Mount::on(repo, attached)
    }

    pub(crate) fn on(repo: &Repo, attached: Attached) -> Mount {
        let Attached { lease, head, snapshot, position, .. } = attached;
        Mount { repo: repo.clone(), lease, base: head, root: snapshot.root, position }
    }

    /// Sends a file of several chunks, does not commit.
    pub(crate) async fn send(&mut self, name: &str, chunks: &[Bytes]) -> Result<()> {
        self.position += 100;
        self.repo.begin(&self.lease, self.base, self.position).await?;
        let refs = self.repo.put_chunks(&self.lease, self.position, chunks.to_vec()).await?;
        let changes = self.change(name, &refs).await;
        self.repo.put_changes(&self.lease, self.position, changes).await
    }

    pub(crate) async fn change(&self, name: &str, chunks: &[ChunkRef]) -> ChangeSet {
        let ino = self.repo.allocate_inos(&self.lease, 1).await.unwrap();
        let extents = Blob::new(chunks.iter().map(|chunk| Extent::Chunk(*chunk)));
        let mut file = bare_node(ino, Body::File(Content::EMPTY), 0o644, 1, 1, self.repo.now());
        let mut blob = None;
        match chunks {
            [one] => file.body = Body::File(Content::Chunk(*one)),
            _ => blob = Some(extents),
        }
        ChangeSet {
            nodes: vec![
                NodeChange { node: self.root.clone(), extents: None, linked: false },
                NodeChange { node: file, extents: blob, linked: false },
            ],
            directories: vec![DirectoryChange {
                ino: Ino::ROOT,
                upserts: vec![(Name::new(name.as_bytes()).unwrap(), ino)],
                removals: Vec::new(),
            }],
            unlinked: Vec::new(),
        }
    }

    pub(crate) async fn commit(&mut self, note: PublishNote) -> Result<SnapshotId> {
        let published = self.repo.commit(&self.lease, self.position, note).await?;
        self.base = published.snapshot;
        self.root = self.repo.snapshot(published.snapshot).await?.root;
        Ok(published.snapshot)
    }

    pub(crate) async fn write(&mut self, name: &str, chunks: &[Bytes], note: PublishNote) -> Result<SnapshotId> {
        self.send(name, chunks).await?;
        self.commit(note).await
    }
}

/// The names in the root of a snapshot with their contents, read through [`Base`].
pub(crate) async fn files(repo: &Repo, snapshot: SnapshotId) -> Result<Vec<(String, Bytes)>> {
    let Body::Directory(subtree) = repo.snapshot(snapshot).await?.root.body else { panic!("the root is a directory") };
    let nodes = repo.trees(&[subtree.tree]).await?;
    let TreeNode::Leaf(entries) = &*nodes[0] else { panic!("these tests make small directories") };
    let mut files = Vec::new();
    for entry in entries {
        let Target::Node(node) = &entry.target else { continue };
        let chunks = match &node.body {
            Body::File(Content::Chunk(chunk)) => vec![*chunk],
            Body::File(Content::Blob { id, .. }) => {
                let chunk_of = |extent: &Extent| match extent {
                    Extent::Chunk(chunk) => Some(*chunk),
                    Extent::Hole(_) => None,
                };
                repo.blob(*id).await?.extents().iter().filter_map(chunk_of).collect()
            }
            _ => Vec::new(),
        };
        files.push((entry.name.to_string(), repo.chunks(&chunks).await?.concat().into()));
    }
    Ok(files)
}

fn kind<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|error| error.kind())
}
