//! A name of one directory entry, validated once at the door.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::limits::NAME_MAX;

/// One to 255 bytes, no NUL, no `/`, neither `.` nor `..`. Need not be UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// Checks `bytes` and makes a name of them.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        Name::check(bytes)?;
        Ok(Name(bytes.into()))
    }

    /// Whether `bytes` may be a name; says why not.
    pub fn check(bytes: &[u8]) -> Result<()> {
        let invalid =
            |why| Err(Error::new(Kind::Invalid, format!("the name {:?} {why}", String::from_utf8_lossy(bytes))));
        match bytes {
            b"" => Err(Error::new(Kind::Invalid, "a name may not be empty")),
            b"." | b".." => invalid("is reserved"),
            _ if bytes.len() > NAME_MAX => Err(Error::new(
                Kind::NameTooLong,
                format!("a name has {} bytes; at most {NAME_MAX} are allowed", bytes.len()),
            )),
            _ if bytes.contains(&0) => invalid("holds a NUL byte"),
            _ if bytes.contains(&b'/') => invalid("holds a slash"),
            _ => Ok(()),
        }
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// A path inside a workspace: names from the root, which is the empty path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TreePath(Vec<Name>);

impl TreePath {
    /// Splits `a/b/c`; empty components and a leading or trailing slash are ignored, `.` and `..` are refused.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        bytes
            .split(|&byte| byte == b'/')
            .filter(|part| !part.is_empty())
            .map(Name::new)
            .collect::<Result<Vec<_>>>()
            .map(TreePath)
    }

    /// The names from the root.
    pub fn names(&self) -> &[Name] {
        &self.0
    }

    /// This path with one more name.
    pub fn join(&self, name: &Name) -> TreePath {
        let mut names = self.0.clone();
        names.push(name.clone());
        TreePath(names)
    }

    /// The bytes, names joined by `/`, without a leading slash.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().map(Name::as_bytes).collect::<Vec<_>>().join(&b'/')
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.to_bytes()).fmt(f)
    }
}
