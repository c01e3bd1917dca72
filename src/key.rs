//! The operator key of this machine: where it comes from, and what the data folder remembers of that.
//!
//! The key itself is in a file or in the environment, never in an argument, a log, or the data folder: that remembers
//! the path of the file, so that the next command need not name it.

use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use vfs_core::keys::OperatorKey;
use vfs_core::{Error, Kind};

use crate::exit::{Failure, Outcome};
use crate::folder::DataFolder;

/// Holds the key itself.
const VARIABLE: &str = "ESKER_KEY";

/// Where a key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// This file.
    File(PathBuf),
    /// The variable `ESKER_KEY`.
    Environment,
}

/// Where the caller says that the key is: `--key-file`, `ESKER_KEY_FILE` or `ESKER_KEY`.
pub(crate) fn asked(data: &DataFolder) -> Outcome<Option<Source>> {
    let variable = std::env::var_os(VARIABLE).is_some_and(|value| !value.is_empty());
    match (data.key_file(), variable) {
        (Some(_), true) => {
            let line = "two keys were given, by --key-file (or ESKER_KEY_FILE) and by ESKER_KEY: give one";
            Err(Failure::new(Kind::Invalid, line))
        }
        (Some(file), false) => Ok(Some(Source::File(file.to_owned()))),
        (None, true) => Ok(Some(Source::Environment)),
        (None, false) => Ok(None),
    }
}

/// Where the key of a data folder comes from: as the caller says, else as it did before.
pub(crate) fn source(data: &DataFolder) -> Outcome<Option<Source>> {
    Ok(match asked(data)? {
        Some(asked) => Some(asked),
        None => remembered(data)?,
    })
}

/// Reads the key. A source that is remembered but gone gives none: the repo then says what it needs.
pub(crate) fn load(source: &Source) -> Outcome<Option<OperatorKey>> {
    match source {
        Source::File(path) => Ok(Some(OperatorKey::from_file(path)?)),
        Source::Environment => match std::env::var(VARIABLE) {
            Ok(text) if !text.is_empty() => {
                let named = |error: Error| Error::new(error.kind(), format!("{VARIABLE}: {}", error.context()));
                Ok(Some(OperatorKey::parse(&text).map_err(named)?))
            }
            Ok(_) | Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(Failure::new(Kind::Invalid, format!("{VARIABLE} holds no hexadecimal digits")))
            }
        },
    }
}

/// Where the key came from the last time that an engine opened the repo; `None` if it is not encrypted.
pub(crate) fn remembered(data: &DataFolder) -> Outcome<Option<Source>> {
    match fs::read(data.key_record()) {
        Ok(path) if path.is_empty() => Ok(Some(Source::Environment)),
        Ok(path) => Ok(Some(Source::File(OsString::from_vec(path).into()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("cannot read {}", data.key_record().display()), error).into()),
    }
}

/// Remembers where the key of an encrypted repo came from.
pub(crate) fn remember(data: &DataFolder, source: &Source) -> Outcome {
    if remembered(data)?.as_ref() == Some(source) {
        return Ok(());
    }
    let path = data.key_record();
    let temporary = path.with_extension("new");
    let bytes = match source {
        Source::File(file) => file.as_os_str().as_bytes(),
        Source::Environment => &[],
    };
    let written = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&temporary, &path));
    Ok(written.map_err(|error| Error::io(format!("cannot write {}", path.display()), error))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(key_file: Option<&str>) -> (tempfile::TempDir, DataFolder) {
        let temporary = tempfile::tempdir().unwrap();
        let data = DataFolder::find(Some(temporary.path())).unwrap();
        (temporary, data.with_key_file(key_file.map(PathBuf::from)).unwrap())
    }

    #[test]
    fn the_path_is_remembered_and_the_caller_goes_first() {
        let (_temporary, data) = folder(None);
        assert_eq!(source(&data).unwrap(), None);
        remember(&data, &Source::File("/k/one".into())).unwrap();
        assert_eq!(source(&data).unwrap(), Some(Source::File("/k/one".into())));
        let asked = data.clone().with_key_file(Some("/k/two".into())).unwrap();
        assert_eq!(source(&asked).unwrap(), Some(Source::File("/k/two".into())));
        remember(&data, &Source::Environment).unwrap();
        assert_eq!(source(&data).unwrap(), Some(Source::Environment));
    }

    #[test]
    fn a_relative_path_becomes_absolute() {
        let (_temporary, data) = folder(Some("some/key"));
        assert!(data.key_file().unwrap().is_absolute());
        let (_temporary, data) = folder(Some(""));
        assert_eq!(data.key_file(), None);
    }
}
