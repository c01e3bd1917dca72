//! Grep: text in files and documents, shown as ripgrep shows it.

use api::wire::file::{GrepFile, GrepLine, GrepRequest};
use grep_matcher::Matcher;
use vfs_core::Result;

use super::documents::matcher;
use super::limits::{GREP_CHARACTERS_MAX, GREP_LINE_BYTES, GREP_LINES, SEARCH_MAX};
use super::shelf::Look;
use super::{Request, Toolbox, texts};
use crate::call::ToolResult;
use crate::routes::Place;

/// What of the matches is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Files,
    Content,
    Count,
}

/// How matches are shown.
struct Format {
    mode: Mode,
    numbers: bool,
    only_matching: bool,
    /// One file was named: its name is not repeated.
    one_file: bool,
    /// Context was asked for: groups are told apart.
    grouped: bool,
    /// 0: no limit.
    head: usize,
    /// What the caller said; the default is not mentioned unless it cut.
    offset: usize,
}

impl Toolbox {
    pub(super) async fn grep(&mut self, request: &Request<'_>) -> Result<ToolResult> {
        let path = if request.text("path").is_empty() { "." } else { request.text("path") };
        let (place, absolute) = self.place(path);
        let look = self.look(&place).await?;
        if place == Place::Outside {
            return Ok(ToolResult::error(texts::outside(&absolute)));
        }
        if look == Look::Absent {
            return Ok(ToolResult::error(texts::no_path(&absolute, &self.current)));
        }
        let format = format_of(request, matches!(look, Look::File { .. }));
        let search = search_of(request, &place, &format);
        // Also the engine's answer to an expression that is none; said before anything is searched.
        let expression = match matcher(&search) {
            Ok(expression) => expression,
            Err(error) => return Ok(ToolResult::error(error.to_string())),
        };
        let mut files = match &place {
            Place::Document(path) => self.grep_documents(path, &search).await?,
            Place::Workspace(_) => self.options.client.grep_files(&self.options.workspace, &search).await?.files,
            _ => Vec::new(),
        };
        for file in &mut files {
            let whole = match &place {
                Place::Document(_) => self.routes.document(&file.path).unwrap_or_default(),
                _ => self.routes.file(&file.path),
            };
            file.path = self.shown(&whole);
        }
        if format.only_matching {
            keep_matching(&mut files, &expression);
        }
        let text = format.show(files);
        if text.chars().count() <= GREP_CHARACTERS_MAX {
            return Ok(ToolResult::ok(text));
        }
        let kept = self.keep_output(&request.call.id, &text)?;
        Ok(ToolResult::ok(texts::persisted(&text, &kept)))
    }
}

fn format_of(request: &Request<'_>, one_file: bool) -> Format {
    let mode = match request.text("output_mode") {
        "content" => Mode::Content,
        "count" => Mode::Count,
        _ => Mode::Files,
    };
    let count = |name: &str| request.number(name).map(|number| number.max(0.0) as usize);
    Format {
        mode,
        numbers: request.flag("-n").unwrap_or(true),
        only_matching: mode == Mode::Content && request.flag("-o").unwrap_or(false),
        one_file,
        grouped: context_of(request) != (0, 0),
        head: count("head_limit").unwrap_or(GREP_LINES),
        offset: count("offset").unwrap_or(0),
    }
}

/// Lines before and after each match.
fn context_of(request: &Request<'_>) -> (u32, u32) {
    let lines = |name: &str| request.number(name).map(|number| number.clamp(0.0, 10_000.0) as u32);
    match lines("context").or(lines("-C")) {
        Some(around) => (around, around),
        None => (lines("-B").unwrap_or(0), lines("-A").unwrap_or(0)),
    }
}

