//! Merging: nothing that either side added is lost, or there is a conflict.

use proptest::prelude::*;

use super::super::merge::{appended, by_lines};

fn append(base: Option<&str>, theirs: &str, yours: &str) -> Option<String> {
    appended(base.map(str::as_bytes), theirs.as_bytes(), yours.as_bytes()).map(|both| String::from_utf8(both).unwrap())
}

fn lines(base: &str, theirs: &str, yours: &str) -> Option<String> {
    by_lines(base.as_bytes(), theirs.as_bytes(), yours.as_bytes()).map(|merged| String::from_utf8(merged).unwrap())
}

#[test]
fn both_appended() {
    assert_eq!(append(Some("a\n"), "a\nb\n", "a\nc\n").as_deref(), Some("a\nb\nc\n"));
    assert_eq!(append(Some("a\n"), "a\nb\n", "a\nb\n").as_deref(), Some("a\nb\nb\n"), "two said the same: both stay");
    assert_eq!(append(Some("a\n"), "a\nb\n", "a\n").as_deref(), Some("a\nb\n"), "yours changed nothing");
    assert_eq!(append(Some(""), "b\n", "c\n").as_deref(), Some("b\nc\n"));
    assert_eq!(append(None, "b\n", "c\n").as_deref(), Some("b\nc\n"));
    assert_eq!(append(Some("a\n"), "x\n", "a\nc\n"), None, "theirs is no appending");
    assert_eq!(append(Some("a\n"), "a\nb\n", "x\n"), None, "yours is no appending");
    assert_eq!(appended(None, b"\xff", b"\xfe"), None, "two binary files are not one");
    assert_eq!(appended(Some(b"\xff"), b"\xff1", b"\xff2").as_deref(), Some(&b"\xff12"[..]));
    let half = "x".repeat(600 * 1024);
    assert_eq!(append(Some(""), &half, &half), None, "too large together");
}

#[test]
fn lines_apart_are_merged_and_the_same_lines_are_not() {
    let base = "one\ntwo\nthree\nfour\nfive\n";
    let theirs = "ONE\ntwo\nthree\nfour\nfive\n";
    let yours = "one\ntwo\nthree\nfour\nFIVE\n";
    assert_eq!(lines(base, theirs, yours).as_deref(), Some("ONE\ntwo\nthree\nfour\nFIVE\n"));
    assert_eq!(lines(base, theirs, "1\ntwo\nthree\nfour\nfive\n"), None);
    assert_eq!(lines(base, theirs, theirs).as_deref(), Some(theirs));
    assert_eq!(lines(base, base, yours).as_deref(), Some(yours));
    assert_eq!(by_lines(b"a\n\xff\nb\n", b"A\n\xff\nb\n", b"a\n\xff\nB\n"), None, "not text");
    let long = "x\n".repeat(10_001);
    assert_eq!(lines(&long, &long, &long), None, "too long to merge in time");
}

#[test]
fn the_worst_case_takes_its_time_and_no_more() {
    let text = |seed: u64| (0..10_000).map(|line| format!("{}\n", (line * 7919 + seed) % 97)).collect::<String>();
    let began = std::time::Instant::now();
    let _ = lines(&text(1), &text(2), &text(3));
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
}

/// A text of numbered lines, each unique by its side's letter.
fn edited(base: Vec<String>, edits: Vec<(usize, u8)>, side: char) -> String {
    let mut lines = base;
    for (number, (at, what)) in edits.into_iter().enumerate() {
        let at = at % (lines.len() + 1);
        let new = format!("{side}{number}\n");
        match what % 3 {
            0 => lines.insert(at, new),
            1 if at < lines.len() => lines[at] = new,
            _ if at < lines.len() => {
                lines.remove(at);
            }
            _ => {}
        }
    }
    lines.concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn a_clean_merge_has_every_line_that_either_added_and_none_that_either_removed(
        length in 0usize..14,
        theirs in prop::collection::vec((0usize..20, any::<u8>()), 0..5),
        yours in prop::collection::vec((0usize..20, any::<u8>()), 0..5),
    ) {
        let base: Vec<String> = (0..length).map(|line| format!("base {line}\n")).collect();
        let (theirs, yours) = (edited(base.clone(), theirs, 't'), edited(base.clone(), yours, 'y'));
        if let Some(merged) = lines(&base.concat(), &theirs, &yours) {
            let has = |text: &str, line: &str| text.lines().any(|other| other == line);
            for line in theirs.lines().chain(yours.lines()).filter(|line| !line.starts_with("base")) {
                prop_assert!(has(&merged, line), "{line} is lost in {merged:?} of {theirs:?} and {yours:?}");
            }
            for line in base.iter().map(|line| line.trim_end()) {
                let kept = has(&theirs, line) && has(&yours, line);
                prop_assert_eq!(has(&merged, line), kept, "{} in {:?} of {:?} and {:?}", line, merged, theirs, yours);
            }
        }
    }
}
