//! A checkpoint: cut the overlay at a journal position, send what changed, stand on the new snapshot.
//!
//! Work goes on meanwhile: what changes after the cut stays in the overlay and is laid over the new base.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::Workspace;
use super::cache::CachedBase;
use super::content::FileView;
use super::folder::State as FolderState;
use super::inode::{DirectoryBody, FileBody, Inode, InodeBody, InodeXattrs, SymlinkBody, UNCHANGED};
use super::journal::JournalReader;
use super::record::Record;
use super::send::{Sender, Sent, SentContent, change_of};
use super::state::State;
use crate::base::{Lease, PublishNote, Published, Publisher};
use crate::change::{ChangeSet, DirectoryChange, NodeChange};
use crate::error::{Error, Kind, Result};
use crate::id::{ContentDigest, SnapshotId};
use crate::limits::PUBLISH_BATCH_NODES;
use crate::name::Name;
use crate::object::{Body, Content, Ino, Node, Subtree, Totals, XattrsRef};

/// A cut on its way to the engine, and what is said about it.
pub(super) struct Pending {
    cut: OverlayCut,
    note: PublishNote,
}

/// The overlay at one journal position.
pub(super) struct OverlayCut {
    pub(super) position: u64,
    pub(super) base: SnapshotId,
    pub(super) nodes: Vec<NodeCut>,
    pub(super) directories: BTreeMap<Ino, DirectoryChange>,
    pub(super) unlinked: Vec<Ino>,
    pub(super) reader: JournalReader,
    pub(super) cache: Arc<CachedBase>,
}

pub(super) struct NodeCut {
    pub(super) node: Node,
    pub(super) linked: bool,
    pub(super) file: Option<FileView>,
    pub(super) symlink: Option<Bytes>,
    pub(super) xattrs: Option<Bytes>,
}

impl Workspace {
    /// Publishes everything written before the call; returns the snapshot. An automatic checkpoint of a clean
    /// workspace, or one that says nothing, returns the base.
    pub async fn checkpoint(&self, note: PublishNote) -> Result<SnapshotId> {
        self.checkpoint_with(note, false).await
    }

    /// Like [`Workspace::checkpoint`], and lets no change through after it until [`Workspace::thaw`] or
    /// [`Workspace::swap_base`] (or the limit for standing still: then `Busy`).
    ///
    /// Most is published while work goes on; the workspace stands still only for what was written meanwhile.
    pub async fn checkpoint_and_freeze(&self, note: PublishNote) -> Result<SnapshotId> {
        self.checkpoint_with(note.clone(), false).await?;
        self.checkpoint_with(PublishNote { message: String::new(), ..note }, true).await
    }

    async fn checkpoint_with(&self, note: PublishNote, freeze: bool) -> Result<SnapshotId> {
        let mut pending = self.publishing.lock().await;
        if freeze {
            self.freeze();
        }
        let result = self.publish(&mut pending, note).await.and_then(|id| {
            let state = self.state.lock();
            let stood_still = state.frozen && state.changed.is_empty() && state.unlinked.is_empty();
            if freeze && !stood_still {
                return Err(Error::new(Kind::Busy, "the workspace changes too fast to stand still; try again"));
            }
            Ok(id)
        });
        if freeze && result.is_err() {
            self.thaw();
        }
        result
    }

    async fn publish(&self, pending: &mut Option<Pending>, note: PublishNote) -> Result<SnapshotId> {
        // What was sent without an answer may have been taken. Sending the same again tells, and takes it if not.
        if pending.is_some() {
            self.publish_pending(pending).await?;
        }
        let says_something = !note.automatic && !note.message.is_empty();
        let Some(cut) = self.cut(says_something)? else { return Ok(self.state.lock().base) };
        *pending = Some(Pending { cut, note });
        self.publish_pending(pending).await
    }

    async fn publish_pending(&self, pending: &mut Option<Pending>) -> Result<SnapshotId> {
        let Some(Pending { cut, note }) = &*pending else { return Ok(self.state.lock().base) };
        let holding = self.holding()?;
        let (lease, publisher) = (*holding.lease.lock(), &*holding.base);
        let mut published = Self::send(&lease, publisher, cut, note).await;
        if matches!(&published, Err(error) if error.kind() == Kind::Conflict) {
            // An engine that restarted has forgotten the session, not the head: begin again.
            published = Self::send(&lease, publisher, cut, note).await;
        }
        let (published, sent) = published.inspect_err(|_| self.note_change())?;
        self.rebase(cut, &published, &sent)?;
        let journal_cut = self.cut_journal(cut.position, published.snapshot);
        *pending = None;
        journal_cut?;
        Ok(published.snapshot)
    }

