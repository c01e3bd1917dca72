//! The control connection, both ends of it, and what the API does with a live holder.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use vfs_core::base::{Attached, PublishNote, Publisher};
use vfs_core::id::SnapshotId;
use vfs_core::workspace::Status;
use vfs_core::{Error, Kind, Result};

use super::world::{Mount, TOKEN, World, content, holder, note, who};
use crate::client::control::{self, ControlHandler, End};
use crate::client::{Client, WorkspaceClient};
use crate::wire::workspace::{ForkWorkspace, RestoreWorkspace};

/// A holder that publishes one more file at each barrier, and remembers what it was asked.
struct Holder {
    mount: tokio::sync::Mutex<Mount<WorkspaceClient>>,
    client: WorkspaceClient,
    asked: Mutex<Vec<String>>,
    slow: Mutex<Duration>,
}

impl Holder {
    fn remember(&self, what: impl Into<String>) {
        self.asked.lock().push(what.into());
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

#[async_trait]
impl ControlHandler for Holder {
    async fn barrier(&self, note: PublishNote) -> Result<SnapshotId> {
        self.remember(format!("barrier {}", note.message));
        let slow = *self.slow.lock();
        sleep(slow).await;
        let mut mount = self.mount.lock().await;
        let seed = mount.position;
        mount.send(format!("file{seed}").as_bytes(), &[content(seed, 400)]).await?;
        let published = self.client.commit(&mount.lease, mount.position, note).await?;
        mount.base = published.snapshot;
        mount.root = self.client.client().snapshot_object(published.snapshot).await?.root;
        Ok(published.snapshot)
    }

    async fn barrier_and_freeze(&self, note: PublishNote) -> Result<SnapshotId> {
        self.remember("freeze");
        self.barrier(note).await
    }

    async fn thaw(&self) -> Result<()> {
        self.remember("thaw");
        Ok(())
    }

    async fn status(&self) -> Result<Status> {
        Err(Error::new(Kind::Unsupported, "this holder has no overlay"))
    }

    async fn swap_base(&self, snapshot: SnapshotId) -> Result<()> {
        self.remember("swap");
        let mut mount = self.mount.lock().await;
        mount.base = snapshot;
        mount.root = self.client.client().snapshot_object(snapshot).await?.root;
        Ok(())
    }

    async fn files(&self, _: vfs_core::files::Request) -> Result<vfs_core::files::Answer> {
        Err(Error::new(Kind::Unsupported, "this holder has no files"))
    }

    async fn release(&self) -> Result<()> {
        self.remember("release");
        let lease = self.mount.lock().await.lease;
        self.client.detach(&lease).await
    }

    async fn on_reattached(&self, attached: Attached) -> Result<()> {
        self.remember("reattached");
        let mut mount = self.mount.lock().await;
        mount.lease = attached.lease;
        mount.base = attached.head;
        mount.root = attached.snapshot.root;
        Ok(())
    }
}

async fn held(world: &World, client: &Client) -> (Arc<Holder>, JoinHandle<Result<End>>) {
    let id = world.repo.create_workspace("w", None, None).await.unwrap().id;
    let client = client.holder(id);
    let attached = client.attach(holder(1), &who()).await.unwrap();
    let lease = attached.lease;
    let mount = tokio::sync::Mutex::new(Mount::new(client.clone(), attached));
    let holder = Arc::new(Holder { mount, client: client.clone(), asked: Mutex::default(), slow: Mutex::default() });
    let running = tokio::spawn(control::run(client, lease, who(), holder.clone()));
    connected(world).await;
    (holder, running)
}

async fn connected(world: &World) {
    for _ in 0..500 {
        if world.state.holders().len() == 1 {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("the holder does not connect");
}

#[tokio::test]
async fn a_barrier_goes_to_the_holder_and_brings_its_snapshot() {
    let world = World::new().await;
    for client in [world.client.clone(), world.over_tcp(TOKEN)] {
        let (holder, running) = held(&world, &client).await;
        assert!(world.client.workspace("w").await.unwrap().holder.unwrap().connected);
        assert_eq!(world.client.status().await.unwrap().holders, 1);
        assert_eq!(world.state.idle_for(), Duration::ZERO);
        let done = world.client.checkpoint("w", note("now")).await.unwrap();
        assert!(done.attached);
        assert_eq!(holder.asked(), ["barrier now"]);
        assert_eq!(world.client.workspace("w").await.unwrap().head, done.snapshot);
        let fork = ForkWorkspace { name: "f".into(), snapshot: None };
        let fork = world.client.fork("w", &fork).await.unwrap();
        assert_ne!(fork.head, done.snapshot, "a fork is of the live state");
        let live = world.state.holders().get(world.client.workspace("w").await.unwrap().id).unwrap();
        assert_eq!(live.status().await.unwrap_err().context(), "this holder has no overlay");
        live.release().await.unwrap();
        assert_eq!(timeout(Duration::from_secs(5), running).await.unwrap().unwrap().unwrap(), End::Released);
        assert!(world.client.workspace("w").await.unwrap().holder.is_none());
        assert!(!holder.asked().contains(&"reattached".to_owned()), "a lease that is given back is not taken again");
        world.client.delete_workspace("w").await.unwrap();
        world.client.delete_workspace("f").await.unwrap();
    }
}

#[tokio::test]
async fn a_restore_stops_the_holder_and_shows_it_the_old_state() {
    let world = World::new().await;
    let (holder, running) = held(&world, &world.client).await;
    let first = world.client.checkpoint("w", note("one")).await.unwrap().snapshot;
    world.client.checkpoint("w", note("two")).await.unwrap();
    holder.asked.lock().clear();
    let request = RestoreWorkspace { snapshot: first.to_hex(), author: "ada".into(), message: "back".into() };
    let restored = world.client.restore("w", &request).await.unwrap();
    assert!(restored.mounted);
    assert_eq!(holder.asked().len(), 3, "{:?}", holder.asked());
    assert_eq!((holder.asked()[0].as_str(), holder.asked()[2].as_str()), ("freeze", "swap"));
    assert!(holder.asked()[1].starts_with("barrier before restoring"));
    assert_eq!(holder.mount.lock().await.base, restored.snapshot);
    let safety = restored.safety.expect("the state before is kept");
    assert!(world.client.log("w", false, 10).await.unwrap().iter().any(|row| row.snapshot == safety));
    assert!(world.client.diff(&first.to_hex(), "w", 10).await.unwrap().changes.is_empty());
    // The holder goes on from there.
    world.client.checkpoint("w", note("three")).await.unwrap();
    running.abort();
}

#[tokio::test]
async fn without_its_holder_a_held_workspace_answers_503_and_never_an_old_state() {
    let world = World::new().await;
    let (_, running) = held(&world, &world.client).await;
    running.abort();
    let _ = running.await;
    for _ in 0..500 {
        if world.state.holders().is_empty() {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    let error = world.client.checkpoint("w", note("now")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.context().contains("/mnt/w"), "{}", error.context());
    let fork = ForkWorkspace { name: "f".into(), snapshot: None };
    assert_eq!(world.client.fork("w", &fork).await.unwrap_err().kind(), Kind::Unavailable);
    // A snapshot that is named needs no holder.
    let fork = ForkWorkspace { name: "f".into(), snapshot: Some("HEAD".into()) };
    world.client.fork("w", &fork).await.unwrap();
}

#[tokio::test]
async fn whoever_waits_learns_at_once_that_the_holder_is_gone() {
    let world = World::new().await;
    let (holder, running) = held(&world, &world.client).await;
    *holder.slow.lock() = Duration::from_secs(600);
    let client = world.client.clone();
    let waiting = tokio::spawn(async move { client.checkpoint("w", note("now")).await });
    while holder.asked().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    running.abort();
    let answer = timeout(Duration::from_secs(5), waiting).await.expect("an answer at once").unwrap();
    assert_eq!(answer.unwrap_err().kind(), Kind::Unavailable);
}

#[tokio::test]
async fn a_holder_comes_back_after_the_engine_was_restarted() {
    let mut world = World::new().await;
    let client = world.client.clone();
    let (holder, running) = held(&world, &client).await;
    timeout(Duration::from_secs(5), world.restart()).await.expect("a holder does not hold a shutdown up");
    connected(&world).await;
    world.client.checkpoint("w", note("after")).await.unwrap();
    assert_eq!(holder.asked(), ["barrier after"], "the lease is still good, so it is kept");
    running.abort();
}

#[tokio::test]
async fn a_lost_lease_is_taken_again_unless_somebody_else_has_it() {
    let mut world = World::new().await;
    let client = world.client.clone();
    let (one, running) = held(&world, &client).await;
    let lease = one.mount.lock().await.lease;
    world.repo.detach(&lease).await.unwrap();
    world.restart().await;
    connected(&world).await;
    assert_eq!(one.asked(), ["reattached"]);
    assert!(one.mount.lock().await.lease.epoch > lease.epoch);
    world.client.checkpoint("w", note("again")).await.unwrap();

    let lease = one.mount.lock().await.lease;
    world.repo.detach(&lease).await.unwrap();
    world.repo.attach(lease.workspace, holder(2), &who()).await.unwrap();
    world.restart().await;
    let end = timeout(Duration::from_secs(5), running).await.expect("it gives up").unwrap();
    assert_eq!(end.unwrap_err().kind(), Kind::Busy);
}

#[tokio::test]
async fn a_stale_lease_gets_no_connection() {
    let world = World::new().await;
    let id = world.repo.create_workspace("w", None, None).await.unwrap().id;
    let stale = world.repo.attach(id, holder(1), &who()).await.unwrap().lease;
    world.repo.attach(id, holder(1), &who()).await.unwrap();
    let path = format!("/v1/workspaces/{id}/control?holder={}&epoch={}", stale.holder, stale.epoch);
    let upgrade = "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let stream = tokio::net::UnixStream::connect(&world.socket).await.unwrap();
    let headers = format!("{upgrade}connection: upgrade, close\r\n");
    let (status, body) = super::world::talk(stream, "GET", &path, &headers, None).await;
    assert_eq!((status.as_u16(), body["error"]["kind"].as_str()), (409, Some("lease_lost")));
    assert!(world.state.holders().is_empty());
}
