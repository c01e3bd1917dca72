//! The encoding of an inode's extended attributes.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::codec::{Reader, Writer};
use crate::error::{Error, Kind, Result};
use crate::limits::{NAME_MAX, XATTR_TOTAL_MAX, XATTR_VALUE_MAX};

/// Extended attributes, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Xattrs(BTreeMap<Bytes, Bytes>);

impl Xattrs {
    /// The value of one attribute.
    pub fn get(&self, name: &[u8]) -> Option<&Bytes> {
        self.0.get(name)
    }

    /// Sets one attribute; refuses names and values beyond Linux's limits and lists beyond ours.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<()> {
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(Error::new(Kind::TooSmall, "an attribute name has 1 to 255 bytes"));
        }
        if value.len() > XATTR_VALUE_MAX {
            return Err(Error::new(Kind::TooLarge, format!("an attribute value has at most {XATTR_VALUE_MAX} bytes")));
        }
        let replaced = self.get(name).map_or(0, |old| old.len() + name.len() + 8);
        if self.encoded_bound() - replaced + name.len() + value.len() + 8 > XATTR_TOTAL_MAX {
            return Err(Error::new(
                Kind::NoSpace,
                format!("all attributes of a file have at most {XATTR_TOTAL_MAX} bytes"),
            ));
        }
        self.0.insert(Bytes::copy_from_slice(name), Bytes::copy_from_slice(value));
        Ok(())
    }

    /// Removes one attribute; whether it was there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        self.0.remove(name).is_some()
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn encoded_bound(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len() + 8).sum::<usize>() + 8
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.varint(self.0.len() as u64);
        for (name, value) in &self.0 {
            writer.bytes(name);
            writer.bytes(value);
        }
        writer.finish()
    }

    /// Reads canonical bytes.
    pub fn decode(bytes: &[u8]) -> Result<Xattrs> {
        let mut reader = Reader::new(bytes, "list of extended attributes");
        let count = reader.varint()?;
        let mut list: BTreeMap<Bytes, Bytes> = BTreeMap::new();
        for _ in 0..count {
            let name = reader.owned_bytes(NAME_MAX)?;
            let value = reader.owned_bytes(XATTR_VALUE_MAX)?;
            let in_order = list.last_key_value().is_none_or(|(last, _)| *last < name);
            if name.is_empty() || !in_order {
                return Err(reader.corrupt("has names out of order"));
            }
            list.insert(name, value);
        }
        reader.finish()?;
        Ok(Xattrs(list))
    }
}
