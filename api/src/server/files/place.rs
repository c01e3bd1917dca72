//! Who has the state that is meant, and how it is asked.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use vfs_core::files::request::{Answer, Entry, Raw, Request, Source, Write};
use vfs_core::files::{Done, Files};
use vfs_core::limits::FILE_PIECE_MAX;
use vfs_core::repo::WorkspaceInfo;
use vfs_core::{Error, Kind, Result};

use super::super::ServerState;
use super::super::control::Holder;
use super::super::workspaces::reachable_holder;
use crate::limits::{HOLDER_GRACE, HOLDER_POLL};

/// A state of a workspace.
#[derive(Clone)]
pub(super) enum Place {
    /// The live state, at its holder.
    Held(Holder),
    /// A snapshot, or the live state of a workspace that nobody holds.
    Snapshot(Arc<Files>),
}

/// What is to be changed.
pub(super) enum Change {
    /// A file is written; its content is here.
    Write(Write, Bytes),
    /// Anything else.
    Other(Request),
}

impl Place {
    /// The live state of a workspace, or one of its snapshots.
    pub(super) async fn find(state: &ServerState, name: &str, at: Option<&str>) -> Result<Place> {
        let snapshot = match at {
            Some(prefix) => {
                let workspace = state.repo().workspace(name).await?;
                state.repo().resolve_snapshot(workspace.id, prefix).await?
            }
            None => match live(state, name).await? {
                (_, Some(holder)) => return Ok(Place::Held(holder)),
                (workspace, None) => workspace.head,
            },
        };
        Ok(Place::Snapshot(state.free().open(state, snapshot).await?))
    }

    /// Asks something that changes nothing.
    pub(super) async fn ask(&self, request: Request) -> Result<Answer> {
        match self {
            Place::Held(holder) => holder.files(request).await,
            Place::Snapshot(files) => {
                let Done { result, .. } = files.run(request).await;
                result
            }
        }
    }

    /// What a path names.
    pub(super) async fn stat(&self, path: Raw) -> Result<Entry> {
        match self.ask(Request::Stat { path }).await? {
            Answer::Stat(entry) => Ok(entry),
            _ => Err(Error::new(Kind::Internal, "a stat was answered with something else")),
        }
    }
}

/// A workspace and its holder, if it has one. A mount that has just attached is given a moment to connect.
async fn live(state: &ServerState, name: &str) -> Result<(WorkspaceInfo, Option<Holder>)> {
    let until = Instant::now() + HOLDER_GRACE;
    loop {
        let workspace = state.repo().workspace(name).await?;
        let error = match reachable_holder(state, &workspace) {
            Ok(holder) => return Ok((workspace, holder)),
            Err(error) => error,
        };
        let silent_ns =
            workspace.holder.as_ref().map_or(0, |lease| state.clock().now().as_nanos() - lease.last_seen.as_nanos());
        if silent_ns.unsigned_abs() > HOLDER_GRACE.as_nanos() || Instant::now() >= until {
            return Err(error);
        }
        sleep(HOLDER_POLL).await;
    }
}

/// Changes the live state: at its holder, or, where there is none, here.
pub(super) async fn change(state: &ServerState, name: &str, change: Change) -> Result<Answer> {
    loop {
        if let (_, Some(holder)) = live(state, name).await? {
            return at_holder(&holder, change).await;
        }
        let id = state.repo().workspace(name).await?.id;
        let claim = state.free().claim(id).await;
        // Somebody may have mounted it while we waited; nobody can while the claim is ours.
        let (workspace, holder) = live(state, name).await?;
        if holder.is_some() || workspace.id != id {
            continue;
        }
        let (state, request) = (state.clone(), request_of(change));
        // A caller that hangs up must not leave a write half done.
        let work = tokio::spawn(async move { super::free::apply(&state, &workspace, &claim, request).await });
        return work.await.map_err(|error| Error::new(Kind::Internal, "a write broke off").because(error))?;
    }
}

fn request_of(change: Change) -> Request {
    match change {
        Change::Write(write, content) => Request::Write(Write { content: Source::Here(Raw(content.into())), ..write }),
        Change::Other(request) => request,
    }
}

/// Large content goes ahead in pieces, of which nothing is seen before the write itself.
async fn at_holder(holder: &Holder, change: Change) -> Result<Answer> {
    let (write, content) = match change {
        Change::Write(write, content) if content.len() > FILE_PIECE_MAX => (write, content),
        small => return holder.files(request_of(small)).await,
    };
    let upload = random()?;
    for (index, piece) in content.chunks(FILE_PIECE_MAX).enumerate() {
        let offset = (index * FILE_PIECE_MAX) as u64;
        holder.files(Request::Upload { upload, offset, content: Raw::from(piece) }).await?;
    }
    let content = Source::Uploaded { upload, length: content.len() as u64 };
    holder.files(Request::Write(Write { content, ..write })).await
}

pub(super) fn random() -> Result<u64> {
    getrandom::u64().map_err(|error| Error::new(Kind::Internal, "no random numbers").because(error.to_string()))
}
