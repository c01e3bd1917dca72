//! What comes next in a session; how it begins and how it ends.

use api::wire::session::{AppendEvents, Event, NewEvent};
use serde_json::{Value, json};
use vfs_core::base::PublishNote;
use vfs_core::id::SnapshotId;
use vfs_core::{Error, Kind, Result};

use super::hold::Held;
use super::patience::Patience;
use super::{Options, Show, Shown};
use crate::call::Tools;
use crate::dialect::{Answer, Fault, Model, Prompt};
use crate::limits::{CUT_ANSWERS_MAX, EVENTS_PAGE, LOOP_MAX, OUTPUT_TOKENS};
use crate::log::{Conversation, Ended, Started, UserMessage, key, kind, write};

/// Drives one session.
pub(super) struct Driver<'a> {
    pub(super) held: &'a Held,
    pub(super) conversation: &'a mut Conversation,
    pub(super) tools: &'a mut dyn Tools,
    pub(super) model: &'a Model,
    pub(super) options: &'a Options,
    pub(super) show: Show<'a>,
    notices: u64,
    turns: u64,
}

/// Why a run cannot go on.
#[derive(Debug)]
pub(super) enum Halt {
    /// The engine says so; nothing more is written unless it was the workspace that went.
    Engine(Error),
    /// The tools cannot work.
    Tools(Error),
    /// The model gives no answer.
    Model(Fault),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Halt {
        Halt::Engine(error)
    }
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        held: &'a Held,
        conversation: &'a mut Conversation,
        tools: &'a mut dyn Tools,
        model: &'a Model,
        options: &'a Options,
        show: Show<'a>,
    ) -> Self {
        Driver { held, conversation, tools, model, options, show, notices: 0, turns: 0 }
    }

    /// Until the session ends.
    pub(super) async fn run(mut self) -> Result<Ended> {
        let ended = match self.turns().await {
            Ok(ended) => ended,
            Err(halt) => self.halted(halt).await?,
        };
        if self.conversation.ended() == Some(&ended) {
            return Ok(ended);
        }
        let key = key::ended(self.conversation.ends() + 1);
        match self.append(kind::SESSION_ENDED, key, 0, "", write(&ended)).await {
            // The session went with its workspace: there is no log to write to.
            Err(error) if error.kind() == Kind::NotFound && ended.reason == "workspace" => Ok(ended),
            Err(error) => Err(error),
            Ok(()) => Ok(ended),
        }
    }

    async fn turns(&mut self) -> Result<Ended, Halt> {
        // A text is the task of a session that has not begun, and an addition to one that has.
        let options = self.options;
        let mut more = options.text.as_deref();
        if self.conversation.started().is_none() {
            self.begin(more.take()).await?;
        } else {
            for (call, result) in self.conversation.finished() {
                self.tools.remember(call, result);
            }
        }
        let is_over = |ended: &&Ended| ended.state != "stopped";
        if let Some(ended) = self.conversation.ended().filter(is_over)
            && more.is_none()
        {
            return Ok(ended.clone());
        }
        loop {
            if self.conversation.open().is_some() {
                self.finish_turn().await?;
                continue;
            }
            if let Some(text) = more.take() {
                self.user_message(text).await?;
                continue;
            }
            if let Some(ended) = self.at_the_end() {
                return Ok(ended);
            }
            self.turns += 1;
            let turn = self.conversation.turns() + 1;
            self.append(kind::TURN_STARTED, key::turn(turn), turn, "", json!({})).await?;
        }
    }

    /// The first event: the task, and everything that every request says.
    async fn begin(&mut self, task: Option<&str>) -> Result<(), Halt> {
        let Some(task) = task.filter(|text| !text.trim().is_empty()) else {
            return Err(Error::new(Kind::Invalid, "this session has no task yet: say what is to be done").into());
        };
        let tools = self.tools.definitions().await.map_err(Halt::Tools)?;
        let system = self.tools.instructions().await.map_err(Halt::Tools)?;
        let model = self.model.settings().model.clone();
        let prompt = Prompt { model, max_tokens: OUTPUT_TOKENS, system, tools };
        let snapshot = self.present().await?;
        let started = Started { task: task.to_owned(), prompt, snapshot, grants: self.options.grants.clone() };
        Ok(self.append(kind::SESSION_STARTED, key::STARTED.to_owned(), 0, "", write(&started)).await?)
    }

    /// The state of the workspace as it is now: what others wrote is not the work of the first turn.
    async fn present(&mut self) -> Result<SnapshotId, Halt> {
        let head = self.held.client().workspace(&self.workspace()).await?.head;
        let message = format!("before session {}", self.held.session().id);
        let note = PublishNote { author: self.held.session().agent.clone(), message, ..PublishNote::default() };
        self.checkpoint(note, Some(head)).await
    }

    async fn user_message(&mut self, text: &str) -> Result<()> {
        let key = key::user(self.conversation.user_messages() + 1);
        self.append(kind::USER_MESSAGE, key, 0, "", write(&UserMessage { text: text.to_owned() })).await
    }

    /// Whether the session ends here, and how.
    fn at_the_end(&self) -> Option<Ended> {
        let last = self.conversation.last();
        if let Some(answer) = last {
            let calls_none = answer.calls().next().is_none();
            if answer.is_refusal() {
                return Some(failed("refusal", "the model refuses to go on with this conversation"));
            }
            if answer.stop_reason == "model_context_window_exceeded" && calls_none {
                return Some(failed("context", "the conversation has grown beyond what the model can take in"));
            }
            if calls_none && !goes_on(answer) {
                return Some(ended("done", "done", ""));
            }
        }
        if self.conversation.cut_answers() >= CUT_ANSWERS_MAX {
            let line =
                format!("the model's answer was cut off at {OUTPUT_TOKENS} tokens {CUT_ANSWERS_MAX} times in a row");
            return Some(stopped("tokens", line));
        }
        if let (LOOP_MAX.., Some(call)) = self.conversation.failures() {
            let line = format!(
                "{} failed {LOOP_MAX} times in a row in the same way: the model goes round in a loop",
                call.name
            );
            return Some(stopped("loop", line));
        }
        if self.turns >= self.options.turns_max {
            return Some(stopped("turns", format!("this run has taken the {} turns that it may", self.turns)));
        }
        None
    }

    /// What a run that cannot go on comes to: an end that is written down, or an error.
    async fn halted(&mut self, halt: Halt) -> Result<Ended> {
        match halt {
            Halt::Model(fault) => Ok(stopped("model", format!("the model gives no answer: {}", fault.message))),
            Halt::Engine(error) | Halt::Tools(error)
                if matches!(error.kind(), Kind::LeaseLost | Kind::Unavailable | Kind::Corrupt) =>
            {
                Err(error)
            }
            Halt::Engine(error) | Halt::Tools(error) if self.workspace_is_gone().await => {
                tracing::debug!("{}", error.chain());
                Ok(failed("workspace", "the workspace was deleted"))
            }
            Halt::Engine(error) => Err(error),
            Halt::Tools(error) => Ok(stopped("tools", format!("the tools cannot work: {}", error.context()))),
        }
    }

    async fn workspace_is_gone(&self) -> bool {
        let found = self.held.client().workspace(&self.workspace()).await;
        found.is_err_and(|error| error.kind() == Kind::NotFound)
    }

    /// The workspace by its id: its name may change under us.
    pub(super) fn workspace(&self) -> String {
        self.held.session().workspace.to_hex()
    }

    /// Everything written so far as a snapshot; brings back the mount if that is what is missing.
    pub(super) async fn checkpoint(
        &mut self,
        note: PublishNote,
        unless: Option<SnapshotId>,
    ) -> Result<SnapshotId, Halt> {
        let mut patience = Patience::new(self.options.engine_patience);
        loop {
            match self.held.client().checkpoint_unless(&self.workspace(), note.clone(), unless).await {
                Ok(done) => return Ok(done.snapshot),
                Err(error) => patience.wait(error).await?,
            }
            self.tools.revive().await.map_err(Halt::Tools)?;
        }
    }

    /// Puts an event into the log and takes it in as it is stored there.
    pub(super) async fn append(&mut self, kind: &str, key: String, turn: u64, call: &str, data: Value) -> Result<()> {
        let event = NewEvent { key, kind: kind.to_owned(), turn, tool_call: call.to_owned(), data };
        let request = AppendEvents { epoch: self.held.epoch(), events: vec![event] };
        let mut patience = Patience::new(self.options.engine_patience);
        let stored = loop {
            match self.held.client().append_events(&self.held.session().id, &request).await {
                Ok(stored) => break stored,
                Err(error) => patience.wait(error).await?,
            }
        };
        let before = self.conversation.sequence();
        stored.iter().try_for_each(|event| self.take(event))?;
        match self.conversation.sequence() > before {
            true => Ok(()),
            false => Err(Error::corrupt(format!("event {:?} was in the turn log already", request.events[0].key))),
        }
    }

    /// Takes in what the engine has added to the log itself.
    pub(super) async fn catch_up(&mut self) -> Result<()> {
        let mut patience = Patience::new(self.options.engine_patience);
        let page = loop {
            let after = self.conversation.sequence();
            match self.held.client().events(&self.held.session().id, after, EVENTS_PAGE).await {
                Ok(page) => break page,
                Err(error) => patience.wait(error).await?,
            }
        };
        page.events.iter().try_for_each(|event| self.take(event))
    }

    fn take(&mut self, event: &Event) -> Result<()> {
        let is_new = event.sequence > self.conversation.sequence();
        self.conversation.take(event)?;
        if is_new {
            (self.show)(Shown::Event(event));
        }
        Ok(())
    }

    /// Notes something worth knowing.
    pub(super) async fn notice(&mut self, turn: u64, data: Value) -> Result<()> {
        self.notices += 1;
        let key = key::notice(self.held.epoch(), self.notices);
        self.append(kind::NOTICE, key, turn, "", data).await
    }
}

/// Whether the model has more to say although it asked for nothing.
fn goes_on(answer: &Answer) -> bool {
    answer.is_cut() || answer.stop_reason == "pause_turn"
}

fn ended(state: &str, reason: &str, message: impl Into<String>) -> Ended {
    Ended { state: state.into(), reason: reason.into(), message: message.into() }
}

fn failed(reason: &str, message: impl Into<String>) -> Ended {
    ended("failed", reason, message)
}

fn stopped(reason: &str, message: impl Into<String>) -> Ended {
    ended("stopped", reason, message)
}
