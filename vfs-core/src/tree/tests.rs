//! Equality of edits and full builds, costs, lookups, walks.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use futures::executor::block_on;
use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;
use crate::change::bare_node;
use crate::clock::Time;
use crate::id::{IdKey, ObjectKind};
use crate::name::Name;
use crate::object::Content;
use crate::objects::{MemoryObjects, NewObjects};

/// Objects in memory that count what is added and read.
pub(crate) struct Counted {
    pub(crate) inner: MemoryObjects,
    pub(crate) added_bytes: Mutex<usize>,
    pub(crate) reads: Mutex<usize>,
}

impl Counted {
    pub(crate) fn new() -> Self {
        let inner = MemoryObjects::new(IdKey::golden());
        Counted { inner, added_bytes: Mutex::default(), reads: Mutex::default() }
    }
}

#[async_trait]
impl Objects for Counted {
    fn key(&self) -> &IdKey {
        self.inner.key()
    }
    async fn read_many(&self, ids: &[ObjectId]) -> Result<Vec<Bytes>> {
        *self.reads.lock() += ids.len();
        self.inner.read_many(ids).await
    }
}

#[async_trait]
impl NewObjects for Counted {
    async fn add(&self, kind: ObjectKind, canonical: Bytes) -> Result<ObjectId> {
        *self.added_bytes.lock() += canonical.len();
        self.inner.add(kind, canonical).await
    }
}

pub(crate) fn memory() -> MemoryObjects {
    MemoryObjects::new(IdKey::golden())
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

pub(crate) fn file(ino: u64, content: &str) -> Node {
    let body = Body::File(Content::Inline(Bytes::copy_from_slice(content.as_bytes())));
    bare_node(Ino(ino), body, 0o644, 1000, 1000, Time { seconds: 1, nanos: 2 })
}

fn entry(text: &str, content: &str) -> Entry {
    Entry { name: name(text), target: Target::Node(file(7, content)) }
}

fn full(objects: &MemoryObjects, model: &BTreeMap<Name, Target>) -> Subtree {
    let entries = model.iter().map(|(name, target)| Entry { name: name.clone(), target: target.clone() });
    block_on(build(objects, entries)).unwrap()
}

fn listed(objects: &dyn Objects, tree: TreeId) -> BTreeMap<Name, Target> {
    let mut entries = Entries::new(objects, tree);
    let mut list = Vec::new();
    while let Some(entry) = block_on(entries.next()).unwrap() {
        list.push(entry);
    }
    assert!(list.is_sorted_by(|a, b| a.name < b.name));
    list.into_iter().map(|entry| (entry.name, entry.target)).collect()
}

fn numbered(count: usize) -> impl Iterator<Item = Entry> {
    (0..count).map(|n| entry(&format!("file-{n:07}"), "x"))
}

#[test]
fn every_size_is_listed_and_found() {
    let objects = memory();
    for size in (0..200).chain([1000, 5000]) {
        let subtree = block_on(build(&objects, numbered(size))).unwrap();
        assert_eq!(subtree.totals.entries, size as u64);
        assert_eq!(listed(&objects, subtree.tree).len(), size);
        for n in [0, size / 2, size.saturating_sub(1)] {
            let found = block_on(lookup(&objects, subtree.tree, format!("file-{n:07}").as_bytes())).unwrap();
            assert_eq!(found.is_some(), n < size);
        }
        for missing in ["a", "file-", "z"] {
            assert!(block_on(lookup(&objects, subtree.tree, missing.as_bytes())).unwrap().is_none());
        }
    }
}

#[test]
fn a_walk_starts_behind_a_name() {
    let objects = memory();
    let subtree = block_on(build(&objects, numbered(3000))).unwrap();
    for start in [0, 1, 31, 63, 64, 1500, 2998, 2999] {
        let mut rest = Entries::after(&objects, subtree.tree, format!("file-{start:07}").as_bytes());
        let next = block_on(rest.next()).unwrap();
        let expected = (start < 2999).then(|| name(&format!("file-{:07}", start + 1)));
        assert_eq!(next.map(|entry| entry.name), expected);
        let mut count = 1;
        while block_on(rest.next()).unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, (2999 - start).max(1));
    }
}

#[test]
fn names_out_of_order_are_refused() {
    let objects = memory();
    for names in [["b", "a"], ["a", "a"]] {
        let result = block_on(build(&objects, names.map(|name| entry(name, ""))));
        assert_eq!(result.unwrap_err().kind(), Kind::Invalid);
    }
}

#[test]
fn one_changed_name_in_a_large_directory_costs_kilobytes() {
    let objects = Counted::new();
    let size = 100_000;
    let subtree = block_on(build(&objects, numbered(size))).unwrap();
    for n in [0, size / 2, size - 1] {
        for change in [Some(Target::Node(file(9, "other"))), None] {
            (*objects.added_bytes.lock(), *objects.reads.lock()) = (0, 0);
            let changes = Changes::from([(name(&format!("file-{n:07}")), change)]);
            let edited = block_on(edit(&objects, Some(subtree.tree), changes)).unwrap();
            assert_ne!(edited, subtree);
            let (bytes, reads) = (*objects.added_bytes.lock(), *objects.reads.lock());
            assert!(bytes < 64 * 1024, "{bytes} bytes were added");
            assert!(reads < 24, "{reads} nodes were read");
        }
    }
}

