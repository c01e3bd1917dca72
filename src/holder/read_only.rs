//! A mount that shows a snapshot: no lease, no overlay, no journal, nothing to publish. The engine keeps the snapshot for
//! it, whatever becomes of the workspace's history.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use api::client::Client;
use fuse_mount::{Mount, MountOptions};
use vfs_core::clock::SystemClock;
use vfs_core::id::{ReaderId, SnapshotId, WorkspaceId};
use vfs_core::limits::READER_RENEWAL;
use vfs_core::workspace::Workspace;

use super::{Started, blocking, prepare_mountpoint, stop};
use crate::exit::Outcome;
use crate::limits::POLL;
use crate::signals::Signals;

/// Which snapshot is shown where.
pub(crate) struct Shown {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its name.
    pub name: String,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Other users may look.
    pub allow_other: bool,
}

/// Shows a snapshot until a signal, or until somebody unmounts it.
pub(crate) async fn show(
    client: Client,
    shown: Shown,
    at: &Path,
    say: impl FnOnce(&Started) -> Outcome,
    tell: &dyn Fn(&str),
) -> Outcome {
    let reader = ReaderId::random()?;
    client.keep_reading(reader, shown.workspace, shown.snapshot).await?;
    let workspace = shown.workspace;
    let done = show_kept(&client, reader, shown, at, say, tell).await;
    // If the engine is gone, it forgets the reader by itself.
    if let Err(error) = client.end_reading(reader, workspace).await {
        tracing::debug!(error = %error, "the snapshot stays kept for a while");
    }
    done
}

async fn show_kept(
    client: &Client,
    reader: ReaderId,
    shown: Shown,
    at: &Path,
    say: impl FnOnce(&Started) -> Outcome,
    tell: &dyn Fn(&str),
) -> Outcome {
    let mut signals = Signals::listen()?;
    prepare_mountpoint(at)?;
    let (read_in, read) = (shown.workspace, shown.snapshot);
    let snapshot = client.snapshot_object(shown.snapshot).await?;
    let workspace = Workspace::open_read_only(
        shown.snapshot,
        snapshot,
        Arc::new(client.holder(shown.workspace)),
        Arc::new(SystemClock),
    )
    .await?;
    let options = MountOptions {
        read_only: true,
        allow_other: shown.allow_other,
        fs_name: format!("esker:{}@{}", shown.name, crate::print::short(&shown.snapshot.to_hex())),
        ..MountOptions::default()
    };
    let (path, runtime) = (at.to_owned(), tokio::runtime::Handle::current());
    let mounted = blocking(move || Mount::start(workspace, &path, &options, runtime)).await?;
    let mount = Arc::new(mounted);
    say(&Started {
        workspace: shown.name,
        mountpoint: at.to_owned(),
        base: shown.snapshot.to_hex(),
        recovered_bytes: 0,
        read_only: true,
        pid: std::process::id(),
        documents: None,
    })?;
    let ended = async {
        while !mount.has_ended() {
            tokio::time::sleep(POLL).await;
        }
    };
    let done = async {
        tokio::select! {
            () = signals.next() => Ok(stop::unmount(&mount, &mut signals, tell).await?),
            () = ended => Ok(()),
        }
    };
    // A mount that is busy is waited for, and read meanwhile.
    tokio::select! {
        done = done => done,
        never = keep_on(client, reader, read_in, read) => match never {},
    }
}

/// Says again and again that the snapshot is read.
async fn keep_on(client: &Client, reader: ReaderId, workspace: WorkspaceId, snapshot: SnapshotId) -> Infallible {
    loop {
        tokio::time::sleep(READER_RENEWAL).await;
        if let Err(error) = client.keep_reading(reader, workspace, snapshot).await {
            tracing::warn!(error = %error, "the engine could not be told that the snapshot is read: trying again");
        }
    }
}
