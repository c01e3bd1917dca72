//! The config object of a bucket: whose it is, and the tenant's keys, wrapped where the repo is encrypted. Written once.

use bytes::Bytes;

use crate::bucket::{Bucket, Created};
use crate::chance::Chance;
use crate::error::{Error, Kind, Result};
use crate::id::{IdKey, RepoId, TenantId};
use crate::keys::{DataKey, KEY_LENGTH, OperatorKey, Secret, TenantKeys, WrapPlace, Wrapped};

const NAME: &str = "config.json";
/// The newest format that is known; format 0 had neither check value nor data keys.
const FORMAT: u32 = 1;
const NO_WRAPPING: &str = "none";
const WRAPPING: &str = "aes-256-gcm";
/// What wrapped keys are for, as their associated data says it.
const ID_KEY: &str = "id key";
const DATA_KEY: &str = "data key";

/// What the config object says. It has no debug output: without encryption, the id key is in it.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Config {
    format: u32,
    pub(crate) repo: RepoId,
    pub(crate) tenant: TenantId,
    /// Tells a wrong operator key from damage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_check: Option<String>,
    id_key: StoredKey,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    data_keys: Vec<NumberedKey>,
}

#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct StoredKey {
    wrapping: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    secret: String,
}

#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct NumberedKey {
    number: u32,
    #[serde(flatten)]
    key: StoredKey,
}

impl Config {
    /// A new config, encrypted if there is a key.
    pub(super) fn new(repo: RepoId, operator: Option<&OperatorKey>, chance: &Chance) -> Result<Config> {
        let tenant = TenantId::from_bytes(chance.bytes()?);
        let id_key = Secret::new(chance.bytes()?);
        let Some(operator) = operator else {
            let id_key = StoredKey { wrapping: NO_WRAPPING.into(), nonce: None, secret: hex::encode(id_key.bytes()) };
            return Ok(Config { format: FORMAT, repo, tenant, key_check: None, id_key, data_keys: Vec::new() });
        };
        let wrap = |purpose, number, secret: &Secret| {
            let place = WrapPlace { repo, tenant, purpose, number };
            Ok::<_, Error>(StoredKey::wrapped(operator.wrap(&place, secret, chance.bytes()?)?))
        };
        let data_key = NumberedKey { number: 1, key: wrap(DATA_KEY, 1, &Secret::new(chance.bytes()?))? };
        let key_check = Some(hex::encode(operator.check()));
        Ok(Config {
            format: FORMAT,
            repo,
            tenant,
            key_check,
            id_key: wrap(ID_KEY, 0, &id_key)?,
            data_keys: vec![data_key],
        })
    }

    /// The tenant's keys. `Denied` without the key of an encrypted repo, or with another one; `Invalid` with a key for a
    /// repo that is not encrypted: whoever gives one believes that it is.
    pub(crate) fn keys(&self, operator: Option<&OperatorKey>) -> Result<TenantKeys> {
        match (self.id_key.wrapping.as_str(), operator) {
            (NO_WRAPPING, None) if self.data_keys.is_empty() && self.key_check.is_none() => {
                Ok(TenantKeys::plain(self.tenant, IdKey::new(&self.id_key.plain()?)))
            }
            (NO_WRAPPING, None) => Err(damaged("holds data keys beside an id key that is not wrapped")),
            (NO_WRAPPING, Some(_)) => Err(Error::new(
                Kind::Invalid,
                "this repo is not encrypted, and a key was given: a repo stays as it was made. Leave --key-file, \
                 ESKER_KEY_FILE and ESKER_KEY out, or use another --data folder, whose new repo will be encrypted",
            )),
            (WRAPPING, None) => Err(Error::new(
                Kind::Denied,
                "this repo is encrypted: give its key with --key-file FILE, ESKER_KEY_FILE or ESKER_KEY",
            )),
            (WRAPPING, Some(operator)) => self.unwrap(operator),
            (other, _) => {
                let message = format!("the keys of this repo are wrapped with {other:?}: a newer Esker is needed");
                Err(Error::new(Kind::Unsupported, message))
            }
        }
    }

