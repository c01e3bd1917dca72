//! Against a comparison of full listings, and in cost.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::executor::block_on;
use proptest::prelude::*;

use super::*;
use crate::change::bare_node;
use crate::clock::Time;
use crate::object::XattrsRef;
use crate::object::tree::link_name;
use crate::objects::NewObjects;
use crate::tree::tests::{Counted, file, memory, name, snapshot_of};

/// A tree to be stored: what a name stands for.
#[derive(Debug, Clone, PartialEq)]
enum Model {
    Node(Node),
    Link(u64),
    Directory(u16, BTreeMap<String, Model>),
}

fn store(objects: &dyn NewObjects, names: &BTreeMap<String, Model>) -> Subtree {
    let entries = names.iter().map(|(text, model)| {
        let target = match model {
            Model::Node(node) => Target::Node(node.clone()),
            Model::Link(ino) => Target::Link(Ino(*ino)),
            Model::Directory(mode, names) => Target::Node(directory_node(*mode, store(objects, names))),
        };
        Entry { name: name(text), target }
    });
    block_on(tree::build(objects, entries.collect::<Vec<_>>())).unwrap()
}

fn directory_node(mode: u16, subtree: Subtree) -> Node {
    bare_node(Ino(3), Body::Directory(subtree), mode, 0, 0, Time::default())
}

fn snapshot(objects: &dyn NewObjects, names: &BTreeMap<String, Model>, links: &BTreeMap<u64, Node>) -> Snapshot {
    let entries =
        links.iter().map(|(ino, node)| Entry { name: link_name(Ino(*ino)), target: Target::Node(node.clone()) });
    let table = block_on(tree::build(objects, entries)).unwrap();
    snapshot_of(directory_node(0o755, store(objects, names)), Some(table).filter(|_| !links.is_empty()))
}

/// Every path with what it is, to compare without trees.
fn flat(
    names: &BTreeMap<String, Model>,
    links: &BTreeMap<u64, Node>,
    at: &TreePath,
    list: &mut BTreeMap<TreePath, Node>,
) {
    for (text, model) in names {
        let path = at.join(&name(text));
        match model {
            Model::Node(node) => drop(list.insert(path, node.clone())),
            Model::Link(ino) => drop(list.insert(path, links[ino].clone())),
            Model::Directory(mode, names) => {
                list.insert(path.clone(), bare_node(Ino(3), Body::Fifo, *mode, 0, 0, Time::default()));
                flat(names, links, &path, list);
            }
        }
    }
}

type World = (BTreeMap<String, Model>, BTreeMap<u64, Node>);

fn expected(before: &World, after: &World) -> Vec<(TreePath, ChangeKind)> {
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    flat(&before.0, &before.1, &TreePath::default(), &mut old);
    flat(&after.0, &after.1, &TreePath::default(), &mut new);
    let paths: std::collections::BTreeSet<&TreePath> = old.keys().chain(new.keys()).collect();
    let kind = |path: &TreePath| match (old.get(path), new.get(path)) {
        (None, _) => Some(ChangeKind::Added),
        (_, None) => Some(ChangeKind::Removed),
        (Some(old), Some(new)) if old.body.kind() != new.body.kind() => Some(ChangeKind::TypeChanged),
        (Some(old), Some(new)) => (!old.same_content(new)).then_some(ChangeKind::Modified),
    };
    paths.into_iter().filter_map(|path| kind(path).map(|kind| (path.clone(), kind))).collect()
}

fn found(objects: &dyn Objects, before: &Snapshot, after: &Snapshot) -> Vec<(TreePath, ChangeKind)> {
    let (changes, more) = block_on(diff(objects, before, after, usize::MAX)).unwrap();
    assert!(!more);
    changes.into_iter().map(|change| (change.path, change.kind)).collect()
}

fn models() -> impl Strategy<Value = Model> {
    let leaf = prop_oneof![
        4 => (0u64..3, 2u64..5).prop_map(|(content, ino)| Model::Node(file(ino, &"x".repeat(content as usize)))),
        1 => Just(Model::Node(bare_node(Ino(4), Body::Symlink(Content::Inline(Bytes::from_static(b"t"))), 0o777, 0, 0, Time::default()))),
        2 => (20u64..23).prop_map(Model::Link),
    ];
    leaf.prop_recursive(3, 60, 12, |inner| {
        (prop_oneof![Just(0o755u16), Just(0o700)], names(inner, 0..12))
            .prop_map(|(mode, names)| Model::Directory(mode, names))
    })
}

