//! The engine's side of a publish (decision 0007): sessions that gather what a holder sends, and the commit.
//!
//! A session lives in memory only. Whatever is lost with it was not acknowledged: the holder begins again. What a
//! holder sends is not believed: content is named here, and everything it refers to must be in the store.

mod session;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub(super) use session::Sessions;
use session::{Session, SessionKey};

use super::Repo;
use super::leases::current;
use super::moves::{Move, Mover, moved};
use super::workspaces::{add_snapshot, new_snapshot};
use crate::base::{Lease, PublishNote, Published, Publisher};
use crate::build::{Built, build};
use crate::change::ChangeSet;
use crate::db::{counters, refs};
use crate::error::{Error, Kind, Result};
use crate::id::{ChunkId, ObjectId, ObjectKind, PlainDigest, SnapshotId};
use crate::limits::{CHUNK_MAX, INO_TAKE_MAX};
use crate::object::{Blob, Body, ChunkRef, Content, Extent, Ino, Snapshot, XattrsRef};
use crate::objects::{NewObjects, Objects};
use crate::quota::Usage;
use crate::store::Batch;

/// Inode numbers below are never given out: 1 is the root, 2 to 15 are kept back.
pub(crate) const INO_FIRST: u64 = 16;

#[async_trait]
impl Publisher for Repo {
    async fn allocate_inos(&self, lease: &Lease, count: u64) -> Result<Ino> {
        {
            let mut connection = self.database().read().await?;
            current(&mut connection, lease).await?;
        }
        self.take_inos(count).await
    }

    async fn begin(&self, lease: &Lease, base: SnapshotId, position: u64) -> Result<()> {
        let key = SessionKey { lease: *lease, position };
        let head = {
            let mut connection = self.database().read().await?;
            current(&mut connection, lease).await?;
            refs::get(&mut connection, lease.workspace).await?
        };
        // The answer of this very publish was lost: build it again, move nothing.
        let replayed =
            (head.covered == Some((lease.holder, position)) && head.snapshot != base).then_some(head.snapshot);
        if head.snapshot != base && replayed.is_none() {
            return Err(moved());
        }
        if let Ok(session) = self.inner.sessions.get(&key, self.now())
            && session.base == base
            && !session.batch.is_broken()
        {
            return Ok(());
        }
        let snapshot = self.snapshot(base).await?;
        self.inner.sessions.open(key, Session::new(base, snapshot, replayed, self.batch(), self.now()))
    }

    async fn put_chunks(&self, lease: &Lease, position: u64, chunks: Vec<Bytes>) -> Result<Vec<ChunkRef>> {
        let session = self.inner.sessions.get(&SessionKey { lease: *lease, position }, self.now())?;
        if let Some(wrong) = chunks.iter().find(|chunk| !(1..=CHUNK_MAX).contains(&chunk.len())) {
            let message = format!("a chunk has {} bytes: 1 to {CHUNK_MAX} are possible", wrong.len());
            return Err(Error::new(Kind::Invalid, message));
        }
        let (digests, chunks) = plain_digests(chunks).await?;
        let mut refs = Vec::with_capacity(chunks.len());
        for (digest, chunk) in digests.into_iter().zip(chunks) {
            let length = chunk.len() as u32;
            let id = session.batch.add(ObjectKind::Chunk, chunk).await?;
            refs.push(ChunkRef { id: ChunkId::from_bytes(id.hash), digest, length });
        }
        Ok(refs)
    }

    async fn put_changes(&self, lease: &Lease, position: u64, changes: ChangeSet) -> Result<()> {
        self.inner.sessions.get(&SessionKey { lease: *lease, position }, self.now())?.add(changes)
    }

    async fn commit(&self, lease: &Lease, position: u64, note: PublishNote) -> Result<Published> {
        let key = SessionKey { lease: *lease, position };
        let session = self.inner.sessions.get(&key, self.now())?;
        let mut done = session.done.lock().await;
        if let Some(published) = &*done {
            return Ok(published.clone());
        }
        let result = self.commit_session(lease, position, &session, &note).await;
        match result {
            Ok(published) => Ok(done.insert(published).clone()),
            Err(error) => {
                // What was gathered does not fit the world any more; begin again.
                if matches!(error.kind(), Kind::Conflict | Kind::LeaseLost) || session.batch.is_broken() {
                    self.inner.sessions.forget_session(&key, &session);
                }
                Err(error)
            }
        }
    }
}

impl Repo {
    pub(super) async fn count_inos(&self, count: u64) -> Result<Ino> {
        if !(1..=INO_TAKE_MAX).contains(&count) {
            let message = format!("{count} inode numbers cannot be taken at once: 1 to {INO_TAKE_MAX} can");
            return Err(Error::new(Kind::Invalid, message));
        }
        let mut transaction = self.database().begin().await?;
        let first = counters::take(&mut transaction, counters::INO, INO_FIRST, count).await?;
        self.database().commit(transaction).await?;
        Ok(Ino(first))
    }

