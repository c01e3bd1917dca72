//! A tenant's keys, unwrapped: the id key that names objects, and the data keys that seal them.

use std::fmt;
use std::sync::Arc;

use super::aead::PackKey;
use super::{KEY_LENGTH, Secret};
use crate::error::{Error, Kind, Result};
use crate::id::{IdKey, PackId, TenantId};

/// One data key. Packs and sealed objects say its number.
#[derive(Debug, Clone)]
pub struct DataKey {
    pub(super) number: u32,
    pub(super) secret: Secret,
}

/// Everything that naming, sealing and opening a tenant's objects takes. Clones share it.
#[derive(Clone)]
pub struct TenantKeys(Arc<Inner>);

struct Inner {
    tenant: TenantId,
    id: IdKey,
    /// Numbers go up; none where nothing is encrypted.
    data: Vec<DataKey>,
}

impl DataKey {
    /// A data key; numbers start at 1.
    pub fn new(number: u32, bytes: [u8; KEY_LENGTH]) -> DataKey {
        DataKey { number, secret: Secret::new(bytes) }
    }

    pub(crate) fn from_secret(number: u32, secret: Secret) -> DataKey {
        DataKey { number, secret }
    }
}

impl TenantKeys {
    /// Keys of a tenant whose objects are not encrypted.
    pub fn plain(tenant: TenantId, id: IdKey) -> TenantKeys {
        TenantKeys::new(tenant, id, Vec::new())
    }

    /// Keys of a tenant; `data` by number, the newest last, none if nothing is encrypted.
    pub fn new(tenant: TenantId, id: IdKey, data: Vec<DataKey>) -> TenantKeys {
        TenantKeys(Arc::new(Inner { tenant, id, data }))
    }

    /// Whose they are.
    pub fn tenant(&self) -> TenantId {
        self.0.tenant
    }

    /// What names objects.
    pub fn id(&self) -> &IdKey {
        &self.0.id
    }

    /// Whether objects are encrypted.
    pub fn is_encrypted(&self) -> bool {
        !self.0.data.is_empty()
    }

    /// The key of a pack that is about to be written; none where nothing is encrypted.
    pub fn for_new_pack(&self, pack: PackId) -> Option<PackKey> {
        self.newest().map(|key| self.pack_key(key, pack))
    }

    /// The key of a pack whose header names this data key; 0 is none. A pack that is not encrypted in an encrypted repo
    /// was put there by somebody else.
    pub(crate) fn of_pack(&self, number: u32, pack: PackId) -> Result<Option<PackKey>> {
        if number == 0 && self.is_encrypted() {
            return Err(Error::corrupt(format!("the pack {pack} is not encrypted, but this repo is")));
        }
        if number == 0 {
            return Ok(None);
        }
        self.data_key(number, &format!("the pack {pack}")).map(|key| Some(self.pack_key(key, pack)))
    }

    /// The keys that an object of this pack may have been sealed with, the likeliest first: the index does not say which.
    pub(crate) fn possible_for(&self, pack: PackId) -> impl Iterator<Item = PackKey> {
        self.0.data.iter().rev().map(move |key| self.pack_key(key, pack))
    }

    pub(super) fn newest(&self) -> Option<&DataKey> {
        self.0.data.last()
    }

    pub(super) fn data_key(&self, number: u32, what: &str) -> Result<&DataKey> {
        self.0.data.iter().find(|key| key.number == number).ok_or_else(|| {
            let message = match self.is_encrypted() {
                true => format!("{what} is encrypted with the data key {number}, which config.json does not have"),
                false => format!("{what} is encrypted, but this repo is not: is it another repo's?"),
            };
            Error::new(Kind::Denied, message)
        })
    }

    fn pack_key(&self, key: &DataKey, pack: PackId) -> PackKey {
        PackKey::new(key.number, &key.secret, self.0.tenant, pack)
    }
}

impl fmt::Debug for TenantKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantKeys({:?}, {} data keys)", self.0.tenant, self.0.data.len())
    }
}
