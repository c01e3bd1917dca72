//! The turn log, read back: the conversation for the model, the open turn, what is left to do.
//!
//! Pure: takes events one by one, does no I/O. A run that goes on takes in each event as it was stored, a run that is
//! resumed takes in all of them: both come to the same [`Conversation`], so both send the same requests. An event that
//! does not fit what came before is `Corrupt`.

mod body;
mod open;

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use api::wire::session::Event;
use vfs_core::id::SnapshotId;
use vfs_core::{Error, Kind, Result};

pub(crate) use body::write;
pub use body::{Ended, Finished, Started, UserMessage, key, kind};
pub use open::{CallState, OpenTurn};

use crate::call::{ToolCall, ToolResult};
use crate::dialect::{Answer, Message};

/// What the model is told when its answer was cut off before it asked for anything.
const CUT_OFF: &str =
    "Your answer was cut off at the limit of output tokens. Go on from where it stopped, in smaller steps.";

/// A session as its log tells it.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    started: Option<Started>,
    messages: Vec<Message>,
    finished: Vec<(ToolCall, ToolResult)>,
    open: Option<OpenTurn>,
    turns: u64,
    snapshot: Option<SnapshotId>,
    last: Option<Answer>,
    ended: Option<Ended>,
    sequence: u64,
    user_messages: u64,
    ends: u64,
    ids: HashSet<String>,
    cut_answers: usize,
    failure: Option<(ToolCall, String)>,
    failures: usize,
}

impl Conversation {
    /// A whole log.
    pub fn read(events: &[Event]) -> Result<Conversation> {
        let mut conversation = Conversation::default();
        events.iter().try_for_each(|event| conversation.take(event))?;
        Ok(conversation)
    }

    /// Takes in the next event. One that was taken in already changes nothing.
    pub fn take(&mut self, event: &Event) -> Result<()> {
        if event.sequence <= self.sequence {
            return Ok(());
        }
        if event.sequence != self.sequence + 1 {
            return Err(nonsense(event, &format!("follows number {}", self.sequence)));
        }
        match event.kind.as_str() {
            kind::SESSION_STARTED => self.start(event)?,
            kind::USER_MESSAGE => self.user_message(event)?,
            kind::TURN_STARTED => self.start_turn(event)?,
            kind::MODEL_ANSWER => self.answer(event)?,
            kind::TOOL_STARTED => self.start_call(event)?,
            kind::TOOL_FINISHED => self.finish_call(event)?,
            kind::TURN_ENDED => self.end_turn(event)?,
            kind::SESSION_ENDED => self.end(event)?,
            kind::NOTICE => {}
            other => {
                let line = format!("event {} is of the kind {other:?}: a newer version wrote it", event.sequence);
                return Err(Error::new(Kind::Unsupported, line));
            }
        }
        self.sequence = event.sequence;
        Ok(())
    }

    /// How it began; `None` for a session that was made and never run.
    pub fn started(&self) -> Option<&Started> {
        self.started.as_ref()
    }

    /// What the model is told: everything up to the end of the last turn that has ended.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The calls that have finished, in order.
    pub fn finished(&self) -> &[(ToolCall, ToolResult)] {
        &self.finished
    }

    /// The turn that has not ended.
    pub fn open(&self) -> Option<&OpenTurn> {
        self.open.as_ref()
    }

    /// How many turns have ended.
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// The state that the last turn ended on, or that the session began on.
    pub fn snapshot(&self) -> Option<SnapshotId> {
        self.snapshot
    }

    /// The answer of the last turn that has ended, unless a person has spoken since.
    pub fn last(&self) -> Option<&Answer> {
        self.last.as_ref()
    }

    /// How it ended, if nothing came after.
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// The sequence of the newest event.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How many messages of people were added.
    pub fn user_messages(&self) -> u64 {
        self.user_messages
    }

    /// How often it ended.
    pub fn ends(&self) -> u64 {
        self.ends
    }

    /// Answers in a row that were cut off before they asked for anything.
    pub fn cut_answers(&self) -> usize {
        self.cut_answers
    }

    /// The call that failed last, and how often in a row it failed in the same way.
    pub fn failures(&self) -> (usize, Option<&ToolCall>) {
        (self.failures, self.failure.as_ref().map(|(call, _)| call))
    }

    fn start(&mut self, event: &Event) -> Result<()> {
        if self.started.is_some() {
            return Err(nonsense(event, "begins the session again"));
        }
        let started: Started = body::read(event)?;
        self.messages.push(Message::user(&*started.task));
        self.snapshot = Some(started.snapshot);
        self.started = Some(started);
        Ok(())
    }

