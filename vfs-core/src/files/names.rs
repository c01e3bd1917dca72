//! Names: make a directory, remove, rename.

use super::look::{Held, Look};
use super::request::Raw;
use super::resolve::{Last, not_there, parse, resolve};
use crate::error::{Error, Kind, Result};
use crate::limits::REMOVE_MAX;
use crate::name::{Name, TreePath};
use crate::object::{FileKind, Ino};
use crate::workspace::{Invalidation, NewNode, RenameMode};

/// Invalidations of one remove, after which all names are forgotten at once.
const FORGET_EACH_MAX: usize = 10_000;

/// Makes a directory; it belongs to the owner of the one it is in.
pub(super) fn make_directory(look: &Look, path: &Raw, parents: bool, changed: &mut Vec<Invalidation>) -> Result<()> {
    let path = parse(path)?;
    let place = resolve(look, &path, Last::Follow)?;
    match &place.node {
        Some(node) if parents && node.is_directory() => return Ok(()),
        Some(_) => return Err(Error::new(Kind::AlreadyExists, format!("{path} is there already"))),
        None => {}
    }
    if !place.missing.is_empty() && !parents {
        return Err(Error::new(
            Kind::NotFound,
            format!("the directory of {path} is not there; make it, or use `parents`"),
        ));
    }
    let Some((parent, name)) = place.parent else { return Err(not_there(&path)) };
    let mut names = place.missing;
    names.push(name);
    if !parents {
        return make_one(look, &parent, &names[0], changed).map(drop);
    }
    make_missing(look, parent, &names, changed).map(drop)
}

/// Makes directories one in the other; one that somebody else makes meanwhile is fine. Returns the last.
pub(super) fn make_missing(look: &Look, parent: Held, names: &[Name], changed: &mut Vec<Invalidation>) -> Result<Held> {
    let mut parent = parent;
    for name in names {
        parent = match make_one(look, &parent, name, changed) {
            Err(error) if error.kind() == Kind::AlreadyExists => {
                let found = look.lookup(parent.ino(), name.as_bytes())?;
                found.filter(Held::is_directory).ok_or(error)?
            }
            made => made?,
        };
    }
    Ok(parent)
}

fn make_one(look: &Look, parent: &Held, name: &Name, changed: &mut Vec<Invalidation>) -> Result<Held> {
    const DIRECTORY_MODE: u16 = 0o755;
    let (uid, gid) = (parent.attr.uid, parent.attr.gid);
    let new = NewNode { kind: FileKind::Directory, mode: DIRECTORY_MODE, uid, gid, rdev: 0, target: b"" };
    let made = look.ask(|workspace| workspace.make(parent.ino(), name.as_bytes(), &new))?;
    changed.push(Invalidation::Entry(parent.ino(), name.clone()));
    changed.push(Invalidation::Listing(parent.ino()));
    Ok(look.hold(made))
}

/// Removes a name, or a directory with everything in it.
pub(super) fn remove(look: &Look, path: &Raw, recursive: bool, changed: &mut Vec<Invalidation>) -> Result<()> {
    let path = parse(path)?;
    let place = resolve(look, &path, Last::Keep)?;
    let node = place.node.ok_or_else(|| not_there(&path))?;
    let Some((parent, name)) = place.parent else { return Err(no_root()) };
    let mut removal = Removal { look, changed: &mut Vec::new(), count: 0 };
    let result = if node.is_directory() && recursive {
        removal.tree(&path, (&parent, name), node)
    } else {
        removal.one(parent.ino(), &name, node.ino(), node.is_directory()).map(drop)
    };
    let forgotten = std::mem::take(removal.changed);
    if forgotten.len() > FORGET_EACH_MAX {
        // Whoever is in one of the directories may see a name a little longer where the kernel cannot forget all.
        changed.push(Invalidation::AllNames);
        changed.extend(forgotten.into_iter().rev().take(FORGET_EACH_MAX).rev());
    } else {
        changed.extend(forgotten);
    }
    result
}

struct Removal<'a> {
    look: &'a Look,
    changed: &'a mut Vec<Invalidation>,
    count: usize,
}

/// A directory that is being emptied.
struct Emptying {
    directory: Held,
    above: Ino,
    name: Name,
    names: std::vec::IntoIter<(Name, Option<FileKind>)>,
}

impl Removal<'_> {
    /// Removes one name; fine if it has gone meanwhile.
    fn one(&mut self, parent: Ino, name: &Name, ino: Ino, is_directory: bool) -> Result<()> {
        self.look.ask(|workspace| match is_directory {
            true => workspace.rmdir(parent, name.as_bytes()),
            false => workspace.unlink(parent, name.as_bytes()),
        })?;
        self.changed.push(Invalidation::Entry(parent, name.clone()));
        self.changed.push(Invalidation::Listing(parent));
        self.changed.push(if is_directory { Invalidation::Listing(ino) } else { Invalidation::Attributes(ino) });
        Ok(())
    }

    fn enter(&self, above: Ino, name: Name, directory: Held) -> Result<Emptying> {
        let names = self.look.names(directory.ino())?.into_iter();
        Ok(Emptying { directory, above, name, names })
    }

    fn tree(&mut self, path: &TreePath, place: (&Held, Name), top: Held) -> Result<()> {
        let mut stack = vec![self.enter(place.0.ino(), place.1, top)?];
        while let Some(here) = stack.last_mut() {
            self.count += 1;
            if self.count > REMOVE_MAX {
                let context = format!("{path} holds more than {REMOVE_MAX} files; those are removed, remove it again");
                return Err(Error::new(Kind::LimitExceeded, context));
            }
            let parent = here.directory.ino();
            let Some((name, _)) = here.names.next() else {
                let Some(done) = stack.pop() else { break };
                self.one(done.above, &done.name, done.directory.ino(), true)?;
                continue;
            };
            let Some(node) = self.look.lookup(parent, name.as_bytes())? else { continue };
            if node.is_directory() {
                let inner = self.enter(parent, name, node)?;
                stack.push(inner);
            } else {
                self.one(parent, &name, node.ino(), false)?;
            }
        }
        Ok(())
    }
}

/// Moves a name; a file at the new one is replaced.
pub(super) fn rename(look: &Look, from: &Raw, to: &Raw, changed: &mut Vec<Invalidation>) -> Result<()> {
    let (from, to) = (parse(from)?, parse(to)?);
    let source = resolve(look, &from, Last::Keep)?;
    let node = source.node.ok_or_else(|| not_there(&from))?;
    let Some((parent, name)) = source.parent else { return Err(no_root()) };
    let target = resolve(look, &to, Last::Keep)?;
    if !target.missing.is_empty() {
        return Err(Error::new(Kind::NotFound, format!("the directory of {to} is not there; make it first")));
    }
    let Some((new_parent, new_name)) = target.parent else { return Err(no_root()) };
    look.ask(|workspace| {
        let (from, to) = (name.as_bytes(), new_name.as_bytes());
        workspace.rename(parent.ino(), from, new_parent.ino(), to, RenameMode::Replace)
    })?;
    let replaced = target.node.filter(|replaced| replaced.ino() != node.ino());
    changed.extend(replaced.map(|replaced| Invalidation::Attributes(replaced.ino())));
    for (directory, name) in [(parent.ino(), name), (new_parent.ino(), new_name)] {
        changed.push(Invalidation::Entry(directory, name));
        changed.push(Invalidation::Listing(directory));
    }
    changed.push(Invalidation::Attributes(node.ino()));
    Ok(())
}

fn no_root() -> Error {
    Error::new(Kind::Invalid, "the root of a workspace has no name to change")
}
