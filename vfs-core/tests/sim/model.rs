//! The reference model: what was acknowledged must be there, what was tried may be there, nothing else is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use vfs_core::id::{SnapshotId, WorkspaceId};

use crate::files::Files;

/// Shared by all actors of a world.
#[derive(Clone, Default)]
pub(crate) struct Model(pub(crate) Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    /// What snapshots hold that somebody was told of, or that were found later and were right.
    pub(crate) contents: HashMap<SnapshotId, Files>,
    pub(crate) spaces: BTreeMap<WorkspaceId, Space>,
    /// Workspaces that somebody tried to make: name and snapshot.
    pub(crate) makings: Vec<(String, Option<SnapshotId>)>,
    /// Acknowledged versions of documents.
    pub(crate) documents: BTreeMap<(String, u64), Bytes>,
    /// Publishes that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Whether garbage that a reader meets may look like damage: a gc without grace deletes while somebody reads.
    pub(crate) late_reads: u64,
}

/// A workspace.
#[derive(Debug, Clone)]
pub(crate) struct Space {
    pub(crate) name: String,
    pub(crate) first: SnapshotId,
    pub(crate) deleted: Deleted,
    /// Acknowledged moves. Where a restore moved from, it alone knows.
    pub(crate) moves: Vec<(Option<SnapshotId>, SnapshotId)>,
    /// Moves whose end nobody knows.
    pub(crate) attempts: Vec<(Option<SnapshotId>, Files)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deleted {
    No,
    Maybe,
    Yes,
}

impl Model {
    /// Somebody is about to make a workspace.
    pub(crate) fn makes(&self, name: &str, at: Option<SnapshotId>) {
        self.0.lock().makings.push((name.to_owned(), at));
    }

    /// It was made.
    pub(crate) fn made(&self, id: WorkspaceId, name: &str, head: SnapshotId, files: Option<Files>) {
        let mut state = self.0.lock();
        if let Some(files) = files {
            state.contents.insert(head, files);
        }
        state.spaces.entry(id).or_insert(Space {
            name: name.to_owned(),
            first: head,
            deleted: Deleted::No,
            moves: Vec::new(),
            attempts: Vec::new(),
        });
    }

    /// Somebody is about to move a head from `from` to a snapshot that holds `files`.
    pub(crate) fn moves(&self, id: WorkspaceId, from: Option<SnapshotId>, files: &Files) {
        if let Some(space) = self.0.lock().spaces.get_mut(&id) {
            space.attempts.push((from, files.clone()));
        }
    }

    /// It was refused for sure: it must not be found.
    pub(crate) fn refused(&self, id: WorkspaceId, from: Option<SnapshotId>, files: &Files) {
        if let Some(space) = self.0.lock().spaces.get_mut(&id)
            && let Some(place) = space.attempts.iter().rposition(|attempt| (attempt.0, &attempt.1) == (from, files))
        {
            space.attempts.remove(place);
        }
    }

    /// It was acknowledged.
    pub(crate) fn moved(&self, id: WorkspaceId, from: Option<SnapshotId>, to: SnapshotId, files: &Files) {
        self.refused(id, from, files);
        let mut state = self.0.lock();
        let before = state.contents.insert(to, files.clone());
        assert!(before.is_none_or(|before| before == *files), "the snapshot {to} was acknowledged with other files");
        if let Some(space) = state.spaces.get_mut(&id) {
            // The answer to a publish that was repeated comes twice.
            if !space.moves.contains(&(from, to)) {
                space.moves.push((from, to));
                state.acknowledged += 1;
            }
        }
    }

    pub(crate) fn deletes(&self, id: WorkspaceId, how: Deleted) {
        if let Some(space) = self.0.lock().spaces.get_mut(&id)
            && space.deleted != Deleted::Yes
        {
            space.deleted = how;
        }
    }

    /// The files of a snapshot, if the model knows them.
    pub(crate) fn files(&self, snapshot: SnapshotId) -> Option<Files> {
        self.0.lock().contents.get(&snapshot).cloned()
    }

    /// Whether a workspace is there for sure.
    pub(crate) fn stands(&self, id: WorkspaceId) -> bool {
        self.0.lock().spaces.get(&id).is_some_and(|space| space.deleted == Deleted::No)
    }

    /// What a reader found in the head of a workspace.
    pub(crate) fn saw(&self, id: WorkspaceId, head: SnapshotId, found: &Files) {
        let mut state = self.0.lock();
        if let Some(known) = state.contents.get(&head) {
            assert_eq!(known, found, "the snapshot {head} does not hold what was acknowledged");
            return;
        }
        let Some(space) = state.spaces.get(&id) else { return };
        let tried = space.attempts.iter().any(|(_, files)| files == found);
        let forked = space.first == head;
        assert!(tried || forked, "the head {head} of {} holds what nobody wrote: {:?}", space.name, found.keys());
        state.contents.insert(head, found.clone());
    }
}
