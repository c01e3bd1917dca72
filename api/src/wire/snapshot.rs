//! Snapshots, the files in them, and what differs between two.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use vfs_core::id::{SnapshotId, WorkspaceId};
use vfs_core::object::{FileKind, Snapshot as CoreSnapshot};

use super::name::Time;

/// One state of a workspace and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// Its id.
    #[schema(value_type = String)]
    pub id: SnapshotId,
    /// The snapshots it was made from.
    #[schema(value_type = Vec<String>)]
    pub parents: Vec<SnapshotId>,
    /// Who asked for it.
    pub author: String,
    /// When it was made.
    pub time: Time,
    /// Why.
    pub message: String,
    /// Made by the mount on its own.
    pub automatic: bool,
    /// The session that wrote it; empty if none did.
    pub session: String,
    /// The turn of the session.
    pub turn: String,
    /// The tool call of the turn.
    pub tool_call: String,
    /// Entries at any depth.
    pub nodes: u64,
    /// Sizes of all files; one with several names counts once.
    pub bytes: u64,
}

impl Snapshot {
    /// A snapshot as clients see it.
    pub fn new(id: SnapshotId, snapshot: &CoreSnapshot) -> Self {
        let root = match &snapshot.root.body {
            vfs_core::object::Body::Directory(subtree) => subtree.totals,
            _ => Default::default(),
        };
        let linked_bytes = snapshot.links.map_or(0, |links| links.totals.bytes);
        Snapshot {
            id,
            parents: snapshot.parents.clone(),
            author: snapshot.author.clone(),
            time: snapshot.time.into(),
            message: snapshot.message.clone(),
            automatic: snapshot.automatic,
            session: snapshot.provenance.session.clone(),
            turn: snapshot.provenance.turn.clone(),
            tool_call: snapshot.provenance.tool_call.clone(),
            nodes: root.nodes,
            bytes: root.bytes.saturating_add(linked_bytes),
        }
    }
}

/// Names a state: `WORKSPACE`, `WORKSPACE@SNAPSHOT` (a prefix of four digits will do), `WORKSPACE@HEAD`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ResolveQuery {
    /// `WORKSPACE` or `WORKSPACE@SNAPSHOT`.
    pub spec: String,
}

/// What a spec names. Without `@`, it is the head as published; the live state is `checkpoint`'s answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Resolved {
    /// The workspace.
    #[schema(value_type = String)]
    pub workspace: WorkspaceId,
    /// Its name.
    pub name: String,
    /// The snapshot.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
}

/// One inode under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Entry {
    /// Its name, or the path that was asked for; lossy where it is not UTF-8.
    pub name: String,
    /// The name's bytes in hexadecimal, where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_hex: Option<String>,
    /// `file`, `directory`, `symlink`, `fifo`, `socket`, `char_device` or `block_device`.
    pub kind: String,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes, as `stat` shows it.
    pub size: u64,
    /// Names, as `stat` shows them.
    pub nlink: u32,
    /// Inode number.
    pub ino: u64,
    /// When the content changed.
    pub mtime: Time,
    /// Where a symlink points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Those bytes in hexadecimal, where they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_hex: Option<String>,
}

/// The word for a kind of file.
pub fn kind_word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
        FileKind::CharDevice => "char_device",
        FileKind::BlockDevice => "block_device",
    }
}

/// One page of a directory, or what is known of something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Listing {
    /// What the path names.
    pub node: Entry,
    /// The directory's entries in order of their bytes; empty for anything else.
    pub entries: Vec<Entry>,
    /// There are more: ask again with `after` set to the last name.
    pub more: bool,
}
