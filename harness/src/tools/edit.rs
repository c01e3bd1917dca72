//! Edit: exact replacement of text in a file or document that was read.

use serde_json::Value;
use vfs_core::Result;

use super::limits::EDIT_BYTES_MAX;
use super::shelf::{Look, Stored, digest};
use super::write::{Before, May, WritePlan, refusal, unknown, written};
use super::{Request, Toolbox, texts};
use crate::call::{Plan, ToolResult};
use crate::routes::Place;

/// A replacement that fits a file.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    /// The text as the file has it: with its line ends and its quotation marks.
    old: String,
    new: String,
    /// The whole file after it.
    content: Vec<u8>,
}

impl Toolbox {
    pub(super) async fn plan_edit(&mut self, request: &Request<'_>) -> Result<Plan> {
        let refused = |text: String| Ok(Plan::Answer(ToolResult::error(text)));
        let path = request.text("file_path");
        let (place, absolute) = self.place(path);
        if request.text("old_string") == request.text("new_string") {
            return refused(texts::refused("No changes to make: old_string and new_string are exactly the same."));
        }
        match self.look(&place).await? {
            Look::Directory => {
                let line = "Error calling tool (Edit): EISDIR: illegal operation on a directory, read";
                return refused(texts::refused(line));
            }
            Look::File { size, .. } if size > EDIT_BYTES_MAX => {
                return refused(texts::refused(&format!("{path} is too large to edit ({size} bytes).")));
            }
            _ => {}
        }
        if let Some(text) = refusal(&place, path) {
            return refused(text);
        }
        if request.text("old_string").is_empty() {
            return self.plan_fill(request, &place).await;
        }
        let basis = match self.may_write(&place, &absolute).await? {
            May::Yes(Some(basis)) => basis,
            May::Yes(None) => return refused(texts::refused(&texts::missing(&self.current))),
            May::No(text) => return refused(text),
        };
        let Some((tag, content)) = self.content(&place).await?.filter(|(tag, _)| *tag == basis) else {
            return refused(texts::modified());
        };
        match change(&content, request) {
            Ok(change) => Ok(WritePlan { basis: Some(tag), expect: digest(&change.content) }.to_plan()),
            Err(text) => refused(text),
        }
    }

    /// Without a text to find, a file is created or an empty one filled.
    async fn plan_fill(&self, request: &Request<'_>, place: &Place) -> Result<Plan> {
        let basis = match self.content(place).await? {
            None => None,
            Some((tag, content)) if content.is_empty() => Some(tag),
            Some(_) => {
                let text = texts::refused("Cannot create new file - file already exists.");
                return Ok(Plan::Answer(ToolResult::error(text)));
            }
        };
        Ok(WritePlan { basis, expect: digest(request.text("new_string").as_bytes()) }.to_plan())
    }

    pub(super) async fn edit(&mut self, request: &Request<'_>, plan: &Value) -> Result<ToolResult> {
        let plan = WritePlan::from_value(plan)?;
        let path = request.text("file_path");
        let (place, absolute) = self.place(path);
        let tag = match self.apply(request, &place, &plan).await? {
            Stored::Done(tag) => tag,
            Stored::Stale => return Ok(ToolResult::error(texts::modified())),
            Stored::Refused(text) => return Ok(ToolResult::error(text)),
        };
        Ok(written(&place, absolute, tag, plan.expect, success(request, path)))
    }

    async fn apply(&self, request: &Request<'_>, place: &Place, plan: &WritePlan) -> Result<Stored> {
        let id = &request.call.id;
        let (Some(basis), false) = (&plan.basis, request.text("old_string").is_empty()) else {
            let content = request.text("new_string").to_owned().into_bytes();
            return self.store(id, place, plan.basis.as_deref(), content.into()).await;
        };
        let Some((tag, content)) = self.content(place).await? else { return Ok(Stored::Stale) };
        let change = match change(&content, request) {
            Ok(change) if tag == *basis && digest(&change.content) == plan.expect => change,
            _ => return Ok(Stored::Stale),
        };
        match place {
            Place::Workspace(path) => self.replace(path, basis, &change.old, &change.new, is_all(request)).await,
            place => self.store(id, place, Some(basis), change.content.into()).await,
        }
    }

    pub(super) async fn recover_edit(&mut self, request: &Request<'_>, plan: &Value) -> Result<ToolResult> {
        let parsed = WritePlan::from_value(plan)?;
        let path = request.text("file_path");
        let (place, absolute) = self.place(path);
        match self.before(&request.call.id, &place, &parsed).await? {
            Before::NotDone => self.edit(request, plan).await,
            Before::Done(tag) => Ok(written(&place, absolute, tag, parsed.expect, success(request, path))),
            Before::Unknown => Ok(unknown(&place, path)),
        }
    }
}

fn is_all(request: &Request<'_>) -> bool {
    request.flag("replace_all").unwrap_or(false)
}

fn success(request: &Request<'_>, path: &str) -> String {
    if is_all(request) { texts::replaced_all(path) } else { texts::updated(path) }
}

