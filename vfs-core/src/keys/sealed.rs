//! Small objects of their own in an encrypted repo (the ref log): sealed whole, bound to their name.
//!
//! `"ESKSEAL" 01 ‖ data key number (4, little-endian) ‖ salt (32) ‖ AES-256-GCM bytes and tag`. Each has a key of its own,
//! derived with its random salt, so the nonce is zero.

use bytes::Bytes;

use super::aead::{NONCE_LENGTH, Sealer, TAG_LENGTH};
use super::{Secret, TenantKeys};
use crate::error::{Error, Kind, Result};

const MAGIC: &[u8; 8] = b"ESKSEAL\x01";
const SALT_LENGTH: usize = 32;
const HEADER_LENGTH: usize = 8 + 4 + SALT_LENGTH;
const NONCE: [u8; NONCE_LENGTH] = [0; NONCE_LENGTH];

impl TenantKeys {
    /// An object's bytes as they go to the bucket under `name`: sealed where the repo is encrypted, else as they are.
    /// `salt` is random.
    pub fn seal_object(&self, name: &str, plain: &[u8], salt: [u8; SALT_LENGTH]) -> Result<Bytes> {
        let Some(key) = self.newest() else { return Ok(Bytes::copy_from_slice(plain)) };
        let mut bytes = Vec::with_capacity(HEADER_LENGTH + plain.len() + TAG_LENGTH);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&key.number.to_le_bytes());
        bytes.extend_from_slice(&salt);
        bytes.extend_from_slice(plain);
        let tag = sealer(&key.secret, &salt).seal(NONCE, name.as_bytes(), &mut bytes[HEADER_LENGTH..])?;
        bytes.extend_from_slice(&tag);
        Ok(bytes.into())
    }

    /// The plain bytes of what the bucket holds under `name`. In an encrypted repo, what is not sealed is refused:
    /// whoever can write to the bucket could have put it there.
    pub fn open_object(&self, name: &str, bytes: &Bytes) -> Result<Bytes> {
        let is_sealed = bytes.starts_with(&MAGIC[..7]);
        if !is_sealed && !self.is_encrypted() {
            return Ok(bytes.clone());
        }
        if !is_sealed {
            return Err(Error::corrupt(format!("{name} is not encrypted, but this repo is")));
        }
        if bytes.len() < HEADER_LENGTH + TAG_LENGTH {
            return Err(Error::corrupt(format!("{name} was cut off")));
        }
        if bytes[7] != MAGIC[7] {
            let mut ours = bytes.to_vec();
            ours[7] = MAGIC[7];
            if self.open_object(name, &ours.into()).is_ok() {
                return Err(Error::corrupt(format!("{name} was changed")));
            }
            let message = format!("{name} is sealed in a way that this Esker does not know: a newer one wrote it");
            return Err(Error::new(Kind::Unsupported, message));
        }
        let number = u32::from_le_bytes(bytes[8..12].try_into().expect("because these are 4 bytes"));
        let key = self.data_key(number, name)?;
        let plain =
            sealer(&key.secret, &bytes[12..HEADER_LENGTH]).open(NONCE, name.as_bytes(), &bytes[HEADER_LENGTH..]);
        plain.map(Bytes::from).ok_or_else(|| Error::corrupt(format!("{name} was changed, or is another object's")))
    }
}

fn sealer(data_key: &Secret, salt: &[u8]) -> Sealer {
    Sealer::new(&data_key.derive("esker v1 seal", salt))
}
