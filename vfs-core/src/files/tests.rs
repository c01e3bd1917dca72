//! Files by path, on a repo in memory: a holder with its journal, or a snapshot.

mod crash;
mod one;
mod search;

use std::sync::Arc;

use super::request::*;
use super::{Done, Files};
use crate::base::PublishNote;
use crate::clock::SystemClock;
use crate::error::{Kind, Result};
use crate::id::{HolderId, WorkspaceId};
use crate::object::Ino;
use crate::repo::{HolderDescription, Repo};
use crate::workspace::{HolderFolder, HolderInfo, Invalidation, Workspace};

/// A workspace with a holder.
struct World {
    repo: Repo,
    id: WorkspaceId,
    folder: tempfile::TempDir,
    workspace: Arc<Workspace>,
    files: Arc<Files>,
}

async fn open(repo: &Repo, id: WorkspaceId, folder: &std::path::Path) -> Arc<Workspace> {
    let info = HolderInfo { pid: 1, mountpoint: "/test".into() };
    let folder = HolderFolder::lock(folder, id, &info, HolderId::from_bytes([7; 16])).unwrap();
    let who = HolderDescription { host: "here".into(), pid: 1, mountpoint: "/test".into() };
    let attached = repo.attach(id, folder.holder_id(), &who).await.unwrap();
    Workspace::open(folder, attached, Arc::new(repo.clone()), Arc::new(SystemClock)).await.unwrap()
}

impl World {
    async fn new() -> World {
        let repo = Repo::in_memory(Arc::new(SystemClock)).await.unwrap();
        let id = repo.create_workspace("w", None, None).await.unwrap().id;
        let folder = tempfile::tempdir().unwrap();
        let workspace = open(&repo, id, folder.path()).await;
        let files = Files::new(workspace.clone());
        World { repo, id, folder, workspace, files }
    }

    /// With these files, all published and nothing in memory.
    async fn with(files: &[(&str, &str)]) -> World {
        let mut world = World::new().await;
        for (path, content) in files {
            world.write(path, content.as_bytes()).await.unwrap();
        }
        world.publish().await;
        world.reopen().await;
        world
    }

    async fn publish(&self) {
        let note = PublishNote { message: "test".into(), ..PublishNote::default() };
        self.workspace.checkpoint(note).await.unwrap();
    }

    /// Lets go of the folder, as a crash does.
    async fn close(&mut self) {
        let id = self.workspace.base();
        let snapshot = self.repo.snapshot(id).await.unwrap();
        let shown = Workspace::open_read_only(id, snapshot, Arc::new(self.repo.clone()), Arc::new(SystemClock));
        self.workspace = shown.await.unwrap();
        self.files = Files::new(self.workspace.clone());
    }

    /// Opens it again, as after a crash.
    async fn reopen(&mut self) {
        self.close().await;
        self.workspace = open(&self.repo, self.id, self.folder.path()).await;
        self.files = Files::new(self.workspace.clone());
    }

    async fn ask(&self, request: Request) -> Result<Answer> {
        self.files.run(request).await.result
    }

    async fn write_on(&self, path: &str, content: &[u8], basis: Basis) -> Result<Written> {
        let content = Source::Here(Raw::from(content));
        match self.ask(Request::Write(Write { path: Raw::from(path), parents: true, basis, content })).await? {
            Answer::Written(written) => Ok(written),
            other => panic!("{other:?}"),
        }
    }

    async fn write(&self, path: &str, content: &[u8]) -> Result<Written> {
        self.write_on(path, content, Basis::Any).await
    }

    async fn piece(&self, path: &str) -> Result<Piece> {
        match self.ask(Request::Read { path: Raw::from(path), offset: 0, length: u64::MAX }).await? {
            Answer::Piece(piece) => Ok(piece),
            other => panic!("{other:?}"),
        }
    }

    async fn read(&self, path: &str) -> Result<String> {
        Ok(String::from_utf8(self.piece(path).await?.content.0).unwrap())
    }

    async fn stat(&self, path: &str) -> Result<Entry> {
        match self.ask(Request::Stat { path: Raw::from(path) }).await? {
            Answer::Stat(entry) => Ok(entry),
            other => panic!("{other:?}"),
        }
    }

    async fn names(&self, path: &str) -> Vec<String> {
        match self.ask(Request::List { path: Raw::from(path), after: None, limit: 1000 }).await.unwrap() {
            Answer::Listing(listing) => listing.entries.iter().map(|entry| text(&entry.name)).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Makes a symlink as a mount would.
    async fn symlink(&self, path: &str, target: &str) {
        use crate::object::FileKind;
        use crate::workspace::NewNode;
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = Ino(self.stat(parent).await.unwrap().ino);
        let new = NewNode { kind: FileKind::Symlink, mode: 0o777, uid: 0, gid: 0, rdev: 0, target: target.as_bytes() };
        let made = by_kernel(&self.workspace, |workspace| workspace.make(parent, name.as_bytes(), &new)).await;
        self.workspace.forget(made.ino, 1);
    }
}

/// An operation as the mount does it.
async fn by_kernel<T>(
    workspace: &Workspace,
    mut operation: impl FnMut(&Workspace) -> crate::workspace::Answer<T>,
) -> T {
    use crate::workspace::Stop;
    loop {
        match operation(workspace) {
            Ok(answer) => return answer,
            Err(Stop::Failed(error)) => panic!("{error}"),
            Err(Stop::Miss(miss)) => workspace.fill(miss).await.unwrap(),
        }
    }
}

fn text(raw: &Raw) -> String {
    String::from_utf8(raw.0.clone()).unwrap()
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> Kind {
    result.unwrap_err().kind()
}
