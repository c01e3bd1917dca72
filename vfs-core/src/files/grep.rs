//! Finding text in files with ripgrep's engine.

use std::io::{self, Read};

use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkMatch};
use ignore::overrides::{Override, OverrideBuilder};
use ignore::types::{Types, TypesBuilder};

use super::glob::{check_glob, check_limit, check_pattern};
use super::look::{Held, Look};
use super::read::check_file;
use super::request::{Grep, GrepFile, GrepLine, Grepped, Raw};
use super::resolve::{Last, find, parse};
use super::walk::{Budget, Rules, walk};
use crate::error::{Error, Kind, Result};
use crate::limits::{FILES_ANSWER_MAX, GLOBS_MAX, GREP_CONTEXT_MAX, GREP_LINE_MAX, REGEX_SIZE_MAX, SEARCH_HEAP_MAX};

/// Bytes that a search reads at a time.
const READ: usize = 1024 * 1024;

/// The files with matches, by path.
pub(super) fn grep(look: &Look, request: &Grep) -> Result<Grepped> {
    let limit = check_limit(request.limit)?;
    let matcher = matcher(request)?;
    let rules = Rules {
        hidden: request.hidden,
        no_ignore: request.no_ignore,
        globs: globs(&request.glob)?,
        types: types(&request.types)?,
    };
    let path = parse(&request.path)?;
    let top = find(look, &path, Last::Follow)?;
    let mut search = Search {
        look,
        matcher,
        searcher: searcher(request),
        with_lines: request.lines,
        limit,
        lines: 0,
        bytes: 0,
        answer: Grepped { files: Vec::new(), truncated: false },
    };
    let mut budget = Budget::new();
    if top.is_directory() {
        walk(look, (&path, top), &rules, &mut budget, &mut |step, budget| match look
            .lookup(step.parent, step.name.as_bytes())?
        {
            Some(file) => search.file(step.path, &file, budget),
            None => Ok(true),
        })?;
    } else {
        check_file(&path, &top)?;
        search.file(&path.to_bytes(), &top, &mut budget)?;
    }
    search.answer.truncated |= budget.spent;
    Ok(search.answer)
}

fn matcher(request: &Grep) -> Result<RegexMatcher> {
    check_pattern(&request.pattern)?;
    let mut builder = RegexMatcherBuilder::new();
    builder.multi_line(true).unicode(true).octal(false);
    builder.case_insensitive(request.ignore_case).fixed_strings(request.fixed);
    builder.size_limit(REGEX_SIZE_MAX).dfa_size_limit(REGEX_SIZE_MAX);
    if request.multiline {
        builder.dot_matches_new_line(true);
    } else {
        builder.line_terminator(Some(b'\n'));
    }
    builder.build(&request.pattern).map_err(|error| {
        Error::new(Kind::Invalid, format!("{:?} is not a pattern that can be searched: {error}", request.pattern))
    })
}

fn searcher(request: &Grep) -> Searcher {
    let context = |lines: u32| if request.lines { lines.min(GREP_CONTEXT_MAX) as usize } else { 0 };
    SearcherBuilder::new()
        .line_number(true)
        .multi_line(request.multiline)
        .before_context(context(request.before))
        .after_context(context(request.after))
        .binary_detection(BinaryDetection::quit(0))
        .heap_limit(Some(SEARCH_HEAP_MAX))
        .build()
}

fn globs(globs: &[String]) -> Result<Override> {
    let invalid = |error: ignore::Error| Error::new(Kind::Invalid, format!("not a glob: {error}"));
    if globs.len() > GLOBS_MAX {
        return Err(Error::new(Kind::Invalid, format!("a search takes at most {GLOBS_MAX} globs")));
    }
    let mut builder = OverrideBuilder::new("/");
    for glob in globs {
        check_glob(glob)?;
        builder.add(glob).map_err(invalid)?;
    }
    builder.build().map_err(invalid)
}

fn types(names: &[String]) -> Result<Types> {
    if names.is_empty() {
        return Ok(Types::empty());
    }
    let mut builder = TypesBuilder::new();
    builder.add_defaults();
    for name in names {
        builder.select(name);
    }
    builder.build().map_err(|error| Error::new(Kind::Invalid, error.to_string()))
}

struct Search<'a> {
    look: &'a Look,
    matcher: RegexMatcher,
    searcher: Searcher,
    with_lines: bool,
    limit: usize,
    lines: usize,
    bytes: usize,
    answer: Grepped,
}

