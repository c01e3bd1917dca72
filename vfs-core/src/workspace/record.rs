//! The records of the journal (decision 0006): one for each change, enough to make it again.

use crate::clock::Time;
use crate::error::Result;
use crate::limits::{NAME_MAX, SYMLINK_MAX, XATTR_VALUE_MAX};
use crate::object::codec::{Reader, Writer};
use crate::object::{FileKind, Ino};

/// One change of the overlay. Everything in it was checked before it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// Everything before this position was on disk when this record was written.
    Synced { position: u64 },
    /// Inode numbers that may be used from here on.
    Inos { first: u64, count: u64 },
    /// Where an inode of the base is, before its first change in a checkpoint period.
    Adopt { ino: Ino, place: Place<'a> },
    /// A new inode with its first name.
    Make {
        parent: Ino,
        name: &'a [u8],
        ino: Ino,
        kind: FileKind,
        mode: u16,
        uid: u32,
        gid: u32,
        rdev: u32,
        target: &'a [u8],
        time: Time,
    },
    /// One more name.
    Link { ino: Ino, parent: Ino, name: &'a [u8], time: Time },
    /// A name goes; with the last one the inode.
    Unlink { ino: Ino, parent: Ino, name: &'a [u8], time: Time },
    /// A name moves; what it replaces goes.
    Rename {
        ino: Ino,
        parent: Ino,
        name: &'a [u8],
        new_parent: Ino,
        new_name: &'a [u8],
        replaced: Option<Ino>,
        exchange: bool,
        time: Time,
    },
    /// Attributes change.
    Attr {
        ino: Ino,
        mode: Option<u16>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<Time>,
        mtime: Option<Time>,
        time: Time,
    },
    /// Content; the data follows the record's head and is the end of the record.
    Write { ino: Ino, offset: u64, mode: Option<u16>, time: Time, length: u64 },
    /// Zeros where there was content; the file has `size` bytes afterwards.
    Zero { ino: Ino, offset: u64, length: u64, size: u64, mode: Option<u16>, time: Time },
    /// An extended attribute is set or removed.
    Xattr { ino: Ino, name: &'a [u8], value: Option<&'a [u8]>, time: Time },
    /// A new file without a name. If no [`Record::Place`] follows, it never was.
    Fresh { ino: Ino, mode: u16, uid: u32, gid: u32, time: Time },
    /// A fresh file, complete by now, gets its name; what has the name goes.
    Place { ino: Ino, parent: Ino, name: &'a [u8], replaced: Option<Ino>, time: Time },
}

/// Where an adopted inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// In the base tree of this directory, under this name.
    Name { parent: Ino, name: &'a [u8] },
    /// In the base's link table.
    LinkTable,
    /// Nowhere: it lost its last name and is still open. Its changes are lost with the mount.
    Nowhere,
}

impl<'a> Record<'a> {
    /// Appends the payload. A write's data is appended by the caller.
    pub(super) fn encode(&self, out: &mut Writer) {
        match *self {
            Record::Synced { position } => {
                out.u8(0);
                out.varint(position);
            }
            Record::Inos { first, count } => {
                out.u8(1);
                out.varint(first);
                out.varint(count);
            }
            Record::Adopt { ino, place } => {
                out.u8(2);
                out.varint(ino.0);
                match place {
                    Place::Name { parent, name } => {
                        out.u8(0);
                        put_name(out, parent, name);
                    }
                    Place::LinkTable => out.u8(1),
                    Place::Nowhere => out.u8(2),
                }
            }
            Record::Make { parent, name, ino, kind, mode, uid, gid, rdev, target, time } => {
                out.u8(3);
                put_name(out, parent, name);
                out.varint(ino.0);
                out.u8(kind.tag());
                for value in [u32::from(mode), uid, gid, rdev] {
                    out.varint(value.into());
                }
                out.bytes(target);
                out.time(time);
            }
            Record::Link { ino, parent, name, time } => put_named(out, 4, ino, parent, name, time),
            Record::Unlink { ino, parent, name, time } => put_named(out, 5, ino, parent, name, time),
            Record::Rename { ino, parent, name, new_parent, new_name, replaced, exchange, time } => {
                put_named(out, 6, ino, parent, name, time);
                put_name(out, new_parent, new_name);
                put_option(out, replaced.map(|ino| ino.0));
                out.u8(exchange.into());
            }
            Record::Attr { ino, mode, uid, gid, size, atime, mtime, time } => {
                out.u8(7);
                out.varint(ino.0);
                put_option(out, mode.map(u64::from));
                put_option(out, uid.map(u64::from));
                put_option(out, gid.map(u64::from));
                put_option(out, size);
                put_time(out, atime);
                put_time(out, mtime);
                out.time(time);
            }
            Record::Write { ino, offset, mode, time, length } => {
                out.u8(8);
                out.varint(ino.0);
                out.varint(offset);
                put_option(out, mode.map(u64::from));
                out.time(time);
                out.varint(length);
            }
            Record::Zero { ino, offset, length, size, mode, time } => {
                out.u8(9);
                out.varint(ino.0);
                out.varint(offset);
                out.varint(length);
                out.varint(size);
                put_option(out, mode.map(u64::from));
                out.time(time);
            }
            Record::Xattr { ino, name, value, time } => {
                out.u8(10);
                out.varint(ino.0);
                out.bytes(name);
                out.u8(value.is_some().into());
                out.bytes(value.unwrap_or_default());
                out.time(time);
            }
            Record::Fresh { ino, mode, uid, gid, time } => {
                out.u8(11);
                out.varint(ino.0);
                for value in [u32::from(mode), uid, gid] {
                    out.varint(value.into());
                }
                out.time(time);
            }
            Record::Place { ino, parent, name, replaced, time } => {
                put_named(out, 12, ino, parent, name, time);
                put_option(out, replaced.map(|ino| ino.0));
            }
        }
    }

    /// Reads a payload; the data of a write is the last `length` bytes of it.
    pub(super) fn decode(payload: &'a [u8]) -> Result<Record<'a>> {
        let mut from = Reader::new(payload, "journal record");
        let record = match from.u8()? {
            0 => Record::Synced { position: from.varint()? },
            1 => Record::Inos { first: from.varint()?, count: from.varint()? },
            2 => Record::Adopt { ino: Ino(from.varint()?), place: take_place(&mut from)? },
            3 => take_make(&mut from)?,
            4 => {
                let (ino, parent, name, time) = take_named(&mut from)?;
                Record::Link { ino, parent, name, time }
            }
            5 => {
                let (ino, parent, name, time) = take_named(&mut from)?;
                Record::Unlink { ino, parent, name, time }
            }
            6 => {
                let (ino, parent, name, time) = take_named(&mut from)?;
                let (new_parent, new_name) = take_name(&mut from)?;
                let replaced = take_option(&mut from)?.map(Ino);
                Record::Rename { ino, parent, name, new_parent, new_name, replaced, exchange: from.flag()?, time }
            }
            7 => Record::Attr {
                ino: Ino(from.varint()?),
                mode: take_small(&mut from)?,
                uid: take_small(&mut from)?,
                gid: take_small(&mut from)?,
                size: take_option(&mut from)?,
                atime: take_time(&mut from)?,
                mtime: take_time(&mut from)?,
                time: from.time()?,
            },
            8 => {
                let (ino, offset, mode) = (Ino(from.varint()?), from.varint()?, take_small(&mut from)?);
                let (time, length) = (from.time()?, from.varint()?);
                if length != from.remaining() as u64 {
                    return Err(from.corrupt("of a write holds another length of data than it says"));
                }
                return Ok(Record::Write { ino, offset, mode, time, length });
            }
            9 => Record::Zero {
                ino: Ino(from.varint()?),
                offset: from.varint()?,
                length: from.varint()?,
                size: from.varint()?,
                mode: take_small(&mut from)?,
                time: from.time()?,
            },
            10 => {
                let (ino, name) = (Ino(from.varint()?), from.bytes(NAME_MAX)?);
                let set = from.flag()?;
                let value = from.bytes(XATTR_VALUE_MAX)?;
                if !set && !value.is_empty() {
                    return Err(from.corrupt("removes an attribute and gives it a value"));
                }
                Record::Xattr { ino, name, value: set.then_some(value), time: from.time()? }
            }
            11 => Record::Fresh {
                ino: Ino(from.varint()?),
                mode: take_mode(&mut from)?,
                uid: from.varint_u32()?,
                gid: from.varint_u32()?,
                time: from.time()?,
            },
            12 => {
                let (ino, parent, name, time) = take_named(&mut from)?;
                Record::Place { ino, parent, name, replaced: take_option(&mut from)?.map(Ino), time }
            }
            tag => return Err(from.corrupt(format!("has the unknown kind {tag}: a newer Esker wrote it"))),
        };
        from.finish()?;
        Ok(record)
    }
}

fn put_name(out: &mut Writer, parent: Ino, name: &[u8]) {
    out.varint(parent.0);
    out.bytes(name);
}

fn put_named(out: &mut Writer, tag: u8, ino: Ino, parent: Ino, name: &[u8], time: Time) {
    out.u8(tag);
    out.varint(ino.0);
    put_name(out, parent, name);
    out.time(time);
}

fn put_option(out: &mut Writer, value: Option<u64>) {
    out.u8(value.is_some().into());
    if let Some(value) = value {
        out.varint(value);
    }
}

fn put_time(out: &mut Writer, time: Option<Time>) {
    out.u8(time.is_some().into());
    if let Some(time) = time {
        out.time(time);
    }
}

fn take_name<'a>(from: &mut Reader<'a>) -> Result<(Ino, &'a [u8])> {
    Ok((Ino(from.varint()?), from.bytes(NAME_MAX)?))
}

fn take_named<'a>(from: &mut Reader<'a>) -> Result<(Ino, Ino, &'a [u8], Time)> {
    let ino = Ino(from.varint()?);
    let (parent, name) = take_name(from)?;
    Ok((ino, parent, name, from.time()?))
}

fn take_option(from: &mut Reader<'_>) -> Result<Option<u64>> {
    if from.flag()? { from.varint().map(Some) } else { Ok(None) }
}

fn take_small<T: TryFrom<u64>>(from: &mut Reader<'_>) -> Result<Option<T>> {
    let Some(value) = take_option(from)? else { return Ok(None) };
    value.try_into().map(Some).map_err(|_| from.corrupt("holds a number out of range"))
}

fn take_mode(from: &mut Reader<'_>) -> Result<u16> {
    from.varint()?.try_into().map_err(|_| from.corrupt("holds a mode out of range"))
}

fn take_time(from: &mut Reader<'_>) -> Result<Option<Time>> {
    if from.flag()? { from.time().map(Some) } else { Ok(None) }
}

fn take_place<'a>(from: &mut Reader<'a>) -> Result<Place<'a>> {
    match from.u8()? {
        0 => take_name(from).map(|(parent, name)| Place::Name { parent, name }),
        1 => Ok(Place::LinkTable),
        2 => Ok(Place::Nowhere),
        _ => Err(from.corrupt("names a place of an unknown kind")),
    }
}

