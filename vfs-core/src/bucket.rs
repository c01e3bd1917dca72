//! The bucket: a thin layer over `object_store` that only ever creates, reads, lists and deletes whole objects.
//!
//! What `create` and [`Upload::finish`] have returned is durable: in a local folder the file and its folder are synced
//! first, elsewhere the answer says so. Nothing is ever overwritten. What may pass is tried again, for a while
//! ([`Patience`]); a create that is made again recognises its own work. A list is complete or an error.

mod counts;
mod folder;
mod open;
mod retry;
#[cfg(test)]
pub(crate) mod tests;
mod upload;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};

use crate::error::{Error, Kind, Result};

pub(crate) use counts::Counter;
pub use counts::Requests;
pub use folder::make_private_folder;
pub use retry::Patience;
pub use upload::Upload;

/// Where bytes go. Clones are the same bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Tries nothing again itself.
    store: Arc<dyn ObjectStore>,
    /// The same place, but tries again what fails. For the parts of uploads only.
    patient: Arc<dyn ObjectStore>,
    url: String,
    folder: Option<Arc<folder::Folder>>,
    /// Reading it costs no network.
    local: bool,
    patience: Patience,
    counts: Arc<counts::Counts>,
}

/// One object as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
}

/// Whether `create` made the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    New,
    /// One of this name was there, and stays.
    Existed,
}

impl Bucket {
    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether reading it costs no network: a folder, or memory.
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// How often it was asked so far.
    pub fn requests(&self) -> Requests {
        self.counts.read()
    }

    /// Whether `create` really refuses an existing name; some small S3 servers answer 200 and overwrite.
    pub async fn verify_create_only(&self, name: &str) -> Result<()> {
        let first = Bytes::from_static(b"Esker checks here that this bucket refuses to overwrite.\n");
        let second = Bytes::from_static(b"This bucket has overwritten an object although told not to.\n");
        self.create(name, first.clone()).await?;
        let answer = self.create(name, second).await?;
        let kept = self.get(name).await? == first;
        self.delete(name).await?;
        if answer == Created::Existed && kept {
            return Ok(());
        }
        let message = format!(
            "the bucket {} overwrites objects although told not to (If-None-Match): use another server",
            self.url
        );
        Err(Error::new(Kind::Unsupported, message))
    }

    /// Stores an object under a name that is free. Durable when it returns.
    pub async fn create(&self, name: &str, bytes: Bytes) -> Result<Created> {
        self.make_folder_of(name).await?;
        let mut tries = 0;
        let request = || {
            tries += 1;
            let (nth, bytes) = (tries, bytes.clone());
            async move { Ok((self.create_once(name, bytes).await?, nth)) }
        };
        match self.patience.run(&self.counts, request).await? {
            // An earlier try may have made it although it said no.
            (Created::Existed, nth) if nth > 1 && self.get(name).await? == bytes => Ok(Created::New),
            (created, _) => Ok(created),
        }
    }

