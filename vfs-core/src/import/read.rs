//! Reads names on several threads: what each is, and file content cut into chunks.
//!
//! The walk hands every name to the threads and, in the same order, to the assembler, which waits for each. Channels
//! are short: whoever is ahead waits.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver as JobReceiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rustix::fs::{
    AtFlags, Mode, OFlags, SeekFrom, fstat, lgetxattr, lgetxattr_query, llistxattr, llistxattr_query, openat,
    readlinkat, seek, statat,
};
use rustix::io::{Errno, pread};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::walk::{Meta, Visitor, walk};
use super::{ImportOptions, Scanned};
use crate::chunk::{Cutter, Step};
use crate::error::{Error, Kind, Result};
use crate::id::PlainDigest;
use crate::limits::{CHUNK_MAX, INLINE_MAX, SYMLINK_MAX};
use crate::name::Name;
use crate::object::{FileKind, Xattrs};

/// Names that the walk may be ahead of the assembler; each may hold an open directory.
const NAMES_AHEAD: usize = 256;
/// Pieces of one file that wait for the assembler; with [`super::assemble::FILES_AT_ONCE`] this bounds the memory.
const PIECES_AHEAD: usize = 2;
/// Threads that read.
const THREADS: Range<usize> = 2..8;
/// A file that changes while it is read is read this often.
const ATTEMPTS: usize = 3;

/// What comes from the walk, in order.
pub(super) enum Event {
    /// A directory begins.
    Enter { name: Option<Name>, meta: Meta, xattrs: Xattrs },
    /// A name that is not a directory, with what is read of it.
    Name { name: Name, path: PathBuf, pieces: Receiver<Piece> },
    /// The directory ends.
    Leave,
    /// Something is left out or not stored as it is.
    Skipped(PathBuf, String),
    /// The walk failed.
    Failed(Error),
}

/// What comes from the reading of one name.
pub(super) enum Piece {
    /// A chunk.
    Chunk(Bytes, PlainDigest),
    /// A hole.
    Hole(u64),
    /// What came so far is void: the file has changed.
    Again,
    /// The last piece.
    Done(Read),
}

/// What a name turned out to be.
pub(super) enum Read {
    /// Content, target or kind, as `meta.kind` says.
    Node { meta: Meta, content: Held, xattrs: Xattrs, warnings: Vec<String> },
    /// It is not imported.
    Skipped(String),
    /// It is gone.
    Gone,
    /// Reading failed after content was promised.
    Failed(Error),
}

/// Where the content of a name is.
pub(super) enum Held {
    /// There is none, or here it is: a short file, or the target of a symlink.
    Here(Bytes),
    /// In the pieces that came before.
    Pieces,
    /// With another name of the same inode.
    Elsewhere,
}

struct Job {
    directory: Arc<OwnedFd>,
    name: CString,
    pieces: Sender<Piece>,
}

/// Inodes with several names: those that the folder has, and those whose content some thread reads.
struct Shared {
    scanned: Arc<Scanned>,
    claimed: Mutex<HashSet<(u64, u64)>>,
}

/// Starts walking and reading. Everything ends when the receiver is dropped.
pub(super) fn start(folder: &Path, options: &ImportOptions, scanned: Arc<Scanned>) -> Receiver<Event> {
    let (events, receiver) = channel(NAMES_AHEAD);
    let (jobs, queue) = sync_channel(NAMES_AHEAD);
    let queue = Arc::new(Mutex::new(queue));
    let shared = Arc::new(Shared { scanned, claimed: Mutex::default() });
    let cores = std::thread::available_parallelism().map_or(THREADS.start, usize::from);
    for _ in 0..cores.clamp(THREADS.start, THREADS.end) {
        let (queue, shared) = (queue.clone(), shared.clone());
        tokio::task::spawn_blocking(move || work(&queue, &shared));
    }
    let (folder, options) = (folder.to_owned(), options.clone());
    tokio::task::spawn_blocking(move || {
        let mut feeder = Feeder { events, jobs };
        if let Err(error) = walk(&folder, &options, &mut feeder) {
            // Nobody listens if the assembler stopped the walk.
            let _ = feeder.events.blocking_send(Event::Failed(error));
        }
    });
    receiver
}

/// The visitor that hands out names.
struct Feeder {
    events: Sender<Event>,
    jobs: SyncSender<Job>,
}

fn stopped() -> Error {
    Error::new(Kind::Internal, "the import was stopped")
}

impl Feeder {
    fn send(&self, event: Event) -> Result<()> {
        self.events.blocking_send(event).map_err(|_| stopped())
    }
}

