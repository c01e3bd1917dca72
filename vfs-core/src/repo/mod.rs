//! The façade: opens bucket and database, hands out workspaces, and holds the one publish.

mod base;
mod bundles;
pub(crate) mod chosen;
pub(crate) mod config;
#[cfg(feature = "testing")]
pub(crate) mod decoders;
mod documents;
mod history;
pub(crate) mod leases;
pub(crate) mod moves;
pub(crate) mod open;
pub(crate) mod publish;
mod quotas;
mod readers;
pub(crate) mod ref_log;
mod retention;
mod sessions;
mod statistics;
mod tags;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod workspaces;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::base::{Attached, Lease, PublishNote};
use crate::clock::{Clock, Time};
use crate::db::Database;
use crate::error::Result;
use crate::id::{HolderId, ReaderId, RepoId, SessionId, SnapshotId, TenantId, WorkspaceId};
use crate::keys::OperatorKey;
use crate::limits::LEFTOVER_AGE;
use crate::object::{Ino, Node, Snapshot, Subtree};
use crate::objects::Objects;
use crate::progress::OnProgress;
use crate::store::{Batch, Store};

pub use crate::check::{CheckOptions, CheckReport, Damage, Severity, Share};
pub use crate::db::HistoryRow;
use crate::gc::Surroundings;
pub use crate::gc::{GcOptions, GcReport, RemovedRows, RetentionRules};
pub use readers::Reading;
pub use ref_log::RefLogEntry;
pub use statistics::{LastGc, Logical, ObjectStatistics, Statistics};

/// A bucket and a database. Clones are the same repo.
#[derive(Clone)]
pub struct Repo {
    inner: Arc<Inner>,
}

struct Inner {
    repo: RepoId,
    tenant: TenantId,
    /// What stands for the tenant in the database.
    tenant_number: i64,
    database: Database,
    store: Store,
    clock: Arc<dyn Clock>,
    /// Leases whose control connection is open.
    connected: Mutex<HashSet<(WorkspaceId, HolderId, u64)>>,
    sessions: publish::Sessions,
    /// Sessions that have new events, for whoever follows them.
    news: broadcast::Sender<SessionId>,
    /// Statistics that were made a moment ago.
    statistics: tokio::sync::Mutex<Option<Statistics>>,
}

/// How a repo is opened.
#[derive(Clone)]
pub struct RepoOptions {
    /// The data folder; made if need be.
    pub data: PathBuf,
    /// URL of the bucket (`file:///…`, `s3://bucket/prefix`, `memory:///`); `None` means what the data folder
    /// remembers, and at first `<data>/bucket`.
    pub bucket: Option<String>,
    /// URL of a team's database (`postgres://user:password@host/database`); `None` means what the data folder
    /// remembers, and at first SQLite in the folder itself.
    pub database: Option<String>,
    /// Wraps the tenant's keys (decision 0016). A new repo that is made with one is encrypted; one that is encrypted does
    /// not open without it.
    pub key: Option<OperatorKey>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

/// A workspace as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WorkspaceInfo {
    /// Its id; stays when it is renamed.
    pub id: WorkspaceId,
    /// Its name, unique in the tenant.
    pub name: String,
    /// Where it came from, as the caller said it (an import's folder, a fork's origin).
    pub source: Option<String>,
    /// The snapshot its ref points at.
    pub head: SnapshotId,
    /// When it was made.
    pub created: Time,
    /// Who holds it, if anybody does.
    pub holder: Option<LeaseInfo>,
}

/// A lease as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LeaseInfo {
    /// Whose it is.
    pub holder: HolderId,
    /// Its epoch.
    pub epoch: u64,
    /// The holder's machine.
    pub host: String,
    /// The holder's process.
    pub pid: u32,
    /// Where it is mounted there.
    pub mountpoint: String,
    /// When it was last heard of.
    pub last_seen: Time,
    /// Its control connection is open (see [`Repo::set_connected`]).
    pub connected: bool,
}

