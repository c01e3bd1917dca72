//! The arithmetic, and rows on an ordinary folder: every row does what it says and says why if it cannot.

use super::super::machine::median;
use super::Measured;
use super::material::Material;
use super::report::Row;
use super::rows::{ROWS, Work};

#[test]
fn medians_are_the_middle() {
    assert_eq!(median(&[]), None);
    assert_eq!(median(&[3.0]), Some(3.0));
    assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
}

#[test]
fn a_row_that_cannot_run_says_why_in_the_table() {
    let mut row = Row::new("untar");
    row.add(0, Measured::Took { seconds: 1.0, requests: None });
    row.add(1, Measured::Cannot { why: "no | such\nthing".to_owned() });
    assert!(format!("{row:?}").contains("esker: no"));
}

#[test]
fn untar_find_grep_and_remove_work_on_any_folder() {
    let scratch = tempfile::tempdir().unwrap();
    let source = scratch.path().join("source");
    std::fs::create_dir(&source).unwrap();
    for number in 0..20 {
        std::fs::write(source.join(format!("file-{number}")), "hello\n").unwrap();
    }
    let place = scratch.path().join("place");
    std::fs::create_dir(&place).unwrap();
    let mut material = Material::prepare(&place, Some(&source), 10, false).unwrap();
    assert_eq!(material.files, 10);
    let folder = scratch.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    material.repository = Err(vfs_core::Error::new(vfs_core::Kind::NotFound, "no git here"));
    let work = Work { folder: folder.clone(), material: &material };
    for row in ROWS {
        let done = (row.prepare)(&work).and_then(|()| (row.work)(&work));
        match row.name {
            "git clone" | "git status, warm" => assert!(done.unwrap_err().context().contains("no git here")),
            "untar" | "find and stat, warm" | "grep -r, warm" | "rm -r" => done.unwrap(),
            "npm ci" => assert!(done.is_err(), "there are no packages"),
            _ => done.unwrap(),
        }
    }
    assert!(!folder.join("untar").exists(), "removed by the last row");
}
