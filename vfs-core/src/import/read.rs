//! Reads names on several threads: what each is, and file content cut into chunks.
//!
//! The walk hands on what each directory holds, with what `stat` says, a batch at a time. Whoever knows the earlier snapshot
//! decides what has to be read and gives the threads jobs: small files many at a time, a large one by itself, in
//! pieces. Channels are short: whoever is ahead waits.

use std::ffi::{CStr, CString};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rustix::fs::{AtFlags, Mode, OFlags, SeekFrom, fstat, openat, readlinkat, seek, statat};
use rustix::io::{Errno, pread};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

use super::attributes::{Of, xattrs};
use super::settle::settle;
use super::walk::{Meta, Visitor, walk};
use super::{ImportOptions, Scanned};
use crate::chunk::{Cutter, Step};
use crate::error::{Error, Kind, Result};
use crate::id::PlainDigest;
use crate::limits::{CHUNK_MAX, CHUNK_MIN, INLINE_MAX, SYMLINK_MAX};
use crate::name::Name;
use crate::object::{FileKind, Xattrs};

/// Batches that the walk may be ahead; each holds an open directory.
const EVENTS_AHEAD: usize = 64;
/// Names in one batch of a directory.
const NAMES_AT_ONCE: usize = 128;
/// Jobs that wait for a thread.
const JOBS_AHEAD: usize = 16;
/// Pieces of one file that wait for the assembler; with [`super::assemble::FILES_AT_ONCE`] this bounds the memory.
const PIECES_AHEAD: usize = 2;
/// Threads that read.
const THREADS: Range<usize> = 2..8;
/// A file that changes while it is read is read this often.
const ATTEMPTS: usize = 3;
/// A file of at most this size is one chunk, and read with others.
pub(super) const SMALL_MAX: u64 = CHUNK_MIN as u64;

/// What comes from the walk, in order.
pub(super) enum Event {
    /// A directory begins.
    Enter { name: Option<Name>, meta: Meta, xattrs: Xattrs },
    /// Names of the directory that are not directories, in order.
    Names(Names),
    /// The directory ends.
    Leave,
    /// Something is left out or not stored as it is.
    Skipped(PathBuf, String),
    /// The walk failed.
    Failed(Error),
}

/// Some names of one directory.
pub(super) struct Names {
    /// The directory, relative to the folder.
    pub(super) path: Arc<Path>,
    pub(super) directory: Arc<OwnedFd>,
    pub(super) list: Vec<(Name, Meta)>,
}

/// What comes from the reading of a large file.
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
    /// It has to be read in pieces.
    Large,
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
    /// A small file, which is one chunk.
    Chunk(Bytes, PlainDigest),
    /// In the pieces that came before.
    Pieces,
}

struct Job {
    directory: Arc<OwnedFd>,
    work: Work,
}

enum Work {
    Small(Vec<Name>, oneshot::Sender<Vec<Read>>),
    Large(Name, Sender<Piece>),
}

/// The threads that read. They end when this is dropped.
pub(super) struct Readers(Sender<Job>);

impl Readers {
    pub(super) fn start(scanned: &Arc<Scanned>) -> Readers {
        let (jobs, queue) = channel(JOBS_AHEAD);
        let queue = Arc::new(Mutex::new(queue));
        let cores = std::thread::available_parallelism().map_or(THREADS.start, usize::from);
        for _ in 0..cores.clamp(THREADS.start, THREADS.end) {
            let (queue, scanned) = (queue.clone(), scanned.clone());
            tokio::task::spawn_blocking(move || work(&queue, &scanned));
        }
        Readers(jobs)
    }

    /// Reads small files, symlinks and the like: one answer for each name, in order.
    pub(super) async fn small(&self, directory: Arc<OwnedFd>, names: Vec<Name>) -> Result<Vec<Read>> {
        let (sender, answer) = oneshot::channel();
        self.give(Job { directory, work: Work::Small(names, sender) }).await?;
        answer.await.map_err(|_| dead())
    }

    /// Reads a file of any size.
    pub(super) async fn large(&self, directory: Arc<OwnedFd>, name: Name) -> Result<Receiver<Piece>> {
        let (sender, pieces) = channel(PIECES_AHEAD);
        self.give(Job { directory, work: Work::Large(name, sender) }).await?;
        Ok(pieces)
    }

    async fn give(&self, job: Job) -> Result<()> {
        self.0.send(job).await.map_err(|_| dead())
    }
}

/// A reading thread ended before it answered.
pub(super) fn dead() -> Error {
    Error::new(Kind::Internal, "a thread that reads files has died")
}