fn take_make<'a>(from: &mut Reader<'a>) -> Result<Record<'a>> {
    let (parent, name) = take_name(from)?;
    let ino = Ino(from.varint()?);
    let tag = from.u8()?;
    let kind = FileKind::from_tag(tag).ok_or_else(|| from.corrupt("makes a file of an unknown kind"))?;
    let mode = take_mode(from)?;
    let (uid, gid, rdev) = (from.varint_u32()?, from.varint_u32()?, from.varint_u32()?);
    let target = from.bytes(SYMLINK_MAX)?;
    Ok(Record::Make { parent, name, ino, kind, mode, uid, gid, rdev, target, time: from.time()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_reads_back_and_nothing_longer_or_shorter_does() {
        let time = Time { seconds: -5, nanos: 999_999_999 };
        let (ino, parent, name) = (Ino(77), Ino(1), &b"a\xff"[..]);
        let records = [
            Record::Synced { position: 4096 },
            Record::Inos { first: 16, count: 65_536 },
            Record::Adopt { ino, place: Place::Name { parent, name } },
            Record::Adopt { ino, place: Place::LinkTable },
            Record::Adopt { ino, place: Place::Nowhere },
            Record::Make {
                parent,
                name,
                ino,
                kind: FileKind::Symlink,
                mode: 0o777,
                uid: 1,
                gid: 2,
                rdev: 3,
                target: b"x/y",
                time,
            },
            Record::Link { ino, parent, name, time },
            Record::Unlink { ino, parent, name, time },
            Record::Rename {
                ino,
                parent,
                name,
                new_parent: Ino(9),
                new_name: b"b",
                replaced: Some(Ino(5)),
                exchange: true,
                time,
            },
            Record::Attr {
                ino,
                mode: Some(0o4755),
                uid: None,
                gid: Some(7),
                size: Some(1 << 40),
                atime: Some(time),
                mtime: None,
                time,
            },
            Record::Zero { ino, offset: 5, length: 6, size: 11, mode: None, time },
            Record::Xattr { ino, name: b"user.a", value: Some(b""), time },
            Record::Xattr { ino, name: b"user.a", value: None, time },
            Record::Fresh { ino, mode: 0o640, uid: 1, gid: 2, time },
            Record::Place { ino, parent, name, replaced: Some(Ino(5)), time },
            Record::Place { ino, parent, name, replaced: None, time },
        ];
        for record in records {
            let mut writer = Writer::default();
            record.encode(&mut writer);
            let mut bytes = writer.finish();
            assert_eq!(Record::decode(&bytes).unwrap(), record);
            assert!(Record::decode(&bytes[..bytes.len() - 1]).is_err());
            bytes.push(0);
            assert!(Record::decode(&bytes).is_err());
        }
    }

    #[test]
    fn a_write_must_carry_all_its_data() {
        let record = Record::Write { ino: Ino(3), offset: 9, mode: Some(0o644), time: Time::default(), length: 4 };
        let mut writer = Writer::default();
        record.encode(&mut writer);
        let mut bytes = writer.finish();
        assert!(Record::decode(&bytes).is_err());
        bytes.extend_from_slice(b"data");
        assert_eq!(Record::decode(&bytes).unwrap(), record);
    }
}
