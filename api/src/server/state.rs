//! What all handlers share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use vfs_core::clock::Clock;
use vfs_core::repo::Repo;

use super::activity::Activity;
use super::auth::Token;
use super::control::Holders;
use super::files::Free;
use crate::limits::PAGE_KEEPS;
use crate::page::Door;

/// The engine as its handlers see it. Clones are the same engine.
#[derive(Clone)]
pub struct ServerState(Arc<Inner>);

/// What the engine says about itself, and whom it lets in over TCP.
#[derive(Debug, Clone)]
pub struct EngineInfo {
    /// The data folder.
    pub data_folder: PathBuf,
    /// The bucket's URL; credentials in it are never shown.
    pub bucket: String,
    /// Who may come over TCP; nobody without it.
    pub token: Option<Token>,
}

struct Inner {
    repo: Repo,
    clock: Arc<dyn Clock>,
    info: EngineInfo,
    holders: Holders,
    free: Free,
    activity: Activity,
    door: Door,
    started: Instant,
    stopping: watch::Sender<bool>,
}

impl ServerState {
    /// An engine on this repo.
    pub fn new(repo: Repo, info: EngineInfo, clock: Arc<dyn Clock>) -> Self {
        ServerState(Arc::new(Inner {
            free: Free::new(&info.data_folder),
            repo,
            clock,
            info,
            holders: Holders::default(),
            activity: Activity::default(),
            door: Door::default(),
            started: Instant::now(),
            stopping: watch::Sender::new(false),
        }))
    }

    /// The repo.
    pub fn repo(&self) -> &Repo {
        &self.0.repo
    }

    /// The holders whose control connection is open.
    pub fn holders(&self) -> &Holders {
        &self.0.holders
    }

    /// How long nobody has used this engine: no request under way, no holder connected. Zero while somebody does.
    pub fn idle_for(&self) -> Duration {
        self.0.activity.idle_for()
    }

    /// Asks [`super::serve`] to finish what is under way and return.
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Returns once [`ServerState::stop`] was called.
    pub async fn stopped(&self) {
        let mut stopping = self.0.stopping.subscribe();
        // The sender lives as long as this state, so waiting cannot fail.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    /// How long it has been serving.
    pub(super) fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    pub(super) fn shared_clock(&self) -> Arc<dyn Clock> {
        self.0.clock.clone()
    }

    /// Workspaces that nobody holds.
    pub(super) fn free(&self) -> &Free {
        &self.0.free
    }

    pub(super) fn info(&self) -> &EngineInfo {
        &self.0.info
    }

    pub(super) fn token(&self) -> Option<&Token> {
        self.0.info.token.as_ref()
    }

    /// The door of the admin page.
    pub(crate) fn door(&self) -> &Door {
        &self.0.door
    }

    /// Somebody reads the page: an engine that would leave stays for a while.
    pub(crate) fn keep_for_readers(&self) {
        self.activity().keep(PAGE_KEEPS);
    }

    pub(super) fn activity(&self) -> &Activity {
        &self.0.activity
    }
}

/// A bucket's URL without user, password, query and fragment: none of them is needed to recognise it.
pub(super) fn without_credentials(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    match plain.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => plain.to_owned(),
    }
}
