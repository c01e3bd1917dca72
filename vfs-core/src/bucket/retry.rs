//! How long the bucket is asked again before an error is believed.
//!
//! One layer tries again for each request, so that tries do not multiply: this one for whole requests, and the client
//! of `object_store` only for the parts of an upload, which cannot be sent again from outside it.

use std::future::Future;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use super::counts::Counts;
use crate::error::{Error, Kind, Result};
use crate::limits::{RETRIES_MAX, RETRY_DELAY_MAX, RETRY_DELAY_MIN, RETRY_TIME_MAX};

/// How often, and for how long, a request that failed for a reason that may pass is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Tries after the first.
    pub retries: usize,
    /// The pause before the second try; each is twice the one before, plus as much again by chance.
    pub delay_min: Duration,
    /// The longest pause.
    pub delay_max: Duration,
    /// No new try starts after this long.
    pub total: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { retries: RETRIES_MAX, delay_min: RETRY_DELAY_MIN, delay_max: RETRY_DELAY_MAX, total: RETRY_TIME_MAX }
    }
}

impl Patience {
    /// The first error counts.
    pub const NONE: Patience =
        Patience { retries: 0, delay_min: Duration::ZERO, delay_max: Duration::ZERO, total: Duration::ZERO };

    /// For the parts of uploads, which `object_store` tries again itself.
    pub(super) fn for_parts(self) -> object_store::RetryConfig {
        let backoff =
            object_store::BackoffConfig { init_backoff: self.delay_min, max_backoff: self.delay_max, base: 2. };
        object_store::RetryConfig { backoff, max_retries: self.retries, retry_timeout: self.total }
    }

    /// Makes `request` until it answers, fails for good or there were enough tries.
    pub(super) async fn run<T, F>(&self, counts: &Counts, request: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(self.delay_min)
            .with_max_delay(self.delay_max)
            .with_max_times(self.retries)
            .with_jitter();
        let started = tokio::time::Instant::now();
        request
            .retry(backoff)
            .when(|error: &Error| error.kind() == Kind::Unavailable && started.elapsed() < self.total)
            .notify(|error, delay| {
                counts.retries.count();
                tracing::info!(error = %error.context(), ?delay, "the bucket is asked again");
            })
            .await
    }
}
