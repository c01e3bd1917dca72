//! A pack: one bucket object that holds many objects of one tenant and one class, with its index at its end.
//!
//! Version 1 (decision 0016), the only one that is written:
//!
//! ```text
//! header   "ESKPACK" 01 class ('C' | 'T' | 'B') tenant (16) pack id (32) data key number (u32 LE, 0: not encrypted)
//! objects  stored bytes, without gaps
//! footer   count, then per object: kind, hash (32), flags, offset, stored length, plain length (LEB128); sealed as a
//!          whole in an encrypted pack
//! trailer  stored length of the footer (u32 LE), BLAKE3 of header and stored footer (32), BLAKE3 of everything before the
//!          footer (32), "ESKPEND1"
//! ```
//!
//! Its id is random and chosen before its first byte, so that it can be encrypted and uploaded under its own name. Version
//! 0 (decision 0004) is named by the BLAKE3 of its bytes, has neither id nor key number in its header, and a trailer with
//! the footer's hash alone; it is still read.
//!
//! A pack never changes. The reader believes nothing: every length is checked against the input before it is used, and
//! no allocation is larger than the input pays for.

mod header;
mod read;
mod stored;
#[cfg(feature = "testing")]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod write;

pub use header::{HEADER_LENGTH, PackHeader};
pub use read::{PackIndex, TAIL_LENGTH, Tail, read_index, read_tail};
pub use stored::{Stored, unpack};
pub use write::{Pack, PackWriter};

use crate::error::{Error, Result};
use crate::id::{ObjectId, ObjectKind};

/// Which objects a pack holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackClass {
    /// Chunks and blobs.
    Contents,
    /// Tree nodes and snapshots.
    Trees,
    /// Copies of objects of any kind: what a mount of one snapshot asks for first.
    Bundle,
}

impl PackClass {
    /// The class that objects of this kind go to.
    pub fn of(kind: ObjectKind) -> Self {
        match kind {
            ObjectKind::Chunk | ObjectKind::Blob => PackClass::Contents,
            ObjectKind::Tree | ObjectKind::Snapshot => PackClass::Trees,
        }
    }

    /// Whether packs of this class may hold objects of this kind.
    pub fn takes(self, kind: ObjectKind) -> bool {
        self == PackClass::Bundle || self == PackClass::of(kind)
    }

    /// Its tag in headers and in the database.
    pub fn tag(self) -> u8 {
        match self {
            PackClass::Contents => b'C',
            PackClass::Trees => b'T',
            PackClass::Bundle => b'B',
        }
    }

    /// The class with this tag.
    pub fn from_tag(tag: u8) -> Result<Self> {
        match tag {
            b'C' => Ok(PackClass::Contents),
            b'T' => Ok(PackClass::Trees),
            b'B' => Ok(PackClass::Bundle),
            _ => Err(Error::corrupt(format!("a pack has the unknown class {tag}"))),
        }
    }
}

/// Where an object lies in its pack, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackEntry {
    /// The object.
    pub id: ObjectId,
    /// Its bytes are compressed with zstd.
    pub compressed: bool,
    /// Its stored bytes are encrypted, after compression.
    pub sealed: bool,
    /// Where its stored bytes start in the pack.
    pub offset: u64,
    /// Length of its stored bytes.
    pub stored_length: u32,
    /// Length of its canonical bytes.
    pub plain_length: u32,
}

const FLAG_ZSTD: u8 = 1;
const FLAG_AEAD: u8 = 2;

/// What the flags of an entry say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags {
    /// See [`PackEntry::compressed`].
    pub compressed: bool,
    /// See [`PackEntry::sealed`].
    pub sealed: bool,
}

impl PackEntry {
    /// The flags byte in footers and in the index.
    pub fn flags(&self) -> u8 {
        u8::from(self.compressed) * FLAG_ZSTD | u8::from(self.sealed) * FLAG_AEAD
    }

    /// What a flags byte says; refuses flags that nothing writes.
    pub fn read_flags(flags: u8) -> Result<Flags> {
        if flags & !(FLAG_ZSTD | FLAG_AEAD) != 0 {
            return Err(Error::corrupt(format!("an object has the unknown flags {flags:#04x}")));
        }
        Ok(Flags { compressed: flags & FLAG_ZSTD != 0, sealed: flags & FLAG_AEAD != 0 })
    }

    /// Where its stored bytes end in the pack.
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.stored_length)
    }
}
