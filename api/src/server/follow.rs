//! A turn log as it grows, as server-sent events.
//!
//! Keeps true: every event after the given one is sent once, in order; what a follower gets was read from the log, news
//! only say when to look. A follower that is slow holds nobody up: what it has not taken is not read.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::response::IntoResponse;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use futures::{Stream, stream};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{sleep, timeout};
use vfs_core::id::SessionId;
use vfs_core::sessions::Event as CoreEvent;
use vfs_core::{Error, Kind, Result};

use super::ServerState;
use super::error::log;
use crate::limits::{FOLLOW_KEEP_ALIVE, FOLLOW_PAGE, FOLLOW_POLL};
use crate::wire::error::{ErrorBody, ErrorDetail};
use crate::wire::session::Event;

/// The name of the event that holds an error.
pub(crate) const ERROR_EVENT: &str = "error";

/// The events behind `after`, until the session has ended or the engine stops.
pub(super) fn stream(state: ServerState, id: SessionId, after: u64) -> impl IntoResponse {
    Sse::new(messages(Follower::new(state, id, after))).keep_alive(KeepAlive::new().interval(FOLLOW_KEEP_ALIVE))
}

fn messages(follower: Follower) -> impl Stream<Item = Result<Message, Infallible>> {
    stream::unfold(Some(follower), |follower| async move {
        let mut follower = follower?;
        match follower.next().await {
            Ok(Some(message)) => Some((Ok(message), Some(follower))),
            Ok(None) => None,
            Err(error) => Some((Ok(failure(&error)), None)),
        }
    })
}

struct Follower {
    state: ServerState,
    id: SessionId,
    /// The sequence of the newest event that was read.
    last: u64,
    waiting: VecDeque<CoreEvent>,
    news: broadcast::Receiver<SessionId>,
}

impl Follower {
    fn new(state: ServerState, id: SessionId, after: u64) -> Self {
        // Before the first look: what comes in between is news.
        let news = state.repo().session_news();
        Follower { state, id, last: after, waiting: VecDeque::new(), news }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Result<Option<Message>> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return message(event).map(Some);
            }
            if self.read().await? && self.waiting.is_empty() {
                return Ok(None);
            }
            if self.waiting.is_empty() && !self.wait().await {
                return Ok(None);
            }
        }
    }

    /// Reads on; says whether the session has ended and nothing more comes.
    ///
    /// In a task of its own: this future stands still while the follower is slow, and must not have a connection of the
    /// database then.
    async fn read(&mut self) -> Result<bool> {
        let (repo, id, last) = (self.state.repo().clone(), self.id, self.last);
        let look = tokio::spawn(async move {
            let events = repo.events(id, last, FOLLOW_PAGE).await?.events;
            let last = events.last().map_or(last, |event| event.sequence);
            let session = repo.session(&id.to_hex()).await?;
            Ok::<_, Error>((events, last, session.has_ended && last >= session.last_event))
        });
        let looked = look.await.map_err(|error| Error::new(Kind::Internal, "reading a log panicked").because(error))?;
        let (events, last, has_ended) = looked?;
        self.last = last;
        self.waiting.extend(events);
        Ok(has_ended)
    }

    /// Waits until there may be more; false if the engine stops. News can be missed by those who lag, so it looks now
    /// and then anyway.
    async fn wait(&mut self) -> bool {
        let news = async {
            loop {
                match self.news.recv().await {
                    Ok(id) if id != self.id => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => return,
                    // The repo lives as long as this state; if not, the pause is all there is.
                    Err(RecvError::Closed) => sleep(FOLLOW_POLL).await,
                }
            }
        };
        tokio::select! {
            _ = timeout(FOLLOW_POLL, news) => true,
            () = self.state.stopped() => false,
        }
    }
}

fn message(event: CoreEvent) -> Result<Message> {
    let (sequence, kind) = (event.sequence, event.kind.clone());
    let event = Event::try_from(event)?;
    let data = serde_json::to_string(&event).map_err(unwritten)?;
    Ok(Message::default().id(sequence.to_string()).event(kind).data(data))
}

/// Why the stream ends; the cause stays in the log.
fn failure(error: &Error) -> Message {
    log(error);
    let body = ErrorBody::from(ErrorDetail::from(error));
    Message::default().event(ERROR_EVENT).data(serde_json::to_string(&body).unwrap_or_default())
}

fn unwritten(error: serde_json::Error) -> Error {
    Error::new(Kind::Internal, "an event cannot be written as JSON").because(error)
}
