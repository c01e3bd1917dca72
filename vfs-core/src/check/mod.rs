//! check: looks for damage and repairs nothing. What it finds goes into its report; only what keeps it from looking at
//! all (no bucket, no database) is an error.
//!
//! Quick: the database's own check, every row of refs, histories, leases, side refs, documents and sessions, every event,
//! the index against the bucket's list, and that everything reachable from every history can be read and is in the
//! index. Full: every pack, object and content of a document as well; it notes which packs it has read, so that it can
//! go on after an interruption, or read a share at a time.
//!
//! Memory: 16 bytes for each object that is reached, one pack; if there is damage, every link between trees and blobs as
//! well, with its name.

mod documents;
mod hits;
mod log;
mod packs;
mod reached;
mod sessions;
mod share;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::db::{history, leases, refs, repairs, side_refs, workspaces};
use crate::error::{Kind, Result};
use crate::id::{ObjectId, PackId, SnapshotId};
use crate::limits::CHECK_ROUNDS_MAX;
use crate::progress::OnProgress;
use crate::reach::KNOWN_PREFIXES;
use crate::store::Store;
pub(crate) use packs::verify_all;
use reached::Reached;
pub(crate) use reached::half;
pub use share::Share;

/// A snapshot and the workspaces whose histories hold it.
type Roots = BTreeMap<SnapshotId, Vec<String>>;

/// How check works.
#[derive(Debug, Clone, Copy)]
pub struct CheckOptions {
    /// Read every pack and every object, not only the index.
    pub full: bool,
}

/// What check found. Damage is a finding, not an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CheckReport {
    /// Workspaces looked at.
    pub workspaces: u64,
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Packs looked at.
    pub packs: u64,
    /// Of those, packs that were read in full by this run.
    pub read_packs: u64,
    /// Packs of the share that an interrupted run had read already.
    pub resumed_packs: u64,
    /// Objects reached from the snapshots.
    pub reachable_objects: u64,
    /// Objects whose bytes were read and verified.
    pub verified_objects: u64,
    /// Bytes read from the bucket.
    pub read_bytes: u64,
    /// Packs that the index does not have and that gc will remove.
    pub waiting_orphans: u64,
    /// Objects that only snapshots kept as `damaged/…` or `rebuilt/…` lack: repair has seen them.
    pub known_damages: u64,
    /// Every damage found, each once.
    pub damages: Vec<Damage>,
}

/// One damage, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Damage {
    /// What is wrong.
    pub what: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it hits: `workspace@snapshot:path`, at most a few of them.
    pub hits: Vec<String>,
}

/// How bad a damage is; the worst comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It hits stored data that something reaches.
    Stored,
    /// It hits nothing: a pack or a row that nothing reaches.
    Nothing,
}

impl CheckReport {
    /// How bad the worst damage is; `None` if there is none.
    pub fn worst(&self) -> Option<Severity> {
        self.damages.iter().map(|damage| damage.severity).min()
    }
}

/// Looks for damage.
pub(crate) async fn check(
    store: &Store,
    options: CheckOptions,
    mut share: Share,
    progress: &OnProgress,
) -> Result<CheckReport> {
    share.validate()?;
    let mut rounds = 1;
    loop {
        let before = generation(store).await?;
        let report = look(store, options, share, progress).await?;
        // What was removed while we looked is not damage.
        let sure = report.damages.is_empty() || generation(store).await? == before;
        if sure || rounds == CHECK_ROUNDS_MAX {
            return Ok(report);
        }
        rounds += 1;
        share.resume = true;
    }
}

async fn generation(store: &Store) -> Result<u64> {
    let mut connection = store.database().read().await?;
    crate::reach::Roots::generation(&mut connection).await
}

async fn look(store: &Store, options: CheckOptions, share: Share, progress: &OnProgress) -> Result<CheckReport> {
    let report = CheckReport::default();
    let mut check = Check { store, progress, report, damaged: BTreeMap::new(), bad_packs: HashMap::new() };
    for line in store.database().integrity().await? {
        check.note(format!("the database says: {line}"));
    }
    check.documents(options.full).await?;
    let (roots, known) = check.roots().await?;
    check.sessions().await?;
    let orphans = check.packs().await?;
    let mut reached = Reached::default();
    check.walk(roots.keys(), &mut reached, true).await?;
    check.report.reachable_objects = reached.len();
    check.walk(known.iter(), &mut reached, false).await?;
    if options.full {
        check.log().await?;
        check.read_everything(share, &reached).await?;
    }
    check.note_packs(&reached);
    check.orphans(orphans).await?;
    check.strangers().await?;
    check.finish(&roots).await
}

