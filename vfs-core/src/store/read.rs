//! Ranged reads of packs: neighbours in one request, several requests at once, every object verified.
//!
//! What is on this machine's disk already is not asked for again ([`DiskCache`], for remote buckets only). An object
//! that comes with wrong bytes is read once more, from the bucket: a line may have flipped a bit, a cache certainly
//! may. A pack that is gone may have been repacked since the index was asked, so the index is asked once more.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Store;
use super::ahead::Readahead;
use super::disk_cache::DiskCache;
use crate::db::Location;
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectKind, PackId};
use crate::keys::TenantKeys;
use crate::limits::{READ_BYTES_AT_ONCE, READ_GAP_MAX, READ_SPAN_MAX, READS_AT_ONCE, SMALL_OBJECT_MAX};
use crate::pack::unpack;

/// Memory for reads is given out in pieces of this many bytes.
const PIECE: u64 = 64 * 1024;

/// What all reads of a store share.
pub(super) struct Reads {
    memory: Semaphore,
    pub(super) cache: OnceLock<Arc<DiskCache>>,
    pub(super) ahead: Readahead,
}

impl Default for Reads {
    fn default() -> Reads {
        let memory = Semaphore::new((READ_BYTES_AT_ONCE / PIECE) as usize);
        Reads { memory, cache: OnceLock::new(), ahead: Readahead::default() }
    }
}

impl Reads {
    /// Waits until so many bytes more may be in memory.
    pub(super) async fn memory(&self, bytes: u64) -> Result<SemaphorePermit<'_>> {
        let pieces = bytes.min(READ_BYTES_AT_ONCE).div_ceil(PIECE) as u32;
        let closed = |error| Error::new(Kind::Internal, "reads were shut down").because(error);
        self.memory.acquire_many(pieces).await.map_err(closed)
    }
}

/// Objects of one pack that are read in one request.
struct Span {
    pack: PackId,
    start: u64,
    end: u64,
    /// Places in the request that the span answers.
    members: Vec<usize>,
}

impl Store {
    /// Reads and verifies objects where the index says they are, in order. One that cannot be read does not harm the
    /// others.
    pub(crate) async fn fetch(&self, locations: &[Location]) -> Vec<Result<Bytes>> {
        let mut results = self.fetch_located(locations).await;
        let gone: Vec<usize> = (0..results.len()).filter(|&index| is_not_found(&results[index])).collect();
        if !gone.is_empty() {
            self.fetch_moved(locations, &gone, &mut results).await;
        }
        self.read_ahead_of(locations);
        results
    }

    async fn fetch_located(&self, locations: &[Location]) -> Vec<Result<Bytes>> {
        let mut results: Vec<Option<Result<Bytes>>> = locations.iter().map(|_| None).collect();
        let requests = spans(locations).into_iter().map(|span| {
            let members: Vec<Location> = span.members.iter().map(|&member| locations[member]).collect();
            async move {
                let read = self.fetch_span(&span, members).await;
                (span, read)
            }
        });
        let mut requests = futures::stream::iter(requests).buffer_unordered(READS_AT_ONCE);
        while let Some((span, read)) = requests.next().await {
            match read {
                Ok(read) => span.members.iter().zip(read).for_each(|(&member, result)| results[member] = Some(result)),
                Err(error) => span.members.iter().for_each(|&member| {
                    results[member] = Some(Err(not_read(&locations[member], &error)));
                }),
            }
        }
        results.into_iter().map(|result| result.unwrap_or_else(|| Err(left_out()))).collect()
    }

    /// Looks the objects of packs that are gone up once more: gc may have moved them.
    async fn fetch_moved(&self, locations: &[Location], gone: &[usize], results: &mut [Result<Bytes>]) {
        let ids: Vec<_> = gone.iter().map(|&index| locations[index].entry.id).collect();
        let located = match self.locate(&ids).await {
            Ok(located) => located,
            Err(error) => {
                gone.iter().for_each(|&index| results[index] = Err(not_read(&locations[index], &error)));
                return;
            }
        };
        let mut moved = Vec::new();
        for &index in gone {
            let old = &locations[index];
            match located.get(&old.entry.id) {
                Some(new) if new.pack != old.pack => moved.push((index, *new)),
                Some(_) => results[index] = Err(self.pack_is_missing(old)),
                None => results[index] = Err(super::not_stored(&old.entry.id)),
            }
        }
        let new: Vec<Location> = moved.iter().map(|(_, location)| *location).collect();
        for ((index, location), result) in moved.into_iter().zip(self.fetch_located(&new).await) {
            results[index] = match is_not_found(&result) {
                true => Err(self.pack_is_missing(&location)),
                false => result,
            };
        }
    }

    fn pack_is_missing(&self, location: &Location) -> Error {
        let (id, name) = (location.entry.id, self.pack_name(location.pack));
        Error::corrupt(format!("{id} could not be read: {name} is missing in the bucket"))
    }

    /// From the disk what is there, the rest from the bucket.
    async fn fetch_span(&self, span: &Span, members: Vec<Location>) -> Result<Vec<Result<Bytes>>> {
        let Some(cache) = self.inner.reads.cache.get().cloned() else {
            return self.fetch_from_bucket(span, members).await;
        };
        self.inner.reads.ahead.wait_for(span.pack, span.start..span.end).await;
        let (keys, wanted) = (self.keys().clone(), members.clone());
        let read = move || wanted.iter().map(|location| read_cached(&cache, &keys, location)).collect();
        let mut found: Vec<Option<Bytes>> = blocking(read).await?;
        let missing: Vec<usize> = (0..found.len()).filter(|&index| found[index].is_none()).collect();
        let rest: Vec<Location> = missing.iter().map(|&index| members[index]).collect();
        let mut results: Vec<Option<Result<Bytes>>> = found.iter_mut().map(|bytes| bytes.take().map(Ok)).collect();
        for part in spans(&rest) {
            let wanted = part.members.iter().map(|&member| rest[member]).collect();
            for (&member, result) in part.members.iter().zip(self.fetch_from_bucket(&part, wanted).await?) {
                results[missing[member]] = Some(result);
            }
        }
        Ok(results.into_iter().map(|result| result.unwrap_or_else(|| Err(left_out()))).collect())
    }

