//! A holder's folder: its lock, its id, the state that says which snapshot the journal stands on.
//!
//! ```text
//! lock          flock: one process at a time; also says who
//! state         base snapshot and journal position; replaced atomically
//! *.journal     the segments
//! lost+found/   work that could not be published, put aside and never merged unasked
//! ```

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::id::{HolderId, SnapshotId, WorkspaceId};

const FORMAT: u32 = 0;

/// A holder's locked folder; unlocked when dropped.
#[derive(Debug)]
pub struct HolderFolder {
    path: PathBuf,
    workspace: WorkspaceId,
    holder: HolderId,
    state: Option<State>,
    _lock: File,
}

/// Who has the folder, for the message to whoever wants it next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderInfo {
    /// Process id.
    pub pid: u32,
    /// Where the workspace is mounted.
    pub mountpoint: PathBuf,
}

/// What the journal stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) base: SnapshotId,
    pub(super) position: u64,
}

#[derive(Serialize, Deserialize)]
struct StateFile {
    format: u32,
    workspace: WorkspaceId,
    holder: HolderId,
    state: Option<State>,
    check: String,
}

impl StateFile {
    fn expected_check(&self) -> String {
        let text = format!("{} {} {} {:?}", self.format, self.workspace, self.holder, self.state);
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }
}

impl HolderFolder {
    /// Locks `path` (made if need be), which belongs to `workspace`. `fresh_id` names a holder that is new.
    /// `Busy` names the process and the mount point that have it.
    pub fn lock(path: &Path, workspace: WorkspaceId, info: &HolderInfo, fresh_id: HolderId) -> Result<HolderFolder> {
        make_durable_folder(path)?;
        let lock = take_lock(path, info)?;
        let read = read_state(path)?;
        let (holder, state) = match read {
            Some(file) if file.workspace != workspace => {
                return Err(Error::corrupt(format!(
                    "the folder {} holds the journal of workspace {}, not of {workspace}; move it away",
                    path.display(),
                    file.workspace
                )));
            }
            Some(file) => (file.holder, file.state),
            None if segment_paths(path)?.is_empty() => (fresh_id, None),
            None => {
                return Err(Error::corrupt(format!(
                    "the folder {} holds a journal but no `state`; move the folder away to go on without it",
                    path.display()
                )));
            }
        };
        let folder = HolderFolder { path: path.to_owned(), workspace, holder, state, _lock: lock };
        folder.write_state(state)?;
        Ok(folder)
    }

    /// Who holds the folder now, if anybody does.
    pub fn holder(path: &Path) -> Option<HolderInfo> {
        let mut lock = File::options().read(true).write(true).open(path.join("lock")).ok()?;
        match flock(&lock, FlockOperation::NonBlockingLockShared) {
            Ok(()) => None,
            Err(_) => read_info(&mut lock),
        }
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The workspace it belongs to.
    pub fn workspace(&self) -> WorkspaceId {
        self.workspace
    }

    /// The id of this holder: made once, kept in the folder.
    pub fn holder_id(&self) -> HolderId {
        self.holder
    }

    pub(super) fn state(&self) -> Option<State> {
        self.state
    }

    /// Replaces `state` so that a crash leaves the old or the new one.
    pub(super) fn write_state(&self, state: Option<State>) -> Result<()> {
        let mut file =
            StateFile { format: FORMAT, workspace: self.workspace, holder: self.holder, state, check: String::new() };
        file.check = file.expected_check();
        let text = serde_json::to_vec_pretty(&file).expect("because the state has only plain fields");
        let (path, fresh) = (self.path.join("state"), self.path.join("state.new"));
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)
        };
        write().map_err(|error| Error::io(format!("cannot write {}", path.display()), error))?;
        sync_folder(&self.path)
    }

    /// Puts the journal aside under `lost+found/<label>`; returns where.
    pub(super) fn put_aside(&self, label: &str) -> Result<PathBuf> {
        let target = self.path.join("lost+found").join(label);
        let context = |error| Error::io(format!("cannot put the journal aside in {}", target.display()), error);
        make_durable_folder(&target)?;
        std::fs::copy(self.path.join("state"), target.join("state")).map_err(context)?;
        File::open(target.join("state")).and_then(|state| state.sync_all()).map_err(context)?;
        sync_folder(&target)?;
        // Newest first: if the power goes in between, what is left is a journal that starts where it must.
        for path in segment_paths(&self.path)?.into_iter().rev() {
            let name = path.file_name().expect("because a segment has a name");
            std::fs::rename(&path, target.join(name)).map_err(context)?;
        }
        sync_folder(&target)?;
        sync_folder(&self.path)?;
        Ok(target)
    }
}

fn take_lock(path: &Path, info: &HolderInfo) -> Result<File> {
    let file = path.join("lock");
    let context = |error| Error::io(format!("cannot lock {}", file.display()), error);
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&file)
        .map_err(context)?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        let held = match read_info(&mut lock) {
            Some(holder) => format!("process {} at {}", holder.pid, holder.mountpoint.display()),
            None => "another process".to_owned(),
        };
        return Err(Error::new(Kind::Busy, format!("the workspace is already mounted by {held}; unmount it first")));
    }
    let text = serde_json::to_vec(info).expect("because the info has only plain fields");
    lock.set_len(0).map_err(context)?;
    lock.seek(SeekFrom::Start(0)).map_err(context)?;
    lock.write_all(&text).map_err(context)?;
    Ok(lock)
}

fn read_info(lock: &mut File) -> Option<HolderInfo> {
    let mut text = String::new();
    lock.seek(SeekFrom::Start(0)).ok()?;
    lock.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn read_state(folder: &Path) -> Result<Option<StateFile>> {
    let path = folder.join("state");
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(format!("cannot read {}", path.display()), error)),
    };
    let damaged =
        || Error::corrupt(format!("{} is damaged; move the folder away to go on without its journal", path.display()));
    let file: StateFile = serde_json::from_slice(&bytes).map_err(|error| damaged().because(error))?;
    if file.format != FORMAT {
        return Err(Error::new(
            Kind::Unsupported,
            format!("{} was written by a newer Esker; use that one", path.display()),
        ));
    }
    if file.check != file.expected_check() {
        return Err(damaged());
    }
    Ok(Some(file))
}

/// The journal segments in a folder, in the order of their positions.
pub(super) fn segment_paths(folder: &Path) -> Result<Vec<PathBuf>> {
    let context = |error| Error::io(format!("cannot list {}", folder.display()), error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(context)? {
        let path = entry.map_err(context)?.path();
        if path.extension().is_some_and(|extension| extension == "journal") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Makes a folder and all above it that are missing; their names survive a power cut.
fn make_durable_folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = path.parent().unwrap_or(Path::new("/"));
    make_durable_folder(above)?;
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::io(format!("cannot make {}", path.display()), error))
        }
        _ => sync_folder(above),
    }
}

/// Makes created, renamed and removed names in a folder survive a power cut.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| Error::io(format!("cannot sync the folder {}", folder.display()), error))
}
