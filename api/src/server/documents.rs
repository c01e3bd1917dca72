//! Documents: lists, contents, writes with a precondition, versions.
//!
//! Every write says what it is based on, in `If-Match` or `If-None-Match`; one that says nothing is refused, so that
//! nobody overwrites what they have not seen by leaving a header out.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;
use vfs_core::documents::{
    Basis, Change, Conflict, ConflictSide, DocumentPath, Grants, Outcome, Scope, Version, Within, Write, Writer,
};
use vfs_core::{Error, Kind, Result};

use super::ServerState;
use super::error::{ApiResult, Body, JsonBody};
use super::query::TextQuery;
use crate::ERROR_HEADER;
use crate::wire::ErrorBody;
use crate::wire::document::{
    Document, DocumentConflict, DocumentQuery, DocumentText, DocumentVersions, Documents, DocumentsQuery,
    RestoreDocument, WriteDocumentQuery,
};
use crate::wire::error::ErrorDetail;
use crate::wire::name::{to_query, to_text};

/// The scope of a content, percent-encoded: a name may hold letters that no header can.
const SCOPE_HEADER: HeaderName = HeaderName::from_static("esker-scope");

/// The documents of a view, of a scope or of all scopes; deleted ones are left out.
#[utoipa::path(
    get, path = "/v1/documents", tag = "documents", params(DocumentsQuery),
    responses((status = OK, body = Documents), (status = BAD_REQUEST, body = ErrorBody)),
)]
pub(super) async fn list(
    State(state): State<ServerState>,
    TextQuery(query): TextQuery<DocumentsQuery>,
) -> ApiResult<Json<Documents>> {
    let within = within(query.view.as_deref(), query.scope.as_deref())?;
    let prefix = query.prefix.as_deref().map(|prefix| prefix.trim_end_matches('/')).filter(|prefix| !prefix.is_empty());
    let prefix: Option<DocumentPath> = prefix.map(str::parse).transpose()?;
    let heads = state.repo().documents(&within, prefix.as_ref()).await?;
    Ok(Json(Documents { documents: heads.into_iter().map(Document::from).collect() }))
}

/// A document's content. The answer's `ETag` is the version, in quotes; `esker-scope` says where it was found.
#[utoipa::path(
    get, path = "/v1/documents/content", tag = "documents", params(DocumentQuery),
    responses(
        (status = OK, body = Vec<u8>, content_type = "application/octet-stream", headers(
            ("etag" = String, description = "The version, in quotes"),
            ("esker-scope" = String, description = "The scope in which it was found, percent-encoded"),
        )),
        (status = NOT_FOUND, body = ErrorBody),
    ),
)]
pub(super) async fn content(
    State(state): State<ServerState>,
    TextQuery(query): TextQuery<DocumentQuery>,
) -> ApiResult<Response> {
    let within = within(query.view.as_deref(), query.scope.as_deref())?;
    let (version, content) = state.repo().read_document(&within, &query.path.parse()?, query.version).await?;
    let mut answer = content.into_response();
    let headers = answer.headers_mut();
    headers.insert(header::ETAG, etag(version.version));
    let scope = to_query(version.scope.as_bytes());
    headers.insert(SCOPE_HEADER, HeaderValue::from_str(&scope).expect("because it is percent-encoded"));
    // Content is whatever somebody stored: a browser must not take it for a page of ours.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(answer)
}

/// Writes a document; the body is its content.
#[utoipa::path(
    put, path = "/v1/documents/content", tag = "documents",
    params(
        WriteDocumentQuery,
        ("If-Match" = Option<String>, Header, description = "The head's version in quotes, such as `\"3\"`"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: there is no document"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = OK, body = Document),
        (status = CONFLICT, description = "The head is another one; `conflict` has base, theirs and yours", body = ErrorBody),
        (status = BAD_REQUEST, description = "Neither header was sent", body = ErrorBody),
        (status = FORBIDDEN, description = "The scope is not granted", body = ErrorBody),
        (status = PAYLOAD_TOO_LARGE, body = ErrorBody),
    ),
)]
pub(super) async fn put(
    State(state): State<ServerState>,
    TextQuery(query): TextQuery<WriteDocumentQuery>,
    headers: HeaderMap,
    Body(content): Body,
) -> ApiResult<Response> {
    change(&state, query, &headers, Change::Put(content)).await
}

/// Deletes a document; its versions stay.
#[utoipa::path(
    delete, path = "/v1/documents/content", tag = "documents",
    params(
        WriteDocumentQuery,
        ("If-Match" = Option<String>, Header, description = "The head's version in quotes, such as `\"3\"`"),
    ),
    responses(
        (status = OK, body = Document),
        (status = CONFLICT, description = "The head is another one; `conflict` has base, theirs and yours", body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody),
        (status = FORBIDDEN, description = "The scope is not granted", body = ErrorBody),
    ),
)]
pub(super) async fn delete(
    State(state): State<ServerState>,
    TextQuery(query): TextQuery<WriteDocumentQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    change(&state, query, &headers, Change::Delete).await
}

/// Which document.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct VersionsQuery {
    /// The scope.
    scope: String,
    /// The document's path.
    path: String,
}

