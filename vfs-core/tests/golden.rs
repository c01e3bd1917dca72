//! Golden vectors: the canonical bytes of format 0, held still.
//!
//! `tests/golden/*.json` hold bytes, ids, digests and decoded values, made with `IdKey::golden()`. This test makes them anew
//! and compares; `ESKER_WRITE_GOLDEN=1` writes them (only with a line in `docs/format.md`). A second reader in Python,
//! which shares no code with this crate, decodes the same bytes and compares with the same values.

#![allow(clippy::unwrap_used, reason = "a test or example may panic")]

mod values;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use values::*;
use vfs_core::Kind;
use vfs_core::chunk::{Cutter, Step};
use vfs_core::id::{BlobId, IdKey, PlainDigest};
use vfs_core::name::Name;
use vfs_core::object::{Blob, Body, Content, Entry, Node, Snapshot, Subtree, Target, TreeNode, Xattrs};
use vfs_core::objects::MemoryObjects;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Compares with the file, or writes it.
fn check(file: &str, made: Value) {
    let path = folder().join(file);
    if std::env::var_os("ESKER_WRITE_GOLDEN").is_some() {
        fs::write(&path, serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
    }
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let golden: Value = serde_json::from_str(&text).unwrap();
    let (golden_vectors, made_vectors) = (golden["vectors"].as_array().unwrap(), made["vectors"].as_array().unwrap());
    for (golden, made) in golden_vectors.iter().zip(made_vectors) {
        assert_eq!(golden, made, "{file}: stored bytes changed; that needs a new format version");
    }
    assert_eq!(golden, made, "{file}");
}

/// Every byte string of `refused` must be refused as corrupt by `decode`.
fn refuses<T: std::fmt::Debug>(refused: &[(&str, Vec<u8>)], decode: impl Fn(&[u8]) -> vfs_core::Result<T>) -> Value {
    for (why, bytes) in refused {
        assert_eq!(decode(bytes).unwrap_err().kind(), Kind::Corrupt, "{why}");
    }
    refused.iter().map(|(why, bytes)| json!({"why": why, "bytes": hex::encode(bytes)})).collect()
}

/// `bytes` with one part replaced, which must be there.
fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = bytes.windows(old.len()).position(|window| window == old).expect("the part is there");
    [&bytes[..at], new, &bytes[at + old.len()..]].concat()
}

fn with_byte(bytes: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] = value;
    bytes
}

#[test]
fn chunks() {
    let key = IdKey::golden();
    let contents: [&[u8]; 3] = [b"a", b"esker", &[0; 1000]];
    let vectors: Vec<Value> = contents
        .iter()
        .map(|content| {
            json!({"bytes": hex::encode(content), "id": key.chunk_id(content), "digest": PlainDigest::of(content)})
        })
        .collect();
    check("chunk.json", json!({"vectors": vectors}));
}

/// Where content is cut is part of the format: otherwise nothing is found again.
#[test]
fn cuts() {
    let mut vectors = Vec::new();
    for (seed, length) in [("esker", 0), ("esker", 257), ("esker", 65_536), ("esker", 3_000_001), ("flat", 2_500_000)] {
        let mut content = vec![0; length];
        if seed == "esker" {
            blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut content);
        }
        let mut cuts = Vec::new();
        let mut cutter = Cutter::new(length as u64, &[]);
        while let Some(step) = cutter.step() {
            match step {
                Step::Read(range) => cutter.feed(&content[range.start as usize..range.end as usize]),
                Step::New(bytes) => cuts.push(bytes.len()),
                other => panic!("{other:?} for a file without holes and past"),
            }
        }
        vectors.push(json!({"content": seed, "length": length, "cuts": cuts}));
    }
    check("cuts.json", json!({"vectors": vectors}));
}

