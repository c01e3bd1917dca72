//! Documents in memory: what an engine is to the mount, by the rules of decision 0011. Runs the same suite.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use api::client::{Basis, DocumentContent, Put};
use api::wire::document::{Document, DocumentConflict, DocumentText};
use async_trait::async_trait;
use bytes::Bytes;
use fuse_mount::documents::{DocumentMount, DocumentOptions, DocumentStore, Name, OnConflict};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use vfs_core::clock::{Clock, SystemClock};
use vfs_core::id::PlainDigest;
use vfs_core::{Error, Kind, Result};

/// Every version of every document.
pub(crate) struct MemoryDocuments {
    versions: Mutex<Vec<(Document, Bytes)>>,
    /// One change at a time, from the look at the head to the new version.
    turn: Mutex<()>,
    grants: Vec<String>,
    /// Nobody answers.
    pub(crate) away: AtomicBool,
    /// Questions so far, answered or not.
    pub(crate) asked: AtomicUsize,
}

impl MemoryDocuments {
    pub(crate) fn new(grants: &[&str]) -> Arc<MemoryDocuments> {
        let grants = grants.iter().map(|grant| (*grant).to_owned()).collect();
        let (versions, away, asked) = (Mutex::default(), AtomicBool::new(false), AtomicUsize::new(0));
        Arc::new(MemoryDocuments { versions, turn: Mutex::new(()), grants, away, asked })
    }

    /// Writes without asking for grants, as somebody else would.
    pub(crate) fn write(&self, scope: &str, path: &str, content: &str) -> u64 {
        let _turn = self.turn.lock();
        let name = Name { scope, path };
        let head = self.head(name).map(|(document, _)| document.version);
        self.add(name, head.unwrap_or(0), Some(Bytes::copy_from_slice(content.as_bytes())), false).version
    }

    /// The content of the head.
    pub(crate) fn content(&self, scope: &str, path: &str) -> Option<String> {
        let (head, content) = self.head(Name { scope, path })?;
        (!head.deleted).then(|| String::from_utf8_lossy(&content).into_owned())
    }

    /// All versions of a document, oldest first.
    pub(crate) fn versions(&self, scope: &str, path: &str) -> Vec<(Document, String)> {
        let versions = self.versions.lock();
        let of_this = versions.iter().filter(|(document, _)| document.scope == scope && document.path == path);
        of_this.map(|(document, content)| (document.clone(), String::from_utf8_lossy(content).into_owned())).collect()
    }

    fn head(&self, name: Name<'_>) -> Option<(Document, Bytes)> {
        let versions = self.versions.lock();
        let mut heads = versions.iter().rev().filter(|(document, _)| is_named(document, name) && !document.side);
        heads.next().cloned()
    }

    fn version(&self, name: Name<'_>, version: u64) -> Option<(Document, Bytes)> {
        let versions = self.versions.lock();
        versions.iter().find(|(document, _)| is_named(document, name) && document.version == version).cloned()
    }

    /// `None` deletes.
    fn add(&self, name: Name<'_>, base: u64, content: Option<Bytes>, side: bool) -> Document {
        let mut versions = self.versions.lock();
        let newest = versions.iter().rev().find(|(document, _)| is_named(document, name));
        let version = newest.map_or(0, |(document, _)| document.version) + 1;
        let (deleted, content) = (content.is_none(), content.unwrap_or_default());
        let document = Document {
            scope: name.scope.to_owned(),
            path: name.path.to_owned(),
            version,
            base,
            size: content.len() as u64,
            digest: if deleted { String::new() } else { PlainDigest::of(&content).to_hex() },
            deleted,
            side,
            time: SystemClock.now().into(),
            author: "test".into(),
            session: String::new(),
            turn: 0,
            tool_call: String::new(),
        };
        versions.push((document.clone(), content));
        document
    }

    fn reach(&self) -> Result<()> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.away.load(Ordering::Relaxed) {
            true => Err(Error::new(Kind::Unavailable, "the store is away")),
            false => Ok(()),
        }
    }

    fn check_grant(&self, scope: &str) -> Result<()> {
        match self.grants.iter().any(|grant| grant == scope) {
            true => Ok(()),
            false => Err(Error::new(Kind::Denied, format!("{scope} is not granted"))),
        }
    }
}

fn is_named(document: &Document, name: Name<'_>) -> bool {
    document.scope == name.scope && document.path == name.path
}

fn is_on(head: Option<&Document>, basis: Basis) -> bool {
    match basis {
        Basis::Absent => head.is_none_or(|head| head.deleted),
        Basis::Version(version) => head.is_some_and(|head| head.version == version),
    }
}

fn side(document: &Document, content: &[u8]) -> DocumentText {
    let text = String::from_utf8_lossy(content).into_owned();
    DocumentText { version: document.version, deleted: document.deleted, text, hex: None }
}

fn merge(base: &[u8], theirs: &[u8], yours: &[u8]) -> Option<Bytes> {
    if let (Some(_), Some(added)) = (theirs.strip_prefix(base), yours.strip_prefix(base)) {
        return Some([theirs, added].concat().into());
    }
    let text = |bytes| std::str::from_utf8(bytes).ok();
    diffy::merge(text(base)?, text(yours)?, text(theirs)?).ok().map(Bytes::from)
}

