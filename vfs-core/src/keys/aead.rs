//! AES-256-GCM: sealing and opening with a nonce that the caller never uses twice.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::Secret;
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectId, PackId, TenantId};

/// Bytes that sealing adds.
pub const TAG_LENGTH: usize = 16;
/// Length of a nonce in bytes.
pub(super) const NONCE_LENGTH: usize = 12;

/// Seals and opens with one secret.
pub(super) struct Sealer(LessSafeKey);

impl Sealer {
    pub(super) fn new(secret: &Secret) -> Sealer {
        let key = UnboundKey::new(&AES_256_GCM, secret.bytes()).expect("because AES-256 takes 32 bytes");
        Sealer(LessSafeKey::new(key))
    }

    /// Encrypts in place; returns the tag that goes behind.
    pub(super) fn seal(
        &self,
        nonce: [u8; NONCE_LENGTH],
        associated: &[u8],
        bytes: &mut [u8],
    ) -> Result<[u8; TAG_LENGTH]> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let failed = |_| Error::new(Kind::Internal, "bytes could not be encrypted");
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(associated), bytes).map_err(failed)?;
        Ok(tag.as_ref().try_into().expect("because the tag of GCM has 16 bytes"))
    }

    /// The plain bytes, or nothing if key, nonce, associated data or a single bit is not what was sealed.
    pub(super) fn open(&self, nonce: [u8; NONCE_LENGTH], associated: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (bytes, tag) = sealed.split_at(sealed.len().checked_sub(TAG_LENGTH)?);
        let mut plain = vec![0; bytes.len()];
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.open_separate_gather(nonce, Aad::from(associated), bytes, tag, &mut plain).ok()?;
        Some(plain)
    }
}

/// The key of one pack. Its nonces are offsets, so nothing else may be sealed with it.
pub struct PackKey {
    number: u32,
    tenant: TenantId,
    pack: PackId,
    sealer: Sealer,
}

impl PackKey {
    pub(super) fn new(number: u32, data_key: &Secret, tenant: TenantId, pack: PackId) -> PackKey {
        let sealer = Sealer::new(&data_key.derive("esker v1 pack key", pack.as_bytes()));
        PackKey { number, tenant, pack, sealer }
    }

    /// Number of the data key that it was made of.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The pack that it is for.
    pub fn pack(&self) -> PackId {
        self.pack
    }

    /// Encrypts an object's stored bytes in place for its place in the pack; returns the tag that goes behind them.
    /// The caller never seals two things for one offset.
    pub(crate) fn seal_object(&self, id: &ObjectId, offset: u64, bytes: &mut [u8]) -> Result<[u8; TAG_LENGTH]> {
        self.sealer.seal(nonce(offset, OBJECT), &self.associated(id), bytes)
    }

    /// An object's stored bytes without encryption, or nothing if they are not what was sealed for this place.
    pub(crate) fn open_object(&self, id: &ObjectId, offset: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        self.sealer.open(nonce(offset, OBJECT), &self.associated(id), sealed)
    }

    pub(crate) fn seal_footer(&self, header: &[u8], offset: u64, footer: &mut [u8]) -> Result<[u8; TAG_LENGTH]> {
        self.sealer.seal(nonce(offset, FOOTER), header, footer)
    }

    pub(crate) fn open_footer(&self, header: &[u8], offset: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        self.sealer.open(nonce(offset, FOOTER), header, sealed)
    }

    fn associated(&self, id: &ObjectId) -> Vec<u8> {
        [&self.tenant.as_bytes()[..], &[id.kind as u8], &id.hash, self.pack.as_bytes()].concat()
    }
}

impl std::fmt::Debug for PackKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackKey({:?}, data key {})", self.pack, self.number)
    }
}

const OBJECT: [u8; 4] = [0; 4];
const FOOTER: [u8; 4] = [0xff; 4];

fn nonce(offset: u64, what: [u8; 4]) -> [u8; NONCE_LENGTH] {
    let mut nonce = [0; NONCE_LENGTH];
    nonce[..8].copy_from_slice(&offset.to_le_bytes());
    nonce[8..].copy_from_slice(&what);
    nonce
}
