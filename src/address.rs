//! `W[@SNAPSHOT][:PATH]`: how a command names a state, or a file in it.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use vfs_core::name::TreePath;
use vfs_core::{Error, Kind, Result};

/// A workspace, perhaps at a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateName {
    /// Name of the workspace.
    pub workspace: String,
    /// A snapshot id, its first digits, a tag or `HEAD`, as the engine resolves it; the live state if there is none.
    pub snapshot: Option<String>,
}

/// A path in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The state.
    pub state: StateName,
    /// The path; the root if none was given.
    pub path: TreePath,
}

impl StateName {
    /// Parses `W[@SNAPSHOT]`.
    pub(crate) fn parse(text: &OsStr) -> Result<StateName> {
        let text = text.to_str().ok_or_else(|| invalid(text, "the name of a workspace is UTF-8"))?;
        let (workspace, snapshot) = match text.split_once('@') {
            Some((workspace, snapshot)) => (workspace, Some(snapshot)),
            None => (text, None),
        };
        if workspace.is_empty() {
            return Err(invalid(OsStr::new(text), "it must start with the name of a workspace: W[@SNAPSHOT]"));
        }
        if snapshot.is_some_and(|name| name.is_empty() || !name.chars().all(is_of_a_name)) {
            return Err(invalid(OsStr::new(text), "after @ comes the id of a snapshot or a tag, see `esker log`"));
        }
        Ok(StateName { workspace: workspace.to_owned(), snapshot: snapshot.map(str::to_owned) })
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.snapshot {
            Some(snapshot) => write!(f, "{}@{snapshot}", self.workspace),
            None => f.write_str(&self.workspace),
        }
    }
}

impl Address {
    /// Parses `W[@SNAPSHOT][:PATH]`.
    pub(crate) fn parse(text: &OsStr) -> Result<Address> {
        let bytes = text.as_bytes();
        let (state, path) = match bytes.iter().position(|&byte| byte == b':') {
            Some(colon) => (&bytes[..colon], &bytes[colon + 1..]),
            None => (bytes, &b""[..]),
        };
        Ok(Address { state: StateName::parse(OsStr::from_bytes(state))?, path: TreePath::parse(path)? })
    }
}

/// What ids and tags are made of.
fn is_of_a_name(letter: char) -> bool {
    letter.is_alphanumeric() || "._-+".contains(letter)
}

fn invalid(text: &OsStr, why: &str) -> Error {
    Error::new(Kind::Invalid, format!("{:?} names no state: {why}", text.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<Address> {
        Address::parse(OsStr::from_bytes(text))
    }

    #[test]
    fn names_states_and_paths() {
        let plain = parse(b"w").unwrap();
        assert_eq!((plain.state.workspace.as_str(), plain.state.snapshot), ("w", None));
        let full = parse(b"w@ab12:/a:b/\xff").unwrap();
        assert_eq!(full.state, StateName { workspace: "w".into(), snapshot: Some("ab12".into()) });
        assert_eq!(full.path.to_bytes(), b"a:b/\xff");
        assert_eq!(parse(b"w:").unwrap().path, TreePath::default());
    }

    #[test]
    fn refuses_what_names_nothing() {
        let long = [b"w:".as_slice(), &[b'a'; 300]].concat();
        let bad: [&[u8]; 8] = [b"", b"@12", b":a", b"w@", b"w@x y", b"w@12@3", b"w:a/../b", b"\xff:a"];
        for text in bad {
            assert_eq!(parse(text).unwrap_err().kind(), Kind::Invalid, "{:?}", String::from_utf8_lossy(text));
        }
        assert_eq!(parse(&long).unwrap_err().kind(), Kind::NameTooLong);
    }
}