fn names(
    model: impl Strategy<Value = Model>,
    count: std::ops::Range<usize>,
) -> impl Strategy<Value = BTreeMap<String, Model>> {
    prop::collection::btree_map("[a-c]{1,2}", model, count)
}

fn link_tables() -> impl Strategy<Value = BTreeMap<u64, Node>> {
    prop::collection::vec(0usize..3, 3).prop_map(|contents| {
        contents
            .iter()
            .enumerate()
            .map(|(n, content)| (20 + n as u64, file(20 + n as u64, &"l".repeat(*content))))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn equals_a_comparison_of_listings(
        before in (names(models(), 0..20), link_tables()),
        mut after in (names(models(), 0..20), link_tables()),
        keep in prop::collection::vec(any::<bool>(), 20),
        same_links in any::<bool>(),
    ) {
        // Much of it stays the same, so that there is something to skip.
        for ((text, model), keep) in before.0.iter().zip(keep) {
            if keep {
                after.0.insert(text.clone(), model.clone());
            }
        }
        if same_links {
            after.1 = before.1.clone();
        }
        let objects = memory();
        let old = snapshot(&objects, &before.0, &before.1);
        let new = snapshot(&objects, &after.0, &after.1);
        prop_assert_eq!(found(&objects, &old, &new), expected(&before, &after));
    }
}

fn wide(count: usize) -> BTreeMap<String, Model> {
    (0..count).map(|n| (format!("f{n:06}"), Model::Node(file(n as u64 + 10, "same")))).collect()
}

#[test]
fn a_change_in_a_large_directory_is_found_with_few_reads() {
    let objects = Counted::new();
    let mut names = wide(50_000);
    let before = snapshot(&objects, &names, &BTreeMap::new());
    names.insert("f025000".into(), Model::Node(file(1, "other")));
    names.remove("f000000");
    names.insert("new".into(), Model::Node(file(2, "new")));
    let after = snapshot(&objects, &names, &BTreeMap::new());
    *objects.reads.lock() = 0;
    let changes = found(&objects, &before, &after);
    let path = |text: &str| TreePath::parse(text.as_bytes()).unwrap();
    assert_eq!(
        changes,
        [
            (path("f000000"), ChangeKind::Removed),
            (path("f025000"), ChangeKind::Modified),
            (path("new"), ChangeKind::Added)
        ]
    );
    let reads = *objects.reads.lock();
    assert!(reads < 60, "{reads} nodes were read");
}

#[test]
fn times_and_inode_numbers_are_no_change_but_owners_and_attributes_are() {
    let objects = memory();
    let one =
        |node: Node| snapshot(&objects, &BTreeMap::from([("f".to_string(), Model::Node(node))]), &BTreeMap::new());
    let before = one(file(5, "x"));
    let later = Time { seconds: 99, nanos: 1 };
    assert_eq!(found(&objects, &before, &one(Node { mtime: later, ctime: later, ..file(6, "x") })), []);
    let attributes = XattrsRef::Inline(Bytes::from_static(b"\x01\x01a\x01b"));
    for changed in [
        Node { uid: 0, ..file(5, "x") },
        Node { gid: 0, ..file(5, "x") },
        Node { mode: 0o600, ..file(5, "x") },
        Node { xattrs: attributes, ..file(5, "x") },
    ] {
        let kinds: Vec<ChangeKind> =
            found(&objects, &before, &one(changed)).into_iter().map(|change| change.1).collect();
        assert_eq!(kinds, [ChangeKind::Modified]);
    }
}

#[test]
fn the_root_itself_counts_and_the_limit_holds() {
    let objects = memory();
    let before = snapshot(&objects, &wide(3), &BTreeMap::new());
    let mut after = snapshot(&objects, &wide(9), &BTreeMap::new());
    after.root.mode = 0o700;
    let (changes, more) = block_on(diff(&objects, &before, &after, 4)).unwrap();
    assert!(more);
    let paths: Vec<String> = changes.iter().map(|change| change.path.to_string()).collect();
    assert_eq!(paths, ["", "f000003", "f000004", "f000005"]);
}
