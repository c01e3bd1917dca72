//! Retention: which rows of a history stay. Without rules, all of them.
//!
//! The rules are those of restic's `forget`: each keeps some rows, and what none keeps goes; a rule that has more to give
//! than there are hours, days or weeks keeps the oldest row too. Rows are looked at from the
//! newest to the oldest. Whatever the rules say, these stay: the head, the newest named row, rows whose snapshot has a
//! side ref, the base of a lease, and, while somebody holds the workspace, the row before the head (its holder may
//! still ask what became of its last publish, decision 0007).

use std::collections::HashSet;

use super::is_over;
use crate::clock::Time;
use crate::db::{Connection, HistoryRow, WorkspaceRow, counters, history, leases, refs, side_refs, workspaces};
use crate::db::{LeaseRow, RefRow, retention};
use crate::error::{Error, Kind, Result};
use crate::gc::RemovedRows;
use crate::id::{SnapshotId, WorkspaceId};
use crate::limits::{GC_ROWS_SHOWN_MAX, READER_TTL, RETENTION_KEEP_MAX, RETENTION_WITHIN_MAX};
use crate::progress::{OnProgress, Progress};
use crate::reach::READER_PREFIX;
use crate::store::Store;

const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;
/// 1970 began on a Thursday; weeks begin on Monday.
const DAYS_BEFORE_THURSDAY: i64 = 3;

/// What a history keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRules {
    /// The newest so many named rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u64>,
    /// The newest row of each of the newest so many hours that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_hourly: Option<u64>,
    /// The same for days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_daily: Option<u64>,
    /// The same for weeks, which begin on Monday.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_weekly: Option<u64>,
    /// All rows that are at most so many seconds older than the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_within_s: Option<u64>,
}

/// `Invalid` unless the rules say something that can be meant.
pub(crate) fn check(rules: &RetentionRules) -> Result<()> {
    let numbers = [rules.keep_last, rules.keep_hourly, rules.keep_daily, rules.keep_weekly];
    if let Some(number) = numbers.iter().flatten().find(|number| !(1..=RETENTION_KEEP_MAX).contains(*number)) {
        let message = format!("a rule keeps from 1 to {RETENTION_KEEP_MAX} snapshots, not {number}");
        return Err(Error::new(Kind::Invalid, message));
    }
    if let Some(seconds) = rules.keep_within_s.filter(|seconds| !(1..=RETENTION_WITHIN_MAX.as_secs()).contains(seconds))
    {
        return Err(Error::new(Kind::Invalid, format!("a rule keeps from 1 second to 1,000 years, not {seconds} s")));
    }
    if *rules == RetentionRules::default() {
        return Err(Error::new(
            Kind::Invalid,
            "rules that keep nothing: take them away instead (then everything stays)",
        ));
    }
    Ok(())
}

/// Rules as the database keeps them. Whatever cannot be understood must keep gc from deciding anything.
pub(crate) fn parse(text: &str) -> Result<RetentionRules> {
    let damaged = |error| Error::corrupt("retention rules in the database cannot be understood").because(error);
    let rules = serde_json::from_str(text).map_err(damaged)?;
    check(&rules).map_err(|error| Error::corrupt("retention rules in the database are wrong").because(error))?;
    Ok(rules)
}

/// What the decision about one history is made from.
struct Subject {
    rules: RetentionRules,
    head: RefRow,
    lease: Option<LeaseRow>,
    /// Newest first.
    rows: Vec<HistoryRow>,
    /// Snapshots that stay, whatever the rules say.
    held: HashSet<SnapshotId>,
}

