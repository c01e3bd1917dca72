//! The documents of a view as a tree of names, as the store listed them at one moment.

use std::collections::{BTreeMap, BTreeSet};

use api::wire::document::Document;
use tokio::time::Instant;
use vfs_core::clock::Time;
use vfs_core::documents::DocumentPath;

use super::names::is_below;

/// Directories that are always there, so that a new memory has a place.
pub(super) const ALWAYS: [&str; 2] = ["memories", "skills"];

/// The head that a path shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) scope: String,
    pub(super) version: u64,
    pub(super) size: u64,
    pub(super) time: Time,
}

/// One answer of the store.
#[derive(Debug)]
pub(super) struct Listing {
    heads: BTreeMap<String, Head>,
    /// When it was asked for.
    pub(super) asked: Instant,
    /// Changes through this mount that it may show.
    pub(super) changes: u64,
}

impl Listing {
    pub(super) fn new(documents: Vec<Document>, asked: Instant, changes: u64) -> Listing {
        let shown =
            documents.into_iter().filter(|document| !document.deleted && document.path.parse::<DocumentPath>().is_ok());
        let heads = shown.map(|document| {
            let Document { scope, path, version, size, time, .. } = document;
            (path, Head { scope, version, size, time: time.into() })
        });
        Listing { heads: heads.collect(), asked, changes }
    }

    /// The document at a path; one that has others below it is shown as a directory only.
    pub(super) fn head(&self, path: &str) -> Option<&Head> {
        self.heads.get(path).filter(|_| !self.is_directory(path))
    }

    /// Whether documents are below a path.
    pub(super) fn is_directory(&self, path: &str) -> bool {
        self.below(path).next().is_some()
    }

    /// The documents below a directory, by path.
    pub(super) fn below<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = (&'a str, &'a Head)> {
        let start = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let rest = self.heads.range(start..);
        rest.take_while(move |(path, _)| is_below(path, directory)).map(|(path, head)| (path.as_str(), head))
    }

    /// Number of documents and their bytes.
    pub(super) fn totals(&self) -> (u64, u64) {
        (self.heads.len() as u64, self.heads.values().map(|head| head.size).sum())
    }
}

/// Directories without documents, which only this mount knows.
#[derive(Debug, Default)]
pub(super) struct Made(BTreeSet<String>);

impl Made {
    /// Whether a directory was made, or one below it.
    pub(super) fn contains(&self, path: &str) -> bool {
        ALWAYS.contains(&path) || self.0.contains(path) || self.below(path).next().is_some()
    }

    /// The directories made below one.
    pub(super) fn below<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = &'a str> {
        let start = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let rest = self.0.range(start..).map(String::as_str);
        rest.take_while(move |path| is_below(path, directory))
    }

    /// Keeps a directory although no document is below it.
    pub(super) fn keep(&mut self, path: &str) {
        if !path.is_empty() && !ALWAYS.contains(&path) {
            self.0.insert(path.to_owned());
        }
    }

    pub(super) fn remove(&mut self, path: &str) {
        self.0.remove(path);
    }

    /// A document was stored at a path: its directories are there by themselves.
    pub(super) fn used_by(&mut self, path: &str) {
        self.0.retain(|directory| !is_below(path, directory));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests;
