//! Heads without what is lost, and side refs for snapshots that lack something.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::lost::{Loss, Path};
use super::salvage::Salvage;
use super::{Losses, LostPath, LostWhat, RepairOptions, RepairReport, Taint, View};
use crate::base::PublishNote;
use crate::change::bare_node;
use crate::db::{HistoryRow, SideRefRow, WorkspaceRow, counters, history, refs, side_refs, workspaces};
use crate::error::{Error, Kind, Result};
use crate::id::{SnapshotId, TreeId};
use crate::name::Name;
use crate::object::{Body, Entry, Ino, Node, Snapshot, Subtree, Target, TreeNode, XattrsRef};
use crate::progress::{OnProgress, Progress};
use crate::quota::Usage;
use crate::repo::Repo;
use crate::repo::moves::{Move, Mover};
use crate::repo::workspaces::{add_snapshot, new_snapshot};
use crate::store::Batch;
use crate::tree::Builder;

/// The prefix of side refs that keep what lacks something.
pub(crate) const DAMAGED: &str = "damaged/";

/// Looks at every snapshot of every workspace.
pub(super) async fn mend(
    repo: &Repo,
    view: &View<'_>,
    options: &RepairOptions,
    report: &mut RepairReport,
    progress: &OnProgress,
) -> Result<()> {
    let all = {
        let mut connection = repo.store().database().read().await?;
        workspaces::all(&mut connection, repo.store().tenant_number()).await?
    };
    let mut losses = Losses::new(view);
    let mut salvage = Salvage::new(view, options)?;
    for (number, workspace) in all.iter().enumerate() {
        let mut mending = Mending { repo, workspace, dry_run: options.dry_run, losses: &mut losses, report };
        mending.run(&mut salvage).await?;
        let (done, total) = (number as u64 + 1, Some(all.len() as u64));
        progress(Progress { what: "workspaces", done, total });
    }
    report.salvaged_files = salvage.files();
    Ok(())
}

struct Mending<'m, 'v> {
    repo: &'m Repo,
    workspace: &'m WorkspaceRow,
    dry_run: bool,
    losses: &'m mut Losses<'v>,
    report: &'m mut RepairReport,
}

impl Mending<'_, '_> {
    async fn run(&mut self, salvage: &mut Salvage<'_>) -> Result<()> {
        let (rows, known) = {
            let mut connection = self.repo.store().database().read().await?;
            let read = history::newest(&mut connection, self.workspace.id, true, u64::MAX).await;
            let rows = match read {
                Ok(rows) => rows,
                // Only before the rows were repaired, or where that was not possible: said there.
                Err(error) if error.kind() == Kind::Corrupt => return Ok(()),
                Err(error) => return Err(error),
            };
            let side = match side_refs::all(&mut connection, self.workspace.id).await {
                Err(error) if error.kind() == Kind::Corrupt => Vec::new(),
                side => side?,
            };
            (rows, side)
        };
        let known: BTreeSet<SnapshotId> =
            known.into_iter().filter(|row| row.name.starts_with(DAMAGED)).map(|row| row.snapshot).collect();
        let mut sound: Option<SnapshotId> = None;
        // Oldest first: when the head's turn comes, it is known what to fall back on.
        for (index, row) in rows.iter().enumerate().rev() {
            let taint = self.losses.of(row.snapshot).await?;
            let (snapshot, lost) = match taint {
                Taint::Some(_, lost) if lost.is_empty() => {
                    sound = Some(row.snapshot);
                    continue;
                }
                Taint::Some(snapshot, lost) => (Some(snapshot), lost),
                Taint::All => (None, Vec::new()),
            };
            if !known.contains(&row.snapshot) {
                self.list(row, snapshot.is_some(), &lost);
                salvage.write(&self.workspace.name, row.snapshot, &lost).await?;
                self.keep(row).await?;
            }
            if index == 0 {
                self.move_head(row, snapshot, lost, sound).await?;
            }
        }
        Ok(())
    }

    fn list(&mut self, row: &HistoryRow, readable: bool, lost: &[Loss]) {
        let at = |path: String, what: LostWhat| LostPath {
            workspace: self.workspace.name.clone(),
            snapshot: row.snapshot.to_hex(),
            path,
            what,
        };
        match readable {
            false => self.report.lost.push(at("/".into(), LostWhat::Snapshot)),
            true => self.report.lost.extend(lost.iter().map(|loss| at(text(&loss.path), loss.what.clone()))),
        }
    }