/// The rows that go, newest first. Nothing but values in, so that it can be tried out.
fn doomed(subject: &Subject) -> Vec<&HistoryRow> {
    let rules = &subject.rules;
    let last_kept = if subject.lease.is_some() { 1 } else { 0 };
    let newest_named = subject.rows.iter().find(|row| !row.automatic).map(|row| row.sequence);
    let mut keepers = Keepers::new(rules, &subject.rows);
    let stays = |row: &HistoryRow| {
        row.sequence + last_kept >= subject.head.sequence
            || Some(row.sequence) == newest_named
            || subject.held.contains(&row.snapshot)
    };
    // Every row is shown to the rules: one that stays anyway still counts for them, as in restic.
    subject.rows.iter().filter(|row| !(keepers.keep(row) | stays(row))).collect()
}

/// The rules on their way through a history.
struct Keepers {
    last_left: u64,
    within: Option<i128>,
    spans: [Span; 3],
    oldest: Option<u64>,
}

struct Span {
    length_s: i64,
    offset_s: i64,
    left: u64,
    seen: HashSet<i64>,
}

impl Keepers {
    fn new(rules: &RetentionRules, rows: &[HistoryRow]) -> Keepers {
        let newest_ns = rows.iter().map(|row| row.time.as_nanos()).max().unwrap_or_default();
        let span = |left: Option<u64>, length_s, offset_s| Span {
            length_s,
            offset_s,
            left: left.unwrap_or(0),
            seen: HashSet::new(),
        };
        Keepers {
            last_left: rules.keep_last.unwrap_or(0),
            within: rules.keep_within_s.map(|seconds| newest_ns - i128::from(seconds) * 1_000_000_000),
            spans: [
                span(rules.keep_hourly, HOUR_S, 0),
                span(rules.keep_daily, DAY_S, 0),
                span(rules.keep_weekly, 7 * DAY_S, DAYS_BEFORE_THURSDAY * DAY_S),
            ],
            oldest: rows.last().map(|row| row.sequence),
        }
    }

    fn keep(&mut self, row: &HistoryRow) -> bool {
        let mut kept = self.within.is_some_and(|since| row.time.as_nanos() >= since);
        if !row.automatic && self.last_left > 0 {
            self.last_left -= 1;
            kept = true;
        }
        for span in &mut self.spans {
            let number = (row.time.seconds + span.offset_s).div_euclid(span.length_s);
            if span.left > 0 && (span.seen.insert(number) || self.oldest == Some(row.sequence)) {
                span.left -= 1;
                kept = true;
            }
        }
        kept
    }
}

/// The rules that hold for a workspace: its own, else the repo's.
pub(crate) async fn rules_of(
    connection: &mut Connection,
    tenant: i64,
    workspace: &WorkspaceRow,
) -> Result<Option<RetentionRules>> {
    let own = retention::of_workspace(connection, workspace.id).await?;
    let text = match own {
        Some(text) => Some(text),
        None => retention::of_repo(connection, tenant).await?,
    };
    text.as_deref().map(parse).transpose()
}

async fn subject(
    connection: &mut Connection,
    tenant: i64,
    workspace: &WorkspaceRow,
    bases: &HashSet<SnapshotId>,
) -> Result<Option<Subject>> {
    let Some(rules) = rules_of(connection, tenant, workspace).await? else { return Ok(None) };
    let head = refs::get(connection, workspace.id).await?;
    let lease = leases::get(connection, workspace.id).await?;
    let rows = history::newest(connection, workspace.id, true, u64::MAX).await?;
    let mut held: HashSet<SnapshotId> = bases.clone();
    held.extend(side_refs::all(connection, workspace.id).await?.into_iter().map(|row| row.snapshot));
    held.extend(lease.iter().map(|lease| lease.base));
    Ok(Some(Subject { rules, head, lease, rows, held }))
}

/// What goes.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) removed: Vec<RemovedRows>,
    /// Rows that would go, of a dry run.
    pub(super) excluded: HashSet<(WorkspaceId, u64)>,
}

