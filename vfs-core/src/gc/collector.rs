//! One gc, as a row of steps. Between any two of them the process may sleep or die, and others may do anything: each
//! step that changes something proves in its own transaction that what it counts on still holds.

use std::collections::{HashMap, HashSet, VecDeque};

use super::marks::{Live, Marks, overtaken};
use super::repack::{self, Group};
use super::{GcOptions, GcReport, Surroundings, is_over, orphans, reflog, retention};
use crate::bucket::Listed;
use crate::db::{Connection, PackRow, Transaction, counters, orphans as orphan_rows, packs};
use crate::error::{Error, Kind, Result};
use crate::id::{PackId, SnapshotId};
use crate::limits::GC_ROUNDS_MAX;
use crate::progress::{OnProgress, Progress, silent};
use crate::reach::Roots;
use crate::store::{Store, bundles};

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Remove history rows that no rule keeps.
    Retain,
    /// List the packs; every one that the index knows must be there.
    Survey,
    /// Mark from the roots.
    Mark,
    /// Read the index: what of each pack is alive.
    Weigh,
    /// Condemn, take back, remove rows, if the roots are still those that were marked from.
    Decide,
    /// Mark what publishes added meanwhile.
    CatchUp,
    /// Delete packs whose rows were removed.
    Delete,
    /// Note orphans, and say which of them are dead.
    Judge,
    /// Delete dead orphans.
    Bury,
    /// Choose the packs to copy from.
    Choose,
    /// Copy what lives in one group of packs.
    Repack,
    /// Without a grace period, delete the packs that were emptied.
    Clear,
    /// Delete ref log objects of rows that are gone, and bundles of snapshots that are.
    Prune,
    /// Nothing.
    Done,
}

/// One gc under way.
pub(super) struct Collector {
    store: Store,
    options: GcOptions,
    surroundings: Surroundings,
    pub(super) phase: Phase,
    rounds: usize,
    plan: retention::Plan,
    listed: HashMap<PackId, u64>,
    /// The generation of the roots that were marked last.
    generation: u64,
    /// More was marked since everything was.
    caught_up: bool,
    marks: Marks,
    /// The counter of moves before the index was read.
    moves: u64,
    live: Live,
    /// Packs whose rows are gone and whose bytes are not.
    doomed: Vec<PackRow>,
    /// Orphans that nobody can register any more.
    dead: Vec<PackId>,
    groups: VecDeque<Group>,
    /// Packs that this run has emptied.
    emptied: Vec<PackId>,
    ref_log: Vec<Listed>,
    bundles: Vec<(SnapshotId, u64)>,
    report: GcReport,
}

impl Collector {
    pub(super) fn new(store: Store, options: GcOptions, surroundings: Surroundings) -> Collector {
        Collector {
            store,
            options,
            surroundings,
            phase: Phase::Retain,
            rounds: 0,
            plan: retention::Plan::default(),
            listed: HashMap::new(),
            generation: 0,
            caught_up: false,
            marks: Marks::default(),
            moves: 0,
            live: Live::default(),
            doomed: Vec::new(),
            dead: Vec::new(),
            groups: VecDeque::new(),
            emptied: Vec::new(),
            ref_log: Vec::new(),
            bundles: Vec::new(),
            report: GcReport { dry_run: options.dry_run, ..GcReport::default() },
        }
    }

    /// Goes one step further; true once there is nothing more to do.
    pub(super) async fn step(&mut self, progress: &OnProgress) -> Result<bool> {
        self.phase = match self.advance(progress).await {
            Ok(next) => next,
            Err(error) => self.excuse(error).await?,
        };
        Ok(self.phase == Phase::Done)
    }

    /// What is missing may have been needed by nothing but a root that is gone by now, and another gc was faster: then
    /// it is no damage, and the marks are made anew.
    async fn excuse(&mut self, error: Error) -> Result<Phase> {
        let next = match self.phase {
            Phase::Mark | Phase::Weigh | Phase::Decide | Phase::CatchUp => Phase::Mark,
            Phase::Repack => Phase::Clear,
            _ => return Err(error),
        };
        let missing = matches!(error.kind(), Kind::Corrupt | Kind::NotFound);
        if !missing || self.rounds >= GC_ROUNDS_MAX || !self.is_stale().await? {
            return Err(error);
        }
        self.rounds += 1;
        if next == Phase::Mark {
            (self.marks, self.live) = (Marks::default(), Live::default());
        }
        Ok(next)
    }

    /// Whether the marks may hold what is not reachable any more.
    async fn is_stale(&self) -> Result<bool> {
        let mut connection = self.store.database().read().await?;
        Ok(self.caught_up || Roots::generation(&mut connection).await? != self.generation)
    }

