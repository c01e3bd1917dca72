//! A turnstile: actors wait at gates, and a seeded scheduler lets exactly one go when all of them wait.
//!
//! It polls the actors itself, one at a time, on the thread that calls [`Turnstile::step`]. An actor that waits for a
//! thread of the database or of the blocking pool is waited for; one that waits for another actor (a lock) is left alone
//! until somebody wakes it. The two are told apart by looking at what the other threads of the process do.
//!
//! So one seed is one world although SQLite has threads of its own, and although several actors, or two parts of one,
//! are on their way at once after a step. What keeps it so:
//!
//! * Actors are polled in rounds. A round begins when all other threads sleep, takes those that were woken by then, and
//!   polls each once, in the order in which they were added. Whose thread was faster shows nowhere.
//! * The runtime does its own tasks (a connection goes back to its pool) only between rounds. A step is over only
//!   after rounds in which no thread got anything to do either, also if every actor stands at a gate: another part of one
//!   may wait for a connection.
//! * Gates of one actor are chosen from in the order it came to them.
//! * Heavy work in which ids are made runs on the actor's own thread ([`has_actor`]): ids follow from that thread's seed.
//!
//! Needs a runtime of one thread.
//!
//! Code that no actor runs (a test's setup) passes all gates at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::chance::Random;
use super::threads::{Rest, wait_for_others};

/// Rounds without anything after which nothing is under way any more. The runtime may leave a task for the next one.
const QUIET_ROUNDS: usize = 2;
/// After so long without a step, the actors wait for each other for ever.
const DEADLOCK: Duration = Duration::from_secs(60);

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Lets actors pass one at a time.
pub struct Turnstile {
    actors: Vec<Actor>,
    shared: Arc<Mutex<Shared>>,
    random: Random,
    woken: Arc<Notify>,
}

struct Actor {
    name: String,
    group: usize,
    work: Option<Work>,
    flag: Arc<Flag>,
    /// It waits for another actor.
    blocked: bool,
}

#[derive(Default)]
struct Shared {
    /// Gates at which somebody waits, by number.
    waiting: BTreeMap<u64, Gate>,
    open: BTreeSet<u64>,
    next: u64,
    /// Work that an actor started beside itself; taken up after each poll.
    detached: Vec<(usize, Work)>,
}

struct Gate {
    actor: usize,
    place: String,
    waker: Waker,
}

struct Flag {
    set: AtomicBool,
    woken: Arc<Notify>,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.set.store(true, Ordering::SeqCst);
        self.woken.notify_one();
    }
}

/// Who passed a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The actor's name.
    pub actor: String,
    /// The actor's group.
    pub group: usize,
    /// Which gate.
    pub place: String,
}

struct Current {
    shared: Arc<Mutex<Shared>>,
    actor: usize,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

impl Turnstile {
    /// A turnstile whose choices follow from a seed.
    pub fn new(seed: u64) -> Self {
        let (shared, woken) = (Arc::default(), Arc::new(Notify::new()));
        Turnstile { actors: Vec::new(), shared, random: Random::new(seed), woken }
    }

    /// Adds an actor. A group dies together (see [`Turnstile::kill`]): the clients of one engine.
    pub fn spawn(&mut self, group: usize, name: &str, work: impl Future<Output = ()> + Send + 'static) {
        self.add(group, name.to_owned(), Box::pin(work));
    }

    fn add(&mut self, group: usize, name: String, work: Work) {
        let flag = Arc::new(Flag { set: AtomicBool::new(true), woken: self.woken.clone() });
        self.actors.push(Actor { name, group, work: Some(work), flag, blocked: false });
    }

    /// Ends all actors of a group where they are, as a crash of their engine does.
    pub fn kill(&mut self, group: usize) {
        for actor in self.actors.iter_mut().filter(|actor| actor.group == group) {
            actor.work = None;
        }
    }

    /// Whether actors of a group have something to do.
    pub fn is_alive(&self, group: usize) -> bool {
        self.actors.iter().any(|actor| actor.group == group && actor.work.is_some())
    }

    /// Lets one go; `None` once all actors are done.
    pub async fn step(&mut self) -> Option<Passed> {
        self.step_unless(|_| false).await
    }

    /// As [`Turnstile::step`], but actors that `paused` names only go when nobody else can.
    pub async fn step_unless(&mut self, paused: impl Fn(&str) -> bool) -> Option<Passed> {
        let started = Instant::now();
        loop {
            self.settle().await;
            let (all, free) = {
                let shared = self.shared.lock();
                let all: Vec<u64> = self.in_order(&shared);
                let is_free = |gate: &u64| !paused(&self.actors[shared.waiting[gate].actor].name);
                let free: Vec<u64> = all.iter().copied().filter(is_free).collect();
                (all, free)
            };
            let choice = if free.is_empty() { all } else { free };
            if !choice.is_empty() {
                let gate = *self.random.pick(&choice);
                return Some(self.open(gate));
            }
            if self.actors.iter().all(|actor| actor.work.is_none()) {
                return None;
            }
            let stuck: Vec<&str> =
                self.actors.iter().filter(|actor| actor.work.is_some()).map(|actor| actor.name.as_str()).collect();
            assert!(started.elapsed() < DEADLOCK, "these actors wait for each other for ever: {stuck:?}");
            let _ = tokio::time::timeout(Duration::from_millis(50), self.woken.notified()).await;
        }
    }

