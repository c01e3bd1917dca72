//! One turn: the request, the calls of its answer, the barrier, the record.
//!
//! Each step looks at the open turn as the log has it and does what is missing, so a turn that was cut off anywhere is
//! finished by the same code.

use std::time::Duration;

use api::wire::session::EndTurn;
use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use vfs_core::base::PublishNote;
use vfs_core::id::SnapshotId;
use vfs_core::{Error, Kind, Result};

use super::Shown;
use super::driver::{Driver, Halt};
use super::patience::Patience;
use crate::call::{Plan, ToolCall, ToolResult};
use crate::dialect::Answer;
use crate::limits::{CALLS_MAX, MODEL_PAUSE_MAX, RESULT_BYTES_MAX};
use crate::log::{CallState, Finished, OpenTurn, key, kind, write};

/// What the model is told of an input that it could not finish.
const CUT_INPUT: &str =
    "The input was cut off at the limit of output tokens, so the tool did not run. Use a smaller input.";

impl Driver<'_> {
    /// Does what is left of the open turn.
    pub(super) async fn finish_turn(&mut self) -> Result<(), Halt> {
        let turn = self.open()?.number();
        if self.open()?.answer().is_none() {
            let answer = self.ask(turn).await?;
            self.append(kind::MODEL_ANSWER, key::answer(turn), turn, "", write(&answer)).await?;
        }
        for index in 0..self.open()?.calls().len() {
            let (call, state) = self.open()?.calls()[index].clone();
            match state {
                CallState::Finished { .. } => {}
                CallState::Waiting => self.run_call(turn, index, &call).await?,
                CallState::Started(plan) => {
                    let begun = Instant::now();
                    let result = self.recover(&call, &plan).await?;
                    self.finish_call(turn, &call, result, begun.elapsed(), true).await?;
                }
            }
        }
        self.end_turn(turn).await
    }

    fn open(&self) -> Result<&OpenTurn> {
        self.conversation.open().ok_or_else(|| Error::new(Kind::Internal, "the turn is not open any more"))
    }

    /// The model's answer; asked for again while there is hope, each time with a notice.
    async fn ask(&mut self, turn: u64) -> Result<Answer, Halt> {
        let started = self.conversation.started();
        let prompt = &started.ok_or_else(|| Error::new(Kind::Internal, "the session has not begun"))?.prompt;
        let body = Bytes::from(prompt.request(self.conversation.messages()).to_string());
        let mut pauses = ExponentialBuilder::new()
            .with_min_delay(self.options.model_pause)
            .with_max_delay(MODEL_PAUSE_MAX)
            .with_max_times(self.options.tries_max.saturating_sub(1))
            .with_jitter()
            .build();
        loop {
            let show = self.show;
            let fault = match self.model.ask(body.clone(), &|text| show(Shown::Text(text))).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            show(Shown::Void);
            let Some(pause) = pauses.next().filter(|_| fault.again) else { return Err(Halt::Model(fault)) };
            let pause = fault.retry_after.unwrap_or(pause);
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            let notice = json!({ "what": "model", "code": fault.code, "message": fault.message, "pause_ms": pause_ms });
            self.notice(turn, notice).await?;
            sleep(pause).await;
        }
    }

    /// A call that nothing was done for yet.
    async fn run_call(&mut self, turn: u64, index: usize, call: &ToolCall) -> Result<(), Halt> {
        let begun = Instant::now();
        let plan = match self.refused(index, call)? {
            Some(result) => Plan::Answer(result),
            None => self.plan(call).await?,
        };
        let plan = match plan {
            Plan::Answer(result) => return self.finish_call(turn, call, result, begun.elapsed(), false).await,
            Plan::Run(plan) => plan,
        };
        let started = json!({ "name": call.name, "plan": plan });
        self.append(kind::TOOL_STARTED, key::tool_started(&call.id), turn, &call.id, started).await?;
        match self.tools.run(call, &plan).await {
            Ok(result) => self.finish_call(turn, call, result, begun.elapsed(), false).await,
            // Something was away in the middle of it: what became of the call has to be found out, as after a crash.
            Err(error) if error.kind() == Kind::Unavailable => {
                let notice = json!({ "what": "tool", "call": call.id, "message": error.context() });
                self.notice(turn, notice).await?;
                let result = self.recover(call, &plan).await?;
                self.finish_call(turn, call, result, begun.elapsed(), true).await
            }
            Err(error) => Err(Halt::Tools(error)),
        }
    }

    /// What is answered without asking the tools.
    fn refused(&self, index: usize, call: &ToolCall) -> Result<Option<ToolResult>> {
        if index >= CALLS_MAX {
            let line = format!("Not run: only the first {CALLS_MAX} calls of an answer are.");
            return Ok(Some(ToolResult::error(line)));
        }
        let is_cut = call.input.is_none() && self.open()?.answer().is_some_and(Answer::is_cut);
        Ok(is_cut.then(|| ToolResult::error(CUT_INPUT)))
    }

    async fn plan(&mut self, call: &ToolCall) -> Result<Plan, Halt> {
        let mut patience = Patience::new(self.options.engine_patience);
        loop {
            match self.tools.plan(call).await {
                Ok(plan) => return Ok(plan),
                Err(error) => patience.wait(error).await.map_err(Halt::Tools)?,
            }
        }
    }

    async fn recover(&mut self, call: &ToolCall, plan: &Value) -> Result<ToolResult, Halt> {
        let mut patience = Patience::new(self.options.engine_patience);
        loop {
            match self.tools.recover(call, plan).await {
                Ok(result) => return Ok(result),
                Err(error) => patience.wait(error).await.map_err(Halt::Tools)?,
            }
        }
    }

    async fn finish_call(
        &mut self,
        turn: u64,
        call: &ToolCall,
        result: ToolResult,
        took: Duration,
        recovered: bool,
    ) -> Result<(), Halt> {
        for message in self.tools.notices() {
            self.notice(turn, json!({ "what": "mount", "call": call.id, "message": message })).await?;
        }
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let finished = Finished { name: call.name.clone(), result: bounded(result), duration_ms, recovered };
        self.append(kind::TOOL_FINISHED, key::tool_finished(&call.id), turn, &call.id, write(&finished)).await?;
        self.tools.remember(call, &finished.result);
        Ok(())
    }

    /// The barrier, if anything may have been written, and the record of the turn.
    async fn end_turn(&mut self, turn: u64) -> Result<(), Halt> {
        let wrote = self.open()?.wrote();
        let before = self.conversation.snapshot();
        let snapshot = match before {
            Some(before) if !wrote => before,
            before => self.barrier(turn, before).await?,
        };
        match self.record(turn, snapshot).await {
            // An automatic snapshot that nothing was written on is thinned out of the history after an hour.
            Err(error) if !wrote && error.kind() == Kind::NotFound => {
                tracing::debug!("a fresh snapshot is needed: {}", error.chain());
                let snapshot = self.barrier(turn, None).await?;
                self.record(turn, snapshot).await?;
            }
            recorded => recorded?,
        }
        Ok(self.catch_up().await?)
    }

    async fn barrier(&mut self, turn: u64, unless: Option<SnapshotId>) -> Result<SnapshotId, Halt> {
        // What was written through a mount that has died since is in its journal: it must be back to be published.
        let mut patience = Patience::new(self.options.engine_patience);
        while let Err(error) = self.tools.revive().await {
            patience.wait(error).await.map_err(Halt::Tools)?;
        }
        let session = self.held.session();
        let note = PublishNote {
            author: session.agent.clone(),
            message: format!("turn {turn} of session {}", session.id),
            session: session.id.clone(),
            turn: turn.to_string(),
            ..PublishNote::default()
        };
        self.checkpoint(note, unless).await
    }

    async fn record(&mut self, turn: u64, snapshot: SnapshotId) -> Result<()> {
        let request = EndTurn { epoch: self.held.epoch(), snapshot, data: json!({}) };
        let mut patience = Patience::new(self.options.engine_patience);
        loop {
            match self.held.client().end_turn(&self.held.session().id, turn, &request).await {
                Ok(_) => return Ok(()),
                Err(error) => patience.wait(error).await?,
            }
        }
    }
}

/// A result that fits an event.
fn bounded(mut result: ToolResult) -> ToolResult {
    cut(&mut result.text);
    if let Some(text) = &mut result.follow_up {
        cut(text);
    }
    result
}

fn cut(text: &mut String) {
    if text.len() > RESULT_BYTES_MAX {
        let end = (0..=RESULT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("\n\n[cut off: the result was longer]");
    }
}
