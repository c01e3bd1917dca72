//! The documents of a view as a folder: a FUSE session of its own (decision 0011, "In the mount").
//!
//! | file | what |
//! |---|---|
//! | `store` | where documents are: an engine, through its client |
//! | `filesystem` | one request of the kernel → one operation → one reply |
//! | `core` | what all requests share; questions to the store, with a deadline |
//! | `open` `changes` `rename` | the operations |
//! | `buffer` | one open document in memory, and what of it is to be stored |
//! | `listing` | the names of the view; empty directories |
//! | `names` | paths and their inode numbers |
//!
//! Keeps true:
//! * A write is stored when its file is closed or fsynced, based on the version that was opened; nothing is overwritten
//!   unseen (the store merges, or keeps a side version, and the caller gets ESTALE).
//! * The session's thread never waits: whatever needs the store is answered by a task with a deadline.
//! * The grants decide who may write, not modes: the kernel checks nothing here, because a sandbox's root passes every
//!   mode. The store is told the grants and refuses the same.

mod buffer;
mod changes;
mod core;
mod filesystem;
mod listing;
mod names;
mod open;
mod rename;
mod store;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use vfs_core::limits::MISS_DEADLINE;
use vfs_core::{Error, Kind, Result};

pub use store::{DocumentStore, EngineDocuments, Name, OnConflict, Writer};

use self::core::Core;
use crate::counters::Requests;
use crate::device::Permissions;
use crate::mount::MountOptions;
use crate::session::Running;

/// Which documents are shown, and how.
#[derive(Debug, Clone)]
pub struct DocumentOptions {
    /// The view: scopes, nearest first.
    pub view: Vec<String>,
    /// Those of them that may be written.
    pub grants: Vec<String>,
    /// Users other than the one who mounts may use it.
    pub allow_other: bool,
    /// What `mount` and `df` show as the source.
    pub fs_name: String,
    /// How long a request may wait for the store.
    pub deadline: Duration,
}

impl DocumentOptions {
    /// A view of which everything may be written.
    pub fn new(view: Vec<String>) -> DocumentOptions {
        // The helper that mounts for users takes no commas.
        let fs_name = format!("esker-docs:{}", view.join("+"));
        let grants = view.clone();
        DocumentOptions { view, grants, allow_other: false, fs_name, deadline: MISS_DEADLINE }
    }
}

/// Documents shown at a path. Dropping it unmounts lazily.
pub struct DocumentMount {
    running: Arc<Running>,
    core: Arc<Core>,
}

impl DocumentMount {
    /// Mounts a view of `store` at `mountpoint` and begins to answer. `runtime` runs what has to wait for the store.
    pub fn start(
        store: Arc<dyn DocumentStore>,
        mountpoint: &Path,
        options: &DocumentOptions,
        runtime: Handle,
    ) -> Result<DocumentMount> {
        if options.view.is_empty() {
            return Err(Error::new(Kind::Invalid, "a view needs at least one scope"));
        }
        let core = Core::new(store, options, runtime);
        let mount_options = MountOptions {
            allow_other: options.allow_other,
            // One thread, so that the last close of a file is heard of before the next open.
            threads: 1,
            fs_name: options.fs_name.clone(),
            ..MountOptions::default()
        };
        let filesystem = filesystem::Translator::new(Arc::clone(&core));
        let running = Running::start(filesystem, mountpoint, &mount_options, Permissions::ByFilesystem)?;
        Ok(DocumentMount { running, core })
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

    /// Waits until nothing that was closed is still on its way to the store. Once the mount has ended, also stores what
    /// the kernel has not asked for any more: it drops closes that it has not sent yet.
    pub async fn settle(&self) {
        self.core.settle().await;
        if self.has_ended() {
            self.core.send_rest().await;
        }
    }

    /// Where it is mounted, as an absolute path.
    pub fn mountpoint(&self) -> &Path {
        &self.running.mountpoint
    }

    /// The mount's `st_dev`.
    pub fn device(&self) -> u64 {
        self.running.device
    }

    /// Requests so far, by operation.
    pub fn counters(&self) -> Requests {
        self.core.counters.read()
    }
}

impl Drop for DocumentMount {
    fn drop(&mut self) {
        self.running.abandon();
    }
}