/// What a holder says about itself when it attaches.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HolderDescription {
    /// Its machine.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// Where it is mounted.
    pub mountpoint: String,
}

/// A name that keeps a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TagInfo {
    /// The name, unique in the workspace.
    pub name: String,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// When it was tagged.
    pub created: Time,
}

/// Retention rules, and where they come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RetentionInfo {
    /// The rules that were set for what was asked.
    pub own: Option<RetentionRules>,
    /// The rules that hold: the workspace's own, else the repo's. Without any, everything stays.
    pub effective: Option<RetentionRules>,
}

/// What a restore did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Restored {
    /// The head before, which is kept as a named row of the history; `None` if it was one already.
    pub safety: Option<SnapshotId>,
    /// The new head: the old content with the head before as its parent.
    pub snapshot: SnapshotId,
}

impl Repo {
    /// Opens the repo of a data folder; makes folder, database and bucket at first. `Unsupported` if a newer Esker wrote it.
    pub async fn open(options: RepoOptions) -> Result<Repo> {
        open::open(options).await
    }

    /// A repo that is gone when its last clone is.
    pub async fn in_memory(clock: Arc<dyn Clock>) -> Result<Repo> {
        open::in_memory(clock).await
    }

    /// The repo of this database and this bucket. One engine of several: each has a value of its own.
    #[cfg(feature = "testing")]
    pub async fn open_with(
        database: Database,
        bucket: crate::bucket::Bucket,
        clock: Arc<dyn Clock>,
        key: Option<&OperatorKey>,
    ) -> Result<Repo> {
        let remember = bucket.url().to_owned();
        open::assemble(database, bucket, &remember, clock, key).await
    }

