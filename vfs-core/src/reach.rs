//! What objects lead to: the one walk that gc and check mark with.

use std::collections::HashSet;

use crate::db::{Connection, counters, history, leases, refs, workspaces};
use crate::error::{Error, Result};
use crate::id::{ObjectId, ObjectKind, SnapshotId};
use crate::limits::WALK_BATCH;
use crate::name::Name;
use crate::object::{Blob, Body, Content, Extent, Node, Snapshot, Subtree, Target, TreeNode, XattrsRef};
use crate::objects::Objects;
use crate::progress::{OnProgress, Progress};
use crate::store::Store;

/// An object that another one names, and the name it has there, if any.
pub(crate) type Link = (ObjectId, Option<Name>);

/// Everything that canonical bytes name.
pub(crate) fn links(id: ObjectId, canonical: &[u8]) -> Result<Vec<Link>> {
    let mut found = Vec::new();
    match id.kind {
        ObjectKind::Chunk => {}
        ObjectKind::Blob => {
            for extent in Blob::decode(canonical)?.extents() {
                if let Extent::Chunk(chunk) = extent {
                    found.push((chunk.id.into(), None));
                }
            }
        }
        ObjectKind::Tree => match TreeNode::decode(canonical)? {
            TreeNode::Leaf(entries) => {
                for entry in entries {
                    if let Target::Node(node) = &entry.target {
                        links_of_node(node, Some(&entry.name), &mut found);
                    }
                }
            }
            TreeNode::Interior { children, .. } => {
                found.extend(children.iter().map(|child| (child.subtree.tree.into(), None)));
            }
        },
        ObjectKind::Snapshot => {
            let snapshot = Snapshot::decode(canonical)?;
            links_of_node(&snapshot.root, None, &mut found);
            found.extend(snapshot.links.map(|Subtree { tree, .. }| (tree.into(), None)));
        }
    }
    Ok(found)
}

fn links_of_node(node: &Node, name: Option<&Name>, found: &mut Vec<Link>) {
    let name = || name.cloned();
    match &node.body {
        Body::File(Content::Chunk(chunk)) | Body::Symlink(Content::Chunk(chunk)) => {
            found.push((chunk.id.into(), name()))
        }
        Body::File(Content::Blob { id, .. }) | Body::Symlink(Content::Blob { id, .. }) => {
            found.push(((*id).into(), name()));
        }
        Body::Directory(subtree) => found.push((subtree.tree.into(), name())),
        _ => {}
    }
    if let XattrsRef::Chunk(chunk) = &node.xattrs {
        found.push((chunk.id.into(), name()));
    }
}

/// What everything is marked from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roots {
    /// Changes with every change of the roots.
    pub(crate) generation: u64,
    /// Heads, histories and the bases of leases.
    pub(crate) snapshots: HashSet<SnapshotId>,
}

impl Roots {
    /// Reads them; any row that fails its check is an error.
    pub(crate) async fn read(connection: &mut Connection, tenant: i64) -> Result<Roots> {
        // The generation first: what changes while we read shows in it later.
        let generation = Roots::generation(connection).await?;
        let mut snapshots = HashSet::new();
        for workspace in workspaces::all(connection, tenant).await? {
            snapshots.insert(refs::get(connection, workspace.id).await?.snapshot);
            let rows = history::newest(connection, workspace.id, true, u64::MAX).await?;
            snapshots.extend(rows.into_iter().map(|row| row.snapshot));
            snapshots.extend(leases::get(connection, workspace.id).await?.map(|lease| lease.base));
        }
        Ok(Roots { generation, snapshots })
    }

    /// The present generation.
    pub(crate) async fn generation(connection: &mut Connection) -> Result<u64> {
        counters::get(connection, counters::ROOTS, 0).await
    }
}

/// Marks everything that leads from snapshots. Any object that cannot be read is an error.
#[derive(Default)]
pub(crate) struct Marked {
    pub(crate) objects: HashSet<ObjectId>,
}

impl Marked {
    pub(crate) async fn add(
        &mut self,
        store: &Store,
        roots: impl IntoIterator<Item = SnapshotId>,
        progress: &OnProgress,
    ) -> Result<()> {
        let mut waiting: Vec<ObjectId> = roots.into_iter().map(ObjectId::from).collect();
        waiting.retain(|id| self.objects.insert(*id));
        while !waiting.is_empty() {
            // From the end: depth first, so that few wait.
            let batch = waiting.split_off(waiting.len().saturating_sub(WALK_BATCH));
            for (id, bytes) in batch.iter().zip(store.read_many(&batch).await?) {
                let damaged = |error: Error| Error::corrupt(format!("{id} cannot be understood")).because(error);
                for (child, _) in links(*id, &bytes).map_err(damaged)? {
                    if self.objects.insert(child) && child.kind != ObjectKind::Chunk {
                        waiting.push(child);
                    }
                }
            }
            progress(Progress { what: "reachable objects", done: self.objects.len() as u64, total: None });
        }
        Ok(())
    }
}
