//! What all requests share: the names, the open documents, and how the store is asked.
//!
//! Locks: the state, then a buffer; neither is held while anything is awaited.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use fuser::{Errno, FileAttr, INodeNo};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};
use vfs_core::clock::{Clock, SystemClock, Time};
use vfs_core::{Error, Kind, Result};

use super::buffer::Buffer;
use super::listing::{Head, Listing, Made};
use super::names::{Names, ROOT};
use super::{DocumentOptions, DocumentStore};
use crate::counters::Counters;
use crate::limits::{LISTING_AGE_MAX, PATHS_REMEMBERED_MAX, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN, SCOPE_REMEMBERED};
use crate::translate as to;

/// The answer to a change by name that somebody else was faster than. Not ESTALE, as at a close: on that the kernel
/// itself asks once more, and the caller would never hear of it.
pub(super) const CHANGED: Errno = Errno::EBUSY;

/// What every request works with.
pub(super) struct Core {
    pub(super) store: Arc<dyn DocumentStore>,
    /// The view as the store takes it.
    pub(super) view: String,
    scopes: Vec<String>,
    grants: Vec<String>,
    deadline: Duration,
    owner: (u32, u32),
    began: Time,
    pub(super) runtime: Handle,
    pub(super) counters: Counters,
    pub(super) state: Mutex<State>,
    /// One question for the list at a time.
    listing: tokio::sync::Mutex<()>,
    /// Rung whenever a closed document has arrived in the store.
    arrived: Notify,
}

/// What changes.
pub(super) struct State {
    pub(super) names: Names,
    pub(super) listing: Listing,
    pub(super) made: Made,
    pub(super) open: HashMap<u64, Arc<Open>>,
    /// Directories that are being read, as they were when they were opened.
    pub(super) folders: HashMap<u64, Arc<Vec<Listed>>>,
    pub(super) next_handle: u64,
    /// Changes made here; a list that was asked for before one of them is out of date.
    pub(super) changes: u64,
    /// The version of each path that was opened or stored last through this mount.
    pub(super) seen: HashMap<String, (String, u64)>,
    /// From which scope a path was removed, and when.
    pub(super) removed: HashMap<String, (String, Instant)>,
    /// Closed documents by path that are on their way to the store.
    leaving: HashMap<String, usize>,
}

/// An open document.
pub(super) struct Open {
    pub(super) number: u64,
    pub(super) can_write: bool,
    pub(super) buffer: Mutex<Buffer>,
    /// One letter at a time.
    pub(super) sending: tokio::sync::Mutex<()>,
}

/// One name of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) number: u64,
    pub(super) is_directory: bool,
    pub(super) name: String,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Directory,
    Document(Head),
}

/// How new an answer about names has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fresh {
    /// A moment old is good enough.
    Recently,
    /// As of now.
    Now,
}

impl Core {
    pub(super) fn new(store: Arc<dyn DocumentStore>, options: &DocumentOptions, runtime: Handle) -> Arc<Core> {
        // Older than anything that is asked for: nothing was listed yet.
        let long_ago = Instant::now().checked_sub(LISTING_AGE_MAX * 2).unwrap_or_else(Instant::now);
        let state = State {
            names: Names::new(),
            listing: Listing::new(Vec::new(), long_ago, 0),
            made: Made::default(),
            open: HashMap::new(),
            folders: HashMap::new(),
            next_handle: 1,
            changes: 1,
            seen: HashMap::new(),
            removed: HashMap::new(),
            leaving: HashMap::new(),
        };
        Arc::new(Core {
            store,
            view: options.view.join(","),
            scopes: options.view.clone(),
            grants: options.grants.clone(),
            deadline: options.deadline,
            owner: (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()),
            began: SystemClock.now(),
            runtime,
            counters: Counters::default(),
            state: Mutex::new(state),
            listing: tokio::sync::Mutex::new(()),
            arrived: Notify::new(),
        })
    }

