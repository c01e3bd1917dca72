//! What ripgrep leaves out: `.gitignore`, `.ignore` and `.git/info/exclude` of each directory on the way down.
//!
//! Unlike ripgrep, `.gitignore` counts without a repository around it: most workspaces are one in spirit.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::glob::check_glob;
use super::look::{Held, Look};
use super::read::content;
use crate::error::Result;
use crate::limits::IGNORE_FILE_MAX;
use crate::object::FileKind;

/// The rules of one directory, and of those above it.
pub(super) struct Layer {
    above: Option<Arc<Layer>>,
    ignore: Gitignore,
    git: Gitignore,
    exclude: Gitignore,
    has_git: bool,
}

impl Layer {
    /// The layer of a directory at `path`, an absolute path from the root of the workspace.
    pub(super) fn read(look: &Look, directory: &Held, path: &[u8], above: Option<Arc<Layer>>) -> Result<Arc<Layer>> {
        let git_folder = look.lookup(directory.ino(), b".git")?;
        let ignore = rules(look, look.lookup(directory.ino(), b".ignore")?, path)?;
        let git = rules(look, look.lookup(directory.ino(), b".gitignore")?, path)?;
        let exclude = match git_folder.as_ref().filter(|folder| folder.is_directory()) {
            Some(folder) => rules(look, excludes(look, folder)?, path)?,
            None => Gitignore::empty(),
        };
        let has_git = git_folder.is_some();
        if let Some(above) = above.as_ref().filter(|_| ignore.is_empty() && git.is_empty() && !has_git) {
            return Ok(above.clone());
        }
        Ok(Arc::new(Layer { above, ignore, git, exclude, has_git }))
    }

    /// What the rules say of a path: the nearest that speaks of it, `.ignore` before `.gitignore`.
    pub(super) fn matched(&self, path: &[u8], is_directory: bool) -> Said {
        let path = Path::new(OsStr::from_bytes(path));
        let (mut ignore, mut git, mut exclude) = (Said::Nothing, Said::Nothing, Said::Nothing);
        let mut in_repository = true;
        let mut layer = Some(self);
        while let Some(here) = layer {
            ignore = ignore.or(|| said(&here.ignore, path, is_directory));
            if in_repository {
                git = git.or(|| said(&here.git, path, is_directory));
                exclude = exclude.or(|| said(&here.exclude, path, is_directory));
            }
            in_repository &= !here.has_git;
            layer = here.above.as_deref();
        }
        ignore.or(|| git).or(|| exclude)
    }
}

/// What rules say of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    Skip,
    Keep,
}

impl Said {
    pub(super) fn or(self, other: impl FnOnce() -> Said) -> Said {
        if self == Said::Nothing { other() } else { self }
    }

    pub(super) fn of<T>(matched: Match<T>) -> Said {
        match matched {
            Match::None => Said::Nothing,
            Match::Ignore(_) => Said::Skip,
            Match::Whitelist(_) => Said::Keep,
        }
    }
}

fn said(rules: &Gitignore, path: &Path, is_directory: bool) -> Said {
    if rules.is_empty() { Said::Nothing } else { Said::of(rules.matched(path, is_directory)) }
}

fn excludes(look: &Look, git_folder: &Held) -> Result<Option<Held>> {
    match look.lookup(git_folder.ino(), b"info")?.filter(Held::is_directory) {
        Some(info) => look.lookup(info.ino(), b"exclude"),
        None => Ok(None),
    }
}

/// The patterns of an ignore file. Lines that are no patterns are passed over, as ripgrep does.
fn rules(look: &Look, file: Option<Held>, path: &[u8]) -> Result<Gitignore> {
    let Some(file) = file.filter(|file| file.attr.kind == FileKind::File) else { return Ok(Gitignore::empty()) };
    let text = content(look, &file, 0, IGNORE_FILE_MAX)?.content.0;
    let mut builder = GitignoreBuilder::new(OsStr::from_bytes(path));
    let text = String::from_utf8_lossy(&text);
    for line in text.strip_prefix('\u{feff}').unwrap_or(&text).lines() {
        if check_glob(line).is_ok() {
            let _ = builder.add_line(None, line);
        }
    }
    Ok(builder.build().unwrap_or_else(|_| Gitignore::empty()))
}
