//! Group commit: one thread that syncs the journal for everybody who waits, and every second for those who do not.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::journal::Segment;
use super::state::State;
use crate::error::{Error, Kind, Result};
use crate::limits::COMMIT_INTERVAL;

/// Called when everything written before the call is on disk, or with the reason why not.
pub type Done = Box<dyn FnOnce(Result<()>) + Send>;

#[derive(Default)]
struct Queue {
    waiting: Vec<Done>,
    stop: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

/// The committer thread of one workspace.
pub(super) struct Committer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Committer {
    pub(super) fn start(state: Weak<Mutex<State>>) -> Result<Committer> {
        let shared = Arc::new(Shared { queue: Mutex::default(), wake: Condvar::new() });
        let thread = std::thread::Builder::new()
            .name("esker-commit".into())
            .spawn({
                let shared = shared.clone();
                move || run(&shared, &state)
            })
            .map_err(|error| Error::io("cannot start the thread that syncs the journal", error))?;
        Ok(Committer { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Calls `done` once everything written so far is on disk.
    pub(super) fn sync(&self, done: Done) {
        let mut queue = self.shared.queue.lock();
        if queue.stop {
            drop(queue);
            return done(Err(Error::new(Kind::Unavailable, "the workspace is closed")));
        }
        queue.waiting.push(done);
        self.shared.wake.notify_one();
    }

    /// Syncs once more and ends the thread.
    pub(super) fn stop(&self) {
        self.shared.queue.lock().stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(shared: &Shared, state: &Weak<Mutex<State>>) {
    // After a failed sync the kernel may have dropped what it could not write: the failure stays until the next attach.
    let mut failure: Option<String> = None;
    loop {
        let (waiting, stop) = {
            let mut queue = shared.queue.lock();
            if queue.waiting.is_empty() && !queue.stop {
                shared.wake.wait_for(&mut queue, COMMIT_INTERVAL);
            }
            (std::mem::take(&mut queue.waiting), queue.stop)
        };
        if failure.is_none() {
            failure = commit(state).err().map(|error| error.chain());
            if let Some(failure) = &failure {
                tracing::error!(failure, "the journal could not be synced; every fsync fails from now on");
            }
        }
        if waiting.is_empty() && failure.is_none() && !stop {
            mark(state);
        }
        for done in waiting {
            done(match &failure {
                None => Ok(()),
                Some(failure) => {
                    Err(Error::new(Kind::Unavailable, format!("the journal could not be synced: {failure}")))
                }
            });
        }
        if stop || state.strong_count() == 0 {
            return;
        }
    }
}

/// Leaves a mark of what is on disk, so that damage is told from a torn tail also behind the last sync of a busy time.
fn mark(state: &Weak<Mutex<State>>) {
    let Some(state) = state.upgrade() else { return };
    let marked = state.lock().journal.as_mut().map_or(Ok(()), |journal| journal.mark_synced());
    if let Err(error) = marked {
        tracing::warn!("the journal took no mark of what is synced: {}", error.chain());
    }
}

/// Syncs everything that was written before the call.
fn commit(state: &Weak<Mutex<State>>) -> Result<()> {
    let Some(state) = state.upgrade() else { return Ok(()) };
    let (position, segments): (u64, Vec<Arc<Segment>>) = match &state.lock().journal {
        Some(journal) if journal.synced() < journal.position() => (journal.position(), journal.unsynced()),
        _ => return Ok(()),
    };
    for segment in segments {
        segment.sync().map_err(|error| Error::io("cannot sync the journal", error))?;
    }
    if let Some(journal) = &mut state.lock().journal {
        journal.note_synced(position);
    }
    Ok(())
}
