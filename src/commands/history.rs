//! `esker checkpoint`, `log`, `diff` and `restore`.

use api::limits::DIFF_MAX;
use api::wire::diff::{DiffChange, DiffSide};
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
    let tags: String = row.tags.iter().map(|tag| format!("[{}] ", print::visible(tag.as_bytes()))).collect();
    vec![
        print::short(&row.snapshot.to_hex()).to_owned(),
        print::moment(row.time.into()),
        print::visible(row.author.as_bytes()),
        format!("{tags}{}", print::visible(message.as_bytes())),
    ]
}

/// Shows what differs; one JSON value a line, or `git status`-like letters.
pub(crate) async fn diff(context: &Context, options: Diff) -> Outcome {
    let client = context.client().await?;
    let from = context::resolve_text(&client, &options.from, options.state.published).await?;
    let to = context::resolve_text(&client, &options.to, options.state.published).await?;
    let diff = client.diff(&from.snapshot.to_hex(), &to.snapshot.to_hex(), DIFF_MAX).await?;
    let printer = context.printer;
    if printer.is_json() {
        diff.changes.iter().try_for_each(|change| printer.line(&print::json_line(change)))?;
    } else {
        diff.changes.iter().try_for_each(|change| printer.line(&changed(printer, change)))?;
    }
    if diff.more {
        printer.warning(&format!("only the first {} differences are shown", print::count(diff.changes.len() as u64)));
    }
    Ok(())
}

fn changed(printer: Printer, change: &DiffChange) -> String {
    let (letter, colour) = match change.change.as_str() {
        "added" => ("A", Colour::Green),
        "removed" => ("D", Colour::Red),
        "modified" => ("M", Colour::Yellow),
        _ => ("T", Colour::Yellow),
    };
    let path = if change.path.is_empty() { ".".to_owned() } else { print::visible(change.path.as_bytes()) };
    let is_folder = change.after.as_ref().or(change.before.as_ref()).is_some_and(|side| side.kind == "directory");
    let mut line =
        format!("{}  {path}{}", printer.colour(colour, letter), if is_folder && path != "." { "/" } else { "" });
    if let (Some(before), Some(after)) = (&change.before, &change.after) {
        let details = details(before, after);
        if !details.is_empty() {
            line.push_str(&format!("  ({})", details.join(", ")));
        }
    }
    line
}

/// What beside the content differs, and by how much the size.
fn details(before: &DiffSide, after: &DiffSide) -> Vec<String> {
    let mut details = Vec::new();
    if before.kind != after.kind {
        details.push(format!("{} → {}", before.kind, after.kind));
    }
    if before.mode != after.mode {
        details.push(format!("mode {:o} → {:o}", before.mode, after.mode));
    }
    if (before.uid, before.gid) != (after.uid, after.gid) {
        details.push(format!("owner {}:{} → {}:{}", before.uid, before.gid, after.uid, after.gid));
    }
    if before.kind == "file" && after.kind == "file" && before.size != after.size {
        let (old, new) = (print::size(before.size), print::size(after.size));
        details.push(match old == new {
            true => format!("{} → {} B", print::count(before.size), print::count(after.size)),
            false => format!("{old} → {new}"),
        });
    }
    details
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
