//! An engine in memory: enough to attach to and publish on, with faults on demand.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::base::{Attached, Base, Lease, PublishNote, Published, Publisher};
use crate::change::ChangeSet;
use crate::clock::{Clock, Time};
use crate::error::{Error, Kind, Result};
use crate::id::{BlobId, HolderId, IdKey, ObjectId, ObjectKind, SnapshotId, TreeId, WorkspaceId};
use crate::object::{Blob, Body, ChunkRef, Ino, Node, Provenance, Snapshot, TreeNode, XattrsRef};
use crate::objects::{MemoryObjects, NewObjects, Objects};
use crate::quota::{Quota, Usage};

pub(in crate::workspace) const WORKSPACE: WorkspaceId = WorkspaceId::from_bytes([3; 16]);

/// A clock that moves a little with every look.
#[derive(Debug, Default)]
pub(in crate::workspace) struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Time {
        Time { seconds: 1_700_000_000 + self.0.fetch_add(1, Ordering::Relaxed), nanos: 7 }
    }
}

pub(in crate::workspace) struct TestEngine {
    objects: MemoryObjects,
    state: Mutex<EngineState>,
    /// Commits wait for a permit.
    pub(in crate::workspace) gate: Semaphore,
    /// Gets a permit for every commit that waits at the gate.
    pub(in crate::workspace) waiting: Semaphore,
}

struct EngineState {
    head: SnapshotId,
    snapshots: HashMap<SnapshotId, Snapshot>,
    next_ino: u64,
    epoch: u64,
    position: u64,
    answer_of: Option<(u64, SnapshotId, SnapshotId)>,
    session: Option<(u64, SnapshotId, ChangeSet)>,
    lose_answers: bool,
    fail_commits: u32,
    quota: Quota,
}

fn empty(objects: &MemoryObjects) -> (Snapshot, Bytes) {
    let (subtree, bytes) = TreeNode::EMPTY.seal(objects.key());
    let root = Node {
        ino: Ino::ROOT,
        mode: 0o755,
        uid: 0,
        gid: 0,
        nlink: 1,
        mtime: Time::default(),
        ctime: Time::default(),
        body: Body::Directory(subtree),
        xattrs: XattrsRef::None,
    };
    let snapshot = Snapshot {
        root,
        links: None,
        parents: Vec::new(),
        author: String::new(),
        time: Time::default(),
        message: String::new(),
        automatic: false,
        provenance: Provenance::default(),
    };
    (snapshot, bytes.into())
}

impl TestEngine {
    pub(in crate::workspace) fn new() -> Arc<TestEngine> {
        let objects = MemoryObjects::new(IdKey::golden());
        let (snapshot, tree) = empty(&objects);
        futures::executor::block_on(objects.add(ObjectKind::Tree, tree)).unwrap();
        let head = objects.key().snapshot_id(&snapshot.encode());
        let state = EngineState {
            head,
            snapshots: HashMap::from([(head, snapshot)]),
            next_ino: 16,
            epoch: 0,
            position: 0,
            answer_of: None,
            session: None,
            lose_answers: false,
            fail_commits: 0,
            quota: Quota::NONE,
        };
        let (gate, waiting) = (Semaphore::new(Semaphore::MAX_PERMITS >> 1), Semaphore::new(0));
        Arc::new(TestEngine { objects, state: Mutex::new(state), gate, waiting })
    }

    pub(in crate::workspace) fn attach(&self, holder: HolderId) -> Attached {
        let mut state = self.state.lock();
        state.epoch += 1;
        Attached {
            lease: Lease { workspace: WORKSPACE, holder, epoch: state.epoch },
            name: "test".into(),
            head: state.head,
            snapshot: state.snapshots[&state.head].clone(),
            position: state.position,
            quota: state.quota,
        }
    }

    pub(in crate::workspace) fn set_quota(&self, quota: Quota) {
        self.state.lock().quota = quota;
    }

    /// What the published head holds.
    pub(in crate::workspace) fn usage(&self) -> Usage {
        let state = self.state.lock();
        Usage::of(&state.snapshots[&state.head])
    }

    pub(in crate::workspace) fn head(&self) -> SnapshotId {
        self.state.lock().head
    }

    pub(in crate::workspace) fn has_link_table(&self) -> bool {
        let state = self.state.lock();
        state.snapshots[&state.head].links.is_some()
    }

    pub(in crate::workspace) fn lose_answers(&self, lose: bool) {
        self.state.lock().lose_answers = lose;
    }

    pub(in crate::workspace) fn fail_commits(&self, count: u32) {
        self.state.lock().fail_commits = count;
    }

