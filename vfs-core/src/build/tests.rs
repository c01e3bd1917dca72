//! Change sets that fit, and all the ways in which they do not.

use futures::executor::block_on;

use super::*;
use crate::change::bare_node;
use crate::clock::Time;
use crate::name::{Name, TreePath};
use crate::object::{Entry, Totals};
use crate::objects::{MemoryObjects, Objects};
use crate::tree::tests::{file, memory, name, snapshot_of};

fn directory(ino: u64, subtree: Subtree) -> Node {
    bare_node(Ino(ino), Body::Directory(subtree), 0o755, 0, 0, Time::default())
}

fn plain(node: Node) -> NodeChange {
    NodeChange { node, extents: None, linked: false }
}

fn new_directory(ino: u64) -> NodeChange {
    plain(directory(ino, NodeChange::NEW_DIRECTORY))
}

fn names(ino: u64, upserts: &[(&str, u64)], removals: &[&str]) -> DirectoryChange {
    DirectoryChange {
        ino: Ino(ino),
        upserts: upserts.iter().map(|(text, ino)| (name(text), Ino(*ino))).collect(),
        removals: removals.iter().map(|text| name(text)).collect(),
    }
}

fn empty(objects: &MemoryObjects) -> Snapshot {
    snapshot_of(directory(1, block_on(tree::build(objects, [])).unwrap()), None)
}

fn at(objects: &dyn Objects, built: &Built, path: &str) -> Result<Node> {
    let snapshot = snapshot_of(built.root.clone(), built.links);
    block_on(tree::resolve(objects, &snapshot, &TreePath::parse(path.as_bytes())?))
}

fn snapshot(built: &Built) -> Snapshot {
    snapshot_of(built.root.clone(), built.links)
}

fn subtree_of(node: &Node) -> Subtree {
    match &node.body {
        Body::Directory(subtree) => *subtree,
        _ => panic!("not a directory"),
    }
}

fn chunk(objects: &MemoryObjects, content: &[u8]) -> ChunkRef {
    let digest = crate::id::PlainDigest::of(content);
    ChunkRef { id: objects.key().chunk_id(content), digest, length: content.len() as u32 }
}

/// `a/b/f`, `a/g`, and `h` twice by hard link.
fn first(objects: &MemoryObjects) -> Built {
    let base = empty(objects);
    let changes = ChangeSet {
        nodes: vec![
            plain(base.root.clone()),
            new_directory(10),
            new_directory(11),
            plain(file(12, "f")),
            plain(file(13, "g")),
            NodeChange { node: Node { nlink: 2, ..file(14, "h") }, extents: None, linked: true },
        ],
        directories: vec![
            names(1, &[("a", 10), ("h", 14)], &[]),
            names(10, &[("b", 11), ("g", 13), ("h2", 14)], &[]),
            names(11, &[("f", 12)], &[]),
        ],
        unlinked: vec![],
    };
    block_on(build(objects, &base, &changes)).unwrap()
}

#[test]
fn new_directories_files_and_links_are_built() {
    let objects = memory();
    let built = first(&objects);
    assert_eq!(at(&objects, &built, "a/b/f").unwrap(), file(12, "f"));
    assert_eq!(at(&objects, &built, "a/h2").unwrap(), at(&objects, &built, "h").unwrap());
    let totals = subtree_of(&built.root).totals;
    assert_eq!(totals, Totals { entries: 2, subdirs: 1, nodes: 6, bytes: 2, links: 2 });
    assert_eq!(built.links.unwrap().totals.bytes, 1);
    let mut trees: Vec<u64> = built.trees.iter().map(|(ino, _)| ino.0).collect();
    trees.sort_unstable();
    assert_eq!(trees, [1, 10, 11]);
}