    /// Answers from a task: EIO when the deadline has passed.
    pub(super) fn answer<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = Result<T, Errno>> + Send + 'static,
        reply: impl FnOnce(Result<T, Errno>) + Send + 'static,
    ) {
        let until = Instant::now() + self.deadline;
        self.runtime.spawn(async move {
            let answered = timeout_at(until, work).await.unwrap_or_else(|_| {
                tracing::warn!("the documents' store did not answer in time");
                Err(Errno::EIO)
            });
            reply(answered);
        });
    }

    /// Asks the store until it answers; one that is away is asked again until the request's deadline.
    pub(super) async fn ask<T, F>(&self, question: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            match question().await {
                Err(error) if error.kind() == Kind::Unavailable => {
                    tracing::debug!("the documents' store is away: {}", error.chain());
                    sleep(pause).await;
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                }
                answered => return answered,
            }
        }
    }

    /// Makes sure that the state's listing is fresh.
    pub(super) async fn refresh(&self, fresh: Fresh) -> Result<(), Errno> {
        let now = Instant::now();
        let _turn = self.listing.lock().await;
        let changes = {
            let state = self.state.lock();
            let oldest = match fresh {
                Fresh::Recently => now.checked_sub(LISTING_AGE_MAX).unwrap_or(now),
                Fresh::Now => now,
            };
            if state.listing.asked >= oldest && state.listing.changes == state.changes {
                return Ok(());
            }
            state.changes
        };
        let asked = Instant::now();
        let documents = self.ask(|| self.store.list(&self.view)).await.map_err(|error| errno(&error))?;
        let listing = Listing::new(documents, asked, changes);
        let mut state = self.state.lock();
        state.listing = listing;
        if state.names.len() > PATHS_REMEMBERED_MAX {
            state.names.drop_unknown();
        }
        Ok(())
    }

    /// What is at a path.
    pub(super) async fn entry(&self, path: &str, fresh: Fresh) -> Result<Option<Entry>, Errno> {
        self.refresh(fresh).await?;
        Ok(self.state.lock().entry(path))
    }

    /// What is at a path; a name that seems to be absent is asked for anew.
    pub(super) async fn find(&self, path: &str) -> Result<Option<Entry>, Errno> {
        match self.entry(path, Fresh::Recently).await? {
            Some(entry) => Ok(Some(entry)),
            None => self.entry(path, Fresh::Now).await,
        }
    }

    /// Waits until no closed document of this path is on its way to the store.
    pub(super) async fn arrivals(&self, path: &str) {
        loop {
            let arrived = self.arrived.notified();
            if !self.state.lock().leaving.contains_key(path) {
                return;
            }
            arrived.await;
        }
    }

    /// Waits until nothing is on its way to the store.
    pub(super) async fn settle(&self) {
        loop {
            let arrived = self.arrived.notified();
            if self.state.lock().leaving.is_empty() {
                return;
            }
            arrived.await;
        }
    }

    /// A closed document of this path is on its way.
    pub(super) fn leaves(&self, path: &str) {
        *self.state.lock().leaving.entry(path.to_owned()).or_default() += 1;
    }

    /// It has arrived, or is given up.
    pub(super) fn arrives(&self, path: &str) {
        let mut state = self.state.lock();
        let left = state.leaving.get_mut(path).map(|count| {
            *count -= 1;
            *count
        });
        if left == Some(0) {
            state.leaving.remove(path);
        }
        drop(state);
        self.arrived.notify_waiters();
    }

    /// Whether documents of a scope may be written.
    pub(super) fn may_write(&self, scope: &str) -> bool {
        self.grants.iter().any(|grant| grant == scope)
    }

    /// Where a new document goes: to the nearest scope that may be written, or back to where it was removed from.
    pub(super) fn scope_of_new(&self, path: &str) -> Result<String, Errno> {
        if let Some((scope, when)) = self.state.lock().removed.get(path)
            && when.elapsed() < SCOPE_REMEMBERED
        {
            return Ok(scope.clone());
        }
        self.scopes.iter().find(|scope| self.may_write(scope)).cloned().ok_or(Errno::EACCES)
    }

    pub(super) fn now(&self) -> Time {
        SystemClock.now()
    }

    /// Attributes for the kernel.
    pub(super) fn attributes(&self, number: u64, entry: &Entry) -> FileAttr {
        let (kind, perm, size, time) = match entry {
            Entry::Directory => (fuser::FileType::Directory, 0o755, 0, self.began),
            Entry::Document(head) => {
                let perm = if self.may_write(&head.scope) { 0o644 } else { 0o444 };
                (fuser::FileType::RegularFile, perm, head.size, head.time)
            }
        };
        let time = to::to_system(time);
        FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: std::time::UNIX_EPOCH,
            kind,
            perm,
            nlink: if kind == fuser::FileType::Directory { 2 } else { 1 },
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: to::BLOCK_BYTES,
            flags: 0,
        }
    }
}

