//! Quotas of a held workspace: refused before the acknowledgement, never after; freed at once.

use super::*;
use crate::quota::{Quota, Usage};

fn quota(bytes: u64, files: u64) -> Quota {
    Quota { bytes: Some(bytes), files: Some(files) }
}

fn used(workspace: &Workspace) -> Usage {
    workspace.state.lock().usage
}

fn full<T: std::fmt::Debug>(answer: Result<T>) {
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), Kind::QuotaExceeded, "{error}");
    assert_eq!(error.kind().errno(), rustix::io::Errno::DQUOT.raw_os_error());
    assert!(error.to_string().contains("esker quota set"), "{error}");
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_changes_nothing() {
    let world = World::new();
    world.engine.set_quota(quota(1000, 3));
    let workspace = world.open().await.unwrap();
    let ino = make(&workspace, b"a").await;
    ask(&workspace, || workspace.write(ino, 0, &[1; 900], false)).await.unwrap();
    full(ask(&workspace, || workspace.write(ino, 900, &[2; 101], false)).await);
    full(ask(&workspace, || workspace.setattr(ino, &SetAttr { size: Some(1001), ..SetAttr::default() })).await);
    let reserve = Allocate::Reserve { keep_size: false };
    full(ask(&workspace, || workspace.allocate(ino, 500, 600, reserve)).await);
    full(ask(&workspace, || workspace.replace(Ino::ROOT, b"b", 0o644, &[3; 101], &|_| Ok(()))).await);
    full(ask(&workspace, || workspace.replace(Ino::ROOT, b"a", 0o644, &[3; 1001], &|_| Ok(()))).await);
    assert_eq!(used(&workspace), Usage { bytes: 900, files: 1 });
    // Writing over what is there, and up to the very end, fits.
    ask(&workspace, || workspace.write(ino, 0, &[4; 1000], false)).await.unwrap();
    ask(&workspace, || workspace.replace(Ino::ROOT, b"a", 0o644, &[5; 1000], &|_| Ok(()))).await.unwrap();
    make(&workspace, b"c").await;
    let directory = NewNode { kind: FileKind::Directory, mode: 0o755, ..file(0) };
    ask(&workspace, || workspace.make(Ino::ROOT, b"d", &directory)).await.unwrap();
    full(ask(&workspace, || workspace.make(Ino::ROOT, b"e", &file(0o644))).await);
    full(ask(&workspace, || workspace.replace(Ino::ROOT, b"e", 0o644, b"", &|_| Ok(()))).await);
    assert_eq!(used(&workspace), Usage { bytes: 1000, files: 3 });
    assert_eq!((workspace.statfs().free_bytes, workspace.statfs().free_inodes), (0, 0));
    workspace.checkpoint(note("all of it")).await.unwrap();
    assert_eq!(world.engine.usage(), used(&workspace));
}

#[tokio::test]
async fn what_is_deleted_is_free_at_once() {
    let world = World::new();
    world.engine.set_quota(quota(1000, 2));
    let workspace = world.open().await.unwrap();
    let first = make(&workspace, b"a").await;
    ask(&workspace, || workspace.write(first, 0, &[1; 1000], false)).await.unwrap();
    ask(&workspace, || workspace.link(first, Ino::ROOT, b"twin")).await.unwrap();
    assert_eq!(used(&workspace), Usage { bytes: 1000, files: 1 }, "a file with two names counts once");
    ask(&workspace, || workspace.unlink(Ino::ROOT, b"a")).await.unwrap();
    assert_eq!(used(&workspace), Usage { bytes: 1000, files: 1 });
    let second = make(&workspace, b"b").await;
    full(ask(&workspace, || workspace.write(second, 0, b"x", false)).await);
    ask(&workspace, || workspace.unlink(Ino::ROOT, b"twin")).await.unwrap();
    // It is open still, and may grow: it is not published.
    ask(&workspace, || workspace.write(first, 0, &[1; 5000], false)).await.unwrap();
    ask(&workspace, || workspace.write(second, 0, &[2; 1000], false)).await.unwrap();
    ask(&workspace, || workspace.rename(Ino::ROOT, b"b", Ino::ROOT, b"c", RenameMode::Replace)).await.unwrap();
    let third = make(&workspace, b"d").await;
    ask(&workspace, || workspace.setattr(second, &SetAttr { size: Some(10), ..SetAttr::default() })).await.unwrap();
    ask(&workspace, || workspace.write(third, 0, &[3; 990], false)).await.unwrap();
    ask(&workspace, || workspace.rename(Ino::ROOT, b"d", Ino::ROOT, b"c", RenameMode::Replace)).await.unwrap();
    assert_eq!(used(&workspace), Usage { bytes: 990, files: 1 });
    drop(workspace);

    let workspace = world.open().await.unwrap();
    assert_eq!(used(&workspace), Usage { bytes: 990, files: 1 }, "a replay counts the same");
    workspace.checkpoint(note("less")).await.unwrap();
    assert_eq!(world.engine.usage(), used(&workspace));
}

#[tokio::test]
async fn a_quota_that_was_lowered_refuses_only_growth() {
    let world = World::new();
    let workspace = world.open().await.unwrap();
    let ino = make(&workspace, b"a").await;
    ask(&workspace, || workspace.write(ino, 0, &[1; 5000], false)).await.unwrap();
    workspace.checkpoint(note("much")).await.unwrap();
    drop(workspace);
    world.engine.set_quota(quota(1000, 0));
    let workspace = world.open().await.unwrap();
    ask(&workspace, || workspace.lookup(Ino::ROOT, b"a")).await.unwrap();
    ask(&workspace, || workspace.write(ino, 100, &[2; 4900], false)).await.unwrap();
    full(ask(&workspace, || workspace.write(ino, 5000, b"x", false)).await);
    full(ask(&workspace, || workspace.make(Ino::ROOT, b"b", &file(0o644))).await);
    ask(&workspace, || workspace.replace(Ino::ROOT, b"a", 0o644, &[3; 4999], &|_| Ok(()))).await.unwrap();
    full(ask(&workspace, || workspace.replace(Ino::ROOT, b"a", 0o644, &[3; 5000], &|_| Ok(()))).await);
    ask(&workspace, || workspace.unlink(Ino::ROOT, b"a")).await.unwrap();
    assert_eq!(used(&workspace), Usage::default());
}