impl Search<'_> {
    /// Searches one file; whether to go on.
    fn file(&mut self, path: &[u8], file: &Held, budget: &mut Budget) -> Result<bool> {
        let mut sink = Hits {
            matches: 0,
            lines: Vec::new(),
            with_lines: self.with_lines,
            lines_left: self.limit - self.lines.min(self.limit),
            bytes_left: FILES_ANSWER_MAX.saturating_sub(self.bytes),
            truncated: false,
        };
        let mut reader = Reader { look: self.look, file, budget, offset: 0, piece: bytes::Bytes::new() };
        match self.searcher.search_reader(&self.matcher, &mut reader, &mut sink) {
            Ok(()) => {}
            // Too long a line or file for the memory there is: what was found until there stands.
            Err(error)
                if error.kind() == io::ErrorKind::Other && error.get_ref().is_none_or(|inner| !inner.is::<Error>()) =>
            {
                sink.truncated = true;
            }
            Err(error) => return Err(unwrap(error)),
        }
        let truncated = sink.truncated;
        self.answer.truncated |= truncated;
        if sink.matches > 0 {
            if !self.with_lines && self.answer.files.len() == self.limit {
                self.answer.truncated = true;
                return Ok(false);
            }
            const FILE_BYTES: usize = 150;
            self.lines += sink.lines.len();
            self.bytes += 2 * path.len() + FILE_BYTES + sink.lines.iter().map(line_bytes).sum::<usize>();
            let (mtime, lines) = (file.attr.mtime, sink.lines);
            self.answer.files.push(GrepFile { path: Raw::from(path), matches: sink.matches, mtime, lines });
        }
        let full = self.bytes >= FILES_ANSWER_MAX;
        self.answer.truncated |= full;
        // With lines, the next file tells whether there is more.
        let is_over = truncated && self.lines >= self.limit;
        Ok(!full && !is_over)
    }
}

/// A line in JSON; text may be escaped.
fn line_bytes(line: &GrepLine) -> usize {
    const LINE_BYTES: usize = 50;
    2 * line.text.len() + LINE_BYTES
}

/// What is found in one file.
struct Hits {
    matches: u64,
    lines: Vec<GrepLine>,
    with_lines: bool,
    lines_left: usize,
    bytes_left: usize,
    truncated: bool,
}

impl Hits {
    /// Takes lines in; whether there is room for more.
    fn take(&mut self, first: u64, bytes: &[u8], context: bool) -> bool {
        for (number, line) in (first..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
            if self.lines_left == 0 || self.bytes_left == 0 {
                self.truncated = true;
                return false;
            }
            self.matches += u64::from(!context);
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = GrepLine { number, text: shown(line), context };
            self.bytes_left = self.bytes_left.saturating_sub(line_bytes(&line));
            self.lines_left -= 1;
            self.lines.push(line);
        }
        true
    }
}

/// The start of a line as text.
fn shown(line: &[u8]) -> String {
    // A character has at most four bytes.
    let line = &line[..line.len().min(4 * GREP_LINE_MAX)];
    String::from_utf8_lossy(line).chars().take(GREP_LINE_MAX).collect()
}

impl Sink for Hits {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> io::Result<bool> {
        if self.with_lines {
            return Ok(self.take(found.line_number().unwrap_or(0), found.bytes(), false));
        }
        self.matches += found.lines().count() as u64;
        Ok(true)
    }

    fn context(&mut self, _: &Searcher, found: &SinkContext<'_>) -> io::Result<bool> {
        Ok(self.take(found.line_number().unwrap_or(0), found.bytes(), true))
    }
}

/// A file's content, piece by piece, as long as there is time.
struct Reader<'a> {
    look: &'a Look,
    file: &'a Held,
    budget: &'a mut Budget,
    offset: u64,
    piece: bytes::Bytes,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<()> {
        if self.budget.is_late() {
            // The rest of the file is not searched; the walk ends as well.
            self.budget.spent = true;
            return Ok(());
        }
        let (ino, offset) = (self.file.ino(), self.offset);
        self.piece = self.look.ask(|workspace| workspace.read(ino, offset, READ))?;
        self.offset += self.piece.len() as u64;
        Ok(())
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            self.next().map_err(io::Error::other)?;
        }
        let length = self.piece.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}

/// The error of ours in one of the reader's.
fn unwrap(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) => Error::io("a file could not be searched", error),
    }
}
