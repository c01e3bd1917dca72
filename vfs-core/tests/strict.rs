//! Decoders believe nothing: whatever is not canonical is refused, and no input makes them panic or allocate without end.
//!
//! Values of any shape go out and in again; their bytes, cut, extended or with one byte changed, are refused or are the
//! canonical bytes of another value. The allocator is counted: a decoder takes a small multiple of its input.

#![allow(clippy::unwrap_used, reason = "a test or example may panic")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use vfs_core::change::{ChangeSet, DirectoryChange, NodeChange};
use vfs_core::clock::Time;
use vfs_core::id::{BlobId, ChunkId, ContentDigest, PlainDigest, SnapshotId, TreeId};
use vfs_core::name::Name;
use vfs_core::object::{
    Blob, Body, Child, ChunkRef, Content, Entry, Extent, Ino, Node, Provenance, Snapshot, Subtree, Target, Totals,
    TreeNode, Xattrs, XattrsRef,
};

/// Remembers the largest single allocation of this thread.
struct Counting;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: passes every call on to the system's allocator; the cell needs no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn largest_allocation<T>(work: impl FnOnce() -> T) -> usize {
    LARGEST.with(|largest| largest.set(0));
    let done = work();
    let largest = LARGEST.with(Cell::get);
    drop(done);
    largest
}

fn names() -> impl Strategy<Value = Name> {
    vec(any::<u8>(), 1..20).prop_filter_map("a valid name", |bytes| Name::new(&bytes).ok())
}

fn times() -> impl Strategy<Value = Time> {
    (any::<i64>(), 0u32..1_000_000_000).prop_map(|(seconds, nanos)| Time { seconds, nanos })
}

fn chunk_refs() -> impl Strategy<Value = ChunkRef> {
    (any::<[u8; 32]>(), any::<[u8; 32]>(), 1u32..=1 << 20).prop_map(|(id, digest, length)| ChunkRef {
        id: ChunkId::from_bytes(id),
        digest: PlainDigest::from_bytes(digest),
        length,
    })
}

fn short() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..=256).prop_map(Bytes::from)
}

fn contents() -> impl Strategy<Value = Content> {
    prop_oneof![
        short().prop_map(Content::Inline),
        chunk_refs().prop_map(Content::Chunk),
        (any::<[u8; 32]>(), 0u64..1 << 63).prop_map(|(id, size)| Content::Blob { id: BlobId::from_bytes(id), size }),
    ]
}

fn subtrees() -> impl Strategy<Value = Subtree> {
    (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u64; 5]>()).prop_map(|(tree, digest, sums)| {
        let [entries, subdirs, nodes, bytes, links] = sums;
        let totals = Totals { entries, subdirs, nodes, bytes, links };
        Subtree { tree: TreeId::from_bytes(tree), digest: ContentDigest::from_bytes(digest), totals }
    })
}

fn bodies() -> impl Strategy<Value = Body> {
    prop_oneof![
        contents().prop_map(Body::File),
        subtrees().prop_map(Body::Directory),
        short().prop_map(|target| Body::Symlink(Content::Inline(target))),
        Just(Body::Fifo),
        Just(Body::Socket),
        any::<u32>().prop_map(Body::CharDevice),
        any::<u32>().prop_map(Body::BlockDevice),
    ]
}

fn xattr_refs() -> impl Strategy<Value = XattrsRef> {
    prop_oneof![Just(XattrsRef::None), short().prop_map(XattrsRef::Inline), chunk_refs().prop_map(XattrsRef::Chunk),]
}

fn nodes(body: impl Strategy<Value = Body>) -> impl Strategy<Value = Node> {
    let numbers = (1u64.., 0u16..=0o7777, any::<u32>(), any::<u32>(), any::<u32>());
    (numbers, times(), times(), body, xattr_refs()).prop_map(|(numbers, mtime, ctime, body, xattrs)| {
        let (ino, mode, uid, gid, nlink) = numbers;
        Node { ino: Ino(ino), mode, uid, gid, nlink, mtime, ctime, body, xattrs }
    })
}

