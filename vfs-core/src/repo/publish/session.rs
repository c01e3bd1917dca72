//! Open publishes: at most one for each workspace, the newest.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::{Lease, Published};
use crate::change::{ChangeSet, DirectoryChange, NodeChange};
use crate::clock::Time;
use crate::error::{Error, Kind, Result};
use crate::id::{SnapshotId, WorkspaceId};
use crate::limits::{PUBLISH_CHANGES_MAX, PUBLISH_IDLE, PUBLISHES_MAX};
use crate::name::Name;
use crate::object::{Ino, Snapshot};
use crate::store::Batch;

/// What names a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::repo) struct SessionKey {
    pub(in crate::repo) lease: Lease,
    pub(in crate::repo) position: u64,
}

/// One open publish.
pub(in crate::repo) struct Session {
    pub(super) base: SnapshotId,
    pub(super) snapshot: Snapshot,
    /// The head that this publish led to when it was committed before.
    pub(super) replayed: Option<SnapshotId>,
    pub(super) batch: Batch,
    gathered: Mutex<Gathered>,
    last_used: Mutex<Time>,
    /// The answer, once it was committed.
    pub(super) done: tokio::sync::Mutex<Option<Published>>,
}

/// Changes by inode and name, so that a part that is sent twice counts once.
#[derive(Default)]
struct Gathered {
    nodes: BTreeMap<Ino, NodeChange>,
    /// For each directory, what each name stands for now; `None` removes it.
    directories: BTreeMap<Ino, BTreeMap<Name, Option<Ino>>>,
    unlinked: BTreeSet<Ino>,
    names: usize,
}

impl Session {
    pub(super) fn new(
        base: SnapshotId,
        snapshot: Snapshot,
        replayed: Option<SnapshotId>,
        batch: Batch,
        now: Time,
    ) -> Self {
        let (gathered, done) = (Mutex::default(), tokio::sync::Mutex::default());
        Session { base, snapshot, replayed, batch, gathered, last_used: Mutex::new(now), done }
    }

    pub(super) fn add(&self, changes: ChangeSet) -> Result<()> {
        let mut gathered = self.gathered.lock();
        for change in changes.nodes {
            gathered.nodes.insert(change.node.ino, change);
        }
        for directory in changes.directories {
            let names = gathered.directories.entry(directory.ino).or_default();
            let before = names.len();
            names.extend(directory.removals.into_iter().map(|name| (name, None)));
            names.extend(directory.upserts.into_iter().map(|(name, ino)| (name, Some(ino))));
            let more = names.len() - before;
            gathered.names += more;
        }
        gathered.unlinked.extend(changes.unlinked);
        let size = gathered.nodes.len() + gathered.names + gathered.unlinked.len();
        if size > PUBLISH_CHANGES_MAX {
            let message = format!("a publish may change at most {PUBLISH_CHANGES_MAX} inodes and names");
            return Err(Error::new(Kind::LimitExceeded, message));
        }
        Ok(())
    }

    #[cfg(test)]
    pub(in crate::repo) async fn flush_for_tests(&self) {
        self.batch.finish().await.unwrap();
    }

    pub(super) fn changes(&self) -> ChangeSet {
        let gathered = self.gathered.lock();
        let directories = gathered.directories.iter().map(|(ino, names)| {
            let mut change = DirectoryChange { ino: *ino, upserts: Vec::new(), removals: Vec::new() };
            for (name, target) in names {
                match target {
                    Some(target) => change.upserts.push((name.clone(), *target)),
                    None => change.removals.push(name.clone()),
                }
            }
            change
        });
        ChangeSet {
            nodes: gathered.nodes.values().cloned().collect(),
            directories: directories.collect(),
            unlinked: gathered.unlinked.iter().copied().collect(),
        }
    }
}

/// All open publishes.
#[derive(Default)]
pub(in crate::repo) struct Sessions(Mutex<HashMap<WorkspaceId, (SessionKey, Arc<Session>)>>);

/// Whether nobody has asked for a session for so long that its holder must be gone. It may always begin again.
fn is_idle(session: &Session, now: Time) -> bool {
    let idle_nanos = now.as_nanos() - session.last_used.lock().as_nanos();
    idle_nanos.unsigned_abs() >= PUBLISH_IDLE.as_nanos()
}

impl Sessions {
    /// Opens one; an older one of the same workspace is forgotten.
    pub(super) fn open(&self, key: SessionKey, session: Session) -> Result<()> {
        let now = *session.last_used.lock();
        self.forget_idle(now);
        let mut sessions = self.0.lock();
        if sessions.len() >= PUBLISHES_MAX && !sessions.contains_key(&key.lease.workspace) {
            return Err(Error::new(
                Kind::Unavailable,
                format!("{PUBLISHES_MAX} publishes are open already: try later"),
            ));
        }
        sessions.insert(key.lease.workspace, (key, Arc::new(session)));
        Ok(())
    }

    pub(super) fn get(&self, key: &SessionKey, now: Time) -> Result<Arc<Session>> {
        match self.0.lock().get(&key.lease.workspace) {
            Some((found, session)) if found == key => {
                *session.last_used.lock() = now;
                Ok(session.clone())
            }
            _ => Err(Error::new(Kind::Conflict, "this publish is not open (any more): begin it again")),
        }
    }

    /// Forgets sessions that nobody uses: their packs are pinned and their changes take memory.
    pub(crate) fn forget_idle(&self, now: Time) {
        self.0.lock().retain(|_, (_, session)| !is_idle(session, now));
    }

    /// What open publishes build on.
    pub(in crate::repo) fn bases(&self) -> HashSet<SnapshotId> {
        self.0.lock().values().map(|(_, session)| session.base).collect()
    }

    pub(in crate::repo) fn forget(&self, workspace: WorkspaceId) {
        self.0.lock().remove(&workspace);
    }

    pub(in crate::repo) fn forget_lease(&self, lease: &Lease) {
        self.0.lock().retain(|_, (key, _)| key.lease != *lease);
    }

    pub(super) fn forget_session(&self, key: &SessionKey, session: &Arc<Session>) {
        self.0.lock().retain(|_, (found, other)| found != key || !Arc::ptr_eq(other, session));
    }

    #[cfg(test)]
    pub(in crate::repo) fn get_for_tests(&self, workspace: WorkspaceId) -> (SessionKey, Arc<Session>) {
        self.0.lock()[&workspace].clone()
    }

    #[cfg(test)]
    pub(in crate::repo) fn put_for_tests(&self, session: (SessionKey, Arc<Session>)) {
        self.0.lock().insert(session.0.lease.workspace, session);
    }
}
