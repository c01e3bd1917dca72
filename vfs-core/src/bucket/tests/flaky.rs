//! A store in memory that fails as it is told.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use parking_lot::Mutex;

/// What happens to the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// An error, and nothing done.
    Before,
    /// Done, and then an error.
    After,
    /// Something of the same length done, and then an error.
    Torn,
    /// Refused for good.
    Forbidden,
    /// The first byte of the answer is another one.
    Wrong,
}

#[derive(Debug, Default)]
struct Plan {
    faults: VecDeque<Fault>,
    overwrites: bool,
    loses_a_part: bool,
}

/// Fails as planned; parts of uploads do not count as requests.
#[derive(Debug, Default)]
pub(crate) struct Flaky {
    inner: Arc<InMemory>,
    plan: Arc<Mutex<Plan>>,
}

impl Flaky {
    pub(crate) fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.plan.lock().faults.extend(faults);
    }

    pub(crate) fn clear(&self) {
        self.plan.lock().faults.clear();
    }

    pub(crate) fn overwrite(&self) {
        self.plan.lock().overwrites = true;
    }

    pub(crate) fn lose_a_part(&self) {
        self.plan.lock().loses_a_part = true;
    }
}

fn fault(plan: &Mutex<Plan>) -> Fault {
    plan.lock().faults.pop_front().unwrap_or(Fault::None)
}

fn unavailable() -> object_store::Error {
    object_store::Error::Generic { store: "flaky", source: "503".into() }
}

fn before(fault: Fault) -> Result<()> {
    match fault {
        Fault::Before => Err(unavailable()),
        Fault::Forbidden => Err(object_store::Error::PermissionDenied { path: String::new(), source: "403".into() }),
        _ => Ok(()),
    }
}

fn after<T>(fault: Fault, done: T) -> Result<T> {
    if matches!(fault, Fault::After | Fault::Torn) { Err(unavailable()) } else { Ok(done) }
}

impl fmt::Display for Flaky {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("flaky")
    }
}

#[async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        let fault = fault(&self.plan);
        before(fault)?;
        if self.plan.lock().overwrites {
            options.mode = PutMode::Overwrite;
        }
        after(fault, self.inner.put_opts(location, payload, options).await?)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        before(fault(&self.plan))?;
        let inner = self.inner.put_multipart_opts(location, options).await?;
        let store = self.inner.clone();
        Ok(Box::new(FlakyUpload { inner, store, location: location.clone(), plan: self.plan.clone(), parts: 0 }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let fault = fault(&self.plan);
        before(fault)?;
        let mut result = self.inner.get_opts(location, options).await?;
        if fault == Fault::Wrong
            && let GetResultPayload::Stream(stream) = result.payload
        {
            let mut bytes: Vec<u8> = stream.try_collect::<Vec<_>>().await?.concat();
            bytes[0] ^= 1;
            result.payload = GetResultPayload::Stream(futures::stream::iter([Ok(bytes.into())]).boxed());
        }
        after(fault, result)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match before(fault(&self.plan)) {
            Ok(()) => self.inner.delete_stream(locations),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match before(fault(&self.plan)) {
            Ok(()) => self.inner.list(prefix),
            // Some of it came before the error.
            Err(error) => self.inner.list(prefix).chain(futures::stream::iter([Err(error)])).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct FlakyUpload {
    inner: Box<dyn MultipartUpload>,
    store: Arc<InMemory>,
    location: Path,
    plan: Arc<Mutex<Plan>>,
    parts: usize,
}

#[async_trait]
impl MultipartUpload for FlakyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts += 1;
        if self.parts == 2 && self.plan.lock().loses_a_part {
            return Box::pin(async { Err(unavailable()) });
        }
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let fault = fault(&self.plan);
        before(fault)?;
        if fault == Fault::Torn {
            self.store
                .put_opts(&self.location, PutPayload::from_static(b"1234512345123451234X"), PutOptions::default())
                .await?;
            return Err(unavailable());
        }
        after(fault, self.inner.complete().await?)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
