//! What somebody wrote, as text that does nothing: characters that steer a terminal or a reader's eye are shown as escapes,
//! bytes that are not UTF-8 as hexadecimal.
//!
//! [`visible`] is for titles (plain text), [`shown`] for everything else (escapes stand out, so that a name which only
//! looks like one can be told from it). Neither is for attributes: those hold our own words and URLs.

use maud::{Markup, html};

use crate::limits::PAGE_LINE_CHARS;
use crate::show;
pub(super) use crate::show::{count, many, short, size};
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
    let text = show::moment(time.into());
    html! { time datetime=(text.replace(' ', "T")) { (text.trim_end_matches('Z')) } }
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
}
