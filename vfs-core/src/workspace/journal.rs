//! The holder's journal: an endless sequence of records in segment files (decision 0006).
//!
//! A position is a byte offset in the sequence. Records are written in order under the workspace's lock, before the
//! operation is answered; [`super::committer`] makes them survive a power cut. A record's head is checked apart from
//! its payload, so that damage in the middle is told from a torn tail.

use std::fs::{File, OpenOptions};
use std::io::IoSlice;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::Record;
use crate::error::{Error, Kind, Result};
use crate::id::WorkspaceId;
use crate::limits::{JOURNAL_RECORD_MAX, JOURNAL_SEGMENT_TARGET};
use crate::object::codec::Writer;

const MAGIC: &[u8; 8] = b"ESKJRNL0";
/// Magic, workspace id, first position.
const HEADER: usize = 8 + WorkspaceId::LENGTH + 8;
/// Payload length, check of position and length, check of the payload.
const HEAD: usize = 12;

/// One file of the journal.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    path: PathBuf,
    first: u64,
}

impl Segment {
    /// Makes everything written to it survive a power cut.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }

    fn has_records(&self) -> bool {
        self.file.metadata().is_ok_and(|meta| meta.len() > HEADER as u64)
    }

    /// Reads bytes by journal position.
    pub(super) fn read_at(&self, position: u64, buffer: &mut [u8]) -> Result<()> {
        let offset = position - self.first + HEADER as u64;
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|error| Error::io(format!("cannot read the journal at {}", self.path.display()), error))
    }
}

/// Reads journalled bytes without the workspace's lock; keeps the files alive.
#[derive(Debug, Clone)]
pub(super) struct JournalReader(Vec<Arc<Segment>>);

impl JournalReader {
    /// Reads bytes by journal position; one record's data never crosses segments.
    pub(super) fn read_at(&self, position: u64, buffer: &mut [u8]) -> Result<()> {
        let after = self.0.partition_point(|segment| segment.first <= position);
        let segment = after.checked_sub(1).and_then(|index| self.0.get(index));
        segment.ok_or_else(|| Error::corrupt("content of a journal segment that is gone"))?.read_at(position, buffer)
    }
}

/// The end of the journal that is written to.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    workspace: WorkspaceId,
    /// Oldest first; the last one is written to.
    segments: Vec<Arc<Segment>>,
    /// Segments below the last cut that open, nameless files still read from.
    kept: Vec<Arc<Segment>>,
    position: u64,
    synced: u64,
    synced_noted: u64,
    staged: Vec<u8>,
}

impl Journal {
    /// Opens the journal for more records after a replay of `segments` (none: a new journal) ended at `position`.
    pub(super) fn resume(
        folder: &Path,
        workspace: WorkspaceId,
        segments: Vec<Arc<Segment>>,
        position: u64,
    ) -> Result<Journal> {
        let segments: Vec<_> =
            segments.into_iter().filter(|segment| segment.first < position && segment.has_records()).collect();
        let mut journal = Journal {
            folder: folder.to_owned(),
            workspace,
            synced: segments.first().map_or(position, |segment| segment.first),
            synced_noted: 0,
            segments,
            kept: Vec::new(),
            position,
            staged: Vec::new(),
        };
        journal.start_segment()?;
        Ok(journal)
    }

    /// The position after the last record.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Everything before this position survives a power cut.
    pub(super) fn synced(&self) -> u64 {
        self.synced
    }

    /// The position of the oldest record that is kept.
    pub(super) fn first(&self) -> u64 {
        self.segments.first().map_or(self.position, |segment| segment.first)
    }

    /// How many segment files are open.
    #[cfg(test)]
    pub(super) fn open_segments(&self) -> usize {
        self.kept.len() + self.segments.len()
    }

    /// The segments that may hold records that were not synced, oldest first.
    pub(super) fn unsynced(&self) -> Vec<Arc<Segment>> {
        let from = self.segments.partition_point(|segment| segment.first <= self.synced).saturating_sub(1);
        self.segments[from..].to_vec()
    }

