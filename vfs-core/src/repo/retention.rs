//! Retention rules of a workspace or of the whole repo: kept here, applied by gc.

use super::{Repo, RetentionInfo, RetentionRules};
use crate::db::retention;
use crate::error::{Error, Kind, Result};
use crate::gc::{check_rules, parse_rules};
use crate::id::WorkspaceId;

impl Repo {
    pub(super) async fn read_retention(&self, workspace: Option<WorkspaceId>) -> Result<RetentionInfo> {
        let mut connection = self.database().read().await?;
        let repo = retention::of_repo(&mut connection, self.inner.tenant_number).await?;
        let repo = repo.as_deref().map(parse_rules).transpose()?;
        let Some(workspace) = workspace else { return Ok(RetentionInfo { own: repo, effective: repo }) };
        let own = retention::of_workspace(&mut connection, workspace).await?;
        let own = own.as_deref().map(parse_rules).transpose()?;
        Ok(RetentionInfo { own, effective: own.or(repo) })
    }

    pub(super) async fn write_retention(
        &self,
        workspace: Option<WorkspaceId>,
        rules: Option<RetentionRules>,
    ) -> Result<()> {
        rules.as_ref().map(check_rules).transpose()?;
        let failed = |error| Error::new(Kind::Internal, "retention rules could not be written").because(error);
        let text = rules.map(|rules| serde_json::to_string(&rules)).transpose().map_err(failed)?;
        let mut transaction = self.database().begin().await?;
        match workspace {
            Some(workspace) => retention::set_of_workspace(&mut transaction, workspace, text.as_deref()).await?,
            None => retention::set_of_repo(&mut transaction, self.inner.tenant_number, text.as_deref()).await?,
        }
        self.database().commit(transaction).await
    }
}