    async fn advance(&mut self, progress: &OnProgress) -> Result<Phase> {
        Ok(match self.phase {
            Phase::Retain => self.retain(progress).await?,
            Phase::Survey => self.survey().await?,
            Phase::Mark => self.mark(progress).await?,
            Phase::Weigh => self.weigh(progress).await?,
            Phase::Decide => self.decide().await?,
            Phase::CatchUp => self.catch_up(progress).await?,
            Phase::Delete => self.delete(progress).await?,
            Phase::Judge => self.judge().await?,
            Phase::Bury => self.bury(progress).await?,
            Phase::Choose => self.choose(progress).await?,
            Phase::Repack => self.repack(progress).await?,
            Phase::Clear => self.clear().await?,
            Phase::Prune => self.prune(progress).await?,
            Phase::Done => Phase::Done,
        })
    }

    pub(super) fn report(self) -> GcReport {
        let mut report = self.report;
        report.reachable_objects = self.live.living.objects;
        report.reachable_bytes = self.live.living.bytes;
        report.unreachable_objects = self.live.all.objects - self.live.living.objects;
        report.unreachable_bytes = self.live.all.bytes - self.live.living.bytes;
        report.removed_rows = self.plan.removed;
        report.deleted = self.options.delete && !self.options.dry_run;
        report
    }

    async fn retain(&mut self, progress: &OnProgress) -> Result<Phase> {
        if !(self.options.delete || self.options.dry_run) {
            return Ok(Phase::Survey);
        }
        if !self.options.dry_run {
            retention::forget_readers(&self.store).await?;
        }
        let bases = &self.surroundings.bases;
        self.plan = retention::apply(&self.store, bases, self.options.dry_run, progress).await?;
        Ok(Phase::Survey)
    }

    /// The index before the bucket: then every pack that the index knew must be listed, unless it was removed meanwhile.
    async fn survey(&mut self) -> Result<Phase> {
        let before = self.rows().await?;
        // All lists come first: one that fails must not find half of the work done.
        self.ref_log = reflog::list(&self.store).await?;
        self.bundles = bundles::list(&self.store).await?;
        self.listed = orphans::list_packs(&self.store).await?;
        let is_listed = |row: &PackRow| self.listed.get(&row.id) == Some(&row.size) || sabotaged!(ListErrorAsEmpty);
        if before.iter().all(is_listed) {
            return Ok(Phase::Mark);
        }
        let now: HashSet<PackId> = self.rows().await?.into_iter().map(|row| row.id).collect();
        match before.iter().find(|row| !is_listed(row) && now.contains(&row.id)) {
            None => Ok(Phase::Mark),
            Some(row) => {
                // A wrong list or a damaged bucket; either way nothing may be deleted.
                let name = self.store.pack_name(row.id);
                Err(Error::corrupt(format!("{name} is not in the bucket's list with its size: run `esker check`")))
            }
        }
    }

    async fn rows(&self) -> Result<Vec<PackRow>> {
        let mut connection = self.store.database().read().await?;
        packs::all(&mut connection, self.store.tenant_number()).await
    }

    async fn read_roots(&self) -> Result<Roots> {
        let mut connection = self.store.database().read().await?;
        Roots::read(&mut connection, self.store.tenant_number(), &self.plan.excluded).await
    }

    async fn mark(&mut self, progress: &OnProgress) -> Result<Phase> {
        let roots = self.read_roots().await?;
        (self.generation, self.caught_up) = (roots.generation, false);
        self.report.roots = roots.count();
        self.marks.add(&self.store, &roots, None, progress).await?;
        Ok(Phase::Weigh)
    }

    async fn weigh(&mut self, progress: &OnProgress) -> Result<Phase> {
        self.moves = {
            let mut connection = self.store.database().read().await?;
            moves(&mut connection).await?
        };
        self.live = Live::read(&self.store, &self.marks, progress).await?;
        Ok(Phase::Decide)
    }

    /// What has changed since the marks were made, if anything has: the phase that mends it.
    async fn outdated(&mut self, connection: &mut Connection) -> Result<Option<Phase>> {
        let again = if moves(connection).await? != self.moves {
            Phase::Weigh
        } else if !sabotaged!(SkipGenerationCheck) && Roots::generation(connection).await? != self.generation {
            Phase::CatchUp
        } else {
            return Ok(None);
        };
        self.rounds += 1;
        if self.rounds > GC_ROUNDS_MAX {
            return Err(overtaken(GC_ROUNDS_MAX));
        }
        Ok(Some(again))
    }

    async fn catch_up(&mut self, progress: &OnProgress) -> Result<Phase> {
        let roots = self.read_roots().await?;
        (self.generation, self.caught_up) = (roots.generation, true);
        self.report.roots = roots.count();
        let mut new = Vec::new();
        self.marks.add(&self.store, &roots, Some(&mut new), progress).await?;
        self.live.add_marked(&self.store, &new).await?;
        Ok(Phase::Decide)
    }