    /// Notes that everything before `position` is on disk.
    pub(super) fn note_synced(&mut self, position: u64) {
        self.synced = self.synced.max(position);
    }

    /// A reader for all content that is journalled now.
    pub(super) fn reader(&self) -> JournalReader {
        JournalReader(self.kept.iter().chain(&self.segments).cloned().collect())
    }

    /// Prepares a record to be written by the next [`Journal::write`].
    pub(super) fn stage(&mut self, record: &Record<'_>) {
        self.stage_with(record, &[]);
    }

    fn stage_with(&mut self, record: &Record<'_>, data: &[u8]) -> u64 {
        let mut payload = Writer::default();
        record.encode(&mut payload);
        let payload = payload.finish();
        let position = self.position + self.staged.len() as u64;
        let length = (payload.len() + data.len()) as u32;
        self.staged.extend_from_slice(&length.to_le_bytes());
        self.staged.extend_from_slice(&head_check(position, length).to_le_bytes());
        self.staged.extend_from_slice(&payload_check(position, &[&payload, data]).to_le_bytes());
        self.staged.extend_from_slice(&payload);
        self.position + self.staged.len() as u64
    }

    /// Writes the staged records and this one; returns the position of the record's data.
    /// On an error nothing was appended.
    pub(super) fn write(&mut self, record: &Record<'_>, data: &[u8]) -> Result<u64> {
        if self.synced > self.synced_noted {
            let position = self.synced;
            self.stage(&Record::Synced { position });
        }
        let data_position = self.stage_with(record, data);
        let result = self.flush(data);
        self.staged.clear();
        result?;
        self.synced_noted = self.synced;
        Ok(data_position)
    }

    /// Says in the journal what is on disk, where no other record has said it for a while. The mark itself is not
    /// worth another one.
    pub(super) fn mark_synced(&mut self) -> Result<()> {
        if self.synced <= self.synced_noted {
            return Ok(());
        }
        let position = self.synced;
        self.synced_noted = self.synced;
        self.write(&Record::Synced { position }, &[])?;
        self.synced_noted = self.position;
        Ok(())
    }

    fn flush(&mut self, data: &[u8]) -> Result<()> {
        if self.staged.len() + data.len() > JOURNAL_RECORD_MAX {
            return Err(Error::new(Kind::LimitExceeded, "a journal record is too long"));
        }
        let segment = self.segments.last().expect("because a journal always has a segment");
        let offset = self.position - segment.first + HEADER as u64;
        let total = self.staged.len() + data.len();
        let written = rustix::io::pwritev(&segment.file, &[IoSlice::new(&self.staged), IoSlice::new(data)], offset);
        let written = match written {
            Ok(written) => written,
            Err(error) => return Err(write_error(&segment.path, error.into())),
        };
        if written < total {
            // A short write happens when the disk fills up: finish it or fail with the reason.
            let rest: Vec<u8> = self.staged.iter().chain(data).copied().skip(written).collect();
            if let Err(error) = segment.file.write_all_at(&rest, offset + written as u64) {
                return Err(write_error(&segment.path, error));
            }
        }
        self.position += total as u64;
        if self.position - segment.first > JOURNAL_SEGMENT_TARGET && self.start_segment().is_err() {
            tracing::warn!("the journal goes on in a segment that is too long: a new one could not be made");
        }
        Ok(())
    }

    fn start_segment(&mut self) -> Result<()> {
        let path = self.folder.join(format!("{:016x}.journal", self.position));
        let context = || format!("cannot start a journal segment at {}", path.display());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| Error::io(context(), error))?;
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(self.workspace.as_bytes());
        header.extend_from_slice(&self.position.to_le_bytes());
        file.write_all_at(&header, 0).map_err(|error| write_error(&path, error))?;
        if let Err(error) = super::folder::sync_folder(&self.folder) {
            // An empty segment in the middle of the journal would look like a gap.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        self.segments.push(Arc::new(Segment { file, path, first: self.position }));
        Ok(())
    }

