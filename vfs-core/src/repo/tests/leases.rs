//! One holder at a time.

use super::*;
use crate::limits::LEASE_TTL;

#[tokio::test]
async fn another_holder_is_told_who_has_it() {
    let (repo, clock) = repo().await;
    let id = repo.create_workspace("w", None, None).await.unwrap().id;
    let first = repo.attach(id, holder(1), &who(41)).await.unwrap();
    let error = repo.attach(id, holder(2), &who(42)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    for part in ["here", "41", "/mnt/41"] {
        assert!(error.context().contains(part), "{error}");
    }
    clock.advance(LEASE_TTL / 2);
    repo.touch(&first.lease).await.unwrap();
    clock.advance(LEASE_TTL - Duration::from_secs(1));
    assert_eq!(kind(repo.attach(id, holder(2), &who(42)).await), Some(Kind::Busy));
    clock.advance(Duration::from_secs(1));
    let second = repo.attach(id, holder(2), &who(42)).await.unwrap();
    assert!(second.lease.epoch > first.lease.epoch);
    assert_eq!(kind(repo.touch(&first.lease).await), Some(Kind::LeaseLost));
    assert_eq!(kind(repo.begin(&first.lease, first.head, 1).await), Some(Kind::LeaseLost));
    assert_eq!(kind(repo.allocate_inos(&first.lease, 1).await), Some(Kind::LeaseLost));
    repo.detach(&first.lease).await.unwrap();
    repo.touch(&second.lease).await.unwrap();
}

#[tokio::test]
async fn a_connected_lease_does_not_run_out() {
    let (repo, clock) = repo().await;
    let id = repo.create_workspace("w", None, None).await.unwrap().id;
    let first = repo.attach(id, holder(1), &who(1)).await.unwrap();
    repo.set_connected(&first.lease, true);
    clock.advance(LEASE_TTL * 10);
    assert_eq!(kind(repo.attach(id, holder(2), &who(2)).await), Some(Kind::Busy));
    assert!(repo.workspace("w").await.unwrap().holder.unwrap().connected);
    repo.set_connected(&first.lease, false);
    repo.attach(id, holder(2), &who(2)).await.unwrap();
}

#[tokio::test]
async fn the_same_holder_comes_back_at_once_with_a_new_epoch() {
    let (repo, _) = repo().await;
    let mut mount = Mount::new(&repo, "w").await;
    mount.write("a", &[content(1, 500)], note("one")).await.unwrap();
    let old = mount.lease;
    let again = repo.attach(old.workspace, holder(1), &who(2)).await.unwrap();
    assert_eq!((again.lease.epoch, again.position, again.head), (old.epoch + 1, mount.position, mount.base));
    assert_eq!(kind(repo.begin(&old, again.head, 1000).await), Some(Kind::LeaseLost));
    repo.detach(&again.lease).await.unwrap();
    let other = repo.attach(old.workspace, holder(2), &who(3)).await.unwrap();
    assert_eq!((other.lease.epoch, other.position), (old.epoch + 2, 0), "the head is not this holder's work");
}

#[tokio::test]
async fn a_held_workspace_is_not_removed() {
    let (repo, clock) = repo().await;
    let mount = Mount::new(&repo, "w").await;
    assert_eq!(kind(repo.delete_workspace(mount.lease.workspace).await), Some(Kind::Busy));
    clock.advance(LEASE_TTL);
    repo.delete_workspace(mount.lease.workspace).await.unwrap();
    assert_eq!(kind(repo.touch(&mount.lease).await), Some(Kind::LeaseLost));
    assert!(repo.workspaces().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_move_without_a_holder_fences_the_one_whose_lease_ran_out() {
    let (repo, clock) = repo().await;
    let mount = Mount::new(&repo, "w").await;
    clock.advance(LEASE_TTL);
    let id = mount.lease.workspace;
    repo.move_head(id, mount.base, repo.batch(), mount.root.clone(), None, note("import")).await.unwrap();
    assert_eq!(kind(repo.touch(&mount.lease).await), Some(Kind::LeaseLost));
    let again = repo.attach(id, holder(1), &who(1)).await.unwrap();
    assert!(again.lease.epoch > mount.lease.epoch + 1);
}

#[tokio::test]
async fn a_clock_that_jumped_back_does_not_make_a_lease_immortal() {
    let (repo, clock) = repo().await;
    clock.advance(HOUR * 24);
    let mount = Mount::new(&repo, "w").await;
    *clock.0.lock() = Time { seconds: 1_700_000_000, nanos: 0 };
    repo.attach(mount.lease.workspace, holder(2), &who(2)).await.unwrap();
}