#[test]
fn the_way_there_does_not_matter() {
    let objects = memory();
    let one = first(&objects);
    let base = snapshot(&one);
    // Add a name, then take it away again.
    let a = at(&objects, &one, "a").unwrap();
    let add = ChangeSet {
        nodes: vec![plain(base.root.clone()), plain(a), plain(file(30, "new"))],
        directories: vec![names(1, &[("a", 10)], &[]), names(10, &[("new", 30)], &[])],
        unlinked: vec![],
    };
    let two = block_on(build(&objects, &base, &add)).unwrap();
    assert_eq!(at(&objects, &two, "a/new").unwrap(), file(30, "new"));
    assert_ne!(two.root, one.root);
    let a = at(&objects, &two, "a").unwrap();
    let remove = ChangeSet {
        nodes: vec![plain(two.root.clone()), plain(a)],
        directories: vec![names(1, &[("a", 10)], &[]), names(10, &[], &["new"])],
        unlinked: vec![],
    };
    let three = block_on(build(&objects, &snapshot(&two), &remove)).unwrap();
    assert_eq!((three.root, three.links), (one.root, one.links));
}

#[test]
fn a_moved_directory_is_read_again_and_not_believed() {
    let objects = memory();
    let one = first(&objects);
    let b = at(&objects, &one, "a/b").unwrap();
    let true_subtree = subtree_of(&b);
    let lie = Subtree { totals: Totals { bytes: 1 << 40, ..true_subtree.totals }, ..true_subtree };
    let a = at(&objects, &one, "a").unwrap();
    let moved = ChangeSet {
        nodes: vec![plain(one.root.clone()), plain(a), plain(directory(11, lie))],
        directories: vec![names(1, &[("a", 10), ("moved", 11)], &[]), names(10, &[], &["b"])],
        unlinked: vec![],
    };
    let two = block_on(build(&objects, &snapshot(&one), &moved)).unwrap();
    assert_eq!(subtree_of(&at(&objects, &two, "moved").unwrap()), true_subtree);
    assert_eq!(at(&objects, &two, "moved/f").unwrap(), file(12, "f"));
    assert_eq!(at(&objects, &two, "a/b").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(two.trees.iter().filter(|(ino, _)| *ino == Ino(11)).count(), 0);
}

#[test]
fn the_last_unlinked_inode_ends_the_link_table() {
    let objects = memory();
    let one = first(&objects);
    let a = at(&objects, &one, "a").unwrap();
    let changes = ChangeSet {
        nodes: vec![plain(one.root.clone()), plain(a)],
        directories: vec![names(1, &[("a", 10)], &["h"]), names(10, &[], &["h2"])],
        unlinked: vec![Ino(14)],
    };
    let two = block_on(build(&objects, &snapshot(&one), &changes)).unwrap();
    assert_eq!(two.links, None);
    assert_eq!(subtree_of(&two.root).totals.links, 0);
}

#[test]
fn a_linked_file_changes_in_the_link_table_only() {
    let objects = memory();
    let one = first(&objects);
    let node = Node { nlink: 2, ..file(14, "changed") };
    let changes = ChangeSet {
        nodes: vec![plain(one.root.clone()), NodeChange { node: node.clone(), extents: None, linked: true }],
        ..ChangeSet::default()
    };
    let two = block_on(build(&objects, &snapshot(&one), &changes)).unwrap();
    assert_eq!(two.root, one.root);
    assert_eq!(at(&objects, &two, "a/h2").unwrap(), node);
}

#[test]
fn extents_become_a_blob() {
    let objects = memory();
    let base = empty(&objects);
    let extents =
        Blob::new([Extent::Chunk(chunk(&objects, b"one")), Extent::Hole(5), Extent::Chunk(chunk(&objects, b"two"))]);
    let changes = ChangeSet {
        nodes: vec![
            plain(base.root.clone()),
            NodeChange { node: file(12, ""), extents: Some(extents.clone()), linked: false },
        ],
        directories: vec![names(1, &[("f", 12)], &[])],
        unlinked: vec![],
    };
    let built = block_on(build(&objects, &base, &changes)).unwrap();
    let [(Ino(12), id)] = built.blobs[..] else { panic!("one blob was sent") };
    assert_eq!(at(&objects, &built, "f").unwrap().body, Body::File(Content::Blob { id, size: 11 }));
    let bytes = block_on(objects.read(id.into())).unwrap();
    assert_eq!(Blob::decode(&bytes).unwrap(), extents);
}

fn refused(change: impl FnOnce(&mut ChangeSet, &MemoryObjects)) -> Error {
    let objects = memory();
    let base = empty(&objects);
    let mut changes = ChangeSet {
        nodes: vec![plain(base.root.clone()), new_directory(10), plain(file(12, "f"))],
        directories: vec![names(1, &[("a", 10)], &[]), names(10, &[("f", 12)], &[])],
        unlinked: vec![],
    };
    block_on(build(&objects, &base, &changes)).unwrap();
    change(&mut changes, &objects);
    block_on(build(&objects, &base, &changes)).unwrap_err()
}

#[test]
fn what_does_not_fit_together_is_refused() {
    type Break = fn(&mut ChangeSet, &MemoryObjects);
    let breaks: &[(&str, Break)] = &[
        ("no root", |c, _| drop(c.nodes.remove(0))),
        ("a root that is a file", |c, _| c.nodes[0] = plain(file(1, ""))),
        ("a name without a node", |c, _| drop(c.nodes.pop())),
        ("a node twice", |c, _| c.nodes.push(plain(file(12, "other")))),
        ("a directory change twice", |c, _| c.directories.push(names(10, &[], &[]))),
        ("names of a file", |c, _| c.directories.push(names(12, &[], &[]))),
        ("names of nothing", |c, _| c.directories.push(names(99, &[], &[]))),
        ("a file twice", |c, _| c.directories[0] = names(1, &[("a", 10), ("again", 12)], &[])),
        ("a cycle", |c, _| c.directories[1] = names(10, &[("a", 10), ("f", 12)], &[])),
        ("the root below itself", |c, _| c.directories[1] = names(10, &[("f", 12), ("r", 1)], &[])),
        ("a node without a name", |c, _| c.nodes.push(plain(file(13, "lost")))),
        ("a linked directory", |c, _| c.nodes[1].linked = true),
        ("linked with no names", |c, _| {
            c.nodes.push(NodeChange { node: Node { nlink: 0, ..file(5, "") }, extents: None, linked: true })
        }),
        ("linked and unlinked", |c, _| {
            c.nodes[2].linked = true;
            c.unlinked.push(Ino(12));
        }),
        ("set and removed", |c, _| c.directories[1].removals.push(name("f"))),
        ("names out of order", |c, _| {
            c.nodes.push(plain(file(13, "")));
            c.directories[1].upserts = vec![(name("g"), Ino(13)), (name("f"), Ino(12))];
        }),
        ("inode 0", |c, _| c.nodes.push(plain(file(0, "")))),
        ("a mode with a kind", |c, _| c.nodes[2].node.mode = 0o100_644),
        ("a billion nanoseconds", |c, _| c.nodes[2].node.mtime.nanos = 1_000_000_000),
        ("long inline content", |c, _| c.nodes[2].node = file(12, &"x".repeat(INLINE_MAX + 1))),
        ("a long chunk", |c, o| {
            let long = ChunkRef { length: CHUNK_MAX as u32 + 1, ..chunk(o, b"x") };
            c.nodes[2].node.body = Body::File(Content::Chunk(long));
        }),
        ("an empty chunk", |c, o| {
            c.nodes[2].node.body = Body::File(Content::Chunk(ChunkRef { length: 0, ..chunk(o, b"x") }))
        }),
        ("a long symlink", |c, o| {
            let long = ChunkRef { length: SYMLINK_MAX as u32 + 1, ..chunk(o, b"x") };
            c.nodes[2].node.body = Body::Symlink(Content::Chunk(long));
        }),
        ("a blob as a symlink", |c, _| {
            c.nodes[2].node.body = Body::Symlink(Content::Blob { id: BlobId::from_bytes([1; 32]), size: 4 })
        }),
        ("long attributes", |c, _| c.nodes[2].node.xattrs = XattrsRef::Inline(vec![0; XATTR_INLINE_MAX + 1].into())),
        ("extents beside content", |c, _| c.nodes[2].extents = Some(Blob::new([Extent::Hole(9)]))),
        ("no extents", |c, _| {
            c.nodes[2] = NodeChange { node: file(12, ""), extents: Some(Blob::default()), linked: false }
        }),
        ("a single chunk as extents", |c, o| {
            let extents = Some(Blob::new([Extent::Chunk(chunk(o, b"x"))]));
            c.nodes[2] = NodeChange { node: file(12, ""), extents, linked: false };
        }),
        ("a file over the largest size", |c, _| {
            let extents = Some(Blob::new([Extent::Hole(FILE_SIZE_MAX + 1)]));
            c.nodes[2] = NodeChange { node: file(12, ""), extents, linked: false };
        }),
    ];
    for (what, change) in breaks {
        assert_eq!(refused(change).kind(), Kind::Invalid, "{what}");
    }
}

#[test]
fn a_base_that_does_not_exist_is_refused() {
    let error = refused(|changes, _| {
        let lie = Subtree { tree: crate::id::TreeId::from_bytes([9; 32]), ..NodeChange::NEW_DIRECTORY };
        changes.nodes[1] = plain(directory(10, lie));
    });
    assert_eq!(error.kind(), Kind::NotFound);
}

fn nested(depth: u64) -> Result<Built> {
    let objects = memory();
    let base = empty(&objects);
    let mut changes = ChangeSet { nodes: vec![plain(base.root.clone())], ..ChangeSet::default() };
    for ino in 2..depth + 2 {
        changes.nodes.push(new_directory(ino));
        changes.directories.push(names(ino - 1, &[("d", ino)], &[]));
    }
    block_on(build(&objects, &base, &changes))
}

#[test]
fn nesting_is_limited() {
    assert_eq!(subtree_of(&nested(DEPTH_MAX as u64).unwrap().root).totals.nodes, DEPTH_MAX as u64);
    assert_eq!(nested(DEPTH_MAX as u64 + 1).unwrap_err().kind(), Kind::LimitExceeded);
}

#[test]
fn many_new_nodes_equal_trees_built_at_once() {
    let objects = memory();
    let base = empty(&objects);
    let mut changes = ChangeSet { nodes: vec![plain(base.root.clone())], ..ChangeSet::default() };
    let mut top: Vec<(Name, Ino)> = Vec::new();
    let mut expected = Vec::new();
    for d in 0..1000u64 {
        let ino = 1000 + d * 100;
        changes.nodes.push(new_directory(ino));
        let files: Vec<(Name, Ino)> = (1..24).map(|f| (name(&format!("f{f:02}")), Ino(ino + f))).collect();
        changes.nodes.extend(files.iter().map(|(_, ino)| plain(file(ino.0, "text"))));
        let entries =
            files.iter().map(|(name, ino)| Entry { name: name.clone(), target: Target::Node(file(ino.0, "text")) });
        let subtree = block_on(tree::build(&objects, entries)).unwrap();
        let entry = Entry { name: name(&format!("d{d:04}")), target: Target::Node(directory(ino, subtree)) };
        top.push((entry.name.clone(), Ino(ino)));
        expected.push(entry);
        changes.directories.push(DirectoryChange { ino: Ino(ino), upserts: files, removals: vec![] });
    }
    changes.directories.push(DirectoryChange { ino: Ino::ROOT, upserts: top, removals: vec![] });
    let built = block_on(build(&objects, &base, &changes)).unwrap();
    assert_eq!(subtree_of(&built.root), block_on(tree::build(&objects, expected)).unwrap());
    assert_eq!(built.trees.len(), 1001);
}