    /// Decides on every pack of the index, in the transaction that proves the marks to be current.
    async fn decide(&mut self) -> Result<Phase> {
        if self.options.dry_run {
            return self.forecast().await;
        }
        let store = self.store.clone();
        let _alone = store.alone().await;
        let mut transaction = store.database().begin().await?;
        if let Some(again) = self.outdated(&mut transaction).await? {
            return Ok(again);
        }
        self.judge_packs(&mut transaction).await?;
        if self.options.delete {
            let ids: Vec<PackId> = self.doomed.iter().map(|row| row.id).collect();
            packs::remove(&mut transaction, &ids).await?;
            // Should we be killed before their bytes are gone, the next gc need not wait again.
            for row in &self.doomed {
                orphan_rows::note(&mut transaction, row.id, store.now()).await?;
                orphan_rows::kill(&mut transaction, row.id).await?;
            }
        } else {
            self.doomed.clear();
        }
        store.database().commit(transaction).await?;
        Ok(Phase::Delete)
    }

    async fn judge_packs(&mut self, transaction: &mut Transaction) -> Result<()> {
        let (now, pinned) = (self.store.now(), self.store.pins().all());
        for row in packs::all(transaction, self.store.tenant_number()).await? {
            match self.verdict(&row, &pinned) {
                Verdict::Stays if row.condemned.is_some() && !row.emptied => {
                    packs::condemn(transaction, row.id, None).await?;
                }
                Verdict::Goes if row.condemned.is_none() => {
                    packs::condemn(transaction, row.id, Some(now)).await?;
                    self.report.condemned_packs += 1;
                }
                _ => {}
            }
            self.count(row, &pinned);
        }
        Ok(())
    }

    /// The same without a hand on anything.
    async fn forecast(&mut self) -> Result<Phase> {
        let store = self.store.clone();
        let pinned = store.pins().all();
        let mut connection = store.database().read().await?;
        if let Some(again) = self.outdated(&mut connection).await? {
            return Ok(again);
        }
        for row in packs::all(&mut connection, store.tenant_number()).await? {
            let goes = self.verdict(&row, &pinned) == Verdict::Goes;
            self.report.condemned_packs += u64::from(goes && row.condemned.is_none());
            self.count(row, &pinned);
        }
        self.doomed.clear();
        Ok(Phase::Judge)
    }

    fn verdict(&self, row: &PackRow, pinned: &HashSet<PackId>) -> Verdict {
        let lives = self.live.of(row.id).objects > 0;
        if lives || (!row.emptied && pinned.contains(&row.id)) { Verdict::Stays } else { Verdict::Goes }
    }

    /// Puts a pack into the report and, if its time has come, among those that go now.
    fn count(&mut self, row: PackRow, pinned: &HashSet<PackId>) {
        self.report.packs += 1;
        self.report.pack_bytes += row.size;
        if self.verdict(&row, pinned) == Verdict::Stays {
            return;
        }
        let (now, grace) = (self.store.now(), self.options.grace);
        let condemned = row.condemned.unwrap_or(now);
        if is_over(condemned, now, grace) && is_over(row.created, now, grace) && !pinned.contains(&row.id) {
            self.report.deletable_packs += 1;
            self.report.deletable_bytes += row.size;
            self.doomed.push(row);
        } else {
            self.report.waiting_packs += 1;
            self.report.waiting_bytes += row.size;
        }
    }

    async fn delete(&mut self, progress: &OnProgress) -> Result<Phase> {
        let total = self.doomed.len() as u64;
        for (number, row) in self.doomed.iter().enumerate() {
            self.store.bucket().delete(&self.store.pack_name(row.id)).await?;
            progress(Progress { what: "deleted packs", done: number as u64 + 1, total: Some(total) });
        }
        // They were in the list, but are no orphans.
        for row in std::mem::take(&mut self.doomed) {
            self.listed.remove(&row.id);
        }
        Ok(Phase::Judge)
    }

    async fn judge(&mut self) -> Result<Phase> {
        if self.options.dry_run {
            orphans::forecast(&self.store, self.options, &self.listed, &mut self.report).await?;
            return Ok(Phase::Choose);
        }
        self.dead = orphans::judge(&self.store, self.options, &self.listed, &mut self.report).await?;
        Ok(Phase::Bury)
    }

    async fn bury(&mut self, progress: &OnProgress) -> Result<Phase> {
        orphans::bury(&self.store, &std::mem::take(&mut self.dead), progress).await?;
        Ok(Phase::Choose)
    }

