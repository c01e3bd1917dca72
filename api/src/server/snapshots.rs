//! Snapshots and the files in them. Immutable, so nothing here needs a holder.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use vfs_core::base::Base;
use vfs_core::id::SnapshotId;
use vfs_core::limits::SYMLINK_MAX;
use vfs_core::object::{Body, Content, Entry as TreeEntry, Extent, Node, Snapshot as CoreSnapshot};
use vfs_core::tree::{Entries, resolve as resolve_path, target_node};
use vfs_core::{Error, Kind, Result};

use super::ServerState;
use super::content;
use super::error::{ApiResult, Path, Query};
use super::query::RawQuery;
use crate::limits::{DIFF_DEFAULT, DIFF_MAX, LIST_DEFAULT, LIST_MAX};
use crate::wire::ErrorBody;
use crate::wire::diff::{Diff, DiffChange, DiffQuery};
use crate::wire::name::to_text;
use crate::wire::snapshot::{Entry, Listing, ResolveQuery, Resolved, Snapshot, kind_word};

/// What stands for the newest published state of a workspace.
pub(super) const HEAD: &str = "HEAD";

/// Takes `WORKSPACE` or `WORKSPACE@SNAPSHOT` apart.
pub(super) fn parse_spec(spec: &str) -> (&str, Option<&str>) {
    match spec.split_once('@') {
        Some((workspace, snapshot)) => (workspace, Some(snapshot)),
        None => (spec, None),
    }
}

/// Finds what `WORKSPACE` or `WORKSPACE@SNAPSHOT` names.
#[utoipa::path(
    get, path = "/v1/resolve", tag = "snapshots", params(ResolveQuery),
    responses(
        (status = OK, body = Resolved),
        (status = NOT_FOUND, body = ErrorBody),
        (status = BAD_REQUEST, description = "The prefix names several snapshots", body = ErrorBody),
    ),
)]
pub(super) async fn resolve(
    State(state): State<ServerState>,
    Query(query): Query<ResolveQuery>,
) -> ApiResult<Json<Resolved>> {
    let (workspace, snapshot) = parse_spec(&query.spec);
    let workspace = state.repo().workspace(workspace).await?;
    let snapshot = match snapshot {
        Some(prefix) => state.repo().resolve_snapshot(workspace.id, prefix).await?,
        None => workspace.head,
    };
    Ok(Json(Resolved { workspace: workspace.id, name: workspace.name, snapshot }))
}

/// One snapshot.
#[utoipa::path(
    get, path = "/v1/snapshots/{snapshot}", tag = "snapshots",
    params(("snapshot" = String, Path, description = "The snapshot's id")),
    responses((status = OK, body = Snapshot), (status = NOT_FOUND, body = ErrorBody)),
)]
pub(super) async fn get(State(state): State<ServerState>, Path(id): Path<String>) -> ApiResult<Json<Snapshot>> {
    let (id, snapshot) = read(&state, &id).await?;
    Ok(Json(Snapshot::new(id, &snapshot)))
}

/// One snapshot's canonical bytes, for whoever shows it.
#[utoipa::path(
    get, path = "/v1/snapshots/{snapshot}/object", tag = "mount",
    params(("snapshot" = String, Path, description = "The snapshot's id")),
    responses(
        (status = OK, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = NOT_FOUND, body = ErrorBody),
    ),
)]
pub(super) async fn object(State(state): State<ServerState>, Path(id): Path<String>) -> ApiResult<Vec<u8>> {
    Ok(read(&state, &id).await?.1.encode())
}

/// What a path of a snapshot names, and one page of its entries if it is a directory.
#[utoipa::path(
    get, path = "/v1/snapshots/{snapshot}/list", tag = "snapshots",
    params(
        ("snapshot" = String, Path, description = "The snapshot's id"),
        ("path" = Option<String>, Query, description = "Percent-encoded bytes; the root without it"),
        ("after" = Option<String>, Query, description = "Only names greater than this one"),
        ("limit" = Option<u32>, Query, description = "At most so many entries; 1,000 unless said, 10,000 at most"),
    ),
    responses((status = OK, body = Listing), (status = NOT_FOUND, body = ErrorBody)),
)]
pub(super) async fn list(
    State(state): State<ServerState>,
    Path(id): Path<String>,
    mut query: RawQuery,
) -> ApiResult<Json<Listing>> {
    let path = query.take_path()?;
    let after = query.take("after");
    let limit = query.take_count("limit", LIST_DEFAULT, LIST_MAX)?;
    query.finish()?;
    let (_, snapshot) = read(&state, &id).await?;
    let store = state.repo().store();
    let node = resolve_path(store, &snapshot, &path).await?;
    let mut listing = Listing { node: entry(&state, &path.to_bytes(), &node).await?, entries: Vec::new(), more: false };
    let Body::Directory(subtree) = &node.body else { return Ok(Json(listing)) };
    let mut entries = match &after {
        Some(name) => Entries::after(store, subtree.tree, name),
        None => Entries::new(store, subtree.tree),
    };
    while let Some(TreeEntry { name, target }) = entries.next().await? {
        if listing.entries.len() == limit as usize {
            listing.more = true;
            break;
        }
        let node = target_node(store, snapshot.links.as_ref(), target).await?;
        listing.entries.push(entry(&state, name.as_bytes(), &node).await?);
    }
    Ok(Json(listing))
}

