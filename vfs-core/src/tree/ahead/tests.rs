//! A walk gets the same with few requests, memory stays bounded, and damage is met where it is and not before.

use super::*;
use crate::error::{Error, Kind};
use crate::object::{Entry, Ino, Node, XattrsRef};
use crate::objects::{MemoryObjects, NewObjects};
use crate::tree::tests::{file, memory, name};
use crate::tree::{self, Entries};

/// Counts requests, and cannot read one of the nodes.
struct Counting {
    objects: MemoryObjects,
    requests: Mutex<usize>,
    lost: Option<ObjectId>,
}

#[async_trait]
impl Objects for Counting {
    fn key(&self) -> &IdKey {
        self.objects.key()
    }

    async fn read_many(&self, ids: &[ObjectId]) -> Result<Vec<Bytes>> {
        *self.requests.lock() += 1;
        match self.lost {
            Some(lost) if ids.contains(&lost) => Err(Error::new(Kind::NotFound, "lost")),
            _ => self.objects.read_many(ids).await,
        }
    }
}

fn directory(text: &str, tree: crate::object::Subtree) -> Entry {
    let body = Body::Directory(tree);
    let node = Node { ino: Ino(7), nlink: 1, xattrs: XattrsRef::None, body, ..file(7, "") };
    Entry { name: name(text), target: Target::Node(node) }
}

/// `width` directories with `width` directories with a file each.
async fn two_levels(objects: &dyn NewObjects, width: usize) -> crate::object::Subtree {
    let mut outer = Vec::new();
    for a in 0..width {
        let mut inner = Vec::new();
        for b in 0..width {
            let leaf = Entry { name: name("f"), target: Target::Node(file(9, &format!("{a} {b}"))) };
            inner.push(directory(&format!("{b:05}"), tree::build(objects, [leaf]).await.unwrap()));
        }
        outer.push(directory(&format!("{a:05}"), tree::build(objects, inner).await.unwrap()));
    }
    tree::build(objects, outer).await.unwrap()
}

/// Names of everything, depth first.
async fn walk(objects: &dyn Objects, root: ObjectId) -> Result<usize> {
    let (mut stack, mut names) = (vec![Entries::new(objects, crate::id::TreeId::from_bytes(root.hash))], 0);
    while let Some(entries) = stack.last_mut() {
        match entries.next().await? {
            None => drop(stack.pop()),
            Some(Entry { target: Target::Node(Node { body: Body::Directory(subtree), .. }), .. }) => {
                names += 1;
                stack.push(Entries::new(objects, subtree.tree));
            }
            Some(_) => names += 1,
        }
    }
    Ok(names)
}

#[tokio::test]
async fn a_walk_takes_few_requests_and_bounded_memory() {
    // The second has more nodes than are held.
    for (width, requests_max) in [(40, 20), (110, 400)] {
        let objects = memory();
        let root: ObjectId = two_levels(&objects, width).await.tree.into();
        let counting = Counting { objects, requests: Mutex::default(), lost: None };
        let ahead = TreesAhead::new(&counting);
        assert_eq!(walk(&ahead, root).await.unwrap(), width + 2 * width * width);
        let requests = *counting.requests.lock();
        assert!(requests <= requests_max, "{requests} requests for {width} * {width} directories");
        let held = ahead.held.lock();
        assert!(held.nodes.len() <= TREES_AHEAD && held.bytes <= 2 * TREES_AHEAD_BYTES);
        assert_eq!(held.bytes, held.nodes.values().map(|ahead| ahead.bytes.len()).sum::<usize>());
    }
}

#[tokio::test]
async fn what_is_lost_is_missed_where_it_is() {
    let objects = memory();
    let root: ObjectId = two_levels(&objects, 20).await.tree.into();
    let last = Entry { name: name("f"), target: Target::Node(file(9, "19 19")) };
    let lost: ObjectId = tree::build(&objects, [last]).await.unwrap().tree.into();
    let counting = Counting { objects, requests: Mutex::default(), lost: Some(lost) };
    let ahead = TreesAhead::new(&counting);
    assert_eq!(ahead.read_many(&[root]).await.unwrap().len(), 1, "it is read ahead, which must not matter");
    assert_eq!(walk(&ahead, root).await.unwrap_err().kind(), Kind::NotFound);
}
