//! Read: a text file or document, line by line with numbers.

use vfs_core::Result;

use super::limits::{BYTES_PER_TOKEN, READ_BYTES_MAX, READ_TOKENS_MAX, WHOLE_BYTES_MAX};
use super::seen::Note;
use super::shelf::{Look, digest};
use super::{Request, Toolbox, texts};
use crate::call::ToolResult;
use crate::routes::Place;

/// Endings of files that hold no text.
const BINARY: &[&str] = &[
    "7z", "a", "avi", "bin", "bmp", "bz2", "class", "dat", "db", "deb", "dll", "dylib", "eot", "exe", "flac", "gif",
    "gz", "ico", "iso", "jar", "jpeg", "jpg", "lib", "mkv", "mov", "mp3", "mp4", "mpeg", "o", "obj", "ogg", "otf",
    "pdf", "png", "pyc", "pyo", "rar", "rlib", "rpm", "so", "sqlite", "sqlite3", "tar", "tgz", "tif", "tiff", "ttf",
    "war", "wasm", "wav", "webm", "webp", "wim", "woff", "woff2", "xz", "zip", "zst",
];

/// What a part of a file is shown as.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    Text(String),
    /// Nothing of it can be shown, and why.
    Error(String),
}

/// Which lines are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Lines {
    /// The first, from 1; 0 if not said.
    offset: u64,
    /// How many; 0 if not said.
    limit: u64,
}

impl Toolbox {
    pub(super) async fn read(&mut self, request: &Request<'_>) -> Result<ToolResult> {
        let path = request.text("file_path");
        let number = |name: &str| request.number(name).map_or(0, |number| number.max(0.0) as u64);
        let lines = Lines { offset: number("offset"), limit: number("limit") };
        let (place, absolute) = self.place(path);
        if place == Place::Outside {
            return Ok(ToolResult::error(texts::outside(path)));
        }
        if let Some(ending) = binary_ending(&absolute) {
            return Ok(ToolResult::error(texts::refused(&format!(
                "This tool cannot read binary files. The file appears to be a binary .{ending} file. Please use appropriate tools for binary file analysis."
            ))));
        }
        let (tag, size) = match self.look(&place).await? {
            Look::Absent => return self.missing(&place).await,
            Look::Directory => return Ok(ToolResult::error(texts::is_directory(&absolute))),
            Look::File { tag, size } => (tag, size),
        };
        if self.seen.has(&absolute, &tag, (lines.offset, lines.limit)) {
            return Ok(ToolResult::ok(
                "Wasted call — file unchanged since your last Read. Refer to that earlier tool_result instead.",
            ));
        }
        if size > READ_BYTES_MAX && lines.limit == 0 {
            return Ok(ToolResult::error(too_large(&kilobytes(size), &kilobytes(READ_BYTES_MAX), "size")));
        }
        self.show(&place, absolute, lines, size).await
    }

    async fn show(&self, place: &Place, absolute: String, lines: Lines, size: u64) -> Result<ToolResult> {
        let (tag, content, is_whole) = match place {
            Place::Workspace(path) if size > WHOLE_BYTES_MAX => {
                self.beginning(path, lines.offset.max(1).saturating_add(lines.limit)).await?
            }
            place => match self.content(place).await? {
                Some((tag, content)) => (tag, content, true),
                None => return self.missing(place).await,
            },
        };
        let shown = match render(&content, lines) {
            Shown::Text(text) => text,
            Shown::Error(text) => return Ok(ToolResult::error(text)),
        };
        let digest = if is_whole { digest(&content) } else { String::new() };
        let note = Note { path: absolute, tag, digest, lines: Some((lines.offset, lines.limit)) };
        Ok(ToolResult { detail: note.detail(), ..ToolResult::ok(shown) })
    }

