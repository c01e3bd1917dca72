//! `esker gc`, `esker tag` and `esker retention`: what is kept, and what goes.

use api::wire::gc::{GcReport, GcRequest, RemovedRows};
use api::wire::keep::{AddTag, Retention, Rules, Tag};

use super::maintenance::plural;
use crate::cli::{Gc, Retention as RetentionOptions, Tag as TagOptions, TagCommand};
use crate::context::{self, Context};
use crate::exit::Outcome;
use crate::print;
use crate::progress::Progress;

/// Snapshots that a report names for one workspace.
const SNAPSHOTS_SHOWN: usize = 8;

/// Drops what nothing reaches.
pub(crate) async fn gc(context: &Context, options: Gc) -> Outcome {
    let client = context.client().await?;
    let progress = Progress::start(context.printer, "collecting");
    let request = GcRequest {
        grace_s: options.grace,
        delete: true,
        dry_run: options.dry_run,
        repack_below_percent: options.repack_below,
    };
    let report = client.gc(&request, |line| progress.report(&line.what, line.done, line.total)).await?;
    drop(progress);
    context.printer.result(&report, || collected(&report))
}

fn collected(report: &GcReport) -> String {
    let mut lines: Vec<String> = report.removed_rows.iter().map(|removed| removed_line(removed, report)).collect();
    let what = if report.deleted { "freed" } else { "would free" };
    lines.push(format!("{what} {}", packs(report.deletable_packs, report.deletable_bytes)));
    if report.waiting_packs > 0 {
        let waiting = packs(report.waiting_packs, report.waiting_bytes);
        let now = if report.dry_run { "would be condemned now" } else { "condemned now" };
        lines.push(format!("{waiting} after the grace period, {} of them {now}", print::count(report.condemned_packs)));
    }
    if report.repacked_packs > 0 {
        let would = if report.dry_run { "would copy" } else { "copied" };
        lines.push(format!(
            "{would} {} out of {}, which then go",
            print::size(report.copied_bytes),
            packs(report.repacked_packs, report.repacked_bytes),
        ));
    }
    if report.reflog_objects + report.bundles > 0 {
        let would = if report.dry_run { "would remove" } else { "removed" };
        lines.push(format!(
            "{would} {} and {} ({})",
            plural(report.reflog_objects, "old ref log object"),
            plural(report.bundles, "attach bundle"),
            print::size(report.reflog_bytes + report.bundle_bytes),
        ));
    }
    lines.push(format!(
        "reachable: {} ({}); unreachable: {} ({}); {}",
        plural(report.reachable_objects, "object"),
        print::size(report.reachable_bytes),
        plural(report.unreachable_objects, "object"),
        print::size(report.unreachable_bytes),
        packs(report.packs, report.pack_bytes),
    ));
    if report.dry_run {
        lines.push("nothing was changed".to_owned());
    }
    lines.join("\n")
}

fn packs(number: u64, bytes: u64) -> String {
    format!("{} ({})", plural(number, "pack"), print::size(bytes))
}

fn removed_line(removed: &RemovedRows, report: &GcReport) -> String {
    let would = if report.dry_run { "would remove" } else { "removed" };
    let shown: Vec<String> =
        removed.snapshots.iter().take(SNAPSHOTS_SHOWN).map(|id| print::short(&id.to_hex()).to_owned()).collect();
    let more = if removed.rows > shown.len() as u64 { ", …" } else { "" };
    format!(
        "{would} {} of {}: {}{more}",
        plural(removed.rows, "snapshot"),
        print::visible(removed.workspace.as_bytes()),
        shown.join(", "),
    )
}

/// Makes, lists or removes tags.
pub(crate) async fn tag(context: &Context, options: TagOptions) -> Outcome {
    let client = context.client().await?;
    match options.command {
        Some(TagCommand::List { workspace }) => {
            let tags = client.tags(&workspace).await?;
            context.printer.result(&tags, || listed(&tags))
        }
        Some(TagCommand::Rm { workspace, name }) => {
            client.remove_tag(&workspace, &name).await?;
            let line = format!("removed the tag {name}; its snapshot stays as long as something else keeps it");
            context.printer.result(&serde_json::json!({ "removed": name }), || line)
        }
        None => {
            let (source, name) = (options.source.unwrap_or_default(), options.name.unwrap_or_default());
            let state = context::resolve_text(&client, &source, true).await?;
            let request = AddTag { name, snapshot: state.snapshot.to_hex() };
            let tag = client.add_tag(&state.workspace, &request).await?;
            let line = || format!("{}@{} is {}", state.workspace, tag.name, print::short(&tag.snapshot.to_hex()));
            context.printer.result(&tag, line)
        }
    }
}

