//! The ref log: that a rebuild could believe it, and that every row of a history has its move there.

use std::collections::HashSet;

use super::Check;
use crate::db::{history, workspaces};
use crate::error::Result;
use crate::id::WorkspaceId;
use crate::rebuild::log;

impl Check<'_> {
    /// Reads the ref log. The database says the same, so that damage here hits nothing yet.
    pub(super) async fn log(&mut self) -> Result<()> {
        // The rows before the log: each move is there before its row.
        let mut rows = Vec::new();
        {
            let mut connection = self.store.database().read().await?;
            for workspace in workspaces::all(&mut connection, self.store.tenant_number()).await? {
                // Damaged ones are noted elsewhere.
                let read = history::newest(&mut connection, workspace.id, true, u64::MAX).await.unwrap_or_default();
                rows.extend(read.into_iter().map(|row| (workspace.clone(), row)));
            }
        }
        let log = log::read(self.store.bucket(), self.store.keys(), None).await?;
        // A damaged entry is missing as well: it is named once. Names end with what they are about.
        let damaged: HashSet<String> = log.damaged.iter().filter_map(|(name, _)| about(name)).collect();
        for (name, why) in log.damaged {
            self.note_harmless(format!("{name} in the ref log, which a rebuild needs: {why}"));
        }
        let moves: HashSet<_> =
            log.entries.iter().filter_map(|entry| Some((entry.workspace, entry.sequence, entry.snapshot?))).collect();
        let missing: Vec<_> = rows
            .iter()
            .filter(|(workspace, row)| !moves.contains(&(workspace.id, row.sequence, row.snapshot)))
            .collect();
        let named = |id: WorkspaceId, sequence: u64| damaged.contains(&format!("{id}/{sequence:016x}"));
        for (workspace, row) in missing.iter().filter(|(workspace, row)| !named(workspace.id, row.sequence)) {
            self.note_harmless(format!(
                "the ref log, which a rebuild needs, lacks the move {} of {}",
                row.sequence, workspace.name
            ));
        }
        Ok(())
    }
}

/// The workspace and the sequence in the name of an entry: `…/WORKSPACE/EPOCH-SEQUENCE-SNAPSHOT`.
fn about(name: &str) -> Option<String> {
    let (folder, last) = name.rsplit_once('/')?;
    let (_, workspace) = folder.rsplit_once('/')?;
    Some(format!("{workspace}/{}", last.split('-').nth(1)?))
}