    /// Gates of one actor in the order it came to them, actors in the order they were added.
    fn in_order(&self, shared: &Shared) -> Vec<u64> {
        let mut gates: Vec<u64> = shared.waiting.keys().copied().collect();
        gates.sort_by_key(|gate| (shared.waiting[gate].actor, *gate));
        gates
    }

    fn open(&mut self, gate: u64) -> Passed {
        let mut shared = self.shared.lock();
        let Gate { actor, place, waker } = shared.waiting.remove(&gate).expect("it was chosen from these");
        shared.open.insert(gate);
        drop(shared);
        waker.wake();
        let actor = &self.actors[actor];
        actor.flag.set.store(true, Ordering::SeqCst);
        Passed { actor: actor.name.clone(), group: actor.group, place }
    }

    /// Runs everything until each actor waits at a gate, for another actor, or is done.
    async fn settle(&mut self) {
        let (mut rest, mut quiet) = (wait_for_others(Rest::default(), DEADLOCK), 0);
        loop {
            if self.poll_woken() {
                (rest, quiet) = (wait_for_others(rest, DEADLOCK), 0);
                continue;
            }
            if quiet >= QUIET_ROUNDS {
                self.unsettled().into_iter().for_each(|index| self.actors[index].blocked = true);
                return;
            }
            // What the runtime does beside the actors (a connection goes back to its pool) may wake one, also one
            // that stands at a gate with another part of its work, or give a thread something to do.
            tokio::task::yield_now().await;
            let now = wait_for_others(rest.clone(), DEADLOCK);
            quiet = if now == rest { quiet + 1 } else { 0 };
            rest = now;
        }
    }

    /// Actors that are neither at a gate nor known to wait for another actor.
    fn unsettled(&self) -> Vec<usize> {
        let shared = self.shared.lock();
        let at_gate: BTreeSet<usize> = shared.waiting.values().map(|gate| gate.actor).collect();
        let waits = |(index, actor): (usize, &Actor)| {
            (actor.work.is_some() && !actor.blocked && !at_gate.contains(&index)).then_some(index)
        };
        self.actors.iter().enumerate().filter_map(waits).collect()
    }

    /// Polls each actor that was woken before, once; returns whether any was. One that is woken meanwhile, by a thread
    /// or by another actor, comes in the next round: it does not depend on how fast that thread is.
    fn poll_woken(&mut self) -> bool {
        let woken = |(index, actor): (usize, &Actor)| actor.flag.set.swap(false, Ordering::SeqCst).then_some(index);
        let round: Vec<usize> = self.actors.iter().enumerate().filter_map(woken).collect();
        let mut any = false;
        for index in round {
            let actor = &mut self.actors[index];
            let Some(work) = &mut actor.work else { continue };
            any = true;
            actor.blocked = false;
            let waker = Waker::from(actor.flag.clone());
            let before = CURRENT.replace(Some(Current { shared: self.shared.clone(), actor: index }));
            let ended = work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
            CURRENT.set(before);
            if ended {
                actor.work = None;
            }
            let detached: Vec<_> = std::mem::take(&mut self.shared.lock().detached);
            for (by, work) in detached {
                let (group, name) = (self.actors[by].group, format!("{} beside", self.actors[by].name));
                self.add(group, name, work);
            }
        }
        any
    }
}

/// Waits until the turnstile lets this actor go. Passes at once where no actor calls.
pub async fn gate(place: &str) {
    Passing { place: place.to_owned(), at: None }.await;
}

/// Whether an actor of a turnstile calls.
pub(crate) fn has_actor() -> bool {
    CURRENT.with(|current| current.borrow().is_some())
}

/// Starts work beside the actor that calls: it dies with the actor's group. Gives it back where no actor calls.
pub(crate) fn detach(
    work: Pin<Box<dyn Future<Output = ()> + Send>>,
) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
    CURRENT.with(|current| match &*current.borrow() {
        Some(Current { shared, actor }) => {
            shared.lock().detached.push((*actor, work));
            None
        }
        None => Some(work),
    })
}

struct Passing {
    place: String,
    at: Option<(Arc<Mutex<Shared>>, u64)>,
}

impl Future for Passing {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some((shared, number)) = &self.at {
            let mut shared = shared.lock();
            if shared.open.remove(number) {
                return Poll::Ready(());
            }
            if let Some(gate) = shared.waiting.get_mut(number) {
                gate.waker = context.waker().clone();
            }
            return Poll::Pending;
        }
        let place = std::mem::take(&mut self.place);
        let entered = CURRENT.with(|current| {
            let current = current.borrow();
            let Current { shared, actor } = current.as_ref()?;
            let mut waiting = shared.lock();
            let number = waiting.next;
            waiting.next += 1;
            waiting.waiting.insert(number, Gate { actor: *actor, place, waker: context.waker().clone() });
            Some((shared.clone(), number))
        });
        match entered {
            None => Poll::Ready(()),
            entered => {
                self.at = entered;
                Poll::Pending
            }
        }
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Some((shared, number)) = &self.at {
            let mut shared = shared.lock();
            shared.waiting.remove(number);
            shared.open.remove(number);
        }
    }
}
