//! The members of a tar archive, one after another: v7, ustar, GNU and PAX, as tar, bsdtar and Python write them.
//!
//! Headers are read here and not by the crate's iterator: it reads extended headers of any size, and loses values of
//! extended attributes that hold a line break.

use tar::{EntryType, GnuExtSparseHeader, Header};

use super::records::{Records, decimal, field};
use super::source::{BLOCK, Source, invalid, too_much};
use crate::clock::Time;
use crate::error::Result;
use crate::limits::{FILE_SIZE_MAX, TAR_EXTENSION_MAX, TAR_EXTENSIONS_MAX, TAR_SPARSE_MAX};

/// A member, before its content.
pub(super) struct Member {
    pub(super) kind: MemberKind,
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Size of the file.
    pub(super) size: u64,
    /// Bytes that follow in the archive, without padding.
    pub(super) stored: u64,
    /// Where the stored bytes belong: offset and length, in order.
    pub(super) pieces: Vec<(u64, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemberKind {
    File,
    HardLink,
    Symlink,
    Fifo,
    Directory,
    Device,
    /// Says something about the archive.
    Label,
}

/// Reads members.
pub(super) struct Members {
    pub(super) source: Source,
    global: Records,
}

impl Members {
    pub(super) fn new(source: Source) -> Self {
        Members { source, global: Records::default() }
    }

    /// The next member; `None` at the end. Its content must have been read or skipped before the next call.
    pub(super) fn next(&mut self) -> Result<Option<Member>> {
        let mut records = Records::default();
        for _ in 0..=TAR_EXTENSIONS_MAX {
            let mut header = Header::new_old();
            if !self.source.fill_or_end(header.as_mut_bytes())? {
                return Err(invalid("it ends without the mark of its end: it is cut off"));
            }
            if header.as_bytes().iter().all(|byte| *byte == 0) {
                self.source.drain()?;
                return Ok(None);
            }
            check_sum(&header)?;
            match header.entry_type() {
                EntryType::XHeader => records.read(&self.extension(&header)?)?,
                EntryType::XGlobalHeader => {
                    let data = self.extension(&header)?;
                    self.global = Records::default();
                    self.global.read(&data)?;
                }
                EntryType::GNULongName => records.path = Some(without_nul(self.extension(&header)?)),
                EntryType::GNULongLink => records.link = Some(without_nul(self.extension(&header)?)),
                _ => return self.member(&header, records).map(Some),
            }
        }
        Err(too_much(format!("over {TAR_EXTENSIONS_MAX} extended headers follow each other")))
    }

    fn extension(&mut self, header: &Header) -> Result<Vec<u8>> {
        let size = size_of(header)?;
        if size > TAR_EXTENSION_MAX {
            return Err(too_much(format!("an extended header has {size} bytes, {TAR_EXTENSION_MAX} are possible")));
        }
        let mut data = vec![0; size as usize];
        self.source.fill(&mut data)?;
        self.source.skip_padding(size)?;
        Ok(data)
    }

    fn member(&mut self, header: &Header, records: Records) -> Result<Member> {
        let bytes = header.as_bytes();
        let path = records.path.clone().unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = kind_of(header, &path)?;
        let stored = match kind {
            MemberKind::File => records.size.map_or_else(|| size_of(header), Ok)?,
            // A size in the header of a link is that of the file; no content follows.
            _ => 0,
        };
        let number = |said: Option<u64>, general: Option<u64>, at: &[u8]| -> Result<u32> {
            let number = match said.or(general) {
                Some(number) => i128::from(number),
                None => field(at)?,
            };
            u32::try_from(number).map_err(|_| invalid("a member belongs to an owner that there cannot be"))
        };
        let seconds = field(&bytes[136..148])?;
        let from_header = Time::from_nanos(seconds.clamp(-(1 << 62), 1 << 62) * 1_000_000_000);
        let link = records.link.clone().or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
        let mut member = Member {
            kind,
            path,
            link: link.unwrap_or_default(),
            mode: (field(&bytes[100..108])? & 0o7777) as u16,
            uid: number(records.uid, self.global.uid, &bytes[108..116])?,
            gid: number(records.gid, self.global.gid, &bytes[116..124])?,
            mtime: records.mtime.or(self.global.mtime).unwrap_or(from_header),
            xattrs: records.xattrs.clone(),
            size: stored,
            stored,
            pieces: vec![(0, stored)],
        };
        if kind == MemberKind::File {
            self.sparse(header, records, &mut member)?;
        }
        if member.size > FILE_SIZE_MAX || member.stored > FILE_SIZE_MAX {
            return Err(too_much("a file is larger than any file can be"));
        }
        Ok(member)
    }

    /// Finds out where the stored bytes of a sparse file belong.
    fn sparse(&mut self, header: &Header, records: Records, member: &mut Member) -> Result<()> {
        let sparse = records.sparse;
        if let Some(name) = sparse.name {
            member.path = name;
        }
        let map = if header.entry_type() == EntryType::GNUSparse {
            let gnu = header.as_gnu().ok_or_else(|| invalid("a sparse file has no GNU header"))?;
            let odd = |_| invalid("the map of a sparse file is malformed");
            member.size = gnu.real_size().map_err(odd)?;
            let mut map = Vec::new();
            let mut add = |pieces: &[tar::GnuSparseHeader]| -> Result<()> {
                for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
                    map.extend([piece.offset().map_err(odd)?, piece.length().map_err(odd)?]);
                }
                if map.len() > 2 * TAR_SPARSE_MAX {
                    return Err(too_many_pieces());
                }
                Ok(())
            };
            add(&gnu.sparse)?;
            let mut more = gnu.is_extended();
            while more {
                let mut extension = GnuExtSparseHeader::new();
                self.source.fill(extension.as_mut_bytes())?;
                add(extension.sparse())?;
                more = extension.is_extended();
            }
            map
        } else if let Some(size) = sparse.size {
            member.size = size;
            if sparse.in_data { self.map_in_data(member)? } else { sparse.map }
        } else {
            return Ok(());
        };
        if map.len() > 2 * TAR_SPARSE_MAX {
            return Err(too_many_pieces());
        }
        member.pieces = map.chunks(2).filter_map(|piece| Some((piece[0], *piece.get(1)?))).collect();
        member.pieces.retain(|piece| piece.1 > 0);
        let (mut end, mut sum) = (0u64, 0u64);
        for (offset, length) in &member.pieces {
            if *offset < end {
                return Err(invalid("pieces of a sparse file overlap"));
            }
            end = offset.checked_add(*length).ok_or_else(|| invalid("a sparse file has no end"))?;
            sum += length;
        }
        if end > member.size || sum != member.stored {
            return Err(invalid("the pieces of a sparse file do not fit its size"));
        }
        Ok(())
    }

    /// The map that stands before the data: a count and that many pairs, each number in a line, filled up to a block.
    fn map_in_data(&mut self, member: &mut Member) -> Result<Vec<u64>> {
        let (mut numbers, mut line, mut read) = (Vec::new(), Vec::new(), 0);
        let mut wanted = 1;
        let mut block = [0; BLOCK];
        while numbers.len() < wanted {
            read += BLOCK as u64;
            if read > member.stored {
                return Err(invalid("the map of a sparse file is cut off"));
            }
            self.source.fill(&mut block)?;
            for byte in block {
                match byte {
                    b'\n' if numbers.len() < wanted => {
                        numbers.push(decimal(&std::mem::take(&mut line))?);
                        if numbers.len() == 1 {
                            let count = usize::try_from(numbers[0]).unwrap_or(usize::MAX);
                            if count > TAR_SPARSE_MAX {
                                return Err(too_many_pieces());
                            }
                            wanted = 1 + 2 * count;
                        }
                    }
                    _ if numbers.len() < wanted && line.len() > 20 => {
                        return Err(invalid("the map of a sparse file is malformed"));
                    }
                    _ if numbers.len() < wanted => line.push(byte),
                    _ => {}
                }
            }
        }
        member.stored -= read;
        Ok(numbers.split_off(1))
    }
}

fn too_many_pieces() -> crate::Error {
    too_much(format!("a sparse file has over {TAR_SPARSE_MAX} pieces"))
}

fn size_of(header: &Header) -> Result<u64> {
    u64::try_from(field(&header.as_bytes()[124..136])?).map_err(|_| invalid("a member has an impossible size"))
}

fn without_nul(mut name: Vec<u8>) -> Vec<u8> {
    if let Some(end) = name.iter().position(|byte| *byte == 0) {
        name.truncate(end);
    }
    name
}

fn check_sum(header: &Header) -> Result<()> {
    let bytes = header.as_bytes();
    let sum = |start: i128, bytes: &[u8]| bytes.iter().fold(start, |sum, byte| sum + i128::from(*byte));
    match field(&bytes[148..156])? == sum(sum(8 * 32, &bytes[..148]), &bytes[156..]) {
        true => Ok(()),
        false => Err(invalid("it is no tar archive, or a header is damaged (its checksum is wrong)")),
    }
}

fn kind_of(header: &Header, path: &[u8]) -> Result<MemberKind> {
    Ok(match header.entry_type() {
        EntryType::Regular if path.ends_with(b"/") && header.as_ustar().is_none() => MemberKind::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => MemberKind::File,
        EntryType::Link => MemberKind::HardLink,
        EntryType::Symlink => MemberKind::Symlink,
        EntryType::Fifo => MemberKind::Fifo,
        EntryType::Directory => MemberKind::Directory,
        EntryType::Char | EntryType::Block => MemberKind::Device,
        other if other.as_byte() == b'V' => MemberKind::Label,
        other => return Err(invalid(format!("it has a member of the unknown kind {:?}", char::from(other.as_byte())))),
    })
}
