//! Workspaces from the ref log: for each the newest move whose snapshot is complete, and what led to it.
//!
//! The database decided which move of a pair counted, and it is gone: a move that a later one builds on was committed; of
//! two newest ones that both could have been, the later one counts and the other is kept as a side ref.

use std::collections::{BTreeMap, BTreeSet};

use super::{RebuildReport, log};
use crate::db::{HistoryRow, RefRow, SideRefRow, Transaction, WorkspaceRow, counters, history, refs, repairs};
use crate::db::{side_refs, workspaces};
use crate::error::{Error, Kind, Result};
use crate::id::{SnapshotId, WorkspaceId};
use crate::limits::{EPOCH_GAP, INO_GAP};
use crate::progress::{OnProgress, Progress};
use crate::repair::{Losses, Taint, View, row_of};
use crate::repo::publish::INO_FIRST;
use crate::repo::ref_log::RefLogEntry;
use crate::store::Store;

/// The prefix of side refs that keep what a rebuild left out.
const REBUILT: &str = "rebuilt/";

/// One workspace as it will be.
struct Rebuilt {
    row: WorkspaceRow,
    head: RefRow,
    history: Vec<HistoryRow>,
    side: Vec<SideRefRow>,
}

/// Writes all workspaces, in one transaction.
pub(super) async fn write(store: &Store, report: &mut RebuildReport, progress: &OnProgress) -> Result<()> {
    let log = log::read(store.bucket(), store.keys(), None).await?;
    if let Some(newer) = log.newer {
        return Err(newer);
    }
    report.unreadable_moves = log.damaged.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    let mut next_ino = log.entries.iter().filter_map(|entry| entry.ino).max().unwrap_or(INO_FIRST);
    let mut by_workspace: BTreeMap<WorkspaceId, Vec<RefLogEntry>> = BTreeMap::new();
    log.entries.into_iter().for_each(|entry| by_workspace.entry(entry.workspace).or_default().push(entry));
    let view = View::present(store);
    let mut losses = Losses::new(&view);
    let mut rebuilt = Vec::new();
    let total = Some(by_workspace.len() as u64);
    for (number, (id, entries)) in by_workspace.into_iter().enumerate() {
        rebuilt.extend(workspace(id, entries, &view, &mut losses, report).await?);
        progress(Progress { what: "workspaces", done: number as u64 + 1, total });
    }
    next_ino = next_ino.max(losses.ino_max + 1);
    report.next_ino = next_ino
        .checked_add(INO_GAP)
        .ok_or_else(|| Error::new(Kind::LimitExceeded, "the inode numbers are used up"))?;
    name_apart(&mut rebuilt, report);
    let mut transaction = store.database().begin().await?;
    for workspace in &rebuilt {
        put(&mut transaction, store, workspace).await?;
    }
    repairs::raise_counter(&mut transaction, counters::INO, report.next_ino).await?;
    store.database().commit(transaction).await?;
    report.history = rebuilt.iter().map(|workspace| workspace.history.len() as u64).sum();
    let line = |workspace: &Rebuilt| format!("{} at {}", workspace.row.name, &workspace.head.snapshot.to_hex()[..12]);
    report.workspaces = rebuilt.iter().map(line).collect();
    Ok(())
}

async fn put(transaction: &mut Transaction, store: &Store, workspace: &Rebuilt) -> Result<()> {
    workspaces::insert(transaction, store.tenant_number(), &workspace.row).await?;
    refs::put(transaction, &workspace.head).await?;
    for row in &workspace.history {
        history::put(transaction, workspace.row.id, row).await?;
    }
    for row in &workspace.side {
        side_refs::put(transaction, row).await?;
    }
    Ok(())
}

/// Two workspaces may have had the same name one after the other, if the end of the first was cut off.
fn name_apart(rebuilt: &mut [Rebuilt], report: &mut RebuildReport) {
    let mut taken = BTreeSet::new();
    rebuilt.sort_by_key(|workspace| std::cmp::Reverse(workspace.row.created));
    for workspace in rebuilt.iter_mut() {
        if !taken.insert(workspace.row.name.clone()) {
            let other = format!("{}-{}", workspace.row.name, &workspace.row.id.to_hex()[..8]);
            report.left_out.push(format!("the older workspace {} is now {other}", workspace.row.name));
            taken.insert(other.clone());
            workspace.row.name = other;
        }
    }
    rebuilt.sort_by(|one, other| one.row.name.cmp(&other.row.name));
}

