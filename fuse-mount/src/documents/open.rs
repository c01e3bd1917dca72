//! Opening, and storing what was written: at a close, at an fsync, and once more at the last close.

use std::sync::Arc;

use api::client::{Basis, Put};
use fuser::{Errno, FileAttr};
use parking_lot::Mutex;
use rustix::fs::OFlags;
use vfs_core::id::PlainDigest;
use vfs_core::{Error, Kind};

use super::buffer::{Buffer, Letter};
use super::core::{Core, Entry, Fresh, Open, errno};
use super::listing::Head;
use super::{Name, OnConflict};
use crate::limits::DOCUMENTS_OPEN_MAX;

impl Core {
    /// Opens a document by its number; gives back a handle.
    pub(super) async fn open(&self, number: u64, flags: OFlags) -> Result<u64, Errno> {
        let path = self.document(number)?;
        self.open_path(number, path, flags).await
    }

    /// Makes a document and opens it; one that has come into being meanwhile is only opened.
    pub(super) async fn create(&self, path: String, flags: OFlags) -> Result<(FileAttr, u64), Errno> {
        self.arrivals(&path).await;
        match self.entry(&path, Fresh::Now).await? {
            Some(_) if flags.contains(OFlags::EXCL) => return Err(Errno::EEXIST),
            Some(Entry::Directory) => return Err(Errno::EISDIR),
            Some(Entry::Document(_)) => {
                let number = self.number_of(&path);
                let handle = self.open_path(number, path, flags).await?;
                return Ok((self.attributes_of(handle)?, handle));
            }
            None => {}
        }
        let scope = self.scope_of_new(&path)?;
        let buffer = match flags.contains(OFlags::EXCL) {
            // Whoever asks for this wants to be the only one, so the store has to say that nobody else was faster.
            true => {
                let version = self.make_exclusively(&scope, &path).await?;
                Buffer::read_from(path.clone(), scope, Basis::Version(version), b"", self.now())
            }
            false => Buffer::empty(path.clone(), scope, Basis::Absent, self.now()),
        };
        let number = self.number_of(&path);
        let handle = self.add_open(number, true, buffer)?;
        Ok((self.attributes_of(handle)?, handle))
    }

    async fn make_exclusively(&self, scope: &str, path: &str) -> Result<u64, Errno> {
        let name = Name { scope, path };
        let put = self.ask(|| self.store.put(name, Basis::Absent, bytes::Bytes::new(), OnConflict::Refuse, "")).await;
        match put.map_err(|error| errno(&error))? {
            Put::Written(document) => {
                self.state.lock().stored(path, scope, document.version);
                Ok(document.version)
            }
            Put::Conflict(_) => Err(Errno::EEXIST),
        }
    }

    async fn open_path(&self, number: u64, path: String, flags: OFlags) -> Result<u64, Errno> {
        self.arrivals(&path).await;
        let empties = flags.contains(OFlags::TRUNC);
        let writes = empties || flags.intersects(OFlags::WRONLY | OFlags::RDWR);
        let buffer = match self.ask(|| self.store.read(&self.view, &path)).await {
            Ok(found) => {
                if writes && !self.may_write(&found.scope) {
                    return Err(Errno::EACCES);
                }
                let basis = Basis::Version(found.version);
                self.state.lock().saw(&path, &found.scope, found.version);
                match empties && !found.content.is_empty() {
                    true => Buffer::empty(path, found.scope, basis, self.now()),
                    false => Buffer::read_from(path, found.scope, basis, &found.content, self.now()),
                }
            }
            Err(error) if error.kind() == Kind::NotFound => self.open_unsent(path)?,
            Err(error) => return Err(errno(&error)),
        };
        self.add_open(number, writes, buffer)
    }

    /// A document that another process of this mount has made and not closed yet: as empty as for everybody else.
    fn open_unsent(&self, path: String) -> Result<Buffer, Errno> {
        let mut state = self.state.lock();
        match state.new_paths().contains(&path) {
            true => {
                drop(state);
                let scope = self.scope_of_new(&path)?;
                Ok(Buffer::read_from(path, scope, Basis::Absent, b"", self.now()))
            }
            false => {
                // The listing said otherwise.
                state.changes += 1;
                Err(Errno::ENOENT)
            }
        }
    }

    fn add_open(&self, number: u64, can_write: bool, buffer: Buffer) -> Result<u64, Errno> {
        let mut state = self.state.lock();
        if state.open.len() >= DOCUMENTS_OPEN_MAX {
            return Err(Errno::ENFILE);
        }
        let handle = state.handle();
        let sending = tokio::sync::Mutex::default();
        state.open.insert(handle, Arc::new(Open { number, can_write, buffer: Mutex::new(buffer), sending }));
        Ok(handle)
    }