fn tree_nodes() -> impl Strategy<Value = TreeNode> {
    let targets =
        prop_oneof![3 => nodes(bodies()).prop_map(Target::Node), 1 => (1u64..).prop_map(|ino| Target::Link(Ino(ino)))];
    prop_oneof![
        btree_map(names(), targets, 0..20).prop_map(|entries| {
            TreeNode::Leaf(entries.into_iter().map(|(name, target)| Entry { name, target }).collect())
        }),
        (1u8..=16, btree_map(names(), subtrees(), 1..20)).prop_map(|(level, children)| {
            let children = children.into_iter().map(|(first, subtree)| Child { first, subtree }).collect();
            TreeNode::Interior { level, children }
        }),
    ]
}

fn blobs() -> impl Strategy<Value = Blob> {
    let extents = prop_oneof![chunk_refs().prop_map(Extent::Chunk), (0u64..1 << 40).prop_map(Extent::Hole)];
    vec(extents, 0..20).prop_map(Blob::new)
}

fn snapshots() -> impl Strategy<Value = Snapshot> {
    let root = nodes(subtrees().prop_map(Body::Directory)).prop_map(|root| Node { ino: Ino::ROOT, ..root });
    let labels = ["\\PC{0,20}", "\\PC{0,20}", "\\PC{0,20}", "\\PC{0,20}", "\\PC{0,50}"];
    let trees = (root, prop::option::of(subtrees()), vec(any::<[u8; 32]>().prop_map(SnapshotId::from_bytes), 0..=8));
    (trees, labels, times(), any::<bool>()).prop_map(|((root, links, parents), labels, time, automatic)| {
        let [author, session, turn, tool_call, message] = labels;
        let provenance = Provenance { session, turn, tool_call };
        Snapshot { root, links, parents, author, time, message, automatic, provenance }
    })
}

fn xattrs() -> impl Strategy<Value = Xattrs> {
    btree_map(vec(any::<u8>(), 1..30), vec(any::<u8>(), 0..60), 0..10).prop_map(|list| {
        let mut xattrs = Xattrs::default();
        list.iter().for_each(|(name, value)| xattrs.set(name, value).unwrap());
        xattrs
    })
}

fn change_sets() -> impl Strategy<Value = ChangeSet> {
    let changes = prop_oneof![
        (nodes(bodies()), any::<bool>()).prop_map(|(node, linked)| NodeChange { node, extents: None, linked }),
        (nodes(Just(Body::File(Content::EMPTY))), blobs()).prop_map(|(node, extents)| NodeChange {
            node,
            extents: Some(extents),
            linked: false
        }),
    ];
    let directories =
        (1u64.., btree_map(names(), 1u64.., 0..5), btree_set(names(), 0..5)).prop_map(|(ino, upserts, removals)| {
            DirectoryChange {
                ino: Ino(ino),
                upserts: upserts.into_iter().map(|(name, ino)| (name, Ino(ino))).collect(),
                removals: removals.into_iter().collect(),
            }
        });
    (vec(changes, 0..6), vec(directories, 0..4), vec((1u64..).prop_map(Ino), 0..4))
        .prop_map(|(nodes, directories, unlinked)| ChangeSet { nodes, directories, unlinked })
}

/// A damage to bytes: a place, what is done there, and a value.
#[derive(Debug, Clone)]
struct Damage {
    place: prop::sample::Index,
    kind: u8,
    value: u8,
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let one = (any::<prop::sample::Index>(), 0u8..4, any::<u8>());
    vec(one.prop_map(|(place, kind, value)| Damage { place, kind, value }), 40)
}

