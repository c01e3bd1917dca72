//! The workspace against an engine in memory: single behaviours here, random ones in `model`.

mod engine;
mod model;
mod quota;

use std::sync::Arc;

use super::*;
use crate::base::PublishNote;
use crate::id::HolderId;
use crate::object::FileKind;
use engine::{TestClock, TestEngine, WORKSPACE};

/// A holder's folder and the engine it publishes to.
pub(super) struct World {
    pub(super) engine: Arc<TestEngine>,
    pub(super) folder: tempfile::TempDir,
    pub(super) clock: Arc<TestClock>,
}

impl World {
    pub(super) fn new() -> World {
        World { engine: TestEngine::new(), folder: tempfile::tempdir().unwrap(), clock: Arc::default() }
    }

    pub(super) async fn open(&self) -> Result<Arc<Workspace>> {
        let info = HolderInfo { pid: 1, mountpoint: "/test".into() };
        let folder = HolderFolder::lock(self.folder.path(), WORKSPACE, &info, HolderId::from_bytes([7; 16]))?;
        let attached = self.engine.attach(folder.holder_id());
        Workspace::open(folder, attached, self.engine.clone(), self.clock.clone()).await
    }
}

/// Asks again until nothing is missing.
pub(super) async fn ask<T>(workspace: &Workspace, mut operation: impl FnMut() -> Answer<T>) -> Result<T> {
    for _ in 0..100 {
        match operation() {
            Ok(answer) => return Ok(answer),
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::Miss(miss)) => workspace.fill(miss).await?,
        }
    }
    panic!("an operation misses something again and again");
}

fn file(mode: u16) -> NewNode<'static> {
    NewNode { kind: FileKind::File, mode, uid: 1000, gid: 1000, rdev: 0, target: b"" }
}

async fn make(workspace: &Workspace, name: &[u8]) -> Ino {
    ask(workspace, || workspace.make(Ino::ROOT, name, &file(0o644))).await.unwrap().ino
}

async fn read_all(workspace: &Workspace, ino: Ino) -> Vec<u8> {
    ask(workspace, || workspace.read(ino, 0, 1 << 24)).await.unwrap().to_vec()
}

fn note(message: &str) -> PublishNote {
    PublishNote { message: message.into(), ..PublishNote::default() }
}

#[tokio::test]
async fn what_was_written_is_there_after_a_kill_and_after_a_checkpoint() {
    let world = World::new();
    let workspace = world.open().await.unwrap();
    let ino = make(&workspace, b"a").await;
    ask(&workspace, || workspace.write(ino, 3, b"hello", false)).await.unwrap();
    drop(workspace);

    let workspace = world.open().await.unwrap();
    let attr = ask(&workspace, || workspace.lookup(Ino::ROOT, b"a")).await.unwrap();
    assert_eq!((attr.ino, attr.size), (ino, 8));
    assert_eq!(read_all(&workspace, ino).await, b"\0\0\0hello");
    let snapshot = workspace.checkpoint(note("one")).await.unwrap();
    assert_eq!(world.engine.head(), snapshot);
    assert_eq!(workspace.status().changed_inodes, 0);
    drop(workspace);

    let workspace = world.open().await.unwrap();
    let again = ask(&workspace, || workspace.lookup(Ino::ROOT, b"a")).await.unwrap();
    assert_eq!((again.ino, again.mtime, again.ctime), (attr.ino, attr.mtime, attr.ctime));
    assert_eq!(read_all(&workspace, ino).await, b"\0\0\0hello");
}

#[tokio::test]
async fn a_publish_whose_answer_was_lost_is_taken_over_at_the_next_attach() {
    let world = World::new();
    let workspace = world.open().await.unwrap();
    let ino = make(&workspace, b"a").await;
    ask(&workspace, || workspace.write(ino, 0, &[5; 3000], false)).await.unwrap();
    world.engine.lose_answers(true);
    assert!(workspace.checkpoint(note("lost")).await.is_err());
    let head = world.engine.head();
    ask(&workspace, || workspace.write(ino, 3000, b"later", false)).await.unwrap();
    drop(workspace);
    world.engine.lose_answers(false);

    let workspace = world.open().await.unwrap();
    assert_eq!(workspace.base(), head);
    let content = read_all(&workspace, ino).await;
    assert_eq!((&content[..3000], &content[3000..]), (&[5; 3000][..], &b"later"[..]));
}

