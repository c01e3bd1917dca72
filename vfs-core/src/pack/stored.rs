//! How one object's canonical bytes are stored in a pack and got back, verified.

use std::cell::RefCell;

use bytes::Bytes;

use super::PackEntry;
use crate::error::{Error, Kind, Result};
use crate::id::IdKey;
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

/// The canonical bytes of an object from its stored bytes. Never makes more bytes than the entry states; hashes them.
pub fn unpack(key: &IdKey, entry: &PackEntry, stored: &Bytes) -> Result<Bytes> {
    let damaged = |why: &str| Error::corrupt(format!("{} {why}: run `esker check --full`", entry.id));
    if stored.len() != entry.stored_length as usize || entry.plain_length as usize > OBJECT_MAX {
        return Err(damaged("has another length than the index says"));
    }
    let canonical = if entry.compressed {
        decompress(stored, entry.plain_length as usize)
            .map_err(|error| damaged("cannot be decompressed").because(error))?
    } else {
        stored.clone()
    };
    if canonical.len() != entry.plain_length as usize || key.object_id(entry.id.kind, &canonical) != entry.id {
        return Err(damaged("does not match its id"));
    }
    Ok(canonical)
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
