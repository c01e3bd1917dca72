//! A running mount.

use std::path::Path;
use std::sync::Arc;

use vfs_core::Result;
use vfs_core::workspace::{Invalidation, Workspace};

use crate::counters::Requests;

/// How a workspace is shown.
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// The kernel refuses every change (EROFS).
    pub read_only: bool,
    /// Users other than the one who mounts may use it, as far as permissions go.
    pub allow_other: bool,
    /// Session threads.
    pub threads: usize,
    /// What `mount` and `df` show as the source.
    pub fs_name: String,
    /// Show everything as this user and group.
    pub owner: Option<(u32, u32)>,
}

impl Default for MountOptions {
    fn default() -> Self {
        MountOptions { read_only: false, allow_other: false, threads: 2, fs_name: "esker".into(), owner: None }
    }
}

/// A workspace shown at a path. Dropping it unmounts lazily.
pub struct Mount {}

impl Mount {
    /// Mounts `workspace` at `mountpoint` and begins to answer. `runtime` runs what has to wait for the base.
    pub fn start(
        workspace: Arc<Workspace>,
        mountpoint: &Path,
        options: &MountOptions,
        runtime: tokio::runtime::Handle,
    ) -> Result<Mount> {
        let _ = (workspace, mountpoint, options, runtime);
        unimplemented!()
    }

    /// Queues what the kernel must forget; a thread of its own, which holds no lock, delivers it.
    pub fn invalidate(&self, list: Vec<Invalidation>) {
        let _ = list;
        unimplemented!()
    }

    /// Waits until everything queued by [`Mount::invalidate`] so far is delivered.
    pub fn settle(&self) {
        unimplemented!()
    }

    /// First half of a barrier: fsyncs every file of this mount that some process has mapped shared and writable.
    /// Never call it from a session's thread.
    pub fn flush_mapped(&self) -> Result<()> {
        unimplemented!()
    }

    /// Unmounts. `Busy` names who still uses the mount; `lazy` detaches it at once and ends when the last user has left.
    pub fn unmount(&self, lazy: bool) -> Result<()> {
        let _ = lazy;
        unimplemented!()
    }

    /// Waits until the mount has ended, whoever ended it.
    pub fn wait(&self) -> Result<()> {
        unimplemented!()
    }

    /// Whether the mount has ended.
    pub fn has_ended(&self) -> bool {
        unimplemented!()
    }

    /// [`Mount::wait`], then lets go of everything.
    pub fn join(self) -> Result<()> {
        self.wait()
    }

    /// The mount's `st_dev`.
    pub fn device(&self) -> u64 {
        unimplemented!()
    }

    /// Where it is mounted, as an absolute path.
    pub fn mountpoint(&self) -> &Path {
        unimplemented!()
    }

    /// Requests so far, by operation.
    pub fn counters(&self) -> Requests {
        unimplemented!()
    }
}
