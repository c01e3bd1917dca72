//! Opening a workspace: the attached base and what the journal holds beyond it.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Workspace;
use super::answer::{Answer, Stop};
use super::cache::CachedBase;
use super::committer::Committer;
use super::folder::{HolderFolder, State as FolderState};
use super::inode::{Inode, InodeXattrs};
use super::journal::{Found, Journal};
use super::record::{Place, Record};
use super::state::State;
use crate::base::{Attached, Base, Publisher};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::id::SnapshotId;
use crate::object::{Ino, Snapshot, Target};

/// Where a holder that never published starts.
const FIRST_POSITION: u64 = 1;

impl Workspace {
    /// Opens the overlay in `folder` on the attached base: replays the journal, or starts a new one.
    ///
    /// A journal that stands on another snapshot than the workspace's head cannot be published any more; it is put
    /// aside under `lost+found` and the overlay starts empty.
    pub async fn open(
        folder: HolderFolder,
        attached: Attached,
        base: Arc<dyn Publisher>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Workspace>> {
        let start = starting_point(&folder, &attached, &*clock)?;
        folder.write_state(Some(FolderState { base: attached.head, position: start }))?;
        let found = Found::open(folder.path(), folder.workspace(), start)?;
        let cache = Arc::new(CachedBase::new(base.clone()));
        let mut state = State::new(attached.head, &attached.snapshot, cache);
        state.quota = attached.quota;
        let replayed = if found.segments.is_empty() { start } else { replay(&mut state, &found).await? };
        let path = folder.path().to_owned();
        let mut journal = Journal::resume(&path, folder.workspace(), found.segments, replayed.max(start))?;
        if !state.free_inos.is_empty() {
            let (first, count) = (state.free_inos.start, state.free_inos.end - state.free_inos.start);
            journal.write(&Record::Inos { first, count }, &[])?;
        }
        state.journal = Some(journal);
        let changed = !state.changed.is_empty() || !state.unlinked.is_empty();
        let state = Arc::new(Mutex::new(state));
        let committer = Committer::start(Arc::downgrade(&state))?;
        let workspace = Workspace::new(state, clock, Some((folder, attached.lease, base, committer)));
        if changed {
            workspace.note_change();
        }
        Ok(workspace)
    }

    /// Shows a snapshot without an overlay; every change is `Denied`.
    pub async fn open_read_only(
        id: SnapshotId,
        snapshot: Snapshot,
        base: Arc<dyn Base>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Workspace>> {
        let state = State::new(id, &snapshot, Arc::new(CachedBase::new(base)));
        Ok(Workspace::new(Arc::new(Mutex::new(state)), clock, None))
    }
}

impl State {
    /// Lets go of fresh files that never got their name, after a replay.
    fn drop_nameless(&mut self) {
        let nameless = |(ino, inode): (&Ino, &Inode)| (inode.nlink == 0).then_some(*ino);
        for ino in self.inodes.iter().filter_map(nameless).collect::<Vec<_>>() {
            self.drop_if_idle(ino);
        }
    }
}

/// The position from which the journal has to be replayed on the attached head.
fn starting_point(folder: &HolderFolder, attached: &Attached, clock: &dyn Clock) -> Result<u64> {
    let Some(state) = folder.state() else { return Ok(attached.position.max(FIRST_POSITION)) };
    if state.base == attached.head {
        return Ok(state.position);
    }
    if attached.position > 0 && attached.position >= state.position {
        // The head is our work (else the position is 0): a publish was taken, only its answer got lost.
        return Ok(attached.position);
    }
    let found = Found::open(folder.path(), folder.workspace(), state.position)?;
    let end = found.end();
    if found.has_records() {
        let label = format!("{}-{}", folder.holder_id(), clock.now().seconds);
        let place = folder.put_aside(&label)?;
        tracing::warn!(
            place = %place.display(),
            "the workspace has moved to another snapshot while it was not mounted here; what was not published is kept aside"
        );
    }
    Ok(end.max(state.position).max(FIRST_POSITION))
}

async fn replay(state: &mut State, found: &Found) -> Result<u64> {
    let mut records = found.replay();
    while let Some((record, end)) = records.next()? {
        replay_record(state, &record, end).await?;
    }
    state.drop_nameless();
    Ok(records.position())
}

async fn replay_record(state: &mut State, record: &Record<'_>, end: u64) -> Result<()> {
    match *record {
        Record::Adopt { ino, place } => return adopt(state, ino, place).await,
        Record::Attr { ino, .. } | Record::Write { ino, .. } | Record::Zero { ino, .. } | Record::Xattr { ino, .. }
            if state.nameless.contains(&ino) =>
        {
            return Ok(());
        }
        Record::Xattr { ino, .. } => {
            let xattrs = patiently(state, |state| state.xattrs(ino)).await?;
            if let Some(inode) = state.inodes.get_mut(&ino) {
                inode.xattrs = InodeXattrs::Own(xattrs);
            }
        }
        _ => {}
    }
    let data_position = match record {
        Record::Write { length, .. } => end - length,
        _ => end,
    };
    state.apply(record, data_position, end)?;
    let lost = match *record {
        Record::Unlink { ino, .. } => Some(ino),
        Record::Rename { replaced, exchange: false, .. } | Record::Place { replaced, .. } => replaced,
        _ => None,
    };
    // An open file that lost its last name ended with the mount; later records may still speak of it.
    state.nameless.extend(lost.filter(|ino| !state.inodes.contains_key(ino)));
    Ok(())
}

async fn adopt(state: &mut State, ino: Ino, place: Place<'_>) -> Result<()> {
    match place {
        Place::Nowhere => drop(state.nameless.insert(ino)),
        _ if state.inodes.contains_key(&ino) => {}
        Place::LinkTable => patiently(state, |state| state.find_linked(ino, None)).await?,
        Place::Name { parent, name } => {
            let base = state.inode(parent)?.directory().and_then(|directory| directory.base);
            let base =
                base.ok_or_else(|| Error::corrupt("the journal adopts an inode from a directory without a base"))?;
            let entry = patiently(state, |state| state.cache.entry(base, name)).await?;
            match entry.map(|entry| (entry.name, entry.target)) {
                Some((name, Target::Node(node))) if node.ino == ino => {
                    state.bring_in(&node, Some((parent, name)), false)
                }
                _ => {
                    return Err(Error::corrupt(format!(
                        "the journal adopts inode {}, which is not in the base",
                        ino.0
                    )));
                }
            }
        }
    }
    if let Some(inode) = state.inodes.get_mut(&ino) {
        inode.adopted = state.period;
    }
    Ok(())
}

/// Asks until nothing is missing any more.
pub(super) async fn patiently<T>(state: &mut State, mut ask: impl FnMut(&mut State) -> Answer<T>) -> Result<T> {
    for _ in 0..crate::limits::MISS_ROUNDS_MAX {
        match ask(state) {
            Ok(answer) => return Ok(answer),
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::Miss(miss)) => state.cache.clone().fill(&miss).await?,
        }
    }
    Err(Error::new(Kind::Unavailable, "the base answered again and again without giving what was missing"))
}
