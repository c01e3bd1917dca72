//! A pack: one bucket object that holds many objects of one tenant and one class, with its index at its end.
//!
//! Layout (decision 0004): header, the stored bytes of the objects one after another, footer, trailer.
//!
//! ```text
//! header   "ESKPACK" 00 class ('C' | 'T') tenant (16)                                 25 bytes
//! objects  stored bytes, without gaps
//! footer   count, then per object: kind, hash (32), flags, offset, stored length, plain length (LEB128)
//! trailer  footer length (u32 little-endian), BLAKE3 of the footer (32), "ESKPEND0"    44 bytes
//! ```
//!
//! A pack is named by the BLAKE3 of all its bytes and never changes. The reader believes nothing: every length is
//! checked against the input before it is used, and no allocation is larger than the input pays for.

mod stored;
#[cfg(feature = "testing")]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use bytes::Bytes;

pub use stored::{Stored, unpack};

use crate::error::{Error, Kind, Result};
use crate::id::{ObjectId, ObjectKind, PackId, TenantId};
use crate::limits::{OBJECT_MAX, PACK_MAX};
use crate::object::codec::{Reader, Writer};

const MAGIC: &[u8; 8] = b"ESKPACK\0";
const END_MAGIC: &[u8; 8] = b"ESKPEND0";
/// Length of the header in bytes.
pub const HEADER_LENGTH: usize = 8 + 1 + TenantId::LENGTH;
/// Length of the trailer in bytes.
pub const TRAILER_LENGTH: usize = 4 + 32 + 8;
/// Fewest bytes that one object takes in the footer.
const FOOTER_ENTRY_MIN: usize = 1 + 32 + 1 + 3;
/// Most bytes that one object takes in the footer.
const FOOTER_ENTRY_MAX: usize = 1 + 32 + 1 + 3 * 5;

/// Which objects a pack holds; they never share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackClass {
    /// Chunks and blobs.
    Contents,
    /// Tree nodes and snapshots.
    Trees,
}

impl PackClass {
    /// The class that objects of this kind go to.
    pub fn of(kind: ObjectKind) -> Self {
        match kind {
            ObjectKind::Chunk | ObjectKind::Blob => PackClass::Contents,
            ObjectKind::Tree | ObjectKind::Snapshot => PackClass::Trees,
        }
    }

    /// Its tag in headers and in the database.
    pub fn tag(self) -> u8 {
        match self {
            PackClass::Contents => b'C',
            PackClass::Trees => b'T',
        }
    }

    /// The class with this tag.
    pub fn from_tag(tag: u8) -> Result<Self> {
        match tag {
            b'C' => Ok(PackClass::Contents),
            b'T' => Ok(PackClass::Trees),
            _ => Err(Error::corrupt(format!("a pack has the unknown class {tag}"))),
        }
    }
}

/// Where an object lies in its pack, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackEntry {
    /// The object.
    pub id: ObjectId,
    /// Its stored bytes are compressed with zstd.
    pub compressed: bool,
    /// Where its stored bytes start in the pack.
    pub offset: u64,
    /// Length of its stored bytes.
    pub stored_length: u32,
    /// Length of its canonical bytes.
    pub plain_length: u32,
}

const FLAG_ZSTD: u8 = 1;
const FLAG_AEAD: u8 = 2;

impl PackEntry {
    /// The flags byte in footers and in the index.
    pub fn flags(&self) -> u8 {
        if self.compressed { FLAG_ZSTD } else { 0 }
    }

    /// Whether the flags say "compressed"; refuses flags of newer formats.
    pub fn read_flags(flags: u8) -> Result<bool> {
        if flags & FLAG_AEAD != 0 {
            let message = "this object is encrypted: a newer Esker wrote it, use that one to read it";
            return Err(Error::new(Kind::Unsupported, message));
        }
        if flags & !FLAG_ZSTD != 0 {
            return Err(Error::corrupt(format!("an object has the unknown flags {flags:#04x}")));
        }
        Ok(flags & FLAG_ZSTD != 0)
    }
}

/// A finished pack.
#[derive(Debug, Clone)]
pub struct Pack {
    /// Names its bytes.
    pub id: PackId,
    /// What it holds.
    pub class: PackClass,
    /// All of it.
    pub bytes: Bytes,
    /// The objects in the order of their offsets.
    pub entries: Vec<PackEntry>,
}

/// Collects objects for one pack in memory.
#[derive(Debug)]
pub struct PackWriter {
    class: PackClass,
    bytes: Vec<u8>,
    entries: Vec<PackEntry>,
}

impl PackWriter {
    /// An empty pack.
    pub fn new(tenant: TenantId, class: PackClass) -> Self {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(MAGIC);
        bytes.push(class.tag());
        bytes.extend_from_slice(tenant.as_bytes());
        PackWriter { class, bytes, entries: Vec::new() }
    }

    /// Appends an object. The caller takes care that no object comes twice.
    pub fn push(&mut self, id: ObjectId, stored: &Stored) -> PackEntry {
        debug_assert_eq!(PackClass::of(id.kind), self.class, "objects go to the pack of their class");
        let entry = PackEntry {
            id,
            compressed: stored.compressed,
            offset: self.bytes.len() as u64,
            stored_length: stored.bytes.len() as u32,
            plain_length: stored.plain_length,
        };
        self.bytes.extend_from_slice(&stored.bytes);
        self.entries.push(entry);
        entry
    }

    /// The stored bytes of an object that was appended.
    pub fn stored_bytes(&self, entry: &PackEntry) -> &[u8] {
        &self.bytes[entry.offset as usize..][..entry.stored_length as usize]
    }

