//! check: looks for damage and changes nothing. What it finds goes into its report; only what keeps it from looking at
//! all (no bucket, no database) is an error.
//!
//! Quick: the database's own check, every row of refs, histories, leases, documents and sessions, every event, the index
//! against the bucket's list, and that everything reachable from every history can be read and is in the index. Full:
//! every pack, object and content of a document as well.

mod documents;
mod hits;
mod packs;
mod sessions;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::db::{Location, history, leases, refs, workspaces};
use crate::error::{Kind, Result};
use crate::id::{ObjectId, ObjectKind, PackId, SnapshotId};
use crate::limits::{CHECK_ROUNDS_MAX, WALK_BATCH};
use crate::progress::{OnProgress, Progress};
use crate::reach::links;
use crate::store::Store;

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
    /// Objects reached from the snapshots.
    pub reachable_objects: u64,
    /// Objects whose bytes were read and verified.
    pub verified_objects: u64,
    /// Bytes read from the bucket.
    pub read_bytes: u64,
    /// Every damage found, each once.
    pub damages: Vec<Damage>,
}

/// One damage, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Damage {
    /// What is wrong.
    pub what: String,
    /// What it hits: `workspace@snapshot:path`, at most a few of them.
    pub hits: Vec<String>,
}

/// Looks for damage.
pub(crate) async fn check(store: &Store, options: CheckOptions, progress: &OnProgress) -> Result<CheckReport> {
    let mut rounds = 1;
    loop {
        let before = generation(store).await?;
        let report = look(store, options, progress).await?;
        // What was removed while we looked is not damage.
        let sure = report.damages.is_empty() || generation(store).await? == before;
        if sure || rounds == CHECK_ROUNDS_MAX {
            return Ok(report);
        }
        rounds += 1;
    }
}

async fn generation(store: &Store) -> Result<u64> {
    let mut connection = store.database().read().await?;
    crate::reach::Roots::generation(&mut connection).await
}

async fn look(store: &Store, options: CheckOptions, progress: &OnProgress) -> Result<CheckReport> {
    let mut check = Check { store, progress, report: CheckReport::default(), damaged: BTreeMap::new() };
    for line in store.database().integrity().await? {
        check.note(format!("the database says: {line}"));
    }
    check.documents(options.full).await?;
    let roots = check.roots().await?;
    check.sessions().await?;
    let bad_packs = check.packs().await?;
    let reachable = check.walk(&roots).await?;
    check.located(&reachable, &bad_packs).await?;
    if options.full {
        check.read_everything(&bad_packs).await?;
    }
    check.finish(&roots).await
}

struct Check<'a> {
    store: &'a Store,
    progress: &'a OnProgress,
    report: CheckReport,
    /// What is wrong with objects; where they are needed is found out at the end.
    damaged: BTreeMap<ObjectId, String>,
}

