//! What somebody wrote, as text that does nothing: characters that steer a terminal or a reader's eye are shown as escapes,
//! bytes that are not UTF-8 as hexadecimal.
//!
//! [`visible`] is for titles (plain text), [`shown`] for everything else (escapes stand out, so that a name which only
//! looks like one can be told from it). Neither is for attributes: those hold our own words and URLs.

use maud::{Markup, html};

use crate::limits::PAGE_LINE_CHARS;
use crate::wire::Time;

/// A run of one kind.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'t> {
    Plain(&'t str),
    Escape(String),
}

/// Characters that change how others are shown, or that cannot be seen at all.
fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Takes bytes apart; with `tabs`, those stay.
fn pieces(bytes: &[u8], tabs: bool) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    for part in bytes.utf8_chunks() {
        let mut rest = part.valid();
        let odd = |letter: char| steers(letter) && !(tabs && letter == '\t');
        while let Some((at, letter)) = rest.char_indices().find(|(_, letter)| odd(*letter)) {
            pieces.push(Piece::Plain(&rest[..at]));
            pieces.push(Piece::Escape(letter.escape_default().to_string()));
            rest = &rest[at + letter.len_utf8()..];
        }
        pieces.push(Piece::Plain(rest));
        pieces.extend(part.invalid().iter().map(|byte| Piece::Escape(format!("\\x{byte:02x}"))));
    }
    pieces.retain(|piece| *piece != Piece::Plain(""));
    pieces
}

fn mark(pieces: &[Piece<'_>]) -> Markup {
    html! {
        @for piece in pieces {
            @match piece {
                Piece::Plain(text) => (text),
                Piece::Escape(text) => span.escape { (text) },
            }
        }
    }
}

/// Text for a title.
pub(super) fn visible(line: &str) -> String {
    let text = |piece: Piece<'_>| match piece {
        Piece::Plain(text) => text.to_owned(),
        Piece::Escape(text) => text,
    };
    pieces(line.as_bytes(), false).into_iter().map(text).collect()
}

/// Text of one line: a name, a message.
pub(super) fn shown(text: &str) -> Markup {
    mark(&pieces(text.as_bytes(), false))
}

/// A name or path as it travels: text, and its bytes in hexadecimal where it is not UTF-8.
pub(super) fn shown_name(text: &str, exact: Option<&str>) -> Markup {
    mark(&pieces(&bytes_of(text, exact), false))
}

/// The bytes of a name as it travels.
pub(super) fn bytes_of(text: &str, exact: Option<&str>) -> Vec<u8> {
    // Our own engine wrote it; if it were wrong, the text still is what it says.
    crate::wire::name::from_text(text, exact).unwrap_or_else(|_| text.as_bytes().to_vec())
}

/// One line of a text, without its end; a very long one is cut, and says so.
pub(super) fn shown_line(line: &str) -> Markup {
    match line.char_indices().nth(PAGE_LINE_CHARS) {
        None => mark(&pieces(line.as_bytes(), true)),
        Some((at, _)) => html! {
            (mark(&pieces(&line.as_bytes()[..at], true)))
            span.more { " … " (count(line.len() as u64 - at as u64)) " more bytes in this line" }
        },
    }
}

/// A text of several lines.
pub(super) fn shown_lines(text: &str) -> Markup {
    html! {
        @for (index, line) in text.lines().enumerate() {
            @if index > 0 { "\n" }
            (shown_line(line))
        }
    }
}

/// As much of a text as fits into so many bytes, and how many are left.
pub(super) fn cut(text: &str, most: usize) -> (&str, usize) {
    if text.len() <= most {
        return (text, 0);
    }
    let end = text.floor_char_boundary(most);
    (&text[..end], text.len() - end)
}

/// A moment in UTC: `2026-03-01 12:00:00`.
pub(super) fn moment(time: Time) -> Markup {
    let text = moment_text(time);
    html! { time datetime=(text.replace(' ', "T") + "Z") { (text) } }
}

fn moment_text(time: Time) -> String {
    let (days, seconds) = (time.seconds.div_euclid(86_400), time.seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// The Gregorian date of a number of days since 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// A size with a binary unit: `1.5 KiB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number with thousands apart: `12,345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 file`, `2 files`.
pub(super) fn many(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

/// The first digits of an id, enough for people.
pub(super) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_an_escape() {
        assert_eq!(visible("plain ä 日本 👩‍💻"), "plain ä 日本 👩‍💻");
        assert_eq!(visible("a\u{202e}txt.exe"), "a\\u{202e}txt.exe");
        assert_eq!(visible("a\r\n\0\t\u{1b}[0m"), "a\\r\\n\\u{0}\\t\\u{1b}[0m");
        assert_eq!(shown("a\u{2066}<b>").into_string(), "a<span class=\"escape\">\\u{2066}</span>&lt;b&gt;");
        assert_eq!(shown_name("?", Some("61ff3c")).into_string(), "a<span class=\"escape\">\\xff</span>&lt;");
        assert_eq!(shown_line("a\tb\r").into_string(), "a\tb<span class=\"escape\">\\r</span>");
    }

    #[test]
    fn long_lines_are_cut_and_say_so() {
        let line = shown_line(&"ä".repeat(PAGE_LINE_CHARS + 2)).into_string();
        assert!(line.contains("4 more bytes in this line") && line.len() < PAGE_LINE_CHARS * 2 + 100);
        assert_eq!(cut("aä", 2), ("a", 2));
        assert_eq!(cut("aä", 3), ("aä", 0));
    }

    #[test]
    fn moments_are_dates() {
        let at = |seconds| moment_text(Time { seconds, nanos: 0 });
        assert_eq!(at(951_827_696), "2000-02-29 12:34:56");
        assert_eq!(at(-1), "1969-12-31 23:59:59");
        at(i64::MAX);
        at(i64::MIN);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!((size(1023), size(1536), size(u64::MAX)), ("1023 B".into(), "1.5 KiB".into(), "16.0 EiB".into()));
        assert_eq!((many(1, "file", "files"), many(1_234, "file", "files")), ("1 file".into(), "1,234 files".into()));
    }
}
