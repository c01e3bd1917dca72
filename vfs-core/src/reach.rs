//! What objects lead to, and what everything is reached from: gc and check mark with it.

use std::collections::HashSet;

use crate::db::{Connection, counters, history, leases, refs, side_refs, workspaces};
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectId, ObjectKind, SnapshotId, WorkspaceId};
use crate::limits::GC_ROUNDS_MAX;
use crate::name::Name;
use crate::object::{Blob, Body, Content, Extent, Node, Snapshot, Subtree, Target, TreeNode, XattrsRef};

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

/// Side refs whose snapshots are known to be incomplete: what repair and rebuild keep. Nobody is alarmed for them.
pub(crate) const KNOWN_PREFIXES: [&str; 2] = ["damaged/", "rebuilt/"];

/// Side refs of those who read a snapshot for long. They end by themselves.
pub(crate) const READER_PREFIX: &str = "reader/";

/// What everything is marked from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roots {
    /// Changes with every change of the roots.
    pub(crate) generation: u64,
    /// Heads, histories, side refs and the bases of leases.
    pub(crate) snapshots: HashSet<SnapshotId>,
    /// What repair and rebuild keep as side refs although it lacks something, whoever else names it; never a head.
    pub(crate) incomplete: HashSet<SnapshotId>,
}

impl Roots {
    /// Reads them; any row that fails its check is an error. History rows in `without` are left out.
    pub(crate) async fn read(
        connection: &mut Connection,
        tenant: i64,
        without: &HashSet<(WorkspaceId, u64)>,
    ) -> Result<Roots> {
        for _ in 0..GC_ROUNDS_MAX {
            // The generation first: what changes while we read shows in it later.
            let generation = Roots::generation(connection).await?;
            match snapshots(connection, tenant, without).await {
                Ok((snapshots, incomplete)) => return Ok(Roots { generation, snapshots, incomplete }),
                // A workspace that was deleted between two of our queries is no damage.
                Err(error) if error.kind() == Kind::NotFound && Roots::generation(connection).await? != generation => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(Kind::Busy, "workspaces were deleted all the while: try again"))
    }

    /// How many they are.
    pub(crate) fn count(&self) -> u64 {
        (self.snapshots.len() + self.incomplete.len()) as u64
    }

    /// The present generation.
    pub(crate) async fn generation(connection: &mut Connection) -> Result<u64> {
        counters::get(connection, counters::ROOTS, 0).await
    }
}

/// What must be whole, and what need not be.
async fn snapshots(
    connection: &mut Connection,
    tenant: i64,
    without: &HashSet<(WorkspaceId, u64)>,
) -> Result<(HashSet<SnapshotId>, HashSet<SnapshotId>)> {
    let (mut heads, mut others, mut incomplete) = (HashSet::new(), HashSet::new(), HashSet::new());
    for workspace in workspaces::all(connection, tenant).await? {
        let id = workspace.id;
        heads.insert(refs::get(connection, id).await?.snapshot);
        let rows = history::newest(connection, id, true, u64::MAX).await?;
        let kept = rows.into_iter().filter(|row| without.is_empty() || !without.contains(&(id, row.sequence)));
        others.extend(kept.map(|row| row.snapshot));
        for row in side_refs::all(connection, id).await? {
            let is_known = KNOWN_PREFIXES.iter().any(|prefix| row.name.starts_with(prefix));
            if is_known {
                incomplete.insert(row.snapshot)
            } else {
                others.insert(row.snapshot)
            };
        }
        others.extend(leases::get(connection, id).await?.map(|lease| lease.base));
    }
    incomplete.retain(|snapshot| !heads.contains(snapshot));
    others.retain(|snapshot| !incomplete.contains(snapshot));
    heads.extend(others);
    Ok((heads, incomplete))
}
