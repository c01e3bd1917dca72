//! Files and documents in one way: look, read, write on the basis of what was seen.

use api::client::{Basis, FileBasis, Put};
use api::wire::document::{DocumentQuery, DocumentsQuery, WriteDocumentQuery};
use api::wire::file::{EditRequest, FileStat};
use bytes::{Bytes, BytesMut};
use vfs_core::{Error, Kind, Result};

use super::limits::PIECE_BYTES;
use super::{Toolbox, texts};
use crate::routes::Place;

/// What a place holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    Absent,
    Directory,
    /// A file, or a document; neither a device nor a pipe.
    File {
        tag: String,
        size: u64,
    },
}

/// What a write left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stored {
    /// It is there, under this tag.
    Done(String),
    /// Something else is there than the write was based on; nothing was changed.
    Stale,
    /// It must not be written; what the model is told.
    Refused(String),
}

impl Toolbox {
    pub(super) async fn look(&self, place: &Place) -> Result<Look> {
        match place {
            Place::Workspace(path) => self.look_at_file(path).await,
            Place::Document(path) => self.look_at_document(path).await,
            Place::Output(name) => Ok(match std::fs::metadata(self.outputs().join(output_name(name))) {
                Ok(found) if found.is_file() => Look::File { tag: "output".into(), size: found.len() },
                Ok(_) => Look::Directory,
                Err(_) => Look::Absent,
            }),
            Place::Outside => Ok(Look::Absent),
        }
    }

    async fn look_at_file(&self, path: &str) -> Result<Look> {
        let found = self.options.client.stat_file(&self.options.workspace, None, path.as_bytes()).await;
        let stat = match found {
            Ok(stat) => stat,
            Err(error) if is_absent(&error) => {
                self.workspace_is_there(&error).await?;
                return Ok(Look::Absent);
            }
            Err(error) => return Err(error),
        };
        match stat.entry.kind.as_str() {
            "file" | "symlink" => Ok(Look::File { tag: tag_of(&stat), size: stat.entry.size }),
            "directory" => Ok(Look::Directory),
            kind => Err(Error::new(Kind::Unsupported, format!("{path} is a {kind}, not a file"))),
        }
    }

    async fn look_at_document(&self, path: &str) -> Result<Look> {
        let query =
            DocumentsQuery { view: Some(self.view().join(",")), prefix: Some(path.to_owned()), ..Default::default() };
        let heads = self.options.client.documents(&query).await?;
        if let Some(head) = heads.iter().find(|head| head.path == path) {
            return Ok(Look::File { tag: document_tag(&head.scope, head.version), size: head.size });
        }
        let below = heads.iter().any(|head| crate::routes::below(&head.path, path).is_some());
        Ok(if below || !path.contains('/') { Look::Directory } else { Look::Absent })
    }

