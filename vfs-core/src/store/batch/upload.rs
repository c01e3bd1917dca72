//! Packs of a batch on their way into the bucket and the index.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use super::super::Store;
use super::Batch;
use super::open_packs::Step;
use crate::bucket::Upload;
use crate::db::{orphans, packs};
use crate::error::Result;
use crate::id::PackId;
use crate::limits::UPLOAD_PART;
use crate::pack::Pack;

/// Uploads under way.
#[derive(Default)]
pub(super) struct Uploads {
    open: HashMap<PackId, Upload>,
    /// Nothing more comes for these; in the order in which they must get into the index.
    finished: Vec<Finished>,
}

/// A pack whose bytes are all there.
struct Finished {
    pack: Pack,
    /// All of it, or, if parts went out before, what comes after them.
    rest: Bytes,
    upload: Option<Upload>,
    durable: bool,
}

impl Batch {
    /// Does what is to be done in the bucket, and brings finished packs into the index, all at once.
    pub(super) async fn upload(&self, uploads: &mut Uploads) -> Result<()> {
        {
            let begun = {
                let mut packs = self.packs.lock();
                packs.check_whole()?;
                std::mem::take(&mut packs.begun)
            };
            let mut state = self.state.lock();
            begun.into_iter().for_each(|pack| state.pinned.add(pack));
        }
        loop {
            let Some(step) = self.packs.lock().steps.pop_front() else { break };
            match step {
                Step::Part(pack, part) => {
                    let upload = uploads.open.entry(pack).or_insert_with(|| self.store.upload_of(pack));
                    self.or_broken(upload.put_part(part)).await?;
                }
                Step::Finish(pack, rest) => {
                    let upload = uploads.open.remove(&pack.id);
                    uploads.finished.push(Finished { pack, rest, upload, durable: false });
                }
            }
        }
        if uploads.finished.is_empty() {
            return Ok(());
        }
        let holding = self.register(&mut uploads.finished).await?;
        let mut state = self.state.lock();
        holding.into_iter().for_each(|pack| state.pinned.add(pack));
        for entry in uploads.finished.drain(..).flat_map(|finished| finished.pack.entries) {
            state.known.remove(&entry.id);
        }
        Ok(())
    }

    /// Whoever goes away in the middle of this, or gets an error, leaves a pack that lacks something.
    async fn or_broken<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut guard = BreaksUp { batch: self, armed: true };
        let done = work.await;
        guard.armed = done.is_err();
        done
    }

    /// Makes packs durable in the bucket, then, in one transaction, their objects findable. Returns the packs that hold
    /// these objects now.
    async fn register(&self, finished: &mut [Finished]) -> Result<BTreeSet<PackId>> {
        let inner = &self.store.inner;
        let _no_sweep = inner.sweep.read().await;
        if !sabotaged!(IndexBeforeUpload) {
            self.make_durable(finished).await?;
        }
        let now = inner.clock.now();
        let mut holding = BTreeSet::new();
        let mut transaction = inner.database.begin().await?;
        for Finished { pack, .. } in finished.iter_mut() {
            holding.extend(packs::register(&mut transaction, inner.tenant_number, pack, now).await?);
            orphans::forget(&mut transaction, pack.id).await?;
        }
        inner.database.commit(transaction).await?;
        self.make_durable(finished).await?;
        Ok(holding)
    }

    async fn make_durable(&self, finished: &mut [Finished]) -> Result<()> {
        let waiting = finished.iter_mut().filter(|finished| !finished.durable);
        let sent = waiting.map(|finished| async {
            match finished.upload.take() {
                Some(upload) => self.or_broken(send_rest(upload, &finished.rest)).await?,
                // Small enough to be tried again as a whole.
                None => self.store.create_pack(finished.pack.id, finished.rest.clone()).await?,
            }
            finished.durable = true;
            Ok(())
        });
        futures::future::try_join_all(sent).await.map(|_| ())
    }
}

async fn send_rest(mut upload: Upload, rest: &Bytes) -> Result<()> {
    for start in (0..rest.len()).step_by(UPLOAD_PART) {
        upload.put_part(rest.slice(start..rest.len().min(start + UPLOAD_PART))).await?;
    }
    upload.finish().await
}

/// Marks the batch as broken unless it is told that all is well.
struct BreaksUp<'a> {
    batch: &'a Batch,
    armed: bool,
}

impl Drop for BreaksUp<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.batch.packs.lock().break_up();
        }
    }
}

impl Store {
    fn upload_of(&self, pack: PackId) -> Upload {
        self.inner.bucket.upload(&self.pack_name(pack))
    }

    /// A pack of one part. What an attempt left that was cut off before its answer is the same bytes.
    async fn create_pack(&self, pack: PackId, bytes: Bytes) -> Result<()> {
        self.inner.bucket.create_named_by_content(&self.pack_name(pack), bytes).await.map(|_| ())
    }
}
