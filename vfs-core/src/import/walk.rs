//! Walks a folder in order of names, beneath its root and without following symbolic links.
//!
//! Every directory is opened relative to its parent with `O_NOFOLLOW`, so a name that is replaced by a symlink meanwhile
//! leads nowhere. Few directories are open at a time, however deep the tree is.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, open, openat, statat};
use rustix::io::Errno;

use super::{ImportOptions, Scanned};
use crate::clock::Time;
use crate::error::{Error, Kind, Result};
use crate::limits::DEPTH_MAX;
use crate::object::FileKind;

/// Directories on the way from the root that stay open; those above are opened again when the walk comes back.
const OPEN_MAX: usize = 128;

/// What `stat` says about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) kind: FileKind,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) nlink: u64,
    pub(crate) size: u64,
    pub(crate) blocks: u64,
    pub(crate) mtime: Time,
    pub(crate) ctime: Time,
    /// Device and inode number on it.
    pub(crate) place: (u64, u64),
}

impl Meta {
    #[allow(clippy::unnecessary_cast, reason = "the types of Stat differ between architectures")]
    pub(crate) fn new(stat: &Stat) -> Result<Meta> {
        let kind = FileKind::from_mode(stat.st_mode as u32)
            .ok_or_else(|| Error::new(Kind::Unsupported, format!("a file has the unknown mode {:o}", stat.st_mode)))?;
        Ok(Meta {
            kind,
            mode: (stat.st_mode as u32 & 0o7777) as u16,
            uid: stat.st_uid,
            gid: stat.st_gid,
            nlink: stat.st_nlink as u64,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
            mtime: Time { seconds: stat.st_mtime as i64, nanos: stat.st_mtime_nsec as u32 },
            ctime: Time { seconds: stat.st_ctime as i64, nanos: stat.st_ctime_nsec as u32 },
            place: (stat.st_dev as u64, stat.st_ino as u64),
        })
    }
}

/// What is done with the names of a folder. A visitor stops the walk with an error.
pub(super) trait Visitor {
    /// A directory begins; its name is the last part of `path`, which is empty for the root.
    fn enter(&mut self, path: &Path, directory: &Arc<OwnedFd>, meta: Meta) -> Result<()>;
    /// A name that is not a directory.
    fn name(&mut self, path: &Path, directory: &Arc<OwnedFd>, name: &CStr) -> Result<()>;
    /// All names of the directory are done.
    fn leave(&mut self) -> Result<()>;
    /// Something is left out.
    fn skipped(&mut self, path: &Path, why: String) -> Result<()>;
}

struct Frame {
    directory: Option<Arc<OwnedFd>>,
    place: (u64, u64),
    names: vec::IntoIter<(CString, FileType)>,
}

struct Walk<'a> {
    options: &'a ImportOptions,
    /// The folder as an absolute path without symlinks, to compare with `options.skip`.
    root: PathBuf,
    skip: Vec<PathBuf>,
    device: u64,
    path: PathBuf,
    stack: Vec<Frame>,
}

/// Walks `folder`.
pub(super) fn walk(folder: &Path, options: &ImportOptions, visitor: &mut dyn Visitor) -> Result<()> {
    let context = || format!("{} cannot be read", folder.display());
    let root = folder.canonicalize().map_err(|error| Error::io(context(), error))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(&root, flags, Mode::empty()).map_err(|errno| Error::io(context(), errno.into()))?;
    let meta = Meta::new(&fstat(&directory).map_err(|errno| Error::io(context(), errno.into()))?)?;
    let skip = options.skip.iter().map(|path| real(path)).collect();
    let mut walk = Walk { options, root, skip, device: meta.place.0, path: PathBuf::new(), stack: Vec::new() };
    let names = list(&directory).map_err(|errno| Error::io(context(), errno.into()))?;
    walk.enter(Arc::new(directory), meta, names, visitor)?;
    walk.run(visitor)
}

/// A path whose folder has no symlinks in it. The last part is not touched: it may be a mount that does not answer.
fn real(path: &Path) -> PathBuf {
    match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}

fn list(directory: &OwnedFd) -> rustix::io::Result<Vec<(CString, FileType)>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(names)
}

