//! How often the bucket was asked, by kind of request. Counting and reading take no lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn count(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one bucket.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) get: Counter,
    pub(super) range: Counter,
    pub(super) list: Counter,
    pub(super) create: Counter,
    pub(super) part: Counter,
    pub(super) delete: Counter,
    pub(super) retries: Counter,
    pub(super) bytes_in: Counter,
    pub(super) bytes_out: Counter,
}

/// Requests to the bucket since this engine opened it. Each try counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Requests {
    /// Whole objects read.
    pub get: u64,
    /// Parts of objects read.
    pub range: u64,
    /// Lists; one may take several pages.
    pub list: u64,
    /// Objects made, in one request or finished after their parts.
    pub create: u64,
    /// Parts of objects sent.
    pub part: u64,
    /// Objects deleted.
    pub delete: u64,
    /// Of all these, tries after the first.
    pub retries: u64,
    /// Bytes of objects read.
    pub bytes_in: u64,
    /// Bytes of objects written.
    pub bytes_out: u64,
}

impl Counts {
    pub(super) fn read(&self) -> Requests {
        Requests {
            get: self.get.get(),
            range: self.range.get(),
            list: self.list.get(),
            create: self.create.get(),
            part: self.part.get(),
            delete: self.delete.get(),
            retries: self.retries.get(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
        }
    }
}
