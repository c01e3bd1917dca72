//! Two contents that came from one, made one again.
//!
//! Keeps true: what either side added is in the result, or there is no result.

use crate::limits::{DOCUMENT_MAX, MERGE_LINES_MAX};

/// `theirs` and then what `yours` added, if both only appended to `base`. Nothing at all (`base` is `None`) counts as
/// empty where both are text: so two that begin a file of notes at once both get their line in.
pub(super) fn appended(base: Option<&[u8]>, theirs: &[u8], yours: &[u8]) -> Option<Vec<u8>> {
    let text = |bytes| std::str::from_utf8(bytes).is_ok();
    if base.is_none_or(<[u8]>::is_empty) && !(text(theirs) && text(yours)) {
        return None;
    }
    let base = base.unwrap_or_default();
    let added = yours.strip_prefix(base)?;
    let both = theirs.starts_with(base).then(|| [theirs, added].concat())?;
    (both.len() <= DOCUMENT_MAX).then_some(both)
}

/// A three-way merge by lines, of UTF-8 only; `None` if it has conflicts or would take too long.
pub(super) fn by_lines(base: &[u8], theirs: &[u8], yours: &[u8]) -> Option<Vec<u8>> {
    let text = |bytes| {
        let text = std::str::from_utf8(bytes).ok()?;
        (text.lines().count() <= MERGE_LINES_MAX).then_some(text)
    };
    let (base, theirs, yours) = (text(base)?, text(theirs)?, text(yours)?);
    let merged = diffy::merge(base, theirs, yours).ok()?;
    (merged.len() <= DOCUMENT_MAX).then(|| merged.into_bytes())
}
