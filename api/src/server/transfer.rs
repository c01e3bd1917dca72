//! Folders of the engine's machine: scan, import, export. Over the Unix socket only: whoever may use that is the user
//! whose files these are, or root.

use async_trait::async_trait;
use axum::extract::State;
use axum::response::Response;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use vfs_core::clock::{Clock, SystemClock};
use vfs_core::export::{ExportOptions, export, export_archive};
use vfs_core::files::check_glob;
use vfs_core::id::SnapshotId;
use vfs_core::import::archive::import_archive;
use vfs_core::import::{ImportOptions, InoSource, differences, import, scan};
use vfs_core::name::TreePath;
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
    ExportRequest, ExportTarRequest, Exported, ImportRequest, ImportTarRequest, Imported, LocalPath, ScanRequest,
    Scanned, Skipped,
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
    refuse_held(&state, &workspace)?;
    Ok(stream_of(|report| async move {
        let import = Import { repo: state.repo().clone(), workspace, options, request };
        import.run(&folder, report).await
    }))
}

/// The repo says this as well, but only after everything was read.
fn refuse_held(state: &ServerState, workspace: &WorkspaceInfo) -> Result<()> {
    match workspace.holder.as_ref().filter(|lease| is_fresh(state, lease)) {
        None => Ok(()),
        Some(lease) => {
            let (name, pid, mountpoint) = (&workspace.name, lease.pid, &lease.mountpoint);
            let context = format!("{name} is held by process {pid} at {mountpoint}: unmount it first");
            Err(Error::new(Kind::Busy, context))
        }
    }
}

/// Takes a tar archive of the engine's machine into a workspace that nobody holds, as its new head.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace}/import-tar", tag = "transfer", request_body = ImportTarRequest,
    params(("workspace" = String, Path, description = "Name or id")),
    responses(
        (status = OK, description = "Lines", body = JobLine<Imported>, content_type = "application/x-ndjson"),
        (status = FORBIDDEN, description = "Not over TCP", body = crate::wire::ErrorBody),
        (status = LOCKED, description = "Somebody holds it", body = crate::wire::ErrorBody),
    ),
)]
pub(super) async fn import_tar(
    _: Local,
    State(state): State<ServerState>,
    Path(name): Path<String>,
    JsonBody(request): JsonBody<ImportTarRequest>,
) -> ApiResult<Response> {
    let path = request.file.to_path()?;
    let workspace = state.repo().workspace(&name).await?;
    refuse_held(&state, &workspace)?;
    Ok(stream_of(|report| async move {
        let repo = state.repo().clone();
        let previous = repo.snapshot(workspace.head).await?;
        let file = opened(path, false).await?;
        let (batch, inos) = (repo.batch(), Inos(repo.clone()));
        let now = SystemClock.now();
        let imported = import_archive(&batch, &inos, file, Some(&previous), now, &*report).await?;
        publish(&repo, &workspace, batch, imported, request.note.into()).await
    }))
}

/// Opens an archive off the async threads: opening a pipe waits for its other end.
async fn opened(path: std::path::PathBuf, to_write: bool) -> Result<std::fs::File> {
    let opening = tokio::task::spawn_blocking(move || {
        let failed = |error| Error::io(format!("{} cannot be opened", path.display()), error);
        match to_write {
            // What is there already stays: standard output may go on in a file.
            true => std::fs::File::options().append(true).create(true).open(&path).map_err(failed),
            false => std::fs::File::open(&path).map_err(failed),
        }
    });
    opening.await.map_err(|error| Error::new(Kind::Internal, "opening an archive panicked").because(error))?
}

/// Makes what was imported the head.
async fn publish(
    repo: &Repo,
    workspace: &WorkspaceInfo,
    batch: vfs_core::store::Batch,
    imported: vfs_core::import::Imported,
    note: vfs_core::base::PublishNote,
) -> Result<Imported> {
    let linked_bytes = imported.links.map_or(0, |links| links.totals.bytes);
    let (names, bytes) = (imported.totals.nodes, imported.totals.bytes.saturating_add(linked_bytes));
    let head = workspace.head;
    let snapshot = repo.move_head(workspace.id, head, batch, imported.root, imported.links, note).await?;
    Ok(Imported { snapshot, names, bytes, skipped: imported.skipped.into_iter().map(Skipped::from).collect() })
}

/// Writes a snapshot, or a part of it, as a tar archive on the engine's machine.
#[utoipa::path(
    post, path = "/v1/snapshots/{snapshot}/export-tar", tag = "transfer", request_body = ExportTarRequest,
    params(("snapshot" = String, Path, description = "The snapshot's id")),
    responses(
        (status = OK, description = "Lines", body = JobLine<Exported>, content_type = "application/x-ndjson"),
        (status = FORBIDDEN, description = "Not over TCP", body = crate::wire::ErrorBody),
    ),
)]
pub(super) async fn export_tar(
    _: Local,
    State(state): State<ServerState>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<ExportTarRequest>,
) -> ApiResult<Response> {
    let id: SnapshotId = parse_id(&id)?;
    let file = request.file.to_path()?;
    let path = TreePath::parse(&request.path_bytes()?)?;
    let snapshot = state.repo().snapshot(id).await?;
    let reading = state.repo().read_for_long(id).await?;
    Ok(stream_of(|report| async move {
        let written = async {
            let output = opened(file, true).await?;
            export_archive(state.repo().store(), &snapshot, &path, output, &*report).await
        };
        let exported = written.await;
        reading.end().await;
        let exported = exported?;
        let skipped = exported.skipped.into_iter().map(Skipped::from).collect();
        Ok(Exported { names: exported.names, bytes: exported.bytes, skipped })
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
        publish(&repo, &workspace, batch, imported, request.note.into()).await
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
    let reading = state.repo().read_for_long(id).await?;
    let usual = ExportOptions::default();
    let options = ExportOptions { owner: request.owner.unwrap_or(usual.owner), ..usual };
    Ok(stream_of(|report| async move {
        let exported = export(state.repo().store(), &snapshot, &folder, options, &*report).await;
        reading.end().await;
        let exported = exported?;
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
