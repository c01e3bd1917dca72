//! A turn log as it grows. A stream that breaks, or that an engine ended by leaving, is asked for again behind the last
//! event that came, so each comes once.

use std::pin::Pin;

use eventsource_stream::{Event as Message, EventStreamError, Eventsource};
use futures::{Stream, StreamExt, stream};
use reqwest::Method;
use tokio::time::{sleep, timeout};
use vfs_core::{Error, Kind, Result};

use super::answer::broken;
use super::sessions::session_path;
use super::transport::{Client, Effort};
use crate::limits::{FOLLOW_PATIENCE, FOLLOW_PAUSE, FOLLOW_SILENCE_MAX};
use crate::server::follow::ERROR_EVENT;
use crate::wire::ErrorBody;
use crate::wire::session::{Event, Session};

type Messages = Pin<Box<dyn Stream<Item = Result<Message, EventStreamError<Error>>> + Send>>;

impl Client {
    /// The turn log after a sequence, as it grows, until the session ends. An error is the last item.
    pub async fn follow_events(
        &self,
        id: &str,
        after: u64,
    ) -> Result<impl Stream<Item = Result<Event>> + Send + Unpin + use<>> {
        let mut following = Following { client: self.clone(), id: id.to_owned(), last: after, messages: None };
        following.connect(Effort::READ).await?;
        let events = stream::unfold(Some(following), |following| async move {
            let mut following = following?;
            match following.next().await {
                Ok(Some(event)) => Some((Ok(event), Some(following))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(events.boxed())
    }
}

struct Following {
    client: Client,
    id: String,
    /// The sequence of the newest event that came.
    last: u64,
    messages: Option<Messages>,
}

impl Following {
    /// The next event; `None` once the session has ended.
    async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            let Some(messages) = &mut self.messages else {
                sleep(FOLLOW_PAUSE).await;
                self.connect(Effort::persistent(FOLLOW_PATIENCE)).await?;
                continue;
            };
            match messages.next().await {
                Some(Ok(message)) => {
                    let event = read(&message)?;
                    // An engine that counts otherwise must not make us deliver twice.
                    if event.sequence > self.last {
                        self.last = event.sequence;
                        return Ok(Some(event));
                    }
                }
                Some(Err(EventStreamError::Transport(error))) => {
                    tracing::debug!("a stream of events broke: {}", error.chain());
                    self.messages = None;
                }
                Some(Err(error)) => {
                    let context = "the engine's stream of events makes no sense";
                    return Err(Error::new(Kind::Internal, context).because(error.to_string()));
                }
                None if self.has_ended().await? => return Ok(None),
                None => self.messages = None,
            }
        }
    }

    async fn connect(&mut self, effort: Effort) -> Result<()> {
        let path = session_path(&self.id, &format!("/events?after={}", self.last));
        let add = |request: reqwest::RequestBuilder| request.header("accept", "text/event-stream");
        let response = self.client.stream_with(Method::GET, &path, None, effort, add).await?;
        let parts = Box::pin(response.bytes_stream());
        let parts = stream::unfold(Some(parts), |parts| async move {
            let mut parts = parts?;
            match timeout(FOLLOW_SILENCE_MAX, parts.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(part))) => Some((Ok(part), Some(parts))),
                Ok(Some(Err(error))) => Some((Err(broken(error)), None)),
                Err(_) => Some((Err(Error::new(Kind::Unavailable, "the engine gives no sign of life")), None)),
            }
        });
        self.messages = Some(Box::pin(parts.eventsource()));
        Ok(())
    }

    /// Whether the stream ended because the session did, not because the engine leaves.
    async fn has_ended(&mut self) -> Result<bool> {
        let path = session_path(&self.id, "");
        let effort = Effort::persistent(FOLLOW_PATIENCE);
        let session: Session = self.client.json(Method::GET, &path, None::<&()>, effort).await?;
        Ok(session.has_ended() && self.last >= session.last_event)
    }
}

fn read(message: &Message) -> Result<Event> {
    let senseless =
        |error: serde_json::Error| Error::new(Kind::Internal, "an event of the turn log makes no sense").because(error);
    if message.event == ERROR_EVENT {
        let body: ErrorBody = serde_json::from_str(&message.data).map_err(senseless)?;
        return Err(body.error.into());
    }
    serde_json::from_str(&message.data).map_err(senseless)
}