    /// Says that there is nothing, and names a file that differs by its ending only.
    async fn missing(&self, place: &Place) -> Result<ToolResult> {
        let mut text = texts::missing(&self.current);
        if let Place::Workspace(path) = place {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
            let listed =
                self.options.client.list_files(&self.options.workspace, None, folder.as_bytes(), None, 1000).await;
            let names = listed.map(|listing| listing.entries).unwrap_or_default();
            let similar = names.iter().find(|entry| {
                entry.kind == "file"
                    && entry.name.rsplit_once('.').is_some_and(|(other, _)| other == stem && !stem.is_empty())
            });
            if let Some(similar) = similar {
                let shown = if folder.is_empty() { similar.name.clone() } else { format!("{folder}/{}", similar.name) };
                text.push_str(&format!(" Did you mean {}?", self.shown(&self.routes.file(&shown))));
            }
        }
        Ok(ToolResult::error(text))
    }
}

fn binary_ending(path: &str) -> Option<&str> {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let (_, ending) = name.rsplit_once('.')?;
    BINARY.contains(&ending.to_ascii_lowercase().as_str()).then_some(ending)
}

fn too_large(found: &str, allowed: &str, of: &str) -> String {
    format!(
        "File content ({found}) exceeds maximum allowed {of} ({allowed}). Use offset and limit parameters to read specific portions of the file, or search for specific content instead of reading the whole file."
    )
}

/// Kilobytes with one digit where it says something.
fn kilobytes(bytes: u64) -> String {
    let text = format!("{:.1}", bytes as f64 / 1024.0);
    format!("{}KB", text.strip_suffix(".0").unwrap_or(&text))
}

/// The text of a file as lines: no byte order mark, no carriage returns before line ends.
fn text_of(content: &[u8]) -> String {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    String::from_utf8_lossy(content).replace("\r\n", "\n")
}

fn render(content: &[u8], wanted: Lines) -> Shown {
    let text = text_of(content);
    let all: Vec<&str> = text.split('\n').collect();
    let first = usize::try_from(wanted.offset.max(1)).unwrap_or(usize::MAX);
    if text.is_empty() || first > all.len() {
        let line = format!(
            "Warning: the file exists but is shorter than the provided offset ({first}). The file has {} lines.",
            all.len()
        );
        return Shown::Text(texts::reminder(&line));
    }
    let rest = &all[first - 1..];
    let count = if wanted.limit == 0 {
        rest.len()
    } else {
        rest.len().min(usize::try_from(wanted.limit).unwrap_or(usize::MAX))
    };
    let chosen = &rest[..count];
    let bytes: usize = chosen.iter().map(|line| line.len() + 1).sum();
    let tokens = bytes / BYTES_PER_TOKEN;
    if tokens <= READ_TOKENS_MAX {
        return Shown::Text(numbered(chosen, first));
    }
    if wanted != Lines::default() {
        return Shown::Error(too_large(&format!("{tokens} tokens"), &READ_TOKENS_MAX.to_string(), "tokens"));
    }
    Shown::Text(page(&all, &text, tokens))
}

fn numbered(lines: &[&str], first: usize) -> String {
    let lines: Vec<String> = lines.iter().enumerate().map(|(at, line)| format!("{}\t{line}", first + at)).collect();
    lines.join("\n")
}

