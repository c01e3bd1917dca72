//! Reading the index of a pack, of the whole pack or of its tail. Never looks into the objects.

use std::collections::HashSet;

use super::header::{HEADER_LENGTH, PackHeader};
use super::write::footer_hash;
use super::{Flags, PackClass, PackEntry};
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectId, ObjectKind, PackId, TenantId};
use crate::keys::{TAG_LENGTH, TenantKeys};
use crate::limits::{OBJECT_MAX, PACK_MAX};
use crate::object::codec::Reader;

const END_MAGIC_0: &[u8; 8] = b"ESKPEND0";
pub(super) const END_MAGIC_1: &[u8; 8] = b"ESKPEND1";
const TRAILER_0_LENGTH: usize = 4 + 32 + 8;
pub(super) const TRAILER_1_LENGTH: usize = 4 + 32 + 32 + 8;
/// Fewest bytes that one object takes in the footer.
const FOOTER_ENTRY_MIN: usize = 1 + 32 + 1 + 3;
/// So many bytes of a pack's end hold the index of most packs.
pub const TAIL_LENGTH: u64 = 64 * 1024;

/// What a pack says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackIndex {
    /// Its name.
    pub id: PackId,
    /// Version of its format.
    pub version: u8,
    /// What it holds.
    pub class: PackClass,
    /// Whose it is.
    pub tenant: TenantId,
    /// Number of the data key that its key is made of; 0 if it is not encrypted.
    pub data_key: u32,
    /// Its length in bytes.
    pub size: u64,
    /// The objects in the order of their offsets.
    pub entries: Vec<PackEntry>,
}

/// What the end of a pack was good for.
#[derive(Debug)]
pub enum Tail {
    /// It held the index.
    Index(PackIndex),
    /// The index begins so many bytes before the end of the pack.
    Longer(u64),
}

struct Trailer {
    length: usize,
    footer_length: usize,
    footer_hash: [u8; 32],
    /// Of everything before the footer; version 0 has none, its name covers everything.
    body_hash: Option<[u8; 32]>,
}

/// Reads the index of a whole pack that lies in the bucket under the name of `id`, and verifies every byte of it that
/// is not an object's, and by their hash the objects' too.
pub fn read_index(keys: &TenantKeys, id: PackId, pack: &[u8]) -> Result<PackIndex> {
    let size = pack.len() as u64;
    let header = read_header(keys, id, size, pack).map_err(|error| newer_or_changed(id, error, pack))?;
    let trailer = read_trailer(&header, pack)?;
    let Some(start) = footer_start(&header, &trailer, size) else { return Err(footer_too_long(id)) };
    let body = &pack[..start as usize];
    let whole = match trailer.body_hash {
        Some(hash) => *blake3::hash(body).as_bytes() == hash,
        None => *blake3::hash(pack).as_bytes() == *id.as_bytes(),
    };
    if !whole {
        return Err(Error::corrupt(format!("the pack {id} does not match its hash: it was changed")));
    }
    let (header_bytes, from_footer) = (&pack[..header.length()], &pack[start as usize..]);
    read_stored_footer(keys, (id, size, header), &trailer, header_bytes, from_footer)
}

/// Reads the index of a pack from its first bytes (at least [`HEADER_LENGTH`], or all) and its last ones. The index can be
/// trusted, whether the objects are whole it does not say.
pub fn read_tail(keys: &TenantKeys, id: PackId, size: u64, first: &[u8], last: &[u8]) -> Result<Tail> {
    let header = read_header(keys, id, size, first).map_err(|error| newer_or_changed(id, error, last))?;
    if last.len() as u64 > size {
        return Err(Error::corrupt(format!("the pack {id} is shorter than its end")));
    }
    let trailer = read_trailer(&header, last)?;
    let Some(start) = footer_start(&header, &trailer, size) else { return Err(footer_too_long(id)) };
    let needed = size - start;
    if needed > last.len() as u64 {
        return Ok(Tail::Longer(needed));
    }
    let from_footer = &last[last.len() - needed as usize..];
    let header_bytes = &first[..header.length()];
    read_stored_footer(keys, (id, size, header), &trailer, header_bytes, from_footer).map(Tail::Index)
}

fn read_header(keys: &TenantKeys, id: PackId, size: u64, first: &[u8]) -> Result<PackHeader> {
    let header = PackHeader::read(&first[..first.len().min(HEADER_LENGTH)])?;
    let trailer_length = if header.version == 0 { TRAILER_0_LENGTH } else { TRAILER_1_LENGTH };
    let smallest = (header.length() + 1 + trailer_length) as u64;
    if !(smallest..=PACK_MAX).contains(&size) {
        return Err(Error::corrupt(format!("the pack {id} has {size} bytes: {smallest} to {PACK_MAX} are possible")));
    }
    if header.id.is_some_and(|found| found != id) {
        return Err(Error::corrupt(format!("the pack {id} says that it is another one")));
    }
    if header.tenant != keys.tenant() {
        return Err(Error::corrupt(format!("the pack {id} belongs to another tenant")));
    }
    Ok(header)
}