/// Names behind the last one leave the nodes before them as they are, also where the last one had ended by itself.
#[test]
fn names_at_the_edges_of_every_size_equal_a_full_build() {
    let objects = memory();
    for size in 0..300 {
        let base = block_on(build(&objects, numbered(size))).unwrap();
        for more in [1, 10, 100] {
            let behind: Vec<Entry> = (0..more).map(|n| entry(&format!("g{n:03}"), "y")).collect();
            let before: Vec<Entry> = (0..more).map(|n| entry(&format!("a{n:03}"), "y")).collect();
            let changes = |new: &[Entry]| {
                new.iter().map(|entry| (entry.name.clone(), Some(entry.target.clone()))).collect::<Changes>()
            };
            let edited = block_on(edit(&objects, Some(base.tree), changes(&behind))).unwrap();
            assert_eq!(edited, block_on(build(&objects, numbered(size).chain(behind))).unwrap(), "{size} + {more}");
            let edited = block_on(edit(&objects, Some(base.tree), changes(&before))).unwrap();
            assert_eq!(edited, block_on(build(&objects, before.into_iter().chain(numbered(size)))).unwrap());
        }
    }
}

#[test]
fn edits_that_change_nothing_give_the_same_tree() {
    let objects = memory();
    for size in [0, 1, 40, 5000] {
        let subtree = block_on(build(&objects, numbered(size))).unwrap();
        assert_eq!(block_on(edit(&objects, Some(subtree.tree), Changes::new())).unwrap(), subtree);
        let mut changes = Changes::from([(name("zzz"), None)]);
        if size > 0 {
            changes.insert(name("file-0000000"), Some(Target::Node(file(7, "x"))));
        }
        assert_eq!(block_on(edit(&objects, Some(subtree.tree), changes)).unwrap(), subtree);
    }
}

#[test]
fn a_child_that_is_not_where_it_belongs_is_refused() {
    let objects = memory();
    let subtree = block_on(build(&objects, numbered(300))).unwrap();
    let TreeNode::Interior { level, mut children } = block_on(read_node(&objects, subtree.tree)).unwrap() else {
        panic!("300 names are more than one node")
    };
    children[1].subtree = children[2].subtree;
    let forged = block_on(builder::store(&objects, &TreeNode::Interior { level, children })).unwrap();
    let mut entries = Entries::new(&objects, forged.tree);
    let error = loop {
        match block_on(entries.next()) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the forged tree was read to its end"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), Kind::Corrupt);
}

#[test]
fn paths_resolve_through_directories_and_the_link_table() {
    let objects = memory();
    let linked_node = Node { nlink: 2, ..file(20, "shared") };
    let links =
        block_on(build(&objects, [Entry { name: link_name(Ino(20)), target: Target::Node(linked_node.clone()) }]));
    let inner = block_on(build(
        &objects,
        [Entry { name: name("hard"), target: Target::Link(Ino(20)) }, entry("plain", "content")],
    ));
    let directory = |ino, subtree| bare_node(Ino(ino), Body::Directory(subtree), 0o755, 0, 0, Time::default());
    let inner = directory(2, inner.unwrap());
    let root = block_on(build(&objects, [Entry { name: name("inner"), target: Target::Node(inner.clone()) }])).unwrap();
    let snapshot = snapshot_of(directory(1, root), Some(links.unwrap()));
    let at = |path: &str| block_on(resolve(&objects, &snapshot, &TreePath::parse(path.as_bytes()).unwrap()));
    assert_eq!(at("").unwrap(), snapshot.root);
    assert_eq!(at("inner").unwrap(), inner);
    assert_eq!(at("/inner/hard").unwrap(), linked_node);
    assert_eq!(at("inner/plain").unwrap(), file(7, "content"));
    assert_eq!(at("inner/none").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(at("inner/plain/x").unwrap_err().kind(), Kind::NotADirectory);
    let broken = snapshot_of(snapshot.root.clone(), None);
    let error = block_on(resolve(&objects, &broken, &TreePath::parse(b"inner/hard").unwrap())).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
}

pub(crate) fn snapshot_of(root: Node, links: Option<Subtree>) -> Snapshot {
    Snapshot {
        root,
        links,
        parents: Vec::new(),
        author: String::new(),
        time: Time::default(),
        message: String::new(),
        automatic: false,
        provenance: Default::default(),
    }
}

/// Short names from few letters, so that edits hit old names often, with a common prefix now and then.
fn names() -> impl Strategy<Value = Name> {
    prop::collection::vec(0u8..6, 1..6)
        .prop_map(|bytes| Name::new(&bytes.iter().map(|b| b'a' + b).collect::<Vec<_>>()).unwrap())
}

fn contents() -> impl Strategy<Value = Target> {
    (0u64..4).prop_map(|n| Target::Node(file(n + 2, &"x".repeat(n as usize))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn an_edit_equals_a_full_build(
        base in prop::collection::btree_map(names(), contents(), 0..1500),
        rounds in prop::collection::vec(prop::collection::btree_map(names(), prop::option::of(contents()), 0..120), 1..4),
        keep in 0usize..3,
    ) {
        let objects = memory();
        let mut model = base;
        let mut subtree = full(&objects, &model);
        for mut changes in rounds {
            // Now and then most of the directory goes.
            if keep == 0 {
                for name in model.keys().skip(3) {
                    changes.entry(name.clone()).or_insert(None);
                }
            }
            for (name, target) in &changes {
                match target {
                    Some(target) => model.insert(name.clone(), target.clone()),
                    None => model.remove(name),
                };
            }
            subtree = block_on(edit(&objects, Some(subtree.tree), changes)).unwrap();
            prop_assert_eq!(subtree, full(&objects, &model));
        }
        prop_assert_eq!(listed(&objects, subtree.tree), model);
    }
}
