//! Files by path over HTTP: held by a mount that answers, held by one that does not, free, and of a snapshot.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use vfs_core::base::{Attached, PublishNote};
use vfs_core::clock::SystemClock;
use vfs_core::files::{self, Files, Request};
use vfs_core::id::SnapshotId;
use vfs_core::limits::{FILE_PIECE_MAX, FILE_WRITE_MAX};
use vfs_core::workspace::{HolderFolder, HolderInfo, Status, Workspace};
use vfs_core::{Error, Kind, Result};

use super::world::{World, content, holder, who};
use crate::client::control::{self, ControlHandler, End};
use crate::client::{FileBasis, FileContent};
use crate::wire::file::{ChangeNames, EditRequest, GlobRequest, GrepRequest, Written};
use crate::wire::workspace::CreateWorkspace;

/// What happens between two pieces of a read; may answer in the place of the holder.
type OnRead = Box<dyn Fn(u64) -> Option<Request> + Send>;

/// A holder with a real overlay and no mount.
struct Holder {
    workspace: Arc<Workspace>,
    files: Arc<Files>,
    /// Called between two pieces of a read.
    on_read: Mutex<Option<OnRead>>,
}

#[async_trait]
impl ControlHandler for Holder {
    async fn barrier(&self, note: PublishNote) -> Result<SnapshotId> {
        self.workspace.checkpoint(note).await
    }

    async fn barrier_and_freeze(&self, note: PublishNote) -> Result<SnapshotId> {
        self.workspace.checkpoint_and_freeze(note).await
    }

    async fn thaw(&self) -> Result<()> {
        self.workspace.thaw();
        Ok(())
    }

    async fn status(&self) -> Result<Status> {
        Ok(self.workspace.status())
    }

    async fn swap_base(&self, _: SnapshotId) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "not here"))
    }

    async fn files(&self, request: Request) -> Result<files::Answer> {
        let before = match &request {
            Request::Read { offset, .. } => self.on_read.lock().as_ref().and_then(|change| change(*offset)),
            _ => None,
        };
        if let Some(before) = before {
            self.files.run(before).await.result?;
        }
        self.files.run(request).await.result
    }

    async fn release(&self) -> Result<()> {
        Ok(())
    }

    async fn on_reattached(&self, attached: Attached) -> Result<()> {
        self.workspace.renew_lease(attached.lease)
    }
}

async fn made(world: &World) {
    let named = CreateWorkspace { name: "w".into(), ..CreateWorkspace::default() };
    world.client.create_workspace(&named).await.unwrap();
}

