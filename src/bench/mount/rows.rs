//! The rows of the table: what is made ready, and what is timed.

use std::fs;
use std::path::PathBuf;

use vfs_core::{Error, Kind, Result};

use super::super::command::{program, run};
use super::material::Material;

/// What one row works with.
pub(super) struct Work<'a> {
    /// An empty folder of this repetition, on the side that is measured.
    pub(super) folder: PathBuf,
    pub(super) material: &'a Material,
}

/// One row. Rows run in order in one folder; later ones use what earlier ones left, or make it.
pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) prepare: fn(&Work<'_>) -> Result<()>,
    pub(super) work: fn(&Work<'_>) -> Result<()>,
}

/// The row that needs packages.
pub(super) const NPM_CI: &str = "npm ci";

/// All rows.
pub(super) const ROWS: &[Definition] = &[
    Definition { name: "untar", prepare: |work| make(work, "untar"), work: untar },
    Definition { name: "find and stat, warm", prepare: unpacked, work: find },
    Definition { name: "grep -r, warm", prepare: |work| unpacked(work).and_then(|()| grep(work)), work: grep },
    Definition { name: "git clone", prepare: |_| Ok(()), work: git_clone },
    Definition {
        name: "git status, warm",
        prepare: |work| cloned(work).and_then(|()| git_status(work)),
        work: git_status,
    },
    Definition { name: NPM_CI, prepare: npm_project, work: npm_ci },
    Definition { name: "cargo build", prepare: small_crate, work: cargo_build },
    Definition { name: "cargo build, nothing to do", prepare: built, work: cargo_build },
    Definition { name: "rm -r", prepare: unpacked, work: remove },
];

fn make(work: &Work<'_>, name: &str) -> Result<()> {
    let path = work.folder.join(name);
    fs::create_dir_all(&path).map_err(|error| Error::io(format!("cannot make {}", path.display()), error))
}

fn untar(work: &Work<'_>) -> Result<()> {
    run(program("tar", &work.folder.join("untar")).arg("-xf").arg(&work.material.archive)).map(drop)
}

fn unpacked(work: &Work<'_>) -> Result<()> {
    if work.folder.join("untar").is_dir() {
        return Ok(());
    }
    make(work, "untar")?;
    untar(work)
}

fn find(work: &Work<'_>) -> Result<()> {
    let listed = run(program("find", &work.folder.join("untar")).args([".", "-type", "f", "-size", "+0"]))?;
    let empty = listed.is_empty();
    if empty { Err(Error::new(Kind::Internal, "find found nothing")) } else { Ok(()) }
}

fn grep(work: &Work<'_>) -> Result<()> {
    // Counts and finds something for sure, so that an exit code of 1 means trouble.
    run(program("grep", &work.folder.join("untar")).args(["-rlI", "e", "."])).map(drop)
}

fn git_clone(work: &Work<'_>) -> Result<()> {
    let bare = given(&work.material.repository)?;
    run(program("git", &work.folder).args(["clone", "-q", "--no-hardlinks"]).arg(bare).arg("clone")).map(drop)
}

fn cloned(work: &Work<'_>) -> Result<()> {
    if work.folder.join("clone").is_dir() { Ok(()) } else { git_clone(work) }
}

fn git_status(work: &Work<'_>) -> Result<()> {
    let said = run(program("git", &work.folder.join("clone")).args(["status", "--porcelain"]))?;
    if said.is_empty() { Ok(()) } else { Err(Error::new(Kind::Internal, "git sees changes in a fresh clone")) }
}

fn npm_project(work: &Work<'_>) -> Result<()> {
    let from = given(&work.material.npm)?;
    run(program("cp", &work.folder).arg("-r").arg(from).arg("project")).map(drop)
}

fn npm_ci(work: &Work<'_>) -> Result<()> {
    let cache = given(&work.material.npm)?.with_file_name("npm-cache");
    let mut npm = program("npm", &work.folder.join("project"));
    npm.args(["ci", "--offline", "--no-audit", "--no-fund", "--cache"]).arg(cache);
    run(&mut npm).map(drop)
}

fn small_crate(work: &Work<'_>) -> Result<()> {
    make(work, "crate/src")?;
    let write = |name: &str, text: &str| {
        fs::write(work.folder.join("crate").join(name), text).map_err(|error| Error::io("cannot write a crate", error))
    };
    write("Cargo.toml", "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n")?;
    let mut library = String::new();
    for module in 0..30 {
        library += &format!("pub mod m{module};\n");
        let functions: String = (0..40)
            .map(|n| format!("#[derive(Debug, Clone, PartialEq)]\npub struct S{n} {{ pub a: Vec<u64>, pub b: String }}\npub fn f{n}(s: &S{n}) -> u64 {{ s.a.iter().sum::<u64>() + s.b.len() as u64 }}\n"))
            .collect();
        write(&format!("src/m{module}.rs"), &functions)?;
    }
    write("src/lib.rs", &library)?;
    write(
        "src/main.rs",
        "fn main() { println!(\"{}\", small::m0::f0(&small::m0::S0 { a: vec![42], b: String::new() })); }\n",
    )
}

fn cargo_build(work: &Work<'_>) -> Result<()> {
    run(program("cargo", &work.folder.join("crate")).args(["build", "--offline", "--quiet"])).map(drop)
}

fn built(work: &Work<'_>) -> Result<()> {
    if !work.folder.join("crate").is_dir() {
        small_crate(work)?;
    }
    cargo_build(work)
}

fn remove(work: &Work<'_>) -> Result<()> {
    run(program("rm", &work.folder).args(["-r", "untar"])).map(drop)
}

/// What could not be prepared is the reason why the row cannot run.
fn given(path: &Result<PathBuf>) -> Result<&PathBuf> {
    path.as_ref().map_err(|error| Error::new(error.kind(), error.chain()))
}
