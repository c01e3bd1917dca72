//! From a URL to a bucket. Credentials and endpoints come from the environment, as each provider's own tools have it.

use std::path::Path as FilePath;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use url::Url;

use super::folder::{Folder, make_private_folder};
use super::{Bucket, Patience, map_error};
use crate::error::{Error, Kind, Result};

impl Bucket {
    /// Opens `file:///folder`, `s3://bucket/prefix` (credentials and endpoint from `AWS_*`), `gs://bucket/prefix`
    /// (`GOOGLE_*`), `az://container/prefix` (`AZURE_*`) or `memory:///`.
    pub fn open(url: &str) -> Result<Bucket> {
        let invalid = |why: &str| Error::new(Kind::Invalid, format!("the bucket {url:?} {why}"));
        let parsed = Url::parse(url).map_err(|error| {
            invalid("is not a URL: use file:///folder, s3://bucket/prefix, gs://…, az://… or memory:///").because(error)
        })?;
        match parsed.scheme() {
            "file" => Bucket::folder(&parsed.to_file_path().map_err(|()| invalid("names no absolute folder"))?),
            "s3" => Bucket::remote(&parsed, "AWS_*", s3),
            "gs" => Bucket::remote(&parsed, "GOOGLE_*", gs),
            "az" => Bucket::remote(&parsed, "AZURE_*", az),
            "memory" => Ok(Bucket::memory()),
            _ => Err(invalid("has an unknown scheme: use file, s3, gs, az or memory")),
        }
    }

    /// A bucket that is gone when its last clone is.
    pub fn memory() -> Bucket {
        Bucket { local: true, ..Bucket::from_store(Arc::new(InMemory::new()), "memory:///") }
    }

    /// A bucket on any store, treated as a remote one. For decorators in tests.
    pub fn from_store(store: Arc<dyn ObjectStore>, url: &str) -> Bucket {
        Bucket {
            patient: store.clone(),
            store,
            url: url.to_owned(),
            folder: None,
            local: false,
            patience: Patience::default(),
            counts: Arc::default(),
        }
    }

    /// The same bucket, asked again more or less often.
    pub fn with_patience(self, patience: Patience) -> Bucket {
        Bucket { patience, ..self }
    }

    /// A local folder; made if need be, for its owner only.
    pub fn folder(path: &FilePath) -> Result<Bucket> {
        make_private_folder(path)?;
        let failed = |error| map_error(error, format!("the bucket folder {} cannot be used", path.display()));
        let store = LocalFileSystem::new_with_prefix(path).map_err(failed)?.with_fsync(true);
        let url = Url::from_directory_path(path)
            .map_err(|()| Error::new(Kind::Invalid, format!("the bucket folder {} is not absolute", path.display())))?;
        Ok(Bucket {
            folder: Some(Arc::new(Folder::new(path))),
            local: true,
            // A disk answers the same again, and an error of fsync must not be tried away.
            patience: Patience::NONE,
            ..Bucket::from_store(Arc::new(store), url.as_str())
        })
    }

    fn remote(url: &Url, variables: &str, open: Opener) -> Result<Bucket> {
        let name = url.host_str().ok_or_else(|| Error::new(Kind::Invalid, format!("{url} names no bucket")))?;
        let prefix = Path::from_url_path(url.path())
            .map_err(|error| Error::new(Kind::Invalid, format!("{url} has a wrong prefix")).because(error))?;
        let open = |patience: Patience| {
            let failed = |error| map_error(error, format!("the bucket {url} cannot be used: check {variables}"));
            open(name, &prefix, patience.for_parts()).map_err(failed)
        };
        let bucket = Bucket::from_store(open(Patience::NONE)?, url.as_str());
        Ok(Bucket { patient: open(Patience::default())?, ..bucket })
    }
}

type Opener = fn(&str, &Path, object_store::RetryConfig) -> object_store::Result<Arc<dyn ObjectStore>>;

fn s3(name: &str, prefix: &Path, retry: object_store::RetryConfig) -> object_store::Result<Arc<dyn ObjectStore>> {
    let builder = AmazonS3Builder::from_env().with_bucket_name(name).with_retry(retry);
    let store = builder.with_conditional_put(S3ConditionalPut::ETagMatch).build()?;
    Ok(Arc::new(PrefixStore::new(store, prefix.clone())))
}

fn gs(name: &str, prefix: &Path, retry: object_store::RetryConfig) -> object_store::Result<Arc<dyn ObjectStore>> {
    let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(name).with_retry(retry);
    // The variable of Google's own clients, which object_store does not read. An emulator takes no signature.
    if let Ok(emulator) = std::env::var("STORAGE_EMULATOR_HOST") {
        let url = if emulator.contains("://") { emulator } else { format!("http://{emulator}") };
        let plain = object_store::ClientOptions::new().with_allow_http(true);
        builder = builder.with_base_url(url.trim_end_matches('/')).with_skip_signature(true).with_client_options(plain);
    }
    Ok(Arc::new(PrefixStore::new(builder.build()?, prefix.clone())))
}

fn az(name: &str, prefix: &Path, retry: object_store::RetryConfig) -> object_store::Result<Arc<dyn ObjectStore>> {
    let builder = MicrosoftAzureBuilder::from_env().with_container_name(name).with_retry(retry);
    Ok(Arc::new(PrefixStore::new(builder.build()?, prefix.clone())))
}
