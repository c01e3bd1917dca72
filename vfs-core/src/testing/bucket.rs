//! Any object store, with faults.
//!
//! Every call passes a gate of the turnstile before it does something, and another one after it has changed something, so
//! that a crash can come in between.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;

use super::faults::{Fault, Faults, Operation, Site};
use super::turnstile::gate;
use super::upload::FaultyUpload;

/// Turns that others get during a delay.
const DELAY_TURNS: usize = 8;
/// Changes that a stale list does not show.
const STALE_CHANGES: usize = 6;
/// Pieces of a slow body.
const SLOW_PIECES: usize = 4;

/// An object store whose calls meet faults as [`Faults`] says.
#[derive(Debug, Clone)]
pub struct FaultyStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn ObjectStore>,
    faults: Arc<Faults>,
    /// The newest changes, and what was there before each.
    changes: Mutex<VecDeque<(Path, Option<ObjectMeta>)>>,
    /// Where a local folder stages uploads.
    staging: Option<PathBuf>,
}

impl FaultyStore {
    /// Puts faults before `store`.
    pub fn new(store: Arc<dyn ObjectStore>, faults: Arc<Faults>) -> Self {
        FaultyStore(Arc::new(Inner { store, faults, changes: Mutex::default(), staging: None }))
    }

    /// The same for a local folder: an upload that is cut leaves a staged file there, as `object_store` names it.
    pub fn over_folder(store: Arc<dyn ObjectStore>, faults: Arc<Faults>, folder: PathBuf) -> Self {
        FaultyStore(Arc::new(Inner { store, faults, changes: Mutex::default(), staging: Some(folder) }))
    }

    /// Waits for the turn of a call, and says what it meets. A delay is over when this returns.
    pub(super) async fn enter(&self, operation: Operation, path: &Path) -> (Site, Option<Fault>) {
        let site = Site::new(operation, path);
        gate(&site.to_string()).await;
        let fault = self.0.faults.choose(site);
        if matches!(fault, Some(Fault::Delay | Fault::Timeout)) {
            for _ in 0..DELAY_TURNS {
                gate("delay").await;
            }
        }
        (site, fault.filter(|fault| *fault != Fault::Delay))
    }

    /// What a call that meets this fault answers, and whether it takes effect all the same; `None` for faults that do
    /// not answer with an error.
    pub(super) fn refusal(&self, fault: Option<Fault>, path: &Path) -> Option<(Error, bool)> {
        let fault = fault?;
        let effect = match fault {
            Fault::ErrorBefore | Fault::Busy503 | Fault::Denied | Fault::Torn => false,
            Fault::ErrorAfter => true,
            Fault::Timeout => self.0.faults.below(2) == 1,
            _ => return None,
        };
        Some((error(fault, path), effect))
    }

    /// Remembers what was there before a change.
    pub(super) async fn remember(&self, path: &Path) {
        let before = self.0.store.head(path).await.ok();
        let mut changes = self.0.changes.lock();
        changes.push_back((path.clone(), before));
        if changes.len() > STALE_CHANGES {
            changes.pop_front();
        }
    }

    /// What a cut upload leaves behind.
    pub(super) async fn leave_torn(&self, path: &Path, payload: &PutPayload) {
        let Some(folder) = &self.0.staging else { return };
        let staged = folder.join(format!("{path}#1"));
        let bytes = Bytes::from(payload.clone());
        if let Some(parent) = staged.parent() {
            let _ = std::fs::create_dir_all(parent);
        }
        let _ = std::fs::write(staged, &bytes[..bytes.len() / 2]);
    }

    async fn delete_one(&self, path: &Path) -> Result<()> {
        let (site, fault) = self.enter(Operation::Delete, path).await;
        let refusal = self.refusal(fault, path);
        if let Some((error, false)) = refusal {
            return Err(error);
        }
        self.remember(path).await;
        let mut result = self.0.store.delete(path).await;
        if fault == Some(Fault::Duplicate) {
            result = self.0.store.delete(path).await;
        }
        gate(&format!("{site}, done")).await;
        refusal.map_or(result, |(error, _)| Err(error))
    }

    /// The entries of a list, in order, and the error at its end.
    async fn entries(&self, prefix: Option<&Path>) -> Result<(Vec<ObjectMeta>, Option<Error>)> {
        let root = Path::default();
        let path = prefix.unwrap_or(&root);
        let (_, fault) = self.enter(Operation::List, path).await;
        let refusal = self.refusal(fault, path);
        if let Some((error, false)) = refusal {
            return Err(error);
        }
        let mut entries: Vec<ObjectMeta> = self.0.store.list(prefix).try_collect().await?;
        entries.sort_by(|a, b| a.location.cmp(&b.location));
        match fault {
            Some(Fault::StaleList) => self.make_stale(&mut entries, prefix),
            Some(Fault::MissingPage) => {
                // A page of three, somewhere.
                let start = self.0.faults.below(entries.len().max(1) as u64) as usize;
                let end = entries.len().min(start + 3);
                entries.drain(start..end);
            }
            _ => {}
        }
        if refusal.is_some() {
            entries.truncate(entries.len() / 2);
        }
        Ok((entries, refusal.map(|(error, _)| error)))
    }

    fn make_stale(&self, entries: &mut Vec<ObjectMeta>, prefix: Option<&Path>) {
        for (path, before) in self.0.changes.lock().iter().rev() {
            if prefix.is_some_and(|prefix| !path.prefix_matches(prefix)) {
                continue;
            }
            entries.retain(|entry| entry.location != *path);
            entries.extend(before.clone());
        }
        entries.sort_by(|a, b| a.location.cmp(&b.location));
    }

