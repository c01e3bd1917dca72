//! Writing a whole file. It is the old one or the new one for everybody, also after a crash (`Workspace::replace`).

use super::look::{Look, etag};
use super::names::make_missing;
use super::request::{Basis, Source, Write, Written};
use super::resolve::{Last, Place, not_there, parse, resolve};
use super::uploads::{Uploads, too_large};
use crate::error::{Error, Kind, Result};
use crate::limits::{EDIT_ROUNDS_MAX, FILE_WRITE_MAX};
use crate::name::{Name, TreePath};
use crate::object::{FileKind, Ino};
use crate::workspace::{Attr, Invalidation};

/// Mode of a file that is made.
const FILE_MODE: u16 = 0o644;

/// Replaces a file, or makes one.
pub(super) fn write(
    look: &Look,
    uploads: &Uploads,
    request: Write,
    changed: &mut Vec<Invalidation>,
) -> Result<Written> {
    let path = parse(&request.path)?;
    let content = match request.content {
        Source::Here(content) => content.0,
        Source::Uploaded { upload, length } => uploads.take(upload, length)?,
    };
    if content.len() > FILE_WRITE_MAX {
        return Err(too_large());
    }
    let mut tries = 0..EDIT_ROUNDS_MAX;
    loop {
        let place = resolve(look, &path, Last::Follow)?;
        if place.node.is_none() && matches!(request.basis, Basis::Etag(_)) {
            return Err(conflict(&path, "is not there any more"));
        }
        if !place.missing.is_empty() && !request.parents {
            let context = format!("the directory of {path} is not there; make it, or write with `parents`");
            return Err(Error::new(Kind::NotFound, context));
        }
        let seen = place.node.as_ref().map(|node| node.ino());
        let (parent, name) = named(&path, place, look, changed)?;
        match put(look, &path, (parent.ino(), &name), seen, &request.basis, &content, changed) {
            // The path led elsewhere when the content was put: look again where it leads.
            Err(error) if error.kind() == Kind::Stale && tries.next().is_some() => {}
            other => {
                let attr = other?;
                return Ok(Written { created: seen.is_none(), entry: look.entry(&path.to_bytes(), &attr)? });
            }
        }
    }
}

/// The directory and the name of a place; makes the directories that are missing.
fn named(
    path: &TreePath,
    place: Place,
    look: &Look,
    changed: &mut Vec<Invalidation>,
) -> Result<(super::look::Held, Name)> {
    let Some((parent, name)) = place.parent else {
        let is_root = place.node.is_some();
        let error = if is_root { Error::new(Kind::IsADirectory, "the root is a directory") } else { not_there(path) };
        return Err(error);
    };
    Ok((make_missing(look, parent, &place.missing, changed)?, name))
}

/// Puts content under a name, if it still stands for what was seen and fits the basis.
pub(super) fn put(
    look: &Look,
    path: &TreePath,
    place: (Ino, &Name),
    seen: Option<Ino>,
    basis: &Basis,
    content: &[u8],
    changed: &mut Vec<Invalidation>,
) -> Result<Attr> {
    let (parent, name) = place;
    let in_the_way = std::cell::Cell::new(None);
    let check = |now: Option<&Attr>| {
        in_the_way.set(now.copied());
        match (basis, now) {
            (Basis::Absent, Some(_)) => return Err(conflict(path, "is there already")),
            (Basis::Etag(_), None) => return Err(conflict(path, "is not there any more")),
            (Basis::Etag(tag), Some(attr)) if *tag != etag(attr) => {
                return Err(conflict(path, "has changed since it was read"));
            }
            _ => {}
        }
        if now.map(|attr| attr.ino) != seen {
            return Err(Error::new(Kind::Stale, format!("{path} has just changed; try again")));
        }
        Ok(())
    };
    let replaced = look.ask(|workspace| workspace.replace(parent, name.as_bytes(), FILE_MODE, content, &check));
    if let Some(old) = in_the_way.get().filter(|old| old.kind == FileKind::File) {
        // A file that is written in place may have been written in part, also where an error says no.
        changed.extend((old.nlink > 1).then_some(Invalidation::Inode(old.ino)));
    }
    let replaced = replaced?;
    changed.extend(replaced.old.map(Invalidation::Attributes));
    if !replaced.in_place {
        changed.push(Invalidation::Entry(parent, name.clone()));
        changed.push(Invalidation::Listing(parent));
    }
    Ok(replaced.attr)
}

pub(super) fn conflict(path: &TreePath, why: &str) -> Error {
    Error::new(Kind::Conflict, format!("{path} {why}; nothing was changed"))
}
