//! `esker import --tar` and `esker export --tar`: between tar archives and the store.
//!
//! The engine reads and writes; it runs on this machine, as this user. Standard input and output are pipes of ours that it
//! opens by their place below `/proc`, so nothing is copied on the way and nothing is kept.

use std::path::Path;

use api::client::Client;
use api::wire::mount::Note;
use api::wire::transfer::{ExportTarRequest, ImportTarRequest, LocalPath};
use vfs_core::Kind;

use super::maintenance::plural;
use super::transfer::warn_of_skipped;
use crate::address::Address;
use crate::cli::{Export, Import};
use crate::context::{self, Context};
use crate::exit::{Failure, Outcome};
use crate::folder::absolute;
use crate::holder::author;
use crate::print;
use crate::progress::Progress;

const STANDARD: &str = "-";

/// A file by its absolute name, or one of our standard streams as the engine finds it.
fn place(file: &Path, stream: u32) -> Outcome<LocalPath> {
    if file == Path::new(STANDARD) {
        return Ok(LocalPath::new(Path::new(&format!("/proc/{}/fd/{stream}", std::process::id()))));
    }
    Ok(LocalPath::new(&absolute(file)?))
}

/// Takes an archive into a workspace that is there.
pub(crate) async fn import(context: &Context, client: &Client, options: &Import, tar: &Path) -> Outcome {
    let message = format!("imported {}", tar.display());
    let request =
        ImportTarRequest { file: place(tar, 0)?, note: Note { author: author(), message, ..Note::default() } };
    let progress = Progress::start(context.printer, "importing");
    let imported = client
        .import_tar(&options.workspace, &request, |line| progress.report(&line.what, line.done, line.total))
        .await?;
    drop(progress);
    warn_of_skipped(context.printer, "not as it was", &imported.skipped);
    context.printer.result(&imported, || {
        let (names, size) = (plural(imported.names, "name"), print::size(imported.bytes));
        format!("imported {names}, {size}\n{}", imported.snapshot)
    })
}

/// Writes a state, or a part of it, as an archive.
pub(crate) async fn export(context: &Context, options: &Export, tar: &Path) -> Outcome {
    let address = Address::parse(&options.source)?;
    let standard = tar == Path::new(STANDARD);
    if standard && std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        return Err(Failure::new(Kind::Invalid, "an archive is not for a terminal: name a file, or use a pipe"));
    }
    let client = context.client().await?;
    let state = context::resolve(&client, &address.state, options.state.published).await?;
    if !standard {
        let failed = |error| vfs_core::Error::io(format!("cannot make {}", tar.display()), error);
        std::fs::File::create(tar).map_err(failed)?;
    }
    let request = ExportTarRequest::new(place(tar, 1)?, &address.path.to_bytes());
    let progress = Progress::start(context.printer, "exporting");
    let exported =
        client.export_tar(state.snapshot, &request, |line| progress.report(&line.what, line.done, line.total)).await?;
    drop(progress);
    warn_of_skipped(context.printer, "not as it was", &exported.skipped);
    let text = || {
        let (names, size) = (plural(exported.names, "name"), print::size(exported.bytes));
        format!("exported {names}, {size} to {}", tar.display())
    };
    match standard {
        // What goes to standard output is the archive.
        true => context.printer.remark(&text()),
        false => context.printer.result(&exported, text)?,
    }
    Ok(())
}
