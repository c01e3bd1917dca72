//! `esker checkpoint`, `log`, `diff` and `restore`.

use api::wire::mount::Note;
use api::wire::workspace::{LogRow, RestoreWorkspace};

use crate::cli::{Checkpoint, Diff, Log, Restore};
use crate::context::{self, Context};
use crate::exit::Outcome;
use crate::holder::author;
use crate::print::{self, Colour, Printer};

/// Publishes what was written so far and prints the snapshot's id.
pub(crate) async fn checkpoint(context: &Context, options: Checkpoint) -> Outcome {
    let client = context.client().await?;
    let note = Note { author: author(), message: options.message, ..Note::default() };
    let done = client.checkpoint(&options.workspace, note).await?;
    if !done.attached {
        context.printer.remark(&format!("{} is not mounted: this is its head", options.workspace));
    }
    context.printer.result(&done, || done.snapshot.to_hex())
}

/// Lists the snapshots of a workspace.
pub(crate) async fn log(context: &Context, options: Log) -> Outcome {
    let client = context.client().await?;
    let log = client.log(&options.workspace, options.all, Some(options.limit)).await?;
    context.printer.result(&log.rows, || print::table(&log.rows.iter().map(row).collect::<Vec<_>>()))
}

fn row(row: &LogRow) -> Vec<String> {
    let first = row.message.lines().next().unwrap_or_default();
    let message = match (first, row.automatic) {
        ("", true) => "(automatic)",
        ("", false) => "(no message)",
        (first, _) => first,
    };
    vec![
        print::short(&row.snapshot.to_hex()).to_owned(),
        print::moment(row.time.into()),
        print::visible(row.author.as_bytes()),
        print::visible(message.as_bytes()),
    ]
}