/// Starts walking. The walk ends when the receiver is dropped.
pub(super) fn start(folder: &Path, options: &ImportOptions) -> Receiver<Event> {
    let (events, receiver) = channel(EVENTS_AHEAD);
    let (folder, options) = (folder.to_owned(), options.clone());
    tokio::task::spawn_blocking(move || {
        let mut feeder = Feeder { events, names: None };
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
    /// Names that are not handed out yet.
    names: Option<Names>,
}

fn stopped() -> Error {
    Error::new(Kind::Internal, "the import was stopped")
}

impl Feeder {
    fn send(&mut self, event: Event) -> Result<()> {
        if let Some(names) = self.names.take() {
            self.events.blocking_send(Event::Names(names)).map_err(|_| stopped())?;
        }
        self.events.blocking_send(event).map_err(|_| stopped())
    }

    fn flush(&mut self) -> Result<()> {
        match self.names.take() {
            Some(names) => self.send(Event::Names(names)),
            None => Ok(()),
        }
    }
}

impl Visitor for Feeder {
    fn enter(&mut self, path: &Path, directory: &Arc<OwnedFd>, meta: Meta) -> Result<()> {
        let name = path.file_name().map(|name| Name::new(name.as_bytes())).transpose()?;
        let (xattrs, warnings) = xattrs(&Of::Open(directory));
        self.send(Event::Enter { name, meta, xattrs })?;
        warnings.into_iter().try_for_each(|why| self.send(Event::Skipped(path.to_owned(), why)))
    }

    fn name(&mut self, path: &Path, directory: &Arc<OwnedFd>, name: &CStr) -> Result<()> {
        let meta = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Meta::new(&stat)?,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return self.skipped(path, format!("it cannot be read: {errno}")),
        };
        if let Some(why) = not_imported(meta.kind) {
            return self.skipped(path, why.into());
        }
        let names = self.names.get_or_insert_with(|| Names {
            path: path.parent().unwrap_or(Path::new("")).into(),
            directory: directory.clone(),
            list: Vec::new(),
        });
        names.list.push((Name::new(name.to_bytes())?, meta));
        if names.list.len() >= NAMES_AT_ONCE { self.flush() } else { Ok(()) }
    }

    fn leave(&mut self) -> Result<()> {
        self.send(Event::Leave)
    }

    fn skipped(&mut self, path: &Path, why: String) -> Result<()> {
        self.send(Event::Skipped(path.to_owned(), why))
    }
}

fn not_imported(kind: FileKind) -> Option<&'static str> {
    match kind {
        FileKind::File | FileKind::Symlink | FileKind::Fifo => None,
        FileKind::Socket => Some("sockets are not imported"),
        FileKind::CharDevice | FileKind::BlockDevice => Some("device nodes are not imported"),
        FileKind::Directory => Some("it became a directory while it was read"),
    }
}

/// One thread: reads until nobody has jobs any more.
fn work(queue: &Mutex<Receiver<Job>>, scanned: &Scanned) {
    loop {
        let job = match queue.lock() {
            Ok(mut queue) => queue.blocking_recv(),
            Err(_) => return,
        };
        let Some(job) = job else { return };
        // If nobody listens, the import was stopped.
        match job.work {
            Work::Small(names, answer) => {
                let read = |name: &Name| outcome(read(&Place::new(&job.directory, name), None, scanned));
                let _ = answer.send(names.iter().map(read).collect());
            }
            Work::Large(name, pieces) => {
                let read = outcome(read(&Place::new(&job.directory, &name), Some(&pieces), scanned));
                let _ = pieces.blocking_send(Piece::Done(read));
            }
        }
    }
}

fn outcome(read: Result<Read, Trouble>) -> Read {
    read.unwrap_or_else(|trouble| match trouble {
        Trouble::Errno(Errno::NOENT) => Read::Gone,
        Trouble::Errno(errno) => Read::Skipped(format!("it cannot be read: {errno}")),
        Trouble::Fatal(error) => Read::Failed(error),
    })
}

/// A name of an open directory.
struct Place<'a> {
    directory: &'a OwnedFd,
    name: &'a Name,
    c_name: CString,
}

