//! Finding files by name.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use ignore::overrides::Override;
use ignore::types::Types;

use super::look::Look;
use super::request::{Entry, Glob, Globbed};
use super::resolve::{Last, find, parse};
use super::walk::{Budget, Rules, walk};
use crate::clock::Time;
use crate::error::{Error, Kind, Result};
use crate::limits::{FILES_ANSWER_MAX, GLOB_ALTERNATIVES_MAX, GLOB_MAX, PATTERN_MAX, SEARCH_MAX};

/// A file that matches, until it is known which are the newest.
struct Hit {
    mtime: Time,
    path: Vec<u8>,
    entry: Entry,
}

/// The files that match, newest first.
pub(super) fn glob(look: &Look, request: &Glob) -> Result<Globbed> {
    let limit = check_limit(request.limit)?;
    let matcher = matcher(&request.pattern)?;
    let path = parse(&request.path)?;
    let top = find(look, &path, Last::Follow)?;
    if !top.is_directory() {
        return Err(Error::new(Kind::NotADirectory, format!("{path} is not a directory")));
    }
    let rules =
        Rules { hidden: request.hidden, no_ignore: request.no_ignore, globs: Override::empty(), types: Types::empty() };
    let above = if path.names().is_empty() { 0 } else { path.to_bytes().len() + 1 };
    let (mut hits, mut budget, mut more) = (Vec::new(), Budget::new(), false);
    walk(look, (&path, top), &rules, &mut budget, &mut |step, _| {
        use std::os::unix::ffi::OsStrExt;
        if !matcher.is_match(std::ffi::OsStr::from_bytes(&step.path[above..])) {
            return Ok(true);
        }
        if let Some(file) = look.lookup(step.parent, step.name.as_bytes())? {
            let entry = look.entry(step.path, &file.attr)?;
            hits.push(Hit { mtime: file.attr.mtime, path: step.path.to_vec(), entry });
        }
        // The newest of all are wanted, so all are looked at; but what cannot be among them is let go of.
        if hits.len() >= 2 * SEARCH_MAX as usize {
            more = true;
            newest(&mut hits, limit);
        }
        Ok(true)
    })?;
    let mut truncated = more || budget.spent || hits.len() > limit;
    newest(&mut hits, limit);
    let mut bytes = 0;
    let files = hits.into_iter().map(|hit| hit.entry);
    let files: Vec<Entry> = files
        .take_while(|entry| {
            bytes += 2 * entry.name.0.len() + ENTRY_BYTES;
            bytes <= FILES_ANSWER_MAX
        })
        .collect();
    truncated |= bytes > FILES_ANSWER_MAX;
    Ok(Globbed { files, truncated })
}

/// An entry in JSON without its name.
const ENTRY_BYTES: usize = 250;

fn newest(hits: &mut Vec<Hit>, limit: usize) {
    hits.sort_by(|one, other| other.mtime.cmp(&one.mtime).then_with(|| one.path.cmp(&other.path)));
    hits.truncate(limit);
}

fn matcher(pattern: &str) -> Result<GlobSet> {
    check_glob(pattern)?;
    let plain = pattern.strip_prefix("./").unwrap_or(pattern).trim_start_matches('/');
    let anywhere = if plain.contains('/') { plain.to_owned() } else { format!("**/{plain}") };
    let glob = GlobBuilder::new(&anywhere).literal_separator(true).backslash_escape(true).build();
    let invalid = |error: globset::Error| Error::new(Kind::Invalid, format!("not a glob: {}", error.kind()));
    // A single glob's own matcher panics where its expression grows too large.
    GlobSetBuilder::new().add(glob.map_err(invalid)?).build().map_err(invalid)
}

/// Refuses globs that the library would take too long, or go too deep, to take apart.
pub fn check_glob(glob: &str) -> Result<()> {
    check_pattern(glob)?;
    // Counted, not taken apart: what the library takes for an end need not look like one.
    if glob.bytes().filter(|byte| *byte == b'{').count() > GLOB_ALTERNATIVES_MAX {
        return Err(Error::new(Kind::Invalid, format!("a glob has at most {GLOB_ALTERNATIVES_MAX} alternatives")));
    }
    match glob.len() > GLOB_MAX {
        true => Err(Error::new(Kind::Invalid, format!("a glob has at most {GLOB_MAX} bytes"))),
        false => Ok(()),
    }
}

pub(super) fn check_pattern(pattern: &str) -> Result<()> {
    match pattern.len() {
        0 => Err(Error::new(Kind::Invalid, "the pattern is empty")),
        length if length > PATTERN_MAX => {
            Err(Error::new(Kind::Invalid, format!("a pattern has at most {PATTERN_MAX} bytes")))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_limit(limit: u32) -> Result<usize> {
    if (1..=SEARCH_MAX).contains(&limit) {
        return Ok(limit as usize);
    }
    Err(Error::new(Kind::Invalid, format!("the limit must be from 1 to {SEARCH_MAX}")))
}