    /// Whether it holds nothing yet.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The most bytes that the pack would have if it were finished now.
    pub fn size(&self) -> usize {
        self.bytes.len() + 5 + self.entries.len() * FOOTER_ENTRY_MAX + TRAILER_LENGTH
    }

    /// Appends footer and trailer and names the whole.
    pub fn finish(self) -> Pack {
        let PackWriter { class, mut bytes, entries } = self;
        let footer = encode_footer(&entries);
        bytes.extend_from_slice(&footer);
        bytes.extend_from_slice(&(footer.len() as u32).to_le_bytes());
        bytes.extend_from_slice(blake3::hash(&footer).as_bytes());
        bytes.extend_from_slice(END_MAGIC);
        let id = PackId::from_bytes(*blake3::hash(&bytes).as_bytes());
        Pack { id, class, bytes: bytes.into(), entries }
    }
}

fn encode_footer(entries: &[PackEntry]) -> Vec<u8> {
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

/// What a pack says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackIndex {
    /// What it holds.
    pub class: PackClass,
    /// Whose it is.
    pub tenant: TenantId,
    /// The objects in the order of their offsets.
    pub entries: Vec<PackEntry>,
}

/// Reads header, footer and trailer of a whole pack. Does not look into the objects.
pub fn read_index(pack: &[u8]) -> Result<PackIndex> {
    let smallest = HEADER_LENGTH + 1 + TRAILER_LENGTH;
    if pack.len() < smallest || pack.len() as u64 > PACK_MAX {
        return Err(Error::corrupt(format!("a pack has {} bytes: {smallest} to {PACK_MAX} are possible", pack.len())));
    }
    let (class, tenant) = read_header(&pack[..HEADER_LENGTH])?;
    let (body, trailer) = pack.split_at(pack.len() - TRAILER_LENGTH);
    let (footer_length, footer_hash) = read_trailer(trailer)?;
    let Some(footer_start) = body.len().checked_sub(footer_length).filter(|start| *start >= HEADER_LENGTH) else {
        return Err(Error::corrupt("a pack's footer is longer than the pack"));
    };
    let footer = &body[footer_start..];
    if *blake3::hash(footer).as_bytes() != footer_hash {
        return Err(Error::corrupt("a pack's footer does not match its hash"));
    }
    Ok(PackIndex { class, tenant, entries: read_footer(footer, class, footer_start as u64)? })
}

fn read_header(header: &[u8]) -> Result<(PackClass, TenantId)> {
    let mut reader = Reader::new(header, "pack header");
    if reader.fixed(7)? != &MAGIC[..7] {
        return Err(reader.corrupt("does not start with the magic of a pack"));
    }
    match reader.u8()? {
        0 => {}
        version => {
            let message = format!("a pack has format version {version}: a newer Esker wrote it, use that one");
            return Err(Error::new(Kind::Unsupported, message));
        }
    }
    let class = PackClass::from_tag(reader.u8()?)?;
    let tenant = TenantId::from_bytes(reader.array()?);
    reader.finish()?;
    Ok((class, tenant))
}

fn read_trailer(trailer: &[u8]) -> Result<(usize, [u8; 32])> {
    let mut reader = Reader::new(trailer, "pack trailer");
    let length = u32::from_le_bytes(reader.array()?);
    let hash = reader.array()?;
    if reader.fixed(8)? != END_MAGIC {
        return Err(reader.corrupt("does not end with the magic of a pack: it was cut off"));
    }
    reader.finish()?;
    Ok((length as usize, hash))
}

/// Objects must lie one after another from the header to the footer, each once, each of the pack's class.
fn read_footer(footer: &[u8], class: PackClass, footer_start: u64) -> Result<Vec<PackEntry>> {
    let mut reader = Reader::new(footer, "pack footer");
    let count = reader.varint()?;
    if count > (reader.remaining() / FOOTER_ENTRY_MIN) as u64 {
        return Err(reader.corrupt("names more objects than it holds"));
    }
    let mut entries = Vec::with_capacity(count as usize);
    let mut seen = HashSet::with_capacity(count as usize);
    let mut next_offset = HEADER_LENGTH as u64;
    for _ in 0..count {
        let entry = read_entry(&mut reader)?;
        if PackClass::of(entry.id.kind) != class {
            return Err(reader.corrupt("names an object of another class"));
        }
        if entry.offset != next_offset || !seen.insert(entry.id) {
            return Err(reader.corrupt("names objects with gaps between them, or twice"));
        }
        next_offset += u64::from(entry.stored_length);
        entries.push(entry);
    }
    if next_offset != footer_start {
        return Err(reader.corrupt("does not start where the objects end"));
    }
    reader.finish()?;
    Ok(entries)
}

fn read_entry(reader: &mut Reader<'_>) -> Result<PackEntry> {
    let kind = ObjectKind::from_tag(reader.u8()?)?;
    let hash = reader.array()?;
    let compressed = PackEntry::read_flags(reader.u8()?)?;
    let offset = reader.varint()?;
    let stored_length = reader.varint_u32()?;
    let plain_length = reader.varint_u32()?;
    let entry = PackEntry { id: ObjectId { kind, hash }, compressed, offset, stored_length, plain_length };
    let possible = if compressed { stored_length < plain_length } else { stored_length == plain_length };
    if !possible || plain_length as usize > OBJECT_MAX {
        return Err(reader.corrupt("names an object with impossible lengths"));
    }
    Ok(entry)
}
