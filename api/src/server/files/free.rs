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
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use vfs_core::base::{Attached, Lease, PublishNote};
use vfs_core::files::{Answer, Files, Request};
use vfs_core::id::{HolderId, SnapshotId, WorkspaceId};
use vfs_core::repo::{HolderDescription, WorkspaceInfo};
use vfs_core::workspace::{HolderFolder, HolderInfo, Workspace};
use vfs_core::{Error, Kind, Result};

use super::super::ServerState;
use super::super::error::log;
use super::super::workspaces::is_fresh;
use super::place::random;
use crate::limits::{HOLDER_POLL, LEASE_RENEWAL, OTHER_ENGINE_WAIT, SNAPSHOT_OPEN_IDLE, SNAPSHOTS_OPEN_MAX};

/// What the engine says about itself as a holder.
const MOUNTPOINT: &str = "(the engine)";
/// Tells the engines of a team apart, in the data folder.
const ENGINE_ID: &str = "engine.id";
const ENGINE_ID_LENGTH: usize = 8;

/// The snapshots that are open, and who may write or attach.
pub(in crate::server) struct Free {
    engine: [u8; ENGINE_ID_LENGTH],
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
    /// Nothing is open. The engine is the one of this data folder.
    pub(in crate::server) fn new(data_folder: &Path) -> Free {
        let engine = engine_id(data_folder).unwrap_or_else(|error| {
            // Works as well, but what is left of it after a crash stands in the way for a lease's life.
            log(&error);
            random().unwrap_or_default().to_le_bytes()
        });
        Free { engine, open: Mutex::default(), claims: Mutex::default() }
    }

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

/// This engine as a holder of this workspace. The first half says that it is an engine, the second which: always the same
/// for one data folder, so that it gets its own lease back after a crash.
pub(in crate::server) fn engine_holder(state: &ServerState, workspace: WorkspaceId) -> HolderId {
    let mut id = workspace.as_bytes().map(|byte| !byte);
    let half = id.len() - ENGINE_ID_LENGTH;
    id[half..].copy_from_slice(&state.free().engine);
    HolderId::from_bytes(id)
}

/// Whether a holder is this engine, or another one of the team.
pub(in crate::server) fn is_engine(workspace: WorkspaceId, holder: HolderId) -> bool {
    let half = holder.as_bytes().len() - ENGINE_ID_LENGTH;
    workspace.as_bytes().iter().map(|byte| !byte).take(half).eq(holder.as_bytes()[..half].iter().copied())
}

/// Gives back a lease that this engine had when it crashed: under the claim, nothing of it is under way. Waits while
/// another engine writes; a lease that one left behind runs out like any other.
pub(in crate::server) async fn reclaim(state: &ServerState, workspace: &WorkspaceInfo, _: &Claim) -> Result<()> {
    let (own, until) = (engine_holder(state, workspace.id), Instant::now() + OTHER_ENGINE_WAIT);
    let mut holder = workspace.holder.clone();
    while let Some(lease) = holder.filter(|lease| is_engine(workspace.id, lease.holder)) {
        if lease.holder == own {
            let attached = state.repo().attach(workspace.id, own, &who()).await?;
            return state.repo().detach(&attached.lease).await;
        }
        if !is_fresh(state, &lease) {
            return Ok(());
        }
        if Instant::now() >= until {
            let context = format!("another engine is writing to {}: try again", workspace.name);
            return Err(Error::new(Kind::Unavailable, context));
        }
        sleep(HOLDER_POLL).await;
        holder = state.repo().workspace(&workspace.id.to_hex()).await?.holder;
    }
    Ok(())
}

/// Attaches a holder once no engine holds the workspace.
pub(in crate::server) async fn attach(
    state: &ServerState,
    workspace: &WorkspaceInfo,
    claim: &Claim,
    holder: HolderId,
    who: &HolderDescription,
) -> Result<Attached> {
    let until = Instant::now() + OTHER_ENGINE_WAIT;
    loop {
        let now = state.repo().workspace(&workspace.id.to_hex()).await?;
        reclaim(state, &now, claim).await?;
        match state.repo().attach(workspace.id, holder, who).await {
            // Another engine came in between; if it was a mount, this is the answer.
            Err(error) if error.kind() == Kind::Busy && Instant::now() < until => {
                let now = state.repo().workspace(&workspace.id.to_hex()).await?.holder;
                if now.is_some_and(|lease| !is_engine(workspace.id, lease.holder)) {
                    return Err(error);
                }
            }
            attached => return attached,
        }
    }
}

/// The id of a data folder's engine, made at first.
fn engine_id(data_folder: &Path) -> Result<[u8; ENGINE_ID_LENGTH]> {
    let path = data_folder.join(ENGINE_ID);
    let failed = |error| Error::io(format!("{} cannot be read or written", path.display()), error);
    match std::fs::read(&path) {
        Ok(bytes) if bytes.len() == ENGINE_ID_LENGTH => {
            let mut id = [0; ENGINE_ID_LENGTH];
            id.copy_from_slice(&bytes);
            return Ok(id);
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let id = random()?.to_le_bytes();
    std::fs::write(&path, id).map_err(failed)?;
    Ok(id)
}

fn who() -> HolderDescription {
    HolderDescription { host: String::new(), pid: std::process::id(), mountpoint: MOUNTPOINT.into() }
}

/// Attaches, changes, publishes, detaches.
pub(super) async fn apply(
    state: &ServerState,
    workspace: &WorkspaceInfo,
    claim: &Claim,
    request: Request,
) -> Result<Answer> {
    let path = state.info().data_folder.join("holders").join(format!("{}.engine", workspace.id.to_hex()));
    let folder = fresh_folder(path.clone(), workspace.id, engine_holder(state, workspace.id)).await?;
    let attached = attach(state, workspace, claim, folder.holder_id(), &who()).await?;
    let lease = attached.lease;
    let renewing = renew(state, lease);
    let applied = apply_attached(state, folder, attached, request).await;
    drop(renewing);
    if let Err(error) = state.repo().detach(&lease).await {
        // The next write or attach gets it back.
        log(&error);
    }
    blocking(move || remove(&path)).await?;
    applied
}

/// Keeps the lease alive for the other engines until this is dropped: a large file takes long to store.
fn renew(state: &ServerState, lease: Lease) -> JoinSet<()> {
    let mut renewing = JoinSet::new();
    let repo = state.repo().clone();
    renewing.spawn(async move {
        loop {
            sleep(LEASE_RENEWAL).await;
            if let Err(error) = repo.touch(&lease).await {
                log(&error);
            }
        }
    });
    renewing
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

async fn fresh_folder(path: PathBuf, workspace: WorkspaceId, holder: HolderId) -> Result<HolderFolder> {
    blocking(move || {
        remove(&path)?;
        let info = HolderInfo { pid: std::process::id(), mountpoint: MOUNTPOINT.into() };
        HolderFolder::lock(&path, workspace, &info, holder)
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
