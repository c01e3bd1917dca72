//! Attaching a snapshot again and again from a cold store: the second time it gets a bundle, the third time that is read.
//!
//! Which snapshots were attached is a row of `meta`, so that it outlives the engine and all engines share it. Nothing
//! here can make an attach fail.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;

use super::Repo;
use crate::db::meta;
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectId, ObjectKind, SnapshotId};
use crate::limits::{BUNDLE_WAIT, BUNDLES_REMEMBERED, TREES_PER_READ};
use crate::objects::Objects;
use crate::reach::links;
use crate::store::bundles;

/// Setting of the database: what was attached from a cold store, the newest last.
const ATTACHED: &str = "attached";

/// A snapshot that was attached from a cold store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Cold {
    snapshot: SnapshotId,
    bundled: bool,
}

/// What is known of a snapshot that is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    First,
    Again,
    Bundled,
}

impl Repo {
    /// Brings the first objects of a snapshot into memory if one request can do that.
    pub(super) async fn warm_up(&self, snapshot: SnapshotId) {
        if self.store().bucket().is_local() {
            return;
        }
        let wait = BUNDLE_WAIT;
        // The machine's time must not decide what an actor does.
        #[cfg(feature = "testing")]
        let wait = if crate::testing::has_actor() { std::time::Duration::MAX } else { wait };
        match tokio::time::timeout(wait, self.try_to_warm_up(snapshot)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%snapshot, %error, "attached without a bundle"),
            Err(_) => tracing::debug!(%snapshot, "attached without a bundle: it takes too long"),
        }
    }

    async fn try_to_warm_up(&self, snapshot: SnapshotId) -> Result<()> {
        if !self.store().is_cold(snapshot.into()).await? {
            return Ok(());
        }
        match self.note_attach(snapshot).await? {
            Known::First => Ok(()),
            Known::Again => {
                let repo = self.clone();
                let write = Box::pin(async move {
                    if let Err(error) = repo.bundle(snapshot).await {
                        tracing::debug!(%snapshot, %error, "no attach bundle could be written");
                    }
                });
                #[cfg(feature = "testing")]
                let Some(write) = crate::testing::detach(write) else { return Ok(()) };
                tokio::spawn(write);
                Ok(())
            }
            Known::Bundled => match bundles::read(self.store(), snapshot).await {
                Ok(_) => Ok(()),
                Err(error) => {
                    // It is made anew when the snapshot is attached once more.
                    bundles::remove(self.store(), snapshot).await?;
                    self.set_bundled(snapshot, false).await?;
                    Err(error)
                }
            },
        }
    }

    async fn note_attach(&self, snapshot: SnapshotId) -> Result<Known> {
        let mut known = Known::First;
        self.change_attached(|attached| {
            let before = attached.iter().position(|cold| cold.snapshot == snapshot);
            let before = before.and_then(|index| attached.remove(index));
            known = match before {
                None => Known::First,
                Some(Cold { bundled: false, .. }) => Known::Again,
                Some(Cold { bundled: true, .. }) => Known::Bundled,
            };
            attached.push_back(before.unwrap_or(Cold { snapshot, bundled: false }));
            while attached.len() > BUNDLES_REMEMBERED {
                attached.pop_front();
            }
        })
        .await?;
        Ok(known)
    }

    async fn set_bundled(&self, snapshot: SnapshotId, bundled: bool) -> Result<()> {
        let change = |attached: &mut VecDeque<Cold>| {
            attached.iter_mut().filter(|cold| cold.snapshot == snapshot).for_each(|cold| cold.bundled = bundled);
        };
        self.change_attached(change).await
    }

    async fn change_attached(&self, change: impl FnOnce(&mut VecDeque<Cold>)) -> Result<()> {
        let mut transaction = self.database().begin().await?;
        let text = meta::get(&mut transaction, ATTACHED).await?;
        // What cannot be read, an older or newer Esker may have written: it only saves requests.
        let mut attached = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        change(&mut attached);
        let text = serde_json::to_string(&attached).map_err(|error| {
            Error::new(Kind::Internal, "the attached snapshots could not be written").because(error)
        })?;
        meta::set(&mut transaction, ATTACHED, &text).await?;
        self.database().commit(transaction).await
    }

    /// Writes the bundle of a snapshot: the snapshot, its root and link table, then directories, the upper ones first.
    async fn bundle(&self, id: SnapshotId) -> Result<()> {
        let mut bundle = bundles::start(self.store())?;
        let (mut waiting, mut seen) = (VecDeque::from([ObjectId::from(id)]), HashSet::new());
        while !waiting.is_empty() {
            let part: Vec<ObjectId> = waiting.drain(..waiting.len().min(TREES_PER_READ)).collect();
            let objects: Vec<(ObjectId, Bytes)> =
                part.iter().copied().zip(self.store().read_many(&part).await?).collect();
            for (id, bytes) in &objects {
                let below = links(*id, bytes)?.into_iter().map(|(id, _)| id);
                waiting.extend(below.filter(|id| id.kind == ObjectKind::Tree && seen.insert(*id)));
            }
            if !bundle.add(objects).await? {
                break;
            }
        }
        bundles::write(self.store(), id, bundle).await?;
        self.set_bundled(id, true).await
    }
}
