//! A world: one bucket with faults, one database, a hand-turned clock, some engines with clients, and who dies when.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use object_store::memory::InMemory;
use tokio::sync::OnceCell;
use vfs_core::Result;
use vfs_core::bucket::{Bucket, Patience};
use vfs_core::db::Database;
use vfs_core::repo::Repo;
use vfs_core::testing::{Faults, FaultyStore, HandClock, Random, Rule, Turnstile, seed_ids};

use crate::client::{Client, Mix};
use crate::model::Model;
use crate::verify;

/// Opening an engine over a bucket with faults may take so many attempts.
const OPENINGS_MAX: usize = 200;

/// What the engines of a world share.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) memory: Arc<InMemory>,
    pub(crate) store: FaultyStore,
    pub(crate) faults: Arc<Faults>,
    pub(crate) database: Database,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) model: Model,
    /// None, unless a test is about it: each error of the bucket reaches the engine, and no world waits for real time.
    pub(crate) patience: Patience,
}

/// What happens in a world.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) engines: usize,
    pub(crate) clients: usize,
    /// Operations of each client.
    pub(crate) operations: usize,
    pub(crate) mix: Mix,
    /// Crashes of an engine in a thousand steps.
    pub(crate) crashes: u64,
    /// Jumps of the clock in a thousand steps.
    pub(crate) jumps: u64,
    /// Times in a thousand steps that a collector falls asleep for a while.
    pub(crate) pauses: u64,
    pub(crate) rules: Vec<Rule>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Story {
    /// Who passed which gate, and what the world did.
    pub(crate) trace: Vec<String>,
    pub(crate) crashes: u64,
    pub(crate) acknowledged: u64,
    pub(crate) faults: u64,
    pub(crate) freed: u64,
}

impl World {
    pub(crate) async fn new(seed: u64) -> World {
        World::on(seed, Database::in_memory().await.unwrap()).await
    }

    /// A world on this database.
    pub(crate) async fn on(seed: u64, database: Database) -> World {
        seed_ids(Some(seed));
        let (memory, faults) = (Arc::new(InMemory::new()), Arc::new(Faults::new(seed)));
        let store = FaultyStore::new(memory.clone(), faults.clone());
        World {
            seed,
            memory,
            store,
            faults,
            database,
            clock: Arc::default(),
            model: Model::default(),
            patience: Patience::NONE,
        }
    }

    /// Another engine of the repo.
    pub(crate) async fn engine(&self) -> Result<Repo> {
        self.opener().open().await
    }

    fn opener(&self) -> Opener {
        let (store, database, clock) = (self.store.clone(), self.database.clone(), self.clock.clone());
        Opener { store, database, clock, patience: self.patience, engine: Arc::default() }
    }

    /// Runs a plan to its end, then looks whether all is as the model says, with and without garbage.
    pub(crate) async fn run(&self, plan: &Plan) -> Story {
        let mut story = Story::default();
        // The first engine makes the repo before anything goes wrong.
        let first = self.engine().await.unwrap();
        for number in 0..plan.mix.names {
            let name = format!("w{number}");
            let info = first.create_workspace(&name, None, None).await.unwrap();
            self.model.made(info.id, &name, info.head, Some(Default::default()));
        }
        drop(first);
        self.faults.set(plan.rules.iter().copied());
        self.drive(plan, &mut story).await;
        self.faults.set([]);
        story.acknowledged = self.model.0.lock().acknowledged;
        story.faults = self.faults.count();
        let repo = self.engine().await.unwrap();
        verify::all(&repo, &self.model).await;
        let deleted = story.trace.iter().filter(|line| line.ends_with("Delete pack, done")).count() as u64;
        story.freed = deleted + verify::garbage_goes(self, &repo).await;
        verify::all(&repo, &self.model).await;
        story
    }

    async fn drive(&self, plan: &Plan, story: &mut Story) {
        let mut random = Random::new(self.seed ^ 0x5eed);
        let mut turnstile = Turnstile::new(random.next());
        let mut staff = Vec::new();
        for engine in 0..plan.engines {
            let opener = self.opener();
            for number in 0..plan.clients {
                let left = Arc::new(AtomicUsize::new(plan.operations));
                let one = Staff { engine, number, left };
                self.start(&mut turnstile, plan, &opener, &one, &mut random);
                staff.push(one);
            }
        }
        let mut asleep = 0;
        while let Some(passed) = {
            let is_asleep = asleep > 0;
            asleep -= u64::from(is_asleep);
            turnstile.step_unless(|name| is_asleep && name.starts_with("gc")).await
        } {
            story.trace.push(format!("{} passed {}", passed.actor, passed.place));
            if random.below(1000) < plan.jumps {
                self.jump(&mut random, story);
            }
            if asleep == 0 && random.below(1000) < plan.pauses {
                asleep = 20 + random.below(100);
            }
            if random.below(1000) < plan.crashes {
                let engine = random.below(plan.engines as u64) as usize;
                story.trace.push(format!("engine {engine} crashes"));
                story.crashes += 1;
                turnstile.kill(engine);
                let opener = self.opener();
                for one in staff.iter().filter(|one| one.engine == engine) {
                    self.start(&mut turnstile, plan, &opener, one, &mut random);
                }
            }
        }
    }

    fn start(&self, turnstile: &mut Turnstile, plan: &Plan, opener: &Opener, one: &Staff, random: &mut Random) {
        let is_collector = plan.mix.collects && one.number == 0;
        let (model, clock, random, mix) = (self.model.clone(), self.clock.clone(), random.fork(), plan.mix);
        let holder = (1 + one.engine * plan.clients + one.number) as u8;
        let (faulty, opener) = (!plan.rules.is_empty(), opener.clone());
        let (name, left) = (if is_collector { "gc" } else { "client" }, one.left.clone());
        let name = format!("{name} {}.{}", one.engine, one.number);
        turnstile.spawn(one.engine, &name, async move {
            let repo = opener.engine.get_or_init(|| opener.open_at_last()).await.clone();
            let mut client = Client { repo, model, clock, random, holder, mix, faulty, held: None };
            while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                if is_collector { client.collect().await } else { client.act().await }
            }
        });
    }

    fn jump(&self, random: &mut Random, story: &mut Story) {
        let by = Duration::from_secs(1 + random.below(3 * 3600));
        if random.percent(30) {
            story.trace.push(format!("the clock jumps back by {by:?}"));
            self.clock.turn_back(by);
        } else {
            story.trace.push(format!("the clock goes on by {by:?}"));
            self.clock.advance(by);
        }
    }
}

/// Opens an engine, once for all its clients: as one of the actors, since another one may have the database just then.
#[derive(Clone)]
struct Opener {
    store: FaultyStore,
    database: Database,
    clock: Arc<HandClock>,
    patience: Patience,
    engine: Arc<OnceCell<Repo>>,
}

impl Opener {
    async fn open(&self) -> Result<Repo> {
        let bucket = Bucket::from_store(Arc::new(self.store.clone()), "memory:///").with_patience(self.patience);
        Repo::open_with(self.database.clone(), bucket, self.clock.clone(), None).await
    }

    /// Another engine, however often that takes.
    async fn open_at_last(&self) -> Repo {
        let mut last = None;
        for _ in 0..OPENINGS_MAX {
            match self.open().await {
                Ok(repo) => return repo,
                Err(error) => last = Some(error),
            }
        }
        panic!("no engine can be opened: {}", last.map_or_else(String::new, |error| error.chain()));
    }
}

/// A client of an engine: what it still has to do survives the engine.
struct Staff {
    engine: usize,
    number: usize,
    left: Arc<AtomicUsize>,
}
