//! A new object that is sent in parts while it is still being made.
//!
//! Nobody sees it before [`Upload::finish`] has returned; then it is as durable as one that `create` made. An object of
//! one part goes out in one request. What was sent and never finished is no object: a local folder keeps it under a
//! name that no list shows, until [`Bucket::remove_leftovers`]; S3 keeps parts until the bucket's lifecycle rule for
//! incomplete uploads removes them. The name must be fresh (pack ids are random): what stands there is overwritten.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::{Bucket, Created, map_error};
use crate::error::{Error, Kind, Result};
use crate::limits::{READ_SPAN_MAX, UPLOAD_PARTS_AT_ONCE};

/// An object on its way into the bucket. Dropping it gives it up.
pub struct Upload {
    bucket: Bucket,
    name: String,
    /// The first part waits here: if no other follows, the object goes out in one request.
    first: Option<Bytes>,
    /// In a lock that nobody waits for, so that a reference to an upload may cross threads.
    parts: Mutex<Option<Box<dyn MultipartUpload>>>,
    running: JoinSet<Result<()>>,
    part_length: usize,
    short_part: bool,
    length: u64,
    checksum: crc32fast::Hasher,
    /// A part is missing: finishing would make an object with a hole.
    broken: bool,
}

impl Bucket {
    /// Starts a new object; nothing is sent yet.
    pub fn upload(&self, name: &str) -> Upload {
        Upload {
            bucket: self.clone(),
            name: name.to_owned(),
            first: None,
            parts: Mutex::new(None),
            running: JoinSet::new(),
            part_length: 0,
            short_part: false,
            length: 0,
            checksum: crc32fast::Hasher::new(),
            broken: false,
        }
    }
}

impl Upload {
    /// Sends the next part. All but the last have the same length, at least 5 MiB for S3. Returns when fewer than
    /// [`UPLOAD_PARTS_AT_ONCE`] others are on their way; an error of one shows up in a later call.
    pub async fn put_part(&mut self, part: Bytes) -> Result<()> {
        if part.is_empty() {
            return Ok(());
        }
        self.check_length(part.len())?;
        self.check_whole()?;
        // Until this part is on its way: the caller may go away while it waits.
        self.broken = true;
        self.checksum.update(&part);
        self.length += part.len() as u64;
        if self.parts.get_mut().is_none() && self.length == part.len() as u64 {
            self.first = Some(part);
        } else {
            self.start().await?;
            self.send(part).await?;
        }
        self.broken = false;
        Ok(())
    }

    /// Makes the object: whole, durable and visible when this returns.
    pub async fn finish(mut self) -> Result<()> {
        self.check_whole()?;
        let Some(mut parts) = self.parts.get_mut().take() else { return self.finish_whole().await };
        let mut sent = Ok(());
        while let Some(part) = self.running.join_next().await {
            sent = sent.and(joined(part));
        }
        if let Err(error) = sent {
            // The parts that are there cost money until somebody says so.
            let _ = parts.abort().await;
            return Err(error);
        }
        self.bucket.counts.create.count();
        match parts.complete().await {
            Ok(_) => Ok(()),
            Err(error) => self.look_for_it(self.failed(error)).await,
        }
    }

    /// Gives up what was sent.
    pub async fn abort(mut self) -> Result<()> {
        self.running.shutdown().await;
        let Some(mut parts) = self.parts.get_mut().take() else { return Ok(()) };
        parts.abort().await.map_err(|error| self.failed(error))
    }

    async fn finish_whole(&mut self) -> Result<()> {
        let bytes = self.first.take().unwrap_or_default();
        match self.bucket.create(&self.name, bytes).await? {
            Created::New => Ok(()),
            Created::Existed => {
                let message = format!("{} is in the bucket already although its name is fresh", self.name);
                Err(Error::new(Kind::AlreadyExists, message))
            }
        }
    }

    async fn start(&mut self) -> Result<()> {
        if self.parts.get_mut().is_some() {
            return Ok(());
        }
        self.bucket.make_folder_of(&self.name).await?;
        let parts = self.bucket.patient.put_multipart(&Path::from(self.name.as_str())).await;
        let parts = parts.map_err(|error| self.failed(error))?;
        *self.parts.get_mut() = Some(parts);
        match self.first.take() {
            Some(first) => self.send(first).await,
            None => Ok(()),
        }
    }

    async fn send(&mut self, part: Bytes) -> Result<()> {
        while self.running.len() >= UPLOAD_PARTS_AT_ONCE {
            if let Some(done) = self.running.join_next().await {
                joined(done)?;
            }
        }
        while let Some(done) = self.running.try_join_next() {
            joined(done)?;
        }
        let Some(parts) = self.parts.get_mut() else { return Ok(()) };
        self.bucket.counts.part.count();
        self.bucket.counts.bytes_out.add(part.len() as u64);
        let (sending, name) = (parts.put_part(part.into()), self.name.clone());
        self.running.spawn(async move { sending.await.map_err(|error| failed(&name, error)) });
        Ok(())
    }

    /// S3 wants parts of 5 MiB and some of its kind parts of one length.
    fn check_length(&mut self, length: usize) -> Result<()> {
        if self.length == 0 {
            self.part_length = length;
        }
        if self.short_part || length > self.part_length {
            return Err(Error::new(Kind::Internal, "the parts of an upload have different lengths"));
        }
        self.short_part = length < self.part_length;
        Ok(())
    }

    fn check_whole(&self) -> Result<()> {
        if self.broken {
            let message = format!("a part of {} did not reach the bucket", self.name);
            return Err(Error::new(Kind::Unavailable, message));
        }
        Ok(())
    }

    /// The answer may have been lost on the way although the object was made. Not in a local folder: there an error
    /// means that it is not durable, whatever can be seen.
    async fn look_for_it(&self, error: Error) -> Result<()> {
        if self.bucket.folder.is_some() {
            return Err(error);
        }
        let (mut checksum, mut offset) = (crc32fast::Hasher::new(), 0);
        while offset < self.length {
            let end = self.length.min(offset + READ_SPAN_MAX);
            let Ok(bytes) = self.bucket.get_range(&self.name, offset..end).await else { return Err(error) };
            checksum.update(&bytes);
            offset = end;
        }
        let one_more = self.bucket.get_range(&self.name, self.length..self.length + 1).await;
        match one_more.is_err() && checksum.finalize() == self.checksum.clone().finalize() {
            true => Ok(()),
            false => Err(error),
        }
    }

    fn failed(&self, error: object_store::Error) -> Error {
        failed(&self.name, error)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut parts) = self.parts.get_mut().take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let mut running = std::mem::take(&mut self.running);
            runtime.spawn(async move {
                running.shutdown().await;
                if let Err(error) = parts.abort().await {
                    tracing::debug!(%error, "parts of an upload that was given up stay in the bucket");
                }
            });
        }
    }
}

fn failed(name: &str, error: object_store::Error) -> Error {
    map_error(error, format!("{name} could not be written to the bucket"))
}

fn joined(part: Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    part.map_err(|error| Error::new(Kind::Internal, "sending a part panicked").because(error))?
}
