//! The page's door: codes that are good once, visits that end, and the port on which the page listens.
//!
//! Keeps true: a code or a visit's secret is kept as a digest only and compared in constant time; a code is used up by
//! the first POST that brings it; nothing here outlives the engine.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, timeout};
use vfs_core::{Error, Kind, Result};

use crate::limits::{CODE_LIFE, CODES_MAX, LISTEN_DEADLINE, VISIT_LIFE, VISITS_MAX};
use crate::server::Token;

/// Random bytes of a code and of a visit's secret: more than anybody can try.
const SECRET_BYTES: usize = 32;

/// Who was given a link, who has come in, and where the page is. Clones are the same door.
#[derive(Debug, Clone, Default)]
pub(crate) struct Door(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    codes: Mutex<Secrets>,
    visits: Mutex<Secrets>,
    listening: watch::Sender<Listening>,
}

/// Where the page listens.
#[derive(Debug, Clone, Default)]
enum Listening {
    /// Nobody has asked yet.
    #[default]
    Nowhere,
    /// Somebody waits for it.
    Wanted,
    /// Here.
    At(SocketAddr),
    /// It could not be opened; asking again tries again.
    Failed,
}

/// Digests of secrets, the oldest first, each with its end.
#[derive(Debug, Default)]
struct Secrets(Vec<(Token, Instant)>);

impl Secrets {
    /// Makes one; the oldest goes if there are too many.
    fn make(&mut self, life: Duration, most: usize) -> Result<String> {
        self.drop_old();
        if self.0.len() >= most {
            self.0.remove(0);
        }
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::new(Kind::Internal, "no random numbers for a link").because(error.to_string()))?;
        let secret = hex::encode(bytes);
        self.0.push((Token::new(&secret), Instant::now() + life));
        Ok(secret)
    }

    /// Which one it is. Looks at all of them, so the time says nothing.
    fn find(&mut self, secret: &str) -> Option<usize> {
        self.drop_old();
        let found = self.0.iter().map(|(token, _)| token.is(secret)).collect::<Vec<_>>();
        found.iter().position(|is| *is)
    }

    fn take(&mut self, secret: &str) -> bool {
        let found = self.find(secret);
        if let Some(index) = found {
            self.0.remove(index);
        }
        found.is_some()
    }

    fn drop_old(&mut self) {
        let now = Instant::now();
        self.0.retain(|(_, end)| *end > now);
    }
}

impl Door {
    /// A code for one link.
    pub(crate) fn make_code(&self) -> Result<String> {
        self.0.codes.lock().make(CODE_LIFE, CODES_MAX)
    }

    /// Uses a code up; the secret of the visit that begins, or nothing if the code is not good.
    pub(super) fn enter(&self, code: &str) -> Result<Option<String>> {
        if !self.0.codes.lock().take(code) {
            return Ok(None);
        }
        self.0.visits.lock().make(VISIT_LIFE, VISITS_MAX).map(Some)
    }

    /// Whether a visit with this secret goes on.
    pub(super) fn is_visiting(&self, secret: &str) -> bool {
        self.0.visits.lock().find(secret).is_some()
    }

    /// Ends a visit.
    pub(super) fn leave(&self, secret: &str) {
        self.0.visits.lock().take(secret);
    }

    /// Where the page listens; has it opened if it does not yet.
    pub(crate) async fn address(&self) -> Result<SocketAddr> {
        let mut listening = self.0.listening.subscribe();
        self.0.listening.send_if_modified(|state| {
            let ask = matches!(state, Listening::Nowhere | Listening::Failed);
            if ask {
                *state = Listening::Wanted;
            }
            ask
        });
        let opened = listening.wait_for(|state| matches!(state, Listening::At(_) | Listening::Failed));
        let opened = timeout(LISTEN_DEADLINE, opened).await.ok().and_then(Result::ok).map(|state| state.clone());
        match opened {
            Some(Listening::At(address)) => Ok(address),
            _ => Err(Error::new(Kind::Unavailable, "no port of this machine could be opened for the page")),
        }
    }

    /// Returns once somebody asks for the address and nothing listens.
    pub(crate) async fn wanted(&self) {
        // The sender lives as long as this door, so waiting cannot fail.
        let _ = self.0.listening.subscribe().wait_for(|state| matches!(state, Listening::Wanted)).await;
    }

    /// Says where the page listens, or that it cannot.
    pub(crate) fn listens(&self, at: Option<SocketAddr>) {
        self.0.listening.send_replace(at.map_or(Listening::Failed, Listening::At));
    }

    /// Makes everything older, for tests of what ends.
    #[cfg(test)]
    pub(crate) fn age(&self, by: Duration) {
        for secrets in [&self.0.codes, &self.0.visits] {
            secrets.lock().0.iter_mut().for_each(|(_, end)| *end -= by);
        }
    }
}
