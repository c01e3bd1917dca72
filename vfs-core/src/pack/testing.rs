//! Packs around footers that nobody wrote, for [`crate::testing::decoders`].

use super::{END_MAGIC, MAGIC, PackClass, PackEntry, encode_footer};

/// A pack of contents whose trailer fits its footer, whatever that is.
pub(crate) fn whole_pack(objects: &[u8], footer: &[u8]) -> Vec<u8> {
    let length = (footer.len() as u32).to_le_bytes();
    let hash = blake3::hash(footer);
    [MAGIC, &[PackClass::Contents.tag()][..], &[1; 16], objects, footer, &length, hash.as_bytes(), END_MAGIC].concat()
}

/// The footer of these entries.
pub(crate) fn footer(entries: &[PackEntry]) -> Vec<u8> {
    encode_footer(entries)
}
