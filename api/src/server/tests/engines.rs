//! Two engines of a team at one workspace that nobody has mounted.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use tokio::time::{sleep, timeout};
use vfs_core::id::HolderId;
use vfs_core::{Kind, Result};

use super::world::{World, holder, who};
use crate::client::FileBasis;
use crate::wire::file::Written;
use crate::wire::workspace::CreateWorkspace;

async fn write(world: &World, path: &str, text: &str) -> Result<Written> {
    world.client.write_file("w", path.as_bytes(), true, &FileBasis::Any, Bytes::from(text.to_owned())).await
}

async fn two() -> (World, World) {
    let one = World::new().await;
    let two = one.beside().await;
    let named = CreateWorkspace { name: "w".into(), ..CreateWorkspace::default() };
    one.client.create_workspace(&named).await.unwrap();
    (one, two)
}

/// The holder id of an engine that is neither of the two.
fn stranger(workspace: &vfs_core::repo::WorkspaceInfo) -> HolderId {
    let mut id = workspace.id.as_bytes().map(|byte| !byte);
    id[8..].fill(7);
    HolderId::from_bytes(id)
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_both_are_there() {
    let (one, two) = two().await;
    let writes = (0..24).map(|number| {
        let world = if number % 2 == 0 { &one } else { &two };
        async move { write(world, &format!("/f{number}"), &format!("text {number}")).await }
    });
    for (number, written) in join_all(writes).await.into_iter().enumerate() {
        assert!(written.is_ok(), "write {number}: {written:?}");
    }
    for number in 0..24 {
        let world = if number % 3 == 0 { &one } else { &two };
        let stat = world.client.stat_file("w", None, format!("/f{number}").as_bytes()).await;
        assert!(stat.is_ok(), "file {number}: {stat:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_while_another_engine_writes_waits() {
    let (one, _two) = two().await;
    let workspace = one.repo.workspace("w").await.unwrap();
    let other = one.repo.attach(workspace.id, stranger(&workspace), &who()).await.unwrap();
    let attaching = one.client.holder(workspace.id);
    let attached = tokio::spawn(async move { attaching.attach(holder(1), &who()).await });
    sleep(Duration::from_millis(300)).await;
    assert!(!attached.is_finished(), "it must not take the lease of an engine that writes");
    one.repo.touch(&other.lease).await.expect("the other engine still has it");
    one.repo.detach(&other.lease).await.unwrap();
    let attached = timeout(Duration::from_secs(5), attached).await.expect("and then it goes on").unwrap().unwrap();
    assert_eq!(attached.lease.epoch, other.lease.epoch + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_engine_left_runs_out() {
    let (one, two) = two().await;
    let workspace = one.repo.workspace("w").await.unwrap();
    let dead = one.repo.attach(workspace.id, stranger(&workspace), &who()).await.unwrap();
    one.clock.skip_s(61);
    write(&two, "/f", "text").await.unwrap();
    assert_eq!(one.repo.touch(&dead.lease).await.unwrap_err().kind(), Kind::LeaseLost);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_mount_may_call_itself_an_engine() {
    let (one, _two) = two().await;
    let workspace = one.repo.workspace("w").await.unwrap();
    let mount = one.client.holder(workspace.id);
    let refused = mount.attach(stranger(&workspace), &who()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
}