    async fn choose(&mut self, progress: &OnProgress) -> Result<Phase> {
        let below = self.options.repack_below_percent;
        if below == 0 || !(self.options.delete || self.options.dry_run) {
            return Ok(Phase::Prune);
        }
        let pinned = self.store.pins().all();
        let mut rows = self.rows().await?;
        // What another engine is still uploading may count on a young pack.
        let (now, grace) = (self.store.now(), self.options.grace);
        rows.retain(|row| row.emptied || is_over(row.created, now, grace));
        let sources = repack::choose(&rows, &pinned, &self.live, below);
        if self.options.dry_run {
            self.report.repacked_packs = sources.len() as u64;
            self.report.repacked_bytes = sources.iter().map(|source| source.size).sum();
            self.report.copied_bytes = sources.iter().map(|source| source.live.bytes).sum();
            return Ok(Phase::Prune);
        }
        let target = self.surroundings.pack_target;
        self.groups = repack::groups(&self.store, sources, &self.marks, target, progress).await?;
        Ok(Phase::Repack)
    }

    /// Copies one group. If the world has moved on since the marks were made, these are brought up to date first.
    async fn repack(&mut self, progress: &OnProgress) -> Result<Phase> {
        let Some(group) = self.groups.pop_front() else { return Ok(Phase::Clear) };
        self.rounds = 0;
        let store = self.store.clone();
        let Some(copy) = repack::copy(&store, &group, progress).await? else { return Ok(Phase::Repack) };
        for _ in 0..=GC_ROUNDS_MAX {
            let mut transaction = store.database().begin().await?;
            let outdated = match self.outdated(&mut transaction).await {
                // It was copied for nothing; what comes after this needs no marks.
                Err(error) if error.kind() == Kind::Busy => break,
                outdated => outdated?,
            };
            match outdated {
                None => {
                    if repack::commit(&store, transaction, &group, &copy, &self.marks).await? {
                        self.emptied.extend(group.sources.iter().map(|source| source.id));
                        self.report.repacked_packs += group.sources.len() as u64;
                        self.report.repacked_bytes += group.sources.iter().map(|source| source.size).sum::<u64>();
                        self.report.copied_bytes += copy.bytes();
                        // That was us.
                        self.moves += 1;
                    }
                    return Ok(Phase::Repack);
                }
                // Somebody else copies: what is ours is an orphan now.
                Some(Phase::Weigh) => break,
                Some(_) => {
                    drop(transaction);
                    self.catch_up(progress).await?;
                }
            }
        }
        Ok(Phase::Clear)
    }

    /// Nothing points into an emptied pack and nobody can revive it: who wants no grace need not wait for the next gc.
    async fn clear(&mut self) -> Result<Phase> {
        let pinned = self.store.pins().all();
        let gone: Vec<PackId> = self.emptied.drain(..).filter(|id| !pinned.contains(id)).collect();
        if !self.options.grace.is_zero() || gone.is_empty() {
            return Ok(Phase::Prune);
        }
        let mut transaction = self.store.database().begin().await?;
        if moves(&mut transaction).await? != self.moves {
            // A repair may have found in them what it needs; the next gc looks again.
            return Ok(Phase::Prune);
        }
        packs::remove(&mut transaction, &gone).await?;
        for id in &gone {
            orphan_rows::note(&mut transaction, *id, self.store.now()).await?;
            orphan_rows::kill(&mut transaction, *id).await?;
        }
        self.store.database().commit(transaction).await?;
        orphans::bury(&self.store, &gone, &silent).await?;
        Ok(Phase::Prune)
    }

    async fn prune(&mut self, progress: &OnProgress) -> Result<Phase> {
        self.prune_bundles(progress).await?;
        if self.options.delete || self.options.dry_run {
            let listed = std::mem::take(&mut self.ref_log);
            let (excluded, dry_run) = (&self.plan.excluded, self.options.dry_run);
            reflog::prune(&self.store, listed, excluded, dry_run, &mut self.report, progress).await?;
        }
        Ok(Phase::Done)
    }
}

impl Collector {
    /// Bundles are copies: one that goes too early costs a mount some requests.
    async fn prune_bundles(&mut self, progress: &OnProgress) -> Result<()> {
        let gone = std::mem::take(&mut self.bundles)
            .into_iter()
            .filter(|(snapshot, _)| !self.marks.contains(&(*snapshot).into()));
        for (snapshot, size) in gone {
            if self.options.delete && !self.options.dry_run {
                bundles::remove(&self.store, snapshot).await?;
            }
            self.report.bundles += 1;
            self.report.bundle_bytes += size;
            progress(Progress { what: "deleted attach bundles", done: self.report.bundles, total: None });
        }
        Ok(())
    }
}

/// What is to become of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Stays,
    Goes,
}

async fn moves(connection: &mut Connection) -> Result<u64> {
    counters::get(connection, counters::MOVES, 0).await
}
