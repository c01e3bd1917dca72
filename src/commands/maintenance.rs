//! `esker check`.

use api::wire::job::{CheckPart, CheckReport, CheckRequest, Severity};
use vfs_core::{Error, Kind};

use crate::cli::Check;
use crate::context::Context;
use crate::exit::{Code, Failure, Outcome};
use crate::print;
use crate::progress::Progress;

/// Verifies the stored data; damage is exit code 7, or 8 if it hits nothing.
pub(crate) async fn check(context: &Context, options: Check) -> Outcome {
    let client = context.client().await?;
    let progress = Progress::start(context.printer, "checking");
    let request = CheckRequest {
        full: options.full,
        resume: options.resume,
        older_than_s: options.older_than,
        part: options.part.map(|(part, parts)| CheckPart { part, parts }),
    };
    let mut packs = String::new();
    let report = client
        .check(&request, |line| match (line.what.as_str(), line.total) {
            // Two counters on one line: the bar counts bytes.
            ("packs", Some(total)) => packs = format!("bytes, {} of {}", line.done, plural(total, "pack")),
            ("bytes of packs", total) => progress.report(&packs, line.done, total),
            (what, total) => progress.report(what, line.done, total),
        })
        .await?;
    drop(progress);
    context.printer.result(&report, || checked(&report, options.full))?;
    let Some(worst) = report.damages.iter().map(|damage| damage.severity).min() else { return Ok(()) };
    let found = plural(report.damages.len() as u64, "damage");
    match worst {
        Severity::Stored => {
            Err(Failure::new(Kind::Corrupt, format!("{found} found: `esker repair` undoes what it can")))
        }
        Severity::Nothing => {
            let error = Error::new(Kind::Corrupt, format!("{found} found, which no stored data is hit by"));
            Err(Failure { code: Code::HITS_NOTHING, error })
        }
    }
}

fn checked(report: &CheckReport, full: bool) -> String {
    let mut text = String::new();
    for damage in &report.damages {
        let word = match damage.severity {
            Severity::Stored => "damage",
            Severity::Nothing => "harmless damage",
        };
        text.push_str(&format!("{word}: {}\n", print::visible(damage.what.as_bytes())));
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
    if report.resumed_packs > 0 {
        text.push_str(&format!("; {} were read before", plural(report.resumed_packs, "pack")));
    }
    if report.known_damages > 0 {
        let known = plural(report.known_damages, "object");
        text.push_str(&format!("\n{known} of snapshots that are kept as damaged are missing, which is known"));
    }
    if report.damages.is_empty() {
        text.push_str("\nno damage found");
    }
    text
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
        let damages =
            vec![Damage { what: "pack x is gone".into(), severity: Severity::Stored, hits: vec!["w@1:a".into()] }];
        let text = checked(&CheckReport { damages, packs: 1, ..CheckReport::default() }, false);
        assert!(text.starts_with("damage: pack x is gone\n  hits w@1:a\n"), "{text}");
        assert!(text.contains("1 pack,") && !text.contains("no damage"), "{text}");
        assert!(checked(&CheckReport::default(), true).ends_with("no damage found"));
    }
}