#[tokio::test]
async fn a_second_holder_of_the_folder_is_told_who_has_it() {
    let world = World::new();
    let _first = world.open().await.unwrap();
    let error = world.open().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    assert!(error.to_string().contains("process 1 at /test"), "{error}");
}

#[tokio::test]
async fn work_on_a_base_that_is_not_the_head_any_more_is_put_aside() {
    let world = World::new();
    let workspace = world.open().await.unwrap();
    make(&workspace, b"base").await;
    workspace.checkpoint(note("one")).await.unwrap();
    make(&workspace, b"unpublished").await;
    drop(workspace);
    world.engine.move_head_elsewhere().await;

    let workspace = world.open().await.unwrap();
    assert!(ask(&workspace, || workspace.lookup(Ino::ROOT, b"unpublished")).await.is_err());
    let aside: Vec<_> = std::fs::read_dir(world.folder.path().join("lost+found")).unwrap().collect();
    assert_eq!(aside.len(), 1);
    make(&workspace, b"more").await;
    workspace.checkpoint(note("two")).await.unwrap();
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_and_damage_in_synced_records_is_refused() {
    let world = World::new();
    let workspace = world.open().await.unwrap();
    make(&workspace, b"first").await;
    workspace.sync_position().await.unwrap();
    make(&workspace, b"second").await;
    make(&workspace, b"third").await;
    drop(workspace);
    let segment = folder::segment_paths(world.folder.path()).unwrap().remove(0);
    let whole = std::fs::read(&segment).unwrap();

    std::fs::write(&segment, &whole[..whole.len() - 3]).unwrap();
    let workspace = world.open().await.unwrap();
    assert!(ask(&workspace, || workspace.lookup(Ino::ROOT, b"second")).await.is_ok());
    assert!(ask(&workspace, || workspace.lookup(Ino::ROOT, b"third")).await.is_err());
    drop(workspace);

    for path in folder::segment_paths(world.folder.path()).unwrap() {
        std::fs::remove_file(path).unwrap();
    }
    let header = 8 + 16 + 8;
    let mut damaged = whole;
    damaged[header + 20] ^= 1;
    std::fs::write(&segment, &damaged).unwrap();
    let error = world.open().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert_eq!(std::fs::read(&segment).unwrap(), damaged, "nothing was changed");
}

#[tokio::test]
async fn open_files_outlive_their_last_name_and_checkpoints() {
    let world = World::new();
    let workspace = world.open().await.unwrap();
    let ino = make(&workspace, b"a").await;
    ask(&workspace, || workspace.write(ino, 0, b"still here", false)).await.unwrap();
    ask(&workspace, || workspace.unlink(Ino::ROOT, b"a")).await.unwrap();
    workspace.checkpoint(note("without")).await.unwrap();
    assert_eq!(read_all(&workspace, ino).await, b"still here");
    ask(&workspace, || workspace.write(ino, 0, b"STILL", false)).await.unwrap();
    assert_eq!(read_all(&workspace, ino).await, b"STILL here");
    make(&workspace, b"b").await;
    drop(workspace);
    let workspace = world.open().await.unwrap();
    assert_eq!(ask(&workspace, || workspace.getattr(ino)).await.unwrap_err().kind(), Kind::Stale);
    assert!(ask(&workspace, || workspace.lookup(Ino::ROOT, b"b")).await.is_ok());
}

#[tokio::test]
async fn a_swap_tells_what_to_forget_and_keeps_what_is_the_same() {
    let world = World::new();
    let workspace = world.open().await.unwrap();
    let kept = make(&workspace, b"kept").await;
    let changed = make(&workspace, b"changed").await;
    ask(&workspace, || workspace.write(changed, 0, b"old", false)).await.unwrap();
    let first = workspace.checkpoint(note("one")).await.unwrap();
    ask(&workspace, || workspace.write(changed, 0, b"new", false)).await.unwrap();
    make(&workspace, b"added").await;
    workspace.checkpoint_and_freeze(note("two")).await.unwrap();
    assert!(matches!(workspace.write(kept, 0, b"x", false), Err(Stop::Miss(Miss::Thaw))));

    let (id, snapshot) = world.engine.restore(first);
    let list = workspace.swap_base(id, snapshot).await.unwrap();
    let added = Name::new(b"added").unwrap();
    assert!(list.contains(&Invalidation::Entry(Ino::ROOT, added)));
    assert!(list.contains(&Invalidation::Inode(changed)));
    assert_eq!(read_all(&workspace, changed).await, b"old");
    assert!(ask(&workspace, || workspace.lookup(Ino::ROOT, b"added")).await.is_err());
    ask(&workspace, || workspace.write(kept, 0, b"x", false)).await.unwrap();
    workspace.checkpoint(note("three")).await.unwrap();
}

#[tokio::test]
async fn a_listing_goes_on_while_names_are_removed() {
    let world = World::new();
    let workspace = world.open().await.unwrap();
    for index in 0..500 {
        make(&workspace, format!("f{index:03}").as_bytes()).await;
    }
    workspace.checkpoint(note("all")).await.unwrap();
    let (mut cookie, mut seen) = (0, Vec::new());
    loop {
        let mut batch = Vec::new();
        let mut next = cookie;
        ask(&workspace, || {
            batch.clear();
            next = cookie;
            workspace.list(Ino::ROOT, cookie, false, &mut |listed| {
                if batch.len() == 40 {
                    return false;
                }
                batch.push(listed.name.to_vec());
                next = listed.cookie;
                true
            })
        })
        .await
        .unwrap();
        if batch.is_empty() {
            break;
        }
        cookie = next;
        for name in batch.iter().filter(|name| !name.starts_with(b".")) {
            ask(&workspace, || workspace.unlink(Ino::ROOT, name)).await.unwrap();
        }
        workspace.checkpoint(note("some")).await.unwrap();
        seen.extend(batch);
    }
    assert_eq!(seen.len(), 502);
}

#[tokio::test]
async fn a_slow_listing_misses_nothing_while_others_list_and_remove() {
    let world = World::new();
    let workspace = world.open().await.unwrap();
    for index in 0..300 {
        make(&workspace, format!("f{index:03}").as_bytes()).await;
    }
    let page = |cookie: u64, limit: usize| {
        let mut names = Vec::new();
        let mut next = cookie;
        let add = &mut |listed: Listed<'_>| {
            if names.len() == limit {
                return false;
            }
            names.push(listed.name.to_vec());
            next = listed.cookie;
            true
        };
        workspace.list(Ino::ROOT, cookie, false, add).unwrap();
        (names, next)
    };
    let (mut seen, cookie) = page(0, 60);
    page(0, 1000);
    for name in seen.iter().filter(|name| !name.starts_with(b".")).take(50) {
        workspace.unlink(Ino::ROOT, name).unwrap();
    }
    page(0, 1000);
    seen.extend(page(cookie, 1000).0);
    assert_eq!(seen.len(), 302, "each name once");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 302);
}