    /// The objects.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Whether what goes to the bucket is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.inner.store.keys().is_encrypted()
    }

    /// The repo's id.
    pub fn repo_id(&self) -> RepoId {
        self.inner.repo
    }

    /// The bucket's URL; it never holds credentials that count.
    pub fn bucket_url(&self) -> &str {
        self.inner.store.bucket().url()
    }

    /// The tenant that this repo value acts for.
    pub fn tenant(&self) -> TenantId {
        self.inner.tenant
    }

    /// Collects new objects for [`Repo::move_head`] (implements [`crate::objects::NewObjects`]).
    pub fn batch(&self) -> Batch {
        self.inner.store.batch()
    }

    /// Takes a range of `count` fresh inode numbers without a lease (imports); returns the first.
    pub async fn take_inos(&self, count: u64) -> Result<Ino> {
        self.count_inos(count).await
    }

    /// Makes a workspace: a fork of `at`, or an empty root directory (0755, owned by this process).
    pub async fn create_workspace(
        &self,
        name: &str,
        source: Option<&str>,
        at: Option<SnapshotId>,
    ) -> Result<WorkspaceInfo> {
        self.make_workspace(name, source, at).await
    }

    /// All workspaces, by name.
    pub async fn workspaces(&self) -> Result<Vec<WorkspaceInfo>> {
        self.list_workspaces().await
    }

    /// One workspace, by name or id.
    pub async fn workspace(&self, name_or_id: &str) -> Result<WorkspaceInfo> {
        self.find_workspace(name_or_id).await
    }

    /// Removes a workspace and its history; `Busy` while somebody holds it.
    pub async fn delete_workspace(&self, id: WorkspaceId) -> Result<()> {
        self.remove_workspace(id).await
    }

    /// One snapshot.
    pub async fn snapshot(&self, id: SnapshotId) -> Result<Snapshot> {
        Snapshot::decode(&self.store().read(id.into()).await?)
    }

    /// The snapshot that `HEAD`, a tag, or a prefix of at least four hexadecimal digits names in a workspace's history
    /// and its ancestors. `Invalid` if it names several.
    pub async fn resolve_snapshot(&self, workspace: WorkspaceId, prefix: &str) -> Result<SnapshotId> {
        self.find_snapshot(workspace, prefix).await
    }

    /// The newest `limit` rows of a workspace's history, newest first; automatic ones only with `all`.
    pub async fn history(&self, id: WorkspaceId, all: bool, limit: u32) -> Result<Vec<HistoryRow>> {
        self.read_history(id, all, limit).await
    }

    /// Publishes new content without a lease (an import): `batch` holds its objects. `Busy` while somebody holds the
    /// workspace, `Conflict` if the head is not `expected` any more.
    pub async fn move_head(
        &self,
        workspace: WorkspaceId,
        expected: SnapshotId,
        batch: Batch,
        root: Node,
        links: Option<Subtree>,
        note: PublishNote,
    ) -> Result<SnapshotId> {
        self.publish_free(workspace, expected, batch, (root, links), note).await
    }

    /// Publishes the content of an older snapshot as a new one; the head before stays in the history under a name.
    /// `Busy` while somebody holds the workspace, unless `lease` is theirs.
    pub async fn restore(
        &self,
        workspace: WorkspaceId,
        lease: Option<&Lease>,
        to: SnapshotId,
        note: PublishNote,
    ) -> Result<Restored> {
        self.restore_to(workspace, lease, to, note).await
    }

    /// Binds a holder. The same holder id gets a new epoch at once; another one is refused with `Busy` while the
    /// lease is connected or younger than [`crate::limits::LEASE_TTL`].
    pub async fn attach(&self, workspace: WorkspaceId, holder: HolderId, who: &HolderDescription) -> Result<Attached> {
        self.attach_holder(workspace, holder, who).await
    }

    /// Says that the holder lives.
    pub async fn touch(&self, lease: &Lease) -> Result<()> {
        self.touch_lease(lease).await
    }

    /// Gives the lease back; fine if it is gone already.
    pub async fn detach(&self, lease: &Lease) -> Result<()> {
        self.detach_holder(lease).await
    }

    /// Says whether the holder's control connection is open: while it is, the lease does not run out. Not stored.
    pub fn set_connected(&self, lease: &Lease, connected_now: bool) {
        let key = (lease.workspace, lease.holder, lease.epoch);
        let mut connected = self.inner.connected.lock();
        if connected_now {
            connected.insert(key)
        } else {
            connected.remove(&key)
        };
    }

    /// Gives a snapshot of a workspace's history a name, which keeps it from gc until it is removed. `AlreadyExists` if
    /// the name stands for another snapshot.
    pub async fn add_tag(&self, workspace: WorkspaceId, name: &str, snapshot: SnapshotId) -> Result<TagInfo> {
        self.put_tag(workspace, name, snapshot).await
    }

    /// The tags of a workspace, by name.
    pub async fn tags(&self, workspace: WorkspaceId) -> Result<Vec<TagInfo>> {
        self.list_tags(workspace).await
    }

    /// Removes a tag; `NotFound` if there is none.
    pub async fn remove_tag(&self, workspace: WorkspaceId, name: &str) -> Result<()> {
        self.drop_tag(workspace, name).await
    }

    /// Keeps a snapshot of a workspace for somebody who reads it, for [`crate::limits::READER_TTL`]; said again, for as long
    /// again. `NotFound` if nothing keeps it any more.
    pub async fn keep_reading(&self, reader: ReaderId, workspace: WorkspaceId, snapshot: SnapshotId) -> Result<()> {
        self.put_reader(reader, Some(workspace), snapshot).await
    }

    /// The reader has read enough; fine if it is forgotten already.
    pub async fn end_reading(&self, reader: ReaderId) -> Result<()> {
        self.drop_reader(reader).await
    }

    /// Keeps a snapshot of a history for this process, until the answer is ended; one that is only dropped keeps it for
    /// [`crate::limits::READER_TTL`] more.
    pub async fn read_for_long(&self, snapshot: SnapshotId) -> Result<Reading> {
        self.begin_reading(snapshot).await
    }

    /// The retention rules of a workspace, or with `None` of the repo.
    pub async fn retention(&self, workspace: Option<WorkspaceId>) -> Result<RetentionInfo> {
        self.read_retention(workspace).await
    }

    /// Sets the retention rules of a workspace or of the repo, or takes them away. gc applies them.
    pub async fn set_retention(&self, workspace: Option<WorkspaceId>, rules: Option<RetentionRules>) -> Result<()> {
        self.write_retention(workspace, rules).await
    }

    /// Condemns packs that nothing reaches and deletes those whose grace period is over. Any doubt deletes nothing.
    pub async fn gc(&self, options: GcOptions, progress: &OnProgress) -> Result<GcReport> {
        self.inner.sessions.forget_idle(self.now());
        self.refuse_if_taken_over().await?;
        if options.delete {
            let before = Time::from_nanos(self.now().as_nanos() - LEFTOVER_AGE.as_nanos() as i128);
            self.store().bucket().remove_leftovers(before).await?;
        }
        let surroundings = Surroundings { bases: self.inner.sessions.bases(), ..Surroundings::default() };
        let report = crate::gc::gc(self.store(), options, surroundings, progress).await?;
        self.remember_gc(&report).await?;
        Ok(report)
    }

    /// Keeps what is read from a remote bucket in a folder of this machine, in at most so many bytes; 0 keeps nothing.
    /// `Busy` if another engine has the folder. Once for a repo.
    pub fn cache_reads(&self, folder: &Path, limit_bytes: u64) -> Result<()> {
        self.store().cache_in(folder, limit_bytes)
    }

    /// How much there is, and what it took. Adds up the whole index: a second for some million objects.
    pub async fn statistics(&self) -> Result<Statistics> {
        self.add_up(Duration::ZERO).await
    }

    /// Statistics whose sums may be so old; counters are always new.
    pub async fn recent_statistics(&self, age: Duration) -> Result<Statistics> {
        self.add_up(age).await
    }

    /// Looks for damage; repairs nothing.
    pub async fn check(&self, options: CheckOptions, progress: &OnProgress) -> Result<CheckReport> {
        crate::check::check(self.store(), options, Share::default(), progress).await
    }

    /// Looks for damage, with the bytes of a share of the packs.
    pub async fn check_share(&self, share: Share, progress: &OnProgress) -> Result<CheckReport> {
        crate::check::check(self.store(), CheckOptions { full: true }, share, progress).await
    }

    /// `Denied` if a rebuild has taken the bucket over since this repo was opened: its packs look like garbage here.
    pub(crate) async fn refuse_if_taken_over(&self) -> Result<()> {
        let own = {
            let mut connection = self.database().read().await?;
            crate::db::meta::get(&mut connection, crate::rebuild::owner::OWNER).await?
        };
        let own = own.and_then(|number| number.parse().ok()).unwrap_or(0);
        crate::rebuild::owner::check(self.store().bucket(), self.tenant(), own).await
    }

    /// What publishes that are open here build on.
    #[cfg(test)]
    pub(crate) fn open_bases(&self) -> HashSet<SnapshotId> {
        self.inner.sessions.bases()
    }

    /// A repo in a bucket of a test's own.
    #[cfg(test)]
    pub(crate) async fn over(bucket: crate::bucket::Bucket, clock: Arc<dyn Clock>) -> Repo {
        let database = Database::in_memory().await.expect("because memory is there");
        open::assemble(database, bucket, "memory:///", clock, None).await.expect("because both are new")
    }

    /// Another engine on the same database and bucket.
    #[cfg(test)]
    pub(crate) async fn beside(&self) -> Repo {
        let (database, bucket) = (self.database().clone(), self.store().bucket().clone());
        open::assemble(database, bucket, "memory:///", self.inner.clock.clone(), None)
            .await
            .expect("because it is open")
    }

    pub(crate) fn database(&self) -> &Database {
        &self.inner.database
    }

    pub(crate) fn now(&self) -> Time {
        self.inner.clock.now()
    }
}