    async fn send(
        lease: &Lease,
        publisher: &dyn Publisher,
        cut: &OverlayCut,
        note: &PublishNote,
    ) -> Result<(Published, HashMap<Ino, Sent>)> {
        publisher.begin(lease, cut.base, cut.position).await?;
        let mut sender = Sender::new(lease, publisher, cut);
        for node in &cut.nodes {
            sender.content(node).await?;
        }
        sender.flush().await?;
        let sent = sender.finish();
        for nodes in cut.nodes.chunks(PUBLISH_BATCH_NODES) {
            let nodes = nodes.iter().map(|node| change_of(node, sent.get(&node.node.ino))).collect();
            publisher.put_changes(lease, cut.position, ChangeSet { nodes, ..ChangeSet::default() }).await?;
        }
        let rest = ChangeSet {
            nodes: Vec::new(),
            directories: cut.directories.values().cloned().collect(),
            unlinked: cut.unlinked.clone(),
        };
        publisher.put_changes(lease, cut.position, rest).await?;
        let published = publisher.commit(lease, cut.position, note.clone()).await?;
        Ok((published, sent))
    }

    /// Takes what changed since the base; `None` if nothing did and nothing is to be said.
    fn cut(&self, even_if_clean: bool) -> Result<Option<OverlayCut>> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.changed.is_empty() && state.unlinked.is_empty() && !even_if_clean {
            return Ok(None);
        }
        let free = state.free_inos.clone();
        let journal = state.journal.as_mut().ok_or_else(|| Error::new(Kind::Denied, "the workspace is read-only"))?;
        let position = journal.rotate()?;
        let reader = journal.reader();
        state.period += 1;
        if !free.is_empty() {
            state.change(&Record::Inos { first: free.start, count: free.end - free.start }, &[])?;
        }
        let changed: Vec<Ino> = state.changed.iter().copied().collect();
        let (directories, mut named) = directories_of(state, &changed)?;
        named.extend(changed);
        named.insert(Ino::ROOT);
        let nodes = named.iter().map(|ino| node_cut(state, *ino)).collect::<Result<_>>()?;
        for ino in &named {
            if let Some(file) = state.inodes.get_mut(ino).and_then(Inode::file_mut) {
                file.low_size = file.size;
            }
        }
        let unlinked = state.unlinked.keys().copied().collect();
        let (base, cache) = (state.base, state.cache.clone());
        self.clear_dirty();
        Ok(Some(OverlayCut { position, base, nodes, directories, unlinked, reader, cache }))
    }

    /// Stands on the published snapshot; what changed after the cut stays in the overlay.
    fn rebase(&self, cut: &OverlayCut, published: &Published, sent: &HashMap<Ino, Sent>) -> Result<()> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let trees: HashMap<Ino, Subtree> = published.trees.iter().copied().collect();
        let blobs: HashMap<_, _> = published.blobs.iter().copied().collect();
        for node in &cut.nodes {
            let ino = node.node.ino;
            let Some(inode) = state.inodes.get_mut(&ino) else { continue };
            let clean = inode.changed_at <= cut.position;
            match &mut inode.body {
                InodeBody::Directory(directory) => {
                    if let Some(subtree) = trees.get(&ino) {
                        directory.base = Some(subtree.tree);
                        directory.base_entries = subtree.totals.entries;
                    }
                    directory.changes.retain(|_, change| change.at > cut.position);
                }
                InodeBody::File(file) => {
                    let content = match node.file.as_ref().and_then(|_| sent.get(&ino)).map(|sent| &sent.content) {
                        Some(SentContent::Content(content)) => Some(content.clone()),
                        Some(SentContent::Extents(blob)) => {
                            let id = *blobs
                                .get(&ino)
                                .ok_or_else(|| Error::corrupt("the engine named no blob for a file"))?;
                            state.cache.keep_blob(id, Arc::new(blob.clone()));
                            Some(Content::Blob { id, size: blob.size() })
                        }
                        None => None,
                    };
                    rebase_file(file, content, cut.position);
                }
                _ => {}
            }
            if clean {
                inode.changed_at = UNCHANGED;
                state.changed.remove(&ino);
            }
        }
        state.unlinked.retain(|_, at| *at > cut.position);
        state.base = published.snapshot;
        state.links = published.links;
        for node in &cut.nodes {
            state.drop_if_idle(node.node.ino);
        }
        Ok(())
    }

    /// Makes the published snapshot what the journal stands on, then drops what it covers. The order matters: a crash
    /// in between leaves records that are skipped, never a journal without its base.
    pub(super) fn cut_journal(&self, position: u64, base: SnapshotId) -> Result<()> {
        let Ok(holding) = self.holding() else { return Ok(()) };
        holding.folder.write_state(Some(FolderState { base, position }))?;
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let open_nameless = state.orphans.iter().filter_map(|ino| state.inodes.get(ino)?.file());
        let needed: Vec<u64> = open_nameless.flat_map(|file| file.overlay.positions()).collect();
        if let Some(journal) = &mut state.journal {
            journal.cut(position, &needed);
        }
        Ok(())
    }
}

