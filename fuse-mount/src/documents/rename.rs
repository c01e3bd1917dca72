//! Renaming: a document is put under its new name and deleted under the old one.
//!
//! Over an existing document the write is based on the version that was opened last through this mount, if one was: so
//! an editor that read a file, wrote a new one beside it and renames that over it loses nobody's changes meanwhile.
//! Where they cannot be merged the answer is EBUSY, and both are kept.

use api::client::{Basis, DocumentContent, Put};
use fuser::Errno;
use vfs_core::id::PlainDigest;

use super::buffer::fresh_key;
use super::core::{CHANGED, Core, Entry, Fresh, State, errno};
use super::listing::{ALWAYS, Head};
use super::names::is_below;
use super::{Name, OnConflict};

impl Core {
    /// Renames `from` to `to`; with `replaces` also over a document that is there.
    pub(super) async fn rename(&self, from: String, to: String, replaces: bool) -> Result<(), Errno> {
        if from == to {
            return Ok(());
        }
        self.arrivals(&from).await;
        self.arrivals(&to).await;
        let source = self.entry(&from, Fresh::Now).await?.ok_or(Errno::ENOENT)?;
        let target = self.state.lock().entry(&to);
        if target.is_some() && !replaces {
            return Err(Errno::EEXIST);
        }
        match (source, target) {
            (Entry::Directory, target) => self.state.lock().rename_directory(&from, &to, target.as_ref()),
            (Entry::Document(_), Some(Entry::Directory)) => Err(Errno::EISDIR),
            (Entry::Document(_), Some(Entry::Document(head))) => self.rename_document(&from, &to, Some(head)).await,
            (Entry::Document(_), None) => self.rename_document(&from, &to, None).await,
        }
    }

    async fn rename_document(&self, from: &str, to: &str, target: Option<Head>) -> Result<(), Errno> {
        self.send_all(from).await?;
        let source = self.ask(|| self.store.read(&self.view, from)).await.map_err(|error| errno(&error))?;
        let (scope, basis) = self.target(&source, to, target)?;
        if !self.may_write(&source.scope) || !self.may_write(&scope) {
            return Err(Errno::EACCES);
        }
        let name = Name { scope: &scope, path: to };
        let key = fresh_key();
        let put = || self.store.put(name, basis, source.content.clone(), OnConflict::Merge, &key);
        let stored = match self.ask(put).await.map_err(|error| errno(&error))? {
            Put::Written(document) => document,
            Put::Conflict(conflict) => {
                // Whoever is told of it and renames again means it.
                let mut state = self.state.lock();
                state.changes += 1;
                state.saw(to, &scope, conflict.theirs.version);
                return Err(CHANGED);
            }
        };
        self.state.lock().stored(to, &scope, stored.version);
        if !self.remove(&source.scope, from, source.version).await? {
            // It was changed in this very moment: both stay.
            return Err(CHANGED);
        }
        let is_merged = stored.digest != PlainDigest::of(&source.content).to_hex();
        let mut state = self.state.lock();
        state.follow(from, &source, (to, &scope), (!is_merged).then_some(stored.version));
        state.names.moved(from, to);
        state.gone(from, &source.scope);
        Ok(())
    }

    /// Where the new name is written, and on what: over what is there, or in the scope of the old one.
    fn target(&self, source: &DocumentContent, to: &str, target: Option<Head>) -> Result<(String, Basis), Errno> {
        let Some(head) = target else {
            let removed = self.state.lock().removed.contains_key(to);
            let scope = if removed { self.scope_of_new(to)? } else { source.scope.clone() };
            return Ok((scope, Basis::Absent));
        };
        if head.version == 0 {
            return Ok((head.scope, Basis::Absent));
        }
        let seen = self.state.lock().seen.get(to).cloned();
        let seen = seen.filter(|(scope, version)| *scope == head.scope && *version <= head.version);
        let version = seen.map_or(head.version, |(_, version)| version);
        Ok((head.scope, Basis::Version(version)))
    }

    /// Stores what programs have written to a path and not closed.
    async fn send_all(&self, path: &str) -> Result<(), Errno> {
        let open: Vec<_> = self.state.lock().open.values().cloned().collect();
        for open in open {
            let is_there = open.buffer.lock().path.as_deref() == Some(path);
            if is_there {
                self.send(&open).await?;
            }
        }
        Ok(())
    }
}

impl State {
    /// Open documents keep their document under its new name. `version` is that of the new name if it has the same
    /// content; what is open in another version can only be read from then on.
    fn follow(&mut self, from: &str, source: &DocumentContent, to: (&str, &str), version: Option<u64>) {
        let basis = Basis::Version(source.version);
        for open in self.open.values() {
            let mut buffer = open.buffer.lock();
            if buffer.path.as_deref() != Some(from) {
                continue;
            }
            match version {
                Some(version) if buffer.basis == basis && buffer.scope == source.scope => {
                    buffer.basis = Basis::Version(version);
                }
                _ => buffer.lose(),
            }
            buffer.path = Some(to.0.to_owned());
            buffer.scope = to.1.to_owned();
        }
    }

    /// Moves a directory in which there are no documents. With documents, EXDEV: then `mv` copies and removes them.
    fn rename_directory(&mut self, from: &str, to: &str, target: Option<&Entry>) -> Result<(), Errno> {
        match target {
            Some(Entry::Document(_)) => return Err(Errno::ENOTDIR),
            Some(Entry::Directory) if !self.is_empty(to) => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        if ALWAYS.contains(&from) {
            return Err(Errno::EBUSY);
        }
        if is_below(to, from) {
            return Err(Errno::EINVAL);
        }
        if self.listing.is_directory(from) || self.new_paths().iter().any(|path| is_below(path, from)) {
            return Err(Errno::EXDEV);
        }
        let below: Vec<String> = self.made.below(from).map(str::to_owned).collect();
        for path in below {
            self.made.remove(&path);
            self.made.keep(&format!("{to}{}", &path[from.len()..]));
        }
        self.made.remove(from);
        self.made.keep(super::names::parent(from));
        self.made.keep(to);
        self.names.moved(from, to);
        Ok(())
    }
}
