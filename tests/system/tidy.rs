//! House rules that a machine can check: file heads and sizes, leftovers, links, words, numbering.
//!
//! A rule that needs an exception has it here, by name and with the reason, so that the list can be read and shrunk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file in lines: one idea a file.
const LINES_MAX: usize = 500;

/// Files that may be longer, and why.
const LONGER: &[(&str, &str)] =
    &[("vfs-core/src/workspace/tests/model.rs", "a whole second filesystem, the reference model")];

/// Words that say a thing is not finished. Split, so that this file does not find itself.
const LEFTOVERS: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("dbg", "!("), concat!("todo", "!(")];

/// Folders that are not ours to check.
const SKIPPED: &[&str] = &["target", ".git", ".esker-tools", "node_modules"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files of the project with one of these endings, relative to the root.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    fn visit(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if entry.file_type().expect("a file type").is_dir() {
                if !SKIPPED.iter().any(|skipped| name == *skipped) {
                    visit(&path, endings, found);
                }
            } else if path.extension().is_some_and(|ending| endings.iter().any(|wanted| ending == *wanted)) {
                found.push(path.strip_prefix(root()).expect("below the root").to_owned());
            }
        }
    }
    let mut found = Vec::new();
    visit(root(), endings, &mut found);
    found.sort();
    found
}

fn text(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn none(what: &str, problems: Vec<String>) {
    assert!(problems.is_empty(), "{what}:\n  {}", problems.join("\n  "));
}

#[test]
fn every_source_file_says_what_it_is() {
    let silent = files(&["rs"]).into_iter().filter(|path| !text(path).starts_with("//!"));
    none("these do not open with //!", silent.map(|path| path.display().to_string()).collect());
}

#[test]
fn no_source_file_is_too_long() {
    let mut problems = Vec::new();
    let mut excused: BTreeSet<&str> = LONGER.iter().map(|(name, _)| *name).collect();
    for path in files(&["rs"]) {
        let lines = text(&path).lines().count();
        let name = path.display().to_string();
        if lines > LINES_MAX && !excused.remove(name.as_str()) {
            problems.push(format!("{name} has {lines} lines, {LINES_MAX} are allowed: split it by ideas"));
        }
    }
    problems.extend(
        excused.iter().map(|name| format!("{name} is excused but not too long any more: remove it from the list")),
    );
    none("too long", problems);
}

#[test]
fn nothing_is_left_to_do_in_the_code() {
    let mut problems = Vec::new();
    for path in files(&["rs", "toml", "sh"]) {
        for (number, line) in text(&path).lines().enumerate() {
            if let Some(word) = LEFTOVERS.iter().find(|word| line.contains(**word)) {
                problems.push(format!("{}:{} has {word}: finish it, or open an issue", path.display(), number + 1));
            }
        }
    }
    none("leftovers", problems);
}

#[test]
fn unimplemented_code_is_not_merged() {
    let word = concat!("unimplemented", "!(");
    let with = files(&["rs"]).into_iter().filter(|path| text(path).contains(word));
    none("these have code that only panics", with.map(|path| path.display().to_string()).collect());
}

#[test]
fn links_in_the_documentation_lead_somewhere() {
    let mut problems = Vec::new();
    for path in files(&["md"]) {
        let text = text(&path);
        for target in link_targets(&text) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let folder = root().join(path.parent().unwrap_or(Path::new("")));
            if !folder.join(file).exists() {
                problems.push(format!("{} links to {target}", path.display()));
            }
        }
    }
    none("dead links", problems);
}

/// The targets of `[text](target)` outside code blocks.
fn link_targets(text: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let parts = line.split("](").skip(1);
        targets.extend(parts.filter_map(|part| part.split_once(')')).map(|(target, _)| target));
    }
    targets
}

#[test]
fn decisions_are_numbered_once_and_named_alike() {
    let mut numbers: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut problems = Vec::new();
    for path in files(&["md"]).into_iter().filter(|path| path.starts_with("docs/decisions")) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let Some((number, rest)) = name.split_once('-') else {
            problems.push(format!("{name} is not NNNN-words.md"));
            continue;
        };
        if number.len() != 4 || !number.bytes().all(|byte| byte.is_ascii_digit()) || rest.contains(' ') {
            problems.push(format!("{name} is not NNNN-words.md"));
        }
        if !text(&path).starts_with(&format!("# {number} ")) {
            problems.push(format!("{name} does not begin with '# {number} <title>'"));
        }
        if let Some(other) = numbers.insert(number.to_owned(), path.clone()) {
            problems.push(format!("{name} and {} have one number", other.display()));
        }
    }
    assert!(!numbers.is_empty(), "the decisions are gone");
    none("decisions", problems);
}

#[test]
fn every_word_of_the_glossary_is_used() {
    let glossary = text(Path::new("docs/glossary.md"));
    let words: Vec<&str> =
        glossary.lines().filter_map(|line| line.strip_prefix("| **")?.split_once("**")).map(|row| row.0).collect();
    assert!(words.len() > 20, "the glossary has only {} words", words.len());
    let others = files(&["md", "rs"]).into_iter().filter(|path| path != Path::new("docs/glossary.md"));
    let all = others.map(|path| text(&path).to_lowercase()).collect::<Vec<_>>().join("\n");
    let unused = words.into_iter().filter(|word| !all.contains(&word.to_lowercase()));
    none("words nobody uses: remove them from the glossary", unused.map(str::to_owned).collect());
}

#[test]
fn every_random_test_can_be_replayed() {
    // Chance comes from seeds: nothing here may ask the machine for it.
    let banned = ["rand::", "thread_rng", "getrandom::"];
    let mut problems = Vec::new();
    for path in files(&["rs"]).into_iter().filter(|path| path.starts_with("tests") && !path.ends_with("tidy.rs")) {
        let text = text(&path);
        problems.extend(
            banned.iter().filter(|word| text.contains(**word)).map(|word| format!("{} has {word}", path.display())),
        );
    }
    none("chance without a seed", problems);
}

#[test]
fn layers_know_only_what_lies_below() {
    // Invariants of absence from ARCHITECTURE.md.
    let rules: &[(&str, &[&str])] = &[
        ("vfs-core/src", &["fuser", "axum", "reqwest", "utoipa", "clap"]),
        ("vfs-core/src/object", &["std::fs", "tokio", "sqlx", "object_store"]),
        ("fuse-mount/src", &["sqlx", "object_store", "axum", "clap"]),
        ("api/src", &["fuser", "sqlx", "object_store", "clap"]),
        ("harness/src", &["fuser", "sqlx", "object_store", "clap", "fuse_mount"]),
        ("src", &["sqlx", "object_store", "axum"]),
    ];
    let mut problems = Vec::new();
    for (folder, banned) in rules {
        for path in files(&["rs"]).into_iter().filter(|path| path.starts_with(folder)) {
            let text = text(&path);
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for (line, word) in code.flat_map(|line| banned.iter().map(move |word| (line, word))) {
                if uses(line, word) {
                    problems.push(format!("{} uses {word}: {}", path.display(), line.trim()));
                }
            }
        }
    }
    none("arrows that point the wrong way", problems);
}

/// Whether a line names a crate or module in a path.
fn uses(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let whole =
            !before.is_some_and(|before| before.is_alphanumeric() || before == '_' || before == ':' || before == '"');
        whole && line[start + word.len()..].starts_with("::")
    })
}
