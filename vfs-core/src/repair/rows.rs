//! Rows of refs, histories, leases and side refs that do not match their hash: restored from the ref log or the history,
//! else removed with a note.
//!
//! A ref that is restored gets an epoch far above any that was given out: whoever held one must attach again.

use std::collections::BTreeMap;

use super::{RepairReport, View};
use crate::db::{
    Connection, HistoryRow, RefRow, SideRefRow, WorkspaceRow, counters, history, leases, refs, repairs, side_refs,
    workspaces,
};
use crate::error::{Error, Kind, Result};
use crate::id::SnapshotId;
use crate::limits::EPOCH_GAP;
use crate::object::Snapshot;
use crate::rebuild::log;
use crate::repo::Repo;
use crate::repo::ref_log::RefLogEntry;

/// What is wrong with the rows of one workspace, and what to do.
struct Rows<'r> {
    workspace: &'r WorkspaceRow,
    /// Readable rows by sequence.
    sound: BTreeMap<u64, HistoryRow>,
    /// Sequences of rows that are not, and what they say they point at.
    broken: Vec<(i64, Option<SnapshotId>)>,
    head: Option<RefRow>,
    lease_broken: bool,
    /// Side refs that are not, and what they say they point at.
    side_broken: Vec<(String, Option<SnapshotId>)>,
}

/// Looks at every workspace.
pub(super) async fn repair(repo: &Repo, view: &View<'_>, dry_run: bool, report: &mut RepairReport) -> Result<()> {
    let store = repo.store();
    let all = {
        let mut connection = store.database().read().await?;
        workspaces::all(&mut connection, store.tenant_number()).await?
    };
    for workspace in &all {
        let rows = {
            let mut connection = store.database().read().await?;
            Rows::read(&mut connection, workspace).await?
        };
        if !rows.is_sound() {
            rows.repair(repo, view, dry_run, report).await?;
        }
    }
    Ok(())
}

/// A row that cannot be believed is `None`; only what is no damage is an error.
fn believed<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::NotFound | Kind::Invalid) => Ok(None),
        Err(error) => Err(error),
    }
}

