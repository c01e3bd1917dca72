//! The publisher over HTTP behaves as the repo itself: one function, run on both.

use vfs_core::Kind;
use vfs_core::base::{Base, Publisher};
use vfs_core::id::{BlobId, ChunkId, SnapshotId, TreeId, WorkspaceId};
use vfs_core::object::{Body, ChunkRef, Content, Ino, Target, TreeNode};

use super::world::{Mount, TOKEN, World, content, holder, note, who};

/// Publishes, reads back, repeats what may be repeated, and is refused where it must be.
async fn conformance<P: Publisher + Clone>(
    world: &World,
    publisher: impl FnOnce(WorkspaceId) -> P,
    name: &str,
) -> (Vec<ChunkRef>, TreeNode) {
    let id = world.repo.create_workspace(name, None, None).await.unwrap().id;
    let publisher = publisher(id);
    let attached = world.repo.attach(id, holder(1), &who()).await.unwrap();
    let mut mount = Mount::new(publisher.clone(), attached);
    let empty = mount.base;

    // Forty chunks are several batches; equal ones are stored once but named each time.
    let mut chunks: Vec<_> = (0..40).map(|seed| content(seed, 3000 + seed as usize)).collect();
    chunks.push(chunks[3].clone());
    let refs = mount.send(b"file", &chunks).await.unwrap();
    assert_eq!(refs.len(), 41);
    assert_eq!(refs[3], refs[40]);
    let published = publisher.commit(&mount.lease, mount.position, note("first")).await.unwrap();
    assert_eq!(publisher.commit(&mount.lease, mount.position, note("first")).await.unwrap(), published);
    assert_eq!(world.repo.workspace(name).await.unwrap().head, published.snapshot);
    let blob = publisher.blob(published.blobs[0].1).await.unwrap();
    assert_eq!(blob.extents().len(), 82);
    let read = publisher.chunks(&refs).await.unwrap();
    assert!(read == chunks, "other content came back");
    let (ino, subtree) = published.trees[0];
    assert_eq!(ino, Ino::ROOT);
    let nodes = publisher.trees(&[subtree.tree, subtree.tree]).await.unwrap();
    assert_eq!(nodes[0], nodes[1]);

    let first = publisher.allocate_inos(&mount.lease, 10).await.unwrap();
    assert!(publisher.allocate_inos(&mount.lease, 1).await.unwrap().0 >= first.0 + 10);
    let kind = |result: vfs_core::Result<()>| result.unwrap_err().kind();
    let unknown = SnapshotId::from_bytes([9; 32]);
    assert_eq!(kind(publisher.begin(&mount.lease, unknown, 999).await), Kind::Conflict);
    assert_eq!(publisher.put_chunks(&mount.lease, 999, vec![content(1, 5)]).await.unwrap_err().kind(), Kind::Conflict);
    assert!(publisher.put_chunks(&mount.lease, 999, vec![bytes::Bytes::new()]).await.is_err());
    // The same position on the old base: the answer was lost, and comes again.
    publisher.begin(&mount.lease, empty, mount.position).await.unwrap();
    assert_eq!(publisher.trees(&[TreeId::from_bytes([9; 32])]).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(publisher.blob(BlobId::from_bytes([9; 32])).await.unwrap_err().kind(), Kind::NotFound);
    let missing = ChunkRef { id: ChunkId::from_bytes([9; 32]), ..refs[0] };
    assert_eq!(publisher.chunks(&[missing]).await.unwrap_err().kind(), Kind::NotFound);

    world.repo.attach(id, holder(1), &who()).await.unwrap();
    assert_eq!(kind(publisher.begin(&mount.lease, published.snapshot, 2000).await), Kind::LeaseLost);
    assert_eq!(publisher.allocate_inos(&mount.lease, 1).await.unwrap_err().kind(), Kind::LeaseLost);
    (refs, (*nodes[0]).clone())
}

fn file_content(node: &TreeNode) -> Content {
    let TreeNode::Leaf(entries) = node else { panic!("one file makes a leaf") };
    match &entries[0].target {
        Target::Node(node) => match &node.body {
            Body::File(content) => content.clone(),
            other => panic!("{other:?}"),
        },
        Target::Link(_) => panic!("not linked"),
    }
}

#[tokio::test]
async fn publishing_over_http_is_publishing() {
    let world = World::new().await;
    let direct = conformance(&world, |_| world.repo.clone(), "direct").await;
    for (name, client) in [("socket", world.client.clone()), ("tcp", world.over_tcp(TOKEN))] {
        let far = conformance(&world, |id| client.holder(id), name).await;
        assert_eq!(far.0, direct.0, "{name}");
        assert_eq!(file_content(&far.1), file_content(&direct.1), "{name}");
    }
}

#[tokio::test]
async fn content_that_is_not_what_it_should_be_is_refused_by_the_client() {
    let world = World::new().await;
    let id = world.repo.create_workspace("w", None, None).await.unwrap().id;
    let client = world.client.holder(id);
    let attached = client.attach(holder(1), &who()).await.unwrap();
    let mut mount = Mount::new(client.clone(), attached);
    let refs = mount.send(b"a", &[content(1, 500), content(2, 500)]).await.unwrap();
    client.commit(&mount.lease, mount.position, note("a")).await.unwrap();
    // The engine would send the first chunk's bytes; the mount knows that it wants others.
    let swapped = ChunkRef { id: refs[0].id, ..refs[1] };
    assert_eq!(client.chunks(&[swapped]).await.unwrap_err().kind(), Kind::Corrupt);
    client.detach(&mount.lease).await.unwrap();
    client.detach(&mount.lease).await.unwrap();
    assert!(world.repo.workspace("w").await.unwrap().holder.is_none());
}

#[tokio::test]
async fn a_holder_elsewhere_is_busy_and_the_same_one_gets_a_new_epoch() {
    let world = World::new().await;
    let id = world.repo.create_workspace("w", None, None).await.unwrap().id;
    let client = world.client.holder(id);
    let one = client.attach(holder(1), &who()).await.unwrap();
    assert_eq!(one.snapshot, world.repo.snapshot(one.head).await.unwrap());
    assert_eq!(client.attach(holder(2), &who()).await.unwrap_err().kind(), Kind::Busy);
    let again = client.attach(holder(1), &who()).await.unwrap();
    assert!(again.lease.epoch > one.lease.epoch);
}
