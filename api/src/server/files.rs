//! Files of a live workspace, or of one of its snapshots, by path (decision 0012).
//!
//! | file | what |
//! |---|---|
//! | `place` | who has the state that is meant: a holder, a snapshot, or nobody, and then the engine |
//! | `free` | workspaces without a holder: snapshots that stay open for reading, and one write at a time |
//! | `body` | a file's bytes as an answer |
//! | `translate` | between the wire and `vfs_core::files` |
//!
//! Keeps true: with a holder, nothing is read or written behind its back.

mod body;
pub(super) mod free;
mod place;
mod translate;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use vfs_core::files::request::{Basis, Raw, Request, Source, Write};
use vfs_core::{Error, Kind, Result};

use super::ServerState;
use super::error::{ApiResult, Body, JsonBody, Path};
use super::query::RawQuery;
use crate::limits::{LIST_DEFAULT, LIST_MAX};
use crate::wire::ErrorBody;
use crate::wire::file::{
    ChangeNames, EditRequest, Edited, FileStat, GlobAnswer, GlobRequest, GrepAnswer, GrepRequest, Written,
};
use crate::wire::snapshot::Listing;
use place::{Change, Place};

pub(super) use free::Free;

/// What a path names; symlinks are followed.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace}/files/stat", tag = "files",
    params(
        ("workspace" = String, Path, description = "Name or id"),
        ("path" = Option<String>, Query, description = "Percent-encoded bytes; the root without it"),
        ("at" = Option<String>, Query, description = "A snapshot; the live state without it"),
    ),
    responses(
        (status = OK, body = FileStat),
        (status = NOT_FOUND, body = ErrorBody),
        (status = SERVICE_UNAVAILABLE, description = "The holder cannot be asked now", body = ErrorBody),
    ),
)]
pub(super) async fn stat(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    mut query: RawQuery,
) -> ApiResult<Json<FileStat>> {
    let (path, at) = take_place(&mut query)?;
    query.finish()?;
    let place = Place::find(&state, &name, at.as_deref()).await?;
    Ok(Json(translate::stat(place.stat(path).await?)))
}

/// One page of a directory, with what the path names.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace}/files/list", tag = "files",
    params(
        ("workspace" = String, Path, description = "Name or id"),
        ("path" = Option<String>, Query, description = "Percent-encoded bytes; the root without it"),
        ("at" = Option<String>, Query, description = "A snapshot; the live state without it"),
        ("after" = Option<String>, Query, description = "Only names greater than this one"),
        ("limit" = Option<u32>, Query, description = "At most so many entries; 1,000 unless said, 10,000 at most"),
    ),
    responses((status = OK, body = Listing), (status = NOT_FOUND, body = ErrorBody)),
)]
pub(super) async fn list(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    mut query: RawQuery,
) -> ApiResult<Json<Listing>> {
    let (path, at) = take_place(&mut query)?;
    let after = query.take("after").map(Raw);
    let limit = query.take_count("limit", LIST_DEFAULT, LIST_MAX)?;
    query.finish()?;
    let place = Place::find(&state, &name, at.as_deref()).await?;
    Ok(Json(translate::listing(place.ask(Request::List { path, after, limit }).await?)?))
}

/// A file's content. One range of bytes may be asked for.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace}/files/content", tag = "files",
    params(
        ("workspace" = String, Path, description = "Name or id"),
        ("path" = String, Query, description = "Percent-encoded bytes"),
        ("at" = Option<String>, Query, description = "A snapshot; the live state without it"),
        ("Range" = Option<String>, Header, description = "One range, such as `bytes=0-99`"),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of the content that is known"),
    ),
    responses(
        (status = OK, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = PARTIAL_CONTENT, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = NOT_MODIFIED, description = "The file still has this ETag"),
        (status = NOT_FOUND, body = ErrorBody),
        (status = CONFLICT, description = "It is a directory", body = ErrorBody),
        (status = RANGE_NOT_SATISFIABLE, body = ErrorBody),
    ),
)]
pub(super) async fn content(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    mut query: RawQuery,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let (path, at) = take_place(&mut query)?;
    query.finish()?;
    let place = Place::find(&state, &name, at.as_deref()).await?;
    body::answer(place, path, &headers).await
}

