//! `esker unmount`: asks the process behind a mount to publish, unmount and end, and waits for it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use vfs_core::id::WorkspaceId;
use vfs_core::workspace::{HolderFolder, HolderInfo};
use vfs_core::{Error, Kind, Result};

use crate::cli::Unmount;
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::folder::{DataFolder, absolute};
use crate::holder::is_alive;
use crate::limits::{POLL, UNMOUNT_PATIENCE};
use crate::mounts::{self, MountEntry};
use crate::print;

/// Unmounts what is mounted at a folder.
pub(crate) async fn run(context: &Context, options: Unmount) -> Outcome {
    let at = absolute(&options.at)?;
    let mount = mounts::mount_at(&at)?
        .ok_or_else(|| Failure::new(Kind::NotFound, format!("nothing is mounted at {}", at.display())))?;
    if !mount.is_esker() {
        let line = format!("{} is a mount of type {}, not one of esker's", at.display(), mount.kind);
        return Err(Failure::new(Kind::Invalid, line));
    }
    if fuse_mount::clear_dead_mount(&at)? {
        let line = "its process was gone; unpublished work is in the journal, the next mount brings it back";
        return said(context, &at, line);
    }
    match holder_at(&context.data, &at) {
        Some((workspace, holder)) if options.lazy => end_lazily(&context.data, workspace, &holder).await?,
        Some((workspace, holder)) => release(context, workspace, &holder).await?,
        None => unmount_directly(&mount, options.lazy)?,
    }
    said(context, &at, "unmounted")
}

fn said(context: &Context, at: &Path, what: &str) -> Outcome {
    let value = serde_json::json!({ "mountpoint": print::visible(at.as_os_str().as_encoded_bytes()), "done": what });
    context.printer.result(&value, || format!("{}: {what}", at.display()))
}

/// The living holder of this data folder that is mounted at a path.
pub(crate) fn holder_at(data: &DataFolder, at: &Path) -> Option<(WorkspaceId, HolderInfo)> {
    let folders = std::fs::read_dir(data.holders()).ok()?;
    folders.filter_map(|entry| entry.ok()).find_map(|entry| {
        let workspace = entry.file_name().to_str()?.parse().ok()?;
        let holder = HolderFolder::holder(&entry.path())?;
        (holder.mountpoint == at).then_some((workspace, holder))
    })
}

/// Asks through the engine, which can say why not; a mount that the engine does not reach is asked by a signal.
async fn release(context: &Context, workspace: WorkspaceId, holder: &HolderInfo) -> Outcome {
    let client = context.client().await?;
    match client.release(&workspace.to_hex()).await {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), Kind::Unavailable | Kind::Conflict | Kind::NotFound) => {
            tracing::debug!("the engine does not reach the mount, it gets a signal: {}", error.chain());
            terminate(holder)?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(wait_for_end(&context.data.holder(workspace), holder).await?)
}

/// The second signal detaches the mount even if something uses it; the first has published.
async fn end_lazily(data: &DataFolder, workspace: WorkspaceId, holder: &HolderInfo) -> Outcome {
    terminate(holder)?;
    tokio::time::sleep(POLL * 4).await;
    if is_alive(holder.pid) {
        terminate(holder)?;
    }
    Ok(wait_for_end(&data.holder(workspace), holder).await?)
}

fn terminate(holder: &HolderInfo) -> Result<()> {
    let pid = i32::try_from(holder.pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Error::new(Kind::Internal, format!("{} is no process id", holder.pid)))?;
    match kill_process(pid, Signal::TERM) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(Error::io(format!("cannot signal process {}", holder.pid), error.into())),
    }
}

async fn wait_for_end(folder: &Path, holder: &HolderInfo) -> Result<()> {
    let until = Instant::now() + UNMOUNT_PATIENCE;
    let (folder, at): (PathBuf, &Path) = (folder.to_owned(), &holder.mountpoint);
    while is_alive(holder.pid) && HolderFolder::holder(&folder).is_some_and(|now| now.pid == holder.pid) {
        if Instant::now() >= until {
            let log = folder.join("mount.log");
            let line = format!("process {} does not end; its log is {}", holder.pid, log.display());
            return Err(Error::new(Kind::Unavailable, line));
        }
        tokio::time::sleep(POLL).await;
    }
    match mounts::mount_at(at)?.filter(MountEntry::is_esker) {
        Some(_) => fuse_mount::clear_dead_mount(at).map(|_| ()),
        None => Ok(()),
    }
}

/// A read-only mount, or one of another data folder, whose process sees that it was unmounted and publishes.
fn unmount_directly(mount: &MountEntry, lazy: bool) -> Outcome {
    let at = &mount.mountpoint;
    let flags = if lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    match unmount(at, flags) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::BUSY) => {
            let line = format!("{} is busy: `fuser -vm {}` says who uses it, --lazy detaches it", at.display(), at.display());
            Err(Failure::new(Kind::Busy, line))
        }
        Err(rustix::io::Errno::PERM) => fusermount(at, lazy),
        Err(error) => Err(Error::io(format!("cannot unmount {}", at.display()), error.into()).into()),
    }
}

fn fusermount(at: &Path, lazy: bool) -> Outcome {
    let output = std::process::Command::new("fusermount3")
        .arg(if lazy { "-uz" } else { "-u" })
        .arg("--")
        .arg(at)
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| Error::io("cannot run fusermount3", error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let kind = if said.contains("busy") { Kind::Busy } else { Kind::Denied };
    Err(Failure::new(kind, format!("cannot unmount {}: {said}", at.display())))
}
