//! What the engine can ask of this mount, over the connection that the mount keeps open.

use std::sync::Arc;

use api::client::{self, ControlHandler};
use async_trait::async_trait;
use vfs_core::base::{Attached, PublishNote};
use vfs_core::files;
use vfs_core::id::SnapshotId;
use vfs_core::repo::HolderDescription;
use vfs_core::workspace::Status;
use vfs_core::{Error, Kind, Result};

use super::{End, Holder};

/// Answers the engine until the mount is released or the lease is lost. What else ends the connection for good is
/// logged, and the mount goes on from its journal.
pub(super) async fn run(holder: Arc<Holder>, who: HolderDescription) {
    let lease = holder.lease();
    match client::control::run(holder.client.clone(), lease, who, holder.clone()).await {
        Ok(client::End::Released) => {
            holder.end.send_replace(End::Released);
        }
        Err(error) if matches!(error.kind(), Kind::LeaseLost | Kind::Busy) => holder.lease_lost(error),
        Err(error) => tracing::error!(
            "the engine cannot reach this mount any more, which goes on from its journal: {}",
            error.chain()
        ),
    }
}

#[async_trait]
impl ControlHandler for Holder {
    async fn barrier(&self, note: PublishNote) -> Result<SnapshotId> {
        Holder::barrier(self, note).await
    }

    async fn barrier_and_freeze(&self, note: PublishNote) -> Result<SnapshotId> {
        Holder::barrier_and_freeze(self, note).await
    }

    async fn thaw(&self) -> Result<()> {
        self.workspace.thaw();
        Ok(())
    }

    async fn status(&self) -> Result<Status> {
        Ok(self.workspace.status())
    }

    async fn swap_base(&self, snapshot: SnapshotId) -> Result<()> {
        let content = self.client.client().snapshot_object(snapshot).await?;
        Holder::swap_base(self, snapshot, content).await
    }

    async fn files(&self, request: files::Request) -> Result<files::Answer> {
        Holder::files(self, request).await
    }

    async fn release(&self) -> Result<()> {
        Holder::release(self).await
    }

    async fn on_reattached(&self, attached: Attached) -> Result<()> {
        tracing::info!(epoch = attached.lease.epoch, "took the lease again");
        if attached.head != self.workspace.base() && attached.position == 0 {
            return Err(Error::new(Kind::LeaseLost, "the workspace was published by another holder meanwhile"));
        }
        self.workspace.renew_lease(attached.lease)
    }
}