/// The beginning of a file that is too long to show, and how to go on.
fn page(lines: &[&str], text: &str, tokens: usize) -> String {
    let share = |of: usize| (of as f64 * READ_TOKENS_MAX as f64 / tokens as f64 * 0.85) as usize;
    let (count, total) = (share(lines.len()), lines.len());
    let fits = lines.iter().take(count).map(|line| line.len() + 1).sum::<usize>() <= READ_TOKENS_MAX * BYTES_PER_TOKEN;
    if count > 0 && fits {
        let note = format!(
            "[Truncated: PARTIAL view — showing lines 1-{count} of {total} total ({tokens} tokens, cap {READ_TOKENS_MAX}). Call Read with offset={} limit={count} for the next page, or Grep to find a specific section. Do NOT answer from this page alone if the answer may be further in the file.]",
            count + 1
        );
        return format!("{}\n\n{}", texts::reminder(&note), numbered(&lines[..count], 1));
    }
    let characters = text.chars().count();
    let count = share(characters);
    let head: String = text.chars().take(count).collect();
    let note = format!(
        "[Truncated: PARTIAL view — showing the first {count} of {characters} characters ({tokens} tokens, cap {READ_TOKENS_MAX}); this file has very long lines and cannot be paginated by line. Use Grep to find a specific section, or Read with offset/limit to page through it. Do NOT answer from this excerpt alone if the answer may be elsewhere in the file.]"
    );
    format!("{}\n\n{}", texts::reminder(&note), numbered(&head.split('\n').collect::<Vec<_>>(), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &[u8], offset: u64, limit: u64) -> String {
        match render(content, Lines { offset, limit }) {
            Shown::Text(text) | Shown::Error(text) => text,
        }
    }

    #[test]
    fn lines_have_numbers_and_tabs() {
        let table: [(&[u8], u64, u64, &str); 10] = [
            (b"alpha\n\tbeta\n\ngamma\n", 0, 0, "1\talpha\n2\t\tbeta\n3\t\n4\tgamma\n5\t"),
            (b"one\ntwo", 0, 0, "1\tone\n2\ttwo"),
            (b"a\r\nb\r\n", 0, 0, "1\ta\n2\tb\n3\t"),
            (b"1\n2\n3\n4\n5\n", 2, 3, "2\t2\n3\t3\n4\t4"),
            (b"1\n2\n3\n", 3, 99, "3\t3\n4\t"),
            (b"abc\0def\n", 0, 0, "1\tabc\0def\n2\t"),
            (b"\xef\xbb\xbfx", 0, 0, "1\tx"),
            (b"\xff\n", 0, 0, "1\t\u{fffd}\n2\t"),
            (
                b"",
                0,
                0,
                "<system-reminder>Warning: the file exists but is shorter than the provided offset (1). The file has 1 lines.</system-reminder>",
            ),
            (
                b"a\nb\n",
                9,
                0,
                "<system-reminder>Warning: the file exists but is shorter than the provided offset (9). The file has 3 lines.</system-reminder>",
            ),
        ];
        for (content, offset, limit, wanted) in table {
            assert_eq!(text(content, offset, limit), wanted);
        }
    }

    #[test]
    fn a_long_file_is_shown_by_pages() {
        let long: String = (0..6000).map(|_| format!("{}\n", "x".repeat(39))).collect();
        let shown = text(long.as_bytes(), 0, 0);
        assert!(shown.starts_with("<system-reminder>[Truncated: PARTIAL view — showing lines 1-2125 of 6001 total (60000 tokens, cap 25000). Call Read with offset=2126 limit=2125 for"), "{}", &shown[..200]);
        assert!(shown.ends_with(&format!("\n2125\t{}", "x".repeat(39))));
        assert!(
            text(long.as_bytes(), 1, 6000)
                .starts_with("File content (60000 tokens) exceeds maximum allowed tokens (25000).")
        );
        let shown = text("z".repeat(200_000).as_bytes(), 0, 0);
        assert!(
            shown.contains("showing the first 85000 of 200000 characters (50000 tokens, cap 25000)"),
            "{}",
            &shown[..200]
        );
    }

    #[test]
    fn binary_files_are_known_by_their_ending() {
        assert_eq!(binary_ending("/workspace/a.SO"), Some("SO"));
        assert_eq!(binary_ending("/workspace/a.so/b"), None);
        assert_eq!(binary_ending("/workspace/so"), None);
        assert_eq!(kilobytes(390_042), "380.9KB");
        assert_eq!(kilobytes(READ_BYTES_MAX), "256KB");
    }
}
