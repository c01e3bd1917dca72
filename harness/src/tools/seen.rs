//! What the session has read: which version of which file, and which lines.
//!
//! It is rebuilt from the log, where each result carries what it adds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What later calls must know of a call.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Detail {
    /// Files whose content the model knows now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) seen: Vec<Note>,
    /// The current directory from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<String>,
}

/// One file that the model knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// Its path, as it is shown.
    pub(super) path: String,
    /// Its ETag, or scope and version of the document.
    pub(super) tag: String,
    /// Digest of its content; empty if that was not read whole.
    pub(super) digest: String,
    /// The lines that were read: first and how many (0: to the end). None if the model wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lines: Option<(u64, u64)>,
}

impl Note {
    /// A detail that says only this.
    pub(super) fn detail(self) -> serde_json::Value {
        to_value(&Detail { seen: vec![self], current: None })
    }
}

/// A detail as a result carries it.
pub(super) fn to_value(detail: &Detail) -> serde_json::Value {
    serde_json::to_value(detail).expect("because a detail is plain data")
}

/// Everything that the model knows.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<String, Known>);

#[derive(Debug)]
pub(super) struct Known {
    pub(super) tag: String,
    pub(super) digest: String,
    lines: Vec<(u64, u64)>,
}

impl Seen {
    /// Adds what a call has shown.
    pub(super) fn take(&mut self, note: Note) {
        let old = self.0.remove(&note.path).filter(|old| old.tag == note.tag && note.lines.is_some());
        let mut known = Known { tag: note.tag, digest: note.digest, lines: Vec::new() };
        if let Some(old) = old {
            known.lines = old.lines;
            if known.digest.is_empty() {
                known.digest = old.digest;
            }
        }
        known.lines.extend(note.lines.filter(|lines| !known.lines.contains(lines)));
        self.0.insert(note.path, known);
    }

    /// What is known of a file.
    pub(super) fn get(&self, path: &str) -> Option<&Known> {
        self.0.get(path)
    }

    /// Whether these lines of this version have been shown already.
    pub(super) fn has(&self, path: &str, tag: &str, lines: (u64, u64)) -> bool {
        self.0.get(path).is_some_and(|known| known.tag == tag && known.lines.contains(&lines))
    }
}