    async fn fetch_from_bucket(&self, span: &Span, members: Vec<Location>) -> Result<Vec<Result<Bytes>>> {
        let mut results = self.request(span, members.clone()).await?;
        if self.bucket().is_local() {
            return Ok(results);
        }
        for (location, result) in members.into_iter().zip(&mut results) {
            if result.as_ref().is_err_and(|error| error.kind() == Kind::Corrupt) {
                tracing::warn!(id = %location.entry.id, "the bucket answered with wrong bytes: it is asked once more");
                let end = location.entry.offset + u64::from(location.entry.stored_length);
                let alone = Span { pack: span.pack, start: location.entry.offset, end, members: Vec::new() };
                if let Some(again) = self.request(&alone, vec![location]).await?.pop() {
                    *result = again;
                }
            }
        }
        Ok(results)
    }

    /// One request for one span; what came whole is kept on the disk.
    async fn request(&self, span: &Span, members: Vec<Location>) -> Result<Vec<Result<Bytes>>> {
        let _memory = self.inner.reads.memory(span.end - span.start).await?;
        let bytes = self.inner.bucket.get_range(&self.pack_name(span.pack), span.start..span.end).await?;
        let (keys, start, cache) = (self.keys().clone(), span.start, self.inner.reads.cache.get().cloned());
        let small = span.end - span.start <= SMALL_OBJECT_MAX as u64 && cache.is_none();
        let unpack_all = move || -> Vec<Result<Bytes>> {
            let stored = |location: &Location| {
                let offset = (location.entry.offset - start) as usize;
                bytes.slice(offset..offset + location.entry.stored_length as usize)
            };
            let unpacked: Vec<_> =
                members.iter().map(|location| unpack_at(&keys, location, &stored(location))).collect();
            if let (Some(cache), true, Some(first)) = (cache, unpacked.iter().all(Result::is_ok), members.first()) {
                cache.write(first.pack, start, &bytes);
            }
            unpacked
        };
        if small {
            return Ok(unpack_all());
        }
        blocking(unpack_all).await
    }

    /// Tells the readahead what was read; only contents are read one after another.
    fn read_ahead_of(&self, locations: &[Location]) {
        if self.inner.reads.cache.get().is_none() {
            return;
        }
        let chunks: Vec<Location> =
            locations.iter().filter(|location| location.entry.id.kind == ObjectKind::Chunk).copied().collect();
        let mut read: Vec<(PackId, u64, u64)> = Vec::new();
        for span in spans(&chunks) {
            match read.last_mut() {
                Some((pack, _, end)) if *pack == span.pack && span.start <= *end + READ_GAP_MAX => *end = span.end,
                _ => read.push((span.pack, span.start, span.end)),
            }
        }
        for (pack, start, end) in read {
            if let Some(next) = self.inner.reads.ahead.observe(pack, start..end) {
                self.start_reading_ahead(pack, next);
            }
        }
    }
}

/// The one place where stored bytes become an object.
fn unpack_at(keys: &TenantKeys, location: &Location, stored: &Bytes) -> Result<Bytes> {
    unpack(keys, location.pack, &location.entry, stored)
}

/// An object from the disk, if it is there and right.
fn read_cached(cache: &DiskCache, keys: &TenantKeys, location: &Location) -> Option<Bytes> {
    let length = u64::from(location.entry.stored_length);
    let range = location.entry.offset..location.entry.offset + length;
    let Some(stored) = cache.read(location.pack, range.clone()) else {
        cache.misses.count();
        return None;
    };
    match unpack_at(keys, location, &stored) {
        Ok(bytes) => {
            cache.hits.count();
            cache.hit_bytes.add(length);
            Some(bytes)
        }
        Err(_) => {
            cache.forget(location.pack, &range);
            cache.wrong.count();
            cache.misses.count();
            None
        }
    }
}

fn is_not_found(result: &Result<Bytes>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == Kind::NotFound)
}

fn not_read(location: &Location, error: &Error) -> Error {
    let context = format!("{} could not be read: {}", location.entry.id, error.context());
    Error::new(error.kind(), context).because(error.chain())
}

fn left_out() -> Error {
    Error::new(Kind::Internal, "a read left an object out")
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let panicked = |error| Error::new(Kind::Internal, "unpacking objects panicked").because(error);
    tokio::task::spawn_blocking(work).await.map_err(panicked)
}

fn spans(locations: &[Location]) -> Vec<Span> {
    let mut order: Vec<usize> = (0..locations.len()).collect();
    order.sort_unstable_by_key(|&index| (locations[index].pack, locations[index].entry.offset));
    let mut spans: Vec<Span> = Vec::new();
    for index in order {
        let Location { pack, entry } = locations[index];
        let end = entry.offset + u64::from(entry.stored_length);
        match spans.last_mut() {
            Some(span)
                if span.pack == pack
                    && entry.offset <= span.end + READ_GAP_MAX
                    && end.saturating_sub(span.start) <= READ_SPAN_MAX =>
            {
                span.end = span.end.max(end);
                span.members.push(index);
            }
            _ => spans.push(Span { pack, start: entry.offset, end, members: vec![index] }),
        }
    }
    spans
}
