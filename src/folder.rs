//! The data folder: where it is and where things lie in it (decision 0010).
//!
//! Finding it touches nothing; [`DataFolder::prepare`] makes it, with mode 0700. A folder that a newer version
//! wrote is refused before anything in it is read.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use vfs_core::id::{PlainDigest, WorkspaceId};
use vfs_core::{Error, Kind};

use crate::exit::{Failure, Outcome};

/// Longest path that is bound as a Unix socket: Linux takes 107 bytes, some are left for temporary names.
const SOCKET_PATH_MAX: usize = 100;
/// The newest format of a data folder that this version knows.
const FORMAT: u32 = 0;

/// A data folder, by its absolute path.
#[derive(Debug, Clone)]
pub(crate) struct DataFolder {
    path: PathBuf,
    /// Where the caller says that the key is.
    key_file: Option<PathBuf>,
}

impl DataFolder {
    /// The folder that was asked for (`--data`, `ESKER_DATA`), else the one of the user.
    pub(crate) fn find(asked: Option<&Path>) -> Outcome<DataFolder> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let path = match asked {
            Some(path) if path.as_os_str().is_empty() => None,
            Some(path) => Some(path.to_owned()),
            None => variable("XDG_DATA_HOME")
                .filter(|path| path.is_absolute())
                .or_else(|| variable("HOME").map(|home| home.join(".local/share")))
                .map(|path| path.join("esker")),
        };
        let path = path.ok_or_else(|| {
            Failure::new(Kind::Invalid, "there is no data folder: set --data DIR or ESKER_DATA (HOME is not set)")
        })?;
        Ok(DataFolder { path: absolute(&path)?, key_file: None })
    }

    /// The same folder with the key file that the caller named.
    pub(crate) fn with_key_file(self, key_file: Option<PathBuf>) -> Outcome<DataFolder> {
        let named = key_file.filter(|file| !file.as_os_str().is_empty());
        let key_file = named.map(|file| absolute(&file)).transpose()?;
        Ok(DataFolder { key_file, ..self })
    }

    /// The key file that the caller named.
    pub(crate) fn key_file(&self) -> Option<&Path> {
        self.key_file.as_deref()
    }

    /// Remembers where the key comes from (see [`crate::key`]).
    pub(crate) fn key_record(&self) -> PathBuf {
        self.path.join("key-file")
    }

    /// Makes the folder if need be and refuses one of a newer version.
    pub(crate) fn prepare(&self) -> Outcome {
        private(&self.path)?;
        self.check_format()
    }

    /// Refuses a folder of a newer version.
    pub(crate) fn check_format(&self) -> Outcome {
        let path = self.path.join("format");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io(format!("cannot read {}", path.display()), error).into()),
        };
        match text.trim().strip_prefix("esker ").and_then(|version| version.parse::<u32>().ok()) {
            Some(version) if version == FORMAT => Ok(()),
            Some(version) => Err(Failure::newer(format!(
                "the data folder {} has format {version}; this esker {} knows formats up to {FORMAT}: install a newer one",
                self.path.display(),
                env!("CARGO_PKG_VERSION"),
            ))),
            None => Err(Failure::new(
                Kind::Corrupt,
                format!(
                    "{} does not say \"esker {FORMAT}\": is {} a data folder?",
                    path.display(),
                    self.path.display()
                ),
            )),
        }
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Locked by the engine while it runs.
    pub(crate) fn engine_lock(&self) -> PathBuf {
        self.path.join("engine.lock")
    }

    /// Says where the running engine listens.
    pub(crate) fn engine_info(&self) -> PathBuf {
        self.path.join("engine.json")
    }

    /// What a detached engine says.
    pub(crate) fn engine_log(&self) -> PathBuf {
        self.path.join("engine.log")
    }

    /// The token that opens the TCP address.
    pub(crate) fn token(&self) -> PathBuf {
        self.path.join("token")
    }

    /// The folder of this machine's holder of a workspace.
    pub(crate) fn holder(&self, workspace: WorkspaceId) -> PathBuf {
        self.holders().join(workspace.to_hex())
    }

    /// The folders of all holders of this machine.
    pub(crate) fn holders(&self) -> PathBuf {
        self.path.join("holders")
    }

    /// What sessions that run on this machine leave here: their locks, and a folder for each.
    pub(crate) fn runs(&self) -> PathBuf {
        self.path.join("run")
    }

    /// Says which process shows documents at a path.
    pub(crate) fn documents_record(&self, mountpoint: &Path) -> PathBuf {
        let digest = PlainDigest::of(mountpoint.as_os_str().as_encoded_bytes()).to_hex();
        self.path.join("documents").join(format!("{}.json", &digest[..16]))
    }

    /// Where `up` mounts a workspace unless told otherwise.
    pub(crate) fn mountpoint(&self, workspace: &str) -> PathBuf {
        self.path.join("mounts").join(workspace)
    }

    /// Where the engine's socket goes. Makes the folder for it where the data folder's own path is too long.
    pub(crate) fn socket(&self) -> Outcome<PathBuf> {
        let inside = self.path.join("engine.sock");
        if inside.as_os_str().len() <= SOCKET_PATH_MAX {
            return Ok(inside);
        }
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
        self.short_socket(runtime.as_deref(), Path::new("/tmp"))
    }

    fn short_socket(&self, runtime: Option<&Path>, temporary: &Path) -> Outcome<PathBuf> {
        let digest = PlainDigest::of(self.path.as_os_str().as_encoded_bytes()).to_hex();
        let name = format!("esker-{}.sock", &digest[..16]);
        if let Some(runtime) = runtime.filter(|runtime| runtime.is_dir()) {
            let path = runtime.join(&name);
            if path.as_os_str().len() <= SOCKET_PATH_MAX {
                return Ok(path);
            }
        }
        let uid = rustix::process::getuid().as_raw();
        let folder = temporary.join(format!("esker-{uid}"));
        private_folder(&folder, uid)?;
        Ok(folder.join(name))
    }
}

