//! The bucket: a thin layer over `object_store` that only ever creates, reads, lists and deletes whole objects.
//!
//! What `create` has returned is durable: in a local folder the file and its folder are synced first, in S3 the
//! answer says so. Nothing is ever overwritten.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use parking_lot::Mutex;
use url::Url;

use crate::error::{Error, Kind, Result};

#[cfg(test)]
mod tests;

/// Where bytes go. Clones are the same bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    url: String,
    folder: Option<Arc<Folder>>,
}

/// A local bucket's folder.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// Folders below whose own entries are known to be on disk. Without this, a writer that finds a folder which another
    /// one has just made, and not synced yet, would call its file durable too early.
    synced: Mutex<HashSet<PathBuf>>,
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
    /// Opens `file:///folder`, `s3://bucket/prefix` (credentials and endpoint from `AWS_*`) or `memory:///`.
    pub fn open(url: &str) -> Result<Bucket> {
        let invalid = |why: &str| Error::new(Kind::Invalid, format!("the bucket {url:?} {why}"));
        let parsed = Url::parse(url).map_err(|error| {
            invalid("is not a URL: use file:///folder, s3://bucket/prefix or memory:///").because(error)
        })?;
        match parsed.scheme() {
            "file" => Bucket::folder(&parsed.to_file_path().map_err(|()| invalid("names no absolute folder"))?),
            "s3" => Bucket::s3(&parsed),
            "memory" => Ok(Bucket::memory()),
            _ => Err(invalid("has an unknown scheme: use file, s3 or memory")),
        }
    }

    /// A bucket that is gone when its last clone is.
    pub fn memory() -> Bucket {
        Bucket { store: Arc::new(InMemory::new()), url: "memory:///".into(), folder: None }
    }

    /// A bucket over any object store; `url` is what it is called.
    pub fn from_store(store: Arc<dyn ObjectStore>, url: &str) -> Bucket {
        Bucket { store, url: url.to_owned(), folder: None }
    }

    /// A local folder; made if need be, for its owner only.
    pub fn folder(path: &FilePath) -> Result<Bucket> {
        make_private_folder(path)?;
        let failed = |error| map_error(error, format!("the bucket folder {} cannot be used", path.display()));
        let store = LocalFileSystem::new_with_prefix(path).map_err(failed)?.with_fsync(true);
        let url = Url::from_directory_path(path)
            .map_err(|()| Error::new(Kind::Invalid, format!("the bucket folder {} is not absolute", path.display())))?;
        let folder = Folder { path: path.to_owned(), synced: Mutex::default() };
        Ok(Bucket { store: Arc::new(store), url: url.into(), folder: Some(Arc::new(folder)) })
    }

    fn s3(url: &Url) -> Result<Bucket> {
        let failed = |error| map_error(error, format!("the bucket {url} cannot be used: check the AWS_* variables"));
        let name = url.host_str().ok_or_else(|| Error::new(Kind::Invalid, format!("{url} names no bucket")))?;
        let store = AmazonS3Builder::from_env()
            .with_bucket_name(name)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .build()
            .map_err(failed)?;
        let prefix = Path::from_url_path(url.path())
            .map_err(|error| Error::new(Kind::Invalid, format!("{url} has a wrong prefix")).because(error))?;
        Ok(Bucket { store: Arc::new(PrefixStore::new(store, prefix)), url: url.to_string(), folder: None })
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether `create` really refuses an existing name; some small S3 servers answer 200 and overwrite.
    pub async fn verify_create_only(&self, name: &str) -> Result<()> {
        let same = Bytes::from_static(b"Esker checks here that this bucket refuses to overwrite.\n");
        self.create(name, same.clone()).await?;
        let second = self.create(name, same).await?;
        self.delete(name).await?;
        match second {
            Created::Existed => Ok(()),
            Created::New => Err(Error::new(
                Kind::Unsupported,
                format!(
                    "the bucket {} overwrites objects although told not to (If-None-Match): use another server",
                    self.url
                ),
            )),
        }
    }

    /// Stores an object under a name that is free. Durable when it returns.
    pub async fn create(&self, name: &str, bytes: Bytes) -> Result<Created> {
        self.make_folder_of(name).await?;
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

    /// Sees to it that the folder of an object is there and on disk.
    async fn make_folder_of(&self, name: &str) -> Result<()> {
        let Some(folder) = self.folder.clone() else { return Ok(()) };
        let Some(parent) = folder.path.join(name).parent().map(FilePath::to_owned) else { return Ok(()) };
        if folder.synced.lock().contains(&parent) {
            return Ok(());
        }
        let made = tokio::task::spawn_blocking(move || {
            let mut synced = folder.synced.lock();
            std::fs::create_dir_all(&parent)?;
            for above in parent.ancestors().take_while(|above| above.starts_with(&folder.path)) {
                std::fs::File::open(above)?.sync_all()?;
            }
            synced.insert(parent);
            Ok(())
        });
        finished(made.await, || format!("the folder of {name} in the bucket could not be made"))
    }

    /// A crash may have come between an earlier writer's rename and its sync of the folder.
    async fn sync_existing(&self, name: &str) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let path = folder.path.join(name);
        let synced = tokio::task::spawn_blocking(move || {
            std::fs::File::open(&path)?.sync_all()?;
            path.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
        });
        finished(synced.await, || format!("{name} in the bucket could not be synced"))
    }

    /// A whole object.
    pub async fn get(&self, name: &str) -> Result<Bytes> {
        let failed = |error| map_error(error, format!("{name} could not be read from the bucket"));
        self.store.get(&Path::from(name)).await.map_err(failed)?.bytes().await.map_err(failed)
    }

    /// A part of an object.
    pub async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        let length = range.end - range.start;
        let bytes = self
            .store
            .get_range(&Path::from(name), range)
            .await
            .map_err(|error| map_error(error, format!("{name} could not be read from the bucket")))?;
        if bytes.len() as u64 != length {
            return Err(Error::corrupt(format!("{name} in the bucket is shorter than the index says")));
        }
        Ok(bytes)
    }

    /// Every object below a folder. An error means that nothing is known, not that nothing is there.
    pub async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let listed: Result<Vec<Listed>, _> = self
            .store
            .list(Some(&Path::from(folder)))
            .map_ok(|meta| Listed { name: meta.location.to_string(), size: meta.size })
            .try_collect()
            .await;
        if sabotaged!(ListErrorAsEmpty) {
            return Ok(listed.unwrap_or_default());
        }
        listed.map_err(|error| map_error(error, format!("{folder} in the bucket could not be listed")))
    }

    /// Removes an object; fine if it is not there.
    pub async fn delete(&self, name: &str) -> Result<()> {
        match self.store.delete(&Path::from(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(map_error(error, format!("{name} could not be deleted from the bucket"))),
        }
    }

    /// Makes an object of a local folder readable by its owner only.
    pub fn make_private(&self, name: &str) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let Some(folder) = &self.folder else { return Ok(()) };
        std::fs::set_permissions(folder.path.join(name), std::fs::Permissions::from_mode(0o600))
            .map_err(|error| Error::io(format!("{name} in the bucket could not be made private"), error))
    }
}

/// Makes a folder with mode 0700 unless it is there; durable when it returns.
pub fn make_private_folder(path: &FilePath) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let failed = |error| Error::io(format!("the folder {} could not be made", path.display()), error);
    let missing = path.ancestors().take_while(|folder| !folder.exists()).count();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    // Each new folder is an entry of the one above it.
    for above in path.ancestors().skip(1).take(missing).filter(|above| !above.as_os_str().is_empty()) {
        std::fs::File::open(above).and_then(|folder| folder.sync_all()).map_err(failed)?;
    }
    Ok(())
}

fn finished(
    result: Result<std::io::Result<()>, tokio::task::JoinError>,
    context: impl FnOnce() -> String,
) -> Result<()> {
    let result = result.map_err(|error| Error::new(Kind::Internal, "a task panicked").because(error))?;
    result.map_err(|error| Error::io(context(), error))
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
