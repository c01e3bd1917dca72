//! Workspaces, snapshots, files, transfers: each once as it should be, and as it should not.

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use vfs_core::id::SnapshotId;
use vfs_core::{Kind, Result};

use super::world::{World, content, note, publish};
use crate::wire::job::{CheckRequest, GcRequest};
use crate::wire::transfer::{ExportRequest, ImportRequest, LocalPath, ScanRequest};
use crate::wire::workspace::{CreateWorkspace, ForkWorkspace, RestoreWorkspace};

fn named(name: &str) -> CreateWorkspace {
    CreateWorkspace { name: name.into(), ..CreateWorkspace::default() }
}

async fn read(world: &World, id: SnapshotId, path: &[u8], start: u64, end: Option<u64>) -> Result<Bytes> {
    let stream = world.client.content(id, path, start, end).await?;
    let all: BytesMut = stream
        .try_fold(BytesMut::new(), |mut all, part| async move {
            all.extend_from_slice(&part);
            Ok(all)
        })
        .await?;
    Ok(all.freeze())
}

#[tokio::test]
async fn workspaces_are_made_listed_forked_and_removed() {
    let world = World::new().await;
    let client = &world.client;
    let made = client.create_workspace(&named("w")).await.unwrap();
    assert_eq!(client.create_workspace(&named("w")).await.unwrap_err().kind(), Kind::AlreadyExists);
    let snapshot = publish(&world, "w", b"a", &[content(1, 1000)]).await;
    let fork = ForkWorkspace { name: "f".into(), snapshot: None };
    let fork = client.fork("w", &fork).await.unwrap();
    assert_eq!(fork.head, snapshot);
    let from = CreateWorkspace { name: "c".into(), from: Some(format!("w@{}", &snapshot.to_hex()[..8])), source: None };
    assert_eq!(client.create_workspace(&from).await.unwrap().head, snapshot);
    let names: Vec<_> = client.workspaces().await.unwrap().into_iter().map(|workspace| workspace.name).collect();
    assert_eq!(names, ["c", "f", "w"]);
    assert_eq!(client.workspace(&made.id.to_hex()).await.unwrap().name, "w");
    client.delete_workspace("f").await.unwrap();
    assert_eq!(client.workspace("f").await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(client.workspace("no/such?w").await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn states_are_logged_resolved_and_restored() {
    let world = World::new().await;
    let client = &world.client;
    let made = client.create_workspace(&named("w")).await.unwrap();
    let first = publish(&world, "w", b"a", &[content(1, 1000)]).await;
    let second = publish(&world, "w", b"b", &[content(2, 1000)]).await;
    assert_eq!(client.log("w", true, 2).await.unwrap().len(), 2);
    assert_eq!(client.log("w", false, 100).await.unwrap()[0].snapshot, second);
    assert_eq!(client.log("w", false, 0).await.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(client.resolve("w").await.unwrap().snapshot, second);
    assert_eq!(client.resolve(&format!("w@{}", &first.to_hex()[..6])).await.unwrap().snapshot, first);
    assert_eq!(client.resolve("w@HEAD").await.unwrap().workspace, made.id);
    assert_eq!(client.resolve("x").await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(client.checkpoint("w", note("c")).await.unwrap().snapshot, second);
    let request = RestoreWorkspace { snapshot: first.to_hex(), author: "ada".into(), message: "back".into() };
    let restored = client.restore("w", &request).await.unwrap();
    assert!(!restored.mounted);
    let diff = client.diff(&first.to_hex(), "w", 100).await.unwrap();
    assert!(diff.changes.is_empty() && !diff.more);
    assert_eq!(client.snapshot(restored.snapshot).await.unwrap().message, "back");
    assert_eq!(client.snapshot_object(first).await.unwrap(), world.repo.snapshot(first).await.unwrap());
    let unknown = SnapshotId::from_bytes([3; 32]);
    assert_eq!(client.snapshot(unknown).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(world.raw("GET", "/v1/snapshots/abcd", None).await.0, 400);
}

#[tokio::test]
async fn differences_are_named_in_order_and_bounded() {
    let world = World::new().await;
    let empty = world.client.create_workspace(&named("w")).await.unwrap().head;
    publish(&world, "w", b"b\xff", &[content(1, 10)]).await;
    let head = publish(&world, "w", b"a", &[content(2, 10)]).await;
    let diff = world.client.diff(&empty.to_hex(), "w@HEAD", 10).await.unwrap();
    assert_eq!((diff.from, diff.to), (empty, head));
    let changes: Vec<_> =
        diff.changes.iter().map(|change| (change.path_hex.as_deref(), change.change.as_str())).collect();
    assert_eq!(changes, [(None, "added"), (Some("62ff"), "added")]);
    assert_eq!(diff.changes[0].after.as_ref().unwrap().size, 10);
    let short = world.client.diff(&empty.to_hex(), "w", 1).await.unwrap();
    assert!(short.more && short.changes.len() == 1);
    let back = world.client.diff("w", &empty.to_hex(), 10).await.unwrap();
    assert_eq!(back.changes[0].change, "removed");
}

#[tokio::test]
async fn files_are_listed_in_pages_and_read_in_ranges() {
    let world = World::new().await;
    world.client.create_workspace(&named("w")).await.unwrap();
    publish(&world, "w", b"a b+c", &[content(1, 300)]).await;
    let parts = [content(2, 100_000), content(3, 70_000)];
    publish(&world, "w", b"\xfe\xff", &parts).await;
    let id = publish(&world, "w", b"z", &[content(4, 300)]).await;
    let listing = world.client.list(id, b"", None, 2).await.unwrap();
    assert_eq!((listing.node.kind.as_str(), listing.more), ("directory", true));
    assert_eq!(listing.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["a b+c", "z"]);
    let rest = world.client.list(id, b"/", Some(b"z"), 2).await.unwrap();
    assert_eq!((rest.entries.len(), rest.more), (1, false));
    assert_eq!(rest.entries[0].name_hex.as_deref(), Some("feff"));
    let file = world.client.list(id, b"a b+c", None, 2).await.unwrap();
    assert_eq!((file.node.kind.as_str(), file.node.size, file.entries.len()), ("file", 300, 0));
    assert_eq!(world.client.list(id, b"none", None, 2).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(world.client.list(id, b"z/x", None, 2).await.unwrap_err().kind(), Kind::NotADirectory);

    let hole = vec![0; 5000];
    let whole = [&parts[0][..], &hole, &parts[1], &hole].concat();
    assert_eq!(read(&world, id, b"\xfe\xff", 0, None).await.unwrap(), whole);
    for (start, end) in [(0, Some(1)), (99_990, Some(105_010)), (104_999, None), (179_999, Some(180_000))] {
        let part = read(&world, id, b"\xfe\xff", start, end).await.unwrap();
        assert_eq!(part, whole[start as usize..end.map_or(whole.len(), |end| end as usize)], "{start}..{end:?}");
    }
    assert_eq!(read(&world, id, b"\xfe\xff", 180_000, None).await.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(read(&world, id, b"", 0, None).await.unwrap_err().kind(), Kind::IsADirectory);
    assert_eq!(read(&world, id, b"none", 0, None).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_folder_comes_in_and_goes_out_again() {
    let world = World::new().await;
    world.client.create_workspace(&named("w")).await.unwrap();
    let folder = world.folder.path().join("in");
    std::fs::create_dir_all(folder.join("sub/target")).unwrap();
    std::fs::write(folder.join("sub/a"), "content").unwrap();
    std::fs::write(folder.join("sub/target/b"), "left out").unwrap();
    std::os::unix::fs::symlink("sub/a", folder.join("link")).unwrap();
    let exclude = vec!["target/".to_owned()];
    let request = ImportRequest {
        folder: LocalPath::new(&folder),
        exclude: exclude.clone(),
        note: note("in").into(),
        ..ImportRequest::default()
    };
    let imported = world.client.import("w", &request, |_| {}).await.unwrap();
    assert_eq!(world.client.workspace("w").await.unwrap().head, imported.snapshot);
    assert_eq!((imported.names, imported.bytes), (3, 7));
    let listing = world.client.list(imported.snapshot, b"", None, 10).await.unwrap();
    assert_eq!(listing.entries[0].target.as_deref(), Some("sub/a"));
    let scan = ScanRequest { folder: LocalPath::new(&folder), exclude, since: Some("w".into()) };
    let scanned = world.client.scan(&scan, |_| {}).await.unwrap();
    assert_eq!((scanned.bytes, scanned.changed), (7, Some(vec![])));
    std::fs::write(folder.join("sub/a"), "changed!").unwrap();
    assert_eq!(world.client.scan(&scan, |_| {}).await.unwrap().changed.unwrap(), ["sub/a"]);
    let out = world.folder.path().join("out");
    let export = ExportRequest { folder: LocalPath::new(&out), owner: None };
    let exported = world.client.export(imported.snapshot, &export, |_| {}).await.unwrap();
    assert_eq!(exported.bytes, 7);
    assert_eq!(std::fs::read(out.join("link")).unwrap(), b"content");
    assert!(!out.join("sub/target").exists());
    let again = world.client.export(imported.snapshot, &export, |_| {}).await.unwrap_err();
    assert!(matches!(again.kind(), Kind::NotEmpty | Kind::AlreadyExists), "{}", again.context());
    let relative = ImportRequest { folder: LocalPath { path: "in".into(), path_hex: None }, ..request };
    assert_eq!(world.client.import("w", &relative, |_| {}).await.unwrap_err().kind(), Kind::Invalid);
}

#[tokio::test]
async fn a_held_workspace_takes_no_import() {
    let world = World::new().await;
    let made = world.client.create_workspace(&named("w")).await.unwrap();
    let lease = world.repo.attach(made.id, super::world::holder(1), &super::world::who()).await.unwrap().lease;
    let request = ImportRequest { folder: LocalPath::new(world.folder.path()), ..ImportRequest::default() };
    assert_eq!(world.client.import("w", &request, |_| {}).await.unwrap_err().kind(), Kind::Busy);
    assert_eq!(world.client.delete_workspace("w").await.unwrap_err().kind(), Kind::Busy);
    world.repo.detach(&lease).await.unwrap();
    world.client.import("w", &request, |_| {}).await.unwrap();
}

#[tokio::test]
async fn check_and_gc_report() {
    let world = World::new().await;
    world.client.create_workspace(&named("w")).await.unwrap();
    publish(&world, "w", b"a", &[content(1, 1000)]).await;
    let report = world.client.check(&CheckRequest { full: true, ..CheckRequest::default() }, |_| {}).await.unwrap();
    assert_eq!((report.workspaces, report.damages), (1, vec![]));
    assert!(report.verified_objects > 0);
    let report = world.client.gc(&GcRequest::default(), |_| {}).await.unwrap();
    assert!(report.roots > 0 && !report.deleted);
}
