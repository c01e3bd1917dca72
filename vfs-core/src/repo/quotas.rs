//! Quotas: shown, set, and checked in the transactions that make a workspace hold more.

use super::Repo;
use crate::db::{Connection, quotas, refs, workspaces};
use crate::error::Result;
use crate::id::WorkspaceId;
use crate::quota::{Quota, Usage};

impl Repo {
    /// Quota and usage of a workspace, or of all workspaces together.
    pub async fn quota(&self, workspace: Option<WorkspaceId>) -> Result<(Quota, Usage)> {
        self.count_all().await?;
        let mut connection = self.database().read().await?;
        match workspace {
            Some(id) => {
                let usage = quotas::usage(&mut connection, id).await?.unwrap_or_default();
                Ok((quotas::of_workspace(&mut connection, id).await?, usage))
            }
            None => {
                let tenant = self.inner.tenant_number;
                let usage = quotas::usage_of_tenant(&mut connection, tenant).await?;
                Ok((quotas::of_tenant(&mut connection, tenant).await?, usage))
            }
        }
    }

    /// Sets the quota of a workspace, or of all together. It may be lower than what is held: then nothing more is taken.
    /// Holders learn of it when they attach again.
    pub async fn set_quota(&self, workspace: Option<WorkspaceId>, quota: Quota) -> Result<()> {
        self.count_all().await?;
        let mut transaction = self.database().begin().await?;
        match workspace {
            Some(id) => {
                quotas::of_workspace(&mut transaction, id).await?;
                quotas::set_of_workspace(&mut transaction, id, quota).await?;
            }
            None => quotas::set_of_tenant(&mut transaction, self.inner.tenant_number, quota).await?,
        }
        self.database().commit(transaction).await
    }

    /// Counts the workspaces that were made before there were quotas.
    async fn count_all(&self) -> Result<()> {
        let missing = {
            let mut connection = self.database().read().await?;
            let mut missing = Vec::new();
            for row in workspaces::all(&mut connection, self.inner.tenant_number).await? {
                if quotas::usage(&mut connection, row.id).await?.is_none() {
                    missing.push((row.id, refs::get(&mut connection, row.id).await?.snapshot));
                }
            }
            missing
        };
        for (id, head) in missing {
            let usage = Usage::of(&self.snapshot(head).await?);
            let mut transaction = self.database().begin().await?;
            // A move since then has counted it, or will.
            if quotas::usage(&mut transaction, id).await?.is_none()
                && refs::get(&mut transaction, id).await?.snapshot == head
            {
                quotas::put_usage(&mut transaction, id, usage).await?;
            }
            self.database().commit(transaction).await?;
        }
        Ok(())
    }

    /// Lets a workspace come to `after`, if its quota and the tenant's allow that. Belongs into the transaction that
    /// moves the ref. A holder has asked before it acknowledged a write: for it the tenant's quota is not looked at again.
    pub(super) async fn take_usage(
        &self,
        connection: &mut Connection,
        workspace: WorkspaceId,
        before: Usage,
        after: Usage,
        by_holder: bool,
    ) -> Result<()> {
        let own = quotas::of_workspace(connection, workspace).await?;
        if own.is_set() {
            let row = workspaces::by_id(connection, self.inner.tenant_number, workspace).await?;
            let name = row.map_or_else(|| workspace.to_hex(), |row| row.name);
            own.check(&format!("the workspace {name}"), before, after)?;
        }
        let tenant = quotas::of_tenant(connection, self.inner.tenant_number).await?;
        if tenant.is_set() && !by_holder {
            let counted = quotas::usage(connection, workspace).await?.unwrap_or_default();
            let others = quotas::usage_of_tenant(connection, self.inner.tenant_number).await?.minus(counted);
            tenant.check("all workspaces together", others.plus(before), others.plus(after))?;
        }
        quotas::put_usage(connection, workspace, after).await
    }

    /// What a workspace may come to, by its own quota and by what the others leave of the tenant's.
    pub(super) async fn allowance(&self, connection: &mut Connection, workspace: WorkspaceId) -> Result<Quota> {
        let own = quotas::of_workspace(connection, workspace).await?;
        let tenant = quotas::of_tenant(connection, self.inner.tenant_number).await?;
        if !tenant.is_set() {
            return Ok(own);
        }
        let counted = quotas::usage(connection, workspace).await?.unwrap_or_default();
        let all = quotas::usage_of_tenant(connection, self.inner.tenant_number).await?;
        Ok(own.and(tenant.share(counted, all)))
    }
}
