//! The config object of a bucket: whose it is and the tenant's id key. Written once.

use bytes::Bytes;

use super::chance::random;
use crate::bucket::{Bucket, Created};
use crate::error::{Error, Kind, Result};
use crate::id::{RepoId, TenantId};

const NAME: &str = "config.json";
const FORMAT: u32 = 0;
const NO_WRAPPING: &str = "none";

/// What the config object says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Config {
    format: u32,
    pub(crate) repo: RepoId,
    pub(crate) tenant: TenantId,
    id_key: WrappedKey,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct WrappedKey {
    wrapping: String,
    secret: String,
}

impl Config {
    fn new(repo: RepoId) -> Result<Config> {
        let id_key = WrappedKey { wrapping: NO_WRAPPING.into(), secret: hex::encode(random::<32>()?) };
        Ok(Config { format: FORMAT, repo, tenant: TenantId::from_bytes(random()?), id_key })
    }

    /// The tenant's secret.
    pub(crate) fn secret(&self) -> Result<[u8; 32]> {
        if self.id_key.wrapping != NO_WRAPPING {
            let message = format!("the id key is wrapped with {:?}: a newer Esker is needed", self.id_key.wrapping);
            return Err(Error::new(Kind::Unsupported, message));
        }
        let mut secret = [0; 32];
        hex::decode_to_slice(&self.id_key.secret, &mut secret)
            .map_err(|error| Error::corrupt(format!("{NAME} in the bucket holds a damaged id key")).because(error))?;
        Ok(secret)
    }

    /// The config of the bucket, if it has one.
    pub(crate) async fn read(bucket: &Bucket) -> Result<Option<Config>> {
        let bytes = match bucket.get(NAME).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == Kind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let damaged =
            |error: serde_json::Error| Error::corrupt(format!("{NAME} in the bucket is damaged")).because(error);
        // A newer format may look quite different: its number comes first.
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format > u64::from(FORMAT) => {
                let message = format!("the bucket {} has format {format}: a newer Esker is needed", bucket.url());
                Err(Error::new(Kind::Unsupported, message))
            }
            _ => serde_json::from_value(value).map(Some).map_err(damaged),
        }
    }

    /// Writes the config of a new bucket. If somebody was faster, theirs stays and is returned.
    pub(super) async fn create(bucket: &Bucket, repo: RepoId) -> Result<Config> {
        bucket.verify_create_only(&format!("probe-{}", hex::encode(random::<8>()?))).await?;
        let config = Config::new(repo)?;
        let text = serde_json::to_vec_pretty(&config)
            .map_err(|error| Error::new(Kind::Internal, "the config could not be written").because(error))?;
        if bucket.create(NAME, Bytes::from(text)).await? == Created::New {
            bucket.make_private(NAME)?;
        }
        Config::read(bucket).await?.ok_or_else(|| Error::corrupt(format!("{NAME} vanished from the bucket")))
    }
}
