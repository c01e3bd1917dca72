//! Cutting the changed content of one file: what the base has at its place stays, the rest becomes new chunks.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::cache::CachedBase;
use super::data::overlapping;
use super::extents::{Extents, Source};
use super::journal::JournalReader;
use crate::chunk::{Cutter, Step};
use crate::error::{Error, Result};
use crate::limits::INLINE_MAX;
use crate::object::{Blob, Content, Extent};

/// A file's content at the moment of a cut.
pub(super) struct FileView {
    pub(super) base: Content,
    pub(super) base_limit: u64,
    pub(super) size: u64,
    pub(super) overlay: Extents,
}

/// Cuts one view; yields chunks and holes in order.
pub(super) struct ContentCutter<'a> {
    view: &'a FileView,
    cache: &'a CachedBase,
    reader: &'a JournalReader,
    base: Arc<Blob>,
    cutter: Cutter,
}

impl<'a> ContentCutter<'a> {
    pub(super) async fn new(
        view: &'a FileView,
        cache: &'a CachedBase,
        reader: &'a JournalReader,
    ) -> Result<ContentCutter<'a>> {
        let base = match &view.base {
            Content::Inline(_) => Arc::default(),
            Content::Chunk(chunk) => Arc::new(Blob::new([Extent::Chunk(*chunk)])),
            Content::Blob { id, .. } => cache.read_blob(*id).await?,
        };
        let (holes, changed) = ranges(view, &base);
        let cutter = Cutter::new(view.size, &holes).knowing(base.extents(), &changed);
        Ok(ContentCutter { view, cache, reader, base, cutter })
    }

    /// The whole content, if it is kept inline.
    pub(super) async fn inline(&self) -> Result<Option<Bytes>> {
        if self.view.size > INLINE_MAX as u64 {
            return Ok(None);
        }
        self.read(0..self.view.size).await.map(Some)
    }

    /// The next chunk or hole; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Step>> {
        loop {
            match self.cutter.step() {
                Some(Step::Read(range)) => {
                    let bytes = self.read(range).await?;
                    self.cutter.feed(&bytes);
                }
                other => return Ok(other),
            }
        }
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let mut done = 0;
        for (length, source) in self.view.overlay.plan(range.start, range.end - range.start, self.view.base_limit) {
            let target = &mut bytes[done..done + length as usize];
            match source {
                Source::Hole => {}
                Source::Journal(position) => self.reader.read_at(position, target)?,
                Source::Base(offset) => self.read_base(offset, target).await?,
            }
            done += length as usize;
        }
        Ok(bytes.into())
    }

    async fn read_base(&self, offset: u64, target: &mut [u8]) -> Result<()> {
        if let Content::Inline(content) = &self.view.base {
            let start = offset as usize;
            let content = content.get(start..start + target.len());
            target.copy_from_slice(content.ok_or_else(|| Error::corrupt("inline content is too short"))?);
            return Ok(());
        }
        let mut done = 0;
        for (extent, skip, length) in overlapping(&self.base, offset, target.len() as u64) {
            if let Extent::Chunk(chunk) = extent {
                let content = self.cache.read_chunk(&chunk).await?;
                target[done..done + length as usize].copy_from_slice(&content[skip as usize..][..length as usize]);
            }
            done += length as usize;
        }
        Ok(())
    }
}

/// The holes of a view, and where its bytes may differ from the base.
fn ranges(view: &FileView, base: &Blob) -> (Vec<Range<u64>>, Vec<Range<u64>>) {
    let (mut holes, mut changed) = (Vec::new(), Vec::new());
    let mut at = 0;
    for (length, source) in view.overlay.plan(0, view.size, view.base_limit) {
        match source {
            Source::Journal(_) => push(&mut changed, at..at + length),
            Source::Hole => {
                push(&mut changed, at..at + length);
                push(&mut holes, at..at + length);
            }
            Source::Base(offset) => {
                let mut start = at;
                for (extent, _, length) in overlapping(base, offset, length) {
                    if let Extent::Hole(_) = extent {
                        push(&mut holes, start..start + length);
                    }
                    start += length;
                }
            }
        }
        at += length;
    }
    (holes, changed)
}

/// Appends a range, or lengthens the last one where it goes on.
fn push(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}