/// All versions of a document, newest first.
#[utoipa::path(
    get, path = "/v1/documents/versions", tag = "documents", params(VersionsQuery),
    responses((status = OK, body = DocumentVersions), (status = NOT_FOUND, body = ErrorBody)),
)]
pub(super) async fn versions(
    State(state): State<ServerState>,
    TextQuery(query): TextQuery<VersionsQuery>,
) -> ApiResult<Json<DocumentVersions>> {
    let versions = state.repo().document_versions(&query.scope.parse()?, &query.path.parse()?).await?;
    Ok(Json(DocumentVersions { versions: versions.into_iter().map(Document::from).collect() }))
}

/// Brings an older version back as a new one.
#[utoipa::path(
    post, path = "/v1/documents/restore", tag = "documents", request_body = RestoreDocument,
    responses(
        (status = OK, body = Document),
        (status = CONFLICT, description = "The head is another one", body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody),
    ),
)]
pub(super) async fn restore(
    State(state): State<ServerState>,
    JsonBody(request): JsonBody<RestoreDocument>,
) -> ApiResult<Json<Document>> {
    let (scope, path) = (request.scope.parse()?, request.path.parse()?);
    let restored =
        state.repo().restore_document(&scope, &path, request.version, request.if_version, &request.author).await?;
    Ok(Json(restored.into()))
}

async fn change(
    state: &ServerState,
    query: WriteDocumentQuery,
    headers: &HeaderMap,
    change: Change,
) -> ApiResult<Response> {
    let write = Write {
        scope: query.scope.parse::<Scope>()?,
        path: query.path.parse()?,
        basis: basis(headers)?,
        change,
        merge: query.merge,
        grants: Grants::parse(query.grants.as_deref())?,
        writer: Writer {
            author: query.author,
            session: query.session,
            epoch: query.epoch,
            tool_call: query.tool_call,
            key: query.key,
        },
    };
    match state.repo().write_document(&write).await? {
        Outcome::Written(version) => {
            let tag = etag(version.version);
            Ok(([(header::ETAG, tag)], Json(Document::from(version))).into_response())
        }
        Outcome::Conflict(conflict) => Ok(refused(&write, *conflict)),
    }
}

/// What a write says it is based on.
fn basis(headers: &HeaderMap) -> Result<Basis> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()));
    let invalid = |why: &str| {
        let how = "send If-Match: \"VERSION\" with the version that you read (the ETag of its content), or \
                   If-None-Match: * for a document that does not exist";
        Err(Error::new(Kind::Invalid, format!("{why}: {how}")))
    };
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (None, None) => invalid("the write does not say what it is based on"),
        (Some(_), Some(_)) => invalid("the write says twice what it is based on"),
        (None, Some(star)) if star.trim() == "*" => Ok(Basis::Absent),
        (None, Some(_)) => invalid("If-None-Match takes * only"),
        (Some(tag), None) => {
            let version = tag.trim().strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            match version.and_then(|version| version.parse().ok()).filter(|version| *version > 0) {
                Some(version) => Ok(Basis::Version(version)),
                None => invalid("If-Match takes one version in quotes"),
            }
        }
    }
}

fn within(view: Option<&str>, scope: Option<&str>) -> Result<Within> {
    match (view, scope) {
        (None, None) => Ok(Within::All),
        (Some(view), None) => view.parse().map(Within::View),
        (None, Some(scope)) => scope.parse().map(Within::Scope),
        (Some(_), Some(_)) => Err(Error::new(Kind::Invalid, "name either a view or a scope, not both")),
    }
}

fn etag(version: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).expect("because these are digits")
}

/// The answer to a stale write: base, theirs and yours.
fn refused(write: &Write, conflict: Conflict) -> Response {
    let Write { scope, path, .. } = write;
    let head = match (conflict.theirs.deleted, conflict.theirs.version) {
        (true, version) => format!("it was deleted with version {version}"),
        (false, version) => format!("its head is version {version}"),
    };
    let kept = match conflict.yours.version {
        0 => "nothing was written".to_owned(),
        side => format!("what was to be written is kept as the side version {side}"),
    };
    let message = format!("{path} in {scope} has changed: {head}; {kept}");
    let error = ErrorDetail { kind: Kind::Conflict.as_str().to_owned(), message };
    let body = ErrorBody { error, conflict: Some(Box::new(conflict.into())) };
    let name = HeaderValue::from_static(Kind::Conflict.as_str());
    (StatusCode::CONFLICT, [(ERROR_HEADER, name)], Json(body)).into_response()
}

impl From<Version> for Document {
    fn from(version: Version) -> Self {
        let digest = if version.deleted { String::new() } else { hex::encode(version.digest) };
        Document {
            scope: version.scope,
            path: version.path,
            version: version.version,
            base: version.base,
            size: version.size,
            digest,
            deleted: version.deleted,
            side: version.side,
            time: version.time.into(),
            author: version.author,
            session: version.session,
            turn: version.turn,
            tool_call: version.tool_call,
        }
    }
}

impl From<Conflict> for DocumentConflict {
    fn from(conflict: Conflict) -> Self {
        DocumentConflict {
            base: conflict.base.map(DocumentText::from),
            theirs: conflict.theirs.into(),
            yours: conflict.yours.into(),
        }
    }
}

impl From<ConflictSide> for DocumentText {
    fn from(side: ConflictSide) -> Self {
        let (text, hex) = to_text(&side.content);
        DocumentText { version: side.version, deleted: side.deleted, text, hex }
    }
}
