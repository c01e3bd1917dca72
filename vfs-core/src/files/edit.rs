//! Replacing text in a file: what is looked for must be there, and be unique unless every place is meant.

use super::look::{Held, Look};
use super::read::{check_file, content};
use super::request::{Basis, Edit, Edited};
use super::resolve::{Last, not_there, parse, resolve};
use super::write::{conflict, put};
use crate::error::{Error, Kind, Result};
use crate::limits::{DIFF_BYTES_MAX, DIFF_LINES_MAX, EDIT_ROUNDS_MAX, FILE_EDIT_MAX};
use crate::name::{Name, TreePath};
use crate::workspace::Invalidation;

/// Edits a file in one step: if somebody else changes it meanwhile, the edit is made on what they wrote.
pub(super) fn edit(look: &Look, request: &Edit, changed: &mut Vec<Invalidation>) -> Result<Edited> {
    let path = parse(&request.path)?;
    if request.old.0.is_empty() {
        return Err(Error::new(Kind::Invalid, "the text to find is empty; write the file to make it anew"));
    }
    if request.old == request.new {
        return Err(Error::new(Kind::Invalid, "the text to find and what takes its place are the same"));
    }
    let mut tries = 0..EDIT_ROUNDS_MAX;
    loop {
        let place = resolve(look, &path, Last::Follow)?;
        let node = place.node.ok_or_else(|| not_there(&path))?;
        check_file(&path, &node)?;
        let Some((parent, name)) = place.parent else { return Err(not_there(&path)) };
        match edit_once(look, request, &path, (&parent, &name), &node, changed) {
            Err(error)
                if matches!(error.kind(), Kind::Stale | Kind::Conflict)
                    && request.if_match.is_none()
                    && tries.next().is_some() => {}
            other => return other,
        }
    }
}

fn edit_once(
    look: &Look,
    request: &Edit,
    path: &TreePath,
    place: (&Held, &Name),
    node: &Held,
    changed: &mut Vec<Invalidation>,
) -> Result<Edited> {
    if node.attr.size > FILE_EDIT_MAX as u64 {
        let context = format!("{path} has {} bytes; files up to {FILE_EDIT_MAX} can be edited", node.attr.size);
        return Err(Error::new(Kind::TooLarge, context));
    }
    let before = content(look, node, 0, FILE_EDIT_MAX)?;
    if request.if_match.as_ref().is_some_and(|tag| *tag != before.etag) {
        return Err(conflict(path, "has changed since it was read"));
    }
    let (old, new) = (&request.old.0, &request.new.0);
    let places = places(&before.content.0, old);
    let replacements = places.len() as u64;
    match replacements {
        0 => return Err(Error::new(Kind::Invalid, format!("the text to find is not in {path}; nothing was changed"))),
        2.. if !request.replace_all => {
            let context = format!(
                "the text to find is in {path} {replacements} times; give more of what is around it, or replace all"
            );
            return Err(Error::new(Kind::Invalid, context));
        }
        _ => {}
    }
    // Before it is made: a short text in many places may become very much.
    let size = before.content.0.len() as u64 - replacements * old.len() as u64 + replacements * new.len() as u64;
    if size > FILE_EDIT_MAX as u64 {
        return Err(Error::new(Kind::TooLarge, format!("{path} would have {size} bytes; nothing was changed")));
    }
    let after = replace(&before.content.0, &places, old.len(), new);
    let basis = Basis::Etag(before.etag);
    let attr = put(look, path, (place.0.ino(), place.1), Some(node.ino()), &basis, &after, changed)?;
    let diff = unified(path, &before.content.0, &after, replacements);
    Ok(Edited { replacements, diff, entry: look.entry(&path.to_bytes(), &attr)? })
}

/// Where `old` is, without overlaps. Knuth, Morris and Pratt: neither text can make it slow.
fn places(content: &[u8], old: &[u8]) -> Vec<usize> {
    let mut borders = vec![0; old.len()];
    let mut length = 0;
    for at in 1..old.len() {
        while length > 0 && old[at] != old[length] {
            length = borders[length - 1];
        }
        length += usize::from(old[at] == old[length]);
        borders[at] = length;
    }
    let (mut found, mut matched) = (Vec::new(), 0);
    for (at, byte) in content.iter().enumerate() {
        while matched > 0 && *byte != old[matched] {
            matched = borders[matched - 1];
        }
        matched += usize::from(*byte == old[matched]);
        if matched == old.len() {
            found.push(at + 1 - matched);
            matched = 0;
        }
    }
    found
}

/// The content with `new` at each of the places.
fn replace(content: &[u8], places: &[usize], old_length: usize, new: &[u8]) -> Vec<u8> {
    let (mut out, mut done) = (Vec::new(), 0);
    for at in places {
        out.extend_from_slice(&content[done..*at]);
        out.extend_from_slice(new);
        done = at + old_length;
    }
    out.extend_from_slice(&content[done..]);
    out
}

/// What changed, as a unified diff. Bytes that are not UTF-8 are shown as replacement characters.
fn unified(path: &TreePath, before: &[u8], after: &[u8], replacements: u64) -> String {
    let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
    let too_large = || format!("{replacements} replacements in {path}, too many to be shown\n");
    if lines(before) + lines(after) > DIFF_LINES_MAX {
        return too_large();
    }
    let (before, after) = (String::from_utf8_lossy(before), String::from_utf8_lossy(after));
    let mut options = diffy::DiffOptions::new();
    options.set_original_filename(format!("a/{path}")).set_modified_filename(format!("b/{path}"));
    let diff = options.create_patch(&before, &after).to_string();
    if diff.len() > DIFF_BYTES_MAX { too_large() } else { diff }
}
