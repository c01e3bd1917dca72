//! Write: a whole file or document, new or over one that was read.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vfs_core::{Error, Kind, Result};

use super::seen::Note;
use super::shelf::{Look, Stored, digest};
use super::{Request, Toolbox, texts};
use crate::call::{Plan, ToolResult};
use crate::routes::Place;

/// What must be known if the harness dies while it writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WritePlan {
    /// The tag before; nothing if there is nothing.
    pub(super) basis: Option<String>,
    /// Digest of the content after.
    pub(super) expect: String,
}

impl WritePlan {
    pub(super) fn to_plan(&self) -> Plan {
        Plan::Run(serde_json::to_value(self).expect("because a plan is plain data"))
    }

    pub(super) fn from_value(plan: &Value) -> Result<WritePlan> {
        serde_json::from_value(plan.clone())
            .map_err(|error| Error::new(Kind::Corrupt, "the log's plan of a call makes no sense").because(error))
    }
}

/// Whether a place may be written, as far as the session has seen it.
pub(super) enum May {
    /// On this basis.
    Yes(Option<String>),
    /// What the model is told.
    No(String),
}

/// What became of a write that nobody saw end.
pub(super) enum Before {
    /// It is done; the tag now.
    Done(String),
    /// It has not happened.
    NotDone,
    /// Something else is there.
    Unknown,
}

impl Toolbox {
    pub(super) async fn plan_write(&mut self, request: &Request<'_>) -> Result<Plan> {
        let path = request.text("file_path");
        let (place, absolute) = self.place(path);
        if let Some(text) = refusal(&place, path) {
            return Ok(Plan::Answer(ToolResult::error(text)));
        }
        match self.may_write(&place, &absolute).await? {
            May::Yes(basis) => Ok(WritePlan { basis, expect: digest(request.text("content").as_bytes()) }.to_plan()),
            May::No(text) => Ok(Plan::Answer(ToolResult::error(text))),
        }
    }

    pub(super) async fn write(&mut self, request: &Request<'_>, plan: &Value) -> Result<ToolResult> {
        let plan = WritePlan::from_value(plan)?;
        let path = request.text("file_path");
        let (place, absolute) = self.place(path);
        let content = request.text("content").to_owned().into_bytes();
        let stored = self.store(&request.call.id, &place, plan.basis.as_deref(), content.into()).await?;
        let tag = match stored {
            Stored::Done(tag) => tag,
            Stored::Stale if plan.basis.is_none() => return Ok(ToolResult::error(texts::not_read())),
            Stored::Stale => return Ok(ToolResult::error(texts::modified())),
            Stored::Refused(text) => return Ok(ToolResult::error(text)),
        };
        let text = if plan.basis.is_some() { texts::updated(path) } else { texts::created(path) };
        Ok(written(&place, absolute, tag, plan.expect, text))
    }

    pub(super) async fn recover_write(&mut self, request: &Request<'_>, plan: &Value) -> Result<ToolResult> {
        let parsed = WritePlan::from_value(plan)?;
        let path = request.text("file_path");
        let (place, absolute) = self.place(path);
        match self.before(&request.call.id, &place, &parsed).await? {
            Before::NotDone => self.write(request, plan).await,
            Before::Done(tag) => {
                let text = if parsed.basis.is_some() { texts::updated(path) } else { texts::created(path) };
                Ok(written(&place, absolute, tag, parsed.expect, text))
            }
            Before::Unknown => Ok(unknown(&place, path)),
        }
    }

    /// Read before write: a file that is there must have been seen as it is.
    pub(super) async fn may_write(&self, place: &Place, absolute: &str) -> Result<May> {
        let tag = match self.look(place).await? {
            Look::Absent => return Ok(May::Yes(None)),
            Look::Directory => return Ok(May::No(texts::not_read())),
            Look::File { tag, .. } => tag,
        };
        let Some(known) = self.seen.get(absolute) else { return Ok(May::No(texts::not_read())) };
        if known.tag == tag {
            return Ok(May::Yes(Some(tag)));
        }
        // Touched, mounted anew or written with what was there: the content decides, where it is known.
        if !known.digest.is_empty()
            && let Some((tag, content)) = self.content(place).await?
            && digest(&content) == known.digest
        {
            return Ok(May::Yes(Some(tag)));
        }
        Ok(May::No(texts::modified()))
    }

    /// Finds out whether a planned write has happened.
    pub(super) async fn before(&self, call: &str, place: &Place, plan: &WritePlan) -> Result<Before> {
        if let Place::Document(path) = place {
            return self.document_before(call, path, plan).await;
        }
        let found = self.content(place).await?;
        Ok(match (found, &plan.basis) {
            (Some((tag, content)), _) if digest(&content) == plan.expect => Before::Done(tag),
            (Some((tag, _)), Some(basis)) if tag == *basis => Before::NotDone,
            (None, None) => Before::NotDone,
            _ => Before::Unknown,
        })
    }

    /// A version carries the tool call that made it.
    async fn document_before(&self, call: &str, path: &str, plan: &WritePlan) -> Result<Before> {
        let Some((scope, _)) = self.document_basis(plan.basis.as_deref()) else { return Ok(Before::NotDone) };
        let versions = match self.options.client.document_versions(&scope, path).await {
            Ok(versions) => versions,
            Err(error) if error.kind() == Kind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let session = &self.options.session;
        let ours = versions.iter().find(|version| {
            !version.side && version.tool_call == call && version.session == *session && version.digest == plan.expect
        });
        if let Some(ours) = ours {
            return Ok(Before::Done(format!("{}@{}", ours.scope, ours.version)));
        }
        let head = versions.iter().find(|version| !version.side).filter(|version| !version.deleted);
        let is_basis = head.map(|head| format!("{}@{}", head.scope, head.version)) == plan.basis;
        Ok(if is_basis { Before::NotDone } else { Before::Unknown })
    }
}

/// Places that take no writes at all.
pub(super) fn refusal(place: &Place, path: &str) -> Option<String> {
    match place {
        Place::Outside => Some(texts::outside(path)),
        Place::Output(_) => Some(texts::refused(&format!("{path} is read-only."))),
        Place::Workspace(rest) if rest.is_empty() => Some(texts::not_read()),
        _ => None,
    }
}

/// The result of a write that happened.
pub(super) fn written(place: &Place, absolute: String, tag: String, digest: String, text: String) -> ToolResult {
    let note = Note { path: absolute, tag, digest, lines: None };
    ToolResult { wrote: matches!(place, Place::Workspace(_)), detail: note.detail(), ..ToolResult::ok(text) }
}

/// The result of a write of which nobody knows.
pub(super) fn unknown(place: &Place, path: &str) -> ToolResult {
    let text = texts::unknown(&format!(
        "{path} has another content now than before and than intended. Read it before you go on."
    ));
    ToolResult { wrote: matches!(place, Place::Workspace(_)), ..ToolResult::error(text) }
}
