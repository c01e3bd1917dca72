//! `esker ls` and `esker cat`: directories and files of any state, without a mount.

use std::io::IsTerminal;

use api::wire::name::from_text;
use api::wire::snapshot::Entry;
use futures::StreamExt;
use vfs_core::Kind;
use vfs_core::name::TreePath;

use crate::address::Address;
use crate::cli::{Cat, Ls};
use crate::context::{self, Context};
use crate::exit::{Failure, Outcome};
use crate::print::{self, Printer, json_line};

/// Entries that are asked for at a time.
const PAGE: u32 = 1_000;

/// Lists a directory; a large one page by page.
pub(crate) async fn ls(context: &Context, options: Ls) -> Outcome {
    let address = Address::parse(&options.source)?;
    let client = context.client().await?;
    let state = context::resolve(&client, &address.state, options.state.published).await?;
    let path = address.path.to_bytes();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = client.list(state.snapshot, &path, after.as_deref(), PAGE).await?;
        let shown =
            if page.node.kind == "directory" { page.entries.as_slice() } else { std::slice::from_ref(&page.node) };
        show(context.printer, shown)?;
        match page.entries.last().filter(|_| page.more) {
            Some(last) => after = Some(from_text(&last.name, last.name_hex.as_deref())?),
            None => return Ok(()),
        }
    }
}

/// A page: one JSON value a line, or columns.
fn show(printer: Printer, entries: &[Entry]) -> Outcome {
    if printer.is_json() {
        return entries.iter().try_for_each(|entry| printer.line(&json_line(entry)));
    }
    let raw = !std::io::stdout().is_terminal();
    let mut rows: Vec<Vec<u8>> = Vec::with_capacity(entries.len());
    let columns: Vec<[String; 4]> = entries.iter().map(columns).collect();
    let widths: [usize; 4] = std::array::from_fn(|at| columns.iter().map(|row| row[at].len()).max().unwrap_or(0));
    for (entry, columns) in entries.iter().zip(&columns) {
        let [mode, owner, size, time] = columns;
        let [_, owner_width, size_width, _] = widths;
        let mut row = format!("{mode}  {owner:<owner_width$}  {size:>size_width$}  {time}  ").into_bytes();
        row.extend(name(&entry.name, entry.name_hex.as_deref(), raw)?);
        if let Some(target) = &entry.target {
            row.extend_from_slice(b" -> ");
            row.extend(name(target, entry.target_hex.as_deref(), raw)?);
        }
        row.push(b'\n');
        rows.push(row);
    }
    printer.bytes(&rows.concat())
}

fn columns(entry: &Entry) -> [String; 4] {
    [
        api::show::mode(&entry.kind, entry.mode),
        format!("{}:{}", entry.uid, entry.gid),
        print::count(entry.size),
        print::moment(entry.mtime.into()),
    ]
}

/// The exact bytes for another program, something harmless for a terminal.
fn name(text: &str, exact: Option<&str>, raw: bool) -> Outcome<Vec<u8>> {
    let bytes = from_text(text, exact)?;
    Ok(if raw { bytes } else { print::visible(&bytes).into_bytes() })
}

/// Prints a file's bytes as they are.
pub(crate) async fn cat(context: &Context, options: Cat) -> Outcome {
    let address = Address::parse(&options.source)?;
    if address.path == TreePath::default() {
        let line = format!("{} names no file: write W:PATH", options.source.to_string_lossy());
        return Err(Failure::new(Kind::Invalid, line));
    }
    let client = context.client().await?;
    let state = context::resolve(&client, &address.state, options.state.published).await?;
    let mut content = client.content(state.snapshot, &address.path.to_bytes(), 0, None).await?;
    while let Some(piece) = content.next().await {
        context.printer.bytes(&piece?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact_for_programs_and_harmless_for_people() {
        assert_eq!(name("a\u{fffd}", Some("61ff"), true).unwrap(), b"a\xff");
        assert_eq!(name("\u{1b}[2J", None, false).unwrap(), b"\\u{1b}[2J");
    }
}
