//! `esker checkpoint`, `log`, `diff` and `restore`.

use api::wire::workspace::{LogRow, RestoreWorkspace};
use vfs_core::base::PublishNote;

use crate::cli::{Checkpoint, Diff, Log, Restore};
use crate::context::{self, Context};
use crate::exit::Outcome;
use crate::holder::author;
use crate::print::{self, Colour, Printer};

/// Publishes what was written so far and prints the snapshot's id.
pub(crate) async fn checkpoint(context: &Context, options: Checkpoint) -> Outcome {
    let client = context.client().await?;
    let note = PublishNote { author: author(), message: options.message, ..PublishNote::default() };
    let done = client.checkpoint(&options.workspace, note).await?;
    if !done.attached {
        context.printer.remark(&format!("{} is not mounted: this is its head", options.workspace));
    }
    context.printer.result(&done, || done.snapshot.to_hex())
}

/// Lists the snapshots of a workspace.
pub(crate) async fn log(context: &Context, options: Log) -> Outcome {
    let client = context.client().await?;
    let rows = client.log(&options.workspace, options.all, options.limit).await?;
    context.printer.result(&rows, || print::table(&rows.iter().map(row).collect::<Vec<_>>()))
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

/// Makes a snapshot the state of the workspace.
pub(crate) async fn restore(context: &Context, options: Restore) -> Outcome {
    let client = context.client().await?;
    let message = format!("restored {}", print::short(&options.snapshot));
    let request = RestoreWorkspace { snapshot: options.snapshot, author: author(), message };
    let done = client.restore(&options.workspace, &request).await?;
    context.printer.result(&done, || {
        let mut text = format!("{} is now at {}", options.workspace, done.snapshot);
        if let Some(safety) = &done.safety {
            text.push_str(&format!("\nthe state before is kept as {safety}"));
        }
        if done.mounted {
            text.push_str("\nthe mount shows it already");
        }
        text
    })
}
