//! Names, paths and times in JSON and in queries.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use vfs_core::{Error, Kind, Result};

/// A moment: seconds since 1970 (may be negative) and nanoseconds after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Time {
    /// Whole seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, below 1,000,000,000.
    pub nanos: u32,
}

impl From<vfs_core::clock::Time> for Time {
    fn from(time: vfs_core::clock::Time) -> Self {
        Time { seconds: time.seconds, nanos: time.nanos }
    }
}

impl From<Time> for vfs_core::clock::Time {
    fn from(time: Time) -> Self {
        vfs_core::clock::Time { seconds: time.seconds, nanos: time.nanos }
    }
}

/// Bytes as text for JSON, and in hexadecimal as well where the text does not say them exactly.
pub fn to_text(bytes: &[u8]) -> (String, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (String::from_utf8_lossy(bytes).into_owned(), Some(hex::encode(bytes))),
    }
}

/// The bytes that [`to_text`] was given.
pub fn from_text(text: &str, exact: Option<&str>) -> Result<Vec<u8>> {
    match exact {
        None => Ok(text.as_bytes().to_vec()),
        Some(digits) => hex::decode(digits)
            .map_err(|error| Error::new(Kind::Invalid, format!("{digits:?} is not hexadecimal")).because(error)),
    }
}

/// What stands for itself in a query value: the unreserved characters of RFC 3986, and the slash.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// What stands for itself in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes bytes for a query value.
pub fn to_query(bytes: &[u8]) -> String {
    percent_encode(bytes, PLAIN).to_string()
}

/// Percent-encodes text for one segment of a URL's path.
pub fn to_segment(text: &str) -> String {
    percent_encode(text.as_bytes(), SEGMENT).to_string()
}

/// Percent-encodes bytes for one segment of a URL's path.
pub fn to_segment_bytes(bytes: &[u8]) -> String {
    percent_encode(bytes, SEGMENT).to_string()
}

/// The bytes of a percent-encoded query value; `+` is a space, as forms send it.
pub fn from_query(value: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(&value.replace('+', " ")).collect()
}
