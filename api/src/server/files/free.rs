//! Workspaces that nobody holds, in the hands of the engine.
//!
//! Reading: a read-only workspace of the snapshot, kept for the next reader. Writing: the engine attaches, applies,
//! publishes and detaches, one write to a workspace at a time, and an attach waits for it.
//!
//! Keeps true: a write is acknowledged when it is published, and one that is not leaves nothing. So the journal of an
//! earlier write, which was cut off, is thrown away.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;
use vfs_core::base::{Attached, PublishNote};
use vfs_core::files::{Answer, Files, Request};
use vfs_core::id::{HolderId, SnapshotId, WorkspaceId};
use vfs_core::repo::{HolderDescription, WorkspaceInfo};
use vfs_core::workspace::{HolderFolder, HolderInfo, Workspace};
use vfs_core::{Error, Kind, Result};

use super::super::ServerState;
use super::super::error::log;
use crate::limits::{SNAPSHOT_OPEN_IDLE, SNAPSHOTS_OPEN_MAX};

/// What the engine says about itself as a holder.
const MOUNTPOINT: &str = "(the engine)";

/// The snapshots that are open, and who may write or attach.
#[derive(Default)]
pub(in crate::server) struct Free {
    open: Mutex<Vec<Opened>>,
    claims: Mutex<HashMap<WorkspaceId, Arc<tokio::sync::Mutex<()>>>>,
}

struct Opened {
    snapshot: SnapshotId,
    files: Arc<Files>,
    used: Instant,
}

/// The right to write to a workspace that nobody holds, or to attach to it.
pub(in crate::server) struct Claim(#[allow(dead_code, reason = "held")] OwnedMutexGuard<()>);

impl Free {
    /// Waits until nobody else writes to or attaches a workspace here.
    pub(in crate::server) async fn claim(&self, workspace: WorkspaceId) -> Claim {
        let claims = {
            let mut claims = self.claims.lock();
            // One that nobody has or waits for is in this map only.
            claims.retain(|_, claims| Arc::strong_count(claims) > 1);
            claims.entry(workspace).or_default().clone()
        };
        Claim(claims.lock_owned().await)
    }

    /// The files of a snapshot.
    pub(super) async fn open(&self, state: &ServerState, id: SnapshotId) -> Result<Arc<Files>> {
        let now = Instant::now();
        {
            let mut open = self.open.lock();
            open.retain(|opened| now.duration_since(opened.used) < SNAPSHOT_OPEN_IDLE);
            if let Some(opened) = open.iter_mut().find(|opened| opened.snapshot == id) {
                opened.used = now;
                return Ok(opened.files.clone());
            }
        }
        let snapshot = state.repo().snapshot(id).await?;
        let base = Arc::new(state.repo().clone());
        let workspace = Workspace::open_read_only(id, snapshot, base, state.shared_clock()).await?;
        let files = Files::new(workspace);
        let mut open = self.open.lock();
        if open.len() >= SNAPSHOTS_OPEN_MAX
            && let Some(oldest) = (0..open.len()).min_by_key(|index| open[*index].used)
        {
            open.swap_remove(oldest);
        }
        open.push(Opened { snapshot: id, files: files.clone(), used: now });
        Ok(files)
    }
}

/// The engine as a holder of this workspace: always the same, so that it gets its own lease back after a crash.
pub(in crate::server) fn engine_holder(workspace: WorkspaceId) -> HolderId {
    HolderId::from_bytes(workspace.as_bytes().map(|byte| !byte))
}

/// Gives back a lease that the engine had when it crashed. Only under the claim: nothing of it is under way then.
pub(in crate::server) async fn reclaim(state: &ServerState, workspace: &WorkspaceInfo, _: &Claim) -> Result<()> {
    let holder = engine_holder(workspace.id);
    if workspace.holder.as_ref().is_some_and(|lease| lease.holder == holder) {
        let attached = state.repo().attach(workspace.id, holder, &who()).await?;
        state.repo().detach(&attached.lease).await?;
    }
    Ok(())
}

fn who() -> HolderDescription {
    HolderDescription { host: String::new(), pid: std::process::id(), mountpoint: MOUNTPOINT.into() }
}

/// Attaches, changes, publishes, detaches.
pub(super) async fn apply(
    state: &ServerState,
    workspace: &WorkspaceInfo,
    _: &Claim,
    request: Request,
) -> Result<Answer> {
    let path = state.info().data_folder.join("holders").join(format!("{}.engine", workspace.id.to_hex()));
    let folder = fresh_folder(path.clone(), workspace.id).await?;
    let attached = state.repo().attach(workspace.id, folder.holder_id(), &who()).await?;
    let lease = attached.lease;
    let applied = apply_attached(state, folder, attached, request).await;
    if let Err(error) = state.repo().detach(&lease).await {
        // The next write or attach gets it back.
        log(&error);
    }
    blocking(move || remove(&path)).await?;
    applied
}

async fn apply_attached(
    state: &ServerState,
    folder: HolderFolder,
    attached: Attached,
    request: Request,
) -> Result<Answer> {
    let base = Arc::new(state.repo().clone());
    let workspace = Workspace::open(folder, attached, base, state.shared_clock()).await?;
    let answer: Result<Answer> = async {
        let answer = Files::new(workspace.clone()).run(request).await.result?;
        workspace.checkpoint(PublishNote { automatic: true, ..PublishNote::default() }).await?;
        Ok(answer)
    }
    .await;
    let closed = workspace.close().await;
    let answer = answer?;
    closed?;
    Ok(answer)
}

async fn fresh_folder(path: PathBuf, workspace: WorkspaceId) -> Result<HolderFolder> {
    blocking(move || {
        remove(&path)?;
        let info = HolderInfo { pid: std::process::id(), mountpoint: MOUNTPOINT.into() };
        HolderFolder::lock(&path, workspace, &info, engine_holder(workspace))
    })
    .await
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("cannot clear {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::new(Kind::Internal, "a step of a write broke off").because(error))?
}
