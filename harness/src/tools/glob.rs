//! Glob: files and documents by name, oldest change first.

use api::wire::file::GlobRequest;
use vfs_core::Result;

use super::limits::{GLOB_MAX, SEARCH_MAX};
use super::shelf::Look;
use super::{Request, Toolbox, texts};
use crate::call::ToolResult;
use crate::routes::Place;

/// A file that was found.
struct Found {
    path: String,
    changed: (i64, u32),
}

impl Toolbox {
    pub(super) async fn glob(&mut self, request: &Request<'_>) -> Result<ToolResult> {
        let (base, pattern) = split(request.text("pattern"), request.text("path"));
        let (place, absolute) = self.place(&base);
        match self.look(&place).await? {
            _ if place == Place::Outside => return Ok(ToolResult::error(texts::outside(&absolute))),
            Look::Absent => return Ok(ToolResult::error(texts::no_directory(&absolute, &self.current))),
            Look::File { .. } => {
                return Ok(ToolResult::error(texts::refused(&format!("Path is not a directory: {absolute}"))));
            }
            Look::Directory => {}
        }
        let (mut found, is_cut) = match &place {
            Place::Document(path) => (self.glob_documents(path, &pattern).await?, false),
            Place::Workspace(path) => self.glob_files(path, &pattern).await?,
            _ => (Vec::new(), false),
        };
        found.sort_by(|one, other| one.changed.cmp(&other.changed).then_with(|| one.path.cmp(&other.path)));
        Ok(ToolResult::ok(listed(found.iter().map(|file| self.shown(&file.path)).collect(), is_cut)))
    }

    async fn glob_files(&self, path: &str, pattern: &str) -> Result<(Vec<Found>, bool)> {
        let request = GlobRequest {
            pattern: pattern.to_owned(),
            path: path.to_owned(),
            at: None,
            hidden: true,
            no_ignore: true,
            limit: Some(SEARCH_MAX),
        };
        let answer = self.options.client.glob_files(&self.options.workspace, &request).await?;
        let found = answer.files.iter().map(|entry| Found {
            path: self.routes.file(&entry.name),
            changed: (entry.mtime.seconds, entry.mtime.nanos),
        });
        Ok((found.collect(), answer.truncated))
    }

    async fn glob_documents(&self, path: &str, pattern: &str) -> Result<Vec<Found>> {
        let heads = self.matching_documents(path, pattern).await?;
        let found = heads.into_iter().filter_map(|head| {
            let changed = (head.time.seconds, head.time.nanos);
            Some(Found { path: self.routes.document(&head.path)?, changed })
        });
        Ok(found.collect())
    }
}

/// A pattern that is absolute names its folder itself.
fn split(pattern: &str, path: &str) -> (String, String) {
    if !pattern.starts_with('/') {
        return (if path.is_empty() { ".".to_owned() } else { path.to_owned() }, pattern.to_owned());
    }
    let special = pattern.find(['*', '?', '[', '{']).unwrap_or(pattern.len());
    let folder = pattern[..special].rfind('/').unwrap_or(0);
    (format!("/{}", &pattern[1..folder.max(1)]), pattern[folder + 1..].to_owned())
}

fn listed(paths: Vec<String>, is_cut: bool) -> String {
    if paths.is_empty() {
        return "No files found".into();
    }
    let total = paths.len();
    let mut text = paths[..total.min(GLOB_MAX)].join("\n");
    if total > GLOB_MAX {
        let more = if is_cut { "more than " } else { "" };
        text.push_str(&format!(
            "\n(Showing {GLOB_MAX} of {more}{total} matching files; {more}{} more are not listed. Narrow the pattern or path to see the rest.)",
            total - GLOB_MAX
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_patterns_name_their_folder() {
        let table = [
            ("*.rs", "", ".", "*.rs"),
            ("*.rs", "/workspace/src", "/workspace/src", "*.rs"),
            ("/workspace/src/**/*.rs", "", "/workspace/src", "**/*.rs"),
            ("/workspace/a.txt", "/x", "/workspace", "a.txt"),
            ("/*.rs", "", "/", "*.rs"),
        ];
        for (pattern, path, base, rest) in table {
            assert_eq!(split(pattern, path), (base.to_owned(), rest.to_owned()), "{pattern}");
        }
    }

    #[test]
    fn a_hundred_are_listed() {
        assert_eq!(listed(vec![], false), "No files found");
        let names = |count: usize| (0..count).map(|number| format!("f{number}")).collect::<Vec<_>>();
        assert_eq!(listed(names(2), false), "f0\nf1");
        assert!(listed(names(150), false).ends_with("f99\n(Showing 100 of 150 matching files; 50 more are not listed. Narrow the pattern or path to see the rest.)"));
    }
}