/// Works out a replacement, or what the model is told.
fn change(content: &[u8], request: &Request<'_>) -> Result<Change, String> {
    let (old, new) = (request.text("old_string"), request.text("new_string"));
    let Some((old, new)) = fit(content, old, new) else {
        return Err(texts::refused(&format!("String to replace not found in file.\nString: {old}")));
    };
    let places = positions(content, old.as_bytes());
    if places.len() > 1 && !is_all(request) {
        return Err(texts::refused(&format!(
            "Found {} matches of the string to replace, but replace_all is false. To replace all occurrences, set replace_all to true. To replace only one occurrence, please provide more context to uniquely identify the instance.\nString: {}",
            places.len(),
            request.text("old_string"),
        )));
    }
    let mut after = Vec::with_capacity(content.len());
    let mut at = 0;
    for place in places {
        after.extend_from_slice(&content[at..place]);
        after.extend_from_slice(new.as_bytes());
        at = place + old.len();
    }
    after.extend_from_slice(&content[at..]);
    Ok(Change { old, new, content: after })
}

/// The strings as the file would have them: as they are, with its line ends, or with its quotation marks.
fn fit(content: &[u8], old: &str, new: &str) -> Option<(String, String)> {
    if contains(content, old) {
        return Some((old.to_owned(), new.to_owned()));
    }
    let carriage = |text: &str| text.replace("\r\n", "\n").replace('\n', "\r\n");
    if old.contains('\n') && contains(content, &carriage(old)) {
        return Some((carriage(old), carriage(new)));
    }
    let found = with_quotes_of(std::str::from_utf8(content).ok()?, old)?;
    let curly = |text: &str| text.contains(['“', '”', '‘', '’']);
    let new = if curly(&found) { curl(new, &found) } else { new.to_owned() };
    Some((found, new))
}

fn contains(content: &[u8], text: &str) -> bool {
    !positions(content, text.as_bytes()).is_empty()
}

/// Where a text begins, without overlaps.
fn positions(content: &[u8], text: &[u8]) -> Vec<usize> {
    let (mut places, mut at) = (Vec::new(), 0);
    while !text.is_empty() && at + text.len() <= content.len() {
        // Skips to the next place where the first byte fits.
        let Some(next) = content[at..=content.len() - text.len()].iter().position(|byte| *byte == text[0]) else {
            break;
        };
        at += next;
        if content[at..].starts_with(text) {
            places.push(at);
            at += text.len();
        } else {
            at += 1;
        }
    }
    places
}

fn straight(character: char) -> char {
    match character {
        '“' | '”' => '"',
        '‘' | '’' => '\'',
        other => other,
    }
}

/// The part of the file that is the same but for curly quotation marks.
fn with_quotes_of(content: &str, old: &str) -> Option<String> {
    let plain: String = content.chars().map(straight).collect();
    let wanted: String = old.chars().map(straight).collect();
    let at = plain.find(&wanted)?;
    let before = plain[..at].chars().count();
    let found: String = content.chars().skip(before).take(wanted.chars().count()).collect();
    (found != old).then_some(found)
}

/// Straight quotation marks become curly where the replaced text had them.
fn curl(text: &str, like: &str) -> String {
    let (double, single) = (like.contains(['“', '”']), like.contains(['‘', '’']));
    let mut before = ' ';
    let mut curled = String::new();
    for character in text.chars() {
        let opens = before.is_whitespace() || "([{-—".contains(before);
        curled.push(match character {
            '"' if double => {
                if opens {
                    '“'
                } else {
                    '”'
                }
            }
            '\'' if single => {
                if opens {
                    '‘'
                } else {
                    '’'
                }
            }
            other => other,
        });
        before = character;
    }
    curled
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::call::ToolCall;

    fn edited(content: &str, old: &str, new: &str, all: bool) -> Result<String, String> {
        let call = ToolCall { id: "c".into(), name: "Edit".into(), input: None };
        let input = json!({"old_string": old, "new_string": new, "replace_all": all});
        let request = Request { call: &call, input: input.as_object().unwrap().clone() };
        change(content.as_bytes(), &request).map(|change| String::from_utf8(change.content).unwrap())
    }

    #[test]
    fn texts_are_replaced_exactly() {
        assert_eq!(edited("a b c", "b", "x", false).unwrap(), "a x c");
        assert_eq!(edited("b b b", "b", "", true).unwrap(), "  ");
        assert_eq!(edited("aaa", "aa", "b", true).unwrap(), "ba");
        assert_eq!(edited("a\r\nb\r\n", "a\nb", "x\ny", false).unwrap(), "x\r\ny\r\n");
        assert_eq!(edited("say “hi” now", "say \"hi\"", "say \"yo\"", false).unwrap(), "say “yo” now");
        assert_eq!(edited("it’s", "it's", "that's", false).unwrap(), "that’s");
        assert_eq!(
            edited("x\ny", "no\npe", "z", false).unwrap_err(),
            "<tool_use_error>String to replace not found in file.\nString: no\npe</tool_use_error>"
        );
        assert!(
            edited("foo foo", "foo", "z", false)
                .unwrap_err()
                .starts_with("<tool_use_error>Found 2 matches of the string to replace, but replace_all is false.")
        );
        assert!(edited("", "foo", "z", false).is_err());
    }

    #[test]
    fn long_texts_are_searched_quickly() {
        let content = "ab".repeat(1_000_000);
        assert_eq!(positions(content.as_bytes(), b"ba").len(), 999_999);
        assert!(positions(b"aaa", b"aaaa").is_empty() && positions(b"", b"a").is_empty());
    }
}
