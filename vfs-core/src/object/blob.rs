//! A blob: the content of a file of more than one chunk, as a list of extents.

use super::codec::{Reader, Writer};
use super::node::ChunkRef;
use crate::error::Result;
use crate::limits::FILE_SIZE_MAX;

const TAG: u8 = b'B';
const VERSION: u8 = 0;

/// An ordered list of extents without gaps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blob {
    extents: Vec<Extent>,
}

/// A run of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The bytes of one chunk.
    Chunk(ChunkRef),
    /// That many bytes that were never written and read as zero.
    Hole(u64),
}

impl Extent {
    /// Length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Extent::Chunk(chunk) => chunk.length.into(),
            Extent::Hole(length) => *length,
        }
    }
}

impl Blob {
    /// A blob of these extents; neighbouring holes become one, empty ones vanish.
    pub fn new(extents: impl IntoIterator<Item = Extent>) -> Self {
        let mut list: Vec<Extent> = Vec::new();
        for extent in extents {
            match (list.last_mut(), extent) {
                (_, Extent::Hole(0)) => {}
                (Some(Extent::Hole(before)), Extent::Hole(more)) => *before += more,
                _ => list.push(extent),
            }
        }
        Blob { extents: list }
    }

    /// The extents in order.
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Length of the content in bytes.
    pub fn size(&self) -> u64 {
        self.extents.iter().map(Extent::length).sum()
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_header(TAG, VERSION);
        writer.varint(self.extents.len() as u64);
        for extent in &self.extents {
            match extent {
                Extent::Chunk(chunk) => {
                    writer.u8(1);
                    chunk.encode(&mut writer);
                }
                Extent::Hole(length) => {
                    writer.u8(0);
                    writer.varint(*length);
                }
            }
        }
        writer.finish()
    }

    /// Reads canonical bytes.
    pub fn decode(bytes: &[u8]) -> Result<Blob> {
        let mut reader = Reader::with_header(bytes, "blob", TAG, VERSION)?;
        let count = reader.varint()?;
        // Of two neighbours at least one is a chunk, so two take at least 68 bytes: this bounds the allocation by the input.
        if count > reader.remaining() as u64 / 68 * 2 + 1 {
            return Err(reader.corrupt("names more extents than it holds"));
        }
        let mut extents: Vec<Extent> = Vec::with_capacity(count as usize);
        let mut size = 0u64;
        for _ in 0..count {
            let extent = match reader.u8()? {
                0 => Extent::Hole(reader.varint()?),
                1 => Extent::Chunk(ChunkRef::decode(&mut reader)?),
                tag => return Err(reader.corrupt(format!("holds an extent of the unknown kind {tag}"))),
            };
            let merged = matches!((extents.last(), extent), (Some(Extent::Hole(_)), Extent::Hole(_)));
            size = size.saturating_add(extent.length());
            if merged || extent.length() == 0 || size > FILE_SIZE_MAX {
                return Err(reader.corrupt("holds an extent that may not be there"));
            }
            extents.push(extent);
        }
        reader.finish()?;
        Ok(Blob { extents })
    }
}
