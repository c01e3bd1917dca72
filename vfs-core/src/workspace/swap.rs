//! Going over to another snapshot under a running mount, after a restore.
//!
//! Inodes that the new snapshot has under the same name stay what they are for the kernel; everything else that the
//! kernel may know is named in the list of what it must forget.

use std::collections::{HashMap, HashSet};

use super::answer::{Answer, Stop};
use super::inode::{Inode, InodeBody, InodeXattrs};
use super::listing::Row;
use super::names::rows_of;
use super::state::State;
use super::{Invalidation, Workspace};
use crate::error::{Error, Kind, Result};
use crate::id::SnapshotId;
use crate::limits::LISTING_SYNC_MAX;
use crate::name::Name;
use crate::object::{Body, Ino, Node, Snapshot, Subtree, Target};
use crate::quota::Usage;

/// What a swap does to the inodes in memory.
#[derive(Default)]
struct Plan {
    updates: Vec<(Ino, Node, bool)>,
    gone: Vec<Ino>,
    invalidations: Vec<Invalidation>,
}

impl Workspace {
    /// Goes over to another snapshot and lets changes through again. The overlay must be empty (checkpoint and freeze
    /// first), else `Busy`. Returns what the kernel must forget.
    pub async fn swap_base(&self, id: SnapshotId, snapshot: Snapshot) -> Result<Vec<Invalidation>> {
        let pending = self.publishing.lock().await;
        if pending.is_some() {
            return Err(Error::new(Kind::Busy, "a checkpoint of the workspace has not been answered yet"));
        }
        for _ in 0..crate::limits::SWAP_ROUNDS_MAX {
            let miss = {
                let mut state = self.state.lock();
                if !state.changed.is_empty() || !state.unlinked.is_empty() {
                    return Err(Error::new(Kind::Busy, "the workspace has changes that are not published"));
                }
                match plan(&state, &snapshot) {
                    Ok(plan) => {
                        // What can fail comes before the change; after it, the kernel has to hear of it.
                        let position = state.journal.as_mut().map_or(Ok(0), |journal| journal.rotate())?;
                        let list = apply(&mut state, id, &snapshot, plan);
                        drop(state);
                        if let Err(error) = self.cut_journal(position, id) {
                            tracing::error!("the journal does not know its new base yet: {}", error.chain());
                        }
                        self.thaw();
                        return Ok(list);
                    }
                    Err(Stop::Failed(error)) => return Err(error),
                    Err(Stop::Miss(miss)) => miss,
                }
            };
            self.fill(miss).await?;
        }
        Err(Error::new(Kind::Unavailable, "the new snapshot's directories could not be read"))
    }
}

fn plan(state: &State, snapshot: &Snapshot) -> Answer<Plan> {
    let mut known: HashMap<Ino, Vec<(&Name, Ino)>> = HashMap::new();
    for (ino, inode) in &state.inodes {
        if let Some((parent, name)) = &inode.parent {
            known.entry(*parent).or_default().push((name, *ino));
        }
    }
    let mut plan = Plan::default();
    let mut pending = vec![(Ino::ROOT, snapshot.root.clone(), false)];
    let mut seen = HashSet::new();
    while let Some((ino, node, linked)) = pending.pop() {
        if !seen.insert(ino) {
            continue;
        }
        let inode = state.inode(ino)?;
        if let (InodeBody::Directory(old), Body::Directory(new)) = (&inode.body, &node.body)
            && old.base != Some(new.tree)
        {
            let empty = Vec::new();
            let children = known.get(&ino).unwrap_or(&empty);
            for (name, child) in children {
                match state.cache.entry(new.tree, name.as_bytes())?.map(|entry| entry.target) {
                    Some(Target::Node(node)) if node.ino == *child => pending.push((*child, node, false)),
                    Some(Target::Link(linked)) if linked == *child => {
                        pending.push((*child, linked_node(state, snapshot.links.as_ref(), *child)?, true));
                    }
                    _ => {
                        plan.invalidations.push(Invalidation::Entry(ino, (*name).clone()));
                        plan.gone.push(*child);
                    }
                }
            }
            plan.invalidations.extend(appearing(state, ino, old.base, new)?);
        }
        plan.invalidations.push(Invalidation::Inode(ino));
        plan.updates.push((ino, node, linked));
    }
    linked_elsewhere(state, snapshot, &mut seen, &mut plan)?;
    gone_below(&known, &mut plan.gone);
    // What is gone from its place may be elsewhere in the new snapshot: its pages must not come along.
    plan.invalidations.extend(plan.gone.iter().map(|ino| Invalidation::Inode(*ino)));
    Ok(plan)
}