impl<'r> Rows<'r> {
    async fn read(connection: &mut Connection, workspace: &'r WorkspaceRow) -> Result<Rows<'r>> {
        let id = workspace.id;
        let (mut sound, mut broken) = (BTreeMap::new(), Vec::new());
        for sequence in repairs::history_sequences(connection, id).await? {
            let row = match u64::try_from(sequence) {
                Ok(number) => believed(history::at(connection, id, number).await)?.flatten(),
                Err(_) => None,
            };
            match row {
                Some(row) => drop(sound.insert(row.sequence, row)),
                None => broken.push((sequence, repairs::history_snapshot(connection, id, sequence).await?)),
            }
        }
        let head = believed(refs::get(connection, id).await)?;
        let lease_broken = believed(leases::get(connection, id).await)?.is_none();
        let mut side_broken = Vec::new();
        for (name, snapshot) in repairs::side_refs(connection, id).await? {
            if believed(side_refs::get(connection, id, &name).await)?.flatten().is_none() {
                side_broken.push((name, snapshot));
            }
        }
        Ok(Rows { workspace, sound, broken, head, lease_broken, side_broken })
    }

    fn is_sound(&self) -> bool {
        let head_in_history = self.head.is_some_and(|head| {
            let newest = self.sound.last_key_value().map(|(_, row)| (row.sequence, row.snapshot));
            newest == Some((head.sequence, head.snapshot))
        });
        head_in_history && self.broken.is_empty() && !self.lease_broken && self.side_broken.is_empty()
    }

    async fn repair(mut self, repo: &Repo, view: &View<'_>, dry_run: bool, report: &mut RepairReport) -> Result<()> {
        let store = repo.store();
        let log = log::read(store.bucket(), store.keys(), Some(self.workspace.id)).await?;
        let name = self.workspace.name.clone();
        let mut notes = Vec::new();
        let before: Vec<u64> = self.sound.keys().copied().collect();
        for (sequence, snapshot) in self.broken.clone() {
            match self.restored(view, &log.entries, sequence, snapshot).await? {
                Some(row) if !self.sound.contains_key(&row.sequence) => {
                    notes.push(format!("{name}: row {} of the history is restored", row.sequence));
                    self.sound.insert(row.sequence, row);
                }
                _ => notes.push(format!("{name}: row {sequence} of the history is removed, nothing says what it was")),
            }
        }
        let head = self.head(view, &log.entries, &mut notes).await?;
        let side = self.side(view, &mut notes).await?;
        if self.lease_broken {
            notes.push(format!("{name}: the lease is removed, its holder attaches again"));
        }
        report.rows.extend(notes);
        let Some(mut head) = head else {
            report.rows.push(format!("{name}: neither history nor ref log say what its head was: not repaired"));
            return Ok(());
        };
        if dry_run {
            return Ok(());
        }
        let id = self.workspace.id;
        let mut transaction = store.database().begin().await?;
        for (sequence, _) in &self.broken {
            repairs::remove_history(&mut transaction, id, *sequence).await?;
        }
        for row in self.sound.values().filter(|row| !before.contains(&row.sequence)) {
            history::put(&mut transaction, id, row).await?;
        }
        for (broken, restored) in side {
            repairs::remove_side_ref(&mut transaction, id, &broken).await?;
            if let Some(row) = restored {
                side_refs::put(&mut transaction, &row).await?;
            }
        }
        if self.head != Some(head) || self.lease_broken {
            let given = repairs::epochs(&mut transaction, id).await?;
            head.epoch = next_epoch(head.epoch, &given, &log.entries)?;
            leases::remove(&mut transaction, id).await?;
            refs::put(&mut transaction, &head).await?;
        }
        counters::take(&mut transaction, counters::ROOTS, 0, 1).await?;
        store.database().commit(transaction).await
    }

    /// The history row that a broken one was.
    async fn restored(
        &self,
        view: &View<'_>,
        log: &[RefLogEntry],
        sequence: i64,
        snapshot: Option<SnapshotId>,
    ) -> Result<Option<HistoryRow>> {
        let number = u64::try_from(sequence).unwrap_or(0);
        let entry = log
            .iter()
            .rfind(|entry| entry.snapshot.is_some() && entry.snapshot == snapshot && entry.sequence == number)
            .or_else(|| log.iter().rfind(|entry| entry.snapshot.is_some() && entry.snapshot == snapshot))
            .or_else(|| log.iter().rfind(|entry| entry.snapshot.is_some() && entry.sequence == number));
        if let Some(entry) = entry {
            return row_of(view, entry).await;
        }
        // Without the ref log: the row names a snapshot that is there, so that much of it is right.
        let Some(id) = snapshot else { return Ok(None) };
        let Some(read) = snapshot_of(view, id).await? else { return Ok(None) };
        let time = read.time;
        Ok((number > 0).then(|| history_row(number, id, time, Some(read))))
    }

    /// What the ref should be; the newest row of the history.
    async fn head(&mut self, view: &View<'_>, log: &[RefLogEntry], notes: &mut Vec<String>) -> Result<Option<RefRow>> {
        let name = &self.workspace.name;
        if let Some(head) = self.head {
            if self.sound.last_key_value().is_none_or(|(sequence, _)| *sequence < head.sequence) {
                let entry =
                    log.iter().find(|entry| (entry.sequence, entry.snapshot) == (head.sequence, Some(head.snapshot)));
                let row = match entry {
                    Some(entry) => row_of(view, entry).await?,
                    None => {
                        let read = snapshot_of(view, head.snapshot).await?;
                        let time = read.as_ref().map(|read| read.time).unwrap_or_default();
                        Some(history_row(head.sequence, head.snapshot, time, read))
                    }
                };
                if let Some(row) = row {
                    notes.push(format!("{name}: row {} of the history is restored, the head is there", row.sequence));
                    self.sound.insert(row.sequence, row);
                }
            }
            let newest = self.sound.last_key_value().map(|(_, row)| (row.sequence, row.snapshot));
            if newest == Some((head.sequence, head.snapshot)) {
                return Ok(Some(head));
            }
        }
        // The ref is broken or behind its history, which is written with it and never ahead of it.
        if self.sound.is_empty() {
            for entry in log.iter().rev().filter(|entry| entry.snapshot.is_some()) {
                if let Some(row) = row_of(view, entry).await? {
                    self.sound.insert(row.sequence, row);
                    break;
                }
            }
        }
        let Some((_, newest)) = self.sound.last_key_value() else { return Ok(None) };
        let entry =
            log.iter().find(|entry| (entry.sequence, entry.snapshot) == (newest.sequence, Some(newest.snapshot)));
        let covered = entry.and_then(|entry| Some((entry.holder?, entry.position)));
        notes.push(format!("{name}: the ref is restored, it points at {}", &newest.snapshot.to_hex()[..12]));
        let (snapshot, sequence) = (newest.snapshot, newest.sequence);
        Ok(Some(RefRow { workspace: self.workspace.id, snapshot, epoch: 0, sequence, covered }))
    }

    async fn side(&self, view: &View<'_>, notes: &mut Vec<String>) -> Result<Vec<(String, Option<SideRefRow>)>> {
        let (mut side, name) = (Vec::new(), &self.workspace.name);
        for (broken, snapshot) in &self.side_broken {
            let row = match snapshot {
                Some(id) => snapshot_of(view, *id).await?.map(|read| SideRefRow {
                    workspace: self.workspace.id,
                    name: broken.clone(),
                    snapshot: *id,
                    created: read.time,
                }),
                None => None,
            };
            let what = if row.is_some() { "restored" } else { "removed, what it points at is no snapshot" };
            notes.push(format!("{name}: the side ref {broken} is {what}"));
            side.push((broken.clone(), row));
        }
        Ok(side)
    }
}

/// Above every epoch that anything knows of. Rows that lie may say a number that cannot be: such ones do not count.
fn next_epoch(own: u64, given: &[i64], log: &[RefLogEntry]) -> Result<u64> {
    let likely = |epoch: &u64| *epoch < u64::from(u32::MAX) * EPOCH_GAP;
    let given = given.iter().filter_map(|epoch| u64::try_from(*epoch).ok()).filter(likely);
    let highest = given.chain(log.iter().map(|entry| entry.epoch)).chain([own]).max().unwrap_or(0);
    highest
        .checked_add(EPOCH_GAP)
        .ok_or_else(|| Error::new(Kind::LimitExceeded, "the epochs of a workspace are used up"))
}

async fn snapshot_of(view: &View<'_>, id: SnapshotId) -> Result<Option<Snapshot>> {
    Ok(view.read_one(id.into()).await?.and_then(|bytes| Snapshot::decode(&bytes).ok()))
}

/// The history row of a move; its words come from the snapshot, which carries the same.
pub(crate) async fn row_of(view: &View<'_>, entry: &RefLogEntry) -> Result<Option<HistoryRow>> {
    let Some(id) = entry.snapshot else { return Ok(None) };
    let read = snapshot_of(view, id).await?;
    let mut row = history_row(entry.sequence, id, entry.time, read);
    if entry.parent.is_none() && row.message != "created" {
        // A fork's first row is about the fork, its snapshot about the workspace it came from.
        row.message = format!("forked at {}", &id.to_hex()[..12]);
        (row.author, row.session, row.turn, row.automatic) = (String::new(), String::new(), String::new(), false);
    }
    Ok(Some(row))
}

fn history_row(sequence: u64, id: SnapshotId, time: crate::clock::Time, read: Option<Snapshot>) -> HistoryRow {
    let (author, message, automatic, session, turn) = match read {
        Some(read) => (read.author, read.message, read.automatic, read.provenance.session, read.provenance.turn),
        None => Default::default(),
    };
    HistoryRow { sequence, snapshot: id, time, automatic, message, author, session, turn }
}
