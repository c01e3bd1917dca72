//! Workspaces: making, listing, forking, restoring, removing.

use bytes::Bytes;

use super::moves::{Move, Mover, history_row, not_in_history};
use super::publish::{INO_FIRST, parents_on};
use super::ref_log::RefLogEntry;
use super::{Repo, Restored, WorkspaceInfo};
use crate::base::{Lease, PublishNote};
use crate::chance::random;
use crate::change::bare_node;
use crate::clock::Time;
use crate::db::{Connection, RefRow, WorkspaceRow, counters, history, leases, packs, refs, workspaces};
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectKind, SnapshotId, WorkspaceId};
use crate::limits::{DESCRIPTION_MAX, WORKSPACE_NAME_MAX};
use crate::object::{Body, Ino, Node, Snapshot, Subtree, TreeNode};
use crate::objects::{NewObjects, Objects};
use crate::quota::Usage;
use crate::store::Batch;

impl Repo {
    pub(super) async fn make_workspace(
        &self,
        name: &str,
        source: Option<&str>,
        at: Option<SnapshotId>,
    ) -> Result<WorkspaceInfo> {
        check_name("workspace", name)?;
        if source.is_some_and(|source| source.len() > DESCRIPTION_MAX) {
            return Err(Error::new(Kind::Invalid, format!("a source may have at most {DESCRIPTION_MAX} bytes")));
        }
        let time = self.now();
        let batch = self.batch();
        let mut usage = Usage::default();
        let (head, message) = match at {
            Some(at) => {
                usage = Usage::of(&self.snapshot(at).await?);
                (at, format!("forked at {}", &at.to_hex()[..12]))
            }
            None => (self.empty_snapshot(&batch, time).await?, "created".to_owned()),
        };
        let packs = batch.finish().await?;
        let id = WorkspaceId::from_bytes(random()?);
        let row = WorkspaceRow { id, name: name.to_owned(), source: source.map(str::to_owned), created: time };
        let entry = RefLogEntry {
            format: RefLogEntry::FORMAT,
            workspace: id,
            name: name.to_owned(),
            snapshot: Some(head),
            parent: None,
            epoch: 0,
            sequence: 1,
            time,
            holder: None,
            position: 0,
            ino: Some(self.next_ino().await?),
            digest: None,
        };
        self.put_ref_log(&entry).await?;
        let note = PublishNote { message, ..PublishNote::default() };
        let mut transaction = self.database().begin().await?;
        if let Some(at) = at
            && !history::holds(&mut transaction, self.inner.tenant_number, at).await?
        {
            return Err(not_in_history(at));
        }
        packs::revive(&mut transaction, &packs).await?;
        workspaces::insert(&mut transaction, self.inner.tenant_number, &row).await?;
        self.take_usage(&mut transaction, id, Usage::default(), usage, false).await?;
        let head_row = RefRow { workspace: id, snapshot: head, epoch: 0, sequence: 1, covered: None };
        refs::put(&mut transaction, &head_row).await?;
        history::put(&mut transaction, id, &history_row(1, head, time, &note)).await?;
        counters::take(&mut transaction, counters::ROOTS, 0, 1).await?;
        self.database().commit(transaction).await?;
        Ok(WorkspaceInfo { id, name: row.name, source: row.source, head, created: time, holder: None })
    }

    async fn next_ino(&self) -> Result<u64> {
        let mut connection = self.database().read().await?;
        counters::get(&mut connection, counters::INO, INO_FIRST).await
    }

    async fn empty_snapshot(&self, batch: &Batch, time: Time) -> Result<SnapshotId> {
        let (subtree, bytes) = TreeNode::EMPTY.seal(batch.key());
        batch.add(ObjectKind::Tree, bytes.into()).await?;
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let root = bare_node(Ino::ROOT, Body::Directory(subtree), 0o755, uid, gid, time);
        let note = PublishNote { message: "created".into(), ..PublishNote::default() };
        add_snapshot(batch, new_snapshot(root, None, Vec::new(), time, &note)).await
    }

