//! What a golden repo holds, in words and hashes: read through the front door, every byte of it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};
use vfs_core::documents::{Scope, Within};
use vfs_core::id::{ObjectId, SnapshotId};
use vfs_core::object::{Blob, Body, Content, Extent, Node, Snapshot, Target, TreeNode, XattrsRef};
use vfs_core::objects::Objects;
use vfs_core::repo::{Repo, RetentionRules};
use vfs_core::tree::{Entries, linked};

/// Workspace → history, snapshot → path → what is there, and what only the database has (the oldest golden repo has none).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub workspaces: BTreeMap<String, Vec<Row>>,
    pub snapshots: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, Rules>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub documents: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sessions: BTreeMap<String, Vec<String>>,
}

/// One row of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub sequence: u64,
    pub snapshot: String,
    pub author: String,
    pub message: String,
}

/// What was set for a workspace, or for all under the name "".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    pub bytes: Option<u64>,
    pub files: Option<u64>,
    pub retention: Option<RetentionRules>,
}

impl Manifest {
    /// What a bucket alone still has: the workspaces and their snapshots.
    pub fn of_bucket(self) -> Manifest {
        Manifest { workspaces: self.workspaces, snapshots: self.snapshots, ..Manifest::default() }
    }

    /// Without what a later version published, so that it compares with what was there before.
    pub fn without_message(mut self, message: &str, golden: &Manifest) -> Manifest {
        self.workspaces.values_mut().for_each(|rows| rows.retain(|row| row.message != message));
        self.snapshots.retain(|snapshot, _| golden.snapshots.contains_key(snapshot));
        self
    }
}

/// Reads everything that a repo holds.
pub async fn manifest(repo: &Repo) -> Manifest {
    let mut made = Manifest::default();
    add_rules(repo, None, "", &mut made).await;
    for info in repo.workspaces().await.unwrap() {
        let rows = repo.history(info.id, true, u32::MAX).await.unwrap();
        assert_eq!(rows[0].snapshot, info.head);
        for row in &rows {
            if let Entry::Vacant(place) = made.snapshots.entry(row.snapshot.to_hex()) {
                place.insert(paths(repo, row.snapshot).await);
            }
        }
        for tag in repo.tags(info.id).await.unwrap() {
            made.tags.insert(format!("{}@{}", info.name, tag.name), tag.snapshot.to_hex());
        }
        add_rules(repo, Some(&info), &info.name, &mut made).await;
        let row = |row: &vfs_core::repo::HistoryRow| Row {
            sequence: row.sequence,
            snapshot: row.snapshot.to_hex(),
            author: row.author.clone(),
            message: row.message.clone(),
        };
        made.workspaces.insert(info.name, rows.iter().map(row).collect());
    }
    made.documents = documents(repo).await;
    made.sessions = sessions(repo).await;
    made
}

async fn add_rules(repo: &Repo, workspace: Option<&vfs_core::repo::WorkspaceInfo>, name: &str, made: &mut Manifest) {
    let id = workspace.map(|info| info.id);
    let (quota, used) = repo.quota(id).await.unwrap();
    let retention = repo.retention(id).await.unwrap().own;
    if quota.is_set() || retention.is_some() {
        assert!(used.files > 0, "{name:?} holds something");
        made.rules.insert(name.to_owned(), Rules { bytes: quota.bytes, files: quota.files, retention });
    }
}

/// Every version of every document that is not deleted, with its content.
async fn documents(repo: &Repo) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for head in repo.documents(&Within::All, None).await.unwrap() {
        let (scope, path): (Scope, _) = (head.scope.parse().unwrap(), head.path.parse().unwrap());
        for version in repo.document_versions(&scope, &path).await.unwrap() {
            let within = Within::Scope(scope.clone());
            let (_, content) = repo.read_document(&within, &path, Some(version.version)).await.unwrap();
            let name = format!("{scope} {path} {}", version.version);
            let side = if version.side { " beside" } else { "" };
            let session = if version.session.is_empty() { String::new() } else { format!(" turn {}", version.turn) };
            let said = format!("on {} by {}{session}{side}: {}", version.base, version.author, content.escape_ascii());
            found.insert(name, said);
        }
    }
    found
}

/// Sessions by title, with their events and turns.
async fn sessions(repo: &Repo) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for session in repo.sessions(None, 100).await.unwrap() {
        let mut lines =
            vec![format!("{} {} {} {}", session.workspace_name, session.agent, session.user, session.state)];
        for event in repo.events(session.id, 0, 1000).await.unwrap().events {
            lines.push(format!("{} {} turn {} {}", event.sequence, event.kind, event.turn, event.data));
        }
        for turn in repo.turns(session.id).await.unwrap() {
            lines.push(format!("turn {} ended on {}, {} documents", turn.number, turn.snapshot, turn.documents.len()));
        }
        found.insert(session.title, lines);
    }
    found
}

async fn paths(repo: &Repo, id: SnapshotId) -> BTreeMap<String, String> {
    let snapshot = repo.snapshot(id).await.unwrap();
    let mut found = BTreeMap::from([("/".to_owned(), describe(repo, &snapshot.root).await)]);
    let mut waiting = vec![(String::new(), snapshot.root.clone())];
    while let Some((path, node)) = waiting.pop() {
        let Body::Directory(subtree) = &node.body else { continue };
        let mut entries = Entries::new(repo.store(), subtree.tree);
        while let Some(entry) = entries.next().await.unwrap() {
            let path = format!("{path}/{}", entry.name);
            let node = node_of(repo, &snapshot, entry.target).await;
            found.insert(path.clone(), describe(repo, &node).await);
            waiting.push((path, node));
        }
    }
    found
}

async fn node_of(repo: &Repo, snapshot: &Snapshot, target: Target) -> Node {
    match target {
        Target::Node(node) => node,
        Target::Link(ino) => linked(repo.store(), snapshot.links.as_ref(), ino).await.unwrap(),
    }
}

/// Kind, mode, inode, time and the hash of the content.
async fn describe(repo: &Repo, node: &Node) -> String {
    let read = |id: ObjectId| async move { repo.store().read(id).await.unwrap() };
    let mut hasher = blake3::Hasher::new();
    match &node.body {
        Body::File(content) | Body::Symlink(content) => match content {
            Content::Inline(bytes) => drop(hasher.update(bytes)),
            Content::Chunk(chunk) => drop(hasher.update(&read(chunk.id.into()).await)),
            Content::Blob { id, .. } => {
                for extent in Blob::decode(&read((*id).into()).await).unwrap().extents() {
                    match extent {
                        Extent::Hole(length) => drop(hasher.update(&vec![0; *length as usize])),
                        Extent::Chunk(chunk) => drop(hasher.update(&read(chunk.id.into()).await)),
                    }
                }
            }
        },
        Body::Directory(subtree) => {
            // It can be read as a node, too.
            TreeNode::decode(&read(subtree.tree.into()).await).unwrap();
        }
        _ => {}
    }
    let attributes = match &node.xattrs {
        XattrsRef::None => 0,
        XattrsRef::Inline(bytes) => bytes.len(),
        XattrsRef::Chunk(chunk) => read(chunk.id.into()).await.len(),
    };
    let kind = format!("{:?}", node.body.kind()).to_lowercase();
    let hash = &hasher.finalize().to_hex()[..32];
    let mtime = format!("{}.{:09}", node.mtime.seconds, node.mtime.nanos);
    format!(
        "{kind} {:o} inode {} links {} mtime {mtime} attributes {attributes} {hash}",
        node.mode, node.ino.0, node.nlink
    )
}
