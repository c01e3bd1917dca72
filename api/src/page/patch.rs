//! Two texts, compared line by line, as a unified diff.
//!
//! Keeps true: bounded. Comparing takes time with the product of the lines that may differ, so those are counted before
//! (what is the same at the start and at the end costs nothing); what does not fit is said, never left out silently.

use diffy::{DiffOptions, Line};
use maud::{Markup, html};

use super::text::{count, many, shown_line};
use crate::limits::{PAGE_DIFF_LINES, PAGE_DIFF_WORK};

/// Lines around a difference.
const CONTEXT: usize = 3;

/// What one page may still spend.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// Lines shown.
    lines: usize,
    /// Lines compared.
    work: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { lines: PAGE_DIFF_LINES, work: PAGE_DIFF_WORK }
    }
}

/// What a comparison came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// One side is not text.
    Binary,
    /// The texts are too long and too different to compare on this page.
    TooDifferent,
    /// The same text.
    Same,
    /// Where they differ.
    Lines(Vec<Row>),
}

/// One row of a unified diff.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// A gap before what follows, and where that is in both texts.
    Gap(usize, usize),
    /// The same in both, with its numbers.
    Same(usize, usize, String),
    /// Only in the later one.
    Added(usize, String),
    /// Only in the earlier one.
    Removed(usize, String),
    /// The line before has no end.
    NoEnd,
    /// So many rows do not fit on the page.
    Rest(usize),
}

/// Text, or nothing if it is none: UTF-8 without NUL.
pub(super) fn as_text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

/// Compares two contents, away from the threads that serve.
pub(super) async fn compare(before: Vec<u8>, after: Vec<u8>, budget: &mut Budget) -> Compared {
    let given = *budget;
    let work = move || {
        let mut budget = given;
        let compared = compare_now(&before, &after, &mut budget);
        (compared, budget)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok((compared, left)) => {
            *budget = left;
            compared
        }
        Err(_) => Compared::TooDifferent,
    }
}

fn compare_now(before: &[u8], after: &[u8], budget: &mut Budget) -> Compared {
    let (Some(before), Some(after)) = (as_text(before), as_text(after)) else { return Compared::Binary };
    if before == after {
        return Compared::Same;
    }
    let differing = differing_lines(before, after);
    if differing > budget.work || budget.lines == 0 {
        return Compared::TooDifferent;
    }
    budget.work -= differing;
    let mut rows = rows(before, after);
    let left_out = rows.len().saturating_sub(budget.lines);
    rows.truncate(budget.lines);
    budget.lines -= rows.len();
    if left_out > 0 {
        rows.push(Row::Rest(left_out));
    }
    Compared::Lines(rows)
}

/// Lines of both texts between the first and the last that differ.
fn differing_lines(before: &str, after: &str) -> usize {
    let (before, after): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let shorter = before.len().min(after.len());
    let start = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let ends = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
    let end = ends.min(shorter - start);
    before.len() + after.len() - 2 * (start + end)
}

fn rows(before: &str, after: &str) -> Vec<Row> {
    let mut options = DiffOptions::new();
    options.set_context_len(CONTEXT);
    let patch = options.create_patch(before, after);
    let mut rows = Vec::new();
    for hunk in patch.hunks() {
        let (mut old, mut new) = (hunk.old_range().start(), hunk.new_range().start());
        rows.push(Row::Gap(old, new));
        for line in hunk.lines() {
            let (Line::Context(text) | Line::Delete(text) | Line::Insert(text)) = line;
            let bare = text.strip_suffix('\n').unwrap_or(text).to_owned();
            rows.push(match line {
                Line::Context(_) => Row::Same(old, new, bare),
                Line::Delete(_) => Row::Removed(old, bare),
                Line::Insert(_) => Row::Added(new, bare),
            });
            old += usize::from(!matches!(line, Line::Insert(_)));
            new += usize::from(!matches!(line, Line::Delete(_)));
            if !text.ends_with('\n') {
                rows.push(Row::NoEnd);
            }
        }
    }
    rows
}

