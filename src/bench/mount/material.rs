//! What the rows work on, made before anything is timed: an archive, a bare repository, npm packages, a crate.

use std::fs;
use std::path::{Path, PathBuf};

use vfs_core::{Error, Kind, Result};

use super::super::command::{program, run};
use super::super::source::{registry_sources, take_files};

/// Packages that `npm ci` installs.
const PACKAGES: usize = 25;
/// Files of each.
const PACKAGE_FILES: usize = 120;

/// Inputs on the local disk.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) archive: PathBuf,
    /// A bare repository, or why there is none.
    pub(super) repository: Result<PathBuf>,
    /// A folder with a lock file and its packages, or why there is none.
    pub(super) npm: Result<PathBuf>,
    pub(super) files: usize,
}

impl Material {
    /// Makes everything; the packages, which take longest, only if they are wanted.
    pub(super) fn prepare(scratch: &Path, source: Option<&Path>, files: usize, with_npm: bool) -> Result<Material> {
        let from = match source {
            Some(source) => source.to_owned(),
            None => registry_sources()?,
        };
        let tree = folder(scratch, "tree")?;
        let files = take_files(&from, &tree, files)?;
        let archive = scratch.join("tree.tar");
        run(program("tar", &tree).arg("-cf").arg(&archive).arg("."))?;
        let repository = make_repository(scratch, &tree);
        fs::remove_dir_all(&tree).map_err(|error| Error::io("cannot remove a folder", error))?;
        let unwanted = || Err(Error::new(Kind::NotFound, "no packages were made"));
        let npm = if with_npm { make_packages(scratch) } else { unwanted() };
        Ok(Material { archive, repository, npm, files })
    }
}

fn folder(parent: &Path, name: &str) -> Result<PathBuf> {
    let path = parent.join(name);
    fs::create_dir_all(&path).map_err(|error| Error::io(format!("cannot make {}", path.display()), error))?;
    Ok(path)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| Error::io(format!("cannot write {}", path.display()), error))
}

fn make_repository(scratch: &Path, tree: &Path) -> Result<PathBuf> {
    let bare = scratch.join("bare.git");
    let git = |arguments: &[&str]| run(program("git", tree).args(arguments)).map(drop);
    git(&["init", "-q", "-b", "main"])?;
    git(&["add", "-A", "-f"])?;
    git(&["commit", "-q", "-m", "everything"])?;
    run(program("git", scratch).args(["clone", "-q", "--bare"]).arg(tree).arg(&bare))?;
    run(program("git", &bare).args(["gc", "-q"]))?;
    Ok(bare)
}

/// Packages made here, locked and cached by npm, so that `npm ci` needs no registry.
fn make_packages(scratch: &Path) -> Result<PathBuf> {
    let project = folder(scratch, "npm-project")?;
    let mut dependencies = Vec::new();
    for number in 0..PACKAGES {
        let outer = folder(scratch, &format!("npm-package-{number}"))?;
        let package = folder(&outer, "package")?;
        write(&package.join("package.json"), &format!("{{\"name\":\"package-{number}\",\"version\":\"1.0.0\"}}"))?;
        for file in 0..PACKAGE_FILES {
            let below = folder(&package, &format!("lib{}", file % 8))?;
            let text = format!("module.exports = {file};\n// {number}\n").repeat(1 + file % 60);
            write(&below.join(format!("module-{file}.js")), &text)?;
        }
        // What `npm pack` makes, without its second of start-up.
        let archive = project.join(format!("package-{number}-1.0.0.tgz"));
        run(program("tar", &outer).arg("-czf").arg(archive).arg("package"))?;
        dependencies.push(format!("\"package-{number}\":\"file:package-{number}-1.0.0.tgz\""));
    }
    let text =
        format!("{{\"name\":\"project\",\"version\":\"1.0.0\",\"dependencies\":{{{}}}}}", dependencies.join(","));
    write(&project.join("package.json"), &text)?;
    run(program("npm", &project)
        .args(["install", "--offline", "--no-audit", "--no-fund", "--cache"])
        .arg(scratch.join("npm-cache")))?;
    fs::remove_dir_all(project.join("node_modules")).map_err(|error| Error::io("cannot remove node_modules", error))?;
    Ok(project)
}
