//! Names: looking, listing, removing, directories; and truncation without an open.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::Arc;

use api::client::{Basis, Put};
use bytes::Bytes;
use fuser::{Errno, FileAttr};
use vfs_core::Kind;
use vfs_core::limits::DOCUMENT_MAX;

use super::buffer::fresh_key;
use super::core::{CHANGED, Core, Entry, Fresh, Listed, State, errno};
use super::listing::ALWAYS;
use super::names::{ROOT, child, is_below, parent};
use super::{Name, OnConflict};
use crate::limits::DIRECTORIES_MADE_MAX;

/// A removal whose document was changed in between is tried with the new head this often.
const REMOVALS_MAX: usize = 3;

impl Core {
    /// A name's attributes; the kernel will remember its number.
    pub(super) async fn lookup(&self, directory: u64, name: &OsStr) -> Result<FileAttr, Errno> {
        let directory = self.state.lock().directory(directory)?;
        // What no document can be called is not there.
        let path = child(&directory, name).map_err(|_| Errno::ENOENT)?;
        let entry = self.find(&path).await?.ok_or(Errno::ENOENT)?;
        Ok(self.told(&path, &entry))
    }

    /// Attributes of a path that the kernel is told of.
    pub(super) fn told(&self, path: &str, entry: &Entry) -> FileAttr {
        let mut state = self.state.lock();
        let number = state.names.number(path, *entry == Entry::Directory);
        state.names.remember(number);
        self.attributes(number, entry)
    }

    /// Attributes by number.
    pub(super) async fn getattr(&self, number: u64) -> Result<FileAttr, Errno> {
        if number == ROOT {
            return Ok(self.attributes(ROOT, &Entry::Directory));
        }
        let current = {
            let state = self.state.lock();
            let (path, is_directory) = state.names.path(number).ok_or(Errno::ESTALE)?;
            state.names.is_current(number).then(|| (path.to_owned(), is_directory))
        };
        if let Some((path, is_directory)) = current {
            self.refresh(Fresh::Recently).await?;
            match self.state.lock().entry(&path) {
                Some(entry) if (entry == Entry::Directory) == is_directory => {
                    return Ok(self.attributes(number, &entry));
                }
                _ => {}
            }
        }
        // It has no name any more, but somebody may have it open.
        let open = self.state.lock().open.values().find(|open| open.number == number).cloned();
        open.map(|open| self.attributes_of_open(&open)).ok_or(Errno::ENOENT)
    }

    /// Opens a directory: its names as of now, for as long as it is read.
    pub(super) async fn open_directory(&self, number: u64) -> Result<u64, Errno> {
        let path = self.state.lock().directory(number)?;
        self.refresh(Fresh::Recently).await?;
        let mut state = self.state.lock();
        if !state.is_directory(&path) {
            return Err(Errno::ENOENT);
        }
        let list = state.list(number, &path);
        let handle = state.handle();
        state.folders.insert(handle, Arc::new(list));
        Ok(handle)
    }

    /// Whether a caller may do this (access(2)); only what the grants decide is refused.
    pub(super) async fn access(&self, number: u64, writes: bool, executes: bool) -> Result<(), Errno> {
        let attributes = self.getattr(number).await?;
        let is_directory = attributes.kind == fuser::FileType::Directory;
        let denied = !is_directory && (executes || (writes && attributes.perm & 0o200 == 0));
        if denied { Err(Errno::EACCES) } else { Ok(()) }
    }

    pub(super) async fn unlink(&self, path: String) -> Result<(), Errno> {
        self.arrivals(&path).await;
        for _ in 0..REMOVALS_MAX {
            let head = match self.entry(&path, Fresh::Now).await? {
                None => return Err(Errno::ENOENT),
                Some(Entry::Directory) => return Err(Errno::EISDIR),
                Some(Entry::Document(head)) => head,
            };
            // Version 0: no store has it yet.
            if head.version == 0 || self.remove(&head.scope, &path, head.version).await? {
                self.removed(&path, &head.scope);
                return Ok(());
            }
        }
        Err(CHANGED)
    }

    /// Deletes a document in the store; `false` if it is not at this version any more.
    pub(super) async fn remove(&self, scope: &str, path: &str, version: u64) -> Result<bool, Errno> {
        if !self.may_write(scope) {
            return Err(Errno::EACCES);
        }
        match self.ask(|| self.store.delete(Name { scope, path }, Basis::Version(version))).await {
            Ok(Put::Written(_)) => Ok(true),
            Ok(Put::Conflict(_)) => {
                self.state.lock().changes += 1;
                Ok(false)
            }
            Err(error) if error.kind() == Kind::NotFound => Ok(true),
            Err(error) => Err(errno(&error)),
        }
    }

