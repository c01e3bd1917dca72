//! What the user sees: compact lines for people, one JSON value (or one a line) for programs.
//!
//! Results go to standard output, everything else to standard error. A reader that goes away (`| head`) ends the
//! output, it is no error.

use std::io::{self, IsTerminal, Write};

pub(crate) use api::show::{count, moment, short, size};
use serde::Serialize;

use crate::exit::{Failure, Outcome};

/// Where results go, and in which shape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    json: bool,
    colour: bool,
}

/// The few colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// Added, present.
    Green,
    /// Removed, missing.
    Red,
    /// Changed, limited.
    Yellow,
}

impl Printer {
    /// For people, or with `json` for programs.
    pub(crate) fn new(json: bool) -> Printer {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Printer { json, colour: !json && wanted && io::stdout().is_terminal() }
    }

    /// Whether programs read the output.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// One result: as JSON, or as `text` says.
    pub(crate) fn result<T: Serialize>(self, value: &T, text: impl FnOnce() -> String) -> Outcome {
        if self.json {
            return self.line(&json_line(value));
        }
        match text() {
            text if text.is_empty() => Ok(()),
            text => self.line(text.trim_end_matches('\n')),
        }
    }

    /// One line of text.
    pub(crate) fn line(self, line: &str) -> Outcome {
        self.bytes(&[line.as_bytes(), b"\n"].concat())
    }

    /// Raw bytes.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Outcome {
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            written => Ok(written.map_err(|error| vfs_core::Error::io("cannot write to standard output", error))?),
        }
    }

    /// A remark for people, on standard error; programs do not get it.
    pub(crate) fn remark(self, line: &str) {
        if !self.json {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    /// Something the user should know, on standard error.
    pub(crate) fn warning(self, line: &str) {
        let line = if self.json {
            json_line(&serde_json::json!({ "warning": line }))
        } else {
            format!("esker: warning: {line}")
        };
        let _ = writeln!(io::stderr(), "{line}");
    }

    /// Why the command failed: one line, or the error shape of the API.
    pub(crate) fn failure(self, failure: &Failure) {
        let line = if self.json {
            let error = serde_json::json!({ "kind": failure.kind().as_str(), "message": failure.line() });
            json_line(&serde_json::json!({ "error": error }))
        } else {
            format!("esker: {}", failure.line())
        };
        let _ = writeln!(io::stderr(), "{line}");
    }

    /// `text` in a colour, if colours are wanted.
    pub(crate) fn colour(self, colour: Colour, text: &str) -> String {
        let number = match colour {
            Colour::Green => 32,
            Colour::Red => 31,
            Colour::Yellow => 33,
        };
        if self.colour { format!("\x1b[{number}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// One line of JSON.
pub(crate) fn json_line<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("because what is printed has string keys only")
}

/// Rows in columns, two spaces apart; the last column is not padded.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let padding = " ".repeat(widths[column] - cell.chars().count());
            line.push_str(cell);
            line.push_str(&padding);
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Bytes of a name or path for a person: control characters are escaped, so that a name cannot steer a terminal.
pub(crate) fn visible(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    if !text.chars().any(char::is_control) {
        return text.into_owned();
    }
    text.chars()
        .map(|letter| if letter.is_control() { letter.escape_default().to_string() } else { letter.into() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align() {
        let rows = vec![vec!["a".to_owned(), "b".to_owned()], vec!["long".to_owned(), "c".to_owned()]];
        assert_eq!(table(&rows), "a     b\nlong  c\n");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(visible(b"plain \xc3\xa4"), "plain ä");
        assert_eq!(visible(b"\x1b[31m\n"), "\\u{1b}[31m\\n");
        assert!(visible(b"\xff").contains('\u{fffd}'));
    }
}