async fn held(world: &World) -> (Arc<Holder>, JoinHandle<Result<End>>) {
    let id = world.client.workspace("w").await.unwrap().id;
    let client = world.client.holder(id);
    let path = world.folder.path().join("holder");
    let info = HolderInfo { pid: 7, mountpoint: "/mnt/w".into() };
    let folder = HolderFolder::lock(&path, id, &info, holder(1)).unwrap();
    let attached = client.attach(holder(1), &who()).await.unwrap();
    let lease = attached.lease;
    let workspace = Workspace::open(folder, attached, Arc::new(client.clone()), Arc::new(SystemClock)).await.unwrap();
    let files = Files::new(workspace.clone());
    let holder = Arc::new(Holder { workspace, files, on_read: Mutex::default() });
    let running = tokio::spawn(control::run(client, lease, who(), holder.clone()));
    for _ in 0..500 {
        if world.state.holders().len() == 1 {
            return (holder, running);
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("the holder does not connect");
}

async fn put(world: &World, path: &str, text: &str) -> Written {
    write(world, path, &FileBasis::Any, text.as_bytes().to_vec()).await.unwrap()
}

async fn write(world: &World, path: &str, basis: &FileBasis, content: Vec<u8>) -> Result<Written> {
    world.client.write_file("w", path.as_bytes(), true, basis, Bytes::from(content)).await
}

async fn get(world: &World, path: &str) -> Result<FileContent> {
    world.client.read_file("w", None, path.as_bytes(), None).await
}

/// Everything that a client can do; the same wherever the state is.
async fn everything(world: &World) {
    let client = &world.client;
    let made = put(world, "src/main.rs", "fn main() {}\n").await;
    assert!(made.created);
    let read = get(world, "src/main.rs").await.unwrap();
    assert_eq!((&read.content[..], &read.etag), (&b"fn main() {}\n"[..], &made.stat.etag));
    let stat = client.stat_file("w", None, b"/src/main.rs").await.unwrap();
    assert_eq!((stat.entry.name.as_str(), stat.entry.kind.as_str(), stat.entry.size), ("src/main.rs", "file", 13));
    assert_eq!(stat, made.stat);
    let edit = EditRequest {
        path: "src/main.rs".into(),
        old: "main".into(),
        new: "start".into(),
        if_match: Some(made.stat.etag.clone()),
        ..EditRequest::default()
    };
    let edited = client.edit_file("w", &edit).await.unwrap();
    assert_eq!(edited.replacements, 1);
    assert!(edited.diff.contains("+fn start() {}"), "{}", edited.diff);
    assert_eq!(client.edit_file("w", &edit).await.unwrap_err().kind(), Kind::Conflict);
    let stale = FileBasis::Etag(made.stat.etag);
    assert_eq!(write(world, "src/main.rs", &stale, vec![1]).await.unwrap_err().kind(), Kind::Conflict);
    let absent = write(world, "src/main.rs", &FileBasis::Absent, vec![1]).await;
    assert_eq!(absent.unwrap_err().kind(), Kind::Conflict);
    write(world, "src/main.rs", &FileBasis::Etag(edited.stat.etag), b"fn end() {}\n".to_vec()).await.unwrap();

    client.change_names("w", &ChangeNames::MakeDirectory { path: "d/e".into(), parents: true }).await.unwrap();
    let rename = ChangeNames::Rename { from: "src/main.rs".into(), to: "d/e/f".into() };
    client.change_names("w", &rename).await.unwrap();
    let remove = |recursive| ChangeNames::Remove { path: "d".into(), recursive };
    assert_eq!(client.change_names("w", &remove(false)).await.unwrap_err().kind(), Kind::NotEmpty);
    write(world, "d/a\u{e9}", &FileBasis::Any, vec![]).await.unwrap();
    let listing = client.list_files("w", None, b"d", None, 10).await.unwrap();
    assert_eq!(listing.node.name, "d");
    assert_eq!(listing.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["a\u{e9}", "e"]);
    let rest = client.list_files("w", None, b"d", Some("a\u{e9}".as_bytes()), 10).await.unwrap();
    assert_eq!(rest.entries.len(), 1);
    let glob = GlobRequest { pattern: "**/f".into(), ..GlobRequest::default() };
    assert_eq!(client.glob_files("w", &glob).await.unwrap().files[0].name, "d/e/f");
    let grep = GrepRequest { pattern: "^fn e".into(), lines: true, ..GrepRequest::default() };
    let found = client.grep_files("w", &grep).await.unwrap();
    assert_eq!((found.files[0].path.as_str(), found.files[0].lines[0].text.as_str()), ("d/e/f", "fn end() {}"));
    client.change_names("w", &remove(true)).await.unwrap();
    assert_eq!(get(world, "d/e/f").await.unwrap_err().kind(), Kind::NotFound);
    for path in ["../x", "a/../../etc/passwd"] {
        assert_eq!(get(world, path).await.unwrap_err().kind(), Kind::Invalid);
    }
    ranges(world).await;
}

async fn ranges(world: &World) {
    let length = 2 * FILE_PIECE_MAX + 1000;
    let whole = content(3, length);
    let tag = write(world, "large", &FileBasis::Any, whole.to_vec()).await.unwrap().stat.etag;
    assert!(get(world, "large").await.unwrap().content == whole);
    let piece = FILE_PIECE_MAX as u64;
    for (start, end) in [(0, 1), (5, piece + 5), (piece - 1, piece + 1), (10, length as u64 + 99)] {
        let part = world.client.read_file("w", None, b"large", Some((start, end))).await.unwrap();
        let end = (end as usize).min(length);
        assert!(part.content == whole[start as usize..end] && part.etag == tag, "{start}..{end}");
    }
    let beyond = world.client.read_file("w", None, b"large", Some((length as u64, length as u64 + 1))).await;
    assert_eq!(beyond.unwrap_err().kind(), Kind::Invalid);
    let path = "/v1/workspaces/w/files/content?path=large";
    let known = format!("if-none-match: \"{tag}\"\r\n");
    assert_eq!(world.raw_with("GET", path, &known, None).await.0, 304);
    assert_eq!(world.raw_with("GET", path, "if-none-match: \"other\"\r\n", None).await.0, 200);
    assert_eq!(world.raw_with("GET", path, "range: bytes=-5\r\n", None).await.0, 206);
    assert_eq!(world.raw_with("GET", path, "range: bytes=9000000-\r\n", None).await.0, 416);
    for wrong in ["if-match: *\r\n", "if-match: \"a\", \"b\"\r\n", "if-none-match: \"a\"\r\n"] {
        assert_eq!(world.raw_with("PUT", path, wrong, Some("x")).await.0, 400, "{wrong}");
    }
    assert_eq!(world.raw("PUT", &format!("{path}&parent=true"), Some("x")).await.0, 400);
    let nowhere = "/v1/workspaces/w/files/content?path=none/f";
    assert_eq!(world.raw("PUT", nowhere, Some("x")).await.0, 404);
    let too_large = write(world, "huge", &FileBasis::Any, vec![0; FILE_WRITE_MAX + 1]).await.unwrap_err();
    assert!(matches!(too_large.kind(), Kind::TooLarge | Kind::Unavailable), "{too_large}");
}

#[tokio::test]
async fn a_held_workspace_is_worked_on_at_its_holder() {
    let world = World::new().await;
    made(&world).await;
    let (holder, running) = held(&world).await;
    let head = world.client.workspace("w").await.unwrap().head;
    everything(&world).await;
    assert_eq!(world.client.workspace("w").await.unwrap().head, head, "nothing was published");
    assert!(holder.workspace.status().changed_inodes > 0);
    running.abort();
}

#[tokio::test]
async fn a_free_workspace_is_worked_on_by_the_engine() {
    let world = World::new().await;
    made(&world).await;
    everything(&world).await;
    let workspace = world.client.workspace("w").await.unwrap();
    assert!(workspace.holder.is_none());
    let holders = world.folder.path().join("data/holders");
    assert_eq!(std::fs::read_dir(holders).unwrap().count(), 0, "nothing is left");
    let rows = world.client.log("w", true, 100).await.unwrap();
    assert!(rows.len() > 8 && rows.iter().filter(|row| !row.automatic).count() <= 1);
}

#[tokio::test]
async fn a_snapshot_stays_what_it_is() {
    let world = World::new().await;
    made(&world).await;
    put(&world, "a/f", "one").await;
    let first = world.client.workspace("w").await.unwrap().head;
    let tag = put(&world, "a/f", "two").await.stat.etag;
    let at = first.to_hex();
    let at = Some(&at[..10]);
    assert_eq!(&world.client.read_file("w", at, b"a/f", None).await.unwrap().content[..], b"one");
    assert_ne!(world.client.stat_file("w", at, b"a/f").await.unwrap().etag, tag);
    assert_eq!(world.client.stat_file("w", Some("HEAD"), b"a/f").await.unwrap().etag, tag);
    let grep = |at: Option<&str>| GrepRequest {
        pattern: "one|two".into(),
        lines: true,
        at: at.map(str::to_owned),
        ..GrepRequest::default()
    };
    for (at, text) in [(at, "one"), (None, "two")] {
        assert_eq!(world.client.grep_files("w", &grep(at)).await.unwrap().files[0].lines[0].text, text);
    }
    assert_eq!(world.client.list_files("w", at, b"a", None, 10).await.unwrap().entries.len(), 1);
    // A snapshot is reached through a workspace that has it, not by knowing its name.
    let other = CreateWorkspace { name: "other".into(), ..CreateWorkspace::default() };
    world.client.create_workspace(&other).await.unwrap();
    let error = world.client.read_file("other", at, b"a/f", None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_holder_that_is_away_is_waited_for_and_never_passed_by() {
    let world = World::new().await;
    made(&world).await;
    put(&world, "f", "published").await;
    let (holder, running) = held(&world).await;
    put(&world, "f", "held").await;
    running.abort();
    let _ = running.await;
    while !world.state.holders().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    // Our client would ask again for a minute.
    assert_eq!(world.raw("GET", "/v1/workspaces/w/files/content?path=f", None).await.0, 503);
    let refused = write(&world, "f", &FileBasis::Any, vec![1]).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Unavailable);
    let at = Some("HEAD");
    assert_eq!(&world.client.read_file("w", at, b"f", None).await.unwrap().content[..], b"published");
    // However long ago: its journal still holds what was acknowledged.
    world.clock.skip_s(3600);
    assert_eq!(world.raw("GET", "/v1/workspaces/w/files/content?path=f", None).await.0, 503);
    let refused = write(&world, "f", &FileBasis::Any, vec![1]).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Unavailable);
    let refused = world.client.checkpoint("w", PublishNote::default()).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Unavailable, "a barrier without the holder is none");
    drop(holder);
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_breaks_the_answer_off() {
    let world = World::new().await;
    made(&world).await;
    let (holder, running) = held(&world).await;
    let (one, two) = (vec![1; 3 * FILE_PIECE_MAX], vec![2; 3 * FILE_PIECE_MAX]);
    write(&world, "f", &FileBasis::Any, one.clone()).await.unwrap();
    *holder.on_read.lock() = Some(Box::new(move |offset| {
        let content = files::request::Source::Here(files::request::Raw(two.clone()));
        let path = files::request::Raw::from("f");
        let write = files::request::Write { path, parents: false, basis: files::request::Basis::Any, content };
        (offset > 0).then_some(Request::Write(write))
    }));
    // A client may ask again, and gets the new content then; never a mixture.
    let path = "/v1/workspaces/w/files/content?path=f";
    let stream = tokio::net::UnixStream::connect(&world.socket).await.unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut read, mut write) = stream.into_split();
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    write.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = read.read_to_end(&mut answer).await;
    let body = &answer[answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4..];
    assert!(body.len() < 3 * FILE_PIECE_MAX, "the body is not whole");
    assert!(body.iter().all(|byte| *byte == 1), "nor is it a mixture");
    running.abort();
}

#[tokio::test]
async fn of_two_writers_with_one_tag_one_wins() {
    let world = World::new().await;
    made(&world).await;
    let tag = put(&world, "f", "start").await.stat.etag;
    let one_wins = async |tag: String| {
        let basis = FileBasis::Etag(tag);
        let (one, two) = tokio::join!(write(&world, "f", &basis, vec![1; 10]), write(&world, "f", &basis, vec![2; 10]));
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
        assert_eq!(one.as_ref().err().or(two.as_ref().err()).unwrap().kind(), Kind::Conflict);
        let won = if one.is_ok() { 1 } else { 2 };
        assert_eq!(get(&world, "f").await.unwrap().content[0], won);
        one.or(two).unwrap().stat.etag
    };
    let tag = one_wins(tag).await;
    let (_holder, running) = held(&world).await;
    one_wins(tag).await;
    running.abort();
}

#[tokio::test]
async fn an_engine_that_crashed_in_a_write_keeps_nobody_out_and_leaves_nothing() {
    let world = World::new().await;
    made(&world).await;
    let tag = put(&world, "f", "acknowledged").await.stat.etag;
    let id = world.client.workspace("w").await.unwrap().id;
    // What a crash leaves: the lease, and a journal with a write that nobody was told of.
    let engine = crate::server::files::free::engine_holder(&world.state, id);
    let path = world.folder.path().join(format!("data/holders/{}.engine", id.to_hex()));
    let info = HolderInfo { pid: 1, mountpoint: "x".into() };
    let folder = HolderFolder::lock(&path, id, &info, engine).unwrap();
    let attached = world.repo.attach(id, engine, &who()).await.unwrap();
    let base = Arc::new(world.repo.clone());
    let workspace = Workspace::open(folder, attached, base, Arc::new(SystemClock)).await.unwrap();
    let content = files::request::Source::Here(files::request::Raw::from("cut off"));
    let write = files::request::Write {
        path: files::request::Raw::from("f"),
        parents: false,
        basis: files::request::Basis::Any,
        content,
    };
    Files::new(workspace.clone()).run(Request::Write(write)).await.result.unwrap();
    workspace.close().await.unwrap();
    drop(workspace);

    let read = get(&world, "f").await.unwrap();
    assert_eq!((&read.content[..], &read.etag), (&b"acknowledged"[..], &tag));
    put(&world, "g", "next").await;
    assert_eq!(&get(&world, "f").await.unwrap().content[..], b"acknowledged");
    // The same with a mount that comes, instead of a write.
    world.repo.attach(id, engine, &who()).await.unwrap();
    let (_holder, running) = held(&world).await;
    assert_eq!(&get(&world, "g").await.unwrap().content[..], b"next");
    running.abort();
}