/// One workspace from its entries, the newest last; `None` if it was deleted.
async fn workspace(
    id: WorkspaceId,
    entries: Vec<RefLogEntry>,
    view: &View<'_>,
    losses: &mut Losses<'_>,
    report: &mut RebuildReport,
) -> Result<Option<Rebuilt>> {
    let Some(newest) = entries.last() else { return Ok(None) };
    if entries.iter().any(|entry| entry.snapshot.is_none()) {
        report.deleted_workspaces += 1;
        return Ok(None);
    }
    let name =
        entries.iter().rev().find(|entry| !entry.name.is_empty()).map_or_else(|| id.to_hex(), |e| e.name.clone());
    let epoch = entries.iter().map(|entry| entry.epoch).max().unwrap_or(0);
    let epoch = epoch.checked_add(EPOCH_GAP).filter(|epoch| i64::try_from(*epoch).is_ok());
    let epoch = epoch.ok_or_else(|| Error::new(Kind::LimitExceeded, format!("the epochs of {name} are used up")))?;
    let created = entries[0].time;
    let chain = chain(&entries);
    let (mut history, mut side) = (Vec::new(), Vec::new());
    let mut leave_out = |entry: &RefLogEntry, snapshot: SnapshotId, why: &str| {
        let short = &snapshot.to_hex()[..12];
        let side_name = format!("{REBUILT}{}-{short}", entry.sequence);
        report.left_out.push(format!("{name}: move {} to {short}, {why}; kept as {side_name}", entry.sequence));
        side.push(SideRefRow { workspace: id, name: side_name, snapshot, created: entry.time });
    };
    let mut head: Option<&RefLogEntry> = None;
    let mut readable: Option<&RefLogEntry> = None;
    for (index, entry) in entries.iter().enumerate().rev() {
        let Some(snapshot) = entry.snapshot else { continue };
        if !chain.contains(&index) {
            leave_out(entry, snapshot, "which no later move builds on");
            continue;
        }
        match losses.of(snapshot).await? {
            Taint::Some(_, lost) if lost.is_empty() => {
                head = head.or(Some(entry));
                history.extend(row_of(view, entry).await?);
            }
            taint => {
                if readable.is_none() && matches!(taint, Taint::Some(..)) {
                    readable = Some(entry);
                }
                leave_out(entry, snapshot, "which is not complete");
            }
        }
    }
    let row = WorkspaceRow { id, name: name.clone(), source: None, created };
    if let (None, Some(entry)) = (head, readable) {
        // Better incomplete than not at all: `esker repair` leaves out what is lost.
        report.left_out.push(format!("{name}: no snapshot is complete, so its head is the newest: run `esker repair`"));
        side.retain(|row| entry.snapshot != Some(row.snapshot));
        history.extend(row_of(view, entry).await?);
    }
    let Some(head) = head.or(readable) else {
        let why = format!("{name}: none of its snapshots can be read, the newest is move {}", newest.sequence);
        report.left_out.push(why);
        return Ok(None);
    };
    let Some(snapshot) = head.snapshot else { return Ok(None) };
    let covered = head.holder.map(|holder| (holder, head.position));
    let head = RefRow { workspace: id, snapshot, epoch, sequence: head.sequence, covered };
    Ok(Some(Rebuilt { row, head, history, side }))
}

/// The entries that lead to the newest one: from each to the newest before it that is its parent. Where a part of the
/// log was pruned, the chain goes on with the newest entry before the gap.
fn chain(entries: &[RefLogEntry]) -> BTreeSet<usize> {
    let mut chain = BTreeSet::new();
    let Some(mut at) = entries.len().checked_sub(1) else { return chain };
    loop {
        chain.insert(at);
        let entry = &entries[at];
        let earlier = || (0..at).rev().filter(|&index| entries[index].sequence < entry.sequence);
        let parent = earlier().find(|&index| entries[index].snapshot == entry.parent);
        match parent.or_else(|| earlier().next()) {
            Some(before) => at = before,
            None => return chain,
        }
    }
}