impl Visitor for Feeder {
    fn enter(&mut self, path: &Path, directory: &Arc<OwnedFd>, meta: Meta) -> Result<()> {
        let name = path.file_name().map(|name| Name::new(name.as_bytes())).transpose()?;
        let (xattrs, warnings) = xattrs(&format!("/proc/self/fd/{}", directory.as_raw_fd()).into_bytes(), true);
        self.send(Event::Enter { name, meta, xattrs })?;
        warnings.into_iter().try_for_each(|why| self.send(Event::Skipped(path.to_owned(), why)))
    }

    fn name(&mut self, path: &Path, directory: &Arc<OwnedFd>, name: &CStr) -> Result<()> {
        let (sender, pieces) = channel(PIECES_AHEAD);
        self.send(Event::Name { name: Name::new(name.to_bytes())?, path: path.to_owned(), pieces })?;
        let job = Job { directory: directory.clone(), name: name.to_owned(), pieces: sender };
        self.jobs.send(job).map_err(|_| stopped())
    }

    fn leave(&mut self) -> Result<()> {
        self.send(Event::Leave)
    }

    fn skipped(&mut self, path: &Path, why: String) -> Result<()> {
        self.send(Event::Skipped(path.to_owned(), why))
    }
}

/// One thread: reads names until the walk is over.
fn work(queue: &Mutex<JobReceiver<Job>>, shared: &Shared) {
    loop {
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(job) = job else { return };
        let read = read(&job, shared).unwrap_or_else(|error| match error {
            Trouble::Errno(Errno::NOENT) => Read::Gone,
            Trouble::Errno(errno) => Read::Skipped(format!("it cannot be read: {errno}")),
            Trouble::Fatal(error) => Read::Failed(error),
        });
        // If nobody listens, the import was stopped.
        let _ = job.pieces.blocking_send(Piece::Done(read));
    }
}

enum Trouble {
    /// This name cannot be read.
    Errno(Errno),
    /// The import cannot go on.
    Fatal(Error),
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        Trouble::Errno(errno)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Fatal(error)
    }
}

fn read(job: &Job, shared: &Shared) -> Result<Read, Trouble> {
    let meta = Meta::new(&statat(&*job.directory, &*job.name, AtFlags::SYMLINK_NOFOLLOW)?)?;
    let content = match meta.kind {
        FileKind::File => return read_file(job, shared),
        FileKind::Symlink => {
            let target = readlinkat(&*job.directory, &*job.name, Vec::new())?.into_bytes();
            if target.len() > SYMLINK_MAX {
                return Ok(Read::Skipped("its target is too long for a symbolic link".into()));
            }
            Held::Here(target.into())
        }
        FileKind::Fifo => Held::Here(Bytes::new()),
        FileKind::Socket => return Ok(Read::Skipped("sockets are not imported".into())),
        FileKind::CharDevice | FileKind::BlockDevice => {
            return Ok(Read::Skipped("device nodes are not imported".into()));
        }
        FileKind::Directory => return Ok(Read::Skipped("it became a directory while it was read".into())),
    };
    let (xattrs, warnings) = xattrs(&proc_path(job), false);
    Ok(Read::Node { meta, content, xattrs, warnings })
}

fn read_file(job: &Job, shared: &Shared) -> Result<Read, Trouble> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = openat(&*job.directory, &*job.name, flags, Mode::empty())?;
    let mut before = Meta::new(&fstat(&file)?)?;
    if before.kind != FileKind::File {
        return Ok(Read::Skipped("it became another kind of file while it was read".into()));
    }
    let several = before.nlink > 1 && shared.scanned.several.contains_key(&before.place);
    if several && !shared.claimed.lock().map_err(|_| stopped())?.insert(before.place) {
        let (xattrs, warnings) = xattrs(&proc_path(job), false);
        return Ok(Read::Node { meta: before, content: Held::Elsewhere, xattrs, warnings });
    }
    let failed = |errno: Errno| match several {
        // Other names count on the content of this one.
        true => Trouble::Fatal(Error::io(format!("{:?} cannot be read", job.name), errno.into())),
        false => Trouble::Errno(errno),
    };
    for attempt in 1.. {
        let content = read_content(job, &file, &before).map_err(|trouble| match trouble {
            Trouble::Errno(errno) => failed(errno),
            fatal => fatal,
        })?;
        let (xattrs, mut warnings) = xattrs(&proc_path(job), false);
        let after = Meta::new(&fstat(&file).map_err(failed)?)?;
        let rested = (after.size, after.mtime, after.ctime) == (before.size, before.mtime, before.ctime);
        match content {
            Some(content) if rested || attempt >= ATTEMPTS => {
                if !rested {
                    warnings.push("it changed whenever it was read: what is stored may mix old and new content".into());
                }
                return Ok(Read::Node { meta: before, content, xattrs, warnings });
            }
            None if attempt >= ATTEMPTS => {
                let why = "it shrank whenever it was read".to_string();
                return if several {
                    Err(Trouble::Fatal(Error::new(Kind::Conflict, why)))
                } else {
                    Ok(Read::Skipped(why))
                };
            }
            _ => send(job, Piece::Again)?,
        }
        before = after;
    }
    unreachable!("because the last attempt returns")
}

