//! A workspace that is shown at a path.
//!
//! * The session's threads only translate. They never wait for another thread of this process, so nothing that makes the
//!   kernel call back (an invalidation, an fsync of what is mapped, an unmount) may run on them.
//! * Invalidations go through a queue to a thread of their own, which holds no lock of the workspace.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};

use tokio::runtime::Handle;
use vfs_core::Result;
use vfs_core::workspace::{Invalidation, Workspace};

use crate::counters::Requests;
use crate::device::Permissions;
use crate::filesystem::{Core, Translator};
use crate::limits::INVALIDATIONS_QUEUED;
use crate::processes;
use crate::session::{Running, spawn};

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
pub struct Mount {
    running: Arc<Running>,
    core: Arc<Core>,
    queue: SyncSender<Job>,
}

enum Job {
    Invalidate(Vec<Invalidation>),
    Settled(SyncSender<()>),
}

impl Mount {
    /// Mounts `workspace` at `mountpoint` and begins to answer. `runtime` runs what has to wait for the base.
    pub fn start(
        workspace: Arc<Workspace>,
        mountpoint: &Path,
        options: &MountOptions,
        runtime: Handle,
    ) -> Result<Mount> {
        let core = Core::new(workspace, options.owner, runtime);
        let running = Running::start(Translator::new(Arc::clone(&core)), mountpoint, options, Permissions::ByKernel)?;
        let (queue, jobs) = sync_channel(INVALIDATIONS_QUEUED);
        // From here on, dropping the mount unmounts it.
        let mount = Mount { running, core, queue };
        let weak = Arc::downgrade(&mount.running);
        spawn("esker-notify", move || deliver(&jobs, &weak))?;
        Ok(mount)
    }

    /// Queues what the kernel must forget; a thread of its own, which holds no lock, delivers it.
    pub fn invalidate(&self, list: Vec<Invalidation>) {
        // A mount that has ended has nothing left to forget.
        let _ = self.queue.send(Job::Invalidate(list));
    }

    /// Waits until everything queued by [`Mount::invalidate`] so far is delivered. Never call it from a session's thread.
    pub fn settle(&self) {
        let (done, settled) = sync_channel(1);
        if self.queue.send(Job::Settled(done)).is_ok() {
            // An error means that the thread is gone, and the mount with it.
            let _ = settled.recv();
        }
    }

    /// First half of a barrier: fsyncs every file of this mount that some process has mapped shared and writable.
    /// Never call it from a session's thread. Mappings of processes that this one may not look at are not found: run
    /// as root where other users write.
    pub fn flush_mapped(&self) -> Result<()> {
        processes::flush_mapped(self.running.device)
    }

    /// Unmounts. `Busy` names who still uses the mount; `lazy` detaches it at once and ends when the last user has left.
    pub fn unmount(&self, lazy: bool) -> Result<()> {
        self.running.unmount(lazy)
    }

    /// Waits until the mount has ended, whoever ended it.
    pub fn wait(&self) -> Result<()> {
        self.running.wait()
    }

    /// Whether the mount has ended.
    pub fn has_ended(&self) -> bool {
        self.running.has_ended()
    }

    /// [`Mount::wait`], then lets go of everything.
    pub fn join(self) -> Result<()> {
        self.wait()
    }

    /// The mount's `st_dev`.
    pub fn device(&self) -> u64 {
        self.running.device
    }

    /// Where it is mounted, as an absolute path.
    pub fn mountpoint(&self) -> &Path {
        &self.running.mountpoint
    }

    /// Requests so far, by operation.
    pub fn counters(&self) -> Requests {
        self.core.counters.read()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.running.abandon();
    }
}

fn deliver(jobs: &Receiver<Job>, running: &Weak<Running>) {
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Invalidate(list) => match running.upgrade() {
                Some(running) => running.tell(&list),
                None => return,
            },
            // Whoever asked may have gone.
            Job::Settled(done) => drop(done.send(())),
        }
    }
}

#[cfg(test)]
mod tests;
