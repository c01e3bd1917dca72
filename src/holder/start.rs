//! Becoming a holder, and being one until somebody says stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use api::client::{Client, WorkspaceClient};
use fuse_mount::{Mount, MountOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use vfs_core::clock::SystemClock;
use vfs_core::files::Files;
use vfs_core::id::{HolderId, WorkspaceId};
use vfs_core::repo::HolderDescription;
use vfs_core::workspace::{HolderFolder, HolderInfo, Workspace};
use vfs_core::{Error, Kind, Result};

use super::stop::{self, Reason};
use super::{End, Holder, checkpoints, control, host, prepare_mountpoint, report};
use crate::exit::Outcome;
use crate::folder::DataFolder;
use crate::limits::{LOCK_PATIENCE, POLL};
use crate::signals::Signals;

/// What is mounted where, for the line that says so.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Started {
    /// Name of the workspace.
    pub workspace: String,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// The snapshot it started from.
    pub base: String,
    /// Bytes of earlier work that the journal brought back and that are not published yet.
    pub recovered_bytes: u64,
    /// It takes no changes.
    pub read_only: bool,
    /// The process that holds it.
    pub pid: u32,
    /// Where it shows documents as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents: Option<PathBuf>,
}

/// Which workspace is shown where, and how.
pub(crate) struct Wanted {
    /// The workspace.
    pub id: WorkspaceId,
    /// Where.
    pub mountpoint: PathBuf,
    /// Other users may look.
    pub allow_other: bool,
}

/// Mounts a workspace, says so, and serves it until a signal or the engine ends it.
pub(crate) async fn hold(
    data: &DataFolder,
    client: Client,
    wanted: Wanted,
    say: impl FnOnce(&Started) -> Outcome,
    tell: &dyn Fn(&str),
) -> Outcome {
    let mut signals = Signals::listen()?;
    // Caught before the folder is locked, because whoever sees the lock may ask.
    let asked = signal(SignalKind::user_defined1()).map_err(|error| Error::io("cannot listen for signals", error))?;
    let (holder, who, started) = attach(data, client.holder(wanted.id), wanted).await?;
    let control = tokio::spawn(control::run(holder.clone(), who));
    let checkpoints = tokio::spawn(checkpoints::run(holder.clone()));
    let reports = tokio::spawn(report::run(holder.clone(), asked));
    let said = say(&started);
    let reason = match &said {
        Ok(()) => stop::wait(&holder, &mut signals).await,
        Err(_) => Reason::Ended,
    };
    checkpoints.abort();
    let stopped = stop::stop(&holder, reason, &mut signals, tell).await;
    control.abort();
    reports.abort();
    said.and(stopped)
}

async fn attach(
    data: &DataFolder,
    client: WorkspaceClient,
    wanted: Wanted,
) -> Outcome<(Arc<Holder>, HolderDescription, Started)> {
    let path = data.holder(wanted.id);
    crate::folder::private(&path)?;
    let info = HolderInfo { pid: std::process::id(), mountpoint: wanted.mountpoint.clone() };
    let folder = lock(&path, wanted.id, &info).await?;
    prepare_mountpoint(&wanted.mountpoint)?;
    let who =
        HolderDescription { host: host(), pid: info.pid, mountpoint: wanted.mountpoint.to_string_lossy().into_owned() };
    let attached = client.attach(folder.holder_id(), &who).await?;
    let (lease, name) = (attached.lease, attached.name.clone());
    let opened = Workspace::open(folder, attached, Arc::new(client.clone()), Arc::new(SystemClock)).await;
    let workspace = give_back_on_error(&client, &lease, opened).await?;
    let status = workspace.status();
    let mounted = mount(workspace.clone(), &name, &wanted).await;
    if mounted.is_err() {
        let _ = workspace.close().await;
    }
    let mount = give_back_on_error(&client, &lease, mounted).await?;
    let started = Started {
        workspace: name.clone(),
        mountpoint: wanted.mountpoint,
        base: status.base.to_hex(),
        recovered_bytes: if status.changed_inodes > 0 { status.journal_bytes } else { 0 },
        read_only: false,
        pid: info.pid,
        documents: None,
    };
    let end = watch::Sender::new(End::No);
    let (files, mount) = (Files::new(workspace.clone()), Arc::new(mount));
    let (takes_changes, first_base) = (tokio::sync::RwLock::new(true), status.base);
    let holder = Holder { name, folder: path, client, workspace, files, takes_changes, mount, first_base, end };
    Ok((Arc::new(holder), who, started))
}

async fn mount(workspace: Arc<Workspace>, name: &str, wanted: &Wanted) -> Result<Mount> {
    let options =
        MountOptions { allow_other: wanted.allow_other, fs_name: format!("esker:{name}"), ..MountOptions::default() };
    let (mountpoint, runtime) = (wanted.mountpoint.clone(), tokio::runtime::Handle::current());
    super::blocking(move || Mount::start(workspace, &mountpoint, &options, runtime)).await
}

/// A holder that cannot work must not keep others out.
async fn give_back_on_error<T>(
    client: &WorkspaceClient,
    lease: &vfs_core::base::Lease,
    result: Result<T>,
) -> Result<T> {
    if result.is_err() {
        let _ = client.detach(lease).await;
    }
    result
}

/// Locks the holder's folder. A process that was killed just now may still be closing its files.
async fn lock(path: &std::path::Path, id: WorkspaceId, info: &HolderInfo) -> Result<HolderFolder> {
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match HolderFolder::lock(path, id, info, fresh_id()?) {
            Err(error) if error.kind() == Kind::Busy && Instant::now() < until && !is_held(path) => {
                tokio::time::sleep(POLL).await;
            }
            locked => return locked,
        }
    }
}

/// Whether a living process has the folder.
fn is_held(path: &std::path::Path) -> bool {
    HolderFolder::holder(path).is_some_and(|holder| is_alive(holder.pid))
}

/// Whether a process runs; one that is dying or a zombie does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The name in parentheses may hold anything, so the state is looked for after the last one.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, Some('Z' | 'X' | 'x') | None)
}

fn fresh_id() -> Result<HolderId> {
    let mut bytes = [0; HolderId::LENGTH];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::new(Kind::Internal, "no random numbers").because(error.to_string()))?;
    Ok(HolderId::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_living_from_the_dead() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(u32::MAX));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let until = Instant::now() + std::time::Duration::from_secs(10);
        while is_alive(child.id()) {
            assert!(Instant::now() < until, "a zombie counts as alive");
            std::thread::sleep(POLL);
        }
        child.wait().unwrap();
    }

    #[test]
    fn ids_differ() {
        assert_ne!(fresh_id().unwrap(), fresh_id().unwrap());
    }
}