    async fn commit_session(
        &self,
        lease: &Lease,
        position: u64,
        session: &Arc<Session>,
        note: &PublishNote,
    ) -> Result<Published> {
        let changes = session.changes();
        let batch = &session.batch;
        check_references(batch, &changes).await?;
        let built = match changes == ChangeSet::default() {
            // Nothing changed, but the snapshot gets a name, an author, a turn.
            true => unchanged(&session.snapshot),
            false => build(batch, &session.snapshot, &changes).await?,
        };
        if let Some(head) = session.replayed {
            return self.replay(head, built).await;
        }
        let time = self.now();
        let parents = parents_on(session.base, &session.snapshot);
        let snapshot = new_snapshot(built.root.clone(), built.links, parents, time, note);
        let usage = (Usage::of(&session.snapshot), Usage::of(&snapshot));
        let snapshot = add_snapshot(batch, snapshot).await?;
        let packs = batch.finish().await?;
        let step = Move {
            workspace: lease.workspace,
            mover: Mover::Holder(lease, position),
            expected: session.base,
            snapshot,
            usage,
            time,
            note,
            packs: &packs,
            source: None,
            keep_expected: None,
        };
        self.move_ref(&step).await?;
        Ok(published(snapshot, built))
    }

    /// The answer to a publish that was committed before: the same changes must give the same content.
    async fn replay(&self, head: SnapshotId, built: Built) -> Result<Published> {
        let snapshot = self.snapshot(head).await?;
        if (&snapshot.root, &snapshot.links) != (&built.root, &built.links) {
            let message = "this position was published before with other changes: attach again";
            return Err(Error::new(Kind::Conflict, message));
        }
        Ok(published(head, built))
    }
}

fn published(snapshot: SnapshotId, built: Built) -> Published {
    Published { snapshot, trees: built.trees, blobs: built.blobs, links: built.links }
}

fn unchanged(base: &Snapshot) -> Built {
    Built { root: base.root.clone(), links: base.links, trees: Vec::new(), blobs: Vec::new() }
}

/// The parents of a snapshot made on `base`: the newest one that was asked for (decision 0002).
pub(super) fn parents_on(base: SnapshotId, snapshot: &Snapshot) -> Vec<SnapshotId> {
    if snapshot.automatic { snapshot.parents.clone() } else { vec![base] }
}

async fn plain_digests(chunks: Vec<Bytes>) -> Result<(Vec<PlainDigest>, Vec<Bytes>)> {
    let digests = tokio::task::spawn_blocking(move || {
        let digests = chunks.iter().map(|chunk| PlainDigest::of(chunk)).collect();
        (digests, chunks)
    });
    digests.await.map_err(|error| Error::new(Kind::Internal, "hashing chunks panicked").because(error))
}

/// Everything that the changes name and this publish did not bring must be in the store, and stay there.
async fn check_references(batch: &Batch, changes: &ChangeSet) -> Result<()> {
    let mut chunks: Vec<ChunkRef> = Vec::new();
    let mut others: Vec<ObjectId> = Vec::new();
    for change in &changes.nodes {
        match (&change.node.body, &change.extents) {
            (_, Some(extents)) => chunks.extend(chunks_of(extents)),
            (Body::File(Content::Chunk(chunk)) | Body::Symlink(Content::Chunk(chunk)), _) => chunks.push(*chunk),
            (Body::File(Content::Blob { id, size }), _) => {
                others.push((*id).into());
                let blob = Blob::decode(&batch.read((*id).into()).await.map_err(unknown)?)?;
                if blob.size() != *size {
                    return Err(Error::new(Kind::Invalid, format!("the blob {id} has another size than its file")));
                }
                chunks.extend(chunks_of(&blob));
            }
            _ => {}
        }
        if let XattrsRef::Chunk(chunk) = &change.node.xattrs {
            chunks.push(*chunk);
        }
        others.extend(change.base_tree().map(ObjectId::from));
    }
    chunks.retain(|chunk| !batch.holds(&chunk.id.into()));
    let ids: Vec<ObjectId> = chunks.iter().map(|chunk| chunk.id.into()).collect();
    let lengths = batch.rely_on(&ids).await.map_err(unknown)?;
    if let Some((chunk, _)) = chunks.iter().zip(lengths).find(|(chunk, length)| chunk.length != *length) {
        return Err(Error::new(Kind::Invalid, format!("the chunk {} has another length than is said", chunk.id)));
    }
    batch.rely_on(&others).await.map_err(unknown)?;
    Ok(())
}

fn chunks_of(blob: &Blob) -> impl Iterator<Item = ChunkRef> {
    blob.extents().iter().filter_map(|extent| match extent {
        Extent::Chunk(chunk) => Some(*chunk),
        Extent::Hole(_) => None,
    })
}

fn unknown(error: Error) -> Error {
    match error.kind() {
        Kind::NotFound => {
            let message = format!("a publish names content that is not stored ({}): begin again", error.context());
            Error::new(Kind::Conflict, message).because(error)
        }
        _ => error,
    }
}
