//! A local folder as a bucket: what `object_store` leaves to do so that what it wrote survives a power cut.

use std::collections::HashSet;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::Bucket;
use crate::clock::Time;
use crate::error::{Error, Kind, Result};

/// A local bucket's folder.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Folders below whose own entries are known to be on disk. Without this, a writer that finds a folder which another
    /// one has just made, and not synced yet, would call its file durable too early.
    synced: Mutex<HashSet<PathBuf>>,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Folder {
        Folder { path: path.to_owned(), synced: Mutex::default() }
    }

    /// A folder that is gone (a disk that is not mounted) must not look like an empty bucket.
    pub(super) fn check_is_there(&self) -> Result<()> {
        if self.path.is_dir() {
            return Ok(());
        }
        let message = format!("the bucket folder {} is not there: is its disk mounted?", self.path.display());
        Err(Error::new(Kind::Unavailable, message))
    }

    fn make_and_sync(&self, folder: PathBuf) -> std::io::Result<()> {
        let mut synced = self.synced.lock();
        std::fs::create_dir_all(&folder)?;
        for above in folder.ancestors().take_while(|above| above.starts_with(&self.path)) {
            std::fs::File::open(above)?.sync_all()?;
        }
        synced.insert(folder);
        Ok(())
    }
}

impl Bucket {
    /// Sees to it that the folder of an object is there and on disk.
    pub(super) async fn make_folder_of(&self, name: &str) -> Result<()> {
        let Some(folder) = self.folder.clone() else { return Ok(()) };
        let Some(parent) = folder.path.join(name).parent().map(Path::to_owned) else { return Ok(()) };
        if folder.synced.lock().contains(&parent) {
            return Ok(());
        }
        let made = tokio::task::spawn_blocking(move || folder.make_and_sync(parent));
        finished(made.await, || format!("the folder of {name} in the bucket could not be made"))
    }

    /// A crash may have come between an earlier writer's rename and its sync of the folder.
    pub(super) async fn sync_existing(&self, name: &str) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let path = folder.path.join(name);
        let synced = tokio::task::spawn_blocking(move || {
            std::fs::File::open(&path)?.sync_all()?;
            path.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
        });
        finished(synced.await, || format!("{name} in the bucket could not be synced"))
    }

    /// Makes an object of a local folder readable by its owner only.
    pub fn make_private(&self, name: &str) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        std::fs::set_permissions(folder.path.join(name), std::fs::Permissions::from_mode(0o600))
            .map_err(|error| Error::io(format!("{name} in the bucket could not be made private"), error))
    }

    /// Removes what writers that died left half written in a local folder, if it was not touched since `before`.
    /// Returns how many bytes that freed. A writer that only slept fails when it finishes: nothing of it was acknowledged.
    pub async fn remove_leftovers(&self, before: Time) -> Result<u64> {
        let Some(folder) = self.folder.clone() else { return Ok(0) };
        let removed = tokio::task::spawn_blocking(move || remove_leftovers_below(&folder.path, before));
        let removed = removed.await.map_err(|error| Error::new(Kind::Internal, "a task panicked").because(error))?;
        removed.map_err(|error| Error::io("half-written files in the bucket could not be removed", error))
    }
}

/// The name that `object_store` gives a file that is not whole yet; lists leave it out and nothing else may have it.
fn is_unfinished(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    name.split_once('#')
        .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn remove_leftovers_below(root: &Path, before: Time) -> std::io::Result<u64> {
    let (mut folders, mut freed) = (vec![root.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && is_unfinished(&path) {
                // It may be finished, or gone, while we look.
                let Ok(metadata) = entry.metadata() else { continue };
                if Time::from(metadata.modified()?) < before && std::fs::remove_file(&path).is_ok() {
                    freed += metadata.len();
                }
            }
        }
    }
    Ok(freed)
}

/// Makes a folder with mode 0700 unless it is there; durable when it returns.
pub fn make_private_folder(path: &Path) -> Result<()> {
    let failed = |error| Error::io(format!("the folder {} could not be made", path.display()), error);
    let missing = path.ancestors().take_while(|folder| !folder.exists()).count();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    // Each new folder is an entry of the one above it.
    for above in path.ancestors().skip(1).take(missing).filter(|above| !above.as_os_str().is_empty()) {
        std::fs::File::open(above).and_then(|folder| folder.sync_all()).map_err(failed)?;
    }
    Ok(())
}

fn finished(
    result: Result<std::io::Result<()>, tokio::task::JoinError>,
    context: impl FnOnce() -> String,
) -> Result<()> {
    let result = result.map_err(|error| Error::new(Kind::Internal, "a task panicked").because(error))?;
    result.map_err(|error| Error::io(context(), error))
}