    async fn create_once(&self, name: &str, bytes: Bytes) -> Result<Created> {
        self.counts.create.count();
        self.counts.bytes_out.add(bytes.len() as u64);
        match self.store.put_opts(&Path::from(name), bytes.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(Created::New),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Created::Existed),
            Err(error) => Err(map_error(error, format!("{name} could not be written to the bucket"))),
        }
    }

    /// Stores an object whose name says what it holds. If the name is taken, what is there must be the same bytes;
    /// then it is made as durable as a new one.
    pub async fn create_named_by_content(&self, name: &str, bytes: Bytes) -> Result<Created> {
        if self.create(name, bytes.clone()).await? == Created::New {
            return Ok(Created::New);
        }
        if self.get(name).await? != bytes {
            return Err(Error::corrupt(format!("{name} in the bucket does not hold what its name says: remove it")));
        }
        self.sync_existing(name).await?;
        Ok(Created::Existed)
    }

    /// A whole object.
    pub async fn get(&self, name: &str) -> Result<Bytes> {
        let failed = |error| map_error(error, format!("{name} could not be read from the bucket"));
        let request = || async {
            self.counts.get.count();
            self.store.get(&Path::from(name)).await.map_err(failed)?.bytes().await.map_err(failed)
        };
        let bytes = self.patience.run(&self.counts, request).await?;
        self.counts.bytes_in.add(bytes.len() as u64);
        Ok(bytes)
    }

    /// A part of an object.
    pub async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        let request = || async {
            self.counts.range.count();
            let error = match self.store.get_range(&Path::from(name), range.clone()).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => map_error(error, format!("{name} could not be read from the bucket")),
            };
            // Stores say in words of their own that an object ends before the range begins; its size decides.
            let words = error.chain();
            let is_short = error.kind() == Kind::Unavailable
                && ["range", "Range", "416"].iter().any(|word| words.contains(word))
                && self.store.head(&Path::from(name)).await.is_ok_and(|object| object.size < range.end);
            Err(if is_short { shorter(name).because(error) } else { error })
        };
        let bytes = self.patience.run(&self.counts, request).await?;
        self.counts.bytes_in.add(bytes.len() as u64);
        if bytes.len() as u64 != range.end - range.start {
            return Err(shorter(name));
        }
        Ok(bytes)
    }

    /// A part of an object, or less of it where the object ends. Tried once: for what is worth having, not needed.
    pub(crate) async fn get_available(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        self.counts.range.count();
        let bytes = self.store.get_range(&Path::from(name), range).await;
        let bytes = bytes.map_err(|error| map_error(error, format!("{name} could not be read from the bucket")))?;
        self.counts.bytes_in.add(bytes.len() as u64);
        Ok(bytes)
    }

    /// Every object below a folder. An error means that nothing is known, not that nothing is there.
    pub async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let request = || async {
            self.counts.list.count();
            self.folder.as_ref().map_or(Ok(()), |folder| folder.check_is_there())?;
            self.store
                .list(Some(&Path::from(folder)))
                .map_ok(|meta| Listed { name: meta.location.to_string(), size: meta.size })
                .try_collect()
                .await
                .map_err(|error| map_error(error, format!("{folder} in the bucket could not be listed")))
        };
        let listed = self.patience.run(&self.counts, request).await;
        if sabotaged!(ListErrorAsEmpty) {
            return Ok(listed.unwrap_or_default());
        }
        listed
    }

    /// Removes an object; fine if it is not there.
    pub async fn delete(&self, name: &str) -> Result<()> {
        let request = || async {
            self.counts.delete.count();
            match self.store.delete(&Path::from(name)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(map_error(error, format!("{name} could not be deleted from the bucket"))),
            }
        };
        self.patience.run(&self.counts, request).await
    }
}

fn shorter(name: &str) -> Error {
    Error::corrupt(format!("{name} in the bucket is shorter than the index says"))
}

fn map_error(error: object_store::Error, context: String) -> Error {
    use object_store::Error as Cause;
    let kind = match &error {
        Cause::NotFound { .. } => Kind::NotFound,
        Cause::AlreadyExists { .. } => Kind::AlreadyExists,
        Cause::Precondition { .. } => Kind::Conflict,
        Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. } => Kind::Denied,
        Cause::NotSupported { .. } | Cause::NotImplemented { .. } => Kind::Unsupported,
        Cause::InvalidPath { .. } | Cause::UnknownConfigurationKey { .. } => Kind::Invalid,
        _ if is_out_of_space(&error) => Kind::NoSpace,
        _ => Kind::Unavailable,
    };
    Error::new(kind, context).because(error)
}

fn is_out_of_space(error: &(dyn std::error::Error + 'static)) -> bool {
    let full =
        |io: &std::io::Error| matches!(io.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.downcast_ref::<std::io::Error>().is_some_and(full))
}
