//! Writing: one transaction that compares, and then adds a version, merges, or leaves everything as it is.
//!
//! | head is what the write says | the bytes are there already | asked to merge | then |
//! |---|---|---|---|
//! | yes | yes | | nothing is added, the head is the answer |
//! | yes | no | | a new version |
//! | no, but this very write made a version before | | | that version is the answer |
//! | no | yes | no | nothing is added, the head is the answer |
//! | no | no | no | conflict, nothing is stored |
//! | no | | yes | a merged version, or a conflict with a side version |
//!
//! A merge by lines may take long, so it is made outside of the transaction, which then looks whether the head is
//! still the one that was merged.

use bytes::Bytes;

use super::merge::{appended, by_lines};
use super::{Basis, Change, Conflict, ConflictSide, Outcome, Version, Write};
use crate::clock::Time;
use crate::db::{Connection, Database, DocumentRow, VersionRow, documents};
use crate::error::{Error, Kind, Result};
use crate::id::SessionId;
use crate::limits::{ATTRIBUTION_MAX, DOCUMENT_MAX, MERGE_ROUNDS_MAX};

/// Writes; answered when it is durable.
pub(crate) async fn write(database: &Database, tenant: i64, now: Time, write: &Write) -> Result<Outcome> {
    check(write)?;
    let mut merged = None;
    for round in 0.. {
        let mut transaction = database.begin().await?;
        let step = Writing { connection: &mut transaction, tenant, now, write };
        match step.run(merged.as_ref(), round >= MERGE_ROUNDS_MAX).await? {
            Step::Done(outcome) => {
                database.commit(transaction).await?;
                return Ok(outcome);
            }
            Step::Merge(sides) => {
                drop(transaction);
                merged = Some(sides.merge().await?);
            }
        }
    }
    Err(Error::new(Kind::Internal, "a write of a document never came to an end"))
}

/// What can be refused without looking at the document.
fn check(write: &Write) -> Result<()> {
    write.grants.check(&write.scope)?;
    let invalid = |what: String| Err(Error::new(Kind::Invalid, what));
    let writer = &write.writer;
    for (what, text) in [("author", &writer.author), ("tool call", &writer.tool_call), ("key", &writer.key)] {
        if text.len() > ATTRIBUTION_MAX {
            return invalid(format!("the {what} has {} bytes; at most {ATTRIBUTION_MAX} are allowed", text.len()));
        }
    }
    if writer.session.is_empty() && writer.epoch.is_some() {
        return invalid("an epoch is that of a session: name the session too".to_owned());
    }
    if !writer.session.is_empty() && writer.session.parse::<SessionId>().is_err() {
        return invalid(format!("{:?} is not the id of a session, which has 16 hexadecimal digits", writer.session));
    }
    match &write.change {
        Change::Put(content) if content.len() > DOCUMENT_MAX => {
            let context = format!("a document holds at most {DOCUMENT_MAX} bytes, this content has {}", content.len());
            Err(Error::new(Kind::TooLarge, context))
        }
        _ => Ok(()),
    }
}

/// What a transaction came to.
enum Step {
    Done(Outcome),
    /// These must be merged first, outside of the transaction.
    Merge(Sides),
}

/// What goes into a three-way merge.
struct Sides {
    head: u64,
    base: Bytes,
    theirs: Bytes,
    yours: Bytes,
}

/// What came out of it.
struct Merged {
    /// The head that was merged.
    head: u64,
    /// `None` if there were conflicts.
    content: Option<Vec<u8>>,
}

impl Sides {
    async fn merge(self) -> Result<Merged> {
        let Sides { head, base, theirs, yours } = self;
        let content = tokio::task::spawn_blocking(move || by_lines(&base, &theirs, &yours)).await;
        let failed = |error| Error::new(Kind::Internal, "a merge of a document failed").because(error);
        Ok(Merged { head, content: content.map_err(failed)? })
    }
}

/// One attempt in its transaction.
struct Writing<'a> {
    connection: &'a mut Connection,
    tenant: i64,
    now: Time,
    write: &'a Write,
}

/// Who writes, as the turn log says.
struct Attribution {
    turn: u64,
    tool_call: String,
    request: [u8; 32],
    /// A repetition can be told from another write with the same bytes.
    is_named: bool,
}

