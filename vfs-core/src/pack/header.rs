//! The first bytes of a pack: its version, class, tenant, and since version 1 its id and data key.

use super::PackClass;
use crate::error::{Error, Kind, Result};
use crate::id::{PackId, TenantId};
use crate::object::codec::Reader;

const MAGIC: &[u8; 7] = b"ESKPACK";
/// Length of the header of version 0 in bytes.
const HEADER_0_LENGTH: usize = 7 + 1 + 1 + TenantId::LENGTH;
/// Length of the header of version 1 in bytes; that of version 0 is shorter.
pub const HEADER_LENGTH: usize = HEADER_0_LENGTH + PackId::LENGTH + 4;

/// What the header of a pack says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackHeader {
    /// Version of the pack's format.
    pub version: u8,
    /// What it holds.
    pub class: PackClass,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its name, as it says itself; version 0 does not.
    pub id: Option<PackId>,
    /// Number of the data key that its key is made of; 0 if it is not encrypted.
    pub data_key: u32,
}

impl PackHeader {
    /// Reads the header at the start of `bytes`, which may be longer. Refuses a pack of a newer format as such.
    pub fn read(bytes: &[u8]) -> Result<PackHeader> {
        let mut reader = Reader::new(bytes, "pack header");
        if reader.fixed(7)? != MAGIC {
            return Err(reader.corrupt("does not start with the magic of a pack"));
        }
        let version = reader.u8()?;
        if version > 1 {
            let message = format!("a pack has format version {version}: a newer Esker wrote it, use that one");
            return Err(Error::new(Kind::Unsupported, message));
        }
        let class = PackClass::from_tag(reader.u8()?)?;
        let tenant = TenantId::from_bytes(reader.array()?);
        if version == 0 {
            if class == PackClass::Bundle {
                return Err(reader.corrupt("of version 0 has a class of version 1"));
            }
            return Ok(PackHeader { version, class, tenant, id: None, data_key: 0 });
        }
        let id = PackId::from_bytes(reader.array()?);
        Ok(PackHeader { version, class, tenant, id: Some(id), data_key: u32::from_le_bytes(reader.array()?) })
    }

    /// Its length in bytes.
    pub fn length(&self) -> usize {
        if self.version == 0 { HEADER_0_LENGTH } else { HEADER_LENGTH }
    }

    /// The bytes of a header of version 1.
    pub(super) fn bytes(class: PackClass, tenant: TenantId, id: PackId, data_key: u32) -> [u8; HEADER_LENGTH] {
        let number = data_key.to_le_bytes();
        let parts: [&[u8]; 5] = [MAGIC, &[1, class.tag()], tenant.as_bytes(), id.as_bytes(), &number];
        parts.concat().try_into().expect("because these are the parts of a header")
    }
}
