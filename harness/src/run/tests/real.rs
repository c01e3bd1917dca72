//! The same deaths with a real engine in this process: what a driver drops, the engine drops in the middle as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use api::client::Client;
use api::server::{EngineInfo, ServerState};
use api::wire::session::CreateSession;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use vfs_core::Result;
use vfs_core::clock::{Clock, SystemClock, Time};
use vfs_core::repo::{Repo, RepoOptions};
use vfs_core::{Kind, limits::SESSION_LEASE_TTL};

use super::crash::{check, script};
use super::engine::Engine;
use super::model::Server;
use super::tools::{Effects, ScriptedTools};
use super::{Points, dialect, options};
use crate::dialect::Model;
use crate::log::Ended;
use crate::run::{Options, Place, Run};

/// The machine's clock, which a test can put forward.
#[derive(Default)]
struct TestClock(AtomicU64);

impl TestClock {
    /// Lets every lease run out.
    fn skip_leases(&self) {
        self.0.fetch_add(SESSION_LEASE_TTL.as_secs() + 1, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        let now = SystemClock.now();
        Time { seconds: now.seconds + self.0.load(Ordering::SeqCst) as i64, ..now }
    }
}

struct World {
    points: Arc<Points>,
    repo: Repo,
    clock: Arc<TestClock>,
    client: Client,
    effects: Arc<Effects>,
    model: Server,
    dialect: Model,
    folder: tempfile::TempDir,
    workspace: String,
}

/// Every request is a point before and after it; renewals come at any time and are none.
async fn points(State(points): State<Arc<Points>>, request: Request, next: Next) -> Response {
    if request.method() == "PUT" {
        return next.run(request).await;
    }
    points.pass().await;
    let response = next.run(request).await;
    points.pass().await;
    response
}

impl World {
    async fn new() -> World {
        let reached = Arc::new(Points::default());
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::default());
        // On disk: a database in memory is gone with its only connection, which is closed when a request is cut off.
        let data = folder.path().join("data");
        let repo = Repo::open(RepoOptions { data, bucket: None, database: None, key: None, clock: clock.clone() })
            .await
            .unwrap();
        let info = EngineInfo { data_folder: folder.path().to_owned(), bucket: "memory:///".into(), token: None };
        let state = ServerState::new(repo.clone(), info, clock.clone());
        let router = api::server::router(state).layer(from_fn_with_state(reached.clone(), points));
        let client = Client::in_process(router).unwrap();
        let model = Server::start(script(), reached.clone()).await;
        let dialect = dialect(&model.url);
        let effects = Arc::new(Effects::new(reached.clone(), Arc::new(Engine::new(reached.clone()))));
        World { points: reached, repo, clock, client, effects, model, dialect, folder, workspace: String::new() }
    }

    /// A fresh workspace, on which nothing has happened.
    async fn reset(&mut self, name: &str) {
        self.repo.create_workspace(name, None, None).await.unwrap();
        self.workspace = name.to_owned();
        self.effects.reset();
        self.model.reset();
    }

    async fn drive(&self, options: &Options) -> Result<Ended> {
        let place = Place::new(self.folder.path().to_owned(), "7 on here".into());
        let sessions = self.client.sessions(Some(&self.workspace)).await?;
        // One that was made and never begun is not gone on with: nobody knows it yet.
        let begun = sessions.iter().find(|session| session.last_event > 0);
        let (mut run, options) = match begun {
            Some(session) => {
                let options = Options { text: None, ..options.clone() };
                (Run::resume(&self.client, &session.id, &place, &|_| {}).await?, options)
            }
            None => (self.begin(&place).await?, options.clone()),
        };
        let mut tools = ScriptedTools::new(self.effects.clone());
        let ended = run.drive(&mut tools, &self.dialect, &options, &|_| {}).await;
        run.release().await;
        ended
    }

    async fn begin(&self, place: &Place) -> Result<Run> {
        let request = CreateSession {
            workspace: self.workspace.clone(),
            agent: "main".into(),
            user: "ana".into(),
            title: "the task".into(),
        };
        Run::begin(&self.client, &request, place).await
    }

    /// Drives to the end, dying at the `number`th point; `None` if it did.
    async fn drive_until(&self, number: u64, options: &Options) -> Option<Result<Ended>> {
        self.points.arm(number);
        tokio::select! {
            biased;
            () = self.points.died.notified() => None,
            ended = self.drive(options) => Some(ended),
        }
    }

    /// Drives again after a death, to the end; whether the lease of the dead had to run out first. It has to if the death came
    /// after the lease was taken and before the session's first event: the next run makes a session of its own.
    async fn drive_again(&self, what: &str) -> bool {
        self.points.arm(0);
        let again = self.drive(&options(Some("do it"))).await;
        let waited = matches!(&again, Err(error) if error.kind() == Kind::Busy);
        let again = if waited {
            self.clock.skip_leases();
            self.drive(&options(Some("do it"))).await
        } else {
            again
        };
        again.unwrap_or_else(|error| panic!("{what}: {}", error.chain()));
        waited
    }

    async fn check(&self, what: &str) {
        let sessions = self.client.sessions(Some(&self.workspace)).await.unwrap();
        let session = sessions.iter().find(|session| session.last_event > 0).unwrap();
        assert_eq!((session.state.as_str(), session.turns), ("done", 5), "{what}");
        let events = self.client.events(&session.id, 0, 10_000).await.unwrap().events;
        check(&events, &self.effects, &self.model, what);
        let turns = self.client.turns(&session.id).await.unwrap();
        assert_eq!(turns.iter().map(|turn| turn.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5], "{what}");
    }
}

#[tokio::test]
async fn a_real_engine_is_died_on_at_every_point() {
    let mut world = World::new().await;
    world.reset("clean").await;
    world.points.arm(0);
    world.drive(&options(Some("do it"))).await.unwrap();
    let points = world.points.reached.load(std::sync::atomic::Ordering::SeqCst);
    world.check("no death").await;
    assert!(points > 100, "only {points} points");
    let mut waits = 0;
    for number in 1..=points {
        world.reset(&format!("w{number}")).await;
        let first = world.drive_until(number, &options(Some("do it"))).await;
        if first.is_none_or(|ended| ended.is_err()) {
            waits += u64::from(world.drive_again(&format!("point {number}")).await);
        }
        world.check(&format!("point {number}")).await;
    }
    assert!(waits <= 8, "{waits} leases of the dead had to run out");
}

#[tokio::test]
async fn a_driver_may_be_dropped_wherever_it_waits() {
    let mut world = World::new().await;
    for polls in 1..=160_u32 {
        world.reset(&format!("w{polls}")).await;
        world.points.arm(0);
        let ended = polled(world.drive(&options(Some("do it"))), polls * 2).await;
        if ended.is_none() {
            world.drive_again(&format!("{polls} polls")).await;
        }
        world.check(&format!("{polls} polls")).await;
    }
}

/// A future's result if it has one within so many polls; then it is dropped.
async fn polled<T>(future: impl Future<Output = T>, polls: u32) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        std::task::Poll::Ready(done) => std::task::Poll::Ready(Some(done)),
        std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(None),
        std::task::Poll::Pending => {
            left -= 1;
            std::task::Poll::Pending
        }
    })
    .await
}
