//! The ref log as the bucket has it.

use futures::{StreamExt, TryStreamExt};

use crate::bucket::Bucket;
use crate::check::is_damage;
use crate::error::{Error, Kind, Result};
use crate::id::WorkspaceId;
use crate::keys::TenantKeys;
use crate::limits::READS_AT_ONCE;
use crate::repo::ref_log::RefLogEntry;

/// What the ref log of a tenant, or of one workspace, says.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Entries, the newest of each workspace last.
    pub(crate) entries: Vec<RefLogEntry>,
    /// Objects that cannot be believed, and why.
    pub(crate) damaged: Vec<(String, String)>,
    /// One of these objects is of a newer Esker.
    pub(crate) newer: Option<Error>,
}

/// Reads it.
pub(crate) async fn read(bucket: &Bucket, keys: &TenantKeys, workspace: Option<WorkspaceId>) -> Result<Log> {
    let tenant = keys.tenant();
    let folder = match workspace {
        Some(workspace) => format!("t/{tenant}/reflog/{workspace}"),
        None => format!("t/{tenant}/reflog"),
    };
    let names: Vec<String> = bucket.list(&folder).await?.into_iter().map(|object| object.name).collect();
    let reads = names.into_iter().map(|name| async move {
        Ok::<_, Error>(match RefLogEntry::read(bucket, keys, &name).await {
            Err(error) if !is_damage(error.kind()) => return Err(error),
            read => (read, name),
        })
    });
    let read: Vec<_> = futures::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
    let mut log = Log::default();
    for (parsed, name) in read {
        match parsed {
            Ok(entry) => log.entries.push(entry),
            // gc removed it after it was listed.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => {
                log.damaged.push((name, error.context().to_owned()));
                if error.kind() == Kind::Unsupported {
                    log.newer = Some(error);
                }
            }
        }
    }
    log.entries.sort_by_key(|entry| (entry.workspace, entry.sequence, entry.epoch, entry.time));
    log.damaged.sort();
    Ok(log)
}
