//! How much a folder holds, and a digest that tells whether it has changed since.
//!
//! Looks at names, kinds, sizes, modes, owners and modification times; opens no file. What `skip` says is left out, so
//! that the numbers are those of an import with the same rule.

use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use serde::{Deserialize, Serialize};
use vfs_core::id::PlainDigest;
use vfs_core::limits::DEPTH_MAX;
use vfs_core::{Error, Kind, Result};

/// What a folder holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Survey {
    /// Everything that is not a directory.
    pub(crate) files: u64,
    /// Directories below the folder.
    pub(crate) directories: u64,
    /// Sizes of the files; one with several names counts under each.
    pub(crate) bytes: u64,
    /// Changes with any name, kind, size, mode, owner or modification time.
    pub(crate) digest: PlainDigest,
}

/// Whether a path below the folder (relative to it) is left out, given what is there.
pub(crate) type Skip<'a> = dyn Fn(&Path, &Metadata) -> bool + 'a;

/// Looks at everything in `folder`.
pub(crate) fn survey(folder: &Path, skip: &Skip<'_>) -> Result<Survey> {
    let mut survey = Survey { files: 0, directories: 0, bytes: 0, digest: PlainDigest::of(b"") };
    survey.digest = visit(folder, Path::new(""), skip, &mut survey, 0)?;
    Ok(survey)
}

fn visit(folder: &Path, relative: &Path, skip: &Skip<'_>, survey: &mut Survey, depth: usize) -> Result<PlainDigest> {
    if depth > DEPTH_MAX {
        let line = format!("{} is nested more than {DEPTH_MAX} directories deep", folder.display());
        return Err(Error::new(Kind::LimitExceeded, line));
    }
    let failed = |error| Error::io(format!("cannot list {}", folder.display()), error);
    let mut names: Vec<_> = fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<std::io::Result<_>>()
        .map_err(failed)?;
    names.sort();
    let mut description = Vec::new();
    for name in names {
        let (path, below) = (folder.join(&name), relative.join(&name));
        let found = match fs::symlink_metadata(&path) {
            Ok(found) => found,
            // It was removed since the listing.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io(format!("cannot see {}", path.display()), error)),
        };
        if found.file_type().is_socket() || skip(&below, &found) {
            continue;
        }
        description.extend_from_slice(name.as_bytes());
        description.push(0);
        for number in [found.mode(), found.uid(), found.gid()] {
            description.extend_from_slice(&number.to_be_bytes());
        }
        if found.is_dir() {
            survey.directories += 1;
            description.extend_from_slice(visit(&path, &below, skip, survey, depth + 1)?.as_bytes());
        } else {
            survey.files += 1;
            survey.bytes = survey.bytes.saturating_add(if found.is_file() { found.len() } else { 0 });
            for number in [found.len() as i64, found.mtime(), found.mtime_nsec()] {
                description.extend_from_slice(&number.to_be_bytes());
            }
        }
    }
    Ok(PlainDigest::of(&description))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(folder: &Path) -> Survey {
        survey(folder, &|_, _| false).unwrap()
    }

    fn sample() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/file"), "12345").unwrap();
        fs::write(folder.path().join("top"), "1").unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        folder
    }

    #[test]
    fn counts_what_is_there() {
        let folder = sample();
        let found = plain(folder.path());
        assert_eq!((found.files, found.directories, found.bytes), (3, 2, 6));
        assert_eq!(plain(folder.path()), found);
    }

    #[test]
    fn the_digest_follows_every_change() {
        let folder = sample();
        let mut seen = vec![plain(folder.path()).digest];
        let mut changed = |what: &str| {
            let digest = plain(folder.path()).digest;
            assert!(!seen.contains(&digest), "{what} was not seen");
            seen.push(digest);
        };
        fs::write(folder.path().join("a/b/file"), "123456").unwrap();
        changed("a longer file");
        fs::write(folder.path().join("a/b/new"), "").unwrap();
        changed("a new file");
        fs::rename(folder.path().join("a/b/new"), folder.path().join("a/b/newer")).unwrap();
        changed("a new name");
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(folder.path().join("top"), fs::Permissions::from_mode(0o755)).unwrap();
        changed("a mode");
    }

    #[test]
    fn sockets_and_what_is_skipped_do_not_count() {
        let folder = sample();
        let before = plain(folder.path());
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        assert_eq!(plain(folder.path()), before);
        let without = survey(folder.path(), &|path, _| path == Path::new("a/b")).unwrap();
        assert_eq!((without.files, without.directories, without.bytes), (2, 1, 1));
    }
}
