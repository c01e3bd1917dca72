//! One open document in memory: what its process sees and has not stored yet.
//!
//! Keeps true: a write never loses what others wrote (each is sent with the version that this buffer grew from); what
//! could not be sent stays; nothing is larger than a document may be.

use api::client::Basis;
use bytes::Bytes;
use fuser::Errno;
use vfs_core::clock::Time;
use vfs_core::limits::DOCUMENT_MAX;

/// A write that cannot be stored fails at once.
const SIZE_MAX_BYTES: u64 = DOCUMENT_MAX as u64;

/// What of a buffer is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unsent {
    Nothing,
    /// It was made or emptied by the open itself; nothing was written yet.
    ByOpening,
    /// A program has changed it.
    Changes,
}

/// Content that was opened, and what became of it.
#[derive(Debug)]
pub(super) struct Buffer {
    /// `None` once the document was removed here: then, as with any file, nobody will see what is written.
    pub(super) path: Option<String>,
    pub(super) scope: String,
    /// What the next write is based on.
    pub(super) basis: Basis,
    /// When it was opened or changed last.
    pub(super) time: Time,
    content: Vec<u8>,
    unsent: Unsent,
    /// Counts changes, to tell whether some came while a write was under way.
    changes: u64,
    /// Names what is sent, together with `changes`.
    key: String,
    /// A close was answered without storing what the open did.
    put_off: bool,
    /// After a merge under a program that does not append: it believes the end to be here.
    believed_end: Option<u64>,
    /// The stored content is another one, and not known here: nothing more can be written.
    is_lost: bool,
}

/// A write that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) path: String,
    pub(super) scope: String,
    pub(super) basis: Basis,
    pub(super) content: Bytes,
    /// The same as long as the content is.
    pub(super) key: String,
    changes: u64,
}

/// A name for a write that nobody else chooses.
pub(super) fn fresh_key() -> String {
    // Without chance, every attempt is a write of its own.
    getrandom::u64().map_or_else(|_| String::new(), |number| format!("{number:016x}"))
}

impl Buffer {
    /// A document that was read.
    pub(super) fn read_from(path: String, scope: String, basis: Basis, content: &[u8], time: Time) -> Buffer {
        Buffer {
            path: Some(path),
            scope,
            basis,
            time,
            content: content.to_vec(),
            unsent: Unsent::Nothing,
            changes: 0,
            key: fresh_key(),
            put_off: false,
            believed_end: None,
            is_lost: false,
        }
    }

    /// The same, made or emptied by being opened.
    pub(super) fn empty(path: String, scope: String, basis: Basis, time: Time) -> Buffer {
        Buffer { unsent: Unsent::ByOpening, ..Buffer::read_from(path, scope, basis, b"", time) }
    }

    pub(super) fn len(&self) -> u64 {
        self.content.len() as u64
    }

    /// Whether something is left to send.
    pub(super) fn is_unsent(&self) -> bool {
        self.unsent != Unsent::Nothing && self.path.is_some()
    }

    /// Whether it is a document that no store has yet.
    pub(super) fn is_new(&self) -> bool {
        self.is_unsent() && self.basis == Basis::Absent
    }

    pub(super) fn read(&self, offset: u64, size: usize) -> &[u8] {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.content.len());
        &self.content[start..start.saturating_add(size).min(self.content.len())]
    }

    /// Writes at `offset`, or with `None` at the end of what was read.
    pub(super) fn write(&mut self, offset: Option<u64>, data: &[u8], time: Time) -> Result<(), Errno> {
        if self.is_lost {
            return Err(Errno::ESTALE);
        }
        let start = match (offset, self.believed_end) {
            (None, _) => self.len(),
            (Some(offset), None) => offset,
            // It goes on after its own end; anywhere else it might hit what somebody else wrote.
            (Some(offset), Some(end)) if offset >= end => self.len() + (offset - end),
            (Some(_), Some(_)) => return Err(Errno::ESTALE),
        };
        let end = start.checked_add(data.len() as u64).filter(|end| *end <= SIZE_MAX_BYTES).ok_or(Errno::EFBIG)?;
        let (start, end) = (start as usize, end as usize);
        if end > self.content.len() {
            self.content.resize(end, 0);
        }
        self.content[start..end].copy_from_slice(data);
        if let Some(believed) = &mut self.believed_end {
            *believed = (*believed).max(offset.unwrap_or(*believed) + data.len() as u64);
        }
        self.changed(time);
        Ok(())
    }

    pub(super) fn resize(&mut self, size: u64, time: Time) -> Result<(), Errno> {
        if size > SIZE_MAX_BYTES {
            return Err(Errno::EFBIG);
        }
        if self.is_lost || (self.believed_end.is_some() && size != 0) {
            return Err(Errno::ESTALE);
        }
        if size != self.len() || self.believed_end.is_some() {
            self.believed_end = None;
            self.content.resize(size as usize, 0);
            self.changed(time);
        }
        Ok(())
    }

    fn changed(&mut self, time: Time) {
        self.time = time;
        self.unsent = Unsent::Changes;
        self.changes += 1;
    }

    /// Whether a close has something to store. A shell closes a copy of the descriptor before anything is written, so what the open
    /// alone did waits for the next close or the last.
    pub(super) fn sends_at_close(&mut self) -> bool {
        if self.unsent == Unsent::ByOpening && !self.put_off {
            self.put_off = true;
            return false;
        }
        self.is_unsent()
    }

    /// What is not stored.
    pub(super) fn letter(&self) -> Option<Letter> {
        let path = self.path.clone().filter(|_| self.unsent != Unsent::Nothing)?;
        Some(Letter {
            path,
            scope: self.scope.clone(),
            basis: self.basis,
            content: Bytes::copy_from_slice(&self.content),
            key: format!("{}-{}", self.key, self.changes),
            changes: self.changes,
        })
    }

    /// The letter was stored as this version, or there is no use in sending it again (`None`).
    pub(super) fn sent(&mut self, letter: &Letter, version: Option<u64>) {
        if let Some(version) = version {
            self.basis = Basis::Version(version);
        }
        if self.changes == letter.changes {
            self.unsent = Unsent::Nothing;
        }
    }

    /// The stored content is not what was opened or sent: no more writes before it is opened again.
    pub(super) fn lose(&mut self) {
        self.is_lost = true;
    }

    /// The letter was merged: the document is `content` now. What was written meanwhile is put behind it.
    pub(super) fn merged(&mut self, letter: &Letter, version: u64, content: &[u8]) {
        let believed = self.believed_end.unwrap_or(self.len());
        let later = match self.content.strip_prefix(&letter.content[..]) {
            Some(later) => later.to_vec(),
            // It was changed in the middle meanwhile, of which nobody can say where that is now.
            None => return self.lose(),
        };
        self.content = [content, &later].concat();
        self.believed_end = Some(believed);
        self.is_lost = false;
        self.sent(letter, Some(version));
    }
}

#[cfg(test)]
mod tests;