#[async_trait]
impl DocumentStore for MemoryDocuments {
    async fn list(&self, view: &str) -> Result<Vec<Document>> {
        self.reach()?;
        let mut shown: Vec<Document> = Vec::new();
        for scope in view.split(',') {
            let paths: Vec<String> = self.versions.lock().iter().map(|(document, _)| document.path.clone()).collect();
            for path in paths {
                let head = self.head(Name { scope, path: &path }).filter(|(head, _)| !head.deleted);
                if let Some((head, _)) = head
                    && shown.iter().all(|known| known.path != path)
                {
                    shown.push(head);
                }
            }
        }
        shown.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(shown)
    }

    async fn read(&self, view: &str, path: &str) -> Result<DocumentContent> {
        self.reach()?;
        let heads = view.split(',').filter_map(|scope| self.head(Name { scope, path }));
        let found = heads.into_iter().find(|(head, _)| !head.deleted);
        let (head, content) = found.ok_or_else(|| Error::new(Kind::NotFound, format!("there is no {path}")))?;
        Ok(DocumentContent { scope: head.scope, version: head.version, content })
    }

    async fn put(&self, name: Name<'_>, basis: Basis, content: Bytes, on_conflict: OnConflict, _: &str) -> Result<Put> {
        self.reach()?;
        self.check_grant(name.scope)?;
        let _turn = self.turn.lock();
        let head = self.head(name);
        if is_on(head.as_ref().map(|(document, _)| document), basis) {
            let same = head.as_ref().is_some_and(|(document, old)| !document.deleted && *old == content);
            let base = head.as_ref().map_or(0, |(document, _)| document.version);
            return Ok(Put::Written(match head {
                Some((document, _)) if same => document,
                _ => self.add(name, base, Some(content), false),
            }));
        }
        let (theirs, their_content) = head.ok_or_else(|| Error::new(Kind::NotFound, "there is no such version"))?;
        if !theirs.deleted && their_content == content {
            return Ok(Put::Written(theirs));
        }
        let base = match basis {
            Basis::Absent => None,
            Basis::Version(version) => self.version(name, version),
        };
        let base_content = base.as_ref().map(|(_, content)| content.clone()).unwrap_or_default();
        let base_version = base.as_ref().map_or(0, |(document, _)| document.version);
        let mut yours = DocumentText {
            version: 0,
            deleted: false,
            text: String::from_utf8_lossy(&content).into_owned(),
            hex: None,
        };
        if on_conflict == OnConflict::Merge {
            let merged = (!theirs.deleted).then(|| merge(&base_content, &their_content, &content)).flatten();
            match merged {
                Some(merged) => return Ok(Put::Written(self.add(name, theirs.version, Some(merged), false))),
                None => yours.version = self.add(name, base_version, Some(content), true).version,
            }
        }
        let base = base.map(|(document, content)| side(&document, &content));
        Ok(Put::Conflict(Box::new(DocumentConflict { base, theirs: side(&theirs, &their_content), yours })))
    }

    async fn delete(&self, name: Name<'_>, basis: Basis) -> Result<Put> {
        self.reach()?;
        self.check_grant(name.scope)?;
        let _turn = self.turn.lock();
        let head = self.head(name).filter(|(document, _)| !document.deleted);
        let (head, content) = head.ok_or_else(|| Error::new(Kind::NotFound, "there is no such document"))?;
        if is_on(Some(&head), basis) {
            return Ok(Put::Written(self.add(name, head.version, None, false)));
        }
        let yours = DocumentText { version: 0, deleted: true, text: String::new(), hex: None };
        Ok(Put::Conflict(Box::new(DocumentConflict { base: None, theirs: side(&head, &content), yours })))
    }
}

/// Documents mounted for one test; of `agent/main` and `org` everything may be written.
pub(crate) struct DocumentWorld {
    // Dropped in this order: the mount before the folder it needs.
    pub(crate) mount: Option<DocumentMount>,
    pub(crate) store: Arc<MemoryDocuments>,
    pub(crate) runtime: Runtime,
    pub(crate) folder: TempDir,
}

impl DocumentWorld {
    pub(crate) fn new() -> DocumentWorld {
        DocumentWorld::with(&["agent/main", "org"], Duration::from_secs(10))
    }

    /// With these scopes granted, and this deadline for requests.
    pub(crate) fn with(grants: &[&str], deadline: Duration) -> DocumentWorld {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = MemoryDocuments::new(grants);
        let mount = show(&runtime, &folder, "documents", store.clone(), grants, deadline);
        DocumentWorld { mount: Some(mount), store, runtime, folder }
    }

    /// A second mount of the same store.
    pub(crate) fn again(&self) -> DocumentMount {
        let grants = ["agent/main", "org"];
        show(&self.runtime, &self.folder, "again", self.store.clone(), &grants, Duration::from_secs(10))
    }

    pub(crate) fn mount(&self) -> &DocumentMount {
        self.mount.as_ref().unwrap()
    }

    /// A path below the mount.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.mount().mountpoint().join(below)
    }
}

fn show(
    runtime: &Runtime,
    folder: &TempDir,
    name: &str,
    store: Arc<MemoryDocuments>,
    grants: &[&str],
    deadline: Duration,
) -> DocumentMount {
    let at = folder.path().join(name);
    std::fs::create_dir(&at).unwrap();
    let view = ["agent/main", "user/ana", "org"].map(str::to_owned).to_vec();
    let grants = grants.iter().map(|grant| (*grant).to_owned()).collect();
    let options = DocumentOptions { grants, deadline, allow_other: true, ..DocumentOptions::new(view) };
    DocumentMount::start(store, &at, &options, runtime.handle().clone()).unwrap()
}
