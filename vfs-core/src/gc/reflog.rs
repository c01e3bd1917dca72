//! Ref log objects of history rows that are gone.
//!
//! They are deleted, but never the newest two of a workspace, and nothing that may belong to a move under way: a rebuild
//! takes heads from them.

use std::collections::{BTreeMap, HashSet};

use super::GcReport;
use crate::bucket::Listed;
use crate::db::{history, refs, workspaces};
use crate::error::{Kind, Result};
use crate::id::WorkspaceId;
use crate::limits::REFLOG_DELETE_MAX;
use crate::progress::{OnProgress, Progress};
use crate::store::Store;

/// The newest entries of a workspace that always stay.
const KEPT: usize = 2;
const DIGITS: usize = 16;

/// A ref log object by what its name says: `<epoch>-<sequence>-<last>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    sequence: u64,
    epoch: u64,
    last: String,
    name: String,
    size: u64,
}

fn parse(object: Listed) -> Option<(WorkspaceId, Entry)> {
    let mut parts = object.name.rsplit('/');
    let (file, folder) = (parts.next()?, parts.next()?);
    let mut words = file.split('-');
    let (epoch, sequence, last) = (words.next()?, words.next()?, words.next()?);
    if epoch.len() != DIGITS || sequence.len() != DIGITS || words.next().is_some() {
        return None;
    }
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    let (epoch, sequence, last) = (number(epoch)?, number(sequence)?, last.to_owned());
    Some((folder.parse().ok()?, Entry { sequence, epoch, last, size: object.size, name: object.name }))
}

/// What is known of a workspace's rows.
struct Rows {
    head: u64,
    /// Sequence and first digits of the snapshot.
    kept: HashSet<(u64, String)>,
}

/// Every ref log object. Comes before the rows are read: an entry that is in the list has its row by then, if its move
/// was committed.
pub(super) async fn list(store: &Store) -> Result<Vec<Listed>> {
    store.bucket().list(&format!("t/{}/reflog", store.tenant())).await
}

/// Deletes what is not needed any more, as much as one run may; a dry run only counts.
pub(super) async fn prune(
    store: &Store,
    listed: Vec<Listed>,
    excluded: &HashSet<(WorkspaceId, u64)>,
    dry_run: bool,
    report: &mut GcReport,
    progress: &OnProgress,
) -> Result<()> {
    let mut by_workspace: BTreeMap<WorkspaceId, Vec<Entry>> = BTreeMap::new();
    for (workspace, entry) in listed.into_iter().filter_map(parse) {
        by_workspace.entry(workspace).or_default().push(entry);
    }
    let mut doomed = Vec::new();
    for (workspace, mut entries) in by_workspace {
        entries.sort_unstable();
        let candidates = entries.len().saturating_sub(KEPT);
        let newest: HashSet<u64> = entries[candidates..].iter().map(|entry| entry.sequence).collect();
        let rows = rows(store, workspace, excluded).await?;
        let has_end = entries.iter().any(|entry| entry.last == DELETED);
        entries.truncate(candidates);
        entries.retain(|entry| !newest.contains(&entry.sequence) && is_over(entry, rows.as_ref(), has_end));
        doomed.extend(entries);
    }
    doomed.truncate(REFLOG_DELETE_MAX);
    for (number, entry) in doomed.iter().enumerate() {
        if !dry_run {
            store.bucket().delete(&entry.name).await?;
            let (done, total) = (number as u64 + 1, Some(doomed.len() as u64));
            progress(Progress { what: "deleted ref log objects", done, total });
        }
        report.reflog_objects += 1;
        report.reflog_bytes += entry.size;
    }
    Ok(())
}

/// What the entry of a deletion ends with.
const DELETED: &str = "deleted";

fn is_over(entry: &Entry, rows: Option<&Rows>, has_end: bool) -> bool {
    match rows {
        // From the head on, a move may be under way; before it, none can be committed any more.
        Some(rows) => entry.sequence < rows.head && !rows.kept.contains(&(entry.sequence, entry.last.clone())),
        // Without the entry that says so, a rebuild would not know that it was deleted.
        None => has_end && entry.last != DELETED,
    }
}

/// `None` if there is no such workspace.
async fn rows(store: &Store, workspace: WorkspaceId, excluded: &HashSet<(WorkspaceId, u64)>) -> Result<Option<Rows>> {
    let mut connection = store.database().read().await?;
    if workspaces::by_id(&mut connection, store.tenant_number(), workspace).await?.is_none() {
        return Ok(None);
    }
    let head = match refs::get(&mut connection, workspace).await {
        Ok(head) => head.sequence,
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let rows = history::newest(&mut connection, workspace, true, u64::MAX).await?;
    let kept = rows
        .into_iter()
        .filter(|row| !excluded.contains(&(workspace, row.sequence)))
        .map(|row| (row.sequence, row.snapshot.to_hex()[..DIGITS].to_owned()))
        .collect();
    Ok(Some(Rows { head, kept }))
}