struct Check<'a> {
    store: &'a Store,
    progress: &'a OnProgress,
    report: CheckReport,
    /// What is wrong with objects; where they are needed is found out at the end.
    damaged: BTreeMap<ObjectId, (String, Severity)>,
    /// What is wrong with packs.
    bad_packs: HashMap<PackId, String>,
}

impl Check<'_> {
    fn note(&mut self, what: String) {
        self.report.damages.push(Damage { what, severity: Severity::Stored, hits: Vec::new() });
    }

    fn note_harmless(&mut self, what: String) {
        self.report.damages.push(Damage { what, severity: Severity::Nothing, hits: Vec::new() });
    }

    fn note_object(&mut self, id: ObjectId, what: String, severity: Severity) {
        self.damaged.entry(id).or_insert((what, severity));
    }

    /// Reads every row that names a snapshot. Second: snapshots that are known to be incomplete, and no head.
    async fn roots(&mut self) -> Result<(Roots, BTreeSet<SnapshotId>)> {
        let (mut roots, mut heads, mut known) = (Roots::new(), BTreeSet::new(), BTreeSet::new());
        let mut connection = self.store.database().read().await?;
        for workspace in workspaces::all(&mut connection, self.store.tenant_number()).await? {
            self.report.workspaces += 1;
            let (id, name) = (workspace.id, workspace.name);
            let mut add = |snapshot| roots.entry(snapshot).or_default().push(name.clone());
            let head = refs::get(&mut connection, id).await;
            if let Ok(head) = &head {
                add(head.snapshot);
                heads.insert(head.snapshot);
            }
            let rows = history::newest(&mut connection, id, true, u64::MAX).await;
            rows.iter().flatten().for_each(|row| add(row.snapshot));
            let lease = leases::get(&mut connection, id).await;
            lease.iter().flatten().for_each(|lease| add(lease.base));
            let side = side_refs::all(&mut connection, id).await;
            for row in side.iter().flatten() {
                match KNOWN_PREFIXES.iter().any(|prefix| row.name.starts_with(prefix)) {
                    true => drop(known.insert(row.snapshot)),
                    false => add(row.snapshot),
                }
            }
            if let (Ok(head), Ok(rows)) = (&head, &rows)
                && rows.first().map(|row| (row.sequence, row.snapshot)) != Some((head.sequence, head.snapshot))
            {
                self.note(format!("the head of {name} is missing in its history"));
            }
            let wrong = [
                ("ref", head.err()),
                ("history", rows.err()),
                ("lease", lease.err()),
                ("list of side refs", side.err()),
            ];
            for (what, error) in wrong.into_iter().filter_map(|(what, error)| Some((what, error?))) {
                if !is_damage(error.kind()) {
                    return Err(error);
                }
                self.note(format!("the {what} of {name}: {}", error.context()));
            }
        }
        known.retain(|snapshot| !heads.contains(snapshot));
        roots.retain(|snapshot, _| !known.contains(snapshot));
        roots.values_mut().for_each(|names| names.dedup());
        self.report.snapshots = (roots.len() + known.len()) as u64;
        Ok((roots, known))
    }

    /// Index rows without a pack, which nothing can read.
    async fn strangers(&mut self) -> Result<()> {
        let mut connection = self.store.database().read().await?;
        let rows = repairs::strangers(&mut connection, self.store.tenant_number()).await?;
        if !rows.is_empty() {
            self.note_harmless(format!("{} rows of the index belong to no pack", rows.len()));
        }
        Ok(())
    }

    async fn finish(mut self, roots: &Roots) -> Result<CheckReport> {
        let damaged = std::mem::take(&mut self.damaged);
        let hits = match damaged.is_empty() {
            true => HashMap::new(),
            false => hits::find(self.store, roots, &damaged).await?,
        };
        for (id, (what, severity)) in damaged {
            let hits = hits.get(&id).cloned().unwrap_or_default();
            self.report.damages.push(Damage { what, severity, hits });
        }
        self.report.damages.sort_by_key(|damage| damage.severity);
        Ok(self.report)
    }
}

/// Whether an error says that stored bytes are wrong, not that they could not be asked for.
pub(crate) fn is_damage(kind: Kind) -> bool {
    matches!(kind, Kind::Corrupt | Kind::NotFound | Kind::Unsupported)
}
