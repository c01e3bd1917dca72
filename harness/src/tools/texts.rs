//! What the model is told: the words that models were trained on (Claude Code), in one place.

use vfs_core::{Error, Kind};

use super::limits::PREVIEW_CHARACTERS;

/// An error from before a tool ran.
pub(crate) fn refused(text: &str) -> String {
    format!("<tool_use_error>{text}</tool_use_error>")
}

/// Something aside.
pub(crate) fn reminder(text: &str) -> String {
    format!("<system-reminder>{text}</system-reminder>")
}

pub(crate) fn missing(current: &str) -> String {
    format!("File does not exist. Note: your current working directory is {current}.")
}

pub(crate) fn no_directory(path: &str, current: &str) -> String {
    refused(&format!("Directory does not exist: {path}. Note: your current working directory is {current}."))
}

pub(crate) fn no_path(path: &str, current: &str) -> String {
    refused(&format!("Path does not exist: {path}. Note: your current working directory is {current}."))
}

pub(crate) fn is_directory(path: &str) -> String {
    format!("EISDIR: illegal operation on a directory, read '{path}'")
}

pub(crate) fn not_read() -> String {
    refused("File has not been read yet. Read it first before writing to it.")
}

pub(crate) fn modified() -> String {
    refused(
        "File has been modified since read, either by the user or by a linter. Read it again before attempting to write it.",
    )
}

const CURRENT: &str = "(file state is current in your context — no need to Read it back)";

pub(crate) fn created(path: &str) -> String {
    format!("File created successfully at: {path} {CURRENT}")
}

pub(crate) fn updated(path: &str) -> String {
    format!("The file {path} has been updated successfully. {CURRENT}")
}

pub(crate) fn replaced_all(path: &str) -> String {
    format!("The file {path} has been updated. All occurrences were successfully replaced. {CURRENT}")
}

/// A path that is none of the session's.
pub(crate) fn outside(path: &str) -> String {
    refused(&format!("{path} is not available here: files are in /workspace, documents in /skills and /memories."))
}

/// A document that this agent may not write.
pub(crate) fn denied(path: &str, why: &str, grants: &[String]) -> String {
    let may = match grants {
        [] => "it may not write documents at all".to_owned(),
        grants => format!("it may write documents of {} only", grants.join(", ")),
    };
    format!(
        "Permission denied: this agent may not write {path}: {why}. In this session {may}; a person can grant more."
    )
}

/// What became of a call is not known: the harness died while it ran.
pub(crate) fn unknown(what: &str) -> String {
    format!("Outcome unknown: the session was interrupted while this call ran. {what}")
}

/// An answer that went to a file.
pub(crate) fn persisted(text: &str, path: &str) -> String {
    let size = text.len() as f64 / 1024.0;
    let preview = preview(text);
    format!(
        "<persisted-output>\nOutput too large ({size:.1}KB). Full output saved to: {path}\n\nPreview (first 2KB):\n{preview}\n...\n</persisted-output>"
    )
}

/// The beginning of a text, up to a line's end if there is one.
fn preview(text: &str) -> &str {
    let end = text.char_indices().nth(PREVIEW_CHARACTERS).map_or(text.len(), |(at, _)| at);
    let head = &text[..end];
    match head.rfind('\n') {
        Some(line_end) if line_end > 0 => &head[..line_end],
        _ => head,
    }
}

/// A failure of this machine, not of the call: the session stops and can be resumed. What the kinds of other errors say
/// (not found, denied) would be taken for an answer to the model.
pub(crate) fn machine_failed(context: impl Into<String>, error: std::io::Error) -> Error {
    let full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
    Error::new(if full { Kind::NoSpace } else { Kind::Unavailable }, context).because(error)
}

/// Whether an error is something that the model can do otherwise. The rest stops the session.
pub(crate) fn is_models_business(error: &Error) -> bool {
    match error.kind() {
        Kind::NotFound
        | Kind::AlreadyExists
        | Kind::Conflict
        | Kind::Invalid
        | Kind::Denied
        | Kind::NotPermitted
        | Kind::LimitExceeded
        | Kind::NotEmpty
        | Kind::NotADirectory
        | Kind::IsADirectory
        | Kind::NameTooLong
        | Kind::TooLarge
        | Kind::QuotaExceeded
        | Kind::TooManyLinks
        | Kind::Unsupported => true,
        Kind::LeaseLost
        | Kind::NoAttribute
        | Kind::TooSmall
        | Kind::NoSpace
        | Kind::Busy
        | Kind::Stale
        | Kind::Unavailable
        | Kind::Corrupt
        | Kind::Internal => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_answer_is_shown_up_to_a_line() {
        let text: String = (1..=500).map(|number| format!("line {number}\n")).collect();
        let shown = persisted(&text, "/tool-results/x.txt");
        assert!(shown.starts_with("<persisted-output>\nOutput too large (4.3KB). Full output saved to: /tool-results/x.txt\n\nPreview (first 2KB):\nline 1\n"));
        assert!(shown.ends_with("\nline 234\n...\n</persisted-output>"), "{}", &shown[shown.len() - 60..]);
        assert!(persisted(&"é".repeat(40_000), "p").contains(&format!(":\n{}\n...", "é".repeat(2000))));
    }
}
