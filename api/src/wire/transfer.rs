//! Folders of the engine's machine: scan, import, export. Offered over the Unix socket only.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use vfs_core::id::SnapshotId;
use vfs_core::{Error, Kind, Result};

use super::mount::Note;
use super::name::{from_text, to_text};

/// An absolute path on the engine's machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalPath {
    /// The path; lossy where it is not UTF-8.
    pub path: String,
    /// Its bytes in hexadecimal, where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
}

impl LocalPath {
    /// A path as it travels.
    pub fn new(path: &Path) -> Self {
        let (path, path_hex) = to_text(path.as_os_str().as_bytes());
        LocalPath { path, path_hex }
    }

    /// The path. The engine has another working directory than its client, so a relative one is refused.
    pub fn to_path(&self) -> Result<PathBuf> {
        let bytes = from_text(&self.path, self.path_hex.as_deref())?;
        let path = PathBuf::from(OsString::from_vec(bytes));
        if path.is_absolute() && !path.as_os_str().as_bytes().contains(&0) {
            return Ok(path);
        }
        Err(Error::new(Kind::Invalid, format!("{} is not an absolute path", path.display())))
    }
}

/// Asks how large a folder is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScanRequest {
    /// The folder.
    pub folder: LocalPath,
    /// Patterns of paths relative to the folder that are left out, with everything below.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// A state that was imported from the folder, as `WORKSPACE` or `WORKSPACE@SNAPSHOT`: has the folder changed since?
    #[serde(default)]
    pub since: Option<String>,
}

/// How large a folder is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Scanned {
    /// Names of any kind, without the folder itself.
    pub names: u64,
    /// Bytes of the files, hard links once.
    pub bytes: u64,
    /// The first few paths that have changed since `since`; `None` if that was not asked.
    pub changed: Option<Vec<String>>,
}

/// Takes a folder into a workspace that nobody holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// The folder.
    pub folder: LocalPath,
    /// Patterns of paths relative to the folder that are left out, with everything below.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Absolute paths that are left out and reported: mounts, other data folders. The engine's own always is.
    #[serde(default)]
    pub skip: Vec<LocalPath>,
    /// Read every file, also those that look as they did when they were imported last.
    #[serde(default)]
    pub reread: bool,
    /// What is said about the snapshot.
    #[serde(default)]
    pub note: Note,
}

/// Takes a tar archive into a workspace that nobody holds, as its whole content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportTarRequest {
    /// The archive: a file or a pipe of the engine's machine. `/proc/PID/fd/0` is the standard input of a process.
    pub file: LocalPath,
    /// What is said about the snapshot.
    #[serde(default)]
    pub note: Note,
}

/// Writes a state as a tar archive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportTarRequest {
    /// The archive: a file that is made, or a pipe of the engine's machine.
    pub file: LocalPath,
    /// What of the snapshot is written; empty: all of it.
    #[serde(default)]
    pub path: String,
    /// The bytes of `path` in hexadecimal, where it is not UTF-8.
    #[serde(default)]
    pub path_hex: Option<String>,
}

impl ExportTarRequest {
    /// Asks for `path` in `file`.
    pub fn new(file: LocalPath, path: &[u8]) -> Self {
        let (path, path_hex) = to_text(path);
        ExportTarRequest { file, path, path_hex }
    }

    /// The bytes of the path.
    pub fn path_bytes(&self) -> Result<Vec<u8>> {
        from_text(&self.path, self.path_hex.as_deref())
    }
}

/// What an import made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Imported {
    /// The new head.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
    /// Names of any kind, at any depth.
    pub names: u64,
    /// Bytes of the files, hard links once.
    pub bytes: u64,
    /// What was left out, or not stored as it was.
    pub skipped: Vec<Skipped>,
}

/// Writes a snapshot into a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportRequest {
    /// The folder; made, or empty.
    pub folder: LocalPath,
    /// Give files the owners they have in the snapshot (needs root); unless said, if the engine runs as root.
    #[serde(default)]
    pub owner: Option<bool>,
}

/// What an export wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Exported {
    /// Names of any kind.
    pub names: u64,
    /// Bytes of files, hard links once.
    pub bytes: u64,
    /// What could not be written as it is in the snapshot.
    pub skipped: Vec<Skipped>,
}

/// One path with a warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Skipped {
    /// The path; lossy where it is not UTF-8.
    pub path: String,
    /// Why.
    pub why: String,
}

impl From<(PathBuf, String)> for Skipped {
    fn from((path, why): (PathBuf, String)) -> Self {
        Skipped { path: path.to_string_lossy().into_owned(), why }
    }
}