#[test]
fn blobs() {
    let key = IdKey::golden();
    let blobs = [Blob::default(), Blob::new([hole(1 << 40)]), Blob::new([chunk(1), hole(4096), chunk(2), chunk(3)])];
    let vectors: Vec<Value> = blobs
        .iter()
        .map(|blob| {
            let bytes = blob.encode();
            assert_eq!(Blob::decode(&bytes).unwrap(), *blob);
            json!({"bytes": hex::encode(&bytes), "id": key.blob_id(&bytes), "value": blob_value(blob)})
        })
        .collect();
    let good = blobs[2].encode();
    let refused = refuses(
        &[
            ("nothing", vec![]),
            ("another tag", with_byte(&good, 0, b'T')),
            ("another version", with_byte(&good, 1, 1)),
            ("cut off", good[..good.len() - 1].to_vec()),
            ("a byte too many", [&good[..], &[0]].concat()),
            ("more extents than there are", with_byte(&good, 2, 5)),
            ("a count that is not in its shortest form", vec![b'B', 0, 0x80, 0]),
            ("an empty hole", vec![b'B', 0, 1, 0, 0]),
            ("two holes side by side", vec![b'B', 0, 2, 0, 1, 0, 1]),
            ("an extent of an unknown kind", vec![b'B', 0, 1, 2, 1]),
            ("more than the largest file", [&[b'B', 0, 1, 0][..], &[0xff; 9], &[1]].concat()),
            ("an empty chunk", [&[b'B', 0, 1, 1][..], &[7; 64], &[0]].concat()),
            ("a chunk over a MiB", [&[b'B', 0, 1, 1][..], &[7; 64], &[0x81, 0x80, 0x40]].concat()),
        ],
        Blob::decode,
    );
    check("blob.json", json!({"vectors": vectors, "refused": refused}));
}

/// A leaf with a symlink that is like no other.
fn symlink_of(content: Content) -> Vec<u8> {
    let node = Node { body: Body::Symlink(content), ..plain_file(20, b"") };
    TreeNode::Leaf(vec![Entry { name: name("s"), target: Target::Node(node) }]).encode()
}

fn tree_vector(node: &TreeNode) -> Value {
    let key = IdKey::golden();
    let (subtree, bytes) = node.seal(&key);
    assert_eq!(TreeNode::decode(&bytes).unwrap(), *node);
    let input = digest_input(node);
    assert_eq!(*content_hasher().update(&input).finalize().as_bytes(), *subtree.digest.as_bytes());
    json!({
        "bytes": hex::encode(&bytes),
        "id": subtree.tree,
        "digest_input": hex::encode(&input),
        "digest": subtree.digest,
        "totals": totals_value(&subtree.totals),
        "value": tree_value(node),
    })
}

#[test]
fn tree_nodes() {
    let leaf = TreeNode::Leaf(every_kind());
    let interior = TreeNode::Interior { level: 1, children: children() };
    let vectors: Vec<Value> = [&TreeNode::EMPTY, &leaf, &interior].map(tree_vector).to_vec();
    let one = TreeNode::Leaf(vec![Entry { name: name("n"), target: Target::Link(vfs_core::object::Ino(5)) }]);
    let good = one.encode();
    assert_eq!(good, [b'T', 0, 0, 1, 1, b'n', 0, 5]);
    let named = |bytes: &[u8]| [&[b'T', 0, 0, 1, bytes.len() as u8][..], bytes, &[0, 5]].concat();
    let leaf = leaf.encode();
    let refused = refuses(
        &[
            ("another tag", with_byte(&good, 0, b'B')),
            ("another version", with_byte(&good, 1, 1)),
            ("cut off", good[..7].to_vec()),
            ("a byte too many", [&good[..], &[0]].concat()),
            ("an interior node without children", vec![b'T', 0, 1, 0]),
            ("a level too high", vec![b'T', 0, 17, 0]),
            ("65 entries", vec![b'T', 0, 0, 65]),
            ("an empty name", vec![b'T', 0, 0, 1, 0, 0, 5]),
            ("a dot", named(b".")),
            ("two dots", named(b"..")),
            ("a slash", named(b"a/b")),
            ("a NUL", named(b"a\0")),
            ("equal names", vec![b'T', 0, 0, 2, 1, b'n', 0, 5, 1, b'n', 0, 5]),
            ("names out of order", vec![b'T', 0, 0, 2, 1, b'n', 0, 5, 1, b'm', 0, 5]),
            ("an unknown kind of file", with_byte(&good, 6, 8)),
            ("a number that is not in its shortest form", vec![b'T', 0, 0, 1, 1, b'n', 0, 0x85, 0]),
            ("a link to inode 0", with_byte(&good, 7, 0)),
            (
                "a symbolic link of several chunks",
                symlink_of(Content::Blob { id: BlobId::from_bytes([9; 32]), size: 300 }),
            ),
            ("a symbolic link over the longest path", symlink_of(Content::Chunk(chunk_reference(1)))),
            ("inode 0", replaced(&leaf, &[4, b'f', b'i', b'f', b'o', 4, 13], &[4, b'f', b'i', b'f', b'o', 4, 0])),
        ],
        TreeNode::decode,
    );
    check("tree.json", json!({"vectors": vectors, "refused": refused}));
}