impl Compared {
    /// As it is shown.
    pub(super) fn shown(&self) -> Markup {
        match self {
            Compared::Binary => html! { p.note { "Not text." } },
            Compared::TooDifferent => html! { p.note { "Too much differs to compare it line by line here." } },
            Compared::Same => html! { p.note { "The same content." } },
            Compared::Lines(rows) => html! {
                div.scroll { table.diff { tbody { @for row in rows { (shown_row(row)) } } } }
            },
        }
    }
}

fn shown_row(row: &Row) -> Markup {
    match row {
        Row::Gap(old, new) => html! { tr.gap { td {} td {} td {} td { "line " (old) " → " (new) } } },
        Row::Same(old, new, text) => {
            html! { tr { td.number { (old) } td.number { (new) } td.sign {} td { (shown_line(text)) } } }
        }
        Row::Added(new, text) => {
            html! { tr.added { td.number {} td.number { (new) } td.sign { "+" } td { (shown_line(text)) } } }
        }
        Row::Removed(old, text) => {
            html! { tr.removed { td.number { (old) } td.number {} td.sign { "−" } td { (shown_line(text)) } } }
        }
        Row::NoEnd => html! { tr.gap { td {} td {} td {} td { "no newline at the end" } } },
        Row::Rest(left_out) => {
            let what = many(*left_out as u64, "row does", "rows do");
            html! { tr.gap { td {} td {} td {} td { (what) " not fit here (a page has " (count(PAGE_DIFF_LINES as u64)) ")" } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_carry_the_numbers_of_both_sides() {
        let before: String = (1..=20).map(|n| format!("{n}\n")).collect();
        let after = before.replace("10\n", "ten\nmore\n").replace("20\n", "20");
        let Compared::Lines(rows) = compare_now(before.as_bytes(), after.as_bytes(), &mut Budget::default()) else {
            panic!("no rows")
        };
        assert_eq!(rows[0], Row::Gap(7, 7));
        assert_eq!(rows[3], Row::Same(9, 9, "9".into()));
        assert_eq!(
            rows[4..7],
            [Row::Removed(10, "10".into()), Row::Added(10, "ten".into()), Row::Added(11, "more".into())]
        );
        assert_eq!(rows[7], Row::Same(11, 12, "11".into()));
        assert_eq!(rows.last(), Some(&Row::NoEnd));
    }

    #[test]
    fn what_cannot_be_compared_is_said() {
        let mut budget = Budget::default();
        assert_eq!(compare_now(b"a", b"\xff", &mut budget), Compared::Binary);
        assert_eq!(compare_now(b"a", b"\0", &mut budget), Compared::Binary);
        assert_eq!(compare_now(b"a", b"a", &mut budget), Compared::Same);
        let text = |start: usize| (start..start + PAGE_DIFF_WORK).map(|n| format!("{n}\n")).collect::<String>();
        let (one, other) = (text(0), text(1_000_000));
        assert_eq!(compare_now(one.as_bytes(), other.as_bytes(), &mut budget), Compared::TooDifferent);
        // Long, but with one difference only.
        let changed = one.replace("\n777\n", "\nseven\n");
        assert!(
            matches!(compare_now(one.as_bytes(), changed.as_bytes(), &mut budget), Compared::Lines(rows) if rows.len() == 9)
        );
    }

    #[test]
    fn a_page_holds_only_so_many_rows_and_says_how_many_it_left_out() {
        let text: String = (0..PAGE_DIFF_LINES + 9).map(|n| format!("{n}\n")).collect();
        let mut budget = Budget::default();
        let Compared::Lines(rows) = compare_now(b"", text.as_bytes(), &mut budget) else { panic!("no rows") };
        assert_eq!((rows.len(), rows.last()), (PAGE_DIFF_LINES + 1, Some(&Row::Rest(10))));
        assert_eq!(compare_now(b"", b"a", &mut budget), Compared::TooDifferent);
    }
}
