//! What a repo reads from its bucket in JSON, for [`crate::testing::decoders`].

use super::config::Config;
use super::ref_log::RefLogEntry;
use crate::bucket::Bucket;
use crate::error::{Error, Result};
use crate::id::TenantId;

/// The config object, read from a bucket that holds nothing else; written again as it was understood.
pub(crate) async fn config(bytes: &[u8]) -> Result<Vec<u8>> {
    let bucket = Bucket::memory();
    bucket.create("config.json", bytes.to_vec().into()).await?;
    let config = Config::read(&bucket).await?.ok_or_else(|| Error::corrupt("the config vanished"))?;
    // What opening a repo asks it next.
    let _ = config.keys(None);
    let _ = config.keys(Some(&crate::keys::OperatorKey::from_bytes([0x4f; 32])));
    serde_json::to_vec(&config).map_err(|error| Error::corrupt("a config that was read is not written").because(error))
}

/// An object of the ref log, written again as it was understood.
pub(crate) fn ref_log_entry(bytes: &[u8]) -> Result<Vec<u8>> {
    let tenant = TenantId::from_bytes([7; 16]);
    let _ = RefLogEntry::parse(tenant, "another name", bytes);
    let entry: RefLogEntry =
        serde_json::from_slice(bytes).map_err(|error| Error::corrupt("a ref log entry is damaged").because(error))?;
    if let Ok(parsed) = RefLogEntry::parse(tenant, &entry.object_name(tenant), bytes) {
        assert!(parsed == entry, "one entry is read as two");
    }
    serde_json::to_vec(&entry).map_err(|error| Error::corrupt("an entry that was read is not written").because(error))
}
