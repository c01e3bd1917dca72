//! A file's bytes as an answer. They come in pieces; if the file changes between two of them, the body breaks off, so
//! that nobody gets a mixture.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use vfs_core::files::request::{Answer, Piece, Raw, Request};
use vfs_core::limits::FILE_PIECE_MAX;
use vfs_core::{Error, Kind, Result};

use super::super::ahead::to_its_end;
use super::super::content::{Asked, Range, asked};
use super::super::error::{ApiError, ApiResult, log};
use super::place::Place;
use crate::limits::READ_AHEAD;

/// The answer to a request for content.
pub(super) async fn answer(place: Place, path: Raw, headers: &HeaderMap) -> ApiResult<Response> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let known = text(header::IF_NONE_MATCH);
    let range = text(header::RANGE);
    // With a range, the first piece is the one that the range begins with; a file that changes meanwhile is looked at
    // again.
    const ROUNDS: usize = 8;
    for _ in 0..ROUNDS {
        let (first, part) = match range {
            None => (read(&place, &path, 0).await?, None),
            Some(range) => {
                let entry = place.stat(path.clone()).await?;
                let whole = text(header::IF_RANGE).is_some_and(|tag| tag.trim_matches('"') != entry.etag);
                match asked(Some(range).filter(|_| !whole), entry.size) {
                    Asked::Beyond if known_has(known, &entry.etag) => return Ok(not_modified(&entry.etag)),
                    Asked::Beyond => return Ok(beyond(entry.size)),
                    Asked::Whole => (read(&place, &path, 0).await?, None),
                    Asked::Part(part) => {
                        let piece = read(&place, &path, part.start).await?;
                        if piece.etag != entry.etag {
                            continue;
                        }
                        (piece, Some(part))
                    }
                }
            }
        };
        if known_has(known, &first.etag) {
            return Ok(not_modified(&first.etag));
        }
        return Ok(content(place, path, first, part));
    }
    Err(Error::new(Kind::Busy, "the file changes all the time; try again").into())
}

async fn read(place: &Place, path: &Raw, offset: u64) -> Result<Piece> {
    let request = Request::Read { path: path.clone(), offset, length: FILE_PIECE_MAX as u64 };
    match place.ask(request).await? {
        Answer::Piece(piece) => Ok(piece),
        _ => Err(Error::new(Kind::Internal, "a read was answered with something else")),
    }
}

fn content(place: Place, path: Raw, first: Piece, part: Option<Range>) -> Response {
    let (etag, size) = (first.etag.clone(), first.size);
    let range = part.unwrap_or(Range { start: 0, end: size });
    let status = if part.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut response = (status, Body::from_stream(pieces(place, path, first, range))).into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    headers.insert(header::ETAG, quoted(&etag));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Content is whatever somebody stored: a browser must not take it for a page of ours.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if part.is_some() {
        let range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&range).expect("because these are digits"));
    }
    response
}

/// The bytes of a range, of which the first piece is there already.
fn pieces(
    place: Place,
    path: Raw,
    mut first: Piece,
    range: Range,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    let length = move |offset: u64| (range.end - offset).min(FILE_PIECE_MAX as u64) as usize;
    let etag = first.etag;
    let start = length(range.start);
    let whole = first.content.0.len() >= start;
    first.content.0.truncate(start);
    let head = if whole { Ok(Bytes::from(first.content.0)) } else { Err(changed()) };
    let rest = (range.start + start as u64..range.end).step_by(FILE_PIECE_MAX);
    let rest = stream::iter(rest).map(move |offset| {
        let (place, path, etag) = (place.clone(), path.clone(), etag.clone());
        to_its_end(async move {
            let mut piece = read(&place, &path, offset).await.inspect_err(log)?;
            if piece.etag != etag || piece.content.0.len() < length(offset) {
                return Err(changed());
            }
            piece.content.0.truncate(length(offset));
            Ok(Bytes::from(piece.content.0))
        })
    });
    stream::once(async { head }).chain(rest.buffered(READ_AHEAD))
}

fn changed() -> Error {
    Error::new(Kind::Conflict, "the file changed while it was read")
}

/// Whether a list of tags has this one.
fn known_has(known: Option<&str>, etag: &str) -> bool {
    let plain = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    known.is_some_and(|tags| tags.trim() == "*" || tags.split(',').any(|tag| plain(tag) == etag))
}

fn not_modified(etag: &str) -> Response {
    (StatusCode::NOT_MODIFIED, [(header::ETAG, quoted(etag))]).into_response()
}

fn beyond(size: u64) -> Response {
    let refusal = ApiError::range_not_satisfiable(size).into_response();
    ([(header::CONTENT_RANGE, format!("bytes */{size}"))], refusal).into_response()
}

/// A tag as a header has it.
pub(super) fn quoted(etag: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{etag}\"")).expect("because a tag is made of digits")
}