/// Makes a folder, and those above it, that only this user may look into.
pub(crate) fn private(path: &Path) -> Outcome {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    Ok(made.map_err(|error| Error::io(format!("cannot make {}", path.display()), error))?)
}

/// Makes a folder in a place that everybody may write to, and refuses one that somebody else put there.
fn private_folder(folder: &Path, uid: u32) -> Outcome {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(Error::io(format!("cannot make {} for the engine's socket", folder.display()), error).into());
        }
        _ => {}
    }
    let found =
        fs::symlink_metadata(folder).map_err(|error| Error::io(format!("cannot see {}", folder.display()), error))?;
    if !found.is_dir() || found.uid() != uid || found.mode() & 0o077 != 0 {
        let line = format!(
            "{} is not a folder of yours with mode 0700: remove it, or use a data folder with a shorter path",
            folder.display()
        );
        return Err(Failure::new(Kind::Denied, line));
    }
    Ok(())
}

/// The absolute path without symlinks as far as it exists, so that one folder has one name.
pub(crate) fn absolute(path: &Path) -> Outcome<PathBuf> {
    let full =
        std::path::absolute(path).map_err(|error| Error::io(format!("cannot resolve {}", path.display()), error))?;
    let mut missing = Vec::new();
    let mut existing = full.as_path();
    loop {
        if let Ok(resolved) = fs::canonicalize(existing) {
            return Ok(missing.iter().rev().fold(resolved, |path, name| path.join(name)));
        }
        match (existing.parent(), existing.file_name()) {
            (Some(parent), Some(name)) => {
                missing.push(name);
                existing = parent;
            }
            _ => return Ok(full),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Code;

    fn folder() -> (tempfile::TempDir, DataFolder) {
        let temporary = tempfile::tempdir().unwrap();
        let folder = DataFolder::find(Some(&temporary.path().join("data"))).unwrap();
        (temporary, folder)
    }

    #[test]
    fn is_made_private() {
        let (_temporary, folder) = folder();
        folder.prepare().unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let (_temporary, folder) = folder();
        folder.prepare().unwrap();
        fs::write(folder.path().join("format"), "esker 0\n").unwrap();
        folder.prepare().unwrap();
        fs::write(folder.path().join("format"), "esker 7\n").unwrap();
        assert_eq!(folder.prepare().unwrap_err().code, Code::Newer);
        fs::write(folder.path().join("format"), "gibberish").unwrap();
        assert_eq!(folder.prepare().unwrap_err().code, Code::Damaged);
    }

    #[test]
    fn a_long_path_gets_a_short_socket() {
        let temporary = tempfile::tempdir().unwrap();
        let long = DataFolder { path: PathBuf::from("/").join("d".repeat(120)), key_file: None };
        let socket = long.short_socket(None, temporary.path()).unwrap();
        assert!(socket.starts_with(temporary.path()));
        assert!(socket.as_os_str().len() <= 107);
        let other = DataFolder { path: PathBuf::from("/").join("e".repeat(120)), key_file: None };
        assert_ne!(other.short_socket(None, temporary.path()).unwrap(), socket);
        assert_eq!(fs::metadata(socket.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        let runtime = tempfile::tempdir().unwrap();
        assert!(long.short_socket(Some(runtime.path()), temporary.path()).unwrap().starts_with(runtime.path()));
    }

    #[test]
    fn somebody_elses_socket_folder_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let uid = rustix::process::getuid().as_raw();
        let target = temporary.path().join("target");
        fs::create_dir(&target).unwrap();
        std::os::unix::fs::symlink(&target, temporary.path().join(format!("esker-{uid}"))).unwrap();
        let long = DataFolder { path: PathBuf::from("/").join("d".repeat(120)), key_file: None };
        assert_eq!(long.short_socket(None, temporary.path()).unwrap_err().kind(), Kind::Denied);
    }

    #[test]
    fn one_folder_has_one_name() {
        let temporary = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(temporary.path()).unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        assert_eq!(absolute(&real.join("link/new/deep")).unwrap(), real.join("new/deep"));
    }
}
