//! A mounted workspace for one test, gone afterwards also if the test panics.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

pub(crate) mod base;
pub(crate) mod documents;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use fuse_mount::{Mount, MountOptions};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use vfs_core::workspace::Workspace;

use base::MemoryBase;

/// Whether a test can mount here; says so if not.
pub(crate) fn can_mount() -> bool {
    let can = rustix::process::geteuid().is_root() && Path::new("/dev/fuse").exists();
    if !can {
        eprintln!("skipped: mounting needs root and /dev/fuse");
    }
    can
}

pub(crate) struct World {
    // Dropped in this order: the mount before the folders it needs.
    pub(crate) mount: Option<Mount>,
    pub(crate) workspace: Arc<Workspace>,
    pub(crate) base: Arc<MemoryBase>,
    pub(crate) runtime: Runtime,
    pub(crate) folder: TempDir,
}

impl World {
    /// An empty workspace, mounted for everybody.
    pub(crate) fn new() -> World {
        World::with(&MountOptions { allow_other: true, ..MountOptions::default() })
    }

    pub(crate) fn with(options: &MountOptions) -> World {
        let runtime = Runtime::new().unwrap();
        let base = runtime.block_on(MemoryBase::new()).unwrap();
        World::on(runtime, base, options)
    }

    /// A mount of what `base` has published, with a journal of its own.
    pub(crate) fn on(runtime: Runtime, base: Arc<MemoryBase>, options: &MountOptions) -> World {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::create_dir(folder.path().join("mnt")).unwrap();
        let workspace = runtime.block_on(base.open(&folder.path().join("holder"))).unwrap();
        let mountpoint = folder.path().join("mnt");
        let mount = Mount::start(workspace.clone(), &mountpoint, options, runtime.handle().clone()).unwrap();
        World { mount: Some(mount), workspace, base, runtime, folder }
    }

    pub(crate) fn mount(&self) -> &Mount {
        self.mount.as_ref().unwrap()
    }

    /// A path below the mount.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.mount().mountpoint().join(below)
    }

    /// Publishes everything.
    pub(crate) fn checkpoint(&self) {
        self.runtime.block_on(self.workspace.checkpoint(Default::default())).unwrap();
    }

    /// Unmounts, publishes, and mounts what was published from scratch: nothing is in any memory.
    pub(crate) fn remount_cold(self) -> World {
        self.mount().unmount(false).unwrap();
        let World { mount, workspace, base, runtime, folder } = self;
        mount.unwrap().join().unwrap();
        runtime.block_on(workspace.checkpoint(Default::default())).unwrap();
        runtime.block_on(workspace.close()).unwrap();
        drop((workspace, folder));
        World::on(runtime, base, &MountOptions { allow_other: true, ..MountOptions::default() })
    }
}

/// Runs a shell command in `folder` as `user`; what it printed, and whether it succeeded.
pub(crate) fn shell_as(user: u32, folder: &Path, script: &str) -> (String, bool) {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(folder).env("LC_ALL", "C");
    if user != 0 {
        command.uid(user).gid(user);
    }
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.success())
}

pub(crate) fn shell(folder: &Path, script: &str) -> String {
    let (text, success) = shell_as(0, folder, script);
    assert!(success, "{script}: {text}");
    text
}
