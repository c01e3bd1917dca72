//! Content that comes in several requests before the write that uses it. In memory only: nothing of it is ever in the
//! workspace before the write, so nothing is left if the write never comes.

use std::collections::HashMap;
use std::time::Instant;

use parking_lot::Mutex;

use super::request::Raw;
use crate::error::{Error, Kind, Result};
use crate::limits::{FILE_WRITE_MAX, UPLOAD_IDLE, UPLOADS_BYTES_MAX};

/// Content that waits, by the number that the caller has chosen.
#[derive(Default)]
pub(super) struct Uploads(Mutex<HashMap<u64, Upload>>);

struct Upload {
    content: Vec<u8>,
    touched: Instant,
}

impl Uploads {
    /// Adds a piece; the one at 0 starts anew.
    pub(super) fn add(&self, upload: u64, offset: u64, piece: &Raw) -> Result<()> {
        let mut uploads = self.0.lock();
        let now = Instant::now();
        uploads.retain(|_, upload| now.duration_since(upload.touched) < UPLOAD_IDLE);
        if offset == 0 {
            uploads.remove(&upload);
        }
        let waiting: usize = uploads.values().map(|upload| upload.content.len()).sum();
        if waiting + piece.0.len() > UPLOADS_BYTES_MAX {
            return Err(Error::new(Kind::Unavailable, "too much content waits to be written; try again later"));
        }
        let entry = uploads.entry(upload).or_insert_with(|| Upload { content: Vec::new(), touched: now });
        if entry.content.len() as u64 != offset {
            uploads.remove(&upload);
            return Err(lost());
        }
        if entry.content.len() + piece.0.len() > FILE_WRITE_MAX {
            uploads.remove(&upload);
            return Err(too_large());
        }
        entry.content.extend_from_slice(&piece.0);
        entry.touched = now;
        Ok(())
    }

    /// Takes the whole content out.
    pub(super) fn take(&self, upload: u64, length: u64) -> Result<Vec<u8>> {
        let upload = self.0.lock().remove(&upload).ok_or_else(lost)?;
        if upload.content.len() as u64 == length { Ok(upload.content) } else { Err(lost()) }
    }
}

fn lost() -> Error {
    Error::new(Kind::Unavailable, "a part of the content was lost on its way; write the file again")
}

/// The refusal of a file that is too large for one write.
pub(super) fn too_large() -> Error {
    Error::new(Kind::TooLarge, format!("a file of more than {FILE_WRITE_MAX} bytes is written through a mount"))
}