/// What differs between two states, by content.
#[utoipa::path(
    get, path = "/v1/diff", tag = "snapshots", params(DiffQuery),
    responses((status = OK, body = Diff), (status = NOT_FOUND, body = ErrorBody)),
)]
pub(super) async fn diff(State(state): State<ServerState>, Query(query): Query<DiffQuery>) -> ApiResult<Json<Diff>> {
    let limit = query.limit.unwrap_or(DIFF_DEFAULT);
    if !(1..=DIFF_MAX).contains(&limit) {
        return Err(Error::new(Kind::Invalid, format!("a diff's limit must be from 1 to {DIFF_MAX}")).into());
    }
    let (from, to) = (state_of(&state, &query.from).await?, state_of(&state, &query.to).await?);
    let (before, after) = (state.repo().snapshot(from).await?, state.repo().snapshot(to).await?);
    let (changes, more) = vfs_core::diff::diff(state.repo().store(), &before, &after, limit as usize).await?;
    Ok(Json(Diff { from, to, changes: changes.iter().map(DiffChange::from).collect(), more }))
}

/// The snapshot that `WORKSPACE`, `WORKSPACE@SNAPSHOT` or a whole id names.
pub(super) async fn state_of(state: &ServerState, spec: &str) -> Result<SnapshotId> {
    if let Ok(id) = spec.parse() {
        return Ok(id);
    }
    let (workspace, snapshot) = parse_spec(spec);
    let workspace = state.repo().workspace(workspace).await?;
    match snapshot {
        Some(prefix) => state.repo().resolve_snapshot(workspace.id, prefix).await,
        None => Ok(workspace.head),
    }
}

/// A file's content. One range of bytes may be asked for.
#[utoipa::path(
    get, path = "/v1/snapshots/{snapshot}/content", tag = "snapshots",
    params(
        ("snapshot" = String, Path, description = "The snapshot's id"),
        ("path" = String, Query, description = "Percent-encoded bytes"),
        ("Range" = Option<String>, Header, description = "One range, such as `bytes=0-99`"),
    ),
    responses(
        (status = OK, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = PARTIAL_CONTENT, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = NOT_FOUND, body = ErrorBody),
        (status = CONFLICT, description = "It is a directory", body = ErrorBody),
        (status = RANGE_NOT_SATISFIABLE, body = ErrorBody),
    ),
)]
pub(super) async fn content(
    State(state): State<ServerState>,
    Path(id): Path<String>,
    mut query: RawQuery,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let path = query.take_path()?;
    query.finish()?;
    let (_, snapshot) = read(&state, &id).await?;
    let node = resolve_path(state.repo().store(), &snapshot, &path).await?;
    let file = match node.body {
        Body::File(content) => content,
        Body::Directory(_) => return Err(Error::new(Kind::IsADirectory, format!("{path} is a directory")).into()),
        other => {
            let context = format!("{path} is a {}, which has no content", kind_word(other.kind()));
            return Err(Error::new(Kind::Invalid, context).into());
        }
    };
    let mut answer = content::answer(&state, file, headers.get(header::RANGE)).await?.into_response();
    // Content is whatever somebody stored: a browser must not take it for a page of ours.
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(answer)
}

pub(super) fn parse_id(id: &str) -> Result<SnapshotId> {
    id.parse().map_err(|error: Error| {
        let context =
            format!("{id:?} is not the id of a snapshot; resolve a prefix with /v1/resolve?spec=WORKSPACE@PREFIX");
        Error::new(Kind::Invalid, context).because(error)
    })
}

async fn read(state: &ServerState, id: &str) -> Result<(SnapshotId, CoreSnapshot)> {
    let id = parse_id(id)?;
    Ok((id, state.repo().snapshot(id).await?))
}

async fn entry(state: &ServerState, name: &[u8], node: &Node) -> Result<Entry> {
    let (name, name_hex) = to_text(name);
    let target = match &node.body {
        Body::Symlink(target) => Some(to_text(&short_content(state, target).await?)),
        _ => None,
    };
    let (target, target_hex) = target.map_or((None, None), |(text, exact)| (Some(text), exact));
    Ok(Entry {
        name,
        name_hex,
        kind: kind_word(node.body.kind()).to_owned(),
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
        size: node.size(),
        nlink: node.stat_nlink(),
        ino: node.ino.0,
        mtime: node.mtime.into(),
        target,
        target_hex,
    })
}

/// The bytes of a symlink's target, which are few.
async fn short_content(state: &ServerState, content: &Content) -> Result<Vec<u8>> {
    if content.size() > SYMLINK_MAX as u64 {
        return Err(Error::corrupt(format!("a symbolic link has a target of {} bytes", content.size())));
    }
    match content {
        Content::Inline(bytes) => Ok(bytes.to_vec()),
        Content::Chunk(chunk) => Ok(state.repo().chunks(&[*chunk]).await?.concat()),
        Content::Blob { id, .. } => {
            let blob = state.repo().blob(*id).await?;
            let chunk = |extent: &Extent| if let Extent::Chunk(chunk) = extent { Some(*chunk) } else { None };
            let chunks: Vec<_> = blob.extents().iter().filter_map(chunk).collect();
            Ok(state.repo().chunks(&chunks).await?.concat())
        }
    }
}