    async fn keep(&mut self, row: &HistoryRow) -> Result<()> {
        let name = format!("{DAMAGED}{}-{}", row.time.seconds, row.sequence);
        self.report.kept.push(format!("{}@{name}", self.workspace.name));
        if self.dry_run {
            return Ok(());
        }
        let database = self.repo.store().database();
        let mut transaction = database.begin().await?;
        let created = self.repo.store().now();
        let kept = SideRefRow { workspace: self.workspace.id, name, snapshot: row.snapshot, created };
        side_refs::put(&mut transaction, &kept).await?;
        counters::take(&mut transaction, counters::ROOTS, 0, 1).await?;
        database.commit(transaction).await
    }

    async fn move_head(
        &mut self,
        row: &HistoryRow,
        snapshot: Option<Snapshot>,
        lost: Vec<Loss>,
        sound: Option<SnapshotId>,
    ) -> Result<()> {
        let (name, digits) = (&self.workspace.name, &row.snapshot.to_hex()[..12]);
        let how = match (&snapshot, sound) {
            (Some(_), _) => format!("{} of its paths left out", lost.len()),
            (None, Some(sound)) => format!("its root is lost, so it is what {} was", &sound.to_hex()[..12]),
            (None, None) => "its root is lost, and all before, so it is empty".to_owned(),
        };
        self.report.heads.push(format!("{name}: a new snapshot instead of {digits}, {how}"));
        if self.dry_run {
            return Ok(());
        }
        let batch = self.repo.batch();
        let (root, links) = match (snapshot, sound) {
            (Some(snapshot), _) => Without { losses: &*self.losses, lost: &lost }.build(&batch, &snapshot).await?,
            (None, Some(sound)) => {
                let older = self.repo.snapshot(sound).await?;
                (older.root, older.links)
            }
            (None, None) => {
                let root = Builder::new(&batch).finish().await?;
                let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
                (bare_node(Ino::ROOT, Body::Directory(root), 0o755, uid, gid, self.repo.now()), None)
            }
        };
        self.publish(batch, row, root, links, format!("repaired: {how}")).await
    }

    async fn publish(
        &self,
        batch: Batch,
        row: &HistoryRow,
        root: Node,
        links: Option<Subtree>,
        message: String,
    ) -> Result<()> {
        let time = self.repo.now();
        let expected = {
            let mut connection = self.repo.store().database().read().await?;
            refs::get(&mut connection, self.workspace.id).await?.snapshot
        };
        if expected != row.snapshot {
            return Err(Error::new(Kind::Conflict, format!("{} has moved on: try again", self.workspace.name)));
        }
        let note = PublishNote { author: "esker repair".into(), message, ..PublishNote::default() };
        let repaired = new_snapshot(root, links, vec![expected], time, &note);
        // What the damaged snapshot held nobody can say; what is left of it is no growth.
        let usage = Usage::of(&repaired);
        let snapshot = add_snapshot(&batch, repaired).await?;
        let packs = batch.finish().await?;
        let step = Move {
            workspace: self.workspace.id,
            mover: Mover::Nobody,
            expected,
            snapshot,
            usage: (usage, usage),
            time,
            note: &note,
            packs: &packs,
            source: None,
            keep_expected: None,
        };
        self.repo.move_ref(&step).await?;
        Ok(())
    }
}

fn text(path: &[Name]) -> String {
    let names: Vec<String> = path.iter().map(Name::to_string).collect();
    format!("/{}", names.join("/"))
}

/// Builds a snapshot's content anew, without what is lost.
struct Without<'w, 'v> {
    losses: &'w Losses<'v>,
    lost: &'w [Loss],
}

impl Without<'_, '_> {
    async fn build(&self, batch: &Batch, snapshot: &Snapshot) -> Result<(Node, Option<Subtree>)> {
        let mut root = snapshot.root.clone();
        let Body::Directory(subtree) = &root.body else { return Err(Error::corrupt("a root is no directory")) };
        let tainted = self.directories();
        let trees = self.trees(&tainted, subtree.tree).await?;
        let mut rebuilt: HashMap<Path, Subtree> = HashMap::new();
        // The deepest first: what a directory holds is known before it is built.
        let mut order: Vec<(&Path, &TreeId)> = trees.iter().collect();
        order.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        for (path, tree) in order {
            let made = self.directory(batch, path, *tree, &rebuilt).await?;
            rebuilt.insert(path.clone(), made);
        }
        if let Some(made) = rebuilt.get(&Vec::new()) {
            root.body = Body::Directory(*made);
        }
        if self.lost.iter().any(|loss| loss.path.is_empty() && loss.what == LostWhat::Attributes) {
            root.xattrs = XattrsRef::None;
        }
        let links = match snapshot.links {
            Some(links) => self.links(batch, links).await?,
            None => None,
        };
        Ok((root, links))
    }