    /// Another object of the same folder, or the object upside down if there is none.
    async fn other_bytes(&self, path: &Path, right: &Bytes) -> Bytes {
        let folder = path.prefix_matches(&Path::from("t")).then(|| Path::from("t"));
        let listed: Vec<ObjectMeta> = self.0.store.list(folder.as_ref()).try_collect().await.unwrap_or_default();
        for other in listed.iter().filter(|other| other.location != *path) {
            let Ok(result) = self.0.store.get(&other.location).await else { continue };
            if let Ok(mut bytes) = result.bytes().await
                && bytes.len() >= right.len()
                && bytes[..right.len()] != right[..]
            {
                return bytes.split_to(right.len());
            }
        }
        right.iter().rev().map(|byte| !byte).collect()
    }

    async fn spoil(&self, path: &Path, bytes: Bytes) -> Bytes {
        match self.0.faults.below(3) {
            0 if !bytes.is_empty() => {
                let mut spoilt = bytes.to_vec();
                let bit = self.0.faults.below(spoilt.len() as u64 * 8);
                spoilt[(bit / 8) as usize] ^= 1 << (bit % 8);
                spoilt.into()
            }
            1 => bytes.slice(..bytes.len() / 2),
            _ => self.other_bytes(path, &bytes).await,
        }
    }
}

/// What a call answers that meets this fault.
pub(super) fn error(fault: Fault, path: &Path) -> Error {
    let io = |kind, text: &str| Error::Generic { store: "faulty", source: Box::new(std::io::Error::new(kind, text)) };
    match fault {
        Fault::Denied => Error::PermissionDenied { path: path.to_string(), source: "403 Forbidden".into() },
        Fault::Busy503 => Error::Generic { store: "faulty", source: "503 Service Unavailable: SlowDown".into() },
        Fault::Timeout => io(std::io::ErrorKind::TimedOut, "no answer in time"),
        _ => io(std::io::ErrorKind::ConnectionReset, "the connection was cut"),
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.0.store)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let (site, fault) = self.enter(Operation::Put, location).await;
        let refusal = self.refusal(fault, location);
        if fault == Some(Fault::Torn) {
            self.leave_torn(location, &payload).await;
        }
        if let Some((error, false)) = refusal {
            return Err(error);
        }
        self.remember(location).await;
        let mut result = self.0.store.put_opts(location, payload.clone(), opts.clone()).await;
        if fault == Some(Fault::Duplicate) {
            result = self.0.store.put_opts(location, payload, opts).await;
        }
        gate(&format!("{site}, done")).await;
        refusal.map_or(result, |(error, _)| Err(error))
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let (_, fault) = self.enter(Operation::Start, location).await;
        if let Some((error, _)) = self.refusal(fault, location) {
            return Err(error);
        }
        let upload = self.0.store.put_multipart_opts(location, opts).await?;
        Ok(Box::new(FaultyUpload::new(self.clone(), location.clone(), upload)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = match (&options.range, options.head) {
            (_, true) => Operation::Head,
            (Some(_), _) => Operation::Range,
            (None, _) => Operation::Get,
        };
        let (_, fault) = self.enter(operation, location).await;
        if let Some((error, _)) = self.refusal(fault, location) {
            return Err(error);
        }
        let result = self.0.store.get_opts(location, options).await?;
        if operation == Operation::Head {
            return Ok(result);
        }
        let (meta, range, attributes) = (result.meta.clone(), result.range.clone(), result.attributes.clone());
        let extensions = result.extensions.clone();
        let mut bytes = result.bytes().await?;
        if fault == Some(Fault::WrongBytes) {
            bytes = self.spoil(location, bytes).await;
        }
        let pieces = if fault == Some(Fault::SlowBody) { SLOW_PIECES } else { 1 };
        let payload = GetResultPayload::Stream(in_pieces(bytes, pieces));
        Ok(GetResult { payload, meta, range, attributes, extensions })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .and_then(move |path| {
                let store = store.clone();
                async move { store.delete_one(&path).await.map(|()| path) }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let (entries, error) = store.entries(prefix.as_ref()).await?;
            let entries = entries.into_iter().map(Ok).chain(error.map(Err));
            Ok::<_, Error>(stream::iter(entries.collect::<Vec<_>>()))
        };
        stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let root = Path::default();
        let path = prefix.unwrap_or(&root);
        let (_, fault) = self.enter(Operation::List, path).await;
        if let Some((error, _)) = self.refusal(fault, path) {
            return Err(error);
        }
        self.0.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (site, fault) = self.enter(Operation::Copy, to).await;
        let refusal = self.refusal(fault, to);
        if let Some((error, false)) = refusal {
            return Err(error);
        }
        self.remember(to).await;
        let result = self.0.store.copy_opts(from, to, options).await;
        gate(&format!("{site}, done")).await;
        refusal.map_or(result, |(error, _)| Err(error))
    }
}

/// A body in pieces, with a gate before each but the first.
fn in_pieces(bytes: Bytes, pieces: usize) -> BoxStream<'static, Result<Bytes>> {
    let length = bytes.len().div_ceil(pieces).max(1);
    let starts: Vec<usize> = (0..bytes.len()).step_by(length).collect();
    stream::iter(starts)
        .then(move |start| {
            let piece = bytes.slice(start..bytes.len().min(start + length));
            async move {
                if start > 0 {
                    gate("a slow body").await;
                }
                Ok(piece)
            }
        })
        .boxed()
}
