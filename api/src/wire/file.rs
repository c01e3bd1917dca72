//! Files of a live workspace or of a snapshot, by path (decision 0012).
//!
//! Paths in JSON are text, with their bytes in hexadecimal beside it (`path_hex`) where they are not UTF-8; a leading slash is
//! allowed and means nothing. `at` names a snapshot (`HEAD`, or at least four digits); without it the live state is meant.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::snapshot::Entry;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileStat {
    /// Its attributes; `name` is the path.
    pub entry: Entry,
    /// Changes whenever content or attributes do; for `If-Match`.
    pub etag: String,
}

/// A write. The body is the content; `If-Match: "ETAG"` or `If-None-Match: *` may say what it is based on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WriteFileQuery {
    /// Percent-encoded bytes.
    pub path: String,
    /// Make missing directories.
    #[serde(default)]
    pub parents: bool,
}

/// What a write did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Written {
    /// The file was not there before.
    pub created: bool,
    /// The file now.
    pub stat: FileStat,
}

/// Replaces text in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditRequest {
    /// The file.
    pub path: String,
    /// Its bytes in hexadecimal, where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// The text to find; must be there exactly once unless `replace_all`.
    pub old: String,
    /// What takes its place.
    pub new: String,
    /// Replace every occurrence.
    #[serde(default)]
    pub replace_all: bool,
    /// The ETag that the file must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<String>,
}

/// What an edit did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Edited {
    /// How many places.
    pub replacements: u64,
    /// What changed, as a unified diff.
    pub diff: String,
    /// The file now.
    pub stat: FileStat,
}

/// A change of names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum ChangeNames {
    /// Makes a directory; with `parents` missing ones too, and one that is there is fine.
    MakeDirectory {
        /// The directory.
        path: String,
        /// Make missing parents.
        #[serde(default)]
        parents: bool,
    },
    /// Removes a file, or with `recursive` a directory and everything in it.
    Remove {
        /// What to remove.
        path: String,
        /// Also directories that are not empty.
        #[serde(default)]
        recursive: bool,
    },
    /// Renames; an existing file at the new name is replaced.
    Rename {
        /// The old path.
        from: String,
        /// The new path.
        to: String,
    },
}

/// Finds files by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GlobRequest {
    /// Such as `src/**/*.rs`; without a slash it matches at any depth.
    pub pattern: String,
    /// Only below this directory, on which the pattern stands; the root without it.
    #[serde(default)]
    pub path: String,
    /// The snapshot; the live state without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Also hidden files.
    #[serde(default)]
    pub hidden: bool,
    /// Also what `.gitignore` and `.ignore` leave out.
    #[serde(default)]
    pub no_ignore: bool,
    /// At most so many paths; 1,000 unless said, 10,000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// The files that match, newest first, then by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GlobAnswer {
    /// Their paths from the root of the workspace, with attributes.
    pub files: Vec<Entry>,
    /// There were more.
    pub truncated: bool,
}

/// Finds text in files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrepRequest {
    /// A regular expression, as ripgrep takes it.
    pub pattern: String,
    /// Only in this file or below this directory; the root without it.
    #[serde(default)]
    pub path: String,
    /// The snapshot; the live state without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Only files that one of these globs matches; one that starts with `!` leaves out.
    #[serde(default)]
    pub glob: Vec<String>,
    /// Only files of these types, as `rg --type-list` names them.
    #[serde(default)]
    pub types: Vec<String>,
    /// Upper and lower case are the same.
    #[serde(default)]
    pub ignore_case: bool,
    /// The pattern may match over several lines, and `.` a line's end.
    #[serde(default)]
    pub multiline: bool,
    /// The pattern is text, not an expression.
    #[serde(default)]
    pub fixed: bool,
    /// Return lines, not only files and counts.
    #[serde(default)]
    pub lines: bool,
    /// Lines of context before each match.
    #[serde(default)]
    pub before: u32,
    /// Lines of context after each match.
    #[serde(default)]
    pub after: u32,
    /// Also hidden files.
    #[serde(default)]
    pub hidden: bool,
    /// Also what `.gitignore` and `.ignore` leave out.
    #[serde(default)]
    pub no_ignore: bool,
    /// At most so many lines (with `lines`) or files; 1,000 unless said, 10,000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// The files with matches, by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrepAnswer {
    /// The files.
    pub files: Vec<GrepFile>,
    /// There was more.
    pub truncated: bool,
}

/// The matches of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrepFile {
    /// Its path from the root of the workspace.
    pub path: String,
    /// The path's bytes in hexadecimal, where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// Lines that match.
    pub matches: u64,
    /// When the content changed.
    pub mtime: super::Time,
    /// The lines, in order; empty unless asked for.
    pub lines: Vec<GrepLine>,
}

/// One line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrepLine {
    /// From 1.
    pub number: u64,
    /// Without its end; lossy where it is not UTF-8; cut after 2,000 characters.
    pub text: String,
    /// It only stands near a match.
    pub context: bool,
}
