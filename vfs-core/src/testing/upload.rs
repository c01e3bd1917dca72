//! An upload in parts, with faults.

use async_trait::async_trait;
use futures::FutureExt;
use object_store::path::Path;
use object_store::{Error, MultipartUpload, PutPayload, PutResult, Result, UploadPart};
use std::sync::Arc;

use super::bucket::FaultyStore;
use super::faults::{Fault, Operation};
use super::turnstile::gate;

/// An upload whose calls meet faults.
#[derive(Debug)]
pub(super) struct FaultyUpload {
    store: FaultyStore,
    path: Path,
    /// Shared with the parts that are under way.
    upload: Arc<tokio::sync::Mutex<Box<dyn MultipartUpload>>>,
}

impl FaultyUpload {
    pub(super) fn new(store: FaultyStore, path: Path, upload: Box<dyn MultipartUpload>) -> Self {
        FaultyUpload { store, path, upload: Arc::new(tokio::sync::Mutex::new(upload)) }
    }
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        // The part takes its number here and now, whatever becomes of it.
        let part = match self.upload.try_lock() {
            Ok(mut upload) => upload.put_part(data.clone()),
            Err(_) => async { Err(error_of("a part was sent to an upload that was being completed")) }.boxed(),
        };
        let (store, path) = (self.store.clone(), self.path.clone());
        async move {
            let (_, fault) = store.enter(Operation::Part, &path).await;
            let refusal = store.refusal(fault, &path);
            if fault == Some(Fault::Torn) {
                store.leave_torn(&path, &data).await;
            }
            match refusal {
                Some((error, false)) => Err(error),
                Some((error, true)) => part.await.and(Err(error)),
                None => part.await,
            }
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (site, fault) = self.store.enter(Operation::Complete, &self.path).await;
        let refusal = self.store.refusal(fault, &self.path);
        let mut upload = self.upload.lock().await;
        if fault == Some(Fault::Torn) {
            upload.abort().await?;
        }
        if let Some((error, false)) = refusal {
            return Err(error);
        }
        self.store.remember(&self.path).await;
        let result = upload.complete().await;
        gate(&format!("{site}, done")).await;
        match (refusal, fault) {
            (Some((error, _)), _) => Err(error),
            // What a server says to the second of two requests.
            (None, Some(Fault::Duplicate)) if result.is_ok() => {
                Err(Error::NotFound { path: self.path.to_string(), source: "NoSuchUpload".into() })
            }
            (None, _) => result,
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.lock().await.abort().await
    }
}

fn error_of(text: &'static str) -> Error {
    Error::Generic { store: "faulty", source: text.into() }
}