    /// What is open there has lost its name: it is stored nowhere.
    fn removed(&self, path: &str, scope: &str) {
        let mut state = self.state.lock();
        for open in state.open.values() {
            let mut buffer = open.buffer.lock();
            if buffer.path.as_deref() == Some(path) {
                buffer.path = None;
            }
        }
        state.gone(path, scope);
    }

    pub(super) async fn make_directory(&self, path: String) -> Result<FileAttr, Errno> {
        if self.entry(&path, Fresh::Now).await?.is_some() {
            return Err(Errno::EEXIST);
        }
        // A directory in which nothing can be made would be a lie.
        self.scope_of_new(&path)?;
        {
            let mut state = self.state.lock();
            if state.made.len() >= DIRECTORIES_MADE_MAX {
                return Err(Errno::ENOSPC);
            }
            state.made.keep(&path);
        }
        Ok(self.told(&path, &Entry::Directory))
    }

    pub(super) async fn remove_directory(&self, path: String) -> Result<(), Errno> {
        match self.entry(&path, Fresh::Now).await? {
            None => return Err(Errno::ENOENT),
            Some(Entry::Document(_)) => return Err(Errno::ENOTDIR),
            Some(Entry::Directory) => {}
        }
        let mut state = self.state.lock();
        if !state.is_empty(&path) {
            return Err(Errno::ENOTEMPTY);
        }
        if ALWAYS.contains(&path.as_str()) {
            return Err(Errno::EBUSY);
        }
        state.made.remove(&path);
        state.made.keep(parent(&path));
        state.names.drop_path(&path);
        Ok(())
    }

    /// truncate(2) by name: read, cut, stored at once.
    pub(super) async fn truncate(&self, number: u64, size: u64) -> Result<(), Errno> {
        let path = self.document(number)?;
        if size > DOCUMENT_MAX as u64 {
            return Err(Errno::EFBIG);
        }
        self.arrivals(&path).await;
        let found = self.ask(|| self.store.read(&self.view, &path)).await.map_err(|error| errno(&error))?;
        if !self.may_write(&found.scope) {
            return Err(Errno::EACCES);
        }
        let mut content = found.content.to_vec();
        content.resize(size as usize, 0);
        let content = Bytes::from(content);
        let name = Name { scope: &found.scope, path: &path };
        let basis = Basis::Version(found.version);
        let key = fresh_key();
        let put = self.ask(|| self.store.put(name, basis, content.clone(), OnConflict::Merge, &key)).await;
        let put = put.map_err(|error| errno(&error))?;
        let mut state = self.state.lock();
        state.changes += 1;
        match put {
            Put::Written(document) => {
                state.stored(&path, &found.scope, document.version);
                Ok(())
            }
            Put::Conflict(_) => Err(CHANGED),
        }
    }
}

impl State {
    /// Whether nothing is below a directory.
    pub(super) fn is_empty(&self, path: &str) -> bool {
        self.listing.below(path).next().is_none()
            && self.made.below(path).next().is_none()
            && !self.new_paths().iter().any(|new| is_below(new, path))
    }

    /// The names of a directory, with `.` and `..`.
    fn list(&mut self, number: u64, path: &str) -> Vec<Listed> {
        let mut names: BTreeMap<String, bool> = BTreeMap::new();
        let start = if path.is_empty() { 0 } else { path.len() + 1 };
        let mut add = |below: &str, is_directory: bool| match below[start..].split_once('/') {
            Some((name, _)) => drop(names.insert(name.to_owned(), true)),
            None => *names.entry(below[start..].to_owned()).or_default() |= is_directory,
        };
        self.listing.below(path).for_each(|(below, _)| add(below, false));
        self.new_paths().iter().filter(|new| is_below(new, path)).for_each(|new| add(new, false));
        self.made.below(path).for_each(|below| add(below, true));
        if path.is_empty() {
            ALWAYS.iter().for_each(|name| add(name, true));
        }
        let above = if path.is_empty() { ROOT } else { self.names.number(parent(path), true) };
        let mut list = vec![
            Listed { number, is_directory: true, name: ".".into() },
            Listed { number: above, is_directory: true, name: "..".into() },
        ];
        list.extend(names.into_iter().map(|(name, is_directory)| {
            let full = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            Listed { number: self.names.number(&full, is_directory), is_directory, name }
        }));
        list
    }
}
