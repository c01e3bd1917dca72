//! The ref log as the bucket has it.

use futures::{StreamExt, TryStreamExt};

use crate::bucket::Bucket;
use crate::error::{Error, Result};
use crate::id::{TenantId, WorkspaceId};
use crate::limits::READS_AT_ONCE;
use crate::repo::moves::RefLogEntry;

/// What the ref log of a tenant, or of one workspace, says.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Entries, the newest of each workspace last.
    pub(crate) entries: Vec<RefLogEntry>,
    /// Objects that cannot be believed, and why.
    pub(crate) damaged: Vec<(String, String)>,
}

/// Reads it.
pub(crate) async fn read(bucket: &Bucket, tenant: TenantId, workspace: Option<WorkspaceId>) -> Result<Log> {
    let folder = match workspace {
        Some(workspace) => format!("t/{tenant}/reflog/{workspace}"),
        None => format!("t/{tenant}/reflog"),
    };
    let names: Vec<String> = bucket.list(&folder).await?.into_iter().map(|object| object.name).collect();
    let reads = names.into_iter().map(|name| async move {
        let bytes = bucket.get(&name).await?;
        Ok::<_, Error>((parse(&name, &bytes), name))
    });
    let read: Vec<_> = futures::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
    let mut log = Log::default();
    for (parsed, name) in read {
        match parsed {
            Ok(entry) => log.entries.push(entry),
            Err(error) => log.damaged.push((name, error.context().to_owned())),
        }
    }
    log.entries.sort_by_key(|entry| (entry.workspace, entry.sequence, entry.epoch, entry.time));
    log.damaged.sort();
    Ok(log)
}

/// An entry must be written as we write it, and say what its name says.
fn parse(name: &str, bytes: &[u8]) -> Result<RefLogEntry> {
    let damaged = |why: &str| Error::corrupt(format!("{name} in the bucket {why}"));
    let entry: RefLogEntry =
        serde_json::from_slice(bytes).map_err(|error| damaged("cannot be understood").because(error))?;
    let again = serde_json::to_vec(&entry).map_err(|error| damaged("cannot be written again").because(error))?;
    if again != bytes || !entry.is_sealed_right()? {
        return Err(damaged("was changed after it was written"));
    }
    if !name.ends_with(&entry.name_in_bucket()) {
        return Err(damaged("says something else than its name"));
    }
    Ok(entry)
}
