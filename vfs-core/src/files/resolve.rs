//! From a path to an inode. Symlinks are followed inside the workspace; one that leads out of it leads nowhere.

use std::collections::VecDeque;

use super::look::{Held, Look};
use super::request::Raw;
use crate::error::{Error, Kind, Result};
use crate::limits::{PATH_MAX, SYMLINKS_MAX};
use crate::name::{Name, TreePath};
use crate::object::FileKind;

/// What becomes of a symlink at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// It is followed.
    Follow,
    /// It is what is meant.
    Keep,
}

/// Where a path leads.
pub(super) struct Place {
    /// The directory that has, or would have, the last name; `None` for the root.
    pub(super) parent: Option<(Held, Name)>,
    /// What is there.
    pub(super) node: Option<Held>,
    /// The directories that are missing before the last name, if `node` is `None`.
    pub(super) missing: Vec<Name>,
}

/// Checks a path from outside.
pub(super) fn parse(path: &Raw) -> Result<TreePath> {
    if path.0.len() > PATH_MAX {
        return Err(Error::new(Kind::NameTooLong, format!("a path has at most {PATH_MAX} bytes")));
    }
    TreePath::parse(&path.0)
}

/// Follows a path to something that is there.
pub(super) fn find(look: &Look, path: &TreePath, last: Last) -> Result<Held> {
    resolve(look, path, last)?.node.ok_or_else(|| not_there(path))
}

pub(super) fn not_there(path: &TreePath) -> Error {
    Error::new(Kind::NotFound, format!("there is no {path} in the workspace"))
}

/// Follows a path as far as it goes.
pub(super) fn resolve(look: &Look, path: &TreePath, last: Last) -> Result<Place> {
    let mut pending: VecDeque<Vec<u8>> = path.names().iter().map(|name| name.as_bytes().to_vec()).collect();
    let root = look.root()?;
    let mut above: Vec<(Held, Name)> = Vec::new();
    let mut here = root;
    let mut symlinks = 0;
    while let Some(part) = pending.pop_front() {
        match &part[..] {
            b"" | b"." => continue,
            b".." => {
                here = above.pop().ok_or_else(|| outside(path))?.0;
                continue;
            }
            _ => {}
        }
        let name = Name::new(&part)?;
        if !here.is_directory() {
            return Err(Error::new(
                Kind::NotADirectory,
                format!("{path} leads through something that is no directory"),
            ));
        }
        let Some(node) = look.lookup(here.ino(), &part)? else {
            return missing(path, here, name, pending);
        };
        if node.attr.kind == FileKind::Symlink && (last == Last::Follow || !pending.is_empty()) {
            symlinks += 1;
            if symlinks > SYMLINKS_MAX {
                return Err(Error::new(Kind::Invalid, format!("{path} leads through too many symlinks")));
            }
            let target = look.ask(|workspace| workspace.readlink(node.ino()))?;
            if target.starts_with(b"/") {
                return Err(outside(path));
            }
            for part in target.split(|byte| *byte == b'/').rev() {
                pending.push_front(part.to_vec());
            }
            continue;
        }
        above.push((std::mem::replace(&mut here, node), name));
    }
    Ok(Place { parent: above.pop(), node: Some(here), missing: Vec::new() })
}

/// The end of a path whose name at `here` is not there.
fn missing(path: &TreePath, here: Held, name: Name, pending: VecDeque<Vec<u8>>) -> Result<Place> {
    let mut names = vec![name];
    for part in pending.into_iter().filter(|part| !matches!(&part[..], b"" | b".")) {
        if part == b".." {
            return Err(not_there(path));
        }
        names.push(Name::new(&part)?);
    }
    let last = names.pop().ok_or_else(|| not_there(path))?;
    Ok(Place { parent: Some((here, last)), node: None, missing: names })
}

fn outside(path: &TreePath) -> Error {
    Error::new(Kind::NotFound, format!("{path} is a symlink that leads out of the workspace, where nothing is seen"))
}