impl Check<'_> {
    fn note(&mut self, what: String) {
        self.report.damages.push(Damage { what, hits: Vec::new() });
    }

    fn note_object(&mut self, id: ObjectId, what: String) {
        self.damaged.entry(id).or_insert(what);
    }

    /// Reads every row that names a snapshot.
    async fn roots(&mut self) -> Result<Roots> {
        let mut roots = Roots::new();
        let mut connection = self.store.database().read().await?;
        for workspace in workspaces::all(&mut connection, self.store.tenant_number()).await? {
            self.report.workspaces += 1;
            let (id, name) = (workspace.id, workspace.name);
            let mut add = |snapshot| roots.entry(snapshot).or_default().push(name.clone());
            match refs::get(&mut connection, id).await {
                Ok(head) => add(head.snapshot),
                Err(error) => self.note(format!("the ref of {name}: {}", error.context())),
            }
            match history::newest(&mut connection, id, true, u64::MAX).await {
                Ok(rows) => rows.into_iter().for_each(|row| add(row.snapshot)),
                Err(error) => self.note(format!("the history of {name}: {}", error.context())),
            }
            match leases::get(&mut connection, id).await {
                Ok(lease) => lease.into_iter().for_each(|lease| add(lease.base)),
                Err(error) => self.note(format!("the lease of {name}: {}", error.context())),
            }
        }
        roots.values_mut().for_each(|names| names.dedup());
        self.report.snapshots = roots.len() as u64;
        Ok(roots)
    }

    /// Reads everything but content that the snapshots lead to; goes around what cannot be read.
    async fn walk(&mut self, roots: &Roots) -> Result<HashSet<ObjectId>> {
        let mut reachable: HashSet<ObjectId> = roots.keys().map(|&id| id.into()).collect();
        let mut waiting: Vec<ObjectId> = reachable.iter().copied().collect();
        while !waiting.is_empty() {
            let batch = waiting.split_off(waiting.len().saturating_sub(WALK_BATCH));
            for (id, bytes) in self.read(&batch).await? {
                let links = match links(id, &bytes) {
                    Ok(links) => links,
                    Err(error) => {
                        self.note_object(id, format!("{id} cannot be understood: {}", error.context()));
                        continue;
                    }
                };
                for (child, _) in links {
                    if reachable.insert(child) && child.kind != ObjectKind::Chunk {
                        waiting.push(child);
                    }
                }
            }
            let done = reachable.len() as u64;
            (self.progress)(Progress { what: "reachable objects", done, total: None });
        }
        self.report.reachable_objects = reachable.len() as u64;
        Ok(reachable)
    }

    /// Objects as they lie in the bucket, not from memory. Those that cannot be read are noted and left out.
    async fn read(&mut self, ids: &[ObjectId]) -> Result<Vec<(ObjectId, bytes::Bytes)>> {
        let located = self.store.locate(ids).await?;
        let locations: Vec<Location> = ids.iter().filter_map(|id| located.get(id)).copied().collect();
        for missing in ids.iter().filter(|id| !located.contains_key(*id)) {
            self.note_object(*missing, format!("{missing} is not in the index"));
        }
        let mut read = Vec::with_capacity(locations.len());
        for (location, bytes) in locations.iter().zip(self.store.fetch(&locations).await) {
            let id = location.entry.id;
            match bytes {
                Ok(bytes) => {
                    self.report.read_bytes += u64::from(location.entry.stored_length);
                    self.report.verified_objects += 1;
                    read.push((id, bytes));
                }
                Err(error) if is_damage(error.kind()) => self.note_object(id, error.context().to_owned()),
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    /// Everything reachable must be in the index, in a pack that is there.
    async fn located(&mut self, reachable: &HashSet<ObjectId>, bad_packs: &HashMap<PackId, String>) -> Result<()> {
        let ids: Vec<ObjectId> = reachable.iter().copied().collect();
        for part in ids.chunks(crate::limits::LOOKUP_MAX) {
            let located = self.store.locate(part).await?;
            for id in part {
                match located.get(id) {
                    None => self.note_object(*id, format!("{id} is not in the index")),
                    Some(location) => {
                        if let Some(why) = bad_packs.get(&location.pack) {
                            self.note_object(*id, format!("{id} lies in the pack {}, which {why}", location.pack));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn finish(mut self, roots: &Roots) -> Result<CheckReport> {
        let hits = match self.damaged.is_empty() {
            true => HashMap::new(),
            false => hits::find(self.store, roots, &self.damaged).await?,
        };
        for (id, what) in std::mem::take(&mut self.damaged) {
            let hits = hits.get(&id).cloned().unwrap_or_default();
            self.report.damages.push(Damage { what, hits });
        }
        Ok(self.report)
    }
}

/// Whether an error says that stored bytes are wrong, not that they could not be asked for.
fn is_damage(kind: Kind) -> bool {
    matches!(kind, Kind::Corrupt | Kind::NotFound | Kind::Unsupported)
}
