//! One engine per data folder: a lock that the kernel drops with the process, and a file that says where it listens.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use vfs_core::{Error, Result};

use crate::folder::DataFolder;

/// Where the running engine listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EngineInfo {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Its Unix socket.
    pub socket: PathBuf,
    /// Its TCP address, if it has one.
    pub address: Option<String>,
    /// A command started it in the background, so it may be replaced by one that a person starts.
    #[serde(default)]
    pub background: bool,
    /// What it puts into the bucket is encrypted.
    #[serde(default)]
    pub encrypted: bool,
}

/// The right to be the engine of a data folder, until it is dropped.
#[derive(Debug)]
pub(crate) struct EngineLock {
    _file: File,
}

impl EngineLock {
    /// Takes the lock, or answers `None` if another engine has it.
    pub(crate) fn take(data: &DataFolder) -> Result<Option<EngineLock>> {
        let path = data.engine_lock();
        let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = opened.map_err(|error| Error::io(format!("cannot open {}", path.display()), error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(EngineLock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(Error::io(format!("cannot lock {}", path.display()), error.into())),
        }
    }
}

impl EngineInfo {
    /// What the file says; it may be of an engine that has crashed.
    pub(crate) fn read(data: &DataFolder) -> Option<EngineInfo> {
        serde_json::from_slice(&fs::read(data.engine_info()).ok()?).ok()
    }

    /// Replaces the file. Only the owner of the lock does this.
    pub(crate) fn write(&self, data: &DataFolder) -> Result<()> {
        let path = data.engine_info();
        let temporary = path.with_extension("json.new");
        let text = crate::print::json_line(self) + "\n";
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600);
        options
            .open(&temporary)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(|error| Error::io(format!("cannot write {}", path.display()), error))
    }

    /// Removes file and socket of the engine that leaves, unless the folder was replaced under it and they are another's.
    pub(crate) fn remove(&self, data: &DataFolder) {
        if EngineInfo::read(data).as_ref() != Some(self) {
            return;
        }
        let _ = fs::remove_file(&self.socket);
        let _ = fs::remove_file(data.engine_info());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, DataFolder) {
        let temporary = tempfile::tempdir().unwrap();
        let data = DataFolder::find(Some(temporary.path())).unwrap();
        (temporary, data)
    }

    #[test]
    fn there_is_one_engine_at_a_time() {
        let (_temporary, data) = folder();
        let first = EngineLock::take(&data).unwrap();
        assert!(first.is_some());
        assert!(EngineLock::take(&data).unwrap().is_none());
        drop(first);
        assert!(EngineLock::take(&data).unwrap().is_some());
    }

    #[test]
    fn the_file_comes_back_as_written() {
        let (_temporary, data) = folder();
        assert_eq!(EngineInfo::read(&data), None);
        let info = EngineInfo {
            pid: 7,
            version: "1".into(),
            socket: data.socket().unwrap(),
            address: None,
            background: true,
            encrypted: false,
        };
        info.write(&data).unwrap();
        assert_eq!(EngineInfo::read(&data), Some(info.clone()));
        EngineInfo { pid: 8, ..info.clone() }.remove(&data);
        assert_eq!(EngineInfo::read(&data), Some(info.clone()), "another engine's file stays");
        info.remove(&data);
        assert_eq!(EngineInfo::read(&data), None);
        fs::write(data.engine_info(), "half a li").unwrap();
        assert_eq!(EngineInfo::read(&data), None);
    }
}
