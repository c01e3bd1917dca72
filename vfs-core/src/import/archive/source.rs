//! The bytes of an archive, unpacked if need be, and bounded.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use crate::error::{Error, Kind, Result};
use crate::limits::{TAR_TAIL_MAX, UNPACK_FREE_BYTES, UNPACK_RATIO_MAX, ZSTD_WINDOW_LOG_MAX};

const BUFFER: usize = 256 * 1024;
/// The unit of tar.
pub(super) const BLOCK: usize = 512;

/// Bytes in order.
pub(super) struct Source {
    inner: Box<dyn Read>,
    /// Bytes given out.
    unpacked: u64,
    /// Bytes of the packed stream, if it is one.
    packed: Option<Rc<Cell<u64>>>,
}

struct Counting<R>(R, Rc<Cell<u64>>);

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(into)?;
        self.1.set(self.1.get() + read as u64);
        Ok(read)
    }
}

fn failed(error: io::Error) -> Error {
    Error::io("the archive cannot be read", error)
}

/// What is wrong with an archive.
pub(super) fn invalid(why: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, format!("the archive cannot be imported: {}", why.into()))
}

/// What is too much in an archive.
pub(super) fn too_much(why: impl Into<String>) -> Error {
    Error::new(Kind::LimitExceeded, format!("the archive cannot be imported: {}", why.into()))
}

impl Source {
    /// Looks at the first bytes: a tar archive, or one in zstd.
    pub(super) fn open(input: impl Read + 'static) -> Result<Source> {
        let mut input = BufReader::with_capacity(BUFFER, input);
        let first = input.fill_buf().map_err(failed)?;
        let other = match first {
            [] => return Err(invalid("it is empty")),
            [0x1f, 0x8b, ..] => "gzip",
            [b'B', b'Z', b'h', ..] => "bzip2",
            [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz",
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                let packed = Rc::new(Cell::new(0));
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(BufReader::new(Counting(input, packed.clone())))
                        .map_err(failed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(failed)?;
                let inner = Box::new(BufReader::with_capacity(BUFFER, decoder));
                return Ok(Source { inner, unpacked: 0, packed: Some(packed) });
            }
            _ => return Ok(Source { inner: Box::new(input), unpacked: 0, packed: None }),
        };
        Err(Error::new(
            Kind::Unsupported,
            format!(
                "the archive is packed with {other}: unpack it first, as in `{other} -dc FILE | esker import --tar -`"
            ),
        ))
    }

    /// Fills `buffer`; the archive must not end before.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<()> {
        match self.fill_or_end(buffer)? {
            true => Ok(()),
            false => Err(invalid("it ends in the middle of a member: it is cut off")),
        }
    }

    /// Fills `buffer`; false if the archive ends before its first byte.
    pub(super) fn fill_or_end(&mut self, buffer: &mut [u8]) -> Result<bool> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(invalid("it ends in the middle of a block: it is cut off")),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.packed.is_some() && error.kind() != io::ErrorKind::WouldBlock => {
                    return Err(invalid(format!("it cannot be unpacked ({error})")).because(error));
                }
                Err(error) => return Err(failed(error)),
            }
        }
        self.unpacked += filled as u64;
        let allowed = |packed: u64| UNPACK_FREE_BYTES.saturating_add(packed.saturating_mul(UNPACK_RATIO_MAX));
        match &self.packed {
            Some(packed) if self.unpacked > allowed(packed.get()) => {
                Err(too_much(format!("it unpacks to over {UNPACK_RATIO_MAX} times its size")))
            }
            _ => Ok(true),
        }
    }

    /// Reads over `length` bytes.
    pub(super) fn skip(&mut self, length: u64) -> Result<()> {
        let mut buffer = [0; 16 * 1024];
        let mut left = length;
        while left > 0 {
            let part = left.min(buffer.len() as u64) as usize;
            self.fill(&mut buffer[..part])?;
            left -= part as u64;
        }
        Ok(())
    }

    /// Reads over what fills up the block after `length` bytes.
    pub(super) fn skip_padding(&mut self, length: u64) -> Result<()> {
        self.skip(length.next_multiple_of(BLOCK as u64) - length)
    }

    /// Reads what follows the end of the archive, so that whoever writes it is not cut off.
    pub(super) fn drain(&mut self) -> Result<()> {
        let mut block = [0; BLOCK];
        for _ in 0..TAR_TAIL_MAX / BLOCK as u64 {
            if !self.fill_or_end(&mut block)? {
                break;
            }
        }
        Ok(())
    }
}