fn linked_node(state: &State, table: Option<&Subtree>, ino: Ino) -> Answer<Node> {
    let table = table.ok_or_else(|| Error::corrupt("a snapshot has hard links and no link table"))?;
    state.cache.linked(table, ino)
}

/// Hard-linked inodes that the walk did not meet: their directories are the same, or the place is not known. Their
/// nodes are in the link tables.
fn linked_elsewhere(state: &State, snapshot: &Snapshot, seen: &mut HashSet<Ino>, plan: &mut Plan) -> Answer<()> {
    if state.links == snapshot.links {
        return Ok(());
    }
    for (ino, inode) in &state.inodes {
        if !inode.linked || inode.nlink == 0 || plan.gone.contains(ino) || !seen.insert(*ino) {
            continue;
        }
        let found = match &snapshot.links {
            Some(table) => state.cache.find_linked(table, *ino)?,
            None => None,
        };
        match found {
            Some(node) => {
                plan.invalidations.push(Invalidation::Inode(*ino));
                plan.updates.push((*ino, node, true));
            }
            None => plan.gone.push(*ino),
        }
    }
    Ok(())
}

/// Names that are new in a directory: the kernel may remember that they do not exist.
fn appearing(state: &State, ino: Ino, old: Option<crate::id::TreeId>, new: &Subtree) -> Answer<Vec<Invalidation>> {
    if new.totals.entries > LISTING_SYNC_MAX {
        // `AllNames` covers large directories.
        return Ok(Vec::new());
    }
    let names =
        |tree| -> Answer<Vec<Row>> { Ok(state.cache.leaves(tree)?.iter().flat_map(|leaf| rows_of(leaf)).collect()) };
    let before: HashSet<Name> = match old {
        Some(old) => names(old)?.into_iter().map(|row| row.name).collect(),
        None => HashSet::new(),
    };
    let fresh = names(new.tree)?.into_iter().filter(|row| !before.contains(&row.name));
    Ok(fresh.map(|row| Invalidation::Entry(ino, row.name)).collect())
}

/// Adds everything in memory below what is gone.
fn gone_below(known: &HashMap<Ino, Vec<(&Name, Ino)>>, gone: &mut Vec<Ino>) {
    let mut index = 0;
    while let Some(ino) = gone.get(index).copied() {
        gone.extend(known.get(&ino).into_iter().flatten().map(|(_, child)| *child));
        index += 1;
    }
}

fn apply(state: &mut State, id: SnapshotId, snapshot: &Snapshot, plan: Plan) -> Vec<Invalidation> {
    for ino in plan.gone.iter().rev() {
        if let Some(inode) = state.inodes.remove(ino)
            && let Some((parent, _)) = inode.parent
            && let Some(parent) = state.inodes.get_mut(&parent)
        {
            parent.residents = parent.residents.saturating_sub(1);
        }
    }
    for (ino, node, linked) in plan.updates {
        if let Some(inode) = state.inodes.get_mut(&ino) {
            update(inode, &node, linked);
        }
    }
    state.base = id;
    state.links = snapshot.links;
    state.usage = Usage::of(snapshot);
    state.period += 1;
    let mut list = vec![Invalidation::AllNames];
    list.extend(plan.invalidations.into_iter().rev());
    list
}

fn update(inode: &mut Inode, node: &Node, linked: bool) {
    let same_tree = match (&inode.body, &node.body) {
        (InodeBody::Directory(old), Body::Directory(new)) => old.base == Some(new.tree),
        _ => false,
    };
    if !same_tree {
        inode.body = InodeBody::from_base(&node.body);
    }
    inode.mode = node.mode;
    inode.uid = node.uid;
    inode.gid = node.gid;
    inode.nlink = node.nlink;
    inode.mtime = node.mtime;
    inode.ctime = node.ctime;
    inode.xattrs = InodeXattrs::Base(node.xattrs.clone());
    inode.linked = linked;
    inode.names = None;
}
