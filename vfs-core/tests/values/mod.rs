//! The values of the golden vectors, and how they look as JSON.

use bytes::Bytes;
use serde_json::{Value, json};
use vfs_core::clock::Time;
use vfs_core::id::{BlobId, ChunkId, ContentDigest, PlainDigest, SnapshotId, TreeId};
use vfs_core::name::Name;
use vfs_core::object::{
    Blob, Body, Child, ChunkRef, Content, Entry, Extent, FileKind, Ino, Node, Provenance, Snapshot, Subtree, Target,
    Totals, TreeNode, XattrsRef,
};

pub(crate) fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

pub(crate) fn chunk_reference(seed: u8) -> ChunkRef {
    let length = [1, 65_536, 1_048_576][usize::from(seed) % 3];
    let (id, digest) = (ChunkId::from_bytes([seed; 32]), PlainDigest::from_bytes([seed | 0x80; 32]));
    ChunkRef { id, digest, length }
}

pub(crate) fn chunk(seed: u8) -> Extent {
    Extent::Chunk(chunk_reference(seed))
}

pub(crate) fn hole(length: u64) -> Extent {
    Extent::Hole(length)
}

fn node(ino: u64, body: Body) -> Node {
    let (mtime, ctime) =
        (Time { seconds: 1_700_000_000, nanos: 123_456_789 }, Time { seconds: -1, nanos: 999_999_999 });
    Node { ino: Ino(ino), mode: 0o644, uid: 1000, gid: 100, nlink: 1, mtime, ctime, body, xattrs: XattrsRef::None }
}

pub(crate) fn plain_file(ino: u64, content: &'static [u8]) -> Node {
    let time = Time::default();
    let body = Body::File(Content::Inline(Bytes::from_static(content)));
    Node { mtime: time, ctime: time, uid: 0, gid: 0, ..node(ino, body) }
}

fn subtree(seed: u8) -> Subtree {
    let totals = Totals { entries: 3, subdirs: 1, nodes: 1 << 33, bytes: u64::from(seed) << 40, links: 2 };
    Subtree { tree: TreeId::from_bytes([seed; 32]), digest: ContentDigest::from_bytes([!seed; 32]), totals }
}

/// One entry of every kind and every form, sorted.
pub(crate) fn every_kind() -> Vec<Entry> {
    let blob = Content::Blob { id: BlobId::from_bytes([9; 32]), size: 1 << 42 };
    let bodies = [
        ("block", node(10, Body::BlockDevice(0x801))),
        ("blob", node(11, Body::File(blob))),
        ("char", node(12, Body::CharDevice(u32::MAX))),
        ("fifo", node(13, Body::Fifo)),
        ("file", Node { mode: 0o4755, uid: u32::MAX, ..node(1 << 62, Body::File(Content::Chunk(chunk_reference(4)))) }),
        ("inline", node(15, Body::File(Content::Inline(Bytes::from_static(b"short"))))),
        ("socket", Node { xattrs: XattrsRef::Chunk(chunk_reference(5)), ..node(16, Body::Socket) }),
        ("symlink", Node { mode: 0o777, ..node(17, Body::Symlink(Content::Inline(Bytes::from_static(b"../x")))) }),
        (
            "with attributes",
            Node { xattrs: XattrsRef::Inline(Bytes::from_static(b"\x01\x01a\x01b")), ..node(18, Body::Fifo) },
        ),
    ];
    let mut entries: Vec<Entry> =
        bodies.into_iter().map(|(text, node)| Entry { name: name(text), target: Target::Node(node) }).collect();
    entries.push(Entry { name: name("hard link"), target: Target::Link(Ino(300)) });
    let directory = Node { mode: 0o1777, ..node(19, Body::Directory(subtree(7))) };
    entries.push(Entry { name: Name::new(b"\xff\xfe").unwrap(), target: Target::Node(directory) });
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}

pub(crate) fn children() -> Vec<Child> {
    [("a", 1), ("b", 2), ("ba", 3)].map(|(first, seed)| Child { first: name(first), subtree: subtree(seed) }).to_vec()
}

