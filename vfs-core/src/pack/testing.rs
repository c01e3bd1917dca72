//! Packs around footers that nobody wrote, for [`crate::testing::decoders`].

use super::write::encode_footer;
use super::{PackClass, PackEntry};

/// A pack of contents of version 0 whose trailer fits its footer, whatever that is.
pub(crate) fn whole_pack(objects: &[u8], footer: &[u8]) -> Vec<u8> {
    let length = (footer.len() as u32).to_le_bytes();
    let hash = blake3::hash(footer);
    let header = [&b"ESKPACK\0"[..], &[PackClass::Contents.tag()], &[1; 16]].concat();
    [&header, objects, footer, &length, hash.as_bytes(), b"ESKPEND0"].concat()
}

/// The footer of these entries.
pub(crate) fn footer(entries: &[PackEntry]) -> Vec<u8> {
    encode_footer(entries)
}