/// Forgets readers that were not heard of for long: what they read is kept for them no more.
pub(super) async fn forget_readers(store: &Store) -> Result<()> {
    let all = {
        let mut connection = store.database().read().await?;
        workspaces::all(&mut connection, store.tenant_number()).await?
    };
    for workspace in all {
        let mut connection = store.database().read().await?;
        let silent = silent_readers(&mut connection, workspace.id, store.now()).await?;
        drop(connection);
        if silent.is_empty() {
            continue;
        }
        let mut transaction = store.database().begin().await?;
        for name in silent_readers(&mut transaction, workspace.id, store.now()).await? {
            side_refs::remove(&mut transaction, workspace.id, &name).await?;
        }
        counters::take(&mut transaction, counters::ROOTS, 0, 1).await?;
        store.database().commit(transaction).await?;
    }
    Ok(())
}

async fn silent_readers(connection: &mut Connection, workspace: WorkspaceId, now: Time) -> Result<Vec<String>> {
    let rows = side_refs::all(connection, workspace).await?.into_iter();
    let silent = rows.filter(|row| row.name.starts_with(READER_PREFIX) && is_over(row.created, now, READER_TTL));
    Ok(silent.map(|row| row.name).collect())
}

/// Removes the rows that no rule keeps, each workspace in a transaction that looks at everything again; a dry run only
/// says which.
pub(super) async fn apply(
    store: &Store,
    bases: &HashSet<SnapshotId>,
    dry_run: bool,
    progress: &OnProgress,
) -> Result<Plan> {
    let mut plan = Plan::default();
    let all = {
        let mut connection = store.database().read().await?;
        workspaces::all(&mut connection, store.tenant_number()).await?
    };
    for (number, workspace) in all.iter().enumerate() {
        match of_workspace(store, workspace, bases, dry_run, &mut plan).await {
            Ok(()) => {}
            Err(error) if error.kind() == Kind::NotFound && is_gone(store, workspace).await? => {}
            Err(error) => return Err(error),
        }
        let (done, total) = (number as u64 + 1, Some(all.len() as u64));
        progress(Progress { what: "histories", done, total });
    }
    Ok(plan)
}

async fn is_gone(store: &Store, workspace: &WorkspaceRow) -> Result<bool> {
    let mut connection = store.database().read().await?;
    Ok(workspaces::by_id(&mut connection, store.tenant_number(), workspace.id).await?.is_none())
}

async fn of_workspace(
    store: &Store,
    workspace: &WorkspaceRow,
    bases: &HashSet<SnapshotId>,
    dry_run: bool,
    plan: &mut Plan,
) -> Result<()> {
    let tenant = store.tenant_number();
    let mut connection = store.database().read().await?;
    let first = subject(&mut connection, tenant, workspace, bases).await?;
    drop(connection);
    let Some(first) = first else { return Ok(()) };
    let rows = doomed(&first);
    if rows.is_empty() {
        return Ok(());
    }
    if dry_run {
        plan.excluded.extend(rows.iter().map(|row| (workspace.id, row.sequence)));
        plan.removed.push(told(workspace, &rows));
        return Ok(());
    }
    let mut transaction = store.database().begin().await?;
    let Some(now) = subject(&mut transaction, tenant, workspace, bases).await? else { return Ok(()) };
    let rows = doomed(&now);
    let sequences: Vec<u64> = rows.iter().map(|row| row.sequence).collect();
    history::remove(&mut transaction, workspace.id, &sequences).await?;
    counters::take(&mut transaction, counters::ROOTS, 0, 1).await?;
    store.database().commit(transaction).await?;
    if !rows.is_empty() {
        plan.removed.push(told(workspace, &rows));
    }
    Ok(())
}

fn told(workspace: &WorkspaceRow, rows: &[&HistoryRow]) -> RemovedRows {
    RemovedRows {
        workspace: workspace.name.clone(),
        rows: rows.len() as u64,
        snapshots: rows.iter().take(GC_ROWS_SHOWN_MAX).map(|row| row.snapshot).collect(),
    }
}

#[cfg(test)]
mod tests;
