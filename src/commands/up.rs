//! `esker up DIR`: imports a folder once, mounts it, and publishes at Ctrl-C. A second `up` finds it as it was.
//!
//! The folder itself is only read. What was imported of it is remembered beside the data, so that a second `up` can
//! say whether the folder has changed since; it never imports over later work.

use std::fs;
use std::path::{Path, PathBuf};

use api::client::Client;
use api::wire::Workspace;
use api::wire::transfer::{LocalPath, ScanRequest};
use api::wire::workspace::CreateWorkspace;
use serde::{Deserialize, Serialize};
use vfs_core::id::SnapshotId;
use vfs_core::{Error, Kind, Result};

use super::maintenance::plural;
use super::mount::say_mounted;
use super::transfer;
use crate::cli::Up;
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::folder::{DataFolder, absolute};
use crate::holder::{self, Wanted};
use crate::print;

/// Longest name that a folder gives its workspace; leaves room for a suffix.
const NAME_MAX: usize = 60;
/// So many suffixes are tried before a name must be chosen by hand.
const SUFFIX_MAX: u32 = 1_000;
/// So many paths that have changed are named.
const CHANGED_NAMED_MAX: usize = 3;

/// What was imported, for the next `up`.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    exclude: Vec<String>,
    snapshot: SnapshotId,
}

/// Imports if need be, mounts, serves until told to stop.
pub(crate) async fn run(context: &Context, options: Up) -> Outcome {
    let folder = transfer::readable_folder(&options.folder)?;
    let source = source_of(&folder)?;
    if folder.starts_with(context.data.path()) {
        let line = format!(
            "{} is inside the data folder {}: choose another folder",
            folder.display(),
            context.data.path().display()
        );
        return Err(Failure::new(Kind::Invalid, line));
    }
    let client = context.client().await?;
    let known = client.workspaces().await?.into_iter().find(|known| known.source.as_deref() == Some(&source));
    let workspace = match known {
        Some(known) => again(context, &client, known, &folder, options.exclude).await?,
        None => first(context, &client, &folder, &source, options.exclude).await?,
    };
    let at = match &options.at {
        Some(at) => absolute(at)?,
        None => context.data.mountpoint(&workspace.name),
    };
    if at.starts_with(&folder) {
        context.printer.warning(&format!("the mount {} is inside {}", at.display(), folder.display()));
    }
    let wanted = Wanted { id: workspace.id, mountpoint: at, allow_other: false };
    let tell = |line: &str| context.printer.remark(line);
    holder::hold(&context.data, client, wanted, |started| say_mounted(context, started), &tell).await
}

/// A folder as a workspace remembers it.
fn source_of(folder: &Path) -> Outcome<String> {
    folder.to_str().map(str::to_owned).ok_or_else(|| {
        let line = format!(
            "the path {} is not UTF-8: rename the folder, or bind-mount it under another name",
            folder.display()
        );
        Failure::new(Kind::Invalid, line)
    })
}

/// A folder that was never imported: says the size, makes the workspace, imports.
async fn first(
    context: &Context,
    client: &Client,
    folder: &Path,
    source: &str,
    exclude: Vec<String>,
) -> Outcome<Workspace> {
    say_size(context, client, folder, &exclude).await?;
    let name = free_name(client, &name_of(folder)).await?;
    let request = CreateWorkspace { name, from: None, source: Some(source.to_owned()) };
    let made = client.create_workspace(&request).await?;
    import(context, client, &made, folder, exclude).await?;
    Ok(made)
}

/// A folder that has a workspace: it is mounted as it was, with a word about what has changed outside.
async fn again(
    context: &Context,
    client: &Client,
    known: Workspace,
    folder: &Path,
    exclude: Vec<String>,
) -> Outcome<Workspace> {
    let Some(record) = read_record(&context.data, &known) else {
        // Without a record the import did not finish, unless somebody has published something since.
        if client.log(&known.name, true, 2).await?.len() <= 1 && known.holder.is_none() {
            context.printer.remark(&format!("the import into {} was not finished; importing again", known.name));
            say_size(context, client, folder, &exclude).await?;
            import(context, client, &known, folder, exclude).await?;
        }
        return Ok(known);
    };
    context.printer.remark(&format!("found the workspace {} of {} as it was left", known.name, folder.display()));
    if !exclude.is_empty() && exclude != record.exclude {
        context.printer.warning("--exclude has no effect on a folder that was imported before");
    }
    // Only a remark hangs on this, so nothing that goes wrong here keeps the mount away.
    match changed_since(client, folder, &known, &record).await {
        Ok(changed) if changed.is_empty() => {}
        Ok(changed) => say_changed(context, folder, &known, &changed),
        Err(error) => context.printer.warning(&format!(
            "cannot say whether {} has changed since it was imported: {}",
            folder.display(),
            error.chain()
        )),
    }
    Ok(known)
}

