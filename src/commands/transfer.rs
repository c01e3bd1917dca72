//! `esker import` and `esker export`: between folders of this machine and the store. The engine does the work.

use std::path::Path;

use api::client::Client;
use api::wire::mount::Note;
use api::wire::transfer::{ExportRequest, ImportRequest, Imported, LocalPath, Skipped};
use api::wire::workspace::CreateWorkspace;
use vfs_core::Kind;

use super::maintenance::plural;
use crate::cli::{Export, Import};
use crate::context::{self, Context};
use crate::exit::{Failure, Outcome};
use crate::folder::absolute;
use crate::holder::author;
use crate::mounts;
use crate::print::{self, Printer};
use crate::progress::Progress;

/// So many things that were left out are named; JSON names all.
const SKIPPED_NAMED_MAX: usize = 20;

/// Takes a folder into a workspace, which is made if there is none.
pub(crate) async fn import(context: &Context, options: Import) -> Outcome {
    if let Some(tar) = &options.tar {
        let client = context.client().await?;
        make_if_missing(&client, &options.workspace, tar).await?;
        return super::archive::import(context, &client, &options, tar).await;
    }
    let named = || Failure::new(Kind::Invalid, "a folder or --tar FILE is needed");
    let folder = readable_folder(options.path.as_deref().ok_or_else(named)?)?;
    let client = context.client().await?;
    make_if_missing(&client, &options.workspace, &folder).await?;
    let what =
        What { workspace: &options.workspace, folder: &folder, exclude: &options.exclude, reread: options.reread };
    let imported = import_folder(context, &client, &what).await?;
    context.printer.result(&imported, || {
        let (names, size) = (plural(imported.names, "name"), print::size(imported.bytes));
        format!("imported {names}, {size}\n{}", imported.snapshot)
    })
}

async fn make_if_missing(client: &Client, workspace: &str, source: &Path) -> Outcome {
    if let Err(error) = client.workspace(workspace).await {
        if error.kind() != Kind::NotFound {
            return Err(error.into());
        }
        let source = Some(source.to_string_lossy().into_owned());
        client.create_workspace(&CreateWorkspace { name: workspace.to_owned(), from: None, source }).await?;
    }
    Ok(())
}

/// What is imported where.
pub(crate) struct What<'a> {
    /// The workspace, which exists.
    pub(crate) workspace: &'a str,
    /// The folder.
    pub(crate) folder: &'a Path,
    /// Patterns that are left out.
    pub(crate) exclude: &'a [String],
    /// Read also what looks unchanged.
    pub(crate) reread: bool,
}

/// Imports with a progress bar and says what was left out.
pub(crate) async fn import_folder(context: &Context, client: &Client, what: &What<'_>) -> Outcome<Imported> {
    let What { workspace, folder, exclude, reread } = *what;
    let message = format!("imported {}", folder.display());
    let request = ImportRequest {
        folder: LocalPath::new(folder),
        exclude: exclude.to_vec(),
        skip: mounts_inside(folder)?,
        reread,
        note: Note { author: author(), message, ..Note::default() },
    };
    let progress = Progress::start(context.printer, "importing");
    let imported =
        client.import(workspace, &request, |line| progress.report(&line.what, line.done, line.total)).await?;
    drop(progress);
    warn_of_skipped(context.printer, "left out", &imported.skipped);
    Ok(imported)
}

/// What of esker's is mounted below a folder must not be imported into itself.
fn mounts_inside(folder: &Path) -> Outcome<Vec<LocalPath>> {
    let inside = mounts::mounts()?.into_iter().filter(|mount| mount.is_esker() && mount.mountpoint.starts_with(folder));
    Ok(inside.map(|mount| LocalPath::new(&mount.mountpoint)).collect())
}

/// The folder by its one absolute name.
pub(crate) fn readable_folder(path: &Path) -> Outcome<std::path::PathBuf> {
    let failed = |error| vfs_core::Error::io(format!("cannot open {}", path.display()), error);
    let folder = std::fs::canonicalize(path).map_err(failed)?;
    if !folder.is_dir() {
        let line = format!("{} is not a folder", path.display());
        return Err(Failure::new(Kind::NotADirectory, line));
    }
    Ok(folder)
}

/// Writes a state into a folder.
pub(crate) async fn export(context: &Context, options: Export) -> Outcome {
    if let Some(tar) = &options.tar {
        return super::archive::export(context, &options, tar).await;
    }
    let named = || Failure::new(Kind::Invalid, "a folder or --tar FILE is needed");
    let path = absolute(options.path.as_deref().ok_or_else(named)?)?;
    let client = context.client().await?;
    let state = context::resolve_text(&client, &options.source, options.state.published).await?;
    let request = ExportRequest { folder: LocalPath::new(&path), owner: None };
    let progress = Progress::start(context.printer, "exporting");
    let exported =
        client.export(state.snapshot, &request, |line| progress.report(&line.what, line.done, line.total)).await?;
    drop(progress);
    warn_of_skipped(context.printer, "not as it was", &exported.skipped);
    context.printer.result(&exported, || {
        let (names, size) = (plural(exported.names, "name"), print::size(exported.bytes));
        format!("exported {names}, {size} to {}", path.display())
    })
}

pub(super) fn warn_of_skipped(printer: Printer, what: &str, skipped: &[Skipped]) {
    if printer.is_json() {
        // The result names them all.
        return;
    }
    for Skipped { path, why } in skipped.iter().take(SKIPPED_NAMED_MAX) {
        printer.warning(&format!("{what}: {}: {}", print::visible(path.as_bytes()), print::visible(why.as_bytes())));
    }
    if skipped.len() > SKIPPED_NAMED_MAX {
        printer.warning(&format!("{what}: {} more", print::count((skipped.len() - SKIPPED_NAMED_MAX) as u64)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_folder_is_named() {
        let failure = readable_folder(Path::new("/no/such/folder")).unwrap_err();
        assert_eq!(failure.kind(), Kind::NotFound);
        assert!(failure.line().contains("/no/such/folder"));
        assert_eq!(readable_folder(Path::new("/proc/self/status")).unwrap_err().kind(), Kind::NotADirectory);
    }
}
