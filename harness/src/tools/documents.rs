//! The search of Glob and Grep in documents: with the same engines as in files, over the few that a view has.

use api::wire::document::{Document, DocumentsQuery};
use api::wire::file::{GrepFile, GrepLine, GrepRequest};
use globset::{GlobBuilder, GlobSetBuilder};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkMatch};
use ignore::overrides::{Override, OverrideBuilder};
use ignore::types::{Types, TypesBuilder};
use vfs_core::files::check_glob;
use vfs_core::{Error, Kind, Result};

use super::Toolbox;
use crate::routes::{Place, below};

impl Toolbox {
    /// Documents of the view below a path, or at it.
    async fn documents_below(&self, path: &str) -> Result<Vec<Document>> {
        let query =
            DocumentsQuery { view: Some(self.view().join(",")), prefix: Some(path.to_owned()), ..Default::default() };
        let mut heads = self.options.client.documents(&query).await?;
        heads.retain(|head| below(&head.path, path).is_some());
        Ok(heads)
    }

    /// Documents below a path that match a glob, which stands on that path; without a slash it matches at any depth.
    pub(super) async fn matching_documents(&self, path: &str, pattern: &str) -> Result<Vec<Document>> {
        let pattern = if pattern.contains('/') { pattern.to_owned() } else { format!("**/{pattern}") };
        check_glob(&pattern)?;
        let glob = GlobBuilder::new(&pattern).literal_separator(true).build();
        let invalid = |error: globset::Error| Error::new(Kind::Invalid, error.to_string());
        let glob = GlobSetBuilder::new().add(glob.map_err(invalid)?).build().map_err(invalid)?;
        let mut heads = self.documents_below(path).await?;
        heads.retain(|head| below(&head.path, path).is_some_and(|rest| glob.is_match(rest)));
        Ok(heads)
    }

    /// Searches documents as the engine searches files.
    pub(super) async fn grep_documents(&self, path: &str, request: &GrepRequest) -> Result<Vec<GrepFile>> {
        let matcher = matcher(request)?;
        let (globs, types) = filters(request)?;
        let mut searcher = searcher(request);
        let mut files = Vec::new();
        for head in self.documents_below(path).await? {
            let rest = below(&head.path, path).filter(|rest| !rest.is_empty());
            let filtered = rest
                .is_some_and(|rest| globs.matched(rest, false).is_ignore() || types.matched(rest, false).is_ignore());
            if filtered {
                continue;
            }
            let Some((_, content)) = self.content(&Place::Document(head.path.clone())).await? else { continue };
            let mut lines = Lines::default();
            searcher
                .search_slice(&matcher, &content, &mut lines)
                .map_err(|error| Error::new(Kind::Internal, "a document cannot be searched").because(error))?;
            if lines.matches > 0 {
                let lines_wanted = if request.lines { lines.lines } else { Vec::new() };
                files.push(GrepFile {
                    path: head.path,
                    path_hex: None,
                    matches: lines.matches,
                    mtime: head.time,
                    lines: lines_wanted,
                });
            }
        }
        Ok(files)
    }
}

/// The expression of a search.
pub(super) fn matcher(request: &GrepRequest) -> Result<RegexMatcher> {
    let mut builder = RegexMatcherBuilder::new();
    builder.case_insensitive(request.ignore_case).fixed_strings(request.fixed).multi_line(true);
    match request.multiline {
        true => builder.dot_matches_new_line(true),
        false => builder.line_terminator(Some(b'\n')),
    };
    builder.build(&request.pattern).map_err(|error| Error::new(Kind::Invalid, format!("regex parse error: {error}")))
}

fn searcher(request: &GrepRequest) -> Searcher {
    SearcherBuilder::new()
        .line_number(true)
        .multi_line(request.multiline)
        .before_context(request.before as usize)
        .after_context(request.after as usize)
        .binary_detection(BinaryDetection::quit(0))
        .build()
}

fn filters(request: &GrepRequest) -> Result<(Override, Types)> {
    let invalid = |error: ignore::Error| Error::new(Kind::Invalid, error.to_string());
    let mut globs = OverrideBuilder::new("");
    for glob in &request.glob {
        check_glob(glob)?;
        globs.add(glob).map_err(invalid)?;
    }
    let mut types = TypesBuilder::new();
    types.add_defaults();
    for name in &request.types {
        types.select(name);
    }
    Ok((globs.build().map_err(invalid)?, types.build().map_err(invalid)?))
}

/// Lines of one document.
#[derive(Default)]
struct Lines {
    matches: u64,
    lines: Vec<GrepLine>,
}

impl Lines {
    fn add(&mut self, bytes: &[u8], first: Option<u64>, context: bool) {
        for (at, line) in bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let text = String::from_utf8_lossy(line).into_owned();
            self.lines.push(GrepLine { number: first.unwrap_or(1) + at as u64, text, context });
            self.matches += u64::from(!context);
        }
    }
}

impl Sink for Lines {
    type Error = std::io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, Self::Error> {
        self.add(found.bytes(), found.line_number(), false);
        Ok(true)
    }

    fn context(&mut self, _: &Searcher, found: &SinkContext<'_>) -> Result<bool, Self::Error> {
        self.add(found.bytes(), found.line_number(), true);
        Ok(true)
    }
}
