//! How one object's canonical bytes are stored in a pack and got back, verified.

use std::cell::RefCell;

use bytes::Bytes;

use super::PackEntry;
use crate::error::{Error, Kind, Result};
use crate::id::PackId;
use crate::keys::TenantKeys;
use crate::limits::{COMPRESSION_LEVEL, OBJECT_MAX};

/// Canonical bytes as a pack stores them.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The stored bytes.
    pub bytes: Bytes,
    /// Compressed with zstd.
    pub compressed: bool,
    /// Length of the canonical bytes.
    pub plain_length: u32,
}

impl Stored {
    /// Compresses where that saves at least a sixteenth. Takes a while for large objects.
    pub fn new(canonical: &Bytes) -> Result<Stored> {
        let length = canonical.len();
        if length > OBJECT_MAX {
            let message = format!("an object of {length} bytes is over the limit of {OBJECT_MAX}");
            return Err(Error::new(Kind::TooLarge, message));
        }
        let plain_length = length as u32;
        let compressed = compress(canonical)?;
        if compressed.len() <= length - length.div_ceil(16) {
            return Ok(Stored { bytes: compressed.into(), compressed: true, plain_length });
        }
        Ok(Stored { bytes: canonical.clone(), compressed: false, plain_length })
    }
}

/// The canonical bytes of an object from its stored bytes in a pack. Never makes more bytes than the entry states; opens
/// what is sealed, hashes what comes out.
pub fn unpack(keys: &TenantKeys, pack: PackId, entry: &PackEntry, stored: &Bytes) -> Result<Bytes> {
    let damaged = |why: &str| Error::corrupt(format!("{} {why}: run `esker check --full`", entry.id));
    if stored.len() != entry.stored_length as usize || entry.plain_length as usize > OBJECT_MAX {
        return Err(damaged("has another length than the index says"));
    }
    let opened = match entry.sealed {
        true => open(keys, pack, entry, stored)?.ok_or_else(|| damaged("cannot be decrypted: it was changed"))?,
        false => stored.clone(),
    };
    let canonical = match entry.compressed {
        true => decompress(&opened, entry.plain_length as usize)
            .map_err(|error| damaged("cannot be decompressed").because(error))?,
        false => opened,
    };
    if canonical.len() != entry.plain_length as usize || keys.id().object_id(entry.id.kind, &canonical) != entry.id {
        return Err(damaged("does not match its id"));
    }
    Ok(canonical)
}

/// Without encryption; nothing if no data key of the tenant opens it.
fn open(keys: &TenantKeys, pack: PackId, entry: &PackEntry, stored: &Bytes) -> Result<Option<Bytes>> {
    if !keys.is_encrypted() {
        let message = format!("{} is encrypted, but this repo is not: is the pack {pack} another repo's?", entry.id);
        return Err(Error::new(Kind::Denied, message));
    }
    let mut tried = keys.possible_for(pack).map(|key| key.open_object(&entry.id, entry.offset, stored));
    Ok(tried.find_map(|opened| opened).map(Bytes::from))
}

// A compression context is about a megabyte: one a thread, kept.
thread_local! {
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

fn compress(plain: &[u8]) -> Result<Vec<u8>> {
    let failed = |error| Error::new(Kind::Internal, "an object could not be compressed").because(error);
    COMPRESSOR.with_borrow_mut(|slot| {
        let compressor = match slot {
            Some(compressor) => compressor,
            None => slot.insert(zstd::bulk::Compressor::new(COMPRESSION_LEVEL).map_err(failed)?),
        };
        compressor.compress(plain).map_err(failed)
    })
}

fn decompress(stored: &[u8], plain_length: usize) -> std::io::Result<Bytes> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            None => slot.insert(zstd::bulk::Decompressor::new()?),
        };
        decompressor.decompress(stored, plain_length).map(Bytes::from)
    })
}