    pub(super) async fn list_workspaces(&self) -> Result<Vec<WorkspaceInfo>> {
        let mut connection = self.database().read().await?;
        let mut infos = Vec::new();
        for row in workspaces::all(&mut connection, self.inner.tenant_number).await? {
            match self.describe(&mut connection, row).await {
                Ok(info) => infos.push(info),
                // It was removed while we looked.
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(infos)
    }

    pub(super) async fn find_workspace(&self, name_or_id: &str) -> Result<WorkspaceInfo> {
        let mut connection = self.database().read().await?;
        let tenant = self.inner.tenant_number;
        let mut row = workspaces::by_name(&mut connection, tenant, name_or_id).await?;
        if row.is_none()
            && let Ok(id) = name_or_id.parse()
        {
            row = workspaces::by_id(&mut connection, tenant, id).await?;
        }
        let row = row.ok_or_else(|| Error::new(Kind::NotFound, format!("there is no workspace {name_or_id:?}")))?;
        self.describe(&mut connection, row).await
    }

    async fn describe(&self, connection: &mut Connection, row: WorkspaceRow) -> Result<WorkspaceInfo> {
        let head = refs::get(connection, row.id).await?.snapshot;
        let holder = leases::get(connection, row.id).await?.map(|lease| self.lease_info(&lease));
        Ok(WorkspaceInfo { id: row.id, name: row.name, source: row.source, head, created: row.created, holder })
    }

    pub(super) async fn remove_workspace(&self, id: WorkspaceId) -> Result<()> {
        let mut transaction = self.database().begin().await?;
        let head = refs::get(&mut transaction, id).await?;
        self.take_free(&mut transaction, id).await?;
        workspaces::remove(&mut transaction, id).await?;
        counters::take(&mut transaction, counters::ROOTS, 0, 1).await?;
        self.database().commit(transaction).await?;
        self.inner.sessions.forget(id);
        // Only a rebuild reads it. If we do not get here, a rebuild brings the workspace back, which is the safe side.
        let entry = RefLogEntry {
            format: RefLogEntry::FORMAT,
            workspace: id,
            name: String::new(),
            snapshot: None,
            parent: Some(head.snapshot),
            epoch: head.epoch,
            sequence: head.sequence + 1,
            time: self.now(),
            holder: None,
            position: 0,
            ino: Some(self.next_ino().await?),
            digest: None,
        };
        self.put_ref_log(&entry).await
    }

    pub(super) async fn publish_free(
        &self,
        workspace: WorkspaceId,
        expected: SnapshotId,
        batch: Batch,
        content: (Node, Option<Subtree>),
        note: PublishNote,
    ) -> Result<SnapshotId> {
        let (root, links) = content;
        if root.ino != Ino::ROOT || !matches!(root.body, Body::Directory(_)) {
            return Err(Error::new(Kind::Invalid, "the root of a snapshot must be a directory with inode number 1"));
        }
        let time = self.now();
        let before = self.snapshot(expected).await?;
        let parents = parents_on(expected, &before);
        let after = new_snapshot(root, links, parents, time, &note);
        let usage = (Usage::of(&before), Usage::of(&after));
        let snapshot = add_snapshot(&batch, after).await?;
        let packs = batch.finish().await?;
        let mover = Mover::Nobody;
        let (source, keep_expected) = (None, None);
        let step = Move {
            workspace,
            mover,
            expected,
            snapshot,
            usage,
            time,
            note: &note,
            packs: &packs,
            source,
            keep_expected,
        };
        self.move_ref(&step).await?;
        Ok(snapshot)
    }

    pub(super) async fn restore_to(
        &self,
        workspace: WorkspaceId,
        lease: Option<&Lease>,
        to: SnapshotId,
        note: PublishNote,
    ) -> Result<Restored> {
        let time = self.now();
        let expected = self.head(workspace).await?;
        let old = self.snapshot(to).await?;
        let batch = self.batch();
        let before = self.snapshot(expected).await?;
        let usage = (Usage::of(&before), Usage::of(&old));
        let restored = new_snapshot(old.root, old.links, vec![expected], time, &note);
        let snapshot = add_snapshot(&batch, restored).await?;
        let packs = batch.finish().await?;
        let mover = lease.map_or(Mover::Nobody, Mover::Beside);
        let keep_expected = Some(format!("before restoring {}", &to.to_hex()[..12]));
        let source = Some(to);
        let step = Move {
            workspace,
            mover,
            expected,
            snapshot,
            usage,
            time,
            note: &note,
            packs: &packs,
            source,
            keep_expected,
        };
        let kept = self.move_ref(&step).await?;
        Ok(Restored { safety: kept.then_some(expected), snapshot })
    }

    pub(super) async fn head(&self, workspace: WorkspaceId) -> Result<SnapshotId> {
        let mut connection = self.database().read().await?;
        Ok(refs::get(&mut connection, workspace).await?.snapshot)
    }
}

/// A snapshot value.
pub(crate) fn new_snapshot(
    root: Node,
    links: Option<Subtree>,
    parents: Vec<SnapshotId>,
    time: Time,
    note: &PublishNote,
) -> Snapshot {
    Snapshot {
        root,
        links,
        parents,
        author: note.author.clone(),
        time,
        message: note.message.clone(),
        automatic: note.automatic,
        provenance: note.provenance(),
    }
}

/// Adds a snapshot object.
pub(crate) async fn add_snapshot(batch: &Batch, snapshot: Snapshot) -> Result<SnapshotId> {
    snapshot.validate()?;
    let id = batch.add(ObjectKind::Snapshot, Bytes::from(snapshot.encode())).await?;
    Ok(SnapshotId::from_bytes(id.hash))
}

/// A name becomes a folder and is written as `name@snapshot:path`.
pub(super) fn check_name(what: &str, name: &str) -> Result<()> {
    let invalid = |why: &str| Err(Error::new(Kind::Invalid, format!("the {what} name {name:?} {why}")));
    let allowed = |letter: char| letter.is_alphanumeric() || "._-+".contains(letter);
    match name {
        "" => invalid("is empty"),
        _ if name.len() > WORKSPACE_NAME_MAX => invalid(&format!("has more than {WORKSPACE_NAME_MAX} bytes")),
        _ if name.starts_with(['.', '-']) => invalid("starts with a dot or a dash"),
        _ if !name.chars().all(allowed) => invalid("may only hold letters, digits and . _ - +"),
        _ if name.parse::<WorkspaceId>().is_ok() => invalid("looks like an id"),
        _ => Ok(()),
    }
}