impl State {
    /// What is at a path: what is open and not stored yet counts too.
    pub(super) fn entry(&self, path: &str) -> Option<Entry> {
        if self.is_directory(path) {
            return Some(Entry::Directory);
        }
        let unsent = self.unsent_at(path);
        match (self.listing.head(path), unsent) {
            (Some(head), Some((_, size, time))) => Some(Entry::Document(Head { size, time, ..head.clone() })),
            (Some(head), None) => Some(Entry::Document(head.clone())),
            (None, Some((scope, size, time))) => Some(Entry::Document(Head { scope, version: 0, size, time })),
            (None, None) => None,
        }
    }

    pub(super) fn is_directory(&self, path: &str) -> bool {
        path.is_empty() || self.made.contains(path) || self.listing.is_directory(path)
    }

    /// Scope, size and time of what was written last to a path and is not stored; of a document that has no version yet
    /// also if nothing was written.
    fn unsent_at(&self, path: &str) -> Option<(String, u64, Time)> {
        let unsent = self.open.values().filter_map(|open| {
            let buffer = open.buffer.lock();
            let counts = buffer.is_unsent() && buffer.path.as_deref() == Some(path);
            counts.then(|| (buffer.scope.clone(), buffer.len(), buffer.time))
        });
        unsent.max_by_key(|(_, _, time)| *time)
    }

    /// Paths of open documents that no store has yet.
    pub(super) fn new_paths(&self) -> Vec<String> {
        let new = self.open.values().filter_map(|open| {
            let buffer = open.buffer.lock();
            buffer.path.clone().filter(|_| buffer.is_new())
        });
        new.collect()
    }

    /// The path of a directory by its number.
    pub(super) fn directory(&self, number: u64) -> Result<String, Errno> {
        match self.names.path(number) {
            Some((path, true)) if number == ROOT || self.names.is_current(number) => Ok(path.to_owned()),
            Some((_, true)) => Err(Errno::ENOENT),
            Some((_, false)) => Err(Errno::ENOTDIR),
            None => Err(Errno::ESTALE),
        }
    }

    /// Remembers which version of a path was seen last.
    pub(super) fn saw(&mut self, path: &str, scope: &str, version: u64) {
        if self.seen.len() >= PATHS_REMEMBERED_MAX {
            self.seen.clear();
        }
        self.seen.insert(path.to_owned(), (scope.to_owned(), version));
    }

    /// A document was stored.
    pub(super) fn stored(&mut self, path: &str, scope: &str, version: u64) {
        self.changes += 1;
        self.made.used_by(path);
        self.removed.remove(path);
        self.saw(path, scope, version);
    }

    /// A document was removed: its directory stays, and a new one at its path goes to the same scope.
    pub(super) fn gone(&mut self, path: &str, scope: &str) {
        self.changes += 1;
        self.made.keep(super::names::parent(path));
        self.names.drop_path(path);
        self.seen.remove(path);
        if self.removed.len() >= PATHS_REMEMBERED_MAX {
            self.removed.clear();
        }
        self.removed.insert(path.to_owned(), (scope.to_owned(), Instant::now()));
    }

    /// A handle for the kernel.
    pub(super) fn handle(&mut self) -> u64 {
        self.next_handle += 1;
        self.next_handle
    }
}

/// The errno of a store's error. What the caller only sees as EIO is logged with its causes.
pub(super) fn errno(error: &Error) -> Errno {
    let errno = match error.kind() {
        Kind::Conflict => Errno::ESTALE,
        _ => to::errno(error),
    };
    if errno == Errno::EIO {
        tracing::warn!(kind = error.kind().as_str(), "request answered with EIO: {}", error.chain());
    }
    errno
}
