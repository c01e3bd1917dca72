//! Waiting for an engine or a mount that is away.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use vfs_core::{Error, Kind, Result};

use crate::limits::{ENGINE_PAUSE_MAX, ENGINE_PAUSE_MIN};

/// The patience for one step.
#[derive(Debug)]
pub(super) struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    pub(super) fn new(total: Duration) -> Patience {
        Patience { until: Instant::now() + total, pause: ENGINE_PAUSE_MIN }
    }

    /// Waits before the next attempt; gives the error back where another one is of no use, or time is up.
    pub(super) async fn wait(&mut self, error: Error) -> Result<()> {
        let may_pass = matches!(error.kind(), Kind::Unavailable | Kind::Busy);
        if !may_pass || Instant::now() + self.pause > self.until {
            return Err(error);
        }
        tracing::warn!("trying again: {}", error.chain());
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(ENGINE_PAUSE_MAX);
        Ok(())
    }
}