fn rebase_file(file: &mut FileBody, content: Option<Content>, position: u64) {
    if let Some(content) = content {
        file.base_limit = content.size().min(file.low_size);
        file.base = content;
    }
    file.overlay.forget_before(position);
}

/// The directories whose entries change, and every inode that an entry needs: up to the root.
fn directories_of(state: &State, changed: &[Ino]) -> Result<(BTreeMap<Ino, DirectoryChange>, BTreeSet<Ino>)> {
    let mut upserts: BTreeMap<Ino, BTreeMap<Name, Ino>> = BTreeMap::new();
    let mut removals: BTreeMap<Ino, Vec<Name>> = BTreeMap::new();
    let mut named = BTreeSet::new();
    let mut pending: Vec<Ino> = changed.to_vec();
    for ino in changed {
        let Some(DirectoryBody { changes, .. }) = state.inode(*ino)?.directory() else { continue };
        for (name, change) in changes {
            match change.ino {
                Some(child) => {
                    upserts.entry(*ino).or_default().insert(name.clone(), child);
                    pending.push(child);
                }
                None => removals.entry(*ino).or_default().push(name.clone()),
            }
        }
    }
    let mut seen = BTreeSet::new();
    while let Some(ino) = pending.pop() {
        if !seen.insert(ino) {
            continue;
        }
        named.insert(ino);
        let inode = state.inode(ino)?;
        if inode.linked {
            continue;
        }
        if let Some((parent, name)) = &inode.parent {
            upserts.entry(*parent).or_default().insert(name.clone(), ino);
            pending.push(*parent);
        }
    }
    let all: BTreeSet<Ino> = upserts.keys().chain(removals.keys()).copied().collect();
    let change = |ino: Ino| DirectoryChange {
        ino,
        upserts: upserts.remove(&ino).unwrap_or_default().into_iter().collect(),
        removals: removals.remove(&ino).unwrap_or_default(),
    };
    let directories: Vec<DirectoryChange> = all.into_iter().map(change).collect();
    // A linked inode's removed parents still count: its directories are changed themselves.
    Ok((directories.into_iter().map(|change| (change.ino, change)).collect(), named))
}

fn node_cut(state: &State, ino: Ino) -> Result<NodeCut> {
    let inode = state.inode(ino)?;
    let (mut file, mut symlink) = (None, None);
    let body = match &inode.body {
        InodeBody::File(body) => {
            if !body.overlay.is_empty() || body.base_limit != body.size || body.base.size() != body.size {
                file = Some(FileView {
                    base: body.base.clone(),
                    base_limit: body.base_limit,
                    size: body.size,
                    overlay: body.overlay.clone(),
                });
            }
            Body::File(body.base.clone())
        }
        InodeBody::Directory(directory) => Body::Directory(base_subtree(directory)),
        InodeBody::Symlink(SymlinkBody::Base(content)) => Body::Symlink(content.clone()),
        InodeBody::Symlink(SymlinkBody::Own(target)) => {
            symlink = Some(target.clone());
            Body::Symlink(Content::EMPTY)
        }
        InodeBody::Fifo => Body::Fifo,
        InodeBody::Socket => Body::Socket,
        InodeBody::CharDevice(rdev) => Body::CharDevice(*rdev),
        InodeBody::BlockDevice(rdev) => Body::BlockDevice(*rdev),
    };
    let (xattrs_ref, xattrs) = match &inode.xattrs {
        InodeXattrs::Base(xattrs) => (xattrs.clone(), None),
        InodeXattrs::Own(xattrs) if xattrs.is_empty() => (XattrsRef::None, None),
        InodeXattrs::Own(xattrs) => (XattrsRef::None, Some(Bytes::from(xattrs.encode()))),
    };
    let node = Node {
        ino,
        mode: inode.mode,
        uid: inode.uid,
        gid: inode.gid,
        nlink: inode.nlink.max(1),
        mtime: inode.mtime,
        ctime: inode.ctime,
        body,
        xattrs: xattrs_ref,
    };
    Ok(NodeCut { node, linked: inode.linked, file, symlink, xattrs })
}

fn base_subtree(directory: &DirectoryBody) -> Subtree {
    match directory.base {
        None => NodeChange::NEW_DIRECTORY,
        // The engine reads digest and sums from the tree itself.
        Some(tree) => Subtree { tree, digest: ContentDigest::from_bytes([0; 32]), totals: Totals::default() },
    }
}