    fn unwrap(&self, operator: &OperatorKey) -> Result<TenantKeys> {
        let check: [u8; 8] = digits(self.key_check.as_deref().unwrap_or_default(), "check value of the key")?;
        if check != operator.check() {
            let message = "the key that was given is not the one of this repo: look at --key-file, ESKER_KEY_FILE and \
                           ESKER_KEY";
            return Err(Error::new(Kind::Denied, message));
        }
        let open = |purpose, number, stored: &StoredKey| {
            let place = WrapPlace { repo: self.repo, tenant: self.tenant, purpose, number };
            let changed = || damaged(&format!("holds a {purpose} that does not open: it was changed"));
            operator.unwrap(&place, &stored.as_wrapped()?).ok_or_else(changed)
        };
        let id = IdKey::new(open(ID_KEY, 0, &self.id_key)?.bytes());
        let rising = self.data_keys.windows(2).all(|pair| pair[0].number < pair[1].number);
        if !rising || self.data_keys.first().is_none_or(|first| first.number == 0) {
            return Err(damaged("holds no data key, or their numbers do not go up"));
        }
        let data = self
            .data_keys
            .iter()
            .map(|stored| Ok(DataKey::from_secret(stored.number, open(DATA_KEY, stored.number, &stored.key)?)));
        Ok(TenantKeys::new(self.tenant, id, data.collect::<Result<_>>()?))
    }

    /// The config of the bucket, if it has one.
    pub(crate) async fn read(bucket: &Bucket) -> Result<Option<Config>> {
        let bytes = match bucket.get(NAME).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == Kind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Config::parse(&bytes, bucket.url()).map(Some)
    }

    fn parse(bytes: &[u8], url: &str) -> Result<Config> {
        let damaged = |error: serde_json::Error| damaged("is damaged").because(error);
        // A newer format may look quite different: its number comes first.
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(damaged)?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format > u64::from(FORMAT) => {
                let message = format!("the bucket {url} has format {format}: a newer Esker is needed");
                Err(Error::new(Kind::Unsupported, message))
            }
            _ => serde_json::from_value(value).map_err(damaged),
        }
    }

    /// Its bytes in the bucket.
    fn to_bytes(&self) -> Result<Bytes> {
        let failed = |error| Error::new(Kind::Internal, "the config could not be written").because(error);
        serde_json::to_vec_pretty(self).map(Bytes::from).map_err(failed)
    }

    /// Writes the config of a new bucket. If somebody was faster, theirs stays and is returned.
    pub(super) async fn create(
        bucket: &Bucket,
        repo: RepoId,
        operator: Option<&OperatorKey>,
        chance: &Chance,
    ) -> Result<Config> {
        bucket.verify_create_only(&format!("probe-{}", hex::encode(chance.bytes::<8>()?))).await?;
        let config = Config::new(repo, operator, chance)?;
        if bucket.create(NAME, config.to_bytes()?).await? == Created::New {
            bucket.make_private(NAME)?;
        }
        Config::read(bucket).await?.ok_or_else(|| Error::corrupt(format!("{NAME} vanished from the bucket")))
    }
}

impl StoredKey {
    fn wrapped(wrapped: Wrapped) -> StoredKey {
        let (nonce, secret) = (Some(hex::encode(wrapped.nonce)), hex::encode(wrapped.sealed));
        StoredKey { wrapping: WRAPPING.into(), nonce, secret }
    }

    fn as_wrapped(&self) -> Result<Wrapped> {
        if self.wrapping != WRAPPING {
            return Err(damaged("holds keys that are wrapped and keys that are not"));
        }
        let nonce = digits(self.nonce.as_deref().unwrap_or_default(), "nonce")?;
        Ok(Wrapped { nonce, sealed: digits(&self.secret, "wrapped key")? })
    }

    fn plain(&self) -> Result<[u8; KEY_LENGTH]> {
        digits(&self.secret, "id key")
    }
}

/// The bytes that hexadecimal digits say; the error does not repeat them.
fn digits<const N: usize>(text: &str, what: &str) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| damaged(&format!("holds a damaged {what}")))?;
    Ok(bytes)
}

fn damaged(why: &str) -> Error {
    Error::corrupt(format!("{NAME} in the bucket {why}"))
}

#[cfg(test)]
mod tests;
