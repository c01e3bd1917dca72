//! A tar archive into objects: v7, ustar, GNU and PAX, plain or in zstd, from a file or a pipe.
//!
//! ```text
//! source    bytes in order, unpacked, bounded
//! records   what PAX records and header fields say
//! members   headers: one member after another
//! plant     the tree in memory, checked, then stored
//! ```
//!
//! Contents are streamed: cut and stored as they come. The tree is built in memory, because members come in any order, up
//! to [`TAR_TREE_BYTES_MAX`](crate::limits::TAR_TREE_BYTES_MAX). An archive comes from anywhere, so it is not believed:
//! setuid and setgid bits of files and file capabilities are stripped, device nodes left out, and the time of the last
//! change is that of the import.

mod members;
mod plant;
mod records;
mod source;
#[cfg(test)]
mod tests;

use std::io::Read;
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc::{Sender, channel};

use super::assemble::{store_chunk, store_extents, store_short, store_xattrs};
use super::{Imported, InoSource};
use crate::ahead::{Results, ahead};
use crate::chunk::{Cutter, Step};
use crate::clock::Time;
use crate::error::{Error, Kind, Result};
use crate::id::PlainDigest;
use crate::limits::{CHUNK_MAX, INLINE_MAX, SYMLINK_MAX};
use crate::object::{Extent, Snapshot, Xattrs, XattrsRef};
use crate::objects::NewObjects;
use crate::progress::{OnProgress, Progress};
use members::{Member, MemberKind, Members};
use plant::Plant;
use source::{Source, invalid};

/// Chunks that are stored at the same time, and as many that wait.
const CHUNKS_AT_ONCE: usize = 8;

/// What is left of privileges in an archive that anybody may have made.
const CAPABILITY: &[u8] = b"security.capability";

enum Piece {
    Chunk(Bytes, PlainDigest),
    Hole(u64),
    Member(Box<Member>, Held, Xattrs),
    Skipped(PathBuf, String),
    Failed(Error),
}

enum Held {
    None,
    Here(Bytes),
    /// In the pieces that came before.
    Pieces,
}

enum Ready {
    Extent(Extent),
    Member(Box<Member>, Held, XattrsRef),
    Skipped(PathBuf, String),
}

/// Imports the archive that `input` yields, as the whole content. Inodes keep the number they have in `previous` where path
/// and kind are the same. `time` is when everything was changed that was not the same before.
pub async fn import_archive(
    objects: &dyn NewObjects,
    inos: &dyn InoSource,
    input: impl Read + Send + 'static,
    previous: Option<&Snapshot>,
    time: Time,
    progress: &OnProgress,
) -> Result<Imported> {
    let (sender, pieces) = channel(CHUNKS_AT_ONCE);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = read(input, &sender) {
            // Nobody listens if the import was stopped.
            let _ = sender.blocking_send(Piece::Failed(error));
        }
    });
    let pieces = futures::stream::unfold(pieces, async |mut pieces| pieces.recv().await.map(|piece| (piece, pieces)));
    let (ahead, ready) = ahead(CHUNKS_AT_ONCE);
    let stored = ahead.run(pieces.map(|piece| store(objects, piece)));
    let mut plant = Plant::new(previous, time);
    let ((), skipped) = futures::future::try_join(stored, plant_all(objects, &mut plant, ready, progress)).await?;
    plant.store(objects, inos, previous, skipped).await
}

/// Takes what is stored, member for member; returns what was left out.
async fn plant_all(
    objects: &dyn NewObjects,
    plant: &mut Plant,
    mut ready: Results<Ready>,
    progress: &OnProgress,
) -> Result<Vec<(PathBuf, String)>> {
    let (mut extents, mut skipped) = (Vec::new(), Vec::new());
    while let Some(piece) = ready.next().await {
        match piece {
            Ready::Extent(extent) => extents.push(extent),
            Ready::Skipped(path, why) => skipped.push((path, why)),
            Ready::Member(member, held, xattrs) => {
                let content = match held {
                    Held::None => None,
                    Held::Here(bytes) => Some(store_short(objects, bytes).await?),
                    Held::Pieces => match store_extents(objects, std::mem::take(&mut extents)).await? {
                        Some(content) => Some(content),
                        None => return Err(source::too_much("a file has too many pieces")),
                    },
                };
                plant.take(&member, content, xattrs)?;
                progress(Progress { what: "files", done: plant.len(), total: None });
                progress(Progress { what: "bytes", done: plant.bytes, total: None });
            }
        }
    }
    Ok(skipped)
}

async fn store(objects: &dyn NewObjects, piece: Piece) -> Result<Ready> {
    Ok(match piece {
        Piece::Chunk(bytes, digest) => Ready::Extent(Extent::Chunk(store_chunk(objects, bytes, digest).await?)),
        Piece::Hole(length) => Ready::Extent(Extent::Hole(length)),
        Piece::Member(member, held, xattrs) => Ready::Member(member, held, store_xattrs(objects, &xattrs).await?),
        Piece::Skipped(path, why) => Ready::Skipped(path, why),
        Piece::Failed(error) => return Err(error),
    })
}

