//! Files of a live workspace or of a snapshot: a typed method for each thing that can be asked of them.

use bytes::Bytes;
use reqwest::Method;
use serde::de::DeserializeOwned;
use vfs_core::{Error, Kind, Result};

use super::calls::workspace_path;
use super::transport::{Client, Effort};
use crate::wire::file::{
    ChangeNames, EditRequest, Edited, FileStat, GlobAnswer, GlobRequest, GrepAnswer, GrepRequest, Written,
};
use crate::wire::name::to_query;
use crate::wire::snapshot::Listing;

/// What a write of a file is based on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileBasis {
    /// Whatever is there.
    Any,
    /// There is no file.
    Absent,
    /// The file has this ETag.
    Etag(String),
}

/// A file's content, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContent {
    /// Of the file as it was read.
    pub etag: String,
    /// The bytes.
    pub content: Bytes,
}

impl Client {
    /// What a path names; `at` is a snapshot, or the live state without it.
    pub async fn stat_file(&self, workspace: &str, at: Option<&str>, path: &[u8]) -> Result<FileStat> {
        self.get(&file_path(workspace, "stat", at, path, "")).await
    }

    /// A page of a directory: names after `after`, at most `limit`.
    pub async fn list_files(
        &self,
        workspace: &str,
        at: Option<&str>,
        path: &[u8],
        after: Option<&[u8]>,
        limit: u32,
    ) -> Result<Listing> {
        let after = after.map_or(String::new(), |name| format!("&after={}", to_query(name)));
        self.get(&file_path(workspace, "list", at, path, &format!("&limit={limit}{after}"))).await
    }

    /// A file's content, or the bytes from `range.0` up to but not including `range.1` as far as the file has them.
    pub async fn read_file(
        &self,
        workspace: &str,
        at: Option<&str>,
        path: &[u8],
        range: Option<(u64, u64)>,
    ) -> Result<FileContent> {
        if range.is_some_and(|(start, end)| end <= start) {
            return Err(Error::new(Kind::Invalid, "the range holds no bytes"));
        }
        let url = file_path(workspace, "content", at, path, "");
        let headers: Vec<_> =
            range.map(|(start, end)| ("range", format!("bytes={start}-{}", end - 1))).into_iter().collect();
        let answer = self.exchange(Method::GET, &url, &headers, None, None, Effort::READ).await?;
        Ok(FileContent { etag: answer.header("etag").trim_matches('"').to_owned(), content: answer.body })
    }

    /// Writes a whole file. `Conflict` if it is not what `basis` says.
    pub async fn write_file(
        &self,
        workspace: &str,
        path: &[u8],
        parents: bool,
        basis: &FileBasis,
        content: Bytes,
    ) -> Result<Written> {
        let url = file_path(workspace, "content", None, path, &format!("&parents={parents}"));
        let headers = match basis {
            FileBasis::Any => vec![],
            FileBasis::Absent => vec![("if-none-match", "*".to_owned())],
            FileBasis::Etag(etag) => vec![("if-match", format!("\"{etag}\""))],
        };
        self.exchange(Method::PUT, &url, &headers, Some(content), None, Effort::ONCE).await?.json(&url)
    }

    /// Replaces text in a file.
    pub async fn edit_file(&self, workspace: &str, request: &EditRequest) -> Result<Edited> {
        self.post(&workspace_path(workspace, "/files/edit"), request, Effort::ONCE).await
    }

    /// Makes a directory, removes or renames.
    pub async fn change_names(&self, workspace: &str, request: &ChangeNames) -> Result<()> {
        self.post(&workspace_path(workspace, "/files/names"), request, Effort::ONCE).await
    }

    /// Finds files by name.
    pub async fn glob_files(&self, workspace: &str, request: &GlobRequest) -> Result<GlobAnswer> {
        self.search(workspace, "glob", request).await
    }

    /// Finds text in files.
    pub async fn grep_files(&self, workspace: &str, request: &GrepRequest) -> Result<GrepAnswer> {
        self.search(workspace, "grep", request).await
    }

    async fn search<T: DeserializeOwned>(
        &self,
        workspace: &str,
        what: &str,
        request: &impl serde::Serialize,
    ) -> Result<T> {
        self.post(&workspace_path(workspace, &format!("/files/{what}")), request, Effort::READ).await
    }
}

fn file_path(workspace: &str, what: &str, at: Option<&str>, path: &[u8], rest: &str) -> String {
    let at = at.map_or(String::new(), |at| format!("&at={}", to_query(at.as_bytes())));
    workspace_path(workspace, &format!("/files/{what}?path={}{at}{rest}", to_query(path)))
}
