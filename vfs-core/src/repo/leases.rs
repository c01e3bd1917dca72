//! Leases: one holder at a time, fenced by an epoch that only grows.
//!
//! The clock decides only when somebody *may* take over; that the old holder cannot publish any more is decided by the
//! epoch, in the transaction of each publish.

use super::{HolderDescription, LeaseInfo, Repo};
use crate::base::{Attached, Lease};
use crate::clock::Time;
use crate::db::{Connection, LeaseRow, leases, refs, workspaces};
use crate::error::{Error, Kind, Result};
use crate::id::{HolderId, WorkspaceId};
use crate::limits::{DESCRIPTION_MAX, LEASE_TTL};

impl Repo {
    pub(super) async fn attach_holder(
        &self,
        workspace: WorkspaceId,
        holder: HolderId,
        who: &HolderDescription,
    ) -> Result<Attached> {
        if who.host.len() > DESCRIPTION_MAX || who.mountpoint.len() > DESCRIPTION_MAX {
            let message = format!("host and mount point may have at most {DESCRIPTION_MAX} bytes");
            return Err(Error::new(Kind::Invalid, message));
        }
        let now = self.now();
        let mut transaction = self.database().begin().await?;
        let row = workspaces::by_id(&mut transaction, self.inner.tenant_number, workspace).await?;
        let name = row.ok_or_else(|| Error::new(Kind::NotFound, format!("there is no workspace {workspace}")))?.name;
        let mut head = refs::get(&mut transaction, workspace).await?;
        if let Some(other) = leases::get(&mut transaction, workspace).await?
            && other.holder != holder
            && self.is_live(&other, now)
        {
            return Err(held(&name, &other));
        }
        head.epoch += 1;
        refs::put(&mut transaction, &head).await?;
        let lease = LeaseRow {
            workspace,
            holder,
            epoch: head.epoch,
            host: who.host.clone(),
            pid: who.pid,
            mountpoint: who.mountpoint.clone(),
            last_seen: now,
            base: head.snapshot,
        };
        leases::put(&mut transaction, &lease).await?;
        let quota = self.allowance(&mut transaction, workspace).await?;
        self.database().commit(transaction).await?;
        self.inner.sessions.forget(workspace);
        self.inner.connected.lock().retain(|connected| connected.0 != workspace);
        self.warm_up(head.snapshot).await;
        Ok(Attached {
            lease: Lease { workspace, holder, epoch: head.epoch },
            name,
            head: head.snapshot,
            snapshot: self.snapshot(head.snapshot).await?,
            position: head.covered.filter(|covered| covered.0 == holder).map_or(0, |covered| covered.1),
            quota,
        })
    }

    pub(super) async fn touch_lease(&self, lease: &Lease) -> Result<()> {
        let mut transaction = self.database().begin().await?;
        let mut row = current(&mut transaction, lease).await?;
        row.last_seen = self.now();
        leases::put(&mut transaction, &row).await?;
        self.database().commit(transaction).await
    }

    pub(super) async fn detach_holder(&self, lease: &Lease) -> Result<()> {
        let mut transaction = self.database().begin().await?;
        match current(&mut transaction, lease).await {
            Ok(_) => leases::remove(&mut transaction, lease.workspace).await?,
            Err(error) if error.kind() == Kind::LeaseLost => {}
            Err(error) => return Err(error),
        }
        self.database().commit(transaction).await?;
        self.set_connected(lease, false);
        self.inner.sessions.forget_lease(lease);
        Ok(())
    }

    /// Whether nobody else may take the workspace yet.
    pub(crate) fn is_live(&self, lease: &LeaseRow, now: Time) -> bool {
        let age_nanos = now.as_nanos() - lease.last_seen.as_nanos();
        // A clock that jumped back must not make a lease immortal.
        let young = age_nanos.unsigned_abs() < LEASE_TTL.as_nanos();
        young || self.inner.connected.lock().contains(&(lease.workspace, lease.holder, lease.epoch))
    }

    /// Whether the control connection of any holder of a workspace is open.
    pub(crate) fn is_connected(&self, workspace: WorkspaceId) -> bool {
        self.inner.connected.lock().iter().any(|connected| connected.0 == workspace)
    }

    pub(super) fn lease_info(&self, row: &LeaseRow) -> LeaseInfo {
        LeaseInfo {
            holder: row.holder,
            epoch: row.epoch,
            host: row.host.clone(),
            pid: row.pid,
            mountpoint: row.mountpoint.clone(),
            last_seen: row.last_seen,
            connected: self.inner.connected.lock().contains(&(row.workspace, row.holder, row.epoch)),
        }
    }
}

/// The row of a lease that is still good.
pub(super) async fn current(connection: &mut Connection, lease: &Lease) -> Result<LeaseRow> {
    match leases::get(connection, lease.workspace).await? {
        Some(row) if row.holder == lease.holder && row.epoch == lease.epoch => Ok(row),
        _ => {
            let message = format!("the workspace {} is no longer held by this mount", lease.workspace);
            Err(Error::new(Kind::LeaseLost, message))
        }
    }
}

/// The refusal that names the holder.
pub(crate) fn held(name: &str, lease: &LeaseRow) -> Error {
    let message = format!(
        "the workspace {name} is mounted at {} on {} by process {}: unmount it there first",
        lease.mountpoint, lease.host, lease.pid
    );
    Error::new(Kind::Busy, message)
}
