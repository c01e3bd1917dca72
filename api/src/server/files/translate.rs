//! Between the wire and `vfs_core::files`: text and hexadecimal here, bytes there.

use vfs_core::files::request::{self as core, Answer, Raw, Request};
use vfs_core::limits::SEARCH_DEFAULT;
use vfs_core::{Error, Kind, Result};

use crate::wire::file::{
    ChangeNames, EditRequest, Edited, FileStat, GlobAnswer, GlobRequest, GrepAnswer, GrepFile, GrepLine, GrepRequest,
    Written,
};
use crate::wire::name::{from_text, to_text};
use crate::wire::snapshot::{Entry, Listing, kind_word};

fn unasked<T>() -> Result<T> {
    Err(Error::new(Kind::Internal, "the workspace's files answered something else than was asked"))
}

fn entry(entry: core::Entry) -> Entry {
    let (name, name_hex) = to_text(&entry.name.0);
    let (target, target_hex) = entry.target.map_or((None, None), |target| {
        let (text, exact) = to_text(&target.0);
        (Some(text), exact)
    });
    Entry {
        name,
        name_hex,
        kind: kind_word(entry.kind).to_owned(),
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        size: entry.size,
        nlink: entry.nlink,
        ino: entry.ino,
        mtime: entry.mtime.into(),
        target,
        target_hex,
    }
}

pub(super) fn stat(found: core::Entry) -> FileStat {
    let etag = found.etag.clone();
    FileStat { entry: entry(found), etag }
}

pub(super) fn listing(answer: Answer) -> Result<Listing> {
    let Answer::Listing(listing) = answer else { return unasked() };
    let entries = listing.entries.into_iter().map(entry).collect();
    Ok(Listing { node: entry(listing.node), entries, more: listing.more })
}

pub(super) fn written(answer: Answer) -> Result<Written> {
    let Answer::Written(written) = answer else { return unasked() };
    Ok(Written { created: written.created, stat: stat(written.entry) })
}

pub(super) fn edit(request: EditRequest) -> Result<core::Edit> {
    Ok(core::Edit {
        path: Raw(from_text(&request.path, request.path_hex.as_deref())?),
        old: Raw(request.old.into_bytes()),
        new: Raw(request.new.into_bytes()),
        replace_all: request.replace_all,
        if_match: request.if_match.map(|tag| tag.trim_matches('"').to_owned()),
    })
}

pub(super) fn edited(answer: Answer) -> Result<Edited> {
    let Answer::Edited(edited) = answer else { return unasked() };
    Ok(Edited { replacements: edited.replacements, diff: edited.diff, stat: stat(edited.entry) })
}

pub(super) fn names(request: ChangeNames) -> Request {
    match request {
        ChangeNames::MakeDirectory { path, parents } => {
            Request::MakeDirectory { path: Raw(path.into_bytes()), parents }
        }
        ChangeNames::Remove { path, recursive } => Request::Remove { path: Raw(path.into_bytes()), recursive },
        ChangeNames::Rename { from, to } => Request::Rename { from: Raw(from.into_bytes()), to: Raw(to.into_bytes()) },
    }
}

pub(super) fn glob(request: GlobRequest) -> core::Glob {
    let GlobRequest { pattern, path, at: _, hidden, no_ignore, limit } = request;
    core::Glob { pattern, path: Raw(path.into_bytes()), hidden, no_ignore, limit: limit.unwrap_or(SEARCH_DEFAULT) }
}

pub(super) fn globbed(answer: Answer) -> Result<GlobAnswer> {
    let Answer::Globbed(found) = answer else { return unasked() };
    Ok(GlobAnswer { files: found.files.into_iter().map(entry).collect(), truncated: found.truncated })
}

pub(super) fn grep(request: GrepRequest) -> core::Grep {
    core::Grep {
        pattern: request.pattern,
        path: Raw(request.path.into_bytes()),
        glob: request.glob,
        types: request.types,
        ignore_case: request.ignore_case,
        multiline: request.multiline,
        fixed: request.fixed,
        lines: request.lines,
        before: request.before,
        after: request.after,
        hidden: request.hidden,
        no_ignore: request.no_ignore,
        limit: request.limit.unwrap_or(SEARCH_DEFAULT),
    }
}

pub(super) fn grepped(answer: Answer) -> Result<GrepAnswer> {
    let Answer::Grepped(found) = answer else { return unasked() };
    Ok(GrepAnswer { files: found.files.into_iter().map(grep_file).collect(), truncated: found.truncated })
}

fn grep_file(file: core::GrepFile) -> GrepFile {
    let (path, path_hex) = to_text(&file.path.0);
    let line = |line: core::GrepLine| GrepLine { number: line.number, text: line.text, context: line.context };
    let lines = file.lines.into_iter().map(line).collect();
    GrepFile { path, path_hex, matches: file.matches, mtime: file.mtime.into(), lines }
}
