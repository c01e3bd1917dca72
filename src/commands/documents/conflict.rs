//! What a stale write met, for people and for programs.
//!
//! Contents are whatever somebody stored: control characters are shown, not sent to the terminal.

use api::wire::document::{DocumentConflict, DocumentText, WriteDocumentQuery};
use vfs_core::Kind;

use crate::exit::Failure;
use crate::print::{self, Colour, Printer};

/// Lines of each difference that are shown: what is longer is looked at with `esker doc get --version`.
const LINES_MAX: usize = 40;

/// Shows base, theirs and yours, and says in one line what happened. Programs get them as one JSON value.
pub(crate) fn failure(printer: Printer, query: &WriteDocumentQuery, conflict: &DocumentConflict) -> Failure {
    if printer.is_json() {
        if let Err(failure) = printer.line(&print::json_line(&serde_json::json!({ "conflict": conflict }))) {
            return failure;
        }
    } else {
        show(printer, "theirs", conflict.base.as_ref(), &conflict.theirs);
        show(printer, "yours", conflict.base.as_ref(), &conflict.yours);
    }
    let document = print::visible(format!("{}:{}", query.scope, query.path).as_bytes());
    let head = conflict.theirs.version;
    let kept = match conflict.yours.version {
        0 => format!("nothing was written; look at it and try again with --if-version {head}"),
        side => format!("yours is kept as side version {side}"),
    };
    Failure::new(Kind::Conflict, format!("{document} has version {head} now: {kept}"))
}

fn show(printer: Printer, whose: &str, base: Option<&DocumentText>, side: &DocumentText) {
    let version = if side.version == 0 { String::new() } else { format!(" (version {})", side.version) };
    let since = base.map_or("there was nothing".to_owned(), |base| format!("changed since version {}", base.version));
    printer.remark(&format!("{whose}{version}, {since}:"));
    let lines = differences(base, side);
    for line in lines.iter().take(LINES_MAX) {
        let shown = print::visible(line.as_bytes());
        let colour = match line.as_bytes().first() {
            Some(b'+') => Some(Colour::Green),
            Some(b'-') => Some(Colour::Red),
            _ => None,
        };
        let shown = colour.map_or(shown.clone(), |colour| printer.colour(colour, &shown));
        printer.remark(&format!("  {shown}"));
    }
    if lines.len() > LINES_MAX {
        printer.remark(&format!("  … {} more lines", lines.len() - LINES_MAX));
    }
}

/// The lines of a unified diff without its head.
fn differences(base: Option<&DocumentText>, side: &DocumentText) -> Vec<String> {
    if side.deleted {
        return vec!["deleted".to_owned()];
    }
    let bytes = |text: &DocumentText| text.hex.as_ref().map_or(text.text.len(), |hex| hex.len() / 2);
    if side.hex.is_some() || base.is_some_and(|base| base.hex.is_some()) {
        return vec![format!("{}, not text", print::size(bytes(side) as u64))];
    }
    let patch = diffy::create_patch(base.map_or("", |base| base.text.as_str()), &side.text).to_string();
    patch.lines().skip(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> DocumentText {
        DocumentText { version: 1, deleted: false, text: text.into(), hex: None }
    }

    #[test]
    fn sides_are_shown_as_differences() {
        assert_eq!(differences(Some(&text("a\nb\n")), &text("a\nc\n")), ["@@ -1,2 +1,2 @@", " a", "-b", "+c"]);
        assert_eq!(differences(None, &text("a\n")), ["@@ -0,0 +1 @@", "+a"]);
        assert_eq!(differences(None, &DocumentText { deleted: true, ..text("") }), ["deleted"]);
        let bytes = DocumentText { hex: Some("ff00".into()), ..text("\u{fffd}\0") };
        assert_eq!(differences(Some(&text("a")), &bytes), ["2 B, not text"]);
        assert_eq!(differences(Some(&bytes), &text("abc")), ["3 B, not text"]);
    }
}
