//! Has a folder changed since it was imported? By names, kinds, sizes, modes, owners and times, not by content.
//!
//! Content that was changed without a new modification time is not seen, as with `rsync` and `make`.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, statat};
use tokio::sync::mpsc::{Sender, channel};

use super::ImportOptions;
use super::walk::{Meta, Visitor, walk};
use crate::error::{Error, Kind, Result};
use crate::name::Name;
use crate::object::{Body, Entry, FileKind, Node, Snapshot};
use crate::objects::Objects;
use crate::tree::{self, Entries};

/// Names that the walk may be ahead.
const NAMES_AHEAD: usize = 1024;

enum Seen {
    Enter(PathBuf, Meta),
    Name(PathBuf, Meta),
    Leave,
    Failed(Error),
}

struct Feeder(Sender<Seen>);

impl Feeder {
    fn send(&self, seen: Seen) -> Result<()> {
        self.0.blocking_send(seen).map_err(|_| Error::new(Kind::Internal, "the comparison was stopped"))
    }
}

impl Visitor for Feeder {
    fn enter(&mut self, path: &Path, _: &Arc<OwnedFd>, meta: Meta) -> Result<()> {
        self.send(Seen::Enter(path.to_owned(), meta))
    }

    fn name(&mut self, path: &Path, directory: &Arc<OwnedFd>, name: &CStr) -> Result<()> {
        let Ok(stat) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(()) };
        let meta = Meta::new(&stat)?;
        let imported = matches!(meta.kind, FileKind::File | FileKind::Symlink | FileKind::Fifo);
        if imported { self.send(Seen::Name(path.to_owned(), meta)) } else { Ok(()) }
    }

    fn leave(&mut self) -> Result<()> {
        self.send(Seen::Leave)
    }

    fn skipped(&mut self, _: &Path, _: String) -> Result<()> {
        Ok(())
    }
}

/// The first `limit` paths at which `folder` differs from `previous`, which was imported from it. Paths are relative to
/// the folder; the empty path is the folder itself.
pub async fn differences(
    objects: &dyn Objects,
    folder: &Path,
    previous: &Snapshot,
    options: &ImportOptions,
    limit: usize,
) -> Result<Vec<PathBuf>> {
    let (sender, mut seen) = channel(NAMES_AHEAD);
    let (folder, options) = (folder.to_owned(), options.clone());
    tokio::task::spawn_blocking(move || {
        let mut feeder = Feeder(sender);
        if let Err(error) = walk(&folder, &options, &mut feeder) {
            // Nobody listens if enough was found.
            let _ = feeder.0.blocking_send(Seen::Failed(error));
        }
    });
    let mut compare = Compare { objects, previous, stack: Vec::new(), found: Vec::new() };
    while compare.found.len() < limit {
        match seen.recv().await {
            Some(Seen::Enter(path, meta)) => compare.enter(path, meta).await?,
            Some(Seen::Name(path, meta)) => compare.name(path, meta).await?,
            Some(Seen::Leave) => compare.leave().await?,
            Some(Seen::Failed(error)) => return Err(error),
            None => break,
        }
    }
    compare.found.truncate(limit);
    Ok(compare.found)
}

/// A directory of the snapshot beside the same one of the folder; nothing in it if it is new.
struct Frame<'a> {
    path: PathBuf,
    entries: Option<Entries<'a>>,
    next: Option<Entry>,
}

struct Compare<'a> {
    objects: &'a dyn Objects,
    previous: &'a Snapshot,
    stack: Vec<Frame<'a>>,
    found: Vec<PathBuf>,
}

impl<'a> Compare<'a> {
    async fn enter(&mut self, path: PathBuf, meta: Meta) -> Result<()> {
        let earlier = match path.as_os_str().is_empty() {
            true => Some(self.previous.root.clone()),
            false => self.find(&path).await?,
        };
        let tree = match earlier.as_ref().map(|node| &node.body) {
            Some(Body::Directory(subtree)) => Some(subtree.tree),
            _ => None,
        };
        if !earlier.is_some_and(|earlier| same(&earlier, &meta)) {
            self.found.push(path.clone());
        }
        let entries = tree.map(|tree| Entries::new(self.objects, tree));
        self.stack.push(Frame { path, entries, next: None });
        Ok(())
    }

    async fn name(&mut self, path: PathBuf, meta: Meta) -> Result<()> {
        if !self.find(&path).await?.is_some_and(|earlier| same(&earlier, &meta)) {
            self.found.push(path);
        }
        Ok(())
    }

    async fn leave(&mut self) -> Result<()> {
        if let Some(mut frame) = self.stack.pop() {
            while let Some(entry) = frame.advance().await? {
                self.found.push(frame.path.join(std::ffi::OsStr::from_bytes(entry.name.as_bytes())));
            }
        }
        Ok(())
    }

    /// What the snapshot has at a path of the present directory; what it has before that is gone from the folder.
    async fn find(&mut self, path: &Path) -> Result<Option<Node>> {
        let (Some(frame), Some(name)) = (self.stack.last_mut(), path.file_name()) else { return Ok(None) };
        let name = Name::new(name.as_bytes())?;
        while let Some(entry) = frame.advance().await? {
            if entry.name > name {
                frame.next = Some(entry);
                break;
            }
            if entry.name == name {
                return tree::target_node(self.objects, self.previous.links.as_ref(), entry.target).await.map(Some);
            }
            self.found.push(frame.path.join(std::ffi::OsStr::from_bytes(entry.name.as_bytes())));
        }
        Ok(None)
    }
}

impl Frame<'_> {
    async fn advance(&mut self) -> Result<Option<Entry>> {
        match (self.next.take(), &mut self.entries) {
            (Some(entry), _) => Ok(Some(entry)),
            (None, Some(entries)) => entries.next().await,
            (None, None) => Ok(None),
        }
    }
}

/// Whether a name looks as it was imported.
fn same(earlier: &Node, meta: &Meta) -> bool {
    let size = meta.kind != FileKind::File || earlier.size() == meta.size;
    earlier.body.kind() == meta.kind
        && size
        && earlier.mtime == meta.mtime
        && (earlier.mode, earlier.uid, earlier.gid) == (meta.mode, meta.uid, meta.gid)
}
