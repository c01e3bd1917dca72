//! One file or directory: what it is, what is in it.

use super::look::{Held, Look, etag};
use super::request::{Entry, Listing, Piece, Raw};
use super::resolve::{Last, find, parse};
use crate::error::{Error, Kind, Result};
use crate::limits::{FILE_PIECE_MAX, LIST_PAGE_MAX};
use crate::name::TreePath;
use crate::object::FileKind;

/// What a path names; symlinks are followed.
pub(super) fn stat(look: &Look, path: &Raw) -> Result<Entry> {
    let path = parse(path)?;
    let node = find(look, &path, Last::Follow)?;
    look.entry(&path.to_bytes(), &node.attr)
}

/// A page of a directory.
pub(super) fn list(look: &Look, path: &Raw, after: Option<&Raw>, limit: u32) -> Result<Listing> {
    if !(1..=LIST_PAGE_MAX).contains(&limit) {
        return Err(Error::new(Kind::Invalid, format!("a page has from 1 to {LIST_PAGE_MAX} entries")));
    }
    let path = parse(path)?;
    let node = find(look, &path, Last::Follow)?;
    let mut listing = Listing { node: look.entry(&path.to_bytes(), &node.attr)?, entries: Vec::new(), more: false };
    if !node.is_directory() {
        return Ok(listing);
    }
    let names = look.names(node.ino())?;
    let from = after.map_or(0, |after| names.partition_point(|(name, _)| name.as_bytes() <= &after.0[..]));
    for (name, _) in &names[from..] {
        if listing.entries.len() == limit as usize {
            listing.more = true;
            break;
        }
        // It may have gone since the names were read.
        if let Some(found) = look.lookup(node.ino(), name.as_bytes())? {
            listing.entries.push(look.entry(name.as_bytes(), &found.attr)?);
        }
    }
    Ok(listing)
}

/// A piece of a file.
pub(super) fn read(look: &Look, path: &Raw, offset: u64, length: u64) -> Result<Piece> {
    let path = parse(path)?;
    let node = find(look, &path, Last::Follow)?;
    check_file(&path, &node)?;
    content(look, &node, offset, length.min(FILE_PIECE_MAX as u64) as usize)
}

pub(super) fn check_file(path: &TreePath, node: &Held) -> Result<()> {
    match node.attr.kind {
        FileKind::File => Ok(()),
        FileKind::Directory => Err(Error::new(Kind::IsADirectory, format!("{path} is a directory"))),
        _ => Err(Error::new(Kind::Invalid, format!("{path} is not a file and has no content"))),
    }
}

/// Bytes of a file, with the tag that it had before and after they were read.
pub(super) fn content(look: &Look, node: &Held, offset: u64, length: usize) -> Result<Piece> {
    const ROUNDS: usize = 16;
    for _ in 0..ROUNDS {
        let before = look.ask(|workspace| workspace.getattr(node.ino()))?;
        let content = look.ask(|workspace| workspace.read(node.ino(), offset, length))?;
        let after = look.ask(|workspace| workspace.getattr(node.ino()))?;
        if before.ctime == after.ctime && before.size == after.size {
            return Ok(Piece { etag: etag(&after), size: after.size, content: Raw(content.into()) });
        }
    }
    Err(Error::new(Kind::Busy, "the file changes all the time; try again"))
}
