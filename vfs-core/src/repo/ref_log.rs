//! The ref log: one create-only object in the bucket for each move of a ref, from which the database can be made anew.
//!
//! Its entries are sealed where the repo is encrypted: they hold the names of workspaces.

use super::Repo;
use crate::bucket::Bucket;
use crate::chance::random;
use crate::clock::Time;
use crate::error::{Error, Kind, Result};
use crate::id::{HolderId, SnapshotId, TenantId, WorkspaceId};
use crate::keys::TenantKeys;

/// What the ref log says about one move; enough to find the newest head without the database.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefLogEntry {
    /// Version of its format.
    pub format: u32,
    /// Whose ref moved.
    pub workspace: WorkspaceId,
    /// The workspace's name then; empty if it was deleted.
    pub name: String,
    /// What the ref points at since; `None`: the workspace was deleted.
    pub snapshot: Option<SnapshotId>,
    /// What it pointed at before; `None`: the workspace is new.
    pub parent: Option<SnapshotId>,
    /// Epoch of the newest lease then.
    pub epoch: u64,
    /// Counts the moves.
    pub sequence: u64,
    /// When it moved.
    pub time: Time,
    /// Who published it, if a holder did.
    pub holder: Option<HolderId>,
    /// The holder's journal position.
    pub position: u64,
    /// The next free inode number when this was written; older entries lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ino: Option<u64>,
    /// BLAKE3 of the entry without this field, so that a flipped bit shows; older entries lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl RefLogEntry {
    /// The newest format that is known.
    pub const FORMAT: u32 = 0;

    /// Its name in the bucket. It ends with the start of the snapshot's id: a move that was cut off before its
    /// transaction may have taken epoch and sequence already.
    pub fn object_name(&self, tenant: TenantId) -> String {
        let last = self.snapshot.map_or_else(|| "deleted".to_owned(), |snapshot| snapshot.to_hex()[..16].to_owned());
        format!("t/{tenant}/reflog/{}/{:016x}-{:016x}-{last}", self.workspace, self.epoch, self.sequence)
    }

    /// The entry that the bucket holds under a name. `Corrupt` if it is damaged or says that it is another one.
    pub async fn read(bucket: &Bucket, keys: &TenantKeys, name: &str) -> Result<RefLogEntry> {
        let plain = keys.open_object(name, &bucket.get(name).await?)?;
        RefLogEntry::parse(keys.tenant(), name, &plain)
    }

    /// The entry of an object's plain bytes, which must be as we write them and say what the name says.
    pub fn parse(tenant: TenantId, name: &str, plain: &[u8]) -> Result<RefLogEntry> {
        let damaged = |error: serde_json::Error| Error::corrupt(format!("{name} is damaged")).because(error);
        let value: serde_json::Value = serde_json::from_slice(plain).map_err(damaged)?;
        if let Some(format) = value.get("format").and_then(serde_json::Value::as_u64)
            && format > u64::from(RefLogEntry::FORMAT)
        {
            if RefLogEntry::is_ours_but_for_its_format(value) {
                return Err(Error::corrupt(format!("{name} was changed after it was written")));
            }
            let message = format!("{name} has format {format}: a newer Esker is needed");
            return Err(Error::new(Kind::Unsupported, message));
        }
        let entry: RefLogEntry = serde_json::from_value(value).map_err(damaged)?;
        let right =
            entry.digest.as_ref().map_or(Ok(true), |digest| Ok::<_, Error>(*digest == entry.computed_digest()?))?;
        if entry.to_bytes()? != plain || !right {
            return Err(Error::corrupt(format!("{name} was changed after it was written")));
        }
        match entry.object_name(tenant) == name {
            true => Ok(entry),
            false => Err(Error::corrupt(format!("{name} says that it is {}", entry.object_name(tenant)))),
        }
    }

    /// A changed digit of the format would look like a newer one.
    fn is_ours_but_for_its_format(mut value: serde_json::Value) -> bool {
        value["format"] = RefLogEntry::FORMAT.into();
        serde_json::from_value(value).is_ok_and(|entry: RefLogEntry| {
            entry.digest.is_some() && entry.computed_digest().is_ok_and(|digest| entry.digest == Some(digest))
        })
    }

    fn computed_digest(&self) -> Result<String> {
        let bare = RefLogEntry { digest: None, ..self.clone() };
        Ok(blake3::hash(&bare.to_bytes()?).to_hex()[..32].to_owned())
    }

    /// The entry as it is written, so that a flipped bit shows.
    pub fn with_digest(self) -> Result<RefLogEntry> {
        Ok(RefLogEntry { digest: Some(self.computed_digest()?), ..self })
    }

    /// Its plain bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::new(Kind::Internal, "a ref log entry could not be written").because(error))
    }
}

impl Repo {
    /// Writes a ref log object.
    pub(super) async fn put_ref_log(&self, entry: &RefLogEntry) -> Result<()> {
        let entry = entry.clone().with_digest()?;
        let name = entry.object_name(self.inner.tenant);
        let bytes = self.store().keys().seal_object(&name, &entry.to_bytes()?, random()?)?;
        self.store().bucket().create(&name, bytes).await?;
        Ok(())
    }

    #[cfg(test)]
    pub(crate) async fn put_ref_log_for_tests(&self, entry: &RefLogEntry) -> Result<()> {
        self.put_ref_log(entry).await
    }
}
