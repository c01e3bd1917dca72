//! Readahead: who reads a pack from front to back finds the next span on the disk already.
//!
//! A batch puts the chunks of a file one after another into a pack, so a file that is read through is a pack that is
//! read through. The second read that starts where an earlier one ended makes a stream; from then on, whenever less
//! than half a span lies ready before it, the next span ([`READ_SPAN_MAX`]) is fetched in the background into the disk
//! cache. Without a disk cache (a local bucket) there is nothing to gain: the kernel reads ahead.
//!
//! Bounded: [`READAHEAD_STREAMS`] are followed, [`READAHEADS_AT_ONCE`] spans are on their way, each within the memory
//! that all reads share. What was read ahead is verified when it is read, like everything on the disk. A failure is not
//! told: whoever needs the bytes asks for them again.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use super::Store;
use super::read::blocking;
use crate::bucket::Counter;
use crate::error::Result;
use crate::id::PackId;
use crate::limits::{READ_GAP_MAX, READ_SPAN_MAX, READAHEAD_STREAMS, READAHEADS_AT_ONCE};

/// Who reads what in a row, and what is on its way because of that.
pub(super) struct Readahead {
    streams: Mutex<Streams>,
    running: Mutex<Vec<Running>>,
    slots: Arc<Semaphore>,
    pub(super) spans: Counter,
}

#[derive(Default)]
struct Streams {
    tick: u64,
    streams: Vec<Stream>,
}

struct Stream {
    pack: PackId,
    /// Where the next read of this reader starts.
    next: u64,
    /// Up to where the pack was fetched; the largest number once its end was met.
    fetched: u64,
    used: u64,
}

struct Running {
    pack: PackId,
    range: Range<u64>,
    /// Closed when the span is there, or will not come.
    done: watch::Receiver<()>,
}

impl Default for Readahead {
    fn default() -> Readahead {
        Readahead {
            streams: Mutex::default(),
            running: Mutex::default(),
            slots: Arc::new(Semaphore::new(READAHEADS_AT_ONCE)),
            spans: Counter::default(),
        }
    }
}

impl Readahead {
    /// Notes that a range was read; returns what should be fetched now.
    pub(super) fn observe(&self, pack: PackId, read: Range<u64>) -> Option<Range<u64>> {
        let mut streams = self.streams.lock();
        streams.tick += 1;
        let used = streams.tick;
        let follows = |stream: &&mut Stream| stream.pack == pack && stream.next.abs_diff(read.start) <= READ_GAP_MAX;
        let Some(stream) = streams.streams.iter_mut().find(follows) else {
            if streams.streams.len() >= READAHEAD_STREAMS {
                let oldest = (0..READAHEAD_STREAMS).min_by_key(|&index| streams.streams[index].used)?;
                streams.streams.swap_remove(oldest);
            }
            streams.streams.push(Stream { pack, next: read.end, fetched: read.end, used });
            return None;
        };
        stream.used = used;
        stream.next = read.end;
        stream.fetched = stream.fetched.max(read.end);
        if stream.fetched - read.end >= READ_SPAN_MAX / 2 {
            return None;
        }
        let next = stream.fetched..stream.fetched + READ_SPAN_MAX;
        stream.fetched = next.end;
        Some(next)
    }

    /// Waits for spans on their way that hold a part of what is wanted.
    pub(super) async fn wait_for(&self, pack: PackId, wanted: Range<u64>) {
        let overlaps = |running: &&Running| {
            running.pack == pack && running.range.start < wanted.end && wanted.start < running.range.end
        };
        let waits: Vec<_> = self.running.lock().iter().filter(overlaps).map(|running| running.done.clone()).collect();
        for mut done in waits {
            // Nothing is ever sent: this is an error as soon as the other end is dropped.
            let _ = done.changed().await;
        }
    }

    fn met_the_end(&self, pack: PackId) {
        for stream in &mut self.streams.lock().streams {
            if stream.pack == pack {
                stream.fetched = u64::MAX;
            }
        }
    }
}

/// Ends the wait of others, also if the task panics or is cancelled.
struct Ending {
    store: Store,
    pack: PackId,
    start: u64,
    _done: watch::Sender<()>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut running = self.store.inner.reads.ahead.running.lock();
        running.retain(|running| (running.pack, running.range.start) != (self.pack, self.start));
    }
}

impl Store {
    /// Fetches a span in the background, unless enough others are on their way.
    pub(super) fn start_reading_ahead(&self, pack: PackId, range: Range<u64>) {
        let ahead = &self.inner.reads.ahead;
        let Ok(slot) = ahead.slots.clone().try_acquire_owned() else { return };
        let (sender, done) = watch::channel(());
        ahead.running.lock().push(Running { pack, range: range.clone(), done });
        let ending = Ending { store: self.clone(), pack, start: range.start, _done: sender };
        tokio::spawn(async move {
            let _slot = slot;
            if let Err(error) = ending.store.read_ahead(pack, range).await {
                tracing::debug!(%error, "a span could not be read ahead");
            }
            drop(ending);
        });
    }

    async fn read_ahead(&self, pack: PackId, range: Range<u64>) -> Result<()> {
        let reads = &self.inner.reads;
        let Some(cache) = reads.cache.get().cloned() else { return Ok(()) };
        if cache.holds(pack, &range) {
            return Ok(());
        }
        let _memory = reads.memory(range.end - range.start).await?;
        reads.ahead.spans.count();
        let bytes = self.bucket().get_available(&self.pack_name(pack), range.clone()).await;
        if bytes.as_ref().map_or(true, |bytes| (bytes.len() as u64) < range.end - range.start) {
            reads.ahead.met_the_end(pack);
        }
        let bytes = bytes?;
        blocking(move || cache.write(pack, range.start, &bytes)).await
    }
}
