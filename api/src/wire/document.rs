//! Documents: versioned files in the database (decision 0011).

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::name::Time;

/// One version of a document, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Document {
    /// Whose it is: `org`, `user/NAME` or `agent/NAME`.
    pub scope: String,
    /// Its path, such as `skills/review/SKILL.md`.
    pub path: String,
    /// The version, from 1; unique within the document.
    pub version: u64,
    /// The version it was based on; 0 if it was the first.
    pub base: u64,
    /// Size in bytes.
    pub size: u64,
    /// BLAKE3 of the content, in hexadecimal; empty for a deletion.
    pub digest: String,
    /// This version deletes the document.
    pub deleted: bool,
    /// Kept beside the head after a conflict; never became the head.
    pub side: bool,
    /// When it was written.
    pub time: Time,
    /// Who wrote it.
    pub author: String,
    /// The session that wrote it; empty if none did.
    pub session: String,
    /// The turn of the session; 0 if none.
    pub turn: u64,
    /// The tool call of the turn.
    pub tool_call: String,
}

/// Documents of a view or a scope: by path, one for each path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Documents {
    /// Their heads.
    pub documents: Vec<Document>,
}

/// All versions of a document, newest first, side versions too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentVersions {
    /// The versions.
    pub versions: Vec<Document>,
}

/// Which documents to list. Either `view` or `scope`, or neither for all scopes of the tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DocumentsQuery {
    /// Scopes, nearest first, with commas: `agent/main,user/ana,org`.
    pub view: Option<String>,
    /// One scope.
    pub scope: Option<String>,
    /// Only this path and what is below it.
    pub prefix: Option<String>,
}

/// Which version of which document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DocumentQuery {
    /// Scopes, nearest first, with commas. Either this or `scope`.
    pub view: Option<String>,
    /// One scope.
    pub scope: Option<String>,
    /// The document's path.
    pub path: String,
    /// This version instead of the head; with `scope` only.
    pub version: Option<u64>,
}

/// A write. The body is the content; `If-Match: "VERSION"` or `If-None-Match: *` says what it is based on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WriteDocumentQuery {
    /// The scope to write to.
    pub scope: String,
    /// The document's path.
    pub path: String,
    /// Scopes that the caller may write, with commas; all if left out.
    pub grants: Option<String>,
    /// On another head, merge; keep a side version if that cannot be done.
    #[serde(default)]
    pub merge: bool,
    /// Who writes.
    #[serde(default)]
    pub author: String,
    /// The session that writes; its log says in which turn and tool call.
    #[serde(default)]
    pub session: String,
    /// The epoch of the session's lease, which must be the present one.
    pub epoch: Option<u64>,
    /// The tool call, instead of the one that the log has open.
    #[serde(default)]
    pub tool_call: String,
    /// Names this write, so that a repetition of it is answered with the version it made; `tool_call` if left out.
    /// Without either, every request is a write of its own.
    #[serde(default)]
    pub key: String,
}

/// Brings an older version back as a new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreDocument {
    /// The scope.
    pub scope: String,
    /// The document's path.
    pub path: String,
    /// The version to bring back.
    pub version: u64,
    /// The head that this is based on.
    pub if_version: u64,
    /// Who asks.
    #[serde(default)]
    pub author: String,
}

/// The body of a 409 on a write: nothing was overwritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentConflict {
    /// What the write was based on; `null` if it was to be the first.
    pub base: Option<DocumentText>,
    /// The head.
    pub theirs: DocumentText,
    /// What was to be written. Its version is that of the side version, or 0 if it was not kept.
    pub yours: DocumentText,
}

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentText {
    /// The version; 0 if it has none.
    pub version: u64,
    /// It is a deletion.
    pub deleted: bool,
    /// The content, lossy where it is not UTF-8.
    pub text: String,
    /// The content's bytes in hexadecimal, where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
}