fn listed(tags: &[Tag]) -> String {
    if tags.is_empty() {
        return "no tags; `esker tag W@SNAPSHOT NAME` makes one".to_owned();
    }
    let mut rows = vec![["TAG", "SNAPSHOT", "TAGGED"].map(str::to_owned).to_vec()];
    rows.extend(tags.iter().map(|tag| {
        vec![
            print::visible(tag.name.as_bytes()),
            print::short(&tag.snapshot.to_hex()).to_owned(),
            print::moment(tag.created.into()),
        ]
    }));
    print::table(&rows)
}

/// Shows, sets or takes away retention rules.
pub(crate) async fn retention(context: &Context, options: RetentionOptions) -> Outcome {
    let client = context.client().await?;
    let (of_workspace, found) = match options {
        RetentionOptions::Show { workspace } => (workspace.is_some(), client.retention(workspace.as_deref()).await?),
        RetentionOptions::Clear { workspace } => {
            (workspace.is_some(), client.clear_retention(workspace.as_deref()).await?)
        }
        RetentionOptions::Set(set) => {
            let rules = Rules {
                keep_last: set.keep_last,
                keep_hourly: set.keep_hourly,
                keep_daily: set.keep_daily,
                keep_weekly: set.keep_weekly,
                keep_within_s: set.keep_within,
            };
            (set.workspace.is_some(), client.set_retention(set.workspace.as_deref(), &rules).await?)
        }
    };
    context.printer.result(&found, || ruled(&found, of_workspace))
}

fn ruled(retention: &Retention, of_workspace: bool) -> String {
    let Some(rules) = &retention.effective else { return "no rules: every snapshot stays".to_owned() };
    let counted = [
        (rules.keep_last, "last"),
        (rules.keep_hourly, "hourly"),
        (rules.keep_daily, "daily"),
        (rules.keep_weekly, "weekly"),
    ];
    let mut words: Vec<String> =
        counted.iter().filter_map(|(number, word)| Some(format!("{} {word}", print::count((*number)?)))).collect();
    words.extend(rules.keep_within_s.map(|seconds| format!("all within {}", span(seconds))));
    let whose = if of_workspace && retention.own.is_none() { " (the rules for all workspaces)" } else { "" };
    format!("keep {}{whose}", words.join(", "))
}

/// A span as it is written: `2d12h`.
fn span(mut seconds: u64) -> String {
    let mut text = String::new();
    for (unit, letter) in [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')] {
        if seconds >= unit {
            text.push_str(&format!("{}{letter}", seconds / unit));
            seconds %= unit;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use vfs_core::id::SnapshotId;

    #[test]
    fn a_report_says_what_went_and_what_waits() {
        let removed =
            RemovedRows { workspace: "w".into(), rows: 9, snapshots: vec![SnapshotId::from_bytes([1; 32]); 9] };
        let report = GcReport {
            deletable_packs: 2,
            deletable_bytes: 2048,
            waiting_packs: 1,
            waiting_bytes: 10,
            condemned_packs: 1,
            deleted: true,
            removed_rows: vec![removed],
            ..GcReport::default()
        };
        let text = collected(&report);
        assert!(text.starts_with("removed 9 snapshots of w: 010101010101, "), "{text}");
        assert!(text.contains("…\nfreed 2 packs (2.0 KiB)\n1 pack (10 B) after the grace period"), "{text}");
        let dry = collected(&GcReport { dry_run: true, deleted: false, ..report });
        assert!(dry.contains("would free") && dry.ends_with("nothing was changed"), "{dry}");
    }

    #[test]
    fn rules_are_said_as_they_are_set() {
        let rules = Rules { keep_last: Some(10), keep_within_s: Some(216_000), ..Rules::default() };
        let retention = Retention { own: None, effective: Some(rules) };
        assert_eq!(ruled(&retention, true), "keep 10 last, all within 2d12h (the rules for all workspaces)");
        assert_eq!(ruled(&Retention::default(), false), "no rules: every snapshot stays");
    }
}
