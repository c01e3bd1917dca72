//! The process behind a mount: it holds the workspace's lease, overlay and journal, and shows them at a path.
//!
//! Order matters twice. Coming: lock the folder → attach → open the workspace (replay) → mount → connect → say ready.
//! Going: fsync what is mapped → publish → unmount → publish what came in between → give the lease back → close.
//! Nothing that was written is lost if any step fails: it stays in the journal, which the next mount replays.

mod checkpoints;
mod control;
mod documents;
mod files;
mod read_only;
mod report;
mod start;
mod stop;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::client::WorkspaceClient;
use fuse_mount::Mount;
use tokio::sync::watch;
use vfs_core::base::{Lease, PublishNote};
use vfs_core::files::Files;
use vfs_core::id::SnapshotId;
use vfs_core::object::Snapshot;
use vfs_core::workspace::Workspace;
use vfs_core::{Error, Kind, Result};

pub(crate) use documents::{Documents, ShownDocuments, WantedDocuments, documents_at, show_documents};
pub(crate) use read_only::{Shown, show};
pub(crate) use report::ask;
pub(crate) use start::{Started, Wanted, hold, is_alive};

/// Why a holder ends without being told to by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It goes on.
    No,
    /// The engine asked for it, and all is published and unmounted.
    Released,
    /// Somebody else has the lease now.
    LeaseLost,
}

/// A mounted workspace and the right to publish it.
struct Holder {
    name: String,
    folder: PathBuf,
    client: WorkspaceClient,
    workspace: Arc<Workspace>,
    files: Arc<Files>,
    /// Whether others may change files by path; not any more once the last publish has begun.
    takes_changes: tokio::sync::RwLock<bool>,
    mount: Arc<Mount>,
    /// The snapshot it started from.
    first_base: SnapshotId,
    end: watch::Sender<End>,
}

impl Holder {
    /// The lease of the moment; it changes when the engine has forgotten us and we attach again.
    fn lease(&self) -> Lease {
        self.workspace.lease().expect("because a holder's workspace is not read-only")
    }

    /// What is said about the snapshot that an unmount leaves. A mount that changed nothing leaves none.
    fn final_note(&self) -> PublishNote {
        let unchanged = self.workspace.base() == self.first_base && self.workspace.status().changed_inodes == 0;
        let message = if unchanged { String::new() } else { "unmounted".to_owned() };
        PublishNote { author: author(), message, automatic: unchanged, ..PublishNote::default() }
    }

    /// Publishes everything written before the call, also through shared mappings.
    async fn barrier(&self, note: PublishNote) -> Result<SnapshotId> {
        self.flush_mapped().await?;
        self.workspace.checkpoint(note).await
    }

    /// The same, and lets no change through after it until a swap or a thaw.
    async fn barrier_and_freeze(&self, note: PublishNote) -> Result<SnapshotId> {
        self.flush_mapped().await?;
        self.workspace.checkpoint_and_freeze(note).await
    }

    async fn flush_mapped(&self) -> Result<()> {
        let mount = self.mount.clone();
        blocking(move || if mount.has_ended() { Ok(()) } else { mount.flush_mapped() }).await
    }

    /// Shows another snapshot and tells the kernel. Comes back when the kernel has heard it.
    async fn swap_base(&self, id: SnapshotId, snapshot: Snapshot) -> Result<()> {
        let forgotten = self.workspace.swap_base(id, snapshot).await?;
        let mount = self.mount.clone();
        blocking(move || {
            mount.invalidate(forgotten);
            mount.settle();
            Ok(())
        })
        .await
    }

    /// Publishes and unmounts; `Busy` names who still uses the mount, which then goes on.
    async fn release(&self) -> Result<()> {
        self.barrier(self.final_note()).await?;
        let mount = self.mount.clone();
        blocking(move || mount.unmount(false)).await?;
        self.take_no_more_changes().await;
        if self.workspace.dirty_since().is_some() {
            self.barrier(self.final_note()).await?;
        }
        self.client.detach(&self.lease()).await
    }

    /// Another holder has the workspace: this one must not publish any more.
    fn lease_lost(&self, error: Error) {
        tracing::error!(
            "another holder has the workspace {} now; what was not published is kept in {}: {}",
            self.name,
            self.folder.display(),
            error.chain()
        );
        self.end.send_replace(End::LeaseLost);
    }
}

/// Runs what blocks on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::new(Kind::Internal, "a blocking step of the mount failed").because(error)),
    }
}

/// Who asks for snapshots on this machine.
pub(crate) fn author() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    user.ok().filter(|name| !name.is_empty()).unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

/// Name of this machine, for lists.
pub(crate) fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// Makes sure that a workspace can be shown at `path`: clears a dead mount, makes the folder, checks that it is fit.
pub(crate) fn prepare_mountpoint(path: &Path) -> Result<()> {
    let failed = |error| Error::io(format!("cannot make the mount point {}", path.display()), error);
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => std::fs::create_dir_all(path).map_err(failed)?,
        // A dead mount answers with an error as well.
        _ => {}
    }
    if fuse_mount::clear_dead_mount(path)? {
        tracing::info!("cleared a dead mount at {}", path.display());
    }
    if let Some(mount) = crate::mounts::mount_at(path)?.filter(crate::mounts::MountEntry::is_esker) {
        let line = format!("{} is mounted at {} already; unmount it first", mount.source, path.display());
        return Err(Error::new(Kind::Busy, line));
    }
    fuse_mount::check_mountpoint(path)
}
