//! Quotas in the transactions that move refs.

use super::*;
use crate::quota::{Quota, Usage};

const NONE: Quota = Quota::NONE;

fn bytes(max: u64) -> Quota {
    Quota { bytes: Some(max), files: None }
}

fn is_full<T: std::fmt::Debug>(result: Result<T>) {
    assert_eq!(result.unwrap_err().kind(), Kind::QuotaExceeded);
}

/// Publishes one more file of `length` bytes.
async fn publish(mount: &mut Mount, name: &str, length: usize) -> Result<SnapshotId> {
    mount.send(name, &[content(length as u64, length)]).await?;
    let published = mount.repo.commit(&mount.lease, mount.position, note(name)).await?;
    let snapshot = mount.repo.snapshot(published.snapshot).await?;
    (mount.base, mount.root) = (published.snapshot, snapshot.root);
    Ok(published.snapshot)
}

async fn usage(repo: &Repo, name: &str) -> Usage {
    let id = repo.workspace(name).await.unwrap().id;
    repo.quota(Some(id)).await.unwrap().1
}

#[tokio::test]
async fn a_publish_over_the_quota_of_its_workspace_moves_nothing() {
    let (repo, _) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let id = mount.lease.workspace;
    repo.set_quota(Some(id), bytes(1000)).await.unwrap();
    let head = publish(&mut mount, "a", 900).await.unwrap();
    is_full(publish(&mut mount, "b", 200).await);
    assert_eq!(repo.workspace("w").await.unwrap().head, head);
    assert_eq!(usage(&repo, "w").await, Usage { bytes: 900, files: 1 });
    // Lowered below what is held: nothing grows, everything else goes on.
    repo.set_quota(Some(id), bytes(10)).await.unwrap();
    mount.position += 1000;
    is_full(publish(&mut mount, "b", 20).await);
    repo.set_quota(Some(id), Quota { bytes: Some(10), files: Some(0) }).await.unwrap();
    let position = mount.position + 5000;
    repo.begin(&mount.lease, mount.base, position).await.unwrap();
    repo.commit(&mount.lease, position, note("says something")).await.unwrap();
    repo.set_quota(Some(id), NONE).await.unwrap();
    let attached = repo.attach(id, holder(1), &who(1)).await.unwrap();
    assert_eq!(attached.quota, NONE);
    publish(&mut Mount::on(&repo, attached), "b", 200).await.unwrap();
    assert_eq!(usage(&repo, "w").await, Usage { bytes: 1100, files: 2 });
    assert_eq!(repo.quota(Some(id)).await.unwrap().0, NONE);
}

#[tokio::test]
async fn a_tenant_is_full_for_forks_restores_and_new_holders() {
    let (repo, _) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    let id = mount.lease.workspace;
    let small = publish(&mut mount, "a", 300).await.unwrap();
    let large = publish(&mut mount, "b", 400).await.unwrap();
    repo.set_quota(None, bytes(1500)).await.unwrap();
    assert_eq!(repo.quota(None).await.unwrap(), (bytes(1500), Usage { bytes: 700, files: 2 }));
    let fork = repo.create_workspace("fork", None, Some(large)).await.unwrap();
    assert_eq!(usage(&repo, "fork").await, Usage { bytes: 700, files: 2 });
    is_full(repo.create_workspace("second", None, Some(large)).await);
    assert_eq!(repo.workspace("second").await.unwrap_err().kind(), Kind::NotFound);

    // What is left of the tenant's is what one more holder is told.
    let attached = repo.attach(fork.id, holder(2), &who(2)).await.unwrap();
    assert_eq!(attached.quota, bytes(800));
    repo.detach(&attached.lease).await.unwrap();
    // What a holder was promised is published, also when somebody else has taken it meanwhile.
    let held = repo.attach(id, holder(1), &who(1)).await.unwrap();
    assert_eq!(held.quota, bytes(800));
    repo.create_workspace("third", None, Some(small)).await.unwrap_err();
    repo.set_quota(None, bytes(1700)).await.unwrap();
    repo.create_workspace("third", None, Some(small)).await.unwrap();
    publish(&mut Mount::on(&repo, held), "c", 100).await.unwrap();
    let (_, all) = repo.quota(None).await.unwrap();
    assert_eq!(all, Usage { bytes: 1800, files: 6 });

    // To go back to more is refused, to less is not; deleting frees.
    repo.restore(fork.id, None, small, note("less")).await.unwrap();
    assert_eq!(repo.quota(None).await.unwrap().1.bytes, 1400);
    is_full(repo.restore(fork.id, None, large, note("more")).await);
    repo.delete_workspace(repo.workspace("third").await.unwrap().id).await.unwrap();
    repo.restore(fork.id, None, large, note("fits now")).await.unwrap();
    assert_eq!(repo.quota(None).await.unwrap().1, Usage { bytes: 1500, files: 5 });
}