impl<'a> Place<'a> {
    fn new(directory: &'a OwnedFd, name: &'a Name) -> Self {
        let c_name = CString::new(name.as_bytes()).expect("because a name holds no NUL");
        Place { directory, name, c_name }
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

fn read(place: &Place<'_>, pieces: Option<&Sender<Piece>>, scanned: &Scanned) -> Result<Read, Trouble> {
    let meta = Meta::new(&statat(place.directory, &*place.c_name, AtFlags::SYMLINK_NOFOLLOW)?)?;
    if let Some(why) = not_imported(meta.kind) {
        return Ok(Read::Skipped(why.into()));
    }
    let content = match meta.kind {
        FileKind::File => return read_file(place, pieces, scanned),
        FileKind::Symlink => {
            let target = readlinkat(place.directory, &*place.c_name, Vec::new())?.into_bytes();
            if target.len() > SYMLINK_MAX {
                return Ok(Read::Skipped("its target is too long for a symbolic link".into()));
            }
            Held::Here(target.into())
        }
        _ => Held::Here(Bytes::new()),
    };
    let (xattrs, warnings) = xattrs(&Of::Name(place.directory, place.name));
    Ok(Read::Node { meta, content, xattrs, warnings })
}

fn read_file(place: &Place<'_>, pieces: Option<&Sender<Piece>>, scanned: &Scanned) -> Result<Read, Trouble> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = openat(place.directory, &*place.c_name, flags, Mode::empty())?;
    let mut before = Meta::new(&fstat(&file)?)?;
    if before.kind != FileKind::File {
        return Ok(Read::Skipped("it became another kind of file while it was read".into()));
    }
    let several = before.nlink > 1 && scanned.several.contains_key(&before.place);
    let failed = |errno: Errno| match several {
        // Other names count on the content of this one.
        true => Trouble::Fatal(Error::io(format!("{:?} cannot be read", place.name), errno.into())),
        false => Trouble::Errno(errno),
    };
    for attempt in 1.. {
        settle(&before);
        let content = read_content(&file, &before, pieces).map_err(|trouble| match trouble {
            Trouble::Errno(errno) => failed(errno),
            fatal => fatal,
        })?;
        let (xattrs, mut warnings) = xattrs(&Of::Open(&file));
        let after = Meta::new(&fstat(&file).map_err(failed)?)?;
        let rested = (after.size, after.mtime, after.ctime) == (before.size, before.mtime, before.ctime);
        match (content, pieces) {
            (Content::Large, _) => return Ok(Read::Large),
            (Content::Held(content), _) if rested || attempt >= ATTEMPTS => {
                if !rested {
                    warnings.push("it changed whenever it was read: what is stored may mix old and new content".into());
                }
                return Ok(Read::Node { meta: before, content, xattrs, warnings });
            }
            (Content::Shrank, _) if attempt >= ATTEMPTS => {
                let why = "it shrank whenever it was read".to_string();
                return if several {
                    Err(Trouble::Fatal(Error::new(Kind::Conflict, why)))
                } else {
                    Ok(Read::Skipped(why))
                };
            }
            (_, Some(pieces)) => send(pieces, Piece::Again)?,
            (_, None) => {}
        }
        before = after;
    }
    unreachable!("because the last attempt returns")
}

fn send(pieces: &Sender<Piece>, piece: Piece) -> Result<(), Trouble> {
    pieces.blocking_send(piece).map_err(|_| Trouble::Fatal(stopped()))
}

enum Content {
    Held(Held),
    /// It must be read in pieces, which nobody takes here.
    Large,
    /// It has become shorter than it was when it was opened.
    Shrank,
}

/// Reads as many bytes as the file had when it was looked at.
fn read_content(file: &OwnedFd, meta: &Meta, pieces: Option<&Sender<Piece>>) -> Result<Content, Trouble> {
    let holes = match meta.size > INLINE_MAX as u64 && meta.blocks * 512 < meta.size {
        true => holes(file, meta.size)?,
        false => Vec::new(),
    };
    let Some(pieces) = pieces.filter(|_| meta.size > INLINE_MAX as u64) else {
        if meta.size > SMALL_MAX || !holes.is_empty() {
            return Ok(Content::Large);
        }
        let mut buffer = vec![0; meta.size as usize];
        if !read_exactly(file, 0, &mut buffer)? {
            return Ok(Content::Shrank);
        }
        return Ok(Content::Held(match buffer.len() <= INLINE_MAX {
            true => Held::Here(buffer.into()),
            false => {
                let digest = PlainDigest::of(&buffer);
                Held::Chunk(buffer.into(), digest)
            }
        }));
    };
    let mut buffer = vec![0; CHUNK_MAX.min(meta.size as usize)];
    let mut cutter = Cutter::new(meta.size, &holes);
    while let Some(step) = cutter.step() {
        match step {
            Step::Read(range) => {
                let part = &mut buffer[..(range.end - range.start) as usize];
                if !read_exactly(file, range.start, part)? {
                    return Ok(Content::Shrank);
                }
                cutter.feed(part);
            }
            Step::New(bytes) => {
                let digest = PlainDigest::of(&bytes);
                send(pieces, Piece::Chunk(bytes, digest))?;
            }
            Step::Hole(length) => send(pieces, Piece::Hole(length))?,
            Step::Kept(_) => {
                return Err(Error::new(Kind::Internal, "a cutter without a past kept a chunk").into());
            }
        }
    }
    Ok(Content::Held(Held::Pieces))
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