/// Writes a whole file. Whoever reads it sees the old content or the new one.
#[utoipa::path(
    put, path = "/v1/workspaces/{workspace}/files/content", tag = "files",
    params(
        ("workspace" = String, Path, description = "Name or id"),
        crate::wire::file::WriteFileQuery,
        ("If-Match" = Option<String>, Header, description = "The ETag that the file must have"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: there must be no such file"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = OK, body = Written),
        (status = CREATED, body = Written),
        (status = NOT_FOUND, description = "The directory is missing", body = ErrorBody),
        (status = CONFLICT, description = "The file is not what the write is based on", body = ErrorBody),
        (status = PAYLOAD_TOO_LARGE, body = ErrorBody),
        (status = SERVICE_UNAVAILABLE, description = "The holder cannot be asked now", body = ErrorBody),
    ),
)]
pub(super) async fn write(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    mut query: RawQuery,
    headers: HeaderMap,
    Body(content): Body,
) -> ApiResult<Response> {
    let path = Raw(query.take("path").unwrap_or_default());
    let parents = match query.take_text("parents")?.as_deref() {
        None | Some("false") => false,
        Some("true" | "") => true,
        Some(_) => return Err(Error::new(Kind::Invalid, "`parents` must be true or false").into()),
    };
    query.finish()?;
    let write = Write { path, parents, basis: basis(&headers)?, content: Source::Here(Raw::default()) };
    let written = translate::written(place::change(&state, &name, Change::Write(write, content)).await?)?;
    let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    let etag = body::quoted(&written.stat.etag);
    Ok((status, [(header::ETAG, etag)], Json(written)).into_response())
}

/// Replaces text in a file.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace}/files/edit", tag = "files", request_body = EditRequest,
    params(("workspace" = String, Path, description = "Name or id")),
    responses(
        (status = OK, body = Edited),
        (status = BAD_REQUEST, description = "The text is not there, or not only once", body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody),
        (status = CONFLICT, description = "The file has another ETag", body = ErrorBody),
    ),
)]
pub(super) async fn edit(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    JsonBody(request): JsonBody<EditRequest>,
) -> ApiResult<Json<Edited>> {
    let request = Request::Edit(translate::edit(request)?);
    Ok(Json(translate::edited(place::change(&state, &name, Change::Other(request)).await?)?))
}

/// Makes a directory, removes or renames.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace}/files/names", tag = "files", request_body = ChangeNames,
    params(("workspace" = String, Path, description = "Name or id")),
    responses(
        (status = NO_CONTENT),
        (status = NOT_FOUND, body = ErrorBody),
        (status = CONFLICT, description = "The name is taken, or the directory is not empty", body = ErrorBody),
    ),
)]
pub(super) async fn names(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    JsonBody(request): JsonBody<ChangeNames>,
) -> ApiResult<StatusCode> {
    place::change(&state, &name, Change::Other(translate::names(request))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Finds files by name.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace}/files/glob", tag = "files", request_body = GlobRequest,
    params(("workspace" = String, Path, description = "Name or id")),
    responses((status = OK, body = GlobAnswer), (status = NOT_FOUND, body = ErrorBody)),
)]
pub(super) async fn glob(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    JsonBody(request): JsonBody<GlobRequest>,
) -> ApiResult<Json<GlobAnswer>> {
    let place = Place::find(&state, &name, request.at.as_deref()).await?;
    Ok(Json(translate::globbed(place.ask(Request::Glob(translate::glob(request))).await?)?))
}

/// Finds text in files.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace}/files/grep", tag = "files", request_body = GrepRequest,
    params(("workspace" = String, Path, description = "Name or id")),
    responses((status = OK, body = GrepAnswer), (status = NOT_FOUND, body = ErrorBody)),
)]
pub(super) async fn grep(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    JsonBody(request): JsonBody<GrepRequest>,
) -> ApiResult<Json<GrepAnswer>> {
    let place = Place::find(&state, &name, request.at.as_deref()).await?;
    Ok(Json(translate::grepped(place.ask(Request::Grep(translate::grep(request))).await?)?))
}

fn take_place(query: &mut RawQuery) -> Result<(Raw, Option<String>)> {
    Ok((Raw(query.take("path").unwrap_or_default()), query.take_text("at")?))
}

/// What a write is based on.
fn basis(headers: &HeaderMap) -> Result<Basis> {
    let invalid = |why: &str| Err(Error::new(Kind::Invalid, why));
    match (headers.get(header::IF_MATCH), headers.get(header::IF_NONE_MATCH)) {
        (None, None) => Ok(Basis::Any),
        (Some(_), Some(_)) => invalid("a write has If-Match or If-None-Match, not both"),
        (None, Some(value)) if value.as_bytes() == b"*" => Ok(Basis::Absent),
        (None, Some(_)) => invalid("the If-None-Match of a write can only be *"),
        (Some(value), None) => match tag(value) {
            Some(tag) => Ok(Basis::Etag(tag)),
            None => invalid("If-Match must be one ETag, as an answer gave it"),
        },
    }
}

/// The one tag in a header, with or without quotes.
fn tag(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?.trim();
    let plain = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    (!plain.is_empty() && !plain.contains(['"', ',', '*', ' '])).then(|| plain.to_owned())
}
