//! Work that runs ahead of whoever takes its results.
//!
//! What stays true: work that was begun is polled until it is done, also while the taker is busy with something else. The
//! work adds objects to a batch, and so does the taker; a batch lets one at a time through, so work that stands still in
//! the middle of an addition would keep the taker waiting for ever. (A `buffered` stream stands still whenever nobody asks it.)

use std::pin::pin;
use std::sync::Arc;

use futures::stream::FuturesOrdered;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Result;

/// Where the results come out, in the order of the work.
pub(crate) struct Results<T>(UnboundedReceiver<(T, OwnedSemaphorePermit)>);

/// Where they go in.
pub(crate) struct Ahead<T> {
    results: UnboundedSender<(T, OwnedSemaphorePermit)>,
    slots: Arc<Semaphore>,
}

/// Results of at most `count` pieces of work wait or are under way.
pub(crate) fn ahead<T>(count: usize) -> (Ahead<T>, Results<T>) {
    let (sender, receiver) = unbounded_channel();
    (Ahead { results: sender, slots: Arc::new(Semaphore::new(count)) }, Results(receiver))
}

impl<T> Results<T> {
    /// The next result; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Option<T> {
        self.0.recv().await.map(|(result, _slot)| result)
    }
}

impl<T> Ahead<T> {
    /// Does all the work; the first that fails ends it. Must be polled together with whoever takes the results.
    pub(crate) async fn run<F: Future<Output = Result<T>>>(self, works: impl Stream<Item = F>) -> Result<()> {
        let Ahead { results, slots } = self;
        let mut works = pin!(works);
        let mut running = FuturesOrdered::new();
        let mut is_ended = false;
        while !is_ended || !running.is_empty() {
            let next = async {
                let slot = slots.clone().acquire_owned().await;
                (slot, works.next().await)
            };
            tokio::select! {
                biased;
                Some(done) = running.next(), if !running.is_empty() => {
                    let (result, slot): (Result<T>, _) = done;
                    if results.send((result?, slot)).is_err() {
                        return Ok(());
                    }
                }
                (slot, work) = next, if !is_ended => match (slot, work) {
                    (Ok(slot), Some(work)) => running.push_back(async move { (work.await, slot) }),
                    _ => is_ended = true,
                },
            }
        }
        Ok(())
    }
}
