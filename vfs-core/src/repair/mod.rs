//! repair: undoes damage as far as the bucket still holds what is needed, and says exactly what is lost.
//!
//! It never deletes bytes of the bucket. In this order, each step on what the one before left:
//!
//! 1. *scan* reads every pack and finds out what the index should say.
//! 2. *index* writes that, in one transaction; then objects are copied out of packs that are damaged.
//! 3. *rows* of refs, histories, leases and side refs that do not match their hash come back from the ref log or the
//!    history, or are removed with a note.
//! 4. *lost* walks all snapshots and lists what they lack. *mend* moves heads that lack something to a new snapshot without
//!    exactly that; what lacked it stays as the side ref `damaged/TIME-SEQUENCE`.
//!
//! Every step finds its own work by looking, so a second run finds nothing to do, and a run that was stopped anywhere is
//! finished by the next. Documents and sessions are not repaired: their rows have no second copy.

mod index;
mod lost;
mod mend;
mod rows;
mod salvage;
mod scan;
#[cfg(test)]
pub(crate) mod tests;
mod view;

use std::path::PathBuf;

use crate::db::{leases, workspaces};
use crate::error::{Error, Kind, Result};
use crate::progress::OnProgress;
use crate::repo::Repo;
use crate::repo::leases::held;

pub(crate) use lost::{Losses, Taint};
pub(crate) use rows::row_of;
pub(crate) use view::View;

/// How repair works.
#[derive(Debug, Clone, Default)]
pub struct RepairOptions {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Write what is left of lost files below this folder, which is made; chunks that are gone become holes.
    pub salvage: Option<PathBuf>,
}

/// What repair did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RepairReport {
    /// Packs read.
    pub packs: u64,
    /// Packs that the index had no row for, or a wrong one.
    pub index_packs: u64,
    /// Objects that the index did not have, or had elsewhere than they are.
    pub found_objects: u64,
    /// Objects that are in no pack any more.
    pub lost_objects: u64,
    /// Objects that were copied out of damaged packs.
    pub copied_objects: u64,
    /// Packs that hold nothing which cannot be read elsewhere; gc removes them after its grace period.
    pub abandoned_packs: u64,
    /// Rows written anew or removed, a line each.
    pub rows: Vec<String>,
    /// Workspaces that have a new head, a line each.
    pub heads: Vec<String>,
    /// Side refs made for snapshots that lack something, as `workspace@name`.
    pub kept: Vec<String>,
    /// Every path that is lost and was not known to be.
    pub lost: Vec<LostPath>,
    /// Files written to the salvage folder.
    pub salvaged_files: u64,
    /// Nothing was changed: this is what a repair would do.
    pub dry_run: bool,
}

/// A path of a snapshot that cannot be read any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct LostPath {
    /// The workspace.
    pub workspace: String,
    /// The snapshot.
    pub snapshot: String,
    /// The path in it, from `/`.
    pub path: String,
    /// What of it is lost.
    pub what: LostWhat,
}

/// What is lost at a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostWhat {
    /// A file or symbolic link; some chunks may still be there.
    File,
    /// A directory with everything below it.
    Directory,
    /// The extended attributes; the rest can be read.
    Attributes,
    /// The names of a directory from one on, up to but not including another, or to its end.
    Names {
        /// The first.
        from: String,
        /// The first that is there again.
        to: Option<String>,
    },
    /// The whole snapshot.
    Snapshot,
}

impl std::fmt::Display for LostPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = self.snapshot.get(..12).unwrap_or(&self.snapshot);
        write!(f, "{}@{digits}:{}", self.workspace, self.path)?;
        match &self.what {
            LostWhat::File => Ok(()),
            LostWhat::Directory => f.write_str(" (a directory with everything below it)"),
            LostWhat::Attributes => f.write_str(" (only its extended attributes)"),
            LostWhat::Names { from, to: Some(to) } => write!(f, " (the names from {from:?} to before {to:?})"),
            LostWhat::Names { from, to: None } => write!(f, " (the names from {from:?} on)"),
            LostWhat::Snapshot => f.write_str(" (the whole snapshot)"),
        }
    }
}

impl RepairReport {
    /// Whether there was nothing to do.
    pub fn is_idle(&self) -> bool {
        let counts =
            [self.index_packs, self.found_objects, self.lost_objects, self.copied_objects, self.abandoned_packs];
        counts == [0; 5] && self.rows.is_empty() && self.heads.is_empty() && self.kept.is_empty()
    }
}

/// Undoes damage. `Busy` while somebody holds a workspace.
pub async fn repair(repo: &Repo, options: &RepairOptions, progress: &OnProgress) -> Result<RepairReport> {
    repo.refuse_if_taken_over().await?;
    refuse_holders(repo).await?;
    let store = repo.store();
    let mut report = RepairReport { dry_run: options.dry_run, ..RepairReport::default() };
    let scan = scan::scan(store, progress).await?;
    report.packs = scan.packs;
    let plan = index::Plan::new(store, scan).await?;
    plan.report(&mut report);
    if !options.dry_run {
        plan.apply(store).await?;
        index::copy_out(store, &plan, &mut report, progress).await?;
    }
    // After an apply the index itself says where everything is.
    let view = if options.dry_run { View::planned(store, &plan) } else { View::present(store) };
    rows::repair(repo, &view, options.dry_run, &mut report).await?;
    mend::mend(repo, &view, options, &mut report, progress).await?;
    report.lost.sort();
    report.lost.dedup();
    Ok(report)
}

/// A holder publishes on a head that repair may move, and reads what it may leave out.
async fn refuse_holders(repo: &Repo) -> Result<()> {
    let store = repo.store();
    let mut connection = store.database().read().await?;
    for workspace in workspaces::all(&mut connection, store.tenant_number()).await? {
        match leases::get(&mut connection, workspace.id).await {
            Ok(Some(lease)) if repo.is_live(&lease, store.now()) => return Err(held(&workspace.name, &lease)),
            Ok(_) => {}
            Err(error) if error.kind() == Kind::Corrupt && repo.is_connected(workspace.id) => {
                let message = format!("the workspace {} is mounted by somebody: unmount it first", workspace.name);
                return Err(Error::new(Kind::Busy, message).because(error));
            }
            Err(error) if error.kind() == Kind::Corrupt => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
