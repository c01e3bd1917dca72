//! A base in memory: what an engine is to a mount, without engine, bucket and database. Publishes for real.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use vfs_core::base::{Attached, Base, Lease, PublishNote, Published, Publisher};
use vfs_core::build::build;
use vfs_core::change::ChangeSet;
use vfs_core::chunk::chunk_ref;
use vfs_core::clock::{Clock, SystemClock};
use vfs_core::id::{BlobId, HolderId, IdKey, ObjectId, ObjectKind, SnapshotId, TreeId, WorkspaceId};
use vfs_core::object::{Blob, Body, ChunkRef, Ino, Node, Snapshot, TreeNode, XattrsRef};
use vfs_core::objects::{MemoryObjects, NewObjects, Objects};
use vfs_core::tree;
use vfs_core::workspace::{HolderFolder, HolderInfo, Workspace};
use vfs_core::{Error, Kind, Result};

const WORKSPACE: WorkspaceId = WorkspaceId::from_bytes([7; 16]);
const HOLDER: HolderId = HolderId::from_bytes([9; 16]);

/// Objects, snapshots and one workspace's head.
pub(crate) struct MemoryBase {
    objects: MemoryObjects,
    snapshots: Mutex<HashMap<SnapshotId, Snapshot>>,
    head: Mutex<(SnapshotId, u64)>,
    next_ino: AtomicU64,
    publishing: Mutex<(Option<SnapshotId>, ChangeSet)>,
    /// How long each read of objects takes.
    pub(crate) delay: Mutex<Duration>,
    /// Objects cannot be found any more.
    pub(crate) broken: AtomicBool,
    /// Reads of objects so far.
    pub(crate) reads: AtomicUsize,
}

impl MemoryBase {
    /// An empty workspace that belongs to this user.
    pub(crate) async fn new() -> Result<Arc<MemoryBase>> {
        let objects = MemoryObjects::new(IdKey::golden());
        let empty = tree::build(&objects, []).await?;
        let time = SystemClock.now();
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let root = Node {
            ino: Ino::ROOT,
            mode: 0o755,
            uid,
            gid,
            nlink: 1,
            mtime: time,
            ctime: time,
            body: Body::Directory(empty),
            xattrs: XattrsRef::None,
        };
        let snapshot = Snapshot {
            root,
            links: None,
            parents: Vec::new(),
            author: String::new(),
            time,
            message: String::new(),
            automatic: false,
            provenance: Default::default(),
        };
        let id = objects.key().snapshot_id(&snapshot.encode());
        Ok(Arc::new(MemoryBase {
            objects,
            snapshots: Mutex::new(HashMap::from([(id, snapshot)])),
            head: Mutex::new((id, 0)),
            next_ino: AtomicU64::new(16),
            publishing: Mutex::default(),
            delay: Mutex::new(Duration::ZERO),
            broken: AtomicBool::new(false),
            reads: AtomicUsize::new(0),
        }))
    }

    pub(crate) fn snapshot(&self, id: SnapshotId) -> Snapshot {
        self.snapshots.lock()[&id].clone()
    }

    /// Opens the workspace with its journal in `folder`.
    pub(crate) async fn open(self: &Arc<Self>, folder: &Path) -> Result<Arc<Workspace>> {
        let info = HolderInfo { pid: std::process::id(), mountpoint: folder.to_owned() };
        let folder = HolderFolder::lock(folder, WORKSPACE, &info, HOLDER)?;
        let (head, position) = *self.head.lock();
        let attached = Attached {
            lease: Lease { workspace: WORKSPACE, holder: HOLDER, epoch: 1 },
            name: "test".into(),
            head,
            snapshot: self.snapshot(head),
            position,
            quota: vfs_core::quota::Quota::NONE,
        };
        Workspace::open(folder, attached, self.clone(), Arc::new(SystemClock)).await
    }

    async fn read(&self, ids: &[ObjectId]) -> Result<Vec<Bytes>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let delay = *self.delay.lock();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if self.broken.load(Ordering::Relaxed) {
            return Err(Error::new(Kind::NotFound, "the object is gone"));
        }
        self.objects.read_many(ids).await
    }
}

#[async_trait]
impl Base for MemoryBase {
    async fn trees(&self, ids: &[TreeId]) -> Result<Vec<Arc<TreeNode>>> {
        let ids: Vec<ObjectId> = ids.iter().map(|&id| id.into()).collect();
        self.read(&ids).await?.iter().map(|bytes| TreeNode::decode(bytes).map(Arc::new)).collect()
    }

    async fn blob(&self, id: BlobId) -> Result<Arc<Blob>> {
        Blob::decode(&self.read(&[id.into()]).await?[0]).map(Arc::new)
    }

    async fn chunks(&self, chunks: &[ChunkRef]) -> Result<Vec<Bytes>> {
        let ids: Vec<ObjectId> = chunks.iter().map(|chunk| chunk.id.into()).collect();
        self.read(&ids).await
    }
}

#[async_trait]
impl Publisher for MemoryBase {
    async fn allocate_inos(&self, _: &Lease, count: u64) -> Result<Ino> {
        Ok(Ino(self.next_ino.fetch_add(count, Ordering::Relaxed)))
    }

    async fn begin(&self, _: &Lease, base: SnapshotId, _: u64) -> Result<()> {
        *self.publishing.lock() = (Some(base), ChangeSet::default());
        Ok(())
    }

    async fn put_chunks(&self, _: &Lease, _: u64, chunks: Vec<Bytes>) -> Result<Vec<ChunkRef>> {
        let mut refs = Vec::new();
        for content in chunks {
            refs.push(chunk_ref(self.objects.key(), &content));
            self.objects.add(ObjectKind::Chunk, content).await?;
        }
        Ok(refs)
    }

    async fn put_changes(&self, _: &Lease, _: u64, changes: ChangeSet) -> Result<()> {
        let mut publishing = self.publishing.lock();
        publishing.1.nodes.extend(changes.nodes);
        publishing.1.directories.extend(changes.directories);
        publishing.1.unlinked.extend(changes.unlinked);
        Ok(())
    }

    async fn commit(&self, _: &Lease, position: u64, note: PublishNote) -> Result<Published> {
        let (base, changes) = std::mem::take(&mut *self.publishing.lock());
        let base = base.ok_or_else(|| Error::new(Kind::Conflict, "nothing was begun"))?;
        let before = self.snapshot(base);
        let built = build(&self.objects, &before, &changes).await?;
        let snapshot = Snapshot {
            root: built.root,
            links: built.links,
            parents: vec![base],
            author: note.author.clone(),
            time: SystemClock.now(),
            message: note.message.clone(),
            automatic: note.automatic,
            provenance: note.provenance(),
        };
        let id = self.objects.key().snapshot_id(&snapshot.encode());
        let links = snapshot.links;
        self.snapshots.lock().insert(id, snapshot);
        *self.head.lock() = (id, position);
        Ok(Published { snapshot: id, trees: built.trees, blobs: built.blobs, links })
    }
}