    /// Ends the present segment, so that a checkpoint can cut here; returns the position.
    pub(super) fn rotate(&mut self) -> Result<u64> {
        let empty = self.segments.last().is_some_and(|segment| segment.first == self.position);
        if !empty {
            self.start_segment()?;
        }
        Ok(self.position)
    }

    /// Removes the segments below `position`; those with `needed` positions (of open files without a name) stay
    /// readable through their descriptors.
    pub(super) fn cut(&mut self, position: u64, needed: &[u64]) {
        let keep_from = self.segments.partition_point(|segment| segment.first < position).min(self.segments.len() - 1);
        let gone: Vec<_> = self.segments.drain(..keep_from).collect();
        for segment in &gone {
            if let Err(error) = std::fs::remove_file(&segment.path) {
                tracing::warn!(path = %segment.path.display(), %error, "a published journal segment could not be removed");
            }
        }
        self.kept.extend(gone);
        let all: Vec<u64> = self.kept.iter().chain(&self.segments).map(|segment| segment.first).collect();
        let holder_of = |position: &u64| all.partition_point(|first| first <= position).checked_sub(1);
        let used: std::collections::BTreeSet<usize> = needed.iter().filter_map(holder_of).collect();
        let mut index = 0..;
        self.kept.retain(|_| index.next().is_some_and(|index| used.contains(&index)));
        self.synced = self.synced.max(self.first());
    }
}

fn write_error(path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("cannot write the journal at {}", path.display()), error)
}

fn head_check(position: u64, length: u32) -> u32 {
    payload_check(position, &[&length.to_le_bytes()])
}

fn payload_check(position: u64, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&position.to_le_bytes());
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// A journal that was found on disk.
pub(super) struct Found {
    /// Its segments, oldest first.
    pub(super) segments: Vec<Arc<Segment>>,
}

/// One record found at a position.
struct At<'a> {
    payload: &'a [u8],
    next: usize,
}

impl Found {
    /// Finds the segments in `folder` from `position` on.
    pub(super) fn open(folder: &Path, workspace: WorkspaceId, position: u64) -> Result<Found> {
        let mut segments = Vec::new();
        for path in super::folder::segment_paths(folder)? {
            let file = File::options()
                .read(true)
                .write(true)
                .open(&path)
                .map_err(|error| Error::io(format!("cannot open the journal segment {}", path.display()), error))?;
            let mut header = [0; HEADER];
            let corrupt = |why: &str| Error::corrupt(format!("the journal segment {} {why}", path.display()));
            if file.read_exact_at(&mut header, 0).is_err() {
                // The power went before the header was on disk; nothing after it can have been acknowledged.
                continue;
            }
            if header[..8] != *MAGIC {
                return Err(corrupt("is not a journal, or one of a newer Esker; move it away to go on without it"));
            }
            if header[8..24] != *workspace.as_bytes() {
                return Err(corrupt("belongs to another workspace; move it away to go on without it"));
            }
            let first = u64::from_le_bytes(header[24..].try_into().expect("because eight bytes are left"));
            if path.file_stem().is_none_or(|stem| *stem != *format!("{first:016x}")) {
                return Err(corrupt("is damaged: its first position is not the one in its name"));
            }
            segments.push(Arc::new(Segment { file, path, first }));
        }
        segments.sort_by_key(|segment| segment.first);
        let from = segments.partition_point(|segment| segment.first < position);
        if from < segments.len() && segments[from].first != position {
            return Err(Error::corrupt(format!(
                "the journal has no record at position {position}, where it must start"
            )));
        }
        for old in segments.drain(..from) {
            // Published before the crash; only the removal was missing.
            let _ = std::fs::remove_file(&old.path);
        }
        Ok(Found { segments })
    }

