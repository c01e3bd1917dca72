//! Which packs a full check reads: all, those that an interrupted run did not come to, or a share.

use std::time::Duration;

use crate::clock::Time;
use crate::db::CheckedPack;
use crate::error::{Error, Kind, Result};
use crate::id::PackId;

/// A share of the packs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Go on where the last full check was interrupted: packs that it found sound are not read again.
    pub resume: bool,
    /// Only packs that were not read for this long.
    pub older_than: Option<Duration>,
    /// Only the first, second, … of so many parts of about the same size. A pack always belongs to the same part.
    pub part: Option<(u32, u32)>,
}

impl Share {
    /// Refuses a part that cannot be.
    pub fn validate(&self) -> Result<()> {
        match self.part {
            Some((part, parts)) if part == 0 || part > parts => {
                let message = format!("there is no part {part} of {parts}: use 1/{parts} to {parts}/{parts}");
                Err(Error::new(Kind::Invalid, message))
            }
            _ => Ok(()),
        }
    }

    /// Whether the pack belongs to the share, whenever it was read.
    pub(super) fn holds(&self, pack: &PackId, checked: Option<&CheckedPack>, now: Time) -> bool {
        let in_part = self.part.is_none_or(|(part, parts)| {
            let [first, second, third, fourth, ..] = *pack.as_bytes();
            u32::from_le_bytes([first, second, third, fourth]) % parts == part - 1
        });
        let old = match (self.older_than, checked) {
            (Some(age), Some(checked)) => now.as_nanos() - checked.checked.as_nanos() >= age.as_nanos() as i128,
            _ => true,
        };
        in_part && old
    }
}
