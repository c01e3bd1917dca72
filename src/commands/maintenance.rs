//! `esker check` and `esker gc`.

use api::wire::job::{CheckReport, CheckRequest, GcReport, GcRequest};
use vfs_core::Kind;

use crate::cli::{Check, Gc};
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::print;
use crate::progress::Progress;

/// Verifies the stored data; damage is exit code 7.
pub(crate) async fn check(context: &Context, options: Check) -> Outcome {
    let client = context.client().await?;
    let progress = Progress::start(context.printer, "checking");
    let report = client
        .check(&CheckRequest { full: options.full }, |line| progress.report(&line.what, line.done, line.total))
        .await?;
    drop(progress);
    context.printer.result(&report, || checked(&report, options.full))?;
    if report.damages.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Kind::Corrupt, format!("{} found", plural(report.damages.len() as u64, "damage"))))
}

fn checked(report: &CheckReport, full: bool) -> String {
    let mut text = String::new();
    for damage in &report.damages {
        text.push_str(&format!("damage: {}\n", print::visible(damage.what.as_bytes())));
        for hit in &damage.hits {
            text.push_str(&format!("  hits {}\n", print::visible(hit.as_bytes())));
        }
    }
    text.push_str(&format!(
        "{}, {}, {}, {} reachable",
        plural(report.workspaces, "workspace"),
        plural(report.snapshots, "snapshot"),
        plural(report.packs, "pack"),
        plural(report.reachable_objects, "object"),
    ));
    match full {
        true => text.push_str(&format!(
            "; {} verified, {} read",
            print::count(report.verified_objects),
            print::size(report.read_bytes)
        )),
        false => text.push_str("; contents were not read (--full does)"),
    }
    if report.damages.is_empty() {
        text.push_str("\nno damage found");
    }
    text
}

/// Drops what nothing reaches.
pub(crate) async fn gc(context: &Context, options: Gc) -> Outcome {
    let client = context.client().await?;
    let progress = Progress::start(context.printer, "collecting");
    let request = GcRequest { grace_s: options.grace, delete: true };
    let report = client.gc(&request, |line| progress.report(&line.what, line.done, line.total)).await?;
    drop(progress);
    context.printer.result(&report, || collected(&report))
}

fn collected(report: &GcReport) -> String {
    let freed = if report.deleted { "freed" } else { "could free" };
    format!(
        "{freed} {} ({}); {} condemned now, {} waiting for the grace period; {} of {} reachable",
        plural(report.deletable_packs, "pack"),
        print::size(report.deletable_bytes),
        print::count(report.condemned_packs),
        print::count(report.waiting_packs),
        print::count(report.reachable_objects),
        plural(report.reachable_objects + report.unreachable_objects, "object"),
    )
}

/// A number with its noun.
pub(crate) fn plural(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", print::count(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::wire::job::Damage;

    #[test]
    fn damage_is_named_with_what_it_hits() {
        let damages = vec![Damage { what: "pack x is gone".into(), hits: vec!["w@1:a".into()] }];
        let text = checked(&CheckReport { damages, packs: 1, ..CheckReport::default() }, false);
        assert!(text.starts_with("damage: pack x is gone\n  hits w@1:a\n"), "{text}");
        assert!(text.contains("1 pack,") && !text.contains("no damage"), "{text}");
        assert!(checked(&CheckReport::default(), true).ends_with("no damage found"));
    }
}
