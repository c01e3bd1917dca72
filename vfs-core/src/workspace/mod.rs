//! A workspace in the hands of its holder: base snapshot + overlay + journal.
//!
//! An operation answers from memory or says what is missing ([`Stop::Miss`]); nothing here waits for network or disk
//! but the write of the journal. Whoever asks fetches with [`Workspace::fill`] and asks again.
//!
//! Lock order: `publishing` (a checkpoint or swap at a time), then `state`. `state` is never held across an await, and
//! nothing under it calls back into a mount. The committer takes `state` for moments only.
//!
//! Acknowledged means: written to the journal, in order. [`Workspace::sync`] makes it survive a power cut, a checkpoint
//! publishes it.

mod answer;
mod attributes;
mod cache;
mod committer;
mod content;
mod counted;
mod data;
#[cfg(feature = "testing")]
pub(crate) mod decoders;
mod extents;
mod folder;
mod inode;
mod journal;
mod listing;
mod names;
mod open;
mod publish;
mod record;
mod replace;
mod send;
mod state;
mod swap;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

pub use answer::{
    Allocate, Answer, Attr, Listed, Miss, NewNode, RenameMode, Seek, SetAttr, SetXattr, Statfs, Stop, TimeChange,
};
pub use committer::Done;
pub use folder::{HolderFolder, HolderInfo};
pub use replace::Replaced;

use crate::base::{Lease, Publisher};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::id::SnapshotId;
use crate::limits::{FREEZE_MAX, INO_RANGE, MISS_DEADLINE};
use crate::name::Name;
use crate::object::Ino;
use committer::Committer;
use record::Record;
use state::State;

const SET_USER_ID: u16 = 0o4000;
const SET_GROUP_ID: u16 = 0o2000;

/// Something that the kernel must forget after the base was swapped, or a file was changed by path. Children come before parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invalidation {
    /// Every name, known and known to be absent; where the kernel cannot do that, the entries that follow.
    AllNames,
    /// Attributes and content of an inode.
    Inode(Ino),
    /// Attributes and names of a directory: an inode with nothing that could be dirty in a mapping.
    Listing(Ino),
    /// Attributes of an inode; its content has not changed.
    Attributes(Ino),
    /// A name of a directory.
    Entry(Ino, Name),
}

/// What `esker status` shows of a mount.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// The snapshot below the overlay.
    pub base: SnapshotId,
    /// Epoch of the lease; 0 where there is none.
    pub epoch: u64,
    /// Inodes changed since the base.
    pub changed_inodes: u64,
    /// Bytes in the journal that are not published.
    pub journal_bytes: u64,
    /// Of those, bytes not yet synced to disk.
    pub unsynced_bytes: u64,
    /// Inodes in memory.
    pub known_inodes: u64,
    /// Bytes of tree nodes, blobs and content cached in memory.
    pub cache_bytes: u64,
}

/// What a holder has beside the overlay.
struct Holding {
    folder: HolderFolder,
    lease: Mutex<Lease>,
    base: Arc<dyn Publisher>,
    committer: Committer,
}

/// When the overlay changed.
#[derive(Debug, Clone, Copy)]
struct Dirty {
    first: Instant,
    last: Instant,
}

/// A workspace that can be read and, by its holder, written.
pub struct Workspace {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
    holding: Option<Holding>,
    /// The cut that is being published, or was sent without an answer; one at a time.
    publishing: tokio::sync::Mutex<Option<publish::Pending>>,
    allocating: tokio::sync::Mutex<()>,
    dirty: Mutex<Option<Dirty>>,
    thawed: Notify,
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workspace").finish_non_exhaustive()
    }
}

impl Workspace {
    fn new(
        state: Arc<Mutex<State>>,
        clock: Arc<dyn Clock>,
        holding: Option<(HolderFolder, Lease, Arc<dyn Publisher>, Committer)>,
    ) -> Arc<Workspace> {
        let holding = holding.map(|(folder, lease, base, committer)| Holding {
            folder,
            lease: Mutex::new(lease),
            base,
            committer,
        });
        Arc::new(Workspace {
            state,
            clock,
            holding,
            publishing: tokio::sync::Mutex::default(),
            allocating: tokio::sync::Mutex::default(),
            dirty: Mutex::default(),
            thawed: Notify::new(),
        })
    }

    fn holding(&self) -> Result<&Holding> {
        self.holding.as_ref().ok_or_else(|| Error::new(Kind::Denied, "the workspace is shown read-only"))
    }

    /// Fetches what was missing; `Unavailable` when the deadline has passed.
    pub async fn fill(&self, miss: Miss) -> Result<()> {
        let deadline = if miss == Miss::Thaw { FREEZE_MAX } else { MISS_DEADLINE };
        match tokio::time::timeout(deadline, self.fill_without_deadline(&miss)).await {
            Ok(result) => result,
            Err(_) if miss == Miss::Thaw => {
                tracing::warn!("a restore did not come to its end; changes go on");
                self.thaw();
                Ok(())
            }
            Err(_) => Err(Error::new(Kind::Unavailable, "the engine did not answer in time")),
        }
    }

