//! `esker unmount`: asks the process behind a mount to publish, unmount and end, and waits for it. Documents are stored
//! when they are closed, so of them there is little to wait for.

use std::path::{Path, PathBuf};
use std::time::Instant;

use vfs_core::base::PublishNote;
use vfs_core::id::WorkspaceId;
use vfs_core::workspace::{HolderFolder, HolderInfo};
use vfs_core::{Error, Kind, Result};

use crate::cli::Unmount;
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::folder::{DataFolder, absolute};
use crate::holder::{author, documents_at, is_alive};
use crate::limits::{FINAL_PATIENCE, LAZY_PATIENCE, POLL, UNMOUNT_PATIENCE};
use crate::mounts::{self, MountEntry};
use crate::{print, ready};

/// Unmounts what is mounted at a folder.
pub(crate) async fn run(context: &Context, options: Unmount) -> Outcome {
    let at = absolute(&options.at)?;
    let mount = mounts::mount_at(&at)?
        .ok_or_else(|| Failure::new(Kind::NotFound, format!("nothing is mounted at {}", at.display())))?;
    if !mount.is_esker() {
        let line = format!("{} is a mount of type {}, not one of esker's", at.display(), mount.kind);
        return Err(Failure::new(Kind::Invalid, line));
    }
    if mount.shows_documents() {
        return documents(context, &at, options.lazy).await;
    }
    if fuse_mount::clear_dead_mount(&at)? {
        let line = "its process was gone; unpublished work is in the journal, the next mount brings it back";
        return said(context, &at, line);
    }
    match holder_at(&context.data, &at) {
        Some((workspace, holder)) => release(context, workspace, &holder, options.lazy).await?,
        // A read-only mount, or one of another data folder, whose process sees that it was unmounted.
        None => unmount(&at, options.lazy).await?,
    }
    said(context, &at, "unmounted")
}

/// Unmounts documents and waits until what was closed is stored.
async fn documents(context: &Context, at: &Path, lazy: bool) -> Outcome {
    let shown = documents_at(&context.data, at);
    if fuse_mount::clear_dead_mount(at)? {
        return said(context, at, "its process was gone; what was closed before is stored");
    }
    unmount(at, lazy).await?;
    let until = Instant::now() + if lazy { LAZY_PATIENCE } else { FINAL_PATIENCE };
    while shown.is_some() && documents_at(&context.data, at).map(|now| now.pid) == shown.as_ref().map(|was| was.pid) {
        if Instant::now() >= until && !lazy {
            let line = format!("{} was unmounted, but its process does not get everything stored", at.display());
            return Err(Failure::new(Kind::Unavailable, line));
        }
        if Instant::now() >= until {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    said(context, at, "unmounted")
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

/// Publishes while the mount is still there, so that a busy mount stays whole; then unmounts. The process behind it
/// sees that, publishes what came in between, gives the lease back and ends.
async fn release(context: &Context, workspace: WorkspaceId, holder: &HolderInfo, lazy: bool) -> Outcome {
    let client = context.client().await?;
    let note = PublishNote { author: author(), automatic: true, ..PublishNote::default() };
    if let Err(error) = client.checkpoint(&workspace.to_hex(), note).await {
        tracing::info!("the mount could not publish before it is unmounted: {}", error.chain());
    }
    unmount(&holder.mountpoint, lazy).await?;
    wait_for_end(&context.data.holder(workspace), holder, lazy).await?;
    let lease = client.workspace(&workspace.to_hex()).await?.holder;
    if lease.is_some_and(|lease| lease.pid == holder.pid) {
        let folder = context.data.holder(workspace);
        let line = format!(
            "unmounted, but not all is published; the work is safe in the journal {}: mount it again ({})",
            folder.display(),
            ready::last_line(&folder.join("mount.log"))
        );
        return Err(Failure::new(Kind::Unavailable, line));
    }
    Ok(())
}

async fn unmount(at: &Path, lazy: bool) -> Outcome {
    let at = at.to_owned();
    let unmounted = tokio::task::spawn_blocking(move || fuse_mount::unmount(&at, lazy)).await;
    Ok(unmounted.map_err(|error| Error::new(Kind::Internal, "the unmount failed").because(error))??)
}

/// Waits until the process behind a mount has ended. One that was detached lazily lives as long as its users.
async fn wait_for_end(folder: &Path, holder: &HolderInfo, lazy: bool) -> Result<()> {
    let until = Instant::now() + if lazy { LAZY_PATIENCE } else { UNMOUNT_PATIENCE };
    let (folder, at): (PathBuf, &Path) = (folder.to_owned(), &holder.mountpoint);
    while is_alive(holder.pid) && HolderFolder::holder(&folder).is_some_and(|now| now.pid == holder.pid) {
        if lazy && Instant::now() >= until {
            return Ok(());
        }
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
