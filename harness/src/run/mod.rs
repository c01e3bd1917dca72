//! One session, turn by turn, under its lease (decisions 0013 and 0014).
//!
//! | file | what |
//! |---|---|
//! | `hold` | the right to drive: lock file, lease, renewal |
//! | `patience` | an engine that is away |
//! | `driver` | what comes next; how a session begins and ends |
//! | `turn` | one turn: request, calls, barrier, record |
//!
//! Keeps true: an event is in the log before anything follows from it, and what follows is worked out from the events as
//! they were stored; so a driver may be cut off at any point and another one goes on from there. A driver that has
//! lost its lease writes nothing more.

mod driver;
mod hold;
mod patience;
mod turn;

#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use api::client::Client;
use api::wire::session::{CreateSession, Event, Session};
use vfs_core::Result;

use crate::call::Tools;
use crate::dialect::Model;
use crate::limits;
use crate::log::{Conversation, Ended};
use hold::Held;
pub use hold::Place;

/// Something to show to a person or a program while a session runs.
#[derive(Debug)]
pub enum Shown<'a> {
    /// The next piece of what the model says.
    Text(&'a str),
    /// What it said since the last event is void: it will be asked again.
    Void,
    /// An event that is in the log now.
    Event(&'a Event),
    /// Something to wait for.
    Remark(&'a str),
}

/// Where it goes.
pub type Show<'a> = &'a (dyn Fn(Shown<'_>) + Send + Sync);

/// How a run is to go.
#[derive(Debug, Clone)]
pub struct Options {
    /// The task of a new session, or what a person adds to one that is there.
    pub text: Option<String>,
    /// The document scopes that a new session's agent may write beside its own.
    pub grants: Vec<String>,
    /// Turns that this run may take.
    pub turns_max: u64,
    /// How often a request to the model is sent.
    pub tries_max: usize,
    /// First pause before it is sent again.
    pub model_pause: Duration,
    /// How long the engine may be away.
    pub engine_patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            text: None,
            grants: Vec::new(),
            turns_max: limits::TURNS_MAX,
            tries_max: limits::TRIES_MAX,
            model_pause: limits::MODEL_PAUSE_MIN,
            engine_patience: limits::ENGINE_PATIENCE,
        }
    }
}

/// A session that this process may drive.
#[derive(Debug)]
pub struct Run {
    held: Held,
    conversation: Conversation,
}

impl Run {
    /// Makes a session and takes it.
    pub async fn begin(client: &Client, request: &CreateSession, place: &Place) -> Result<Run> {
        let session = client.create_session(request).await?;
        let held = Held::take(client, session, place, &|_| {}).await?;
        Ok(Run { held, conversation: Conversation::default() })
    }

    /// Takes a session that is there, by id or a prefix of it, and reads its log.
    pub async fn resume(client: &Client, id: &str, place: &Place, show: Show<'_>) -> Result<Run> {
        let session = client.session(id).await?;
        let held = Held::take(client, session, place, show).await?;
        // After the lease was taken: nobody else adds to it any more.
        let conversation = match read(client, &held.session().id).await {
            Ok(conversation) => conversation,
            Err(error) => {
                held.release().await;
                return Err(error);
            }
        };
        Ok(Run { held, conversation })
    }

    /// The session.
    pub fn session(&self) -> &Session {
        self.held.session()
    }

    /// The epoch of the lease, which names this driver to the engine.
    pub fn epoch(&self) -> u64 {
        self.held.epoch()
    }

    /// What its log says.
    pub fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// Drives it until it ends, or cannot go on. Dropping the future is as good as a crash: the session can be resumed.
    pub async fn drive(
        &mut self,
        tools: &mut dyn Tools,
        model: &Model,
        options: &Options,
        show: Show<'_>,
    ) -> Result<Ended> {
        let lost = self.held.lost();
        let driver = driver::Driver::new(&self.held, &mut self.conversation, tools, model, options, show);
        tokio::select! {
            biased;
            error = lost => Err(error),
            ended = driver.run() => ended,
        }
    }

    /// Gives the lease back, so that somebody else can go on at once.
    pub async fn release(self) {
        self.held.release().await;
    }
}

/// Reads the whole log of a session.
pub async fn read(client: &Client, id: &str) -> Result<Conversation> {
    let mut conversation = Conversation::default();
    loop {
        let page = client.events(id, conversation.sequence(), limits::EVENTS_PAGE).await?;
        page.events.iter().try_for_each(|event| conversation.take(event))?;
        if !page.more || page.events.is_empty() {
            return Ok(conversation);
        }
    }
}
