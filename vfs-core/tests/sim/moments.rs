//! P14: a snapshot is one moment. Writers change a workspace while checkpoints and forks are taken; each snapshot is a
//! state that the model went through, and later snapshots are later states.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use vfs_core::Result;
use vfs_core::base::PublishNote;
use vfs_core::clock::SystemClock;
use vfs_core::id::HolderId;
use vfs_core::object::{FileKind, Ino};
use vfs_core::repo::{HolderDescription, Repo};
use vfs_core::testing::Random;
use vfs_core::workspace::{Answer, HolderFolder, HolderInfo, NewNode, RenameMode, Stop, Workspace};

use crate::files::{Files, content, files};
use crate::worlds::seeds;

/// Every state that the workspace went through, the newest last.
type States = Arc<Mutex<Vec<Files>>>;

/// One change of the workspace and of the model at once; what is missing is fetched between attempts.
async fn change<T>(
    workspace: &Workspace,
    states: &States,
    operation: impl Fn() -> Answer<T>,
    model: impl Fn(&mut Files),
) -> Result<Option<T>> {
    loop {
        let miss = {
            let mut states = states.lock();
            match operation() {
                Ok(answer) => {
                    let mut next = states.last().cloned().unwrap_or_default();
                    model(&mut next);
                    states.push(next);
                    return Ok(Some(answer));
                }
                Err(Stop::Failed(_)) => return Ok(None),
                Err(Stop::Miss(miss)) => miss,
            }
        };
        workspace.fill(miss).await?;
    }
}

async fn write(workspace: Arc<Workspace>, states: States, mut random: Random, writer: u64, operations: u64) {
    let file = NewNode { kind: FileKind::File, mode: 0o644, uid: 1, gid: 1, rdev: 0, target: b"" };
    for number in 0..operations {
        // Names of its own, so that it knows what is there without asking.
        let name = format!("w{writer}-{}", random.below(4));
        let other = format!("w{writer}-{}", random.below(4));
        let has = states.lock().last().is_some_and(|state| state.contains_key(&name));
        let at = name.as_bytes();
        if !has {
            let made = |state: &mut Files| drop(state.insert(name.clone(), Bytes::new()));
            change(&workspace, &states, || workspace.make(Ino::ROOT, at, &file), made).await.unwrap();
        } else if random.percent(20) && name != other {
            let renamed = |state: &mut Files| {
                let moved = state.remove(&name).unwrap();
                state.insert(other.clone(), moved);
            };
            let rename = || workspace.rename(Ino::ROOT, at, Ino::ROOT, other.as_bytes(), RenameMode::Replace);
            change(&workspace, &states, rename, renamed).await.unwrap();
        } else if random.percent(15) {
            let gone = |state: &mut Files| drop(state.remove(&name));
            change(&workspace, &states, || workspace.unlink(Ino::ROOT, at), gone).await.unwrap();
        } else {
            let bytes = content(writer * 1000 + number);
            let written = |state: &mut Files| {
                let mut old = state[&name].to_vec();
                old.resize(old.len().max(bytes.len()), 0);
                old[..bytes.len()].copy_from_slice(&bytes);
                state.insert(name.clone(), old.into());
            };
            let write = || {
                let ino = workspace.lookup(Ino::ROOT, at)?.ino;
                workspace.write(ino, 0, &bytes, false)
            };
            change(&workspace, &states, write, written).await.unwrap();
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn snapshots_taken_while_writers_run_are_states_of_the_model() {
    for seed in seeds(3) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
        let taken = runtime.block_on(moments(seed));
        println!("seed {seed}: {taken} snapshots, each one moment");
    }
}

async fn moments(seed: u64) -> usize {
    let repo = Repo::in_memory(Arc::new(SystemClock)).await.unwrap();
    let id = repo.create_workspace("w", None, None).await.unwrap().id;
    let folder = tempfile::tempdir().unwrap();
    let info = HolderInfo { pid: 1, mountpoint: "/world".into() };
    let lock = HolderFolder::lock(folder.path(), id, &info, HolderId::from_bytes([7; 16])).unwrap();
    let who = HolderDescription { host: "here".into(), pid: 1, mountpoint: "/world".into() };
    let attached = repo.attach(id, lock.holder_id(), &who).await.unwrap();
    repo.set_connected(&attached.lease, true);
    let publisher = Arc::new(repo.clone());
    let workspace = Workspace::open(lock, attached, publisher, Arc::new(SystemClock)).await.unwrap();
    let states: States = Arc::new(Mutex::new(vec![Files::new()]));
    let mut random = Random::new(seed);
    let writers: Vec<_> = (0..3)
        .map(|writer| tokio::spawn(write(workspace.clone(), states.clone(), random.fork(), writer, 150)))
        .collect();
    let ended = Arc::new(AtomicBool::new(false));
    let forker = tokio::spawn(fork(repo.clone(), ended.clone()));
    let (mut taken, mut newest) = (Vec::new(), 0);
    while taken.len() < 40 && !writers.iter().all(|writer| writer.is_finished()) {
        let note = PublishNote { message: "a moment".into(), ..PublishNote::default() };
        taken.push(workspace.checkpoint(note).await.unwrap());
    }
    for writer in writers {
        writer.await.unwrap();
    }
    taken.push(workspace.checkpoint(PublishNote::default()).await.unwrap());
    ended.store(true, Ordering::SeqCst);
    let forks = forker.await.unwrap();
    let states = states.lock().clone();
    for snapshot in &taken {
        let found = files(&repo, *snapshot).await.unwrap();
        // States may come again: any one from the newest that was seen on will do.
        let place = states[newest..].iter().position(|state| *state == found);
        newest += place.unwrap_or_else(|| panic!("seed {seed}: a snapshot is no state of the model: {found:?}"));
    }
    assert_eq!(files(&repo, *taken.last().unwrap()).await.unwrap(), states[states.len() - 1], "the end");
    for head in forks {
        let found = files(&repo, head).await.unwrap();
        assert!(states.contains(&found), "seed {seed}: a fork is no state of the model");
    }
    taken.len()
}

/// Forks the head again and again.
async fn fork(repo: Repo, ended: Arc<AtomicBool>) -> Vec<vfs_core::id::SnapshotId> {
    let mut heads = Vec::new();
    while !ended.load(Ordering::SeqCst) {
        let head = repo.workspace("w").await.unwrap().head;
        let fork = repo.create_workspace(&format!("fork{}", heads.len()), None, Some(head)).await.unwrap();
        heads.push(fork.head);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    heads
}