    /// Reads the records from the start.
    pub(super) fn replay(&self) -> Replay<'_> {
        Replay { found: self, index: 0, bytes: Vec::new(), at: 0, position: self.first(), ended: false }
    }

    fn first(&self) -> u64 {
        self.segments.first().map_or(0, |segment| segment.first)
    }

    /// A position that no record has reached.
    pub(super) fn end(&self) -> u64 {
        let length = |segment: &Segment| segment.file.metadata().map_or(0, |meta| meta.len());
        self.segments.last().map_or(0, |segment| segment.first + length(segment))
    }

    /// Everything from `position` in segment `index` on was never synced: cuts it off and puts later segments aside.
    fn tear(&self, index: usize, position: u64) -> Result<()> {
        tracing::warn!(
            position,
            "the journal ends in the middle of a record; what was written after the last sync is lost"
        );
        for (at, segment) in self.segments.iter().enumerate().skip(index) {
            if at == index && segment.first <= position {
                let length = position - segment.first + HEADER as u64;
                segment.file.set_len(length).map_err(|error| Error::io("cannot cut the journal's torn tail", error))?;
            } else {
                std::fs::rename(&segment.path, segment.path.with_extension("torn"))
                    .map_err(|error| Error::io("cannot put a torn journal segment aside", error))?;
            }
        }
        Ok(())
    }

    /// Refuses a bad record at `position` if a later one says that it had been synced.
    fn refuse_damage(&self, index: usize, position: u64) -> Result<()> {
        for segment in &self.segments[index..] {
            let bytes = std::fs::read(&segment.path).map_err(|error| Error::io("cannot read the journal", error))?;
            let bytes = bytes.get(HEADER..).unwrap_or_default();
            let mut at = position.saturating_sub(segment.first) as usize;
            while at < bytes.len() {
                let Some(found) = record_at(bytes, at, segment.first) else {
                    at += 1;
                    continue;
                };
                at = found.next;
                if let Ok(Record::Synced { position: synced }) = Record::decode(found.payload)
                    && synced > position
                {
                    return Err(Error::corrupt(format!(
                        "the journal segment {} is damaged at position {position}; nothing was changed: restore the \
                         file, or move the folder away to go on from the last checkpoint",
                        self.segments[index].path.display()
                    )));
                }
            }
        }
        Ok(())
    }

    /// Whether there is at least one record.
    pub(super) fn has_records(&self) -> bool {
        self.segments.iter().any(|segment| segment.has_records())
    }
}

/// Gives one record after the other. A torn tail is cut off; damage in what was synced is refused.
pub(super) struct Replay<'a> {
    found: &'a Found,
    index: usize,
    bytes: Vec<u8>,
    at: usize,
    position: u64,
    ended: bool,
}

impl Replay<'_> {
    /// The position after the last record that was given.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next record with the position of its end.
    pub(super) fn next(&mut self) -> Result<Option<(Record<'_>, u64)>> {
        while self.at >= self.bytes.len() {
            let Some(segment) = self.found.segments.get(self.index).filter(|_| !self.ended) else { return Ok(None) };
            if segment.first != self.position {
                self.found.refuse_damage(self.index, self.position)?;
                self.found.tear(self.index, self.position)?;
                self.ended = true;
                return Ok(None);
            }
            let bytes = std::fs::read(&segment.path).map_err(|error| Error::io("cannot read the journal", error))?;
            self.bytes = bytes.get(HEADER..).unwrap_or_default().to_vec();
            self.at = 0;
            self.index += 1;
        }
        let first = self.position - self.at as u64;
        let Some(At { payload, next }) = record_at(&self.bytes, self.at, first) else {
            self.found.refuse_damage(self.index - 1, self.position)?;
            self.found.tear(self.index - 1, self.position)?;
            self.ended = true;
            self.at = usize::MAX;
            return Ok(None);
        };
        self.position = first + next as u64;
        self.at = next;
        Ok(Some((Record::decode(payload)?, self.position)))
    }
}

fn record_at(bytes: &[u8], at: usize, first: u64) -> Option<At<'_>> {
    let head = bytes.get(at..at + HEAD)?;
    let word = |index: usize| u32::from_le_bytes(head[index * 4..index * 4 + 4].try_into().expect("because 4 bytes"));
    let position = first + at as u64;
    if head_check(position, word(0)) != word(1) {
        return None;
    }
    let next = at + HEAD + word(0) as usize;
    let payload = bytes.get(at + HEAD..next)?;
    (payload_check(position, &[payload]) == word(2)).then_some(At { payload, next })
}
