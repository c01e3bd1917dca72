//! `esker status DIR`: which workspace is shown there, and what of it is not published; or which documents.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use vfs_core::Kind;
use vfs_core::workspace::Status as Overlay;

use crate::cli::Status as Options;
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::folder::absolute;
use crate::holder::{ShownDocuments, documents_at};
use crate::mounts::{self, MountEntry};
use crate::print;

use super::unmount::holder_at;

/// All that is known of a mount.
#[derive(Debug, Serialize)]
struct Report {
    workspace: String,
    mountpoint: PathBuf,
    pid: Option<u32>,
    read_only: bool,
    journal: Option<PathBuf>,
    overlay: Option<Overlay>,
    requests: BTreeMap<String, u64>,
    /// Whether the bucket is encrypted; unknown if no engine of this data folder runs.
    encrypted: Option<bool>,
}

/// Shows the state of the mount that covers a folder.
pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let at = absolute(&options.at)?;
    let mount = mounts::mount_of(&at)?.filter(MountEntry::is_esker).ok_or_else(|| {
        let line =
            format!("{} is not in a mount of esker's; `esker workspace list` shows what is mounted", at.display());
        Failure::new(Kind::NotFound, line)
    })?;
    if is_dead(&mount) {
        let at = mount.mountpoint.display();
        let line = format!(
            "the process behind {at} is gone: `esker unmount {at}`, or mount it again; unpublished work is in the journal"
        );
        return Err(Failure::new(Kind::Unavailable, line));
    }
    if mount.shows_documents() {
        return documents(context, &mount);
    }
    let report = look(context, &mount).await?;
    context.printer.result(&report, || text(&report))
}

/// What is known of a mount of documents.
#[derive(Debug, Serialize)]
struct DocumentsReport {
    view: Vec<String>,
    mountpoint: PathBuf,
    /// What its process has written down; `null` if it is not of this data folder.
    shown: Option<ShownDocuments>,
}

fn documents(context: &Context, mount: &MountEntry) -> Outcome {
    let shown = documents_at(&context.data, &mount.mountpoint);
    let named = mount.source.strip_prefix("esker-docs:").unwrap_or(&mount.source).to_owned();
    let view = shown.as_ref().map_or_else(|| vec![named], |shown| shown.view.clone());
    let report = DocumentsReport { view, mountpoint: mount.mountpoint.clone(), shown };
    context.printer.result(&report, || {
        let mut rows = vec![
            ("documents", print::visible(report.view.join(",").as_bytes())),
            ("mounted at", report.mountpoint.display().to_string()),
        ];
        match &report.shown {
            Some(shown) => {
                rows.push(("may be written", print::visible(shown.grants.join(",").as_bytes())));
                if !shown.session.is_empty() {
                    rows.push(("session", print::visible(shown.session.as_bytes())));
                }
                rows.push(("process", shown.pid.to_string()));
            }
            None => rows.push(("process", "not of this data folder".to_owned())),
        }
        print::table(&rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect::<Vec<_>>())
    })
}

/// Every access to a mount whose process has died answers ENOTCONN.
fn is_dead(mount: &MountEntry) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    // Cached attributes outlive the process, so the kernel must be made to ask.
    let looked = statx(CWD, &mount.mountpoint, AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS);
    looked.is_err_and(|error| error == rustix::io::Errno::NOTCONN)
}

async fn look(context: &Context, mount: &MountEntry) -> Outcome<Report> {
    let name = mount.source.strip_prefix("esker:").unwrap_or(&mount.source).to_owned();
    let mut report = Report {
        workspace: name,
        mountpoint: mount.mountpoint.clone(),
        pid: None,
        read_only: mount.read_only,
        journal: None,
        overlay: None,
        requests: BTreeMap::new(),
        encrypted: crate::engine::EngineInfo::read(&context.data).map(|engine| engine.encrypted),
    };
    let Some((workspace, holder)) = holder_at(&context.data, &mount.mountpoint) else { return Ok(report) };
    report.pid = Some(holder.pid);
    report.journal = Some(context.data.holder(workspace));
    let said = crate::holder::ask(&context.data.holder(workspace), &holder).await?;
    report.overlay = Some(said.overlay);
    report.requests = said.requests;
    Ok(report)
}

fn text(report: &Report) -> String {
    let mut rows = vec![
        ("workspace", print::visible(report.workspace.as_bytes())),
        (
            "mounted at",
            format!("{}{}", report.mountpoint.display(), if report.read_only { " (read-only)" } else { "" }),
        ),
    ];
    match report.pid {
        Some(pid) => rows.push(("process", pid.to_string())),
        None if !report.read_only => rows.push(("process", "not of this data folder".to_owned())),
        None => {}
    }
    if let Some(overlay) = &report.overlay {
        rows.push(("base", overlay.base.to_hex()));
        rows.push(("unpublished", unpublished(overlay)));
        rows.push((
            "in memory",
            format!("{} inodes, {} cached", print::count(overlay.known_inodes), print::size(overlay.cache_bytes)),
        ));
    }
    if let Some(journal) = &report.journal {
        rows.push(("journal", journal.display().to_string()));
    }
    if let Some(encrypted) = report.encrypted {
        rows.push(("bucket", if encrypted { "encrypted" } else { "not encrypted" }.to_owned()));
    }
    if !report.requests.is_empty() {
        let requests = report.requests.iter().map(|(name, count)| format!("{name} {}", print::count(*count)));
        rows.push(("requests", requests.collect::<Vec<_>>().join(", ")));
    }
    print::table(&rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect::<Vec<_>>())
}

fn unpublished(overlay: &Overlay) -> String {
    if overlay.changed_inodes == 0 {
        return "nothing".to_owned();
    }
    format!(
        "{} inodes, {} in the journal, of which {} are not synced yet",
        print::count(overlay.changed_inodes),
        print::size(overlay.journal_bytes),
        print::size(overlay.unsynced_bytes)
    )
}
