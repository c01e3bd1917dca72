//! `esker repair` and `esker rebuild`.

use std::sync::Arc;

use api::wire::repair::{RepairReport, RepairRequest};
use api::wire::transfer::LocalPath;
use vfs_core::clock::SystemClock;
use vfs_core::rebuild::{RebuildOptions, RebuildReport};
use vfs_core::{Error, Kind};

use super::maintenance::plural;
use crate::cli::{Rebuild, Repair};
use crate::context::Context;
use crate::engine::EngineLock;
use crate::exit::{Failure, Outcome};
use crate::progress::Progress;
use crate::{key, print};

/// Undoes damage. Lost paths are no failure: check says 0 from then on.
pub(crate) async fn repair(context: &Context, options: Repair) -> Outcome {
    let salvage = match &options.salvage {
        Some(folder) => Some(
            std::path::absolute(folder)
                .map_err(|error| Error::io(format!("the folder {} cannot be named", folder.display()), error))?,
        ),
        None => None,
    };
    let client = context.client().await?;
    let progress = Progress::start(context.printer, "repairing");
    let request = RepairRequest { dry_run: options.dry_run, salvage: salvage.as_deref().map(LocalPath::new) };
    let report = client.repair(&request, |line| progress.report(&line.what, line.done, line.total)).await?;
    drop(progress);
    context.printer.result(&report, || repaired(&report))
}

fn repaired(report: &RepairReport) -> String {
    let mut text = String::new();
    let mut lines = |word: &str, lines: &mut dyn Iterator<Item = &String>| {
        lines.for_each(|line| text.push_str(&format!("{word}: {}\n", print::visible(line.as_bytes()))));
    };
    lines("row", &mut report.rows.iter());
    lines("lost", &mut report.lost.iter().map(|lost| &lost.text));
    lines("head", &mut report.heads.iter());
    lines("kept", &mut report.kept.iter());
    if report.idle {
        text.push_str(&format!("{} read; nothing to repair", plural(report.packs, "pack")));
        return text;
    }
    text.push_str(&format!(
        "{}: {} read, {} and {} of the index written anew, {} copied out of damaged packs, {} are in no pack; {} lost",
        if report.dry_run { "would be repaired" } else { "repaired" },
        plural(report.packs, "pack"),
        plural(report.index_packs, "pack row"),
        plural(report.found_objects, "object row"),
        plural(report.copied_objects, "object"),
        plural(report.lost_objects, "object"),
        plural(report.lost.len() as u64, "path"),
    ));
    if report.salvaged_files > 0 {
        text.push_str(&format!("; parts of {} salvaged", plural(report.salvaged_files, "file")));
    }
    text
}

/// Makes a new database. No engine: there is nothing yet that one could serve.
pub(crate) async fn rebuild(context: &Context, options: Rebuild) -> Outcome {
    context.data.prepare()?;
    let Some(_lock) = EngineLock::take(&context.data)? else {
        let line = format!("an engine runs for {}: use a new data folder", context.data.path().display());
        return Err(Failure::new(Kind::Busy, line));
    };
    let progress = Arc::new(Progress::start(context.printer, "rebuilding"));
    let seen = progress.clone();
    let source = key::asked(&context.data)?;
    let rebuild = RebuildOptions {
        data: context.data.path().to_owned(),
        bucket: options.bucket,
        key: source.as_ref().map(key::load).transpose()?.flatten(),
        clock: Arc::new(SystemClock),
    };
    let on_progress = move |step: vfs_core::progress::Progress| seen.report(step.what, step.done, step.total);
    let report = vfs_core::rebuild::rebuild(&rebuild, &on_progress).await?;
    drop(on_progress);
    drop(progress);
    if let Some(source) = source.filter(|_| rebuild.key.is_some()) {
        key::remember(&context.data, &source)?;
    }
    context.printer.result(&report, || rebuilt(context, &report))
}

fn rebuilt(context: &Context, report: &RebuildReport) -> String {
    let mut text = String::new();
    let groups = [
        ("unreadable pack", &report.unreadable_packs),
        ("unreadable move", &report.unreadable_moves),
        ("left out", &report.left_out),
        ("workspace", &report.workspaces),
    ];
    for (word, lines) in groups {
        lines.iter().for_each(|line| text.push_str(&format!("{word}: {}\n", print::visible(line.as_bytes()))));
    }
    text.push_str(&format!(
        "rebuilt in {}: {}, {}, {} with {}; not in a bucket, so not rebuilt: {}\nthe database before is refused from now on",
        context.data.path().display(),
        plural(report.packs, "pack"),
        plural(report.objects, "object"),
        plural(report.workspaces.len() as u64, "workspace"),
        plural(report.history, "row"),
        report.not_rebuilt.join(", "),
    ));
    text
}
