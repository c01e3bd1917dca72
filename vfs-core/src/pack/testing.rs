//! Packs around footers that nobody wrote, for [`crate::testing::decoders`].

use super::header::PackHeader;
use super::read::END_MAGIC_1;
use super::write::{encode_footer, footer_hash};
use super::{PackClass, PackEntry};
use crate::error::Result;
use crate::id::PackId;
use crate::keys::{PackKey, TenantKeys};

/// A pack of version 0 whose trailer fits its footer, whatever that is.
pub(crate) fn pack_0(keys: &TenantKeys, class: PackClass, objects: &[u8], footer: &[u8]) -> Vec<u8> {
    let length = (footer.len() as u32).to_le_bytes();
    let hash = blake3::hash(footer);
    let header = [&b"ESKPACK\0"[..], &[class.tag()], keys.tenant().as_bytes()].concat();
    [&header, objects, footer, &length, hash.as_bytes(), b"ESKPEND0"].concat()
}

/// The same of version 1; the footer is sealed if the keys encrypt, so that what is behind the seal is reached.
pub(crate) fn pack_1(
    keys: &TenantKeys,
    class: PackClass,
    id: PackId,
    objects: &[u8],
    footer: &[u8],
) -> Result<Vec<u8>> {
    let key = keys.for_new_pack(id);
    let header = PackHeader::bytes(class, keys.tenant(), id, key.as_ref().map_or(0, PackKey::number));
    let body = [&header[..], objects].concat();
    let mut footer = footer.to_vec();
    if let Some(key) = key {
        let tag = key.seal_footer(&header, body.len() as u64, &mut footer)?;
        footer.extend_from_slice(&tag);
    }
    let length = (footer.len() as u32).to_le_bytes();
    let (index, whole) = (footer_hash(&header, &footer), blake3::hash(&body));
    Ok([&body, &footer, &length[..], index.as_bytes(), whole.as_bytes(), END_MAGIC_1].concat())
}

/// The footer of these entries.
pub(crate) fn footer(entries: &[PackEntry]) -> Vec<u8> {
    encode_footer(entries)
}