    fn user_message(&mut self, event: &Event) -> Result<()> {
        if self.started.is_none() || self.open.is_some() {
            return Err(nonsense(event, "does not stand between turns"));
        }
        let message: UserMessage = body::read(event)?;
        self.messages.push(Message::user(message.text));
        self.user_messages += 1;
        self.last = None;
        self.go_on();
        Ok(())
    }

    fn start_turn(&mut self, event: &Event) -> Result<()> {
        let fits = self.started.is_some() && self.open.is_none() && event.turn == self.turns + 1;
        if !fits {
            return Err(nonsense(event, &format!("does not follow turn {}", self.turns)));
        }
        self.open = Some(OpenTurn::new(event.turn));
        self.ended = None;
        Ok(())
    }

    fn answer(&mut self, event: &Event) -> Result<()> {
        let answer: Answer = body::read(event)?;
        let turn = open_turn(&mut self.open, event)?;
        if !turn.take_answer(answer, &mut self.ids) {
            return Err(nonsense(event, "is a second answer of its turn"));
        }
        self.ended = None;
        Ok(())
    }

    fn start_call(&mut self, event: &Event) -> Result<()> {
        let plan = event.data.get("plan").cloned().unwrap_or_default();
        let call = open_turn(&mut self.open, event)?.call_mut(&event.tool_call);
        match call {
            Some((_, state @ CallState::Waiting)) => *state = CallState::Started(plan),
            _ => return Err(nonsense(event, "starts a call that is not waiting")),
        }
        self.ended = None;
        Ok(())
    }

    fn finish_call(&mut self, event: &Event) -> Result<()> {
        let Finished { result, recovered, .. } = body::read(event)?;
        let found = open_turn(&mut self.open, event)?.call_mut(&event.tool_call);
        let Some((call, state)) = found.filter(|(_, state)| !matches!(state, CallState::Finished { .. })) else {
            return Err(nonsense(event, "finishes a call that is not running"));
        };
        *state = CallState::Finished { result: result.clone(), recovered };
        let call = call.clone();
        self.ended = None;
        self.count_failures(&call, &result);
        self.finished.push((call, result));
        Ok(())
    }

    fn count_failures(&mut self, call: &ToolCall, result: &ToolResult) {
        if !result.is_error {
            (self.failure, self.failures) = (None, 0);
            return;
        }
        let same = self.failure.as_ref().is_some_and(|(before, text)| {
            before.name == call.name && before.input == call.input && *text == result.text
        });
        self.failures = if same { self.failures + 1 } else { 1 };
        self.failure = Some((call.clone(), result.text.clone()));
    }

    fn end_turn(&mut self, event: &Event) -> Result<()> {
        let snapshot = body::snapshot(event)?;
        open_turn(&mut self.open, event)?;
        let turn = self.open.take().filter(OpenTurn::is_finished);
        let Some((answer, ids, results)) = turn.and_then(OpenTurn::into_messages) else {
            return Err(nonsense(event, "ends a turn that is not finished"));
        };
        if !answer.is_refusal() {
            self.messages.push(Message { role: crate::dialect::Role::Assistant, content: answer.sent_back(&ids) });
        }
        let is_cut = ids.is_empty() && answer.is_cut();
        self.cut_answers = if is_cut { self.cut_answers + 1 } else { 0 };
        match is_cut {
            true => self.messages.push(Message::user(CUT_OFF)),
            false => self.messages.push(Message { role: crate::dialect::Role::User, content: results }),
        }
        self.messages.retain(|message| !message.content.is_empty());
        self.turns = event.turn;
        self.snapshot = Some(snapshot);
        self.last = Some(answer);
        self.ended = None;
        Ok(())
    }

    fn end(&mut self, event: &Event) -> Result<()> {
        let ended: Ended = body::read(event)?;
        self.ends += 1;
        self.go_on();
        self.ended = Some(ended);
        Ok(())
    }

    /// Counting begins anew: somebody looked at it.
    fn go_on(&mut self) {
        self.ended = None;
        self.cut_answers = 0;
        (self.failure, self.failures) = (None, 0);
    }
}

fn open_turn<'a>(open: &'a mut Option<OpenTurn>, event: &Event) -> Result<&'a mut OpenTurn> {
    match open.as_mut().filter(|turn| turn.number() == event.turn) {
        Some(turn) => Ok(turn),
        None => Err(nonsense(event, &format!("is of turn {}, which is not open", event.turn))),
    }
}

/// An event that cannot be there.
fn nonsense(event: &Event, why: &str) -> Error {
    Error::corrupt(format!("event {} of the turn log ({}) {why}", event.sequence, event.kind))
}
