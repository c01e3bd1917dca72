//! What is asked of a workspace's files, and what is answered. Paths and content are bytes: hexadecimal in JSON.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::Time;
use crate::object::FileKind;

/// Bytes that are hexadecimal in JSON.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Raw(pub Vec<u8>);

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 200;
        write!(f, "{:?}", String::from_utf8_lossy(&self.0[..self.0.len().min(SHOWN)]))
    }
}

impl<T: AsRef<[u8]> + ?Sized> From<&T> for Raw {
    fn from(bytes: &T) -> Self {
        Raw(bytes.as_ref().to_vec())
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = std::borrow::Cow::<str>::deserialize(deserializer)?;
        hex::decode(digits.as_bytes()).map(Raw).map_err(serde::de::Error::custom)
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// What a path names.
    Stat {
        /// The path.
        path: Raw,
    },
    /// A page of a directory.
    List {
        /// The directory.
        path: Raw,
        /// Only names greater than this one.
        after: Option<Raw>,
        /// At most so many.
        limit: u32,
    },
    /// A piece of a file.
    Read {
        /// The file.
        path: Raw,
        /// Where it starts.
        offset: u64,
        /// At most so many bytes, and at most [`crate::limits::FILE_PIECE_MAX`].
        length: u64,
    },
    /// Content for a write that follows. Pieces come in order; the first one starts anew.
    Upload {
        /// Chosen by the caller.
        upload: u64,
        /// Where the piece belongs.
        offset: u64,
        /// The piece.
        content: Raw,
    },
    /// Replaces a file, or makes one.
    Write(Write),
    /// Replaces text in a file.
    Edit(Edit),
    /// Makes a directory.
    MakeDirectory {
        /// Its path.
        path: Raw,
        /// Make missing ones on the way too; one that is there is fine.
        parents: bool,
    },
    /// Removes a name.
    Remove {
        /// Its path; a symlink itself, not what it points at.
        path: Raw,
        /// A directory with everything in it.
        recursive: bool,
    },
    /// Moves a name; a file at the new one is replaced.
    Rename {
        /// The old path.
        from: Raw,
        /// The new path.
        to: Raw,
    },
    /// Finds files by name.
    Glob(Glob),
    /// Finds text in files.
    Grep(Grep),
}

impl Request {
    /// Whether it changes nothing.
    pub fn is_read(&self) -> bool {
        matches!(
            self,
            Request::Stat { .. } | Request::List { .. } | Request::Read { .. } | Request::Glob(_) | Request::Grep(_)
        )
    }
}

/// What a change is based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Whatever is there.
    Any,
    /// There is no such file.
    Absent,
    /// The file has this tag.
    Etag(String),
}

/// Replaces a file, or makes one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// Its path.
    pub path: Raw,
    /// Make missing directories.
    pub parents: bool,
    /// What it is based on.
    pub basis: Basis,
    /// The content.
    pub content: Source,
}

/// Where the content of a write is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Here.
    Here(Raw),
    /// It was uploaded before, under this number; it has `length` bytes.
    Uploaded {
        /// The number.
        upload: u64,
        /// All its bytes.
        length: u64,
    },
}

/// Replaces text in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// The file.
    pub path: Raw,
    /// What to find; must be there exactly once unless `replace_all`.
    pub old: Raw,
    /// What takes its place.
    pub new: Raw,
    /// Every occurrence.
    pub replace_all: bool,
    /// The tag that the file must have.
    pub if_match: Option<String>,
}

/// Finds files by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glob {
    /// Such as `src/**/*.rs`; without a slash it matches at any depth.
    pub pattern: String,
    /// The directory below which it matches.
    pub path: Raw,
    /// Also hidden files.
    pub hidden: bool,
    /// Also ignored files.
    pub no_ignore: bool,
    /// At most so many.
    pub limit: u32,
}

/// Finds text in files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grep {
    /// A regular expression.
    pub pattern: String,
    /// The file, or the directory below which is searched.
    pub path: Raw,
    /// Globs of files to search, or with `!` to leave out.
    pub glob: Vec<String>,
    /// Types of files to search.
    pub types: Vec<String>,
    /// Upper and lower case are the same.
    pub ignore_case: bool,
    /// The pattern goes over lines.
    pub multiline: bool,
    /// The pattern is text.
    pub fixed: bool,
    /// Answer with lines.
    pub lines: bool,
    /// Lines of context before a match.
    pub before: u32,
    /// Lines of context after a match.
    pub after: u32,
    /// Also hidden files.
    pub hidden: bool,
    /// Also ignored files.
    pub no_ignore: bool,
    /// At most so many lines, or files where no lines are asked for.
    pub limit: u32,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done.
    Done,
    /// Of a stat.
    Stat(Entry),
    /// Of a list.
    Listing(Listing),
    /// Of a read.
    Piece(Piece),
    /// Of a write.
    Written(Written),
    /// Of an edit.
    Edited(Edited),
    /// Of a glob.
    Globbed(Globbed),
    /// Of a grep.
    Grepped(Grepped),
}

/// One inode under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name, or its path from the root.
    pub name: Raw,
    /// Kind of file.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// Names.
    pub nlink: u32,
    /// Inode number.
    pub ino: u64,
    /// Last change of content.
    pub mtime: Time,
    /// Where a symlink points.
    pub target: Option<Raw>,
    /// Changes whenever content or attributes do.
    pub etag: String,
}

/// A page of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// What the path names.
    pub node: Entry,
    /// The entries in order of their bytes; none of what is not a directory.
    pub entries: Vec<Entry>,
    /// There are more.
    pub more: bool,
}

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The tag of the file that it was read from.
    pub etag: String,
    /// The size of that file.
    pub size: u64,
    /// The bytes.
    pub content: Raw,
}

/// What a write did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// There was no such file.
    pub created: bool,
    /// The file now.
    pub entry: Entry,
}

/// What an edit did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// In how many places.
    pub replacements: u64,
    /// As a unified diff.
    pub diff: String,
    /// The file now.
    pub entry: Entry,
}

/// The files that match, newest first, then by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Globbed {
    /// Named by their paths from the root.
    pub files: Vec<Entry>,
    /// There were more.
    pub truncated: bool,
}

/// The files with matches, by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grepped {
    /// The files.
    pub files: Vec<GrepFile>,
    /// There was more.
    pub truncated: bool,
}

/// The matches of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrepFile {
    /// Its path from the root.
    pub path: Raw,
    /// Lines that match.
    pub matches: u64,
    /// Last change of content.
    pub mtime: Time,
    /// The lines, if they were asked for.
    pub lines: Vec<GrepLine>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrepLine {
    /// From 1.
    pub number: u64,
    /// Without its end; cut where it is too long.
    pub text: String,
    /// It only stands near a match.
    pub context: bool,
}