fn send(job: &Job, piece: Piece) -> Result<(), Trouble> {
    job.pieces.blocking_send(piece).map_err(|_| Trouble::Fatal(stopped()))
}

/// Reads as many bytes as the file had when it was opened; `None` if it has become shorter.
fn read_content(job: &Job, file: &OwnedFd, meta: &Meta) -> Result<Option<Held>, Trouble> {
    let mut buffer = vec![0; CHUNK_MAX.min(meta.size as usize)];
    if meta.size <= INLINE_MAX as u64 {
        return Ok(read_exactly(file, 0, &mut buffer)?.then(|| Held::Here(buffer.into())));
    }
    let holes = if meta.blocks * 512 < meta.size { holes(file, meta.size)? } else { Vec::new() };
    let mut cutter = Cutter::new(meta.size, &holes);
    while let Some(step) = cutter.step() {
        match step {
            Step::Read(range) => {
                let part = &mut buffer[..(range.end - range.start) as usize];
                if !read_exactly(file, range.start, part)? {
                    return Ok(None);
                }
                cutter.feed(part);
            }
            Step::New(bytes) => {
                let digest = PlainDigest::of(&bytes);
                send(job, Piece::Chunk(bytes, digest))?;
            }
            Step::Hole(length) => send(job, Piece::Hole(length))?,
            Step::Kept(_) => {
                return Err(Error::new(Kind::Internal, "a cutter without a past kept a chunk").into());
            }
        }
    }
    Ok(Some(Held::Pieces))
}

/// Fills `buffer` from `offset`; false if the file ends before.
fn read_exactly(file: &OwnedFd, offset: u64, buffer: &mut [u8]) -> rustix::io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        match pread(file, &mut buffer[filled..], offset + filled as u64) {
            Ok(0) => return Ok(false),
            Ok(more) => filled += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(true)
}

/// Where the file system says that nothing was written. One that cannot tell has no holes.
fn holes(file: &OwnedFd, size: u64) -> rustix::io::Result<Vec<Range<u64>>> {
    let mut holes = Vec::new();
    let mut position = 0;
    while position < size {
        let hole = match seek(file, SeekFrom::Hole(position)) {
            Ok(hole) => hole.min(size),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno),
        };
        let data = match seek(file, SeekFrom::Data(hole)) {
            Ok(data) => data.min(size),
            Err(Errno::NXIO) => size,
            Err(errno) => return Err(errno),
        };
        if data > hole {
            holes.push(hole..data);
        }
        position = data.max(position + 1);
    }
    Ok(holes)
}

/// A path that names the job's file whatever has happened to the directories above it.
fn proc_path(job: &Job) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", job.directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(job.name.to_bytes());
    path
}

/// The extended attributes of a file, without following a symlink as its last part, and what could not be kept.
fn xattrs(path: &[u8], follow: bool) -> (Xattrs, Vec<String>) {
    let mut path = path.to_vec();
    if follow {
        // The link in /proc stands for the directory itself.
        path.extend_from_slice(b"/.");
    }
    let mut found = Xattrs::default();
    let mut warnings = Vec::new();
    let names = match sized(|| llistxattr_query(&*path), |buffer| llistxattr(&*path, buffer)) {
        Ok(names) => names,
        Err(Errno::OPNOTSUPP | Errno::NOENT) => return (found, warnings),
        Err(errno) => {
            warnings.push(format!("its extended attributes cannot be read: {errno}"));
            return (found, warnings);
        }
    };
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let shown = String::from_utf8_lossy(name);
        match sized(|| lgetxattr_query(&*path, name), |buffer| lgetxattr(&*path, name, buffer)) {
            Ok(value) => {
                if let Err(error) = found.set(name, &value) {
                    warnings.push(format!("its extended attribute {shown} is not kept: {error}"));
                }
            }
            Err(Errno::NODATA) => {}
            Err(errno) => warnings.push(format!("its extended attribute {shown} cannot be read: {errno}")),
        }
    }
    (found, warnings)
}

/// Asks for a size, then for that many bytes; again if they have become more.
fn sized(
    size: impl Fn() -> rustix::io::Result<usize>,
    get: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    loop {
        let mut buffer = vec![0; size()?];
        match get(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) => {}
            Err(errno) => return Err(errno),
        }
    }
}
