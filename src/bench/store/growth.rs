//! What growth costs, in process on SQLite and a local folder: fork, snapshot and diff of a workspace of a thousand and of a million
//! files, and whether an import keeps its rate.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vfs_core::base::PublishNote;
use vfs_core::clock::{SystemClock, Time};
use vfs_core::diff::diff;
use vfs_core::id::SnapshotId;
use vfs_core::name::Name;
use vfs_core::object::{Body, Content, Entry, Ino, Node, Subtree, Target, XattrsRef};
use vfs_core::repo::{Repo, RepoOptions};
use vfs_core::tree;
use vfs_core::{Error, Result};

use super::super::command::run as run_program;
use super::super::machine::median;
use super::esker::{Program, engine_of};
use super::measure::of_process;
use super::report::Line;

/// How often fork and snapshot are timed.
const TRIES: u32 = 200;
/// Files of one directory, as in a large source tree.
const DIRECTORY_FILES: u64 = 1_000;

/// The rows.
pub(super) async fn run(scratch: &Path, esker: &Program, million: bool) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let sizes: &[u64] = if million { &[1_000, 1_000_000] } else { &[1_000, 100_000] };
    for &files in sizes {
        eprintln!("growth: a workspace of {files} files");
        lines.extend(of_size(&scratch.join(format!("growth-{files}")), files).await?);
    }
    let sizes: &[u64] = if million { &[10_000, 100_000, 1_000_000] } else { &[10_000, 50_000] };
    for &files in sizes {
        eprintln!("growth: an import of {files} files");
        lines.push(import_rate(esker, &scratch.join(format!("import-{files}")), files)?);
    }
    Ok(lines)
}

async fn of_size(folder: &Path, files: u64) -> Result<Vec<Line>> {
    let options =
        RepoOptions { data: folder.to_owned(), bucket: None, database: None, key: None, clock: Arc::new(SystemClock) };
    let repo = Repo::open(options).await?;
    let workspace = repo.create_workspace("grown", None, None).await?;
    let first = repo.take_inos(files + files.div_ceil(DIRECTORY_FILES)).await?;
    let before = publish(&repo, workspace.id, workspace.head, first, files, b"content").await?;
    let mut head = publish(&repo, workspace.id, before, first, files, b"changed").await?;

    let mut forks = Vec::new();
    for number in 0..TRIES {
        let start = Instant::now();
        repo.create_workspace(&format!("fork-{number}"), None, Some(head)).await?;
        forks.push(start.elapsed());
    }
    let mut snapshots = Vec::new();
    let root = repo.snapshot(head).await?.root;
    for number in 0..TRIES {
        let note = PublishNote { message: number.to_string(), ..PublishNote::default() };
        let start = Instant::now();
        head = repo.move_head(workspace.id, head, repo.batch(), root.clone(), None, note).await?;
        snapshots.push(start.elapsed());
    }
    let (old, new) = (repo.snapshot(before).await?, repo.snapshot(head).await?);
    let mut diffs = Vec::new();
    for _ in 0..TRIES.min(50) {
        let start = Instant::now();
        let (changes, _) = diff(repo.store(), &old, &new, 100).await?;
        diffs.push(start.elapsed());
        if changes.is_empty() {
            return Err(Error::corrupt("a changed file is not in the diff"));
        }
    }
    drop(repo);
    fs::remove_dir_all(folder).map_err(|error| Error::io("cannot remove a folder", error))?;
    let line = |what: &str, times: &[Duration]| Line {
        what: format!("{what}, {files} files"),
        value: milliseconds(times),
        unit: "ms, p50",
        remark: format!("p99 {:.2} ms, in process", percentile(times, 99)),
    };
    Ok(vec![
        line("fork", &forks),
        line("snapshot of a clean workspace", &snapshots),
        line("diff of one changed file", &diffs),
    ])
}

/// A tree of so many files in directories of a thousand; the last file has this content.
async fn publish(
    repo: &Repo,
    workspace: vfs_core::id::WorkspaceId,
    head: SnapshotId,
    first: Ino,
    files: u64,
    last: &'static [u8],
) -> Result<SnapshotId> {
    let batch = repo.batch();
    let mut directories = Vec::new();
    for directory in 0..files.div_ceil(DIRECTORY_FILES) {
        let from = directory * DIRECTORY_FILES;
        let entries = (from..files.min(from + DIRECTORY_FILES)).map(|number| {
            let content: Vec<u8> =
                if number + 1 == files { last.to_vec() } else { format!("file {number}\n").into_bytes() };
            entry(&format!("file-{number:07}"), first.0 + number, Body::File(Content::Inline(content.into())))
        });
        let subtree = tree::build(&batch, entries.collect::<Result<Vec<_>>>()?).await?;
        directories.push(entry(
            &format!("folder-{directory:05}"),
            first.0 + files + directory,
            Body::Directory(subtree),
        )?);
    }
    let subtree: Subtree = tree::build(&batch, directories).await?;
    let root = Node { body: Body::Directory(subtree), ..repo.snapshot(head).await?.root };
    repo.move_head(workspace, head, batch, root, None, PublishNote::default()).await
}

fn entry(name: &str, ino: u64, body: Body) -> Result<Entry> {
    let time = Time { seconds: 1_700_000_000, nanos: 0 };
    let mode = if matches!(body, Body::Directory(_)) { 0o755 } else { 0o644 };
    let node =
        Node { ino: Ino(ino), mode, uid: 0, gid: 0, nlink: 1, mtime: time, ctime: time, body, xattrs: XattrsRef::None };
    Ok(Entry { name: Name::new(name.as_bytes())?, target: Target::Node(node) })
}

/// How many files a second `esker import` takes from a folder of so many small files.
fn import_rate(program: &Program, folder: &Path, files: u64) -> Result<Line> {
    let failed = |error| Error::io("cannot make the files to import", error);
    let source = folder.join("source");
    for directory in 0..files.div_ceil(DIRECTORY_FILES) {
        let below = source.join(format!("folder-{directory:05}"));
        fs::create_dir_all(&below).map_err(failed)?;
        let from = directory * DIRECTORY_FILES;
        for number in from..files.min(from + DIRECTORY_FILES) {
            fs::write(below.join(format!("file-{number:07}")), format!("{number}\n").repeat(60)).map_err(failed)?;
        }
    }
    rustix::fs::sync();
    let data = folder.join("data");
    let esker = || program.command(&data);
    let start = Instant::now();
    run_program(esker().arg("import").arg(&source).args(["--workspace", "grown"]))?;
    let seconds = start.elapsed().as_secs_f64();
    let (processor, peak) = of_process(engine_of(&data)?)?;
    run_program(esker().arg("shutdown"))?;
    fs::remove_dir_all(folder).map_err(|error| Error::io("cannot remove a folder", error))?;
    Ok(Line {
        what: format!("import of {files} files"),
        value: files as f64 / seconds,
        unit: "files/s",
        remark: format!(
            "{seconds:.1} s, engine: {processor:.1} s CPU, {:.0} MiB peak",
            peak as f64 / f64::from(1 << 20)
        ),
    })
}

fn milliseconds(times: &[Duration]) -> f64 {
    let values: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    median(&values).unwrap_or_default()
}

/// The value below which `percent` of a hundred lie, in milliseconds.
pub(super) fn percentile(times: &[Duration], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort();
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}
