//! Real input: the sources of the crates this project is built from, which every machine that built it has.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Run, World};
use crate::model::manifest::Manifest;

/// Files of one crate beyond which it is left out, so that the sample stays broad (one C library would fill it).
const CRATE_FILES_MAX: usize = 300;

/// Copies crate sources into `<world>/<name>` until there are at least `files` files; returns the folder and the number.
pub(crate) fn crate_sources(world: &World, name: &str, files: usize) -> (PathBuf, usize) {
    let target = world.folder(name);
    let mut count = 0;
    for folder in registry_crates(world) {
        let inside = count_files(&folder);
        if inside > CRATE_FILES_MAX {
            continue;
        }
        Command::new("cp").arg("-a").arg(&folder).arg(&target).run().ok();
        count += inside;
        if count >= files {
            return (target, count);
        }
    }
    panic!("the crate registry has only {count} files, {files} are needed: run `cargo fetch`");
}

fn registry_crates(world: &World) -> Vec<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    // Already there after a build; brings the sources of other platforms where a registry can be reached.
    let _ = world.program("cargo").args(["fetch", "--locked", "--manifest-path"]).arg(manifest).run();
    let home =
        std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{}/.cargo", std::env::var("HOME").expect("HOME")));
    let mut crates = Vec::new();
    for registry in fs::read_dir(Path::new(&home).join("registry/src")).expect("a crate registry").flatten() {
        crates.extend(fs::read_dir(registry.path()).expect("a registry folder").flatten().map(|entry| entry.path()));
    }
    crates.sort();
    crates
}

fn count_files(folder: &Path) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
        count += if entry.file_type().expect("a file type").is_dir() { count_files(&entry.path()) } else { 1 };
    }
    count
}

/// Fails unless two trees are equal: `diff -r` by content, and names, kinds, modes, owners, times, links and attributes.
#[track_caller]
pub(crate) fn same_tree(left: &Path, right: &Path) {
    Command::new("diff").arg("-r").arg("--no-dereference").args([left, right].map(OsStr::new)).run().ok();
    let left = Manifest::read(left).with_times();
    let right = Manifest::read(right).with_times();
    if let Some(difference) = left.difference(&right) {
        panic!("the trees differ: {difference}");
    }
}
