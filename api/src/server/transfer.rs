//! Folders of the engine's machine: scan, import, export. Over the Unix socket only: whoever may use that is the user
//! whose files these are, or root.

use async_trait::async_trait;
use axum::extract::State;
use axum::response::Response;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use vfs_core::export::{ExportOptions, export};
use vfs_core::files::check_glob;
use vfs_core::id::SnapshotId;
use vfs_core::import::{ImportOptions, InoSource, differences, import, scan};
use vfs_core::object::Ino;
use vfs_core::repo::{Repo, WorkspaceInfo};
use vfs_core::{Error, Kind, Result};

use super::ServerState;
use super::auth::Local;
use super::error::{ApiResult, JsonBody, Path};
use super::jobs::{Reporter, stream_of};
use super::snapshots::{parse_id, state_of};
use super::workspaces::is_fresh;
use crate::limits::{CHANGED_PATHS_MAX, EXCLUDES_MAX};
use crate::wire::JobLine;
use crate::wire::transfer::{
    ExportRequest, Exported, ImportRequest, Imported, LocalPath, ScanRequest, Scanned, Skipped,
};

/// Measures a folder of the engine's machine, and says whether it has changed since it was imported.
#[utoipa::path(
    post, path = "/v1/scan", tag = "transfer", request_body = ScanRequest,
    responses(
        (status = OK, description = "Lines", body = JobLine<Scanned>, content_type = "application/x-ndjson"),
        (status = FORBIDDEN, description = "Not over TCP", body = crate::wire::ErrorBody),
    ),
)]
pub(super) async fn scan_folder(
    _: Local,
    State(state): State<ServerState>,
    JsonBody(request): JsonBody<ScanRequest>,
) -> ApiResult<Response> {
    let folder = request.folder.to_path()?;
    let options = options(&state, &request.exclude, &[])?;
    Ok(stream_of(|_| async move {
        let scanned = scan(&folder, &options).await?;
        let changed = match &request.since {
            None => None,
            Some(spec) => {
                let earlier = state.repo().snapshot(state_of(&state, spec).await?).await?;
                let store = state.repo().store();
                Some(differences(store, &folder, &earlier, &options, CHANGED_PATHS_MAX).await?)
            }
        };
        let changed = changed.map(|paths| paths.iter().map(|path| path.to_string_lossy().into_owned()).collect());
        Ok(Scanned { names: scanned.names, bytes: scanned.bytes, changed })
    }))
}

/// Takes a folder of the engine's machine into a workspace that nobody holds, as its new head.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace}/import", tag = "transfer", request_body = ImportRequest,
    params(("workspace" = String, Path, description = "Name or id")),
    responses(
        (status = OK, description = "Lines", body = JobLine<Imported>, content_type = "application/x-ndjson"),
        (status = FORBIDDEN, description = "Not over TCP", body = crate::wire::ErrorBody),
        (status = LOCKED, description = "Somebody holds it", body = crate::wire::ErrorBody),
    ),
)]
pub(super) async fn import_folder(
    _: Local,
    State(state): State<ServerState>,
    Path(name): Path<String>,
    JsonBody(request): JsonBody<ImportRequest>,
) -> ApiResult<Response> {
    let folder = request.folder.to_path()?;
    let options = ImportOptions { reread: request.reread, ..options(&state, &request.exclude, &request.skip)? };
    let workspace = state.repo().workspace(&name).await?;
    // The repo says this as well, but only after everything was read.
    if let Some(lease) = workspace.holder.as_ref().filter(|lease| is_fresh(&state, lease)) {
        let context = format!("{} is held by process {} at {}: unmount it first", name, lease.pid, lease.mountpoint);
        return Err(Error::new(Kind::Busy, context).into());
    }
    Ok(stream_of(|report| async move {
        let import = Import { repo: state.repo().clone(), workspace, options, request };
        import.run(&folder, report).await
    }))
}