    /// The directories in which something is lost, and those above them.
    fn directories(&self) -> BTreeSet<Path> {
        let mut found = BTreeSet::new();
        for loss in self.lost {
            let directory = match &loss.what {
                LostWhat::Names { .. } => &loss.path[..],
                _ => &loss.path[..loss.path.len().saturating_sub(1)],
            };
            found.extend((0..=directory.len()).map(|length| directory[..length].to_vec()));
        }
        found
    }

    /// Their trees.
    async fn trees(&self, tainted: &BTreeSet<Path>, root: TreeId) -> Result<HashMap<Path, TreeId>> {
        let mut trees = HashMap::from([(Vec::new(), root)]);
        // Sorted: what is above comes before what is below.
        for path in tainted.iter().filter(|path| !path.is_empty()) {
            let Some((name, above)) = path.split_last() else { continue };
            let Some(above) = trees.get(above) else { continue };
            let entries = self.entries(*above).await?;
            let tree = entries.iter().find(|entry| entry.name == *name).and_then(|entry| match &entry.target {
                Target::Node(Node { body: Body::Directory(below), .. }) => Some(below.tree),
                _ => None,
            });
            trees.extend(tree.map(|tree| (path.clone(), tree)));
        }
        Ok(trees)
    }

    async fn directory(
        &self,
        batch: &Batch,
        path: &Path,
        tree: TreeId,
        rebuilt: &HashMap<Path, Subtree>,
    ) -> Result<Subtree> {
        let lost: BTreeMap<&Name, &LostWhat> = self
            .lost
            .iter()
            .filter(|loss| !matches!(loss.what, LostWhat::Names { .. }))
            .filter_map(|loss| match loss.path.split_last() {
                Some((name, above)) if *above == path[..] => Some((name, &loss.what)),
                _ => None,
            })
            .collect();
        let mut builder = Builder::new(batch);
        for mut entry in self.entries(tree).await? {
            match (lost.get(&entry.name), &mut entry.target) {
                (Some(LostWhat::Attributes), Target::Node(node)) => node.xattrs = XattrsRef::None,
                // The node of the inode is what loses its attributes.
                (Some(LostWhat::Attributes), Target::Link(_)) => {}
                (Some(_), _) => continue,
                (None, _) => {}
            }
            if let Target::Node(Node { body: Body::Directory(below), .. }) = &mut entry.target {
                let mut path = path.clone();
                path.push(entry.name.clone());
                if let Some(made) = rebuilt.get(&path) {
                    *below = *made;
                }
            }
            builder.push(entry).await?;
        }
        builder.finish().await
    }

    /// The link table without inodes whose content is lost.
    async fn links(&self, batch: &Batch, links: Subtree) -> Result<Option<Subtree>> {
        let table = self.losses.tainted_tree(links.tree);
        if table.as_ref().is_some_and(|losses| losses.is_empty()) {
            return Ok(Some(links));
        }
        let lost: BTreeMap<Name, LostWhat> = table
            .iter()
            .flat_map(|losses| losses.iter())
            .filter_map(|loss| Some((loss.path.first()?.clone(), loss.what.clone())))
            .collect();
        let mut builder = Builder::new(batch);
        let mut any = false;
        for mut entry in self.entries(links.tree).await? {
            match (lost.get(&entry.name), &mut entry.target) {
                (Some(LostWhat::Attributes), Target::Node(node)) => node.xattrs = XattrsRef::None,
                (Some(_), _) => continue,
                (None, _) => {}
            }
            any = true;
            builder.push(entry).await?;
        }
        Ok(if any { Some(builder.finish().await?) } else { None })
    }

    /// The entries of a directory that can be read, in order.
    async fn entries(&self, tree: TreeId) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        let mut waiting = vec![tree];
        while let Some(tree) = waiting.pop() {
            let Some(bytes) = self.losses.view().read_one(tree.into()).await? else { continue };
            match TreeNode::decode(&bytes) {
                Ok(TreeNode::Leaf(entries)) => found.extend(entries),
                Ok(TreeNode::Interior { children, .. }) => {
                    waiting.extend(children.iter().rev().map(|child| child.subtree.tree));
                }
                Err(_) => {}
            }
        }
        Ok(found)
    }
}
