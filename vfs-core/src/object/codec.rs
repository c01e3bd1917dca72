//! The strict byte writer and reader under all canonical bytes: each value has exactly one encoding.

use bytes::Bytes;

use crate::clock::Time;
use crate::error::{Error, Result};

/// Appends values to canonical bytes.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Starts with a kind tag and a format version.
    pub fn with_header(tag: u8, version: u8) -> Self {
        Writer(vec![tag, version])
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// An unsigned number, LEB128, in the fewest bytes.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A signed number, zigzag and LEB128.
    pub fn signed(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)) as u64);
    }

    /// Bytes of a length that the reader knows.
    pub fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A length and that many bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.fixed(bytes);
    }

    /// Seconds and nanoseconds.
    pub fn time(&mut self, time: Time) {
        self.signed(time.seconds);
        self.varint(time.nanos.into());
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The canonical bytes.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads canonical bytes and refuses every other encoding of the same value.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, which are said to be a `what`.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Reader { rest: bytes, what }
    }

    /// Reads bytes that start with a kind tag and a format version.
    pub fn with_header(bytes: &'a [u8], what: &'static str, tag: u8, version: u8) -> Result<Self> {
        let mut reader = Reader::new(bytes, what);
        if reader.u8()? != tag {
            return Err(reader.corrupt("has another kind tag"));
        }
        match reader.u8()? {
            found if found == version => Ok(reader),
            found => Err(reader.corrupt(format!("has format version {found}, this Esker reads {version}"))),
        }
    }

    /// An error about these bytes.
    pub fn corrupt(&self, why: impl std::fmt::Display) -> Error {
        Error::corrupt(format!("a {} {why}", self.what))
    }

    /// Bytes left to read.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Bytes of a known length.
    pub fn fixed(&mut self, length: usize) -> Result<&'a [u8]> {
        if length > self.rest.len() {
            return Err(self.corrupt("ends too early"));
        }
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(bytes)
    }

    /// A fixed number of bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.fixed(N)?.try_into().expect("fixed returns N bytes"))
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.fixed(1)?[0])
    }

    /// An unsigned number.
    pub fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if (shift > 0 && byte == 0) || (shift == 63 && bits > 1) {
                return Err(self.corrupt("holds a number that is not in its shortest form"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.corrupt("holds a number over 64 bits"))
    }

    /// An unsigned number of at most 32 bits.
    pub fn varint_u32(&mut self) -> Result<u32> {
        self.varint()?.try_into().map_err(|_| self.corrupt("holds a number over 32 bits"))
    }

    /// A signed number.
    pub fn signed(&mut self) -> Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A length of at most `limit` and that many bytes.
    pub fn bytes(&mut self, limit: usize) -> Result<&'a [u8]> {
        let length = self.varint()?;
        if length > limit as u64 {
            return Err(self.corrupt(format!("holds {length} bytes where {limit} are allowed")));
        }
        self.fixed(length as usize)
    }

    /// Like [`Reader::bytes`], owned.
    pub fn owned_bytes(&mut self, limit: usize) -> Result<Bytes> {
        self.bytes(limit).map(Bytes::copy_from_slice)
    }

    /// UTF-8 text of at most `limit` bytes.
    pub fn text(&mut self, limit: usize) -> Result<String> {
        let bytes = self.bytes(limit)?;
        String::from_utf8(bytes.to_vec()).map_err(|error| self.corrupt("holds text that is not UTF-8").because(error))
    }

    /// Seconds and nanoseconds.
    pub fn time(&mut self) -> Result<Time> {
        let seconds = self.signed()?;
        let nanos = self.varint_u32()?;
        if nanos >= 1_000_000_000 {
            return Err(self.corrupt("holds a time with a billion nanoseconds"));
        }
        Ok(Time { seconds, nanos })
    }

    /// 0 or 1.
    pub fn flag(&mut self) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.corrupt("holds a flag that is neither 0 nor 1")),
        }
    }

    /// Checks that all bytes were read.
    pub fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.corrupt(format!("has {} bytes too many", self.rest.len()))) }
    }
}