struct Import {
    repo: Repo,
    workspace: WorkspaceInfo,
    options: ImportOptions,
    request: ImportRequest,
}

impl Import {
    async fn run(self, folder: &std::path::Path, report: Reporter) -> Result<Imported> {
        let Import { repo, workspace, options, request } = self;
        let previous = repo.snapshot(workspace.head).await?;
        let batch = repo.batch();
        let inos = Inos(repo.clone());
        let imported = import(&batch, &inos, folder, Some(&previous), &options, &*report).await?;
        let linked_bytes = imported.links.map_or(0, |links| links.totals.bytes);
        let (names, bytes) = (imported.totals.nodes, imported.totals.bytes.saturating_add(linked_bytes));
        let note = request.note.into();
        let head = workspace.head;
        let snapshot = repo.move_head(workspace.id, head, batch, imported.root, imported.links, note).await?;
        Ok(Imported { snapshot, names, bytes, skipped: imported.skipped.into_iter().map(Skipped::from).collect() })
    }
}

struct Inos(Repo);

#[async_trait]
impl InoSource for Inos {
    async fn take(&self, count: u64) -> Result<Ino> {
        self.0.take_inos(count).await
    }
}

/// Writes a snapshot into a folder of the engine's machine that is not there yet, or empty.
#[utoipa::path(
    post, path = "/v1/snapshots/{snapshot}/export", tag = "transfer", request_body = ExportRequest,
    params(("snapshot" = String, Path, description = "The snapshot's id")),
    responses(
        (status = OK, description = "Lines", body = JobLine<Exported>, content_type = "application/x-ndjson"),
        (status = FORBIDDEN, description = "Not over TCP", body = crate::wire::ErrorBody),
    ),
)]
pub(super) async fn export_snapshot(
    _: Local,
    State(state): State<ServerState>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<ExportRequest>,
) -> ApiResult<Response> {
    let id: SnapshotId = parse_id(&id)?;
    let folder = request.folder.to_path()?;
    let snapshot = state.repo().snapshot(id).await?;
    let usual = ExportOptions::default();
    let options = ExportOptions { owner: request.owner.unwrap_or(usual.owner), ..usual };
    Ok(stream_of(|report| async move {
        let exported = export(state.repo().store(), &snapshot, &folder, options, &*report).await?;
        let skipped = exported.skipped.into_iter().map(Skipped::from).collect();
        Ok(Exported { names: exported.names, bytes: exported.bytes, skipped })
    }))
}

/// What is imported: everything but the patterns, the named paths and our own data.
fn options(state: &ServerState, exclude: &[String], skip: &[LocalPath]) -> Result<ImportOptions> {
    let mut skip = skip.iter().map(LocalPath::to_path).collect::<Result<Vec<_>>>()?;
    skip.push(state.info().data_folder.clone());
    Ok(ImportOptions { excludes: patterns(exclude)?, skip, ..ImportOptions::default() })
}

/// Patterns as `.gitignore` has them in spirit: one without a slash means a name at any depth.
fn patterns(texts: &[String]) -> Result<GlobSet> {
    if texts.len() > EXCLUDES_MAX {
        return Err(Error::new(Kind::LimitExceeded, format!("at most {EXCLUDES_MAX} patterns may be excluded")));
    }
    let mut set = GlobSetBuilder::new();
    for text in texts {
        let invalid = |error| Error::new(Kind::Invalid, format!("{text:?} is not a pattern")).because(error);
        let trimmed = text.trim_end_matches('/');
        let pattern = match trimmed.strip_prefix('/') {
            Some(anchored) => anchored.to_owned(),
            None if trimmed.contains('/') => trimmed.to_owned(),
            None => format!("**/{trimmed}"),
        };
        check_glob(&pattern)?;
        set.add(GlobBuilder::new(&pattern).literal_separator(true).build().map_err(invalid)?);
    }
    set.build().map_err(|error| Error::new(Kind::Invalid, "the patterns cannot be used together").because(error))
}
