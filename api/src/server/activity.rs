//! Who is using the engine, so that one started by a command knows when it may leave.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::ServerState;

/// Counts requests and holders under way. Clones count together.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Mutex<Counts>>);

#[derive(Debug)]
struct Counts {
    requests: u64,
    holders: u64,
    last: Instant,
    /// It counts as used until then.
    kept: Instant,
}

/// What is being counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Using {
    /// One request, until the last byte of its answer.
    Request,
    /// One control connection.
    Holder,
}

/// Counts as long as it lives.
#[derive(Debug)]
pub(super) struct InUse {
    activity: Activity,
    what: Using,
}

impl Default for Activity {
    fn default() -> Self {
        let now = Instant::now();
        Activity(Arc::new(Mutex::new(Counts { requests: 0, holders: 0, last: now, kept: now })))
    }
}

impl Activity {
    /// Counts one more until the guard is dropped.
    pub(super) fn begin(&self, what: Using) -> InUse {
        let mut counts = self.0.lock();
        *counts.of(what) += 1;
        InUse { activity: self.clone(), what }
    }

    /// How long nobody has used the engine; zero while somebody does.
    pub(super) fn idle_for(&self) -> Duration {
        let counts = self.0.lock();
        let used = counts.requests + counts.holders > 0 || counts.kept > Instant::now();
        if used { Duration::ZERO } else { counts.last.elapsed() }
    }

    /// Counts the engine as used for so long from now.
    pub(super) fn keep(&self, time: Duration) {
        self.0.lock().kept = Instant::now() + time;
    }

    /// Requests and holders under way.
    pub(super) fn counts(&self) -> (u64, u64) {
        let counts = self.0.lock();
        (counts.requests, counts.holders)
    }
}

impl Counts {
    fn of(&mut self, what: Using) -> &mut u64 {
        match what {
            Using::Request => &mut self.requests,
            Using::Holder => &mut self.holders,
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut counts = self.activity.0.lock();
        *counts.of(self.what) -= 1;
        counts.last = Instant::now();
    }
}

/// Counts a request until its answer's body has gone out.
pub(super) async fn count(State(state): State<ServerState>, request: Request, next: Next) -> Response {
    let in_use = state.activity().begin(Using::Request);
    next.run(request).await.map(|body| Body::new(Counted { body, _in_use: in_use }))
}

/// A body that counts as a request until it is dropped.
struct Counted {
    body: Body,
    _in_use: InUse,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
