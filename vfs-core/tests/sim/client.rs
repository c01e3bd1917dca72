//! A client of an engine: does something by chance, tells the model before and after, and knows which errors may come.

use std::sync::Arc;
use std::time::Duration;

use vfs_core::base::{Lease, PublishNote, Publisher};
use vfs_core::documents::{
    Basis, Change as DocumentChange, DocumentPath, Grants, Outcome, Scope, Within, Write, Writer,
};
use vfs_core::id::{HolderId, SnapshotId, WorkspaceId};
use vfs_core::limits::LEASE_TTL;
use vfs_core::object::{Ino, Node};
use vfs_core::progress::silent;
use vfs_core::repo::{CheckOptions, GcOptions, HolderDescription, Repo};
use vfs_core::testing::{HandClock, Random};
use vfs_core::{Error, Kind, Result};

use crate::files::{Change, content, files};
use crate::model::{Deleted, Model};

/// How often each operation comes, in shares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mix {
    pub(crate) moves: u64,
    pub(crate) holds: u64,
    pub(crate) makes: u64,
    pub(crate) deletes: u64,
    pub(crate) restores: u64,
    pub(crate) documents: u64,
    pub(crate) reads: u64,
    pub(crate) checks: u64,
    /// Names of workspaces that there are.
    pub(crate) names: u64,
    /// The first client of each engine only collects garbage.
    pub(crate) collects: bool,
}

impl Mix {
    /// A little of everything.
    pub(crate) const ALL: Mix = Mix {
        moves: 25,
        holds: 30,
        makes: 12,
        deletes: 6,
        restores: 5,
        documents: 8,
        reads: 12,
        checks: 2,
        names: 4,
        collects: true,
    };
    /// Only compare-and-set on one name.
    pub(crate) const REFS: Mix = Mix {
        moves: 80,
        holds: 8,
        makes: 0,
        deletes: 0,
        restores: 4,
        documents: 0,
        reads: 8,
        checks: 0,
        names: 1,
        collects: false,
    };
}

/// One client.
pub(crate) struct Client {
    pub(crate) repo: Repo,
    pub(crate) model: Model,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) random: Random,
    pub(crate) holder: u8,
    pub(crate) mix: Mix,
    /// Whether the bucket has faults: then more errors are fine.
    pub(crate) faulty: bool,
    pub(crate) held: Option<Held>,
}

/// A workspace that this client holds.
pub(crate) struct Held {
    lease: Lease,
    base: SnapshotId,
    root: Node,
    position: u64,
}

fn note() -> PublishNote {
    PublishNote { author: "ada".into(), message: "world".into(), ..PublishNote::default() }
}

impl Client {
    /// Does one thing.
    pub(crate) async fn act(&mut self) {
        let Mix { moves, holds, makes, deletes, restores, documents, reads, checks, .. } = self.mix;
        let shares = [moves, holds, makes, deletes, restores, documents, reads, checks];
        let mut number = self.random.below(shares.iter().sum());
        let mut which = 0;
        while number >= shares[which] {
            number -= shares[which];
            which += 1;
        }
        let (what, result) = match which {
            0 => ("move", self.move_free().await),
            1 => ("hold", self.hold().await),
            2 => ("make", self.make().await),
            3 => ("delete", self.delete().await),
            4 => ("restore", self.restore().await),
            5 => ("document", self.document().await),
            6 => ("read", self.read().await),
            _ => ("check", self.check().await),
        };
        self.judge(what, result);
    }

    /// Which errors an operation may end with.
    fn judge(&self, what: &str, result: Result<()>) {
        let Err(error) = result else { return };
        let fine = match error.kind() {
            Kind::Conflict | Kind::Busy | Kind::NotFound | Kind::AlreadyExists | Kind::LeaseLost => true,
            // Wrong bytes and lists that lack something must be called damage, never be believed.
            Kind::Unavailable | Kind::Denied | Kind::Corrupt | Kind::NoSpace => self.faulty,
            _ => false,
        };
        assert!(fine, "a {what} ended with {:?}: {}", error.kind(), error.chain());
        assert!(!error.context().is_empty());
    }

    fn name(&mut self) -> String {
        format!("w{}", self.random.below(self.mix.names))
    }