    /// The open document behind a handle.
    pub(super) fn opened(&self, handle: u64) -> Result<Arc<Open>, Errno> {
        self.state.lock().open.get(&handle).cloned().ok_or(Errno::EBADF)
    }

    /// Attributes of an open document, as its process sees it.
    pub(super) fn attributes_of(&self, handle: u64) -> Result<FileAttr, Errno> {
        Ok(self.attributes_of_open(&*self.opened(handle)?))
    }

    pub(super) fn attributes_of_open(&self, open: &Open) -> FileAttr {
        let buffer = open.buffer.lock();
        let head = Head { scope: buffer.scope.clone(), version: 0, size: buffer.len(), time: buffer.time };
        self.attributes(open.number, &Entry::Document(head))
    }

    /// The path of a document by its number.
    pub(super) fn document(&self, number: u64) -> Result<String, Errno> {
        let state = self.state.lock();
        match state.names.path(number) {
            Some((path, false)) if state.names.is_current(number) => Ok(path.to_owned()),
            Some((_, false)) => Err(Errno::ENOENT),
            Some((_, true)) => Err(Errno::EISDIR),
            None => Err(Errno::ESTALE),
        }
    }

    fn number_of(&self, path: &str) -> u64 {
        self.state.lock().names.number(path, false)
    }

    /// Stores what an open document has that the store has not.
    pub(super) async fn send(&self, open: &Open) -> Result<(), Errno> {
        let _turn = open.sending.lock().await;
        let Some(letter) = open.buffer.lock().letter() else { return Ok(()) };
        let name = Name { scope: &letter.scope, path: &letter.path };
        let put = || self.store.put(name, letter.basis, letter.content.clone(), OnConflict::Merge, &letter.key);
        match self.ask(put).await {
            Ok(Put::Written(document)) => {
                self.state.lock().stored(&letter.path, &letter.scope, document.version);
                if document.digest == PlainDigest::of(&letter.content).to_hex() {
                    open.buffer.lock().sent(&letter, Some(document.version));
                    return Ok(());
                }
                self.take_merged(open, &letter).await
            }
            Ok(Put::Conflict(conflict)) => {
                let (theirs, kept) = (conflict.theirs.version, conflict.yours.version);
                tracing::info!(path = letter.path, theirs, kept, "a write in conflict is kept as a side version");
                let mut state = self.state.lock();
                state.changes += 1;
                state.saw(&letter.path, &letter.scope, theirs);
                drop(state);
                open.buffer.lock().sent(&letter, None);
                Err(Errno::ESTALE)
            }
            Err(error) => Err(self.not_sent(open, &letter, &error)),
        }
    }

    /// Others' changes are in it now: what is written next has to be based on them.
    async fn take_merged(&self, open: &Open, letter: &Letter) -> Result<(), Errno> {
        {
            let mut buffer = open.buffer.lock();
            buffer.sent(letter, None);
            buffer.lose();
        }
        // The caller's bytes are stored: if they cannot be read back, only later writes are refused.
        if let Ok(found) = self.ask(|| self.store.read(&letter.scope, &letter.path)).await {
            open.buffer.lock().merged(letter, found.version, &found.content);
        }
        Ok(())
    }

    /// What the store will never take is not sent again; the rest is.
    fn not_sent(&self, open: &Open, letter: &Letter, error: &Error) -> Errno {
        if matches!(error.kind(), Kind::Denied | Kind::Invalid | Kind::TooLarge) {
            open.buffer.lock().sent(letter, None);
        }
        errno(error)
    }

    /// Lets go of a document whose last descriptor was closed. What could not be stored before was tried once more;
    /// nobody is left to hear of a failure, but whoever wrote it was told at the close.
    pub(super) fn close(&self, handle: u64, stored: Result<(), Errno>) {
        let open = self.state.lock().open.remove(&handle);
        if let (Some(open), Err(errno)) = (open, stored) {
            let path = open.buffer.lock().path.clone();
            tracing::warn!(?errno, path, "what was written to a document that is closed now is not stored");
        }
    }

    /// Stores everything that is not stored: nobody can write or close it any more.
    pub(super) async fn send_rest(self: &Arc<Self>) {
        let handles: Vec<u64> = self.state.lock().open.keys().copied().collect();
        for handle in handles {
            let Ok(open) = self.opened(handle) else { continue };
            let (core, after) = (self.clone(), self.clone());
            let (done, wait) = tokio::sync::oneshot::channel();
            self.answer(async move { core.send(&open).await }, move |stored| {
                after.close(handle, stored);
                // Whoever waits may have gone.
                let _ = done.send(());
            });
            let _ = wait.await;
        }
    }
}