    /// The whole content and the tag it has; `None` if nothing is there.
    pub(super) async fn content(&self, place: &Place) -> Result<Option<(String, Bytes)>> {
        let client = &self.options.client;
        let found = match place {
            Place::Workspace(path) => client
                .read_file(&self.options.workspace, None, path.as_bytes(), None)
                .await
                .map(|found| (plain_tag(&found.etag), found.content)),
            Place::Document(path) => {
                let query =
                    DocumentQuery { view: Some(self.view().join(",")), path: path.clone(), ..Default::default() };
                client.document(&query).await.map(|found| (document_tag(&found.scope, found.version), found.content))
            }
            Place::Output(name) => {
                let path = self.outputs().join(output_name(name));
                let read = std::fs::read(&path).map_err(|error| Error::io("the output is not kept any more", error));
                read.map(|bytes| ("output".to_owned(), bytes.into()))
            }
            Place::Outside => return Ok(None),
        };
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The beginning of a large file, up to `lines` whole lines; and whether that is all of it.
    pub(super) async fn beginning(&self, path: &str, lines: u64) -> Result<(String, Bytes, bool)> {
        let (mut tag, mut bytes, mut ends) = (String::new(), BytesMut::new(), 0);
        loop {
            let at = bytes.len() as u64;
            let piece = self.options.client.read_file(
                &self.options.workspace,
                None,
                path.as_bytes(),
                Some((at, at + PIECE_BYTES)),
            );
            let piece = match piece.await {
                // The file ends exactly where a piece did.
                Err(error) if error.kind() == Kind::Invalid && at > 0 => return Ok((tag, bytes.freeze(), true)),
                piece => piece?,
            };
            let fresh = plain_tag(&piece.etag);
            if !tag.is_empty() && tag != fresh {
                (tag, ends) = (String::new(), 0);
                bytes.clear();
                continue;
            }
            tag = fresh;
            ends += piece.content.iter().filter(|byte| **byte == b'\n').count() as u64;
            bytes.extend_from_slice(&piece.content);
            if (piece.content.len() as u64) < PIECE_BYTES {
                return Ok((tag, bytes.freeze(), true));
            }
            if ends > lines {
                return Ok((tag, bytes.freeze(), false));
            }
        }
    }

    /// Writes a whole file or document where `basis` is (nothing: where nothing is).
    pub(super) async fn store(&self, call: &str, place: &Place, basis: Option<&str>, content: Bytes) -> Result<Stored> {
        match place {
            Place::Workspace(path) => {
                let basis = basis.map_or(FileBasis::Absent, |tag| FileBasis::Etag(tag.to_owned()));
                let path = path.as_bytes();
                let written =
                    self.options.client.write_file(&self.options.workspace, path, true, &basis, content).await;
                stored(written.map(|written| tag_of(&written.stat)))
            }
            Place::Document(path) => self.store_document(call, path, basis, content).await,
            Place::Output(_) => Ok(Stored::Refused("This folder is read-only.".into())),
            Place::Outside => Ok(Stored::Refused(texts::outside("The path"))),
        }
    }

    async fn store_document(&self, call: &str, path: &str, basis: Option<&str>, content: Bytes) -> Result<Stored> {
        let Some((scope, version)) = self.document_basis(basis) else {
            return Ok(Stored::Refused(self.denied(path, "no scope of the view is granted")));
        };
        let query = WriteDocumentQuery {
            scope: scope.clone(),
            path: path.to_owned(),
            grants: Some(self.options.grants.join(",")),
            author: self.author(),
            session: self.options.session.clone(),
            epoch: (!self.options.session.is_empty()).then_some(self.options.epoch),
            tool_call: call.to_owned(),
            merge: false,
            key: String::new(),
        };
        match self.options.client.put_document(&query, version, content).await {
            Ok(Put::Written(document)) => Ok(Stored::Done(document_tag(&document.scope, document.version))),
            Ok(Put::Conflict(_)) => Ok(Stored::Stale),
            Err(error) if error.kind() == Kind::Denied => Ok(Stored::Refused(self.denied(path, error.context()))),
            Err(error) => Err(error),
        }
    }

    /// Where a document is written and on what: an existing one where it is, a new one in the nearest granted scope.
    pub(super) fn document_basis(&self, basis: Option<&str>) -> Option<(String, Basis)> {
        match basis.and_then(|tag| tag.rsplit_once('@')) {
            Some((scope, version)) => Some((scope.to_owned(), Basis::Version(version.parse().ok()?))),
            None => {
                let scope = self.view().into_iter().find(|scope| self.options.grants.contains(scope))?;
                Some((scope, Basis::Absent))
            }
        }
    }

    /// Replaces text in a file of the workspace that has this tag.
    pub(super) async fn replace(&self, path: &str, tag: &str, old: &str, new: &str, all: bool) -> Result<Stored> {
        let request = EditRequest {
            path: path.to_owned(),
            path_hex: None,
            old: old.to_owned(),
            new: new.to_owned(),
            replace_all: all,
            if_match: Some(tag.to_owned()),
        };
        let edited = self.options.client.edit_file(&self.options.workspace, &request).await;
        stored(edited.map(|edited| tag_of(&edited.stat)))
    }

    fn denied(&self, path: &str, why: &str) -> String {
        let shown = self.routes.document(path).unwrap_or_else(|| path.to_owned());
        texts::denied(&shown, why, &self.options.grants)
    }

    fn author(&self) -> String {
        if self.options.agent.is_empty() { "agent".into() } else { format!("agent/{}", self.options.agent) }
    }
}

fn stored(result: Result<String>) -> Result<Stored> {
    match result {
        Ok(tag) => Ok(Stored::Done(tag)),
        Err(error) if matches!(error.kind(), Kind::Conflict | Kind::AlreadyExists) => Ok(Stored::Stale),
        Err(error) => Err(error),
    }
}

/// Nothing is there: no such name, or a file where a directory should be.
pub(super) fn is_absent(error: &Error) -> bool {
    matches!(error.kind(), Kind::NotFound | Kind::NotADirectory)
}

/// The name of an output; anything else than a plain name is none.
fn output_name(name: &str) -> &str {
    if name.contains('/') { "none" } else { name }
}

fn tag_of(stat: &FileStat) -> String {
    plain_tag(&stat.etag)
}

/// Tags are compared without the quotes that a header has.
fn plain_tag(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

fn document_tag(scope: &str, version: u64) -> String {
    format!("{scope}@{version}")
}

/// Digest of content, as plans and notes carry it.
pub(super) fn digest(content: &[u8]) -> String {
    blake3::hash(content).to_hex().to_string()
}
