//! How documents are named: scopes, paths, and views, which are lists of scopes. Validated once, here.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind, Result};
use crate::limits::{DOCUMENT_PATH_MAX, NAME_MAX, SCOPES_MAX, WORKSPACE_NAME_MAX};

fn invalid(what: String) -> Error {
    Error::new(Kind::Invalid, what)
}

/// Whose a document is: `org`, `user/NAME` or `agent/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(String);

impl Scope {
    /// The scope that everybody shares.
    pub fn org() -> Scope {
        Scope("org".to_owned())
    }

    /// A person's.
    pub fn user(name: &str) -> Result<Scope> {
        format!("user/{name}").parse()
    }

    /// An agent's.
    pub fn agent(name: &str) -> Result<Scope> {
        format!("agent/{name}").parse()
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Scope> {
        let name = match text.split_once('/') {
            None if text == "org" => return Ok(Scope::org()),
            Some(("user" | "agent", name)) => name,
            _ => return Err(invalid(format!("{text:?} is no scope: write org, user/NAME or agent/NAME"))),
        };
        let allowed = |letter: char| letter.is_alphanumeric() || "._-+".contains(letter);
        let why = match name {
            "" => "has no name after the slash",
            _ if name.len() > WORKSPACE_NAME_MAX => "has a name of more than 100 bytes",
            _ if name.starts_with(['.', '-']) => "has a name that starts with a dot or a dash",
            _ if !name.chars().all(allowed) => "has a name with other than letters, digits and . _ - +",
            _ => return Ok(Scope(text.to_owned())),
        };
        Err(invalid(format!("the scope {text:?} {why}")))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The path of a document in its scope: segments joined by `/`, relative, UTF-8, without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentPath(String);

impl DocumentPath {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DocumentPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<DocumentPath> {
        let why = match text {
            "" => "is empty",
            _ if text.starts_with('/') => "begins with a slash: paths of documents are relative",
            _ if text.chars().any(char::is_control) => "holds a control character",
            _ if text.split('/').any(str::is_empty) => "has an empty segment",
            _ if text.split('/').any(|segment| matches!(segment, "." | "..")) => "has a segment . or ..",
            _ if text.len() > DOCUMENT_PATH_MAX => return Err(too_long(text, "has", text.len(), DOCUMENT_PATH_MAX)),
            _ => match text.split('/').find(|segment| segment.len() > NAME_MAX) {
                Some(long) => return Err(too_long(text, "has a segment of", long.len(), NAME_MAX)),
                None => return Ok(DocumentPath(text.to_owned())),
            },
        };
        Err(invalid(format!("the document path {text:?} {why}")))
    }
}

fn too_long(text: &str, what: &str, length: usize, most: usize) -> Error {
    let begin: String = text.chars().take(40).collect();
    let context = format!("the document path {begin:?}… {what} {length} bytes; at most {most} are allowed");
    Error::new(Kind::NameTooLong, context)
}

impl fmt::Display for DocumentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Scopes, nearest first: a path means the document of the nearest scope that has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct View(Vec<Scope>);

impl View {
    /// The scopes, nearest first.
    pub fn scopes(&self) -> &[Scope] {
        &self.0
    }

    /// Where a new document of this view goes: the nearest scope that may be written. `Denied` if none may.
    pub fn scope_for_new(&self, grants: &Grants) -> Result<&Scope> {
        self.0.iter().find(|scope| grants.allow(scope)).ok_or_else(|| {
            let context =
                format!("no scope of the view {self} may be written: ask a person to write, or to grant one of them");
            Error::new(Kind::Denied, context)
        })
    }
}

impl FromStr for View {
    type Err = Error;

    fn from_str(text: &str) -> Result<View> {
        let scopes = parse_list(text)?;
        match scopes.is_empty() {
            true => Err(invalid("a view needs at least one scope, such as agent/main,user/ana,org".to_owned())),
            false => Ok(View(scopes)),
        }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&join(&self.0))
    }
}

/// The scopes that a caller may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grants {
    /// All of them: a person.
    All,
    /// These.
    Only(Vec<Scope>),
}

impl Grants {
    /// A list with commas, perhaps an empty one; without any, all scopes.
    pub fn parse(list: Option<&str>) -> Result<Grants> {
        list.map_or(Ok(Grants::All), |list| parse_list(list).map(Grants::Only))
    }

    /// Whether a scope may be written.
    pub fn allow(&self, scope: &Scope) -> bool {
        match self {
            Grants::All => true,
            Grants::Only(scopes) => scopes.contains(scope),
        }
    }

    /// `Denied` if a scope may not be written; says how it could be.
    pub fn check(&self, scope: &Scope) -> Result<()> {
        match self {
            Grants::Only(scopes) if !scopes.contains(scope) => {
                let may = if scopes.is_empty() { "none".to_owned() } else { join(scopes) };
                let context = format!(
                    "{scope} may not be written here (granted: {may}): ask a person to write it with `esker doc put \
                     --scope {scope}`, or to grant the scope"
                );
                Err(Error::new(Kind::Denied, context))
            }
            _ => Ok(()),
        }
    }
}

fn parse_list(text: &str) -> Result<Vec<Scope>> {
    let mut scopes: Vec<Scope> = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let scope = part.parse()?;
        if scopes.contains(&scope) {
            return Err(invalid(format!("the scope {scope} is named twice")));
        }
        if scopes.len() == SCOPES_MAX {
            return Err(invalid(format!("more than {SCOPES_MAX} scopes are named")));
        }
        scopes.push(scope);
    }
    Ok(scopes)
}

fn join(scopes: &[Scope]) -> String {
    scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(",")
}