fn open_directory(parent: &OwnedFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

impl Walk<'_> {
    fn enter(
        &mut self,
        directory: Arc<OwnedFd>,
        meta: Meta,
        names: Vec<(CString, FileType)>,
        visitor: &mut dyn Visitor,
    ) -> Result<()> {
        if self.stack.len() > DEPTH_MAX {
            let why = format!("{} is nested over {DEPTH_MAX} directories deep", self.root.join(&self.path).display());
            return Err(Error::new(Kind::LimitExceeded, why));
        }
        visitor.enter(&self.path, &directory, meta)?;
        self.stack.push(Frame { directory: Some(directory), place: meta.place, names: names.into_iter() });
        if let Some(far) = self.stack.len().checked_sub(OPEN_MAX + 1) {
            // The root stays open: the others are found again from there.
            if far > 0 {
                self.stack[far].directory = None;
            }
        }
        Ok(())
    }

    fn run(&mut self, visitor: &mut dyn Visitor) -> Result<()> {
        while let Some(frame) = self.stack.last_mut() {
            let Some((name, kind)) = frame.names.next() else {
                visitor.leave()?;
                self.stack.pop();
                self.path.pop();
                continue;
            };
            let directory = self.directory()?;
            self.path.push(OsStr::from_bytes(name.to_bytes()));
            if !self.wanted(visitor)? || !self.visit(&directory, &name, kind, visitor)? {
                self.path.pop();
            }
        }
        Ok(())
    }

    /// Looks at one name; whether the walk went down into it.
    fn visit(
        &mut self,
        directory: &Arc<OwnedFd>,
        name: &CStr,
        kind: FileType,
        visitor: &mut dyn Visitor,
    ) -> Result<bool> {
        let kind = match kind {
            FileType::Unknown => match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => return Ok(false),
                Err(errno) => return self.unreadable(errno, visitor),
            },
            kind => kind,
        };
        if kind != FileType::Directory {
            visitor.name(&self.path, directory, name)?;
            return Ok(false);
        }
        let opened = open_directory(directory, name).and_then(|below| Ok((fstat(&below)?, list(&below)?, below)));
        match opened {
            Ok((stat, names, below)) => {
                let meta = Meta::new(&stat)?;
                if self.options.one_file_system && meta.place.0 != self.device {
                    visitor.skipped(&self.path, "another file system is mounted there".into())?;
                    return Ok(false);
                }
                self.enter(Arc::new(below), meta, names, visitor)?;
                Ok(true)
            }
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => self.unreadable(errno, visitor),
        }
    }

    fn unreadable(&self, errno: Errno, visitor: &mut dyn Visitor) -> Result<bool> {
        visitor.skipped(&self.path, format!("it cannot be read: {errno}"))?;
        Ok(false)
    }

    /// Whether the present path is to be imported.
    fn wanted(&self, visitor: &mut dyn Visitor) -> Result<bool> {
        if self.options.excludes.is_match(&self.path) {
            return Ok(false);
        }
        if !self.skip.is_empty() && self.skip.contains(&self.root.join(&self.path)) {
            visitor.skipped(&self.path, "it belongs to Esker: a data folder or a mount".into())?;
            return Ok(false);
        }
        Ok(true)
    }

    /// The open directory that is walked, opened again if it was closed on the way down.
    fn directory(&mut self) -> Result<Arc<OwnedFd>> {
        let deepest = self.stack.len() - 1;
        if let Some(directory) = &self.stack[deepest].directory {
            return Ok(directory.clone());
        }
        let changed = || {
            let path = self.root.join(&self.path);
            Error::new(Kind::Conflict, format!("{} was moved while it was read; try again", path.display()))
        };
        let root = self.stack[0].directory.clone().expect("because the root stays open");
        let mut directory = root;
        for part in self.path.components() {
            let name = CString::new(part.as_os_str().as_bytes()).expect("because names hold no NUL");
            directory = Arc::new(open_directory(&directory, &name).map_err(|errno| changed().because(errno))?);
        }
        let stat = fstat(&*directory).map_err(|errno| changed().because(errno))?;
        if Meta::new(&stat)?.place != self.stack[deepest].place {
            return Err(changed());
        }
        self.stack[deepest].directory = Some(directory.clone());
        Ok(directory)
    }
}

/// Counts names and bytes.
#[derive(Default)]
pub(super) struct Scan {
    scanned: Scanned,
}

impl Scan {
    pub(super) fn finish(mut self) -> Scanned {
        self.scanned.several.retain(|_, names| *names > 1);
        self.scanned
    }
}

impl Visitor for Scan {
    fn enter(&mut self, path: &Path, _: &Arc<OwnedFd>, _: Meta) -> Result<()> {
        self.scanned.names += u64::from(!path.as_os_str().is_empty());
        Ok(())
    }

    fn name(&mut self, _: &Path, directory: &Arc<OwnedFd>, name: &CStr) -> Result<()> {
        self.scanned.names += 1;
        let Ok(stat) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(()) };
        let meta = Meta::new(&stat)?;
        let several: &mut HashMap<(u64, u64), u64> = &mut self.scanned.several;
        let seen = if meta.nlink > 1 { several.entry(meta.place).or_insert(0) } else { &mut 0 };
        *seen += 1;
        if *seen == 1 && meta.kind == FileKind::File {
            self.scanned.bytes += meta.size;
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        Ok(())
    }

    fn skipped(&mut self, _: &Path, _: String) -> Result<()> {
        Ok(())
    }
}
