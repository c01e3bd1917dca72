//! Numbers stay with their path while the kernel knows it, and are never given to something else.

use super::*;

#[test]
fn a_path_keeps_its_number_while_it_is_known() {
    let mut names = Names::new();
    assert_eq!(names.number("", true), ROOT);
    let first = names.number("a", false);
    names.remember(first);
    names.remember(first);
    names.forget(first, 1);
    assert_eq!(names.number("a", false), first);
    assert_eq!(names.path(first), Some(("a", false)));
    names.forget(first, 1);
    assert_eq!(names.path(first), None);
    assert_ne!(names.number("a", false), first);
}

#[test]
fn what_is_made_anew_is_something_else() {
    let mut names = Names::new();
    let before = names.number("a", false);
    names.remember(before);
    assert_ne!(names.number("a", true), before);
    names.drop_path("a");
    let after = names.number("a", false);
    assert_ne!(after, before);
    assert!(names.is_current(after) && !names.is_current(before));
    // The old number still says what it was, and forgetting it leaves the new one alone.
    assert_eq!(names.path(before), Some(("a", false)));
    names.forget(before, 1);
    assert_eq!(names.number("a", false), after);
}

#[test]
fn the_folder_itself_is_never_forgotten() {
    let mut names = Names::new();
    names.forget(ROOT, 100);
    let listed = names.number("listed", false);
    names.drop_unknown();
    assert_eq!(names.path(ROOT), Some(("", true)));
    assert_eq!(names.path(listed), None);
    assert_eq!(names.len(), 1);
}

#[test]
fn only_what_a_document_may_be_called_is_a_path() {
    assert_eq!(child("", OsStr::new("a")).unwrap(), "a");
    assert_eq!(child("a/b", OsStr::new("ü c")).unwrap(), "a/b/ü c");
    assert_eq!(child("", OsStr::new("a\nb")).unwrap_err(), Errno::EINVAL);
    use std::os::unix::ffi::OsStrExt;
    assert_eq!(child("", OsStr::from_bytes(b"\xff")).unwrap_err(), Errno::EINVAL);
    assert_eq!(child(&["d".repeat(255).as_str(); 4].join("/"), OsStr::new("ab")).unwrap_err(), Errno::ENAMETOOLONG);
}

#[test]
fn below_means_whole_segments() {
    assert!(is_below("a/b", "a") && is_below("a", "") && is_below("a/b/c", "a/b"));
    assert!(!is_below("ab", "a") && !is_below("a", "a"));
    assert_eq!((parent("a/b/c"), parent("a")), ("a/b", ""));
}

#[test]
fn a_number_moves_with_its_name() {
    let mut names = Names::new();
    let (file, target) = (names.number("a", false), names.number("b", false));
    names.moved("a", "b");
    assert_eq!(names.number("b", false), file);
    assert!(!names.is_current(target));
    assert_ne!(names.number("a", false), file);
    let (directory, below) = (names.number("d", true), names.number("d/e", true));
    let beside = names.number("de", true);
    names.moved("d", "f");
    assert_eq!((names.number("f", true), names.number("f/e", true)), (directory, below));
    assert_eq!(names.path(below), Some(("f/e", true)));
    assert_eq!(names.number("de", true), beside);
}