/// A pack of a newer version ends with another magic too. One that ends like ours has a changed byte in its header: nobody needs to
/// wait for a newer Esker that could read it.
fn newer_or_changed(id: PackId, error: Error, last: &[u8]) -> Error {
    let is_ours = last.ends_with(END_MAGIC_0) || last.ends_with(END_MAGIC_1);
    match error.kind() {
        Kind::Unsupported if is_ours => {
            Error::corrupt(format!("the pack {id} begins and ends with other versions: it was changed")).because(error)
        }
        _ => error,
    }
}

/// The trailer at the end of `last`.
fn read_trailer(header: &PackHeader, last: &[u8]) -> Result<Trailer> {
    let (length, magic) = match header.version {
        0 => (TRAILER_0_LENGTH, END_MAGIC_0),
        _ => (TRAILER_1_LENGTH, END_MAGIC_1),
    };
    let Some(start) = last.len().checked_sub(length) else { return Err(Error::corrupt("a pack was cut off")) };
    let mut reader = Reader::new(&last[start..], "pack trailer");
    let footer_length = u32::from_le_bytes(reader.array()?) as usize;
    let footer_hash = reader.array()?;
    let body_hash = if header.version == 0 { None } else { Some(reader.array()?) };
    if reader.fixed(8)? != magic {
        return Err(reader.corrupt("does not end with the magic of a pack: it was cut off"));
    }
    reader.finish()?;
    Ok(Trailer { length, footer_length, footer_hash, body_hash })
}

fn footer_start(header: &PackHeader, trailer: &Trailer, size: u64) -> Option<u64> {
    size.checked_sub((trailer.length + trailer.footer_length) as u64).filter(|start| *start >= header.length() as u64)
}

fn footer_too_long(id: PackId) -> Error {
    Error::corrupt(format!("the footer of the pack {id} is longer than the pack"))
}

/// `from_footer` starts with the stored footer, which goes on to the trailer.
fn read_stored_footer(
    keys: &TenantKeys,
    (id, size, header): (PackId, u64, PackHeader),
    trailer: &Trailer,
    header_bytes: &[u8],
    from_footer: &[u8],
) -> Result<PackIndex> {
    let stored = &from_footer[..trailer.footer_length];
    let hash = match header.version {
        0 => blake3::hash(stored),
        _ => footer_hash(header_bytes, stored),
    };
    if *hash.as_bytes() != trailer.footer_hash {
        return Err(Error::corrupt(format!("the footer of the pack {id} does not match its hash")));
    }
    let start = size - (trailer.length + trailer.footer_length) as u64;
    let entries = match keys.of_pack(header.data_key, id)? {
        Some(key) => {
            let changed = || Error::corrupt(format!("the footer of the pack {id} cannot be decrypted: it was changed"));
            let footer = key.open_footer(header_bytes, start, stored).ok_or_else(changed)?;
            read_footer(&footer, &header, start)?
        }
        None => read_footer(stored, &header, start)?,
    };
    let PackHeader { version, class, tenant, data_key, .. } = header;
    Ok(PackIndex { id, version, class, tenant, data_key, size, entries })
}

/// Objects must lie one after another from the header to the footer, each once, each of the pack's class.
fn read_footer(footer: &[u8], header: &PackHeader, footer_start: u64) -> Result<Vec<PackEntry>> {
    let mut reader = Reader::new(footer, "pack footer");
    let count = reader.varint()?;
    if count > (reader.remaining() / FOOTER_ENTRY_MIN) as u64 {
        return Err(reader.corrupt("names more objects than it holds"));
    }
    let mut entries = Vec::with_capacity(count as usize);
    let mut seen = HashSet::with_capacity(count as usize);
    let mut next_offset = header.length() as u64;
    for _ in 0..count {
        let entry = read_entry(&mut reader)?;
        if !header.class.takes(entry.id.kind) {
            return Err(reader.corrupt("names an object of another class"));
        }
        if entry.sealed != (header.data_key != 0) {
            return Err(reader.corrupt("names encrypted and other objects in one pack"));
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
    let Flags { compressed, sealed } = PackEntry::read_flags(reader.u8()?)?;
    let offset = reader.varint()?;
    let stored_length = reader.varint_u32()?;
    let plain_length = reader.varint_u32()?;
    let entry = PackEntry { id: ObjectId { kind, hash }, compressed, sealed, offset, stored_length, plain_length };
    let tag_length = if sealed { TAG_LENGTH as u32 } else { 0 };
    let possible = stored_length.checked_sub(tag_length).is_some_and(|inner| match compressed {
        true => inner < plain_length,
        false => inner == plain_length,
    });
    if !possible || plain_length as usize > OBJECT_MAX {
        return Err(reader.corrupt("names an object with impossible lengths"));
    }
    Ok(entry)
}