fn search_of(request: &Request<'_>, place: &Place, format: &Format) -> GrepRequest {
    let lines = format.mode == Mode::Content;
    let (before, after) = if lines && !format.only_matching { context_of(request) } else { (0, 0) };
    let path = match place {
        Place::Workspace(path) | Place::Document(path) => path.clone(),
        _ => String::new(),
    };
    GrepRequest {
        pattern: request.text("pattern").to_owned(),
        path,
        glob: globs(request.text("glob")),
        types: if request.has("type") { vec![request.text("type").to_owned()] } else { Vec::new() },
        ignore_case: request.flag("-i").unwrap_or(false),
        multiline: request.flag("multiline").unwrap_or(false),
        lines,
        before,
        after,
        hidden: true,
        limit: Some(SEARCH_MAX),
        ..GrepRequest::default()
    }
}

/// Several globs may stand in one text, with spaces or with commas outside of braces.
fn globs(text: &str) -> Vec<String> {
    let words = text.split_whitespace().flat_map(|word| match word.contains('{') {
        true => vec![word],
        false => word.split(',').collect(),
    });
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// One line for each part that matches.
fn keep_matching(files: &mut [GrepFile], expression: &impl Matcher) {
    for file in files {
        let mut parts = Vec::new();
        for line in &file.lines {
            let _ = expression.find_iter(line.text.as_bytes(), |found| {
                if let Some(text) = line.text.get(found.start()..found.end()).filter(|text| !text.is_empty()) {
                    parts.push(GrepLine { number: line.number, text: text.to_owned(), context: false });
                }
                true
            });
        }
        file.lines = parts;
    }
}

impl Format {
    fn show(&self, files: Vec<GrepFile>) -> String {
        match self.mode {
            Mode::Files => self.show_files(files),
            Mode::Content => self.show_content(&files),
            Mode::Count => self.show_counts(&files),
        }
    }

    /// The wanted part, and whether something was cut off at its end.
    fn page(&self, mut all: Vec<String>) -> (Vec<String>, bool) {
        let mut rest = all.split_off(self.offset.min(all.len()));
        let is_cut = self.head > 0 && rest.len() > self.head;
        if is_cut {
            rest.truncate(self.head);
        }
        (rest, is_cut)
    }

    /// What is said of limit and offset.
    fn pagination(&self, is_cut: bool) -> String {
        let limit = is_cut.then(|| format!("limit: {}", self.head));
        let offset = (self.offset > 0).then(|| format!("offset: {}", self.offset));
        limit.into_iter().chain(offset).collect::<Vec<_>>().join(", ")
    }

    fn show_files(&self, mut files: Vec<GrepFile>) -> String {
        files.sort_by_key(|file| std::cmp::Reverse((file.mtime.seconds, file.mtime.nanos)));
        let (paths, is_cut) = self.page(files.into_iter().map(|file| file.path).collect());
        if paths.is_empty() {
            return "No files found".into();
        }
        let word = if paths.len() == 1 { "file" } else { "files" };
        let note = self.pagination(is_cut);
        let space = if note.is_empty() { "" } else { " " };
        format!("Found {} {word}{space}{note}\n{}", paths.len(), paths.join("\n"))
    }

    fn show_content(&self, files: &[GrepFile]) -> String {
        let mut lines = Vec::new();
        for file in files {
            let mut last = None;
            for line in &file.lines {
                let follows = last.is_some_and(|last| line.number <= last + 1);
                if self.grouped && !follows && !lines.is_empty() {
                    lines.push("--".to_owned());
                }
                last = Some(line.number);
                lines.push(self.line(file, line));
            }
        }
        let (lines, is_cut) = self.page(lines);
        if lines.is_empty() {
            return "No matches found".into();
        }
        let note = self.pagination(is_cut);
        match note.as_str() {
            "" => lines.join("\n"),
            note => format!("{}\n\n[Showing results with pagination = {note}]", lines.join("\n")),
        }
    }

    fn line(&self, file: &GrepFile, line: &GrepLine) -> String {
        let mark = if line.context { '-' } else { ':' };
        let mut text = String::new();
        if !self.one_file {
            text.push_str(&file.path);
            text.push(mark);
        }
        if self.numbers {
            text.push_str(&format!("{}{mark}", line.number));
        }
        match line.text.len() + 1 >= GREP_LINE_BYTES {
            true if line.context => text.push_str("[Omitted long context line]"),
            true => text.push_str("[Omitted long matching line]"),
            false => text.push_str(&line.text),
        }
        text
    }

    fn show_counts(&self, files: &[GrepFile]) -> String {
        let (shown, is_cut) = self.page(files.iter().map(|file| format!("{}:{}", file.path, file.matches)).collect());
        let total: u64 = files.iter().skip(self.offset).take(shown.len()).map(|file| file.matches).sum();
        let body = if shown.is_empty() { "No matches found".to_owned() } else { shown.join("\n") };
        let word = if shown.len() == 1 { "file" } else { "files" };
        let occurrences = if total == 1 { "occurrence" } else { "occurrences" };
        let mut text = format!("{body}\n\nFound {total} total {occurrences} across {} {word}.", shown.len());
        let note = self.pagination(is_cut);
        if !note.is_empty() {
            text.push_str(&format!(" with pagination = {note}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use api::wire::Time;
    use serde_json::{Value, json};

    use super::*;
    use crate::call::ToolCall;

    fn file(path: &str, seconds: i64, lines: &[(u64, &str, bool)]) -> GrepFile {
        GrepFile {
            path: path.into(),
            path_hex: None,
            matches: lines.iter().filter(|line| !line.2).count() as u64,
            mtime: Time { seconds, nanos: 0 },
            lines: lines
                .iter()
                .map(|(number, text, context)| GrepLine { number: *number, text: (*text).into(), context: *context })
                .collect(),
        }
    }

    fn shown(input: Value, one_file: bool) -> String {
        let call = ToolCall { id: "c".into(), name: "Grep".into(), input: None };
        let request = Request { call: &call, input: input.as_object().unwrap().clone() };
        let long = "needle".repeat(90);
        let mut files = vec![
            file("a.rs", 1, &[(1, "needle", false), (2, "x", true), (5, "needle needle", false)]),
            file("b.rs", 3, &[(1, &long, false)]),
            file("c.rs", 2, &[(7, "the needle", false)]),
        ];
        if one_file {
            files.truncate(1);
        }
        let format = format_of(&request, one_file);
        if format.only_matching {
            keep_matching(&mut files, &matcher(&search_of(&request, &Place::Outside, &format)).unwrap());
        }
        format.show(files)
    }

    #[test]
    fn matches_are_shown_as_models_know_them() {
        let table = [
            (json!({}), "Found 3 files\nb.rs\nc.rs\na.rs"),
            (json!({"head_limit": 1}), "Found 1 file limit: 1\nb.rs"),
            (json!({"head_limit": 1, "offset": 1}), "Found 1 file limit: 1, offset: 1\nc.rs"),
            (json!({"offset": 9}), "No files found"),
            (
                json!({"output_mode": "content", "-C": 1}),
                "a.rs:1:needle\na.rs-2-x\n--\na.rs:5:needle needle\n--\nb.rs:1:[Omitted long matching line]\n--\nc.rs:7:the needle",
            ),
            (
                json!({"output_mode": "content", "-n": false, "head_limit": 2}),
                "a.rs:needle\na.rs-x\n\n[Showing results with pagination = limit: 2]",
            ),
            (json!({"output_mode": "count"}), "a.rs:2\nb.rs:1\nc.rs:1\n\nFound 4 total occurrences across 3 files."),
            (
                json!({"output_mode": "count", "head_limit": 1}),
                "a.rs:2\n\nFound 2 total occurrences across 1 file. with pagination = limit: 1",
            ),
            (json!({"output_mode": "content", "offset": 99}), "No matches found"),
            (
                json!({"output_mode": "count", "offset": 99}),
                "No matches found\n\nFound 0 total occurrences across 0 files. with pagination = offset: 99",
            ),
        ];
        for (input, wanted) in table {
            assert_eq!(shown(input.clone(), false), wanted, "{input}");
        }
        let only = json!({"pattern": "need", "output_mode": "content", "-o": true});
        assert_eq!(shown(only, true), "1:need\n5:need\n5:need");
    }

    #[test]
    fn globs_may_be_many() {
        assert_eq!(globs("*.js, *.ts *.{a,b}"), ["*.js", "*.ts", "*.{a,b}"]);
        assert!(globs("").is_empty());
    }
}