    async fn fill_without_deadline(&self, miss: &Miss) -> Result<()> {
        match miss {
            Miss::Inos => self.take_inos().await,
            Miss::Names(ino) => self.read_names(*ino).await,
            Miss::Thaw => {
                let thawed = self.thawed.notified();
                if self.state.lock().frozen {
                    thawed.await;
                }
                Ok(())
            }
            Miss::Trees(_) | Miss::Blob(_) | Miss::Chunks(_) => {
                let cache = self.state.lock().cache.clone();
                cache.fill(miss).await
            }
        }
    }

    async fn take_inos(&self) -> Result<()> {
        let _one_at_a_time = self.allocating.lock().await;
        if !self.state.lock().free_inos.is_empty() {
            return Ok(());
        }
        let holding = self.holding()?;
        let lease = *holding.lease.lock();
        let first = holding.base.allocate_inos(&lease, INO_RANGE).await?;
        self.state.lock().change(&Record::Inos { first: first.0, count: INO_RANGE }, &[])
    }

    /// Reads the names of a large directory, whose nodes would not all stay in memory.
    async fn read_names(&self, ino: Ino) -> Result<()> {
        let (base, cache) = {
            let state = self.state.lock();
            (state.inode(ino)?.directory().and_then(|directory| directory.base), state.cache.clone())
        };
        let Some(base) = base else { return Ok(()) };
        let rows = cache.read_rows(base).await?;
        let mut state = self.state.lock();
        if state.inode(ino)?.directory().and_then(|directory| directory.base) == Some(base) {
            state.keep_view(ino, rows.into_iter());
        }
        Ok(())
    }

    /// Calls `done` once everything written so far is on disk, or with the reason why it is not.
    pub fn sync(&self, done: Done) {
        match &self.holding {
            Some(holding) => holding.committer.sync(done),
            None => done(Ok(())),
        }
    }

    /// Like [`Workspace::sync`], for async callers; returns the position that is on disk.
    async fn sync_position(&self) -> Result<u64> {
        let position = self.state.lock().journal.as_ref().map_or(0, |journal| journal.position());
        let (send, receive) = tokio::sync::oneshot::channel();
        self.sync(Box::new(move |result| drop(send.send(result))));
        receive.await.map_err(|_| Error::new(Kind::Unavailable, "the workspace is closed"))??;
        Ok(position)
    }

    /// Lets no change through: mutations wait until the thaw.
    fn freeze(&self) {
        self.state.lock().frozen = true;
    }

    /// Lets changes through again.
    pub fn thaw(&self) {
        self.state.lock().frozen = false;
        self.thawed.notify_waiters();
    }

    fn note_change(&self) {
        let now = Instant::now();
        let mut dirty = self.dirty.lock();
        let first = dirty.map_or(now, |dirty| dirty.first);
        *dirty = Some(Dirty { first, last: now });
    }

    fn clear_dirty(&self) {
        *self.dirty.lock() = None;
    }

    /// When the oldest change was made that no checkpoint has taken yet.
    pub fn dirty_since(&self) -> Option<Instant> {
        self.dirty.lock().map(|dirty| dirty.first)
    }

    /// When the newest such change was made.
    pub fn quiet_since(&self) -> Option<Instant> {
        self.dirty.lock().map(|dirty| dirty.last)
    }

    /// Goes on under another epoch, after the engine was attached again.
    pub fn renew_lease(&self, lease: Lease) -> Result<()> {
        *self.holding()?.lease.lock() = lease;
        Ok(())
    }

    /// The lease under which the workspace is held.
    pub fn lease(&self) -> Result<Lease> {
        Ok(*self.holding()?.lease.lock())
    }

    /// The snapshot below the overlay.
    pub fn base(&self) -> SnapshotId {
        self.state.lock().base
    }

    /// Sizes, positions and what is not published.
    pub fn status(&self) -> Status {
        let state = self.state.lock();
        let journal = state.journal.as_ref();
        let changed = state.changed.len() + state.unlinked.len();
        Status {
            base: state.base,
            epoch: self.lease().map_or(0, |lease| lease.epoch),
            changed_inodes: changed as u64,
            journal_bytes: journal.filter(|_| changed > 0).map_or(0, |journal| journal.position() - journal.first()),
            unsynced_bytes: journal.map_or(0, |journal| journal.position().saturating_sub(journal.synced())),
            known_inodes: state.inodes.len() as u64,
            cache_bytes: state.cache.bytes(),
        }
    }

    /// Bytes of the disk under the journal: all, and free.
    fn folder_space(&self) -> Option<(u64, u64)> {
        let space = rustix::fs::statvfs(self.holding.as_ref()?.folder.path()).ok()?;
        Some((space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize))
    }

    /// Syncs the journal and ends the committer. Later changes fail; unpublished ones stay in the journal.
    pub async fn close(&self) -> Result<()> {
        let result = if self.holding.is_some() { self.sync_position().await.map(drop) } else { Ok(()) };
        self.state.lock().closed = true;
        if let Some(holding) = &self.holding {
            holding.committer.stop();
        }
        result
    }
}
