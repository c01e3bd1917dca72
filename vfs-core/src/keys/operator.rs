//! The operator key: 32 bytes that the operator keeps, in a file or an environment variable. It wraps the tenant's keys.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::aead::{NONCE_LENGTH, Sealer, TAG_LENGTH};
use super::{KEY_LENGTH, Secret};
use crate::error::{Error, Kind, Result};
use crate::id::{RepoId, TenantId};

/// Length of a check value in bytes.
pub(crate) const CHECK_LENGTH: usize = 8;
/// More than a key with a line end and some spaces.
const FILE_MAX: u64 = 256;

/// The operator's key.
#[derive(Clone, Debug)]
pub struct OperatorKey(Secret);

/// A key as the config object holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wrapped {
    /// Random, new for each wrapping.
    pub(crate) nonce: [u8; NONCE_LENGTH],
    /// The key, encrypted, and the tag.
    pub(crate) sealed: [u8; KEY_LENGTH + TAG_LENGTH],
}

/// What a wrapped key is for; a key that stands in another one's place is not opened.
pub(crate) struct WrapPlace {
    pub(crate) repo: RepoId,
    pub(crate) tenant: TenantId,
    pub(crate) purpose: &'static str,
    pub(crate) number: u32,
}

impl OperatorKey {
    /// The key with these bytes.
    pub fn from_bytes(bytes: [u8; KEY_LENGTH]) -> OperatorKey {
        OperatorKey(Secret::new(bytes))
    }

    /// The key that 64 hexadecimal digits say. Errors do not repeat the text.
    pub fn parse(text: &str) -> Result<OperatorKey> {
        let digits = text.trim();
        let mut bytes = [0; KEY_LENGTH];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| {
            let message = format!(
                "a key is 64 hexadecimal digits, these are {} characters: `esker key new FILE` makes one",
                digits.chars().count()
            );
            Error::new(Kind::Invalid, message)
        })?;
        Ok(OperatorKey::from_bytes(bytes))
    }

    /// The key in a file that nobody but its owner can read.
    pub fn from_file(path: &Path) -> Result<OperatorKey> {
        let failed = |error| Error::io(format!("the key file {} could not be read", path.display()), error);
        let file = File::open(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        if !found.is_file() {
            return Err(Error::new(Kind::Invalid, format!("the key file {} is not a file", path.display())));
        }
        // As ssh does: a key that others can read is none.
        if found.mode() & 0o077 != 0 {
            let message = format!(
                "others can read the key file {} (mode {:04o}): chmod 600 it, or take a new key if somebody may have",
                path.display(),
                found.mode() & 0o7777
            );
            return Err(Error::new(Kind::Denied, message));
        }
        let mut text = String::new();
        file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > FILE_MAX {
            return Err(Error::new(Kind::Invalid, format!("the key file {} is too long for a key", path.display())));
        }
        OperatorKey::parse(&text)
            .map_err(|error| Error::new(error.kind(), format!("the key file {}: {}", path.display(), error.context())))
    }

    /// Writes this key into a new file that only its owner can read; durable when it returns.
    pub fn write_new_file(&self, path: &Path) -> Result<()> {
        let failed = |error| Error::io(format!("the key file {} could not be written", path.display()), error);
        let opened = File::options().write(true).create_new(true).mode(0o600).open(path);
        let mut file = opened.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                let message = format!("{} exists already, and a key is never overwritten", path.display());
                Error::new(Kind::AlreadyExists, message)
            }
            _ => failed(error),
        })?;
        file.write_all(format!("{}\n", hex::encode(self.0.bytes())).as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// Tells this key from others; says nothing about it.
    pub(crate) fn check(&self) -> [u8; CHECK_LENGTH] {
        let derived = self.0.derive("esker v1 key check", &[]);
        derived.bytes()[..CHECK_LENGTH].try_into().expect("because a key is longer than its check value")
    }

    /// Wraps a tenant's key. `nonce` is random.
    pub(crate) fn wrap(&self, place: &WrapPlace, key: &Secret, nonce: [u8; NONCE_LENGTH]) -> Result<Wrapped> {
        let mut sealed = [0; KEY_LENGTH + TAG_LENGTH];
        let (bytes, tag) = sealed.split_at_mut(KEY_LENGTH);
        bytes.copy_from_slice(key.bytes());
        tag.copy_from_slice(&self.sealer().seal(nonce, &place.associated(), bytes)?);
        Ok(Wrapped { nonce, sealed })
    }

    /// The tenant's key, or nothing if it was not wrapped with this key for this place.
    pub(crate) fn unwrap(&self, place: &WrapPlace, wrapped: &Wrapped) -> Option<Secret> {
        let plain = self.sealer().open(wrapped.nonce, &place.associated(), &wrapped.sealed)?;
        Some(Secret::new(plain.try_into().ok()?))
    }

    fn sealer(&self) -> Sealer {
        Sealer::new(&self.0.derive("esker v1 key wrap", &[]))
    }
}

impl WrapPlace {
    fn associated(&self) -> Vec<u8> {
        let number = self.number.to_le_bytes();
        [&self.repo.as_bytes()[..], self.tenant.as_bytes(), self.purpose.as_bytes(), &number].concat()
    }
}
