//! Automatic checkpoints: when to publish without being asked.
//!
//! Once quiet, or now and then while changes go on. A failure is logged and tried again later; the work goes on,
//! because it is safe in the journal.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vfs_core::base::PublishNote;
use vfs_core::Kind;

use super::Holder;
use crate::limits::{BACKOFF_MAX, BACKOFF_MIN, CHECKPOINT_TICK, LOADED, QUIET};

/// Decides when. Knows no clock of its own.
#[derive(Debug, Default)]
struct Schedule {
    /// Since when there has been something to publish.
    dirty: Option<Instant>,
    /// Not before this, after a failure.
    pause_until: Option<Instant>,
    backoff: Option<Duration>,
}

impl Schedule {
    /// Whether to publish now. `changed` is when the overlay last changed, if it holds anything.
    fn is_due(&mut self, now: Instant, changed: Option<Instant>) -> bool {
        let Some(changed) = changed else {
            self.dirty = None;
            return false;
        };
        let dirty = *self.dirty.get_or_insert(changed.min(now));
        if self.pause_until.is_some_and(|until| now < until) {
            return false;
        }
        now.saturating_duration_since(changed) >= QUIET || now.saturating_duration_since(dirty) >= LOADED
    }

    fn published(&mut self) {
        *self = Schedule::default();
    }

    /// Returns the pause.
    fn failed(&mut self, now: Instant) -> Duration {
        let pause = self.backoff.map_or(BACKOFF_MIN, |pause| (pause * 2).min(BACKOFF_MAX));
        self.backoff = Some(pause);
        self.pause_until = Some(now + pause);
        pause
    }
}

/// Publishes automatically until the task is dropped, or the lease is lost.
pub(super) async fn run(holder: Arc<Holder>) {
    let mut schedule = Schedule::default();
    loop {
        tokio::time::sleep(CHECKPOINT_TICK).await;
        if !schedule.is_due(Instant::now(), holder.workspace.dirty_since()) {
            continue;
        }
        let note = PublishNote { author: super::author(), automatic: true, ..PublishNote::default() };
        match holder.barrier(note).await {
            Ok(snapshot) => {
                tracing::debug!(%snapshot, "automatic checkpoint");
                schedule.published();
            }
            Err(error) if error.kind() == Kind::LeaseLost => {
                holder.lease_lost(error);
                return;
            }
            Err(error) => {
                let pause = schedule.failed(Instant::now());
                tracing::warn!(
                    "cannot publish, again in {} s; the work is safe in the journal: {}",
                    pause.as_secs(),
                    error.chain()
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishes_once_quiet() {
        let mut schedule = Schedule::default();
        let start = Instant::now();
        assert!(!schedule.is_due(start, None));
        assert!(!schedule.is_due(start, Some(start)));
        assert!(!schedule.is_due(start + QUIET / 2, Some(start)));
        assert!(schedule.is_due(start + QUIET, Some(start)));
        schedule.published();
        assert!(!schedule.is_due(start + QUIET * 2, None));
    }

    #[test]
    fn publishes_under_load_now_and_then() {
        let mut schedule = Schedule::default();
        let start = Instant::now();
        let mut now = start;
        while !schedule.is_due(now, Some(now)) {
            now += CHECKPOINT_TICK;
            assert!(now - start <= LOADED, "never due");
        }
        assert_eq!(now - start, LOADED);
    }

    #[test]
    fn pauses_longer_and_longer_after_failures() {
        let mut schedule = Schedule::default();
        let start = Instant::now();
        let due = start + LOADED;
        assert!(schedule.is_due(due, Some(start)));
        assert_eq!(schedule.failed(due), BACKOFF_MIN);
        assert!(!schedule.is_due(due, Some(start)));
        assert!(schedule.is_due(due + BACKOFF_MIN, Some(start)));
        let pauses: Vec<_> = (0..10).map(|_| schedule.failed(due)).collect();
        assert_eq!(pauses[0], BACKOFF_MIN * 2);
        assert_eq!(pauses[9], BACKOFF_MAX);
    }
}