/// A directory of a thousand names: where its nodes are cut, and what its root is named.
#[test]
fn directories() {
    let objects = MemoryObjects::new(IdKey::golden());
    let vectors: Vec<Value> = [0u32, 1, 8, 64, 65, 1000]
        .iter()
        .map(|count| {
            let entries = (0..*count).map(|n| {
                let name = Name::new(format!("file-{n:04}").as_bytes()).unwrap();
                Entry { name, target: Target::Node(plain_file(u64::from(n) + 16, b"x")) }
            });
            let subtree = futures::executor::block_on(vfs_core::tree::build(&objects, entries)).unwrap();
            let leaves = futures::executor::block_on(leaf_sizes(&objects, subtree));
            json!({"names": count, "leaves": leaves, "value": subtree_value(&subtree)})
        })
        .collect();
    check("directory.json", json!({"vectors": vectors}));
}

async fn leaf_sizes(objects: &MemoryObjects, subtree: Subtree) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut nodes = vec![subtree.tree];
    while let Some(id) = nodes.pop() {
        match vfs_core::tree::read_node(objects, id).await.unwrap() {
            TreeNode::Leaf(entries) => sizes.push(entries.len()),
            TreeNode::Interior { children, .. } => nodes.extend(children.iter().rev().map(|child| child.subtree.tree)),
        }
    }
    sizes
}

#[test]
fn snapshots() {
    let key = IdKey::golden();
    let snapshots = [smallest_snapshot(), full_snapshot()];
    let vectors: Vec<Value> = snapshots
        .iter()
        .map(|snapshot| {
            let bytes = snapshot.encode();
            assert_eq!(Snapshot::decode(&bytes).unwrap(), *snapshot);
            json!({"bytes": hex::encode(&bytes), "id": key.snapshot_id(&bytes), "value": snapshot_value(snapshot)})
        })
        .collect();
    let good = snapshots[0].encode();
    let full = snapshots[1].encode();
    let nine_parents = {
        let mut snapshot = full_snapshot();
        snapshot.parents = vec![snapshot.parents[0]; 9];
        snapshot.encode()
    };
    let refused = refuses(
        &[
            ("another tag", with_byte(&good, 0, b'T')),
            ("another version", with_byte(&good, 1, 1)),
            ("cut off", good[..good.len() - 1].to_vec()),
            ("a byte too many", [&good[..], &[0]].concat()),
            ("nine parents", nine_parents),
            ("a root that is a file", with_byte(&good, 2, 1)),
            ("a root that is not inode 1", with_byte(&good, 3, 2)),
            ("text that is not UTF-8", replaced(&full, b"somebody", b"somebod\xff")),
            ("a flag that is 2", replaced(&full, "a message\u{1}".as_bytes(), b"a message\x02")),
        ],
        Snapshot::decode,
    );
    check("snapshot.json", json!({"vectors": vectors, "refused": refused}));
}

#[test]
fn extended_attributes() {
    let mut some = Xattrs::default();
    for (name, value) in [("user.b", &b""[..]), ("user.a", b"\x00\xff"), ("system.posix_acl_access", &[2; 40])] {
        some.set(name.as_bytes(), value).unwrap();
    }
    let vectors: Vec<Value> = [Xattrs::default(), some]
        .iter()
        .map(|xattrs| {
            let bytes = xattrs.encode();
            assert_eq!(Xattrs::decode(&bytes).unwrap(), *xattrs);
            let value: Vec<Value> = xattrs.iter().map(|(n, v)| json!([hex::encode(n), hex::encode(v)])).collect();
            json!({"bytes": hex::encode(&bytes), "value": value})
        })
        .collect();
    let refused = refuses(
        &[
            ("nothing", vec![]),
            ("fewer than said", vec![1]),
            ("a byte too many", vec![0, 0]),
            ("an empty name", vec![1, 0, 0]),
            ("equal names", vec![2, 1, b'a', 0, 1, b'a', 0]),
            ("names out of order", vec![2, 1, b'b', 0, 1, b'a', 0]),
        ],
        Xattrs::decode,
    );
    check("xattrs.json", json!({"vectors": vectors, "refused": refused}));
}

/// The other reader, which was written from `docs/format.md`, agrees.
#[test]
fn the_second_reader_agrees() {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/second_reader/read.py");
    let output = match Command::new("python3").arg(script).arg(folder()).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && std::env::var_os("CI").is_none() => {
            eprintln!("there is no python3 here: the second reader did not run");
            return;
        }
        output => output.expect("python3 runs the second reader"),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("vectors agree"), "{said}");
}
