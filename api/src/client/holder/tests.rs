//! How chunks and change sets are cut for their way.

use vfs_core::change::{DirectoryChange, NodeChange, bare_node};
use vfs_core::clock::Time;
use vfs_core::name::Name;
use vfs_core::object::{Body, Content};

use super::*;

#[test]
fn batches_keep_all_items_in_order_within_both_limits() {
    assert!(batches(&[]).is_empty());
    assert_eq!(batches(&[1, 1]).as_slice(), std::slice::from_ref(&(0..2)));
    assert_eq!(batches(&[1; BATCH_CHUNKS_MAX + 1]), [0..BATCH_CHUNKS_MAX, BATCH_CHUNKS_MAX..BATCH_CHUNKS_MAX + 1]);
    assert_eq!(batches(&[BATCH_CHUNK_BYTES, 1, BATCH_CHUNK_BYTES + 5, 1]), [0..1, 1..2, 2..3, 3..4]);
}

fn changes(nodes: u64, names: usize, unlinked: u64) -> ChangeSet {
    let file =
        |ino| bare_node(Ino(ino), Body::File(Content::Inline(vec![7; 200].into())), 0o644, 0, 0, Time::default());
    let directory = |ino| DirectoryChange {
        ino: Ino(ino),
        upserts: vec![],
        removals: (0..names).map(|name| Name::new(format!("{name:0>200}").as_bytes()).unwrap()).collect(),
    };
    ChangeSet {
        nodes: (0..nodes).map(|ino| NodeChange { node: file(ino + 2), extents: None, linked: false }).collect(),
        directories: (0..2).map(directory).collect(),
        unlinked: (0..unlinked).map(Ino).collect(),
    }
}

#[test]
fn a_large_change_set_travels_in_parts_that_add_up() {
    let whole = changes(50_000, 30_000, 3);
    assert!(whole.encode().len() > 3 * CHANGES_PART_BYTES);
    let parts = parts(whole.clone());
    let mut sum = ChangeSet::default();
    for part in &parts {
        let part = ChangeSet::decode(part).unwrap();
        let items = part.nodes.len() + part.directories.len() + part.unlinked.len();
        assert!(part.encode().len() <= CHANGES_PART_BYTES || items == 1);
        sum.nodes.extend(part.nodes);
        sum.directories.extend(part.directories);
        sum.unlinked.extend(part.unlinked);
    }
    assert!(sum == whole, "parts do not add up");
    assert!(parts.len() > 3);
}

#[test]
fn a_single_large_directory_does_not_cut_for_ever() {
    let parts = parts(changes(0, 50_000, 1));
    assert_eq!(parts.len(), 3);
}

#[test]
fn an_empty_change_set_is_one_part() {
    assert_eq!(parts(ChangeSet::default()).len(), 1);
}