fn damaged(bytes: &[u8], damage: &Damage) -> Vec<u8> {
    let at = damage.place.index(bytes.len());
    match damage.kind {
        0 => bytes[..at].to_vec(),
        1 => [bytes, &[damage.value]].concat(),
        2 => [&bytes[..at], &[damage.value], &bytes[at..]].concat(),
        _ => {
            let mut changed = bytes.to_vec();
            changed[at] = damage.value;
            changed
        }
    }
}

/// Round trip, and: cut or extended is refused; anything else that is taken is canonical.
fn strict<T: PartialEq + std::fmt::Debug>(
    value: &T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> vfs_core::Result<T>,
    damages: &[Damage],
) -> Result<(), TestCaseError> {
    let bytes = encode(value);
    prop_assert_eq!(&decode(&bytes).unwrap(), value);
    for damage in damages {
        let broken = damaged(&bytes, damage);
        if let Ok(other) = decode(&broken) {
            prop_assert!(damage.kind > 1, "{:?} of {:?} was taken as {:?}", damage, value, other);
            prop_assert_eq!(encode(&other), broken, "not the only encoding of {:?}", other);
        }
    }
    Ok(())
}

type Decode = fn(&[u8]) -> bool;

/// Every decoder, with the bytes that its input starts with.
const DECODERS: [(&str, &[u8], Decode); 5] = [
    ("blob", b"B\0", |bytes| Blob::decode(bytes).is_ok()),
    ("tree node", b"T\0", |bytes| TreeNode::decode(bytes).is_ok()),
    ("snapshot", b"S\0", |bytes| Snapshot::decode(bytes).is_ok()),
    ("change set", b"C\0", |bytes| ChangeSet::decode(bytes).is_ok()),
    ("attributes", b"", |bytes| Xattrs::decode(bytes).is_ok()),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn blobs_are_strict(value in blobs(), damages in damages()) {
        strict(&value, Blob::encode, Blob::decode, &damages)?;
    }

    #[test]
    fn tree_nodes_are_strict(value in tree_nodes(), damages in damages()) {
        strict(&value, TreeNode::encode, TreeNode::decode, &damages)?;
    }

    #[test]
    fn snapshots_are_strict(value in snapshots(), damages in damages()) {
        strict(&value, Snapshot::encode, Snapshot::decode, &damages)?;
    }

    #[test]
    fn attributes_are_strict(value in xattrs(), damages in damages()) {
        strict(&value, Xattrs::encode, Xattrs::decode, &damages)?;
    }

    #[test]
    fn change_sets_are_strict(value in change_sets(), damages in damages()) {
        strict(&value, ChangeSet::encode, ChangeSet::decode, &damages)?;
    }

    #[test]
    fn random_bytes_neither_panic_nor_take_memory(bytes in vec(any::<u8>(), 0..3000), counts in vec(any::<u8>(), 0..12)) {
        for (what, start, decode) in DECODERS {
            // Large numbers where a count is expected, then anything.
            let input = [start, &counts.iter().map(|byte| byte | 0x80).collect::<Vec<_>>(), &bytes].concat();
            let largest = largest_allocation(|| decode(&input));
            prop_assert!(largest <= 4 * input.len() + 64 * 1024, "a {} took {} for {}", what, largest, input.len());
        }
    }
}

#[test]
fn a_large_count_takes_no_memory() {
    for (what, start, decode) in DECODERS {
        for level in [&b""[..], &b"\0"[..], &b"\x01"[..]] {
            // As many items as the input could possibly hold, and then nothing that is one.
            let rest = 1 << 20;
            let count = [0x80 | (rest / 2 % 128) as u8, 0x80 | (rest / 2 / 128 % 128) as u8, (rest / 2 / 16384) as u8];
            let input = [start, level, &count, &vec![0xff; rest]].concat();
            let largest = largest_allocation(|| assert!(!decode(&input)));
            assert!(largest <= 4 * input.len(), "a {what} of {} bytes took {largest}", input.len());
        }
    }
}
