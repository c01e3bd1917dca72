//! Automatic checkpoints: when to publish without being asked.
//!
//! Once quiet, or now and then while changes go on. A failure is logged and tried again later; the work goes on,
//! because it is safe in the journal.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vfs_core::Kind;
use vfs_core::base::PublishNote;

use super::Holder;
use crate::limits::{BACKOFF_MAX, BACKOFF_MIN, CHECKPOINT_TICK, LOADED, QUIET};

/// Decides when. Knows no clock of its own.
#[derive(Debug, Default)]
struct Schedule {
    /// Not before this, after a failure.
    pause_until: Option<Instant>,
    backoff: Option<Duration>,
}

/// When the changes that no checkpoint has taken were made.
#[derive(Debug, Clone, Copy)]
struct Unpublished {
    oldest: Instant,
    newest: Instant,
}

impl Schedule {
    /// Whether to publish now.
    fn is_due(&self, now: Instant, unpublished: Option<Unpublished>) -> bool {
        let Some(Unpublished { oldest, newest }) = unpublished else { return false };
        let paused = self.pause_until.is_some_and(|until| now < until);
        !paused && (now.saturating_duration_since(newest) >= QUIET || now.saturating_duration_since(oldest) >= LOADED)
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

/// What there is to publish. Work that a replay brought back counts as old.
fn unpublished(holder: &Holder, opened: Instant) -> Option<Unpublished> {
    match (holder.workspace.dirty_since(), holder.workspace.quiet_since()) {
        (Some(oldest), Some(newest)) => Some(Unpublished { oldest, newest }),
        _ if holder.workspace.status().changed_inodes > 0 => Some(Unpublished { oldest: opened, newest: opened }),
        _ => None,
    }
}

/// Publishes automatically until the task is dropped, or the lease is lost.
pub(super) async fn run(holder: Arc<Holder>) {
    let mut schedule = Schedule::default();
    let opened = Instant::now();
    loop {
        tokio::time::sleep(CHECKPOINT_TICK).await;
        if !schedule.is_due(Instant::now(), unpublished(&holder, opened)) {
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
        let schedule = Schedule::default();
        let start = Instant::now();
        let changed = Some(Unpublished { oldest: start, newest: start });
        assert!(!schedule.is_due(start + QUIET, None));
        assert!(!schedule.is_due(start, changed));
        assert!(!schedule.is_due(start + QUIET / 2, changed));
        assert!(schedule.is_due(start + QUIET, changed));
    }

    #[test]
    fn publishes_under_load_now_and_then() {
        let schedule = Schedule::default();
        let oldest = Instant::now();
        let mut now = oldest;
        while !schedule.is_due(now, Some(Unpublished { oldest, newest: now })) {
            now += CHECKPOINT_TICK;
            assert!(now - oldest <= LOADED, "never due");
        }
        assert_eq!(now - oldest, LOADED);
    }

    #[test]
    fn pauses_longer_and_longer_after_failures() {
        let mut schedule = Schedule::default();
        let start = Instant::now();
        let changed = Some(Unpublished { oldest: start, newest: start });
        let due = start + LOADED;
        assert!(schedule.is_due(due, changed));
        assert_eq!(schedule.failed(due), BACKOFF_MIN);
        assert!(!schedule.is_due(due, changed));
        assert!(schedule.is_due(due + BACKOFF_MIN, changed));
        let pauses: Vec<_> = (0..10).map(|_| schedule.failed(due)).collect();
        assert_eq!(pauses[0], BACKOFF_MIN * 2);
        assert_eq!(pauses[9], BACKOFF_MAX);
        schedule.published();
        assert!(schedule.is_due(due, changed));
    }
}