pub(crate) fn smallest_snapshot() -> Snapshot {
    Snapshot {
        root: Node { mode: 0o755, ..node(1, Body::Directory(subtree(1))) },
        links: None,
        parents: vec![],
        author: String::new(),
        time: Time::default(),
        message: String::new(),
        automatic: false,
        provenance: Provenance::default(),
    }
}

pub(crate) fn full_snapshot() -> Snapshot {
    let label = |text: &str| text.to_string();
    Snapshot {
        links: Some(subtree(2)),
        parents: vec![SnapshotId::from_bytes([3; 32]), SnapshotId::from_bytes([4; 32])],
        author: label("somebody"),
        time: Time { seconds: 1_800_000_000, nanos: 1 },
        message: label("größer\na message"),
        automatic: true,
        provenance: Provenance { session: label("s"), turn: label("t"), tool_call: label("call") },
        ..smallest_snapshot()
    }
}

fn chunk_value(chunk: &ChunkRef) -> Value {
    json!({"id": chunk.id, "digest": chunk.digest, "length": chunk.length})
}

pub(crate) fn blob_value(blob: &Blob) -> Value {
    let extents = blob.extents().iter().map(|extent| match extent {
        Extent::Chunk(chunk) => json!({"chunk": chunk_value(chunk)}),
        Extent::Hole(length) => json!({"hole": length}),
    });
    json!({"size": blob.size(), "extents": extents.collect::<Vec<_>>()})
}

fn content_value(content: &Content) -> Value {
    match content {
        Content::Inline(bytes) => json!({"inline": hex::encode(bytes)}),
        Content::Chunk(chunk) => json!({"chunk": chunk_value(chunk)}),
        Content::Blob { id, size } => json!({"blob": id, "size": size}),
    }
}

pub(crate) fn totals_value(totals: &Totals) -> Value {
    json!([totals.entries, totals.subdirs, totals.nodes, totals.bytes, totals.links])
}

pub(crate) fn subtree_value(subtree: &Subtree) -> Value {
    json!({"tree": subtree.tree, "digest": subtree.digest, "totals": totals_value(&subtree.totals)})
}

fn node_value(node: &Node) -> Value {
    let (kind, body) = match &node.body {
        Body::File(content) => ("file", content_value(content)),
        Body::Directory(subtree) => ("directory", subtree_value(subtree)),
        Body::Symlink(content) => ("symlink", content_value(content)),
        Body::Fifo => ("fifo", Value::Null),
        Body::Socket => ("socket", Value::Null),
        Body::CharDevice(rdev) => ("char", json!(rdev)),
        Body::BlockDevice(rdev) => ("block", json!(rdev)),
    };
    let xattrs = match &node.xattrs {
        XattrsRef::None => Value::Null,
        XattrsRef::Inline(bytes) => json!({"inline": hex::encode(bytes)}),
        XattrsRef::Chunk(chunk) => json!({"chunk": chunk_value(chunk)}),
    };
    json!({
        "kind": kind, "ino": node.ino, "mode": node.mode, "uid": node.uid, "gid": node.gid, "nlink": node.nlink,
        "mtime": [node.mtime.seconds, node.mtime.nanos], "ctime": [node.ctime.seconds, node.ctime.nanos],
        "body": body, "xattrs": xattrs,
    })
}

pub(crate) fn tree_value(node: &TreeNode) -> Value {
    match node {
        TreeNode::Leaf(entries) => {
            let entries = entries.iter().map(|entry| match &entry.target {
                Target::Node(node) => json!([hex::encode(entry.name.as_bytes()), node_value(node)]),
                Target::Link(ino) => json!([hex::encode(entry.name.as_bytes()), {"link": ino}]),
            });
            json!({"level": 0, "entries": entries.collect::<Vec<_>>()})
        }
        TreeNode::Interior { level, children } => {
            let children = children
                .iter()
                .map(|child| json!([hex::encode(child.first.as_bytes()), subtree_value(&child.subtree)]));
            json!({"level": level, "children": children.collect::<Vec<_>>()})
        }
    }
}