/// Reads the archive on a thread of its own.
fn read(input: impl Read + 'static, pieces: &Sender<Piece>) -> Result<()> {
    let mut members = Members::new(Source::open(input)?);
    while let Some(mut member) = members.next()? {
        let skip = |why: &str| send(pieces, Piece::Skipped(path_of(&member.path), why.to_owned()));
        match member.kind {
            MemberKind::Device => skip("device nodes are not imported")?,
            MemberKind::Label => continue,
            _ => {}
        }
        if member.kind != MemberKind::Directory && member.mode & 0o6000 != 0 {
            skip("its setuid and setgid bits are not taken from an archive")?;
            member.mode &= !0o6000;
        }
        let xattrs = xattrs(&member, pieces)?;
        let held = match member.kind {
            MemberKind::File => content(&mut members.source, &member, pieces)?,
            MemberKind::Symlink if (1..=SYMLINK_MAX).contains(&member.link.len()) && !member.link.contains(&0) => {
                Held::Here(Bytes::copy_from_slice(&member.link))
            }
            MemberKind::Symlink => return Err(invalid("a symbolic link has an impossible target")),
            _ => Held::None,
        };
        send(pieces, Piece::Member(Box::new(member), held, xattrs))?;
    }
    Ok(())
}

fn path_of(path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(path))
}

fn send(pieces: &Sender<Piece>, piece: Piece) -> Result<()> {
    pieces.blocking_send(piece).map_err(|_| Error::new(Kind::Internal, "the import was stopped"))
}

fn xattrs(member: &Member, pieces: &Sender<Piece>) -> Result<Xattrs> {
    let mut kept = Xattrs::default();
    for (name, value) in &member.xattrs {
        let why = match name.as_slice() {
            CAPABILITY => Some("its capabilities are not taken from an archive".to_owned()),
            name => kept.set(name, value).err().map(|error| format!("an extended attribute is not kept: {error}")),
        };
        if let Some(why) = why {
            send(pieces, Piece::Skipped(path_of(&member.path), why))?;
        }
    }
    Ok(kept)
}

/// Cuts the content of a file, with its holes.
fn content(source: &mut Source, member: &Member, pieces: &Sender<Piece>) -> Result<Held> {
    let mut data = Data { source, member, next: 0, used: 0 };
    let held = if member.size <= INLINE_MAX as u64 {
        let mut short = vec![0; member.size as usize];
        data.fill(0, &mut short)?;
        Held::Here(short.into())
    } else {
        let mut buffer = vec![0; CHUNK_MAX.min(member.size as usize)];
        let mut cutter = Cutter::new(member.size, &holes(member));
        while let Some(step) = cutter.step() {
            match step {
                Step::Read(range) => {
                    let part = &mut buffer[..(range.end - range.start) as usize];
                    data.fill(range.start, part)?;
                    cutter.feed(part);
                }
                Step::New(bytes) => {
                    let digest = PlainDigest::of(&bytes);
                    send(pieces, Piece::Chunk(bytes, digest))?;
                }
                Step::Hole(length) => send(pieces, Piece::Hole(length))?,
                Step::Kept(_) => return Err(Error::new(Kind::Internal, "a cutter without a past kept a chunk")),
            }
        }
        Held::Pieces
    };
    data.source.skip_padding(member.stored)?;
    Ok(held)
}

fn holes(member: &Member) -> Vec<Range<u64>> {
    let mut holes = Vec::new();
    let mut at = 0;
    for (offset, length) in member.pieces.iter().copied().chain([(member.size, 0)]) {
        if offset > at {
            holes.push(at..offset);
        }
        at = offset + length;
    }
    holes
}

/// The content of a member, from its first byte to its last.
struct Data<'a> {
    source: &'a mut Source,
    member: &'a Member,
    /// The piece that is read.
    next: usize,
    /// How much of it was read.
    used: u64,
}

impl Data<'_> {
    /// Fills `buffer` with what is at `offset`; never goes back.
    fn fill(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        buffer.fill(0);
        let end = offset + buffer.len() as u64;
        while let Some((start, length)) = self.member.pieces.get(self.next).copied() {
            let at = start + self.used;
            if at >= end {
                break;
            }
            if at < offset {
                return Err(Error::new(Kind::Internal, "an archive was to be read backwards"));
            }
            let part = (length - self.used).min(end - at) as usize;
            let from = (at - offset) as usize;
            self.source.fill(&mut buffer[from..from + part])?;
            self.used += part as u64;
            if self.used == length {
                (self.next, self.used) = (self.next + 1, 0);
            }
        }
        Ok(())
    }
}
