//! Which paths of which snapshots need a damaged object.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Roots, Severity};
use crate::error::Result;
use crate::id::{ObjectId, ObjectKind, SnapshotId};
use crate::limits::{DAMAGE_HITS_MAX, WALK_BATCH};
use crate::name::Name;
use crate::reach::links;
use crate::store::Store;

/// Who names an object, and how.
type Parents = HashMap<ObjectId, Vec<(ObjectId, Option<Name>)>>;

/// For each damaged object some of `workspace@snapshot:path`. Walks everything once more: damage is rare.
pub(super) async fn find(
    store: &Store,
    roots: &Roots,
    damaged: &BTreeMap<ObjectId, (String, Severity)>,
) -> Result<HashMap<ObjectId, Vec<String>>> {
    let parents = parents(store, roots, damaged).await?;
    Ok(damaged.keys().map(|id| (*id, paths(*id, &parents, roots))).collect())
}

async fn parents(store: &Store, roots: &Roots, damaged: &BTreeMap<ObjectId, (String, Severity)>) -> Result<Parents> {
    let mut parents = Parents::new();
    let mut seen: HashSet<ObjectId> = roots.keys().map(|&id| id.into()).collect();
    let mut waiting: Vec<ObjectId> = seen.iter().copied().collect();
    while !waiting.is_empty() {
        let batch = waiting.split_off(waiting.len().saturating_sub(WALK_BATCH));
        let located = store.locate(&batch).await?;
        let locations: Vec<_> = located.into_values().collect();
        for (location, bytes) in locations.iter().zip(store.fetch(&locations).await) {
            let id = location.entry.id;
            let Ok(links) = bytes.and_then(|bytes| links(id, &bytes)) else { continue };
            for (child, name) in links {
                // Chunks are most of all objects, and lead nowhere.
                if child.kind == ObjectKind::Chunk && !damaged.contains_key(&child) {
                    continue;
                }
                parents.entry(child).or_default().push((id, name));
                if child.kind != ObjectKind::Chunk && seen.insert(child) {
                    waiting.push(child);
                }
            }
        }
    }
    Ok(parents)
}

/// Climbs to the snapshots, a bounded number of ways.
fn paths(id: ObjectId, parents: &Parents, roots: &Roots) -> Vec<String> {
    let mut hits = Vec::new();
    let mut climbing: Vec<(ObjectId, Vec<Name>)> = vec![(id, Vec::new())];
    let mut steps = 0;
    while let Some((at, names)) = climbing.pop() {
        steps += 1;
        if hits.len() >= DAMAGE_HITS_MAX || steps > DAMAGE_HITS_MAX * 10_000 {
            break;
        }
        if at.kind == ObjectKind::Snapshot {
            let snapshot = SnapshotId::from_bytes(at.hash);
            let path: Vec<String> = names.iter().rev().map(Name::to_string).collect();
            for workspace in roots.get(&snapshot).into_iter().flatten() {
                hits.push(format!("{workspace}@{}:/{}", &snapshot.to_hex()[..12], path.join("/")));
            }
        }
        for (parent, name) in parents.get(&at).into_iter().flatten() {
            let mut names = names.clone();
            names.extend(name.clone());
            climbing.push((*parent, names));
        }
    }
    hits.sort();
    hits.dedup();
    hits.truncate(DAMAGE_HITS_MAX);
    hits
}