#[tokio::test]
async fn a_group_commit_answers_everybody() {
    let world = World::new();
    let workspace = world.open().await.unwrap();
    make(&workspace, b"a").await;
    let (send, receive) = std::sync::mpsc::channel();
    for _ in 0..20 {
        let send = send.clone();
        workspace.sync(Box::new(move |result| send.send(result.is_ok()).unwrap()));
    }
    assert!((0..20).all(|_| receive.recv_timeout(std::time::Duration::from_secs(10)).unwrap()));
    assert_eq!(workspace.status().unsynced_bytes, 0);
}

#[tokio::test]
async fn a_file_that_had_two_names_for_a_moment_does_not_stay_in_the_link_table() {
    let world = World::new();
    let workspace = world.open().await.unwrap();
    let ino = make(&workspace, b"temporary").await;
    ask(&workspace, || workspace.link(ino, Ino::ROOT, b"final")).await.unwrap();
    ask(&workspace, || workspace.unlink(Ino::ROOT, b"temporary")).await.unwrap();
    workspace.checkpoint(note("one name")).await.unwrap();
    assert!(!world.engine.has_link_table());

    ask(&workspace, || workspace.link(ino, Ino::ROOT, b"second")).await.unwrap();
    workspace.checkpoint(note("two names")).await.unwrap();
    assert!(world.engine.has_link_table());
    ask(&workspace, || workspace.unlink(Ino::ROOT, b"final")).await.unwrap();
    ask(&workspace, || workspace.link(ino, Ino::ROOT, b"third")).await.unwrap();
    ask(&workspace, || workspace.unlink(Ino::ROOT, b"third")).await.unwrap();
    drop(workspace);
    let workspace = world.open().await.unwrap();
    workspace.checkpoint(note("one again")).await.unwrap();
    let attr = ask(&workspace, || workspace.lookup(Ino::ROOT, b"second")).await.unwrap();
    assert_eq!((attr.ino, attr.nlink), (ino, 1));
}