impl Writing<'_> {
    async fn run(mut self, merged: Option<&Merged>, last: bool) -> Result<Step> {
        let write = self.write;
        let by = self.attribute().await?;
        let document = documents::find(self.connection, self.tenant, write.scope.as_str(), write.path.as_str()).await?;
        let Some(document) = document else { return self.first(&by).await.map(Step::Done) };
        let head = self.version(&document, document.head).await?;
        let basis = match write.basis {
            Basis::Absent => 0,
            Basis::Version(version) => version,
        };
        let fresh = basis == head.version || (basis == 0 && head.deleted);
        if fresh {
            return match (self.is_there(&head), &write.change) {
                (true, Change::Delete) if basis == 0 => Err(self.nothing_to_delete()),
                (true, _) => Ok(Step::Done(Outcome::Written(head))),
                (false, change) => {
                    if head.deleted {
                        self.place_is_free().await?;
                    }
                    let content = content_of(change).unwrap_or_default();
                    let added = self.add(document, head.version, &content, false, &by).await?;
                    Ok(Step::Done(Outcome::Written(added)))
                }
            };
        }
        if let Some(made) = self.repeated(&document, basis, &by).await? {
            return match made.side {
                false => Ok(Step::Done(Outcome::Written(made))),
                true => self.conflict(&document, &head, basis, made.version).await.map(Step::Done),
            };
        }
        match &write.change {
            _ if !write.merge && self.is_there(&head) => Ok(Step::Done(Outcome::Written(head))),
            Change::Put(yours) if write.merge => self.merge(document, head, (basis, yours), (merged, last), &by).await,
            _ => self.conflict(&document, &head, basis, 0).await.map(Step::Done),
        }
    }

    /// The document was never written.
    async fn first(&mut self, by: &Attribution) -> Result<Outcome> {
        let write = self.write;
        match (write.basis, &write.change) {
            (Basis::Absent, Change::Put(content)) => {
                self.place_is_free().await?;
                let document = DocumentRow {
                    scope: write.scope.as_str().to_owned(),
                    path: write.path.as_str().to_owned(),
                    head: 0,
                    newest: 0,
                };
                self.add(document, 0, content, false, by).await.map(Outcome::Written)
            }
            (Basis::Absent, Change::Delete) => Err(self.nothing_to_delete()),
            (Basis::Version(version), _) => {
                let (scope, path) = (&write.scope, &write.path);
                let context =
                    format!("there is no document {path} in the scope {scope}, so no version {version} of it");
                Err(Error::new(Kind::NotFound, context))
            }
        }
    }

    /// A path is a document or leads to documents, never both: in the mount one of them could not be reached.
    async fn place_is_free(&mut self) -> Result<()> {
        let (scope, path) = (self.write.scope.as_str(), self.write.path.as_str());
        for (end, _) in path.match_indices('/') {
            let above = &path[..end];
            let Some(row) = documents::find(self.connection, self.tenant, scope, above).await? else { continue };
            if !self.version(&row, row.head).await?.deleted {
                let context = format!("{above} is a document of the scope {scope}, so nothing can be below it");
                return Err(Error::new(Kind::NotADirectory, context));
            }
        }
        let heads = documents::heads(self.connection, self.tenant, Some(scope), path).await?;
        match heads.iter().find(|head| !head.deleted && head.path != path) {
            Some(below) => {
                let context = format!("{path} leads to documents of the scope {scope}, such as {}", below.path);
                Err(Error::new(Kind::IsADirectory, context))
            }
            None => Ok(()),
        }
    }

    fn nothing_to_delete(&self) -> Error {
        let (scope, path) = (&self.write.scope, &self.write.path);
        Error::new(Kind::NotFound, format!("there is no document {path} in the scope {scope} to delete"))
    }

    /// Asks the turn log, and names this write so that a repetition is recognised.
    async fn attribute(&mut self) -> Result<Attribution> {
        let writer = &self.write.writer;
        let (turn, open_call) = match writer.session.as_str() {
            "" => (0, String::new()),
            session => documents::attribution(self.connection, session, writer.epoch).await?,
        };
        // The open call is no name: one command may write twice.
        let key = if writer.key.is_empty() { &writer.tool_call } else { &writer.key };
        let tool_call = if writer.tool_call.is_empty() { open_call } else { writer.tool_call.clone() };
        let basis = match self.write.basis {
            Basis::Absent => 0,
            Basis::Version(version) => version,
        };
        let content = content_of(&self.write.change);
        let deletes = [u8::from(content.is_none())];
        let mut hasher = blake3::Hasher::new();
        for part in [
            writer.author.as_bytes(),
            writer.session.as_bytes(),
            key.as_bytes(),
            &basis.to_le_bytes(),
            &deletes,
            &content.unwrap_or_default(),
        ] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Ok(Attribution { turn, tool_call, request: *hasher.finalize().as_bytes(), is_named: !key.is_empty() })
    }

    /// Whether the head is just what is to be written.
    fn is_there(&self, head: &Version) -> bool {
        match &self.write.change {
            Change::Put(content) => !head.deleted && blake3::hash(content).as_bytes() == &head.digest,
            Change::Delete => head.deleted,
        }
    }

    /// The version that this very write made before.
    async fn repeated(&mut self, document: &DocumentRow, basis: u64, by: &Attribution) -> Result<Option<Version>> {
        match by.is_named {
            true => documents::made_by(self.connection, self.tenant, document, basis, &by.request).await,
            false => Ok(None),
        }
    }

    /// Puts what was to be written and the head together, or keeps it aside.
    async fn merge(
        &mut self,
        document: DocumentRow,
        head: Version,
        (basis, yours): (u64, &Bytes),
        (merged, last): (Option<&Merged>, bool),
        by: &Attribution,
    ) -> Result<Step> {
        let base = self.base(&document, basis).await?.filter(|base| !base.deleted).map(|base| base.content);
        let theirs = documents::content(self.connection, self.tenant, &head).await?;
        let content = match (&base, merged) {
            _ if head.deleted => None,
            _ if let Some(both) = appended(base.as_deref(), &theirs, yours) => Some(both),
            (None, _) => None,
            (Some(_), Some(merged)) if merged.head == head.version => merged.content.clone(),
            (Some(_), _) if last => None,
            (Some(base), _) => {
                let (base, yours) = (base.clone(), yours.clone());
                return Ok(Step::Merge(Sides { head: head.version, base, theirs, yours }));
            }
        };
        let outcome = match content {
            Some(content) if content == theirs => Outcome::Written(head),
            Some(content) => Outcome::Written(self.add(document, basis, &content, false, by).await?),
            None => {
                let side = self.add(document.clone(), basis, yours, true, by).await?;
                self.conflict(&document, &head, basis, side.version).await?
            }
        };
        Ok(Step::Done(outcome))
    }

    async fn version(&mut self, document: &DocumentRow, version: u64) -> Result<Version> {
        let found = documents::version(self.connection, self.tenant, &document.scope, &document.path, version).await?;
        found.ok_or_else(|| documents::missing(document, version))
    }

    /// What the write says it is based on.
    async fn base(&mut self, document: &DocumentRow, basis: u64) -> Result<Option<ConflictSide>> {
        if basis == 0 {
            return Ok(None);
        }
        let DocumentRow { scope, path, newest, .. } = document;
        let wrong = |why: &str| {
            let context = format!("version {basis} of {path} in the scope {scope} {why}: read the head and base on it");
            Err(Error::new(Kind::Invalid, context))
        };
        if basis > *newest {
            return wrong("does not exist");
        }
        let base = self.version(document, basis).await?;
        match base.side {
            // What the head has and the side version has not would look as if it had been taken away.
            true => wrong("is a side version, which was never the head"),
            false => self.side(&base).await.map(Some),
        }
    }

    async fn side(&mut self, version: &Version) -> Result<ConflictSide> {
        let content = documents::content(self.connection, self.tenant, version).await?;
        Ok(ConflictSide { version: version.version, deleted: version.deleted, content })
    }

    async fn conflict(&mut self, document: &DocumentRow, head: &Version, basis: u64, kept: u64) -> Result<Outcome> {
        let base = self.base(document, basis).await?;
        let theirs = self.side(head).await?;
        let content = content_of(&self.write.change);
        let yours = ConflictSide { version: kept, deleted: content.is_none(), content: content.unwrap_or_default() };
        Ok(Outcome::Conflict(Box::new(Conflict { base, theirs, yours })))
    }

    /// Adds a version, which becomes the head unless it is kept aside.
    async fn add(
        &mut self,
        mut document: DocumentRow,
        base: u64,
        content: &[u8],
        side: bool,
        by: &Attribution,
    ) -> Result<Version> {
        document.newest += 1;
        if !side {
            document.head = document.newest;
        }
        documents::put(self.connection, self.tenant, &document).await?;
        let writer = &self.write.writer;
        let row = VersionRow {
            scope: document.scope,
            path: document.path,
            version: document.newest,
            base,
            size: content.len() as u64,
            digest: *blake3::hash(content).as_bytes(),
            deleted: self.write.change == Change::Delete,
            side,
            time: self.now,
            author: writer.author.clone(),
            session: writer.session.clone(),
            turn: by.turn,
            tool_call: by.tool_call.clone(),
            request: by.request,
        };
        documents::add(self.connection, self.tenant, &row, content).await?;
        Ok(row)
    }
}

/// The bytes of a put; `None` for a deletion.
fn content_of(change: &Change) -> Option<Bytes> {
    match change {
        Change::Put(content) => Some(content.clone()),
        Change::Delete => None,
    }
}
