//! Sessions driven against a fake engine, scripted tools and a scripted model.
//!
//! The world has *points*: places before and after everything that has an effect. A test may let the driver die at any
//! of them: the side that is asked never answers, and the driver is dropped there.

mod crash;
mod engine;
mod flow;
mod lease;
pub(crate) mod model;
mod real;
mod tools;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::client::Client;
use api::wire::session::{CreateSession, Event};
use serde_json::Value;
use tokio::sync::Notify;
use vfs_core::Result;

use super::{Options, Place, Run, Shown};
use crate::dialect::{Model, Settings};
use crate::log::Ended;
use engine::Engine;
use model::{Script, Server};
use tools::{Effects, ScriptedTools};

/// Where a driver may die.
#[derive(Debug, Default)]
pub(crate) struct Points {
    reached: AtomicU64,
    deadly: AtomicU64,
    died: Notify,
}

impl Points {
    /// Passes a point, or never returns.
    pub(crate) async fn pass(&self) {
        let number = self.reached.fetch_add(1, Ordering::SeqCst) + 1;
        if number == self.deadly.load(Ordering::SeqCst) {
            self.died.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// From here on, the `number`th point is deadly; none is with 0.
    fn arm(&self, number: u64) {
        self.reached.store(0, Ordering::SeqCst);
        self.deadly.store(number, Ordering::SeqCst);
    }
}

/// A world for one session.
pub(super) struct World {
    pub(super) points: Arc<Points>,
    pub(super) engine: Arc<Engine>,
    pub(super) effects: Arc<Effects>,
    pub(super) model: Server,
    pub(super) client: Client,
    pub(super) dialect: Model,
    folder: tempfile::TempDir,
}

impl World {
    pub(super) async fn new(script: Script) -> World {
        let points = Arc::new(Points::default());
        let engine = Arc::new(Engine::new(points.clone()));
        let client = Client::in_process(engine::router(engine.clone())).unwrap();
        let model = Server::start(script, points.clone()).await;
        let effects = Arc::new(Effects::new(points.clone(), engine.clone()));
        let dialect = dialect(&model.url);
        World { points, engine, effects, model, client, dialect, folder: tempfile::tempdir().unwrap() }
    }

    /// The same world before anything has happened: clients are dear to make.
    pub(super) fn reset(&mut self) {
        self.engine.reset();
        self.effects.reset();
        self.model.reset();
        self.folder = tempfile::tempdir().unwrap();
    }

    pub(super) fn place(&self) -> Place {
        let mut place = Place::new(self.folder.path().to_owned(), "7 on here".into());
        place.poll = Duration::from_millis(20);
        place.renewal = Duration::from_millis(25);
        place
    }

    pub(super) fn tools(&self) -> ScriptedTools {
        ScriptedTools::new(self.effects.clone())
    }

    pub(super) async fn begin(&self) -> Result<Run> {
        let request =
            CreateSession { workspace: "w".into(), agent: "main".into(), user: "ana".into(), title: "the task".into() };
        Run::begin(&self.client, &request, &self.place()).await
    }

    pub(super) async fn resume(&self) -> Result<Run> {
        Run::resume(&self.client, &self.engine.session_id(), &self.place(), &|_| {}).await
    }

    /// Begins, or goes on if there is something to go on with, and drives to the end.
    pub(super) async fn drive(&self, options: &Options) -> Result<Ended> {
        let mut run = match self.engine.has_session() {
            true => self.resume().await?,
            false => self.begin().await?,
        };
        let ended = run.drive(&mut self.tools(), &self.dialect, options, &|_| {}).await;
        run.release().await;
        ended
    }

    /// The same, but the driver dies at the `number`th point; `None` if it did.
    pub(super) async fn drive_until(&self, number: u64, options: &Options) -> Option<Result<Ended>> {
        self.points.arm(number);
        tokio::select! {
            biased;
            () = self.points.died.notified() => None,
            ended = self.drive(options) => Some(ended),
        }
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.engine.events()
    }

    /// The bodies of the events of a kind.
    pub(super) fn bodies(&self, kind: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event.kind == kind).map(|event| event.data).collect()
    }
}

/// A client of the scripted model.
pub(super) fn dialect(url: &str) -> Model {
    let variable = |name: &str| match name {
        "ANTHROPIC_BASE_URL" => Some(url.to_owned()),
        "ANTHROPIC_API_KEY" => Some("sk-secret-key".to_owned()),
        _ => None,
    };
    Model::new(Settings::read(variable, Some("scripted")).unwrap()).unwrap().with_patience(Duration::from_secs(5))
}

pub(super) fn options(text: Option<&str>) -> Options {
    Options {
        text: text.map(str::to_owned),
        model_pause: Duration::from_millis(1),
        engine_patience: Duration::from_millis(400),
        ..Options::default()
    }
}

/// Everything that is shown, as text.
#[derive(Default)]
pub(super) struct Seen(std::sync::Mutex<String>);

impl Seen {
    pub(super) fn take(&self, shown: Shown<'_>) {
        let mut text = self.0.lock().unwrap();
        match shown {
            Shown::Text(more) => text.push_str(more),
            Shown::Void => text.push_str("<void>"),
            Shown::Event(event) => text.push_str(&format!("<{}>", event.kind)),
            Shown::Remark(line) => text.push_str(line),
        }
    }

    pub(super) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}