    async fn make(&mut self) -> Result<()> {
        let name = self.name();
        let at = match self.random.percent(60) {
            true => {
                let other = self.name();
                self.repo.workspace(&other).await.ok().map(|info| info.head)
            }
            false => None,
        };
        self.model.makes(&name, at);
        let info = self.repo.create_workspace(&name, None, at).await?;
        let known = match at {
            Some(at) => self.model.files(at),
            None => Some(Default::default()),
        };
        self.model.made(info.id, &name, info.head, known);
        Ok(())
    }

    async fn delete(&mut self) -> Result<()> {
        let name = self.name();
        let id = self.repo.workspace(&name).await?.id;
        self.model.deletes(id, Deleted::Maybe);
        self.repo.delete_workspace(id).await?;
        self.model.deletes(id, Deleted::Yes);
        Ok(())
    }

    /// Compare-and-set on a head that may be an old one.
    async fn move_free(&mut self) -> Result<()> {
        let name = self.name();
        let info = self.repo.workspace(&name).await?;
        let before = self.found(info.id, info.head).await?;
        let change = Change::random(&mut self.random, &before);
        let after = change.apply(&before);
        let batch = self.repo.batch();
        let (root, links) = change.build(&self.repo, &batch, info.head, now(&self.clock)).await?;
        self.model.moves(info.id, Some(info.head), &after);
        match self.repo.move_head(info.id, info.head, batch, root, links, note()).await {
            Ok(snapshot) => self.model.moved(info.id, Some(info.head), snapshot, &after),
            Err(error) => {
                if matches!(error.kind(), Kind::Conflict | Kind::Busy) {
                    self.model.refused(info.id, Some(info.head), &after);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// The files of a head: as the model knows them, else as they are, which must be what somebody wrote.
    async fn found(&mut self, id: WorkspaceId, head: SnapshotId) -> Result<crate::files::Files> {
        if let Some(known) = self.model.files(head) {
            return Ok(known);
        }
        let found = self.look(id, head).await?;
        self.model.saw(id, head, &found);
        Ok(found)
    }

    /// Reads a snapshot that a workspace's history holds: it must be there as long as the workspace is.
    async fn look(&mut self, id: WorkspaceId, head: SnapshotId) -> Result<crate::files::Files> {
        let stood = self.model.stands(id);
        match files(&self.repo, head).await {
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Corrupt) && !self.faulty => {
                assert!(!stood || !self.model.stands(id), "{head} of a workspace is lost: {}", error.chain());
                self.model.0.lock().late_reads += 1;
                Err(Error::new(Kind::NotFound, "it was deleted meanwhile"))
            }
            result => result,
        }
    }

    async fn read(&mut self) -> Result<()> {
        let name = self.name();
        let info = self.repo.workspace(&name).await?;
        let rows = self.repo.history(info.id, true, 5).await?;
        let row = self.random.pick(&rows).snapshot;
        let found = self.look(info.id, row).await?;
        if row == info.head {
            self.model.saw(info.id, row, &found);
        } else if let Some(known) = self.model.files(row) {
            assert_eq!(known, found, "the snapshot {row} does not hold what was acknowledged");
        }
        Ok(())
    }

    async fn restore(&mut self) -> Result<()> {
        let name = self.name();
        let id = self.repo.workspace(&name).await?.id;
        let rows = self.repo.history(id, true, 8).await?;
        let to = self.random.pick(&rows).snapshot;
        let Some(after) = self.model.files(to) else { return Ok(()) };
        let lease = self.held.as_ref().map(|held| held.lease).filter(|lease| lease.workspace == id);
        self.model.moves(id, None, &after);
        match self.repo.restore(id, lease.as_ref(), to, note()).await {
            Ok(restored) => {
                self.model.moved(id, None, restored.snapshot, &after);
                // The base of what this client holds has moved: as a mount does, it begins anew.
                self.held = self.held.take().filter(|held| held.lease.workspace != id);
            }
            Err(error) => {
                if matches!(error.kind(), Kind::Conflict | Kind::Busy | Kind::LeaseLost) {
                    self.model.refused(id, None, &after);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Attaches, publishes as a mount does, detaches, or takes over after the lease ran out.
    async fn hold(&mut self) -> Result<()> {
        match self.held.take() {
            None => {
                if self.random.percent(15) {
                    self.clock.advance(LEASE_TTL);
                }
                let name = self.name();
                let id = self.repo.workspace(&name).await?.id;
                let holder = HolderId::from_bytes([self.holder; 16]);
                let who = HolderDescription { host: "here".into(), pid: 7, mountpoint: "/world".into() };
                let attached = self.repo.attach(id, holder, &who).await?;
                let position = attached.position;
                let (base, root) = (attached.head, attached.snapshot.root);
                self.held = Some(Held { lease: attached.lease, base, root, position });
                Ok(())
            }
            Some(held) if self.random.percent(20) => self.repo.detach(&held.lease).await,
            Some(held) => self.publish(held).await,
        }
    }

    async fn publish(&mut self, mut held: Held) -> Result<()> {
        let before = self.found(held.lease.workspace, held.base).await?;
        let change = Change::random(&mut self.random, &before);
        let after = change.apply(&before);
        held.position += 100;
        let ino = self.repo.allocate_inos(&held.lease, 1).await?;
        let id = held.lease.workspace;
        self.model.moves(id, Some(held.base), &after);
        let mut result = self.send(&held, &change, ino).await;
        for _ in 0..2 {
            // An answer that was lost is asked for again with the same position.
            match &result {
                Err(error) if error.kind() == Kind::Unavailable => result = self.send(&held, &change, ino).await,
                _ => break,
            }
        }
        match result {
            Ok(snapshot) => {
                self.model.moved(id, Some(held.base), snapshot, &after);
                held.root = self.repo.snapshot(snapshot).await?.root;
                held.base = snapshot;
                self.held = Some(held);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn send(&self, held: &Held, change: &Change, ino: Ino) -> Result<SnapshotId> {
        let Held { lease, base, root, position } = held;
        self.repo.begin(lease, *base, *position).await?;
        let chunks = change.chunks.clone().unwrap_or_default();
        let refs = self.repo.put_chunks(lease, *position, chunks).await?;
        // The same bytes each time, so that a repetition is recognised.
        let changes = change.change_set(root, ino, &refs, root.mtime);
        self.repo.put_changes(lease, *position, changes).await?;
        Ok(self.repo.commit(lease, *position, note()).await?.snapshot)
    }

    async fn document(&mut self) -> Result<()> {
        let path: DocumentPath = format!("d{}.md", self.random.below(3)).parse()?;
        let within = Within::Scope(Scope::org());
        let basis = match self.repo.find_document(&within, &path).await {
            Ok(version) => Basis::Version(version.version),
            Err(error) if error.kind() == Kind::NotFound => Basis::Absent,
            Err(error) => return Err(error),
        };
        let bytes = content(self.random.next());
        let write = Write {
            scope: Scope::org(),
            path: path.clone(),
            basis,
            change: DocumentChange::Put(bytes.clone()),
            merge: false,
            grants: Grants::All,
            writer: Writer { author: "ada".into(), ..Writer::default() },
        };
        if let Outcome::Written(version) = self.repo.write_document(&write).await? {
            let key = (path.as_str().to_owned(), version.version);
            self.model.0.lock().documents.insert(key, bytes);
        }
        Ok(())
    }

    /// Others change things meanwhile, so what it finds is not judged here; the end of the world is.
    async fn check(&mut self) -> Result<()> {
        self.repo.check(CheckOptions { full: false }, &silent).await.map(drop)
    }

    /// gc, with and without grace, really deleting or not.
    pub(crate) async fn collect(&mut self) {
        let grace = if self.random.percent(60) { Duration::ZERO } else { Duration::from_secs(3600) };
        let options = collecting(grace, self.random.percent(90));
        match self.repo.gc(options, &silent).await {
            Ok(_) => {}
            Err(error) => {
                let fine = match error.kind() {
                    Kind::Busy | Kind::Conflict => true,
                    Kind::Corrupt | Kind::Unavailable | Kind::Denied | Kind::NoSpace => self.faulty,
                    _ => false,
                };
                assert!(fine, "gc ended with {:?}: {}", error.kind(), error.chain());
            }
        }
    }
}

/// How gc works here.
pub(crate) fn collecting(grace: Duration, delete: bool) -> GcOptions {
    GcOptions { grace, delete, ..GcOptions::default() }
}

pub(crate) fn now(clock: &HandClock) -> vfs_core::clock::Time {
    vfs_core::clock::Clock::now(clock)
}
