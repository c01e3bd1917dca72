//! The project of the demo: a shell script with a mistake, its tests, and a skill.

use std::fs;
use std::path::{Path, PathBuf};

use vfs_core::{Error, Result};

const FILES: [(&str, &str); 3] = [
    ("README.md", include_str!("project/README.md")),
    ("slug.sh", include_str!("project/slug.sh")),
    ("tests/run.sh", include_str!("project/run.sh")),
];
const SKILL: &str = include_str!("project/SKILL.md");

/// Writes the project into a folder.
pub(super) fn write(folder: &Path) -> Result<()> {
    FILES.iter().try_for_each(|(name, content)| put(&folder.join(name), content))
}

/// Writes the skill beside it.
pub(super) fn write_skill(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("demo-skill.md");
    put(&path, SKILL)?;
    Ok(path)
}

fn put(path: &Path, content: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, content));
    written.map_err(|error| Error::io(format!("cannot write {}", path.display()), error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Runs the tests of the project; how many failed.
    fn failures(folder: &Path) -> usize {
        let done = Command::new("sh").arg("tests/run.sh").current_dir(folder).output().unwrap();
        String::from_utf8_lossy(&done.stdout).lines().filter(|line| line.starts_with("FAIL")).count()
    }

    #[test]
    fn the_tests_fail_until_the_mistake_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        assert_eq!(failures(folder.path()), 1);
        let script = folder.path().join("slug.sh");
        let mended = fs::read_to_string(&script).unwrap().replace("sed 's/ /-/'", "sed 's/  */-/g'");
        fs::write(&script, mended).unwrap();
        assert_eq!(failures(folder.path()), 0);
    }
}
