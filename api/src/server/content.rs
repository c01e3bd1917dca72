//! A file's bytes as an answer: all of them, or one range, read ahead a little and never held as a whole.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use vfs_core::base::Base;
use vfs_core::object::{Blob, ChunkRef, Content, Extent};
use vfs_core::repo::Repo;
use vfs_core::{Error, Kind, Result};

use super::ServerState;
use super::ahead::to_its_end;
use super::error::{ApiError, ApiResult, log};
use crate::limits::{OFFSET_MAX, READ_AHEAD, ZEROES};

/// A run of bytes of a file: from `start` up to but not including `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    /// First byte.
    pub(super) start: u64,
    /// One behind the last byte.
    pub(super) end: u64,
}

/// What a `Range` header asks for, of a file of `size` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything: there is no header, or one that we do not take part in (RFC 9110 allows to ignore it).
    Whole,
    /// One range.
    Part(Range),
    /// Bytes beyond the end.
    Beyond,
}

/// Reads a `Range` header. Several ranges, other units and nonsense mean everything.
pub(super) fn asked(header: Option<&str>, size: u64) -> Asked {
    let Some(spec) = header.and_then(|value| value.trim().strip_prefix("bytes=")) else { return Asked::Whole };
    let Some((first, last)) = spec.split_once('-') else { return Asked::Whole };
    let number = |digits: &str| digits.trim().parse::<u64>().ok().filter(|number| *number <= OFFSET_MAX);
    match (first.trim(), last.trim()) {
        ("", last) => match number(last) {
            None => Asked::Whole,
            Some(0) => Asked::Beyond,
            Some(_) if size == 0 => Asked::Beyond,
            Some(length) => Asked::Part(Range { start: size.saturating_sub(length), end: size }),
        },
        (first, last) => match (number(first), if last.is_empty() { Some(OFFSET_MAX) } else { number(last) }) {
            (Some(first), Some(last)) if first > last => Asked::Whole,
            (Some(first), Some(_)) if first >= size => Asked::Beyond,
            (Some(first), Some(last)) => Asked::Part(Range { start: first, end: size.min(last + 1) }),
            _ => Asked::Whole,
        },
    }
}

/// The answer with a file's content.
pub(super) async fn answer(state: &ServerState, content: Content, range: Option<&HeaderValue>) -> ApiResult<Response> {
    let size = content.size();
    let asked = asked(range.and_then(|value| value.to_str().ok()), size);
    let (status, range) = match asked {
        Asked::Whole => (StatusCode::OK, Range { start: 0, end: size }),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Beyond => {
            let refusal = ApiError::range_not_satisfiable(size).into_response();
            return Ok(([(header::CONTENT_RANGE, format!("bytes */{size}"))], refusal).into_response());
        }
    };
    // Once the head is sent, an error can only break the body off: what is damaged at the start is said in the head.
    let mut pieces = Box::pin(read(state.repo().clone(), content, range).await?.peekable());
    if pieces.as_mut().peek().await.is_some_and(Result::is_err)
        && let Some(Err(error)) = pieces.next().await
    {
        return Err(error.into());
    }
    let mut response = (status, Body::from_stream(pieces)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&range).expect("because these are digits"));
    }
    Ok(response)
}

/// A piece of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// Bytes `from..to` of a chunk.
    Chunk { chunk: ChunkRef, from: usize, to: usize },
    /// That many zeroes, at most [`ZEROES`].
    Zeroes(usize),
}

async fn read(
    repo: Repo,
    content: Content,
    range: Range,
) -> Result<impl Stream<Item = Result<Bytes>> + Send + 'static + use<>> {
    let blob = match content {
        Content::Inline(bytes) => {
            let bytes = bytes.slice(range.start as usize..range.end as usize);
            return Ok(stream::once(async { Ok(bytes) }).left_stream());
        }
        Content::Chunk(chunk) => Arc::new(Blob::new([Extent::Chunk(chunk)])),
        Content::Blob { id, size } => {
            let blob = repo.blob(id).await?;
            if blob.size() != size {
                return Err(Error::corrupt(format!("a file of {size} bytes has a blob of {} bytes", blob.size())));
            }
            blob
        }
    };
    let zeroes = Bytes::from_static(&[0; ZEROES]);
    let pieces = stream::iter(pieces(blob, range)).map(move |piece| {
        let (repo, zeroes) = (repo.clone(), zeroes.clone());
        to_its_end(async move { fetch(&repo, &zeroes, piece).await.inspect_err(log) })
    });
    Ok(pieces.buffered(READ_AHEAD).right_stream())
}

async fn fetch(repo: &Repo, zeroes: &Bytes, piece: Piece) -> Result<Bytes> {
    match piece {
        Piece::Zeroes(length) => Ok(zeroes.slice(..length)),
        Piece::Chunk { chunk, from, to } => {
            let bytes = repo.chunks(&[chunk]).await?.pop();
            let bytes = bytes.ok_or_else(|| Error::new(Kind::Internal, "a read of one chunk returned none"))?;
            if bytes.len() != chunk.length as usize {
                return Err(Error::corrupt(format!("the chunk {} has another length than its file says", chunk.id)));
            }
            Ok(bytes.slice(from..to))
        }
    }
}

/// The pieces of `range`, one at a time: a hole may be larger than any list of pieces.
fn pieces(blob: Arc<Blob>, range: Range) -> impl Iterator<Item = Piece> + Send {
    let (mut index, mut extent_start, mut position) = (0, 0u64, range.start);
    std::iter::from_fn(move || {
        while position < range.end {
            let extent = *blob.extents().get(index)?;
            let extent_end = extent_start + extent.length();
            if position >= extent_end {
                (index, extent_start) = (index + 1, extent_end);
                continue;
            }
            let end = range.end.min(extent_end);
            let piece = match extent {
                Extent::Hole(_) => Piece::Zeroes((end - position).min(ZEROES as u64) as usize),
                Extent::Chunk(chunk) => {
                    let offset = |at: u64| (at - extent_start) as usize;
                    Piece::Chunk { chunk, from: offset(position), to: offset(end) }
                }
            };
            position += match piece {
                Piece::Zeroes(length) => length as u64,
                Piece::Chunk { from, to, .. } => (to - from) as u64,
            };
            return Some(piece);
        }
        None
    })
}

#[cfg(test)]
mod tests;