pub(crate) fn snapshot_value(snapshot: &Snapshot) -> Value {
    json!({
        "root": node_value(&snapshot.root),
        "links": snapshot.links.as_ref().map(subtree_value),
        "parents": snapshot.parents,
        "author": snapshot.author,
        "time": [snapshot.time.seconds, snapshot.time.nanos],
        "message": snapshot.message,
        "automatic": snapshot.automatic,
        "session": snapshot.provenance.session,
        "turn": snapshot.provenance.turn,
        "tool_call": snapshot.provenance.tool_call,
    })
}

/// The hasher of content digests under the golden key, made from what `docs/format.md` says.
pub(crate) fn content_hasher() -> blake3::Hasher {
    blake3::Hasher::new_keyed(&blake3::derive_key("esker v0 content digest", &[0x45; 32]))
}

/// What a content digest is made of, by `docs/format.md`.
pub(crate) fn digest_input(node: &TreeNode) -> Vec<u8> {
    let mut input = vec![node.level()];
    let mut named = |name: &Name, rest: Vec<u8>| {
        input.push(name.as_bytes().len() as u8);
        input.extend_from_slice(name.as_bytes());
        input.extend(rest);
    };
    match node {
        TreeNode::Leaf(entries) => {
            for entry in entries {
                match &entry.target {
                    Target::Link(ino) => named(&entry.name, [&[0][..], &ino.0.to_le_bytes()].concat()),
                    Target::Node(node) => named(&entry.name, node_input(node)),
                }
            }
        }
        TreeNode::Interior { children, .. } => {
            children.iter().for_each(|child| named(&child.first, child.subtree.digest.as_bytes().to_vec()));
        }
    }
    input
}

fn varint(mut value: u64, into: &mut Vec<u8>) {
    while value > 127 {
        into.push((value % 128) as u8 + 128);
        value /= 128;
    }
    into.push(value as u8);
}

fn node_input(node: &Node) -> Vec<u8> {
    let tag = match node.body.kind() {
        FileKind::File => 1,
        FileKind::Directory => 2,
        FileKind::Symlink => 3,
        FileKind::Fifo => 4,
        FileKind::Socket => 5,
        FileKind::CharDevice => 6,
        FileKind::BlockDevice => 7,
    };
    let mut input = vec![tag];
    for value in [u32::from(node.mode), node.uid, node.gid] {
        varint(value.into(), &mut input);
    }
    match &node.body {
        Body::File(content) | Body::Symlink(content) => content_input(content, &mut input),
        Body::Directory(subtree) => input.extend_from_slice(subtree.digest.as_bytes()),
        Body::CharDevice(rdev) | Body::BlockDevice(rdev) => varint((*rdev).into(), &mut input),
        Body::Fifo | Body::Socket => {}
    }
    match &node.xattrs {
        XattrsRef::None => input.push(0),
        XattrsRef::Inline(bytes) => {
            input.push(1);
            varint(bytes.len() as u64, &mut input);
            input.extend_from_slice(bytes);
        }
        XattrsRef::Chunk(chunk) => {
            input.push(2);
            chunk_input(chunk, &mut input);
        }
    }
    input
}

fn content_input(content: &Content, input: &mut Vec<u8>) {
    match content {
        Content::Inline(bytes) => {
            input.push(0);
            varint(bytes.len() as u64, input);
            input.extend_from_slice(bytes);
        }
        Content::Chunk(chunk) => {
            input.push(1);
            chunk_input(chunk, input);
        }
        Content::Blob { id, size } => {
            input.push(2);
            input.extend_from_slice(id.as_bytes());
            varint(*size, input);
        }
    }
}

fn chunk_input(chunk: &ChunkRef, input: &mut Vec<u8>) {
    input.extend_from_slice(chunk.id.as_bytes());
    input.extend_from_slice(chunk.digest.as_bytes());
    varint(chunk.length.into(), input);
}
