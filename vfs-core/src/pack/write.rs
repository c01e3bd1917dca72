//! Writing a pack of version 1: objects in, parts out, footer and trailer at the end.

use bytes::{Bytes, BytesMut};

use super::header::{HEADER_LENGTH, PackHeader};
use super::read::{END_MAGIC_1, TRAILER_1_LENGTH};
use super::{PackClass, PackEntry, Stored};
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectId, PackId, TenantId};
use crate::keys::{PackKey, TAG_LENGTH};
use crate::object::codec::Writer;

/// Most bytes that one object takes in the footer.
const FOOTER_ENTRY_MAX: usize = 1 + 32 + 1 + 3 * 5;

/// A finished pack: what the index needs to know of it.
#[derive(Debug, Clone)]
pub struct Pack {
    /// Its name.
    pub id: PackId,
    /// What it holds.
    pub class: PackClass,
    /// Its length in bytes.
    pub size: u64,
    /// The objects in the order of their offsets.
    pub entries: Vec<PackEntry>,
}

/// Makes one pack. Its bytes can be taken away while it grows.
#[derive(Debug)]
pub struct PackWriter {
    class: PackClass,
    id: PackId,
    key: Option<PackKey>,
    header: [u8; HEADER_LENGTH],
    /// Of everything so far.
    hasher: blake3::Hasher,
    /// What was not taken yet.
    bytes: BytesMut,
    length: u64,
    entries: Vec<PackEntry>,
}

impl PackWriter {
    /// An empty pack with a name that is not used for another one, ever; encrypted if it gets a key.
    pub fn new(tenant: TenantId, class: PackClass, id: PackId, key: Option<PackKey>) -> Self {
        debug_assert!(key.as_ref().is_none_or(|key| key.pack() == id), "a pack key is for one pack");
        let header = PackHeader::bytes(class, tenant, id, key.as_ref().map_or(0, PackKey::number));
        let mut hasher = blake3::Hasher::new();
        hasher.update(&header);
        let length = header.len() as u64;
        PackWriter { class, id, key, header, hasher, bytes: BytesMut::from(&header[..]), length, entries: Vec::new() }
    }

    /// Its name.
    pub fn id(&self) -> PackId {
        self.id
    }

    /// Appends an object, and encrypts it. Takes a while for large objects. The caller takes care that no object comes
    /// twice. After an error the pack is good for nothing.
    pub fn push(&mut self, id: ObjectId, stored: &Stored) -> Result<PackEntry> {
        debug_assert!(self.class.takes(id.kind), "objects go to the pack of their class");
        let (offset, start) = (self.length, self.bytes.len());
        self.bytes.extend_from_slice(&stored.bytes);
        if let Some(key) = &self.key {
            let tag = key.seal_object(&id, offset, &mut self.bytes[start..])?;
            self.bytes.extend_from_slice(&tag);
        }
        let added = &self.bytes[start..];
        self.hasher.update(added);
        self.length += added.len() as u64;
        let stored_length =
            u32::try_from(added.len()).map_err(|_| Error::new(Kind::TooLarge, "an object is too long for a pack"))?;
        let entry = PackEntry {
            id,
            compressed: stored.compressed,
            sealed: self.key.is_some(),
            offset,
            stored_length,
            plain_length: stored.plain_length,
        };
        self.entries.push(entry);
        Ok(entry)
    }

    /// Whether it holds nothing yet.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many objects it holds.
    pub fn objects(&self) -> usize {
        self.entries.len()
    }

    /// The most bytes that the pack would have if it were finished now.
    pub fn size(&self) -> u64 {
        let footer = 5 + self.entries.len() * FOOTER_ENTRY_MAX + TAG_LENGTH;
        self.length + (footer + TRAILER_1_LENGTH) as u64
    }

    /// How many bytes are there and were not taken.
    pub fn waiting(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the first `length` bytes that wait; the parts one after another are the pack.
    pub fn take(&mut self, length: usize) -> Bytes {
        let part = self.bytes.split_to(length).freeze();
        // As much again is likely to come; without this the buffer would grow to it by doubling, with a copy each time.
        self.bytes.reserve(length);
        part
    }

    /// Appends footer and trailer. Returns what the index needs, and the bytes that were not taken.
    pub fn finish(mut self) -> Result<(Pack, Bytes)> {
        let body = self.hasher.finalize();
        let mut footer = encode_footer(&self.entries);
        if let Some(key) = &self.key {
            let tag = key.seal_footer(&self.header, self.length, &mut footer)?;
            footer.extend_from_slice(&tag);
        }
        let footer_length =
            u32::try_from(footer.len()).map_err(|_| Error::new(Kind::TooLarge, "a pack has too many objects"))?;
        self.bytes.extend_from_slice(&footer);
        self.bytes.extend_from_slice(&footer_length.to_le_bytes());
        self.bytes.extend_from_slice(footer_hash(&self.header, &footer).as_bytes());
        self.bytes.extend_from_slice(body.as_bytes());
        self.bytes.extend_from_slice(END_MAGIC_1);
        let size = self.length + (footer.len() + TRAILER_1_LENGTH) as u64;
        Ok((Pack { id: self.id, class: self.class, size, entries: self.entries }, self.bytes.freeze()))
    }
}

/// What guards the index of a pack of version 1: the header counts, so that the tail alone can be trusted.
pub(super) fn footer_hash(header: &[u8], footer: &[u8]) -> blake3::Hash {
    blake3::Hasher::new().update(header).update(footer).finalize()
}

pub(super) fn encode_footer(entries: &[PackEntry]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.varint(entries.len() as u64);
    for entry in entries {
        writer.u8(entry.id.kind as u8);
        writer.fixed(&entry.id.hash);
        writer.u8(entry.flags());
        writer.varint(entry.offset);
        writer.varint(entry.stored_length.into());
        writer.varint(entry.plain_length.into());
    }
    writer.finish()
}