async fn changed_since(client: &Client, folder: &Path, known: &Workspace, record: &Record) -> Result<Vec<String>> {
    let request = ScanRequest {
        folder: LocalPath::new(folder),
        exclude: record.exclude.clone(),
        since: Some(format!("{}@{}", known.name, record.snapshot)),
    };
    Ok(client.scan(&request, |_| ()).await?.changed.unwrap_or_default())
}

fn say_changed(context: &Context, folder: &Path, known: &Workspace, changed: &[String]) {
    let named: Vec<String> =
        changed.iter().take(CHANGED_NAMED_MAX).map(|path| print::visible(path.as_bytes())).collect();
    let more = if changed.len() > CHANGED_NAMED_MAX { ", …" } else { "" };
    context.printer.remark(&format!(
        "{} has changed since it was imported ({}{more}); `esker import {} --workspace NEW` takes it in beside {}",
        folder.display(),
        named.join(", "),
        folder.display(),
        known.name
    ));
}

async fn say_size(context: &Context, client: &Client, folder: &Path, exclude: &[String]) -> Outcome {
    let request = ScanRequest { folder: LocalPath::new(folder), exclude: exclude.to_vec(), since: None };
    let found = client.scan(&request, |_| ()).await?;
    let line = format!("{}: {}, {}", folder.display(), plural(found.names, "name"), print::size(found.bytes));
    context.printer.remark(&line);
    Ok(())
}

async fn import(context: &Context, client: &Client, known: &Workspace, folder: &Path, exclude: Vec<String>) -> Outcome {
    let imported = {
        let what = transfer::What { workspace: &known.name, folder, exclude: &exclude, reread: false };
        transfer::import_folder(context, client, &what).await?
    };
    write_record(&context.data, known, &Record { exclude, snapshot: imported.snapshot })
}

/// The folder's name as far as it can be a workspace's.
fn name_of(folder: &Path) -> String {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let plain =
        |letter: char| if letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.') { letter } else { '-' };
    let name: String = name.chars().map(plain).take(NAME_MAX).collect();
    let name = name.trim_matches(['-', '.']).to_owned();
    if name.is_empty() { "workspace".to_owned() } else { name }
}

/// The name itself, or with the first suffix that is free.
async fn free_name(client: &Client, name: &str) -> Outcome<String> {
    let taken: Vec<String> = client.workspaces().await?.into_iter().map(|workspace| workspace.name).collect();
    first_free(name, &taken).ok_or_else(|| {
        Failure::new(Kind::AlreadyExists, format!("{name} and its suffixes are taken: use `esker import --workspace`"))
    })
}

fn first_free(name: &str, taken: &[String]) -> Option<String> {
    let names = std::iter::once(name.to_owned()).chain((2..SUFFIX_MAX).map(|number| format!("{name}-{number}")));
    names.into_iter().find(|candidate| !taken.contains(candidate))
}

fn record_path(data: &DataFolder, workspace: &Workspace) -> PathBuf {
    data.path().join("sources").join(format!("{}.json", workspace.id))
}

fn read_record(data: &DataFolder, workspace: &Workspace) -> Option<Record> {
    serde_json::from_slice(&fs::read(record_path(data, workspace)).ok()?).ok()
}

fn write_record(data: &DataFolder, workspace: &Workspace, record: &Record) -> Outcome {
    let path = record_path(data, workspace);
    crate::folder::private(path.parent().expect("because the path has a folder"))?;
    let temporary = path.with_extension("new");
    let written = fs::write(&temporary, print::json_line(record)).and_then(|()| fs::rename(&temporary, &path));
    Ok(written.map_err(|error| Error::io(format!("cannot write {}", path.display()), error))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_give_names() {
        assert_eq!(name_of(Path::new("/a/project")), "project");
        assert_eq!(name_of(Path::new("/a/My Project (2)")), "My-Project--2");
        assert_eq!(name_of(Path::new("/a/.config")), "config");
        assert_eq!(name_of(Path::new("/")), "workspace");
        assert_eq!(name_of(Path::new(&format!("/{}", "x".repeat(255)))).len(), NAME_MAX);
    }

    #[test]
    fn a_taken_name_gets_a_suffix() {
        let taken = ["a".to_owned(), "a-2".to_owned()];
        assert_eq!(first_free("a", &taken).unwrap(), "a-3");
        assert_eq!(first_free("b", &taken).unwrap(), "b");
    }
}