#[tokio::test]
async fn damage_in_the_last_records_is_refused_once_the_journal_has_been_quiet() {
    let world = World::new();
    let workspace = world.open().await.unwrap();
    let ino = make(&workspace, b"a").await;
    ask(&workspace, || workspace.write(ino, 0, &[9; 5000], false)).await.unwrap();
    tokio::time::sleep(crate::limits::COMMIT_INTERVAL * 5 / 2).await;
    drop(workspace);
    let segment = folder::segment_paths(world.folder.path()).unwrap().remove(0);
    let mut damaged = std::fs::read(&segment).unwrap();
    let middle = damaged.len() - 2000;
    damaged[middle] ^= 1;
    std::fs::write(&segment, &damaged).unwrap();
    assert_eq!(world.open().await.unwrap_err().kind(), Kind::Corrupt);
}

#[tokio::test]
async fn a_live_mount_goes_on_after_a_lost_answer() {
    let world = World::new();
    let workspace = world.open().await.unwrap();
    let ino = make(&workspace, b"a").await;
    world.engine.lose_answers(true);
    assert!(workspace.checkpoint(note("lost")).await.is_err());
    world.engine.lose_answers(false);
    ask(&workspace, || workspace.write(ino, 0, b"after", false)).await.unwrap();
    let snapshot = workspace.checkpoint(note("found")).await.unwrap();
    assert_eq!(world.engine.head(), snapshot);
    drop(workspace);
    let workspace = world.open().await.unwrap();
    assert_eq!(ask(&workspace, || workspace.lookup(Ino::ROOT, b"a")).await.unwrap().ino, ino);
    assert_eq!(read_all(&workspace, ino).await, b"after");
}

#[tokio::test]
async fn a_swap_brings_back_the_content_of_hard_links() {
    let world = World::new();
    let workspace = world.open().await.unwrap();
    let ino = make(&workspace, b"one").await;
    ask(&workspace, || workspace.link(ino, Ino::ROOT, b"two")).await.unwrap();
    ask(&workspace, || workspace.write(ino, 0, b"old", false)).await.unwrap();
    let first = workspace.checkpoint(note("old")).await.unwrap();
    ask(&workspace, || workspace.write(ino, 0, b"new", false)).await.unwrap();
    workspace.checkpoint_and_freeze(note("new")).await.unwrap();
    let (id, snapshot) = world.engine.restore(first);
    let list = workspace.swap_base(id, snapshot).await.unwrap();
    assert!(list.contains(&Invalidation::Inode(ino)));
    for name in [b"one", b"two"] {
        let attr = ask(&workspace, || workspace.lookup(Ino::ROOT, name)).await.unwrap();
        assert_eq!(read_all(&workspace, attr.ino).await, b"old");
    }
}

#[tokio::test]
async fn an_open_file_without_a_name_keeps_only_the_segment_it_needs() {
    let world = World::new();
    let workspace = world.open().await.unwrap();
    let ino = make(&workspace, b"gone").await;
    ask(&workspace, || workspace.write(ino, 0, b"kept", false)).await.unwrap();
    ask(&workspace, || workspace.unlink(Ino::ROOT, b"gone")).await.unwrap();
    for index in 0..20 {
        make(&workspace, format!("f{index}").as_bytes()).await;
        workspace.checkpoint(note("more")).await.unwrap();
    }
    assert_eq!(read_all(&workspace, ino).await, b"kept");
    assert!(workspace.state.lock().journal.as_ref().unwrap().open_segments() <= 3);
}
