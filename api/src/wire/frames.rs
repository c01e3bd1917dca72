//! Objects in bulk: a count and that many length-prefixed byte strings, all numbers 32 bits, big-endian.
//!
//! ```text
//! count | length bytes | length bytes | …
//! ```
//! Requests and answers of `trees`, `blobs`, `chunks` and of the chunks of a publish have this shape. The reader refuses
//! counts and lengths over its limits, bytes that are missing and bytes that are left over. It copies nothing.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use vfs_core::id::{ChunkId, PlainDigest};
use vfs_core::limits::CHUNK_MAX;
use vfs_core::object::ChunkRef;
use vfs_core::{Error, Kind, Result};

/// The content type of frames.
pub const CONTENT_TYPE: &str = "application/vnd.esker.frames";

/// Bytes of a [`ChunkRef`] in a frame: id, plain digest, length.
pub const CHUNK_REF_LENGTH: usize = 68;

/// Puts items into one body.
pub fn encode<I: AsRef<[u8]>>(items: &[I]) -> Bytes {
    let bytes: usize = items.iter().map(|item| item.as_ref().len() + 4).sum();
    let mut body = BytesMut::with_capacity(bytes + 4);
    body.put_u32(items.len().try_into().expect("because a batch has at most some hundred items"));
    for item in items {
        let item = item.as_ref();
        body.put_u32(item.len().try_into().expect("because an item has at most 64 MiB"));
        body.put_slice(item);
    }
    body.freeze()
}

/// Takes a body apart: at most `count_max` items of at most `item_max` bytes.
pub fn decode(mut body: Bytes, count_max: usize, item_max: usize) -> Result<Vec<Bytes>> {
    let count = read_u32(&mut body)?;
    if count > count_max {
        return Err(Error::new(
            Kind::LimitExceeded,
            format!("a batch has {count} items; at most {count_max} are allowed"),
        ));
    }
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        let length = read_u32(&mut body)?;
        if length > item_max {
            let context = format!("an item of a batch has {length} bytes; at most {item_max} are allowed");
            return Err(Error::new(Kind::LimitExceeded, context));
        }
        if length > body.len() {
            return Err(Error::new(Kind::Invalid, "a batch ends in the middle of an item"));
        }
        items.push(body.split_to(length));
    }
    if !body.is_empty() {
        return Err(Error::new(Kind::Invalid, format!("a batch has {} bytes after its last item", body.len())));
    }
    Ok(items)
}

fn read_u32(body: &mut Bytes) -> Result<usize> {
    if body.len() < 4 {
        return Err(Error::new(Kind::Invalid, "a batch ends in the middle of a number"));
    }
    Ok(body.get_u32() as usize)
}

/// A chunk reference as one item.
pub fn chunk_ref_to_item(chunk: &ChunkRef) -> [u8; CHUNK_REF_LENGTH] {
    let mut item = [0; CHUNK_REF_LENGTH];
    item[..32].copy_from_slice(chunk.id.as_bytes());
    item[32..64].copy_from_slice(chunk.digest.as_bytes());
    item[64..].copy_from_slice(&chunk.length.to_be_bytes());
    item
}

/// The chunk reference in an item.
pub fn chunk_ref_from_item(item: &[u8]) -> Result<ChunkRef> {
    let invalid = || Error::new(Kind::Invalid, "an item of a batch is not a chunk reference");
    let item: &[u8; CHUNK_REF_LENGTH] = item.try_into().map_err(|_| invalid())?;
    let length = u32::from_be_bytes(item[64..].try_into().expect("because four bytes are left"));
    if length == 0 || length as usize > CHUNK_MAX {
        return Err(invalid());
    }
    Ok(ChunkRef { id: ChunkId::from_slice(&item[..32])?, digest: PlainDigest::from_slice(&item[32..64])?, length })
}
