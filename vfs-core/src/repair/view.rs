//! Objects as they can be read once the planned index is written. Says of each whether it is there; damage is no error.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::index::Plan;
use crate::check::is_damage;
use crate::db::Location;
use crate::error::{Kind, Result};
use crate::id::ObjectId;
use crate::limits::LOOKUP_MAX;
use crate::store::Store;

/// What can be read.
pub(crate) struct View<'a> {
    store: &'a Store,
    places: HashMap<ObjectId, Location>,
    lost: HashSet<ObjectId>,
}

impl<'a> View<'a> {
    /// As the index is.
    pub(crate) fn present(store: &'a Store) -> View<'a> {
        View { store, places: HashMap::new(), lost: HashSet::new() }
    }

    /// As a plan would have it.
    pub(super) fn planned(store: &'a Store, plan: &Plan) -> View<'a> {
        View { store, places: plan.locations(), lost: plan.lost.clone() }
    }

    /// Where these objects are, of those that are anywhere.
    pub(crate) async fn locate(&self, ids: &[ObjectId]) -> Result<HashMap<ObjectId, Location>> {
        let mut found = HashMap::with_capacity(ids.len());
        let mut asked = Vec::new();
        for id in ids {
            match self.places.get(id) {
                Some(location) => drop(found.insert(*id, *location)),
                None if self.lost.contains(id) => {}
                None => asked.push(*id),
            }
        }
        for part in asked.chunks(LOOKUP_MAX) {
            match self.store.locate(part).await {
                Ok(located) => found.extend(located),
                // A row that makes no sense: the others do.
                Err(error) if error.kind() == Kind::Corrupt || error.kind() == Kind::Unsupported => {
                    for id in part {
                        if let Ok(located) = self.store.locate(&[*id]).await {
                            found.extend(located);
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The canonical bytes of these objects; `None` for those that cannot be had.
    pub(crate) async fn read(&self, ids: &[ObjectId]) -> Result<Vec<Option<Bytes>>> {
        let located = self.locate(ids).await?;
        let locations: Vec<Location> = located.into_values().collect();
        let mut read = HashMap::with_capacity(locations.len());
        for (location, bytes) in locations.iter().zip(self.store.fetch(&locations).await) {
            match bytes {
                Ok(bytes) => drop(read.insert(location.entry.id, bytes)),
                Err(error) if is_damage(error.kind()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ids.iter().map(|id| read.get(id).cloned()).collect())
    }

    /// One of them.
    pub(crate) async fn read_one(&self, id: ObjectId) -> Result<Option<Bytes>> {
        Ok(self.read(&[id]).await?.pop().flatten())
    }
}
