//! What PAX records and header fields say.

use super::source::invalid;
use crate::clock::Time;
use crate::error::Result;

/// What extended headers say of the next member, or of all that follow.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Sparse,
}

/// What PAX says of a sparse file, in one of its three ways.
#[derive(Debug, Clone, Default)]
pub(super) struct Sparse {
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// The map stands before the data.
    pub(super) in_data: bool,
    /// Numbers: offset, length, offset, length...
    pub(super) map: Vec<u64>,
}

impl Records {
    /// Reads PAX records: each says its length, so that values may hold anything.
    pub(super) fn read(&mut self, mut data: &[u8]) -> Result<()> {
        let malformed = || invalid("it has a malformed PAX header");
        while !data.is_empty() {
            let space = data.iter().take(20).position(|byte| *byte == b' ').ok_or_else(malformed)?;
            let length = usize::try_from(decimal(&data[..space])?).map_err(|_| malformed())?;
            if length <= space + 1 || length > data.len() || data[length - 1] != b'\n' {
                return Err(malformed());
            }
            let record = &data[space + 1..length - 1];
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
            self.take(&record[..equals], &record[equals + 1..])?;
            data = &data[length..];
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(decimal(value)?),
            b"uid" => self.uid = Some(decimal(value)?),
            b"gid" => self.gid = Some(decimal(value)?),
            b"mtime" => self.mtime = Some(time(value)?),
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.size = Some(decimal(value)?),
            b"GNU.sparse.major" => self.sparse.in_data = value == b"1",
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.sparse.map.push(decimal(value)?),
            b"GNU.sparse.map" => {
                self.sparse.map = value.split(|byte| *byte == b',').map(decimal).collect::<Result<_>>()?;
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((decoded(name), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// GNU tar writes `=` in a name as `%3D` and so `%` as `%25`.
fn decoded(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, behind)) = rest.split_first() {
        (rest, _) = match rest {
            [b'%', b'3', b'D', behind @ ..] => (behind, out.push(b'=')),
            [b'%', b'2', b'5', behind @ ..] => (behind, out.push(b'%')),
            _ => (behind, out.push(*first)),
        };
    }
    out
}

/// A number in decimal digits.
pub(super) fn decimal(text: &[u8]) -> Result<u64> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).ok_or_else(|| invalid("it has a malformed number"))
}

/// A time in seconds with a fraction, cut to nanoseconds; may be negative.
fn time(text: &[u8]) -> Result<Time> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = i128::from(decimal(parts.next().unwrap_or_default())?.min(i64::MAX as u64 / 2));
    let mut nanos = 0;
    let mut digits = parts.next().unwrap_or_default().iter();
    for _ in 0..9 {
        let digit = digits.next().copied().unwrap_or(b'0');
        nanos = nanos * 10 + i128::from(decimal(&[digit])?);
    }
    let all = seconds * 1_000_000_000 + nanos;
    Ok(Time::from_nanos(if negative { -all } else { all }))
}

/// A number of a header: octal digits, or binary with the first bit set.
pub(super) fn field(bytes: &[u8]) -> Result<i128> {
    let malformed = || invalid("a header has a malformed number");
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => {
            // Two's complement in what is left of the first byte and all others.
            let negative = first & 0x40 != 0;
            let first = i128::from(first & 0x3f) | if negative { !0x3f } else { 0 };
            bytes[1..].iter().try_fold(first, |number, byte| {
                number.checked_mul(256).map(|number| number | i128::from(*byte)).ok_or_else(malformed)
            })
        }
        _ => {
            let digits: Vec<u8> = bytes.iter().copied().filter(|byte| !matches!(byte, b' ' | 0)).collect();
            if !digits.iter().all(|digit| (b'0'..=b'7').contains(digit)) {
                return Err(malformed());
            }
            Ok(digits.iter().fold(0, |number, digit| number * 8 + i128::from(digit - b'0')))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_may_hold_anything_and_must_say_their_length() {
        let mut records = Records::default();
        records.read(b"17 path=a\nb=c\xff\n\0d\n30 mtime=-5.2500000001234567\n").unwrap_err();
        let value = b"line\nbreak=\0";
        let mut data = format!("{} SCHILY.xattr.user.a%3Db=", 27 + value.len() + 1).into_bytes();
        data.extend_from_slice(value);
        data.push(b'\n');
        data.extend_from_slice(b"15 mtime=-5.25\n");
        let mut records = Records::default();
        records.read(&data).unwrap();
        assert_eq!(records.xattrs, [(b"user.a=b".to_vec(), value.to_vec())]);
        assert_eq!(records.mtime, Some(Time { seconds: -6, nanos: 750_000_000 }));
        for bad in [&b"x"[..], b"5 a=b\n", b"7 a=b\n", b"6 ab\n\n", b"0 a=b\n", b"99999999999999999999 a=b\n"] {
            assert!(Records::default().read(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn numbers_are_octal_or_binary_and_may_be_negative() {
        assert_eq!(field(b"0000644\0").unwrap(), 0o644);
        assert_eq!(field(b"        ").unwrap(), 0);
        assert_eq!(field(&[0x80, 0, 0, 0, 0, 0, 1, 0]).unwrap(), 256);
        assert_eq!(field(&[0xff; 12]).unwrap(), -1);
        assert!(field(b"9").is_err());
    }
}