    /// Somebody else restores the first snapshot under another name.
    pub(in crate::workspace) async fn move_head_elsewhere(&self) {
        let head = self.head();
        self.restore(head);
        self.state.lock().position = 0;
    }

    /// Moves the head to a snapshot that shows what `old` shows.
    pub(in crate::workspace) fn restore(&self, old: SnapshotId) -> (SnapshotId, Snapshot) {
        let mut state = self.state.lock();
        let mut snapshot = state.snapshots[&old].clone();
        snapshot.message = format!("restored after {}", state.head);
        let id = self.objects.key().snapshot_id(&snapshot.encode());
        state.head = id;
        state.snapshots.insert(id, snapshot.clone());
        (id, snapshot)
    }
}

#[async_trait]
impl Base for TestEngine {
    async fn trees(&self, ids: &[TreeId]) -> Result<Vec<Arc<TreeNode>>> {
        let ids: Vec<ObjectId> = ids.iter().map(|id| (*id).into()).collect();
        let nodes = self.objects.read_many(&ids).await?;
        nodes.iter().map(|bytes| TreeNode::decode(bytes).map(Arc::new)).collect()
    }

    async fn blob(&self, id: BlobId) -> Result<Arc<Blob>> {
        Blob::decode(&self.objects.read(id.into()).await?).map(Arc::new)
    }

    async fn chunks(&self, chunks: &[ChunkRef]) -> Result<Vec<Bytes>> {
        let ids: Vec<ObjectId> = chunks.iter().map(|chunk| chunk.id.into()).collect();
        self.objects.read_many(&ids).await
    }
}

#[async_trait]
impl Publisher for TestEngine {
    async fn allocate_inos(&self, _lease: &Lease, count: u64) -> Result<Ino> {
        let mut state = self.state.lock();
        let first = state.next_ino;
        state.next_ino += count;
        Ok(Ino(first))
    }

    async fn begin(&self, lease: &Lease, base: SnapshotId, position: u64) -> Result<()> {
        let mut state = self.state.lock();
        let repeated = state.answer_of.is_some_and(|(at, on, _)| (at, on) == (position, base));
        if lease.epoch != state.epoch {
            return Err(Error::new(Kind::LeaseLost, "another epoch"));
        }
        if base != state.head && !repeated {
            return Err(Error::new(Kind::Conflict, "another head"));
        }
        state.session = Some((position, base, ChangeSet::default()));
        Ok(())
    }

    async fn put_chunks(&self, _lease: &Lease, _position: u64, chunks: Vec<Bytes>) -> Result<Vec<ChunkRef>> {
        let mut named = Vec::new();
        for chunk in chunks {
            named.push(crate::chunk::chunk_ref(self.objects.key(), &chunk));
            self.objects.add(ObjectKind::Chunk, chunk).await?;
        }
        Ok(named)
    }

    async fn put_changes(&self, _lease: &Lease, _position: u64, changes: ChangeSet) -> Result<()> {
        let changes = ChangeSet::decode(&changes.encode())?;
        let mut state = self.state.lock();
        let (_, _, session) = state.session.as_mut().ok_or_else(|| Error::new(Kind::Conflict, "no session"))?;
        session.nodes.extend(changes.nodes);
        session.directories.extend(changes.directories);
        session.unlinked.extend(changes.unlinked);
        Ok(())
    }

    async fn commit(&self, _lease: &Lease, position: u64, note: PublishNote) -> Result<Published> {
        self.waiting.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
        self.gate.add_permits(usize::from(self.gate.available_permits() > 1000));
        let (base, changes) = {
            let mut state = self.state.lock();
            if state.fail_commits > 0 {
                state.fail_commits -= 1;
                return Err(Error::new(Kind::Unavailable, "asked to fail"));
            }
            let (_, base, changes) = state.session.take().ok_or_else(|| Error::new(Kind::Conflict, "no session"))?;
            (base, changes)
        };
        let on = self.state.lock().snapshots[&base].clone();
        let built = crate::build::build(&self.objects, &on, &changes).await?;
        let snapshot =
            Snapshot { root: built.root, links: built.links, message: note.message, parents: vec![base], ..on };
        let id = self.objects.key().snapshot_id(&snapshot.encode());
        let mut state = self.state.lock();
        let repeated = state.answer_of.filter(|(at, on, _)| (*at, *on) == (position, base)).map(|(.., id)| id);
        let id = repeated.unwrap_or(id);
        if repeated.is_none() {
            state.head = id;
            state.position = position;
            state.snapshots.insert(id, snapshot);
            state.answer_of = Some((position, base, id));
        }
        if state.lose_answers {
            return Err(Error::new(Kind::Unavailable, "the answer was lost"));
        }
        Ok(Published { snapshot: id, trees: built.trees, blobs: built.blobs, links: built.links })
    }
}
