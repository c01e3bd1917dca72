//! A snapshot: its directories, its files as text, everything as a download.

use axum::extract::State;
use axum::response::Response;
use futures::StreamExt;
use maud::{Markup, html};
use vfs_core::id::SnapshotId;
use vfs_core::{Error, Kind, Result};

use super::asked::{Asked, Path};
use super::frame::{self, PageResult, Part, Step, here, step};
use super::patch::as_text;
use super::text::{bytes_of, count, many, moment, short, shown, shown_line, shown_name, size};
use super::workspaces::session_link;
use super::{Page, links};
use crate::limits::{PAGE_ENTRIES, PAGE_FILE_BYTES};
use crate::show::mode;
use crate::wire::snapshot::{Entry, Listing, Snapshot};

/// A path of a snapshot as its URL names it.
pub(super) struct Place {
    /// The workspace's name.
    pub(super) workspace: String,
    /// The snapshot.
    pub(super) snapshot: SnapshotId,
    /// The path's bytes.
    pub(super) path: Vec<u8>,
}

impl Place {
    /// Finds a snapshot in the history of a workspace.
    pub(super) async fn find(page: &Page, workspace: &str, snapshot: &str, path: Vec<u8>) -> Result<Place> {
        let found = page.0.client.resolve(&format!("{workspace}@{snapshot}")).await?;
        Ok(Place { workspace: found.name, snapshot: found.snapshot, path })
    }

    fn child(&self, entry: &Entry) -> Vec<u8> {
        let name = bytes_of(&entry.name, entry.name_hex.as_deref());
        if self.path.is_empty() { name } else { [self.path.as_slice(), b"/", &name].concat() }
    }

    fn link(&self, path: &[u8]) -> String {
        links::path(&self.workspace, self.snapshot, path)
    }
}

/// A directory, a file, or what is known of something else.
pub(super) async fn look(
    State(page): State<Page>,
    Path((workspace, snapshot)): Path<(String, String)>,
    Asked(mut query): Asked,
) -> PageResult {
    let path = query.take("path").unwrap_or_default();
    let after = query.take("after");
    let start = query.take_text("start")?;
    let line = query.take_count("line", 1, u32::MAX)?;
    query.finish()?;
    let start = start.map_or(Ok(0), |text| text.parse());
    let start = start.map_err(|_| Error::new(Kind::Invalid, "`start` is no number of bytes"))?;
    let place = Place::find(&page, &workspace, &snapshot, trimmed(path)).await?;
    let listing = page.0.client.list(place.snapshot, &place.path, after.as_deref(), PAGE_ENTRIES as u32).await?;
    let body = match listing.node.kind.as_str() {
        "directory" => {
            let about = page.0.client.snapshot(place.snapshot).await?;
            directory(&place, &about, &listing, after.is_some())
        }
        "file" => file(&page, &place, &listing.node, start, line).await?,
        "symlink" => symlink(&listing.node),
        other => html! { p.note { "A " (shown(&other.replace('_', " "))) ", which has no content." } },
    };
    Ok(shown_at(&place, &listing.node, body))
}

/// A file to be saved.
pub(super) async fn download(
    State(page): State<Page>,
    Path((workspace, snapshot)): Path<(String, String)>,
    Asked(mut query): Asked,
) -> PageResult {
    let path = trimmed(query.take("path").unwrap_or_default());
    query.finish()?;
    let place = Place::find(&page, &workspace, &snapshot, path).await?;
    let content = page.0.client.content(place.snapshot, &place.path, 0, None).await?;
    Ok(frame::attachment(last_name(&place.path), content))
}

fn trimmed(mut path: Vec<u8>) -> Vec<u8> {
    while path.last() == Some(&b'/') {
        path.pop();
    }
    path
}

fn last_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// The bytes of a name as text for a title.
fn title_of(place: &Place) -> String {
    let name = String::from_utf8_lossy(last_name(&place.path)).into_owned();
    if name.is_empty() { format!("{} @ {}", place.workspace, short(&place.snapshot.to_string())) } else { name }
}

fn shown_at(place: &Place, node: &Entry, body: Markup) -> Response {
    let body = html! {
        div.heading {
            h1.path { @if place.path.is_empty() { (shown(&place.workspace)) } @else { (shown_bytes(last_name(&place.path))) } }
            span.quiet {
                span.mode { (mode(&node.kind, node.mode)) } " · " (node.uid) ":" (node.gid) " · changed " (moment(node.mtime)) " UTC"
                @if node.kind == "file" {
                    " · " (size(node.size)) " · "
                    a href=(links::download(&place.workspace, place.snapshot, &place.path)) { "download" }
                }
            }
        }
        (body)
    };
    frame::page(Part::Workspaces, &title_of(place), &way(place), body)
}

fn shown_bytes(name: &[u8]) -> Markup {
    let (text, exact) = crate::wire::name::to_text(name);
    shown_name(&text, exact.as_deref())
}

/// Workspaces / workspace / snapshot / each directory.
pub(super) fn way(place: &Place) -> Vec<Step> {
    let id = place.snapshot.to_string();
    let mut way = vec![
        step(html! { "Workspaces" }, links::HOME.to_owned()),
        step(shown(&place.workspace), links::workspace(&place.workspace)),
    ];
    let root = html! { span.id { (short(&id)) } };
    if place.path.is_empty() {
        way.push(here(root));
        return way;
    }
    way.push(step(root, links::state(&place.workspace, &id)));
    let mut end = 0;
    for name in place.path.split(|byte| *byte == b'/') {
        end += name.len();
        way.push(match end == place.path.len() {
            true => here(shown_bytes(name)),
            false => step(shown_bytes(name), place.link(&place.path[..end])),
        });
        end += 1;
    }
    way
}

fn directory(place: &Place, about: &Snapshot, listing: &Listing, is_later_page: bool) -> Markup {
    let last = listing.entries.last().filter(|_| listing.more);
    html! {
        @if place.path.is_empty() { (about_snapshot(place, about)) }
        @if listing.entries.is_empty() { p.note { @if is_later_page { "Nothing more." } @else { "An empty directory." } } }
        @else {
            div.scroll { table.list {
                thead { tr { th { "Name" } th.right { "Size" } th { "Mode" } th { "Changed (UTC)" } } }
                tbody { @for entry in &listing.entries { (entry_row(place, entry)) } }
            } }
        }
        @if let Some(last) = last {
            p.pages {
                @let after = crate::wire::name::to_query(&bytes_of(&last.name, last.name_hex.as_deref()));
                a href=(format!("{}&after={after}", place.link(&place.path))) { "More →" }
                span.quiet { " " (count(listing.entries.len() as u64)) " entries are shown" }
            }
        }
    }
}

fn about_snapshot(place: &Place, about: &Snapshot) -> Markup {
    html! {
        dl.facts {
            dt { "Snapshot" } dd.id { (about.id) }
            dt { "Made" } dd {
                (moment(about.time)) " UTC"
                @if !about.author.is_empty() { " by " (shown(&about.author)) }
                @if about.automatic { " " span.badge { "automatic" } }
            }
            @if !about.message.is_empty() { dt { "Message" } dd.message { (shown(&about.message)) } }
            @if !about.session.is_empty() { dt { "Session" } dd { (session_link(&about.session, &about.turn)) } }
            @for parent in &about.parents {
                dt { "Parent" }
                dd {
                    a.id href=(links::state(&place.workspace, parent)) { (short(&parent.to_string())) } " · "
                    a href=(links::diff(&place.workspace, parent, about.id)) { "what changed since" }
                }
            }
            dt { "Holds" } dd { (many(about.nodes, "entry", "entries")) ", " (size(about.bytes)) }
        }
    }
}

fn entry_row(place: &Place, entry: &Entry) -> Markup {
    let name = shown_name(&entry.name, entry.name_hex.as_deref());
    let to = place.link(&place.child(entry));
    html! {
        tr {
            td.name {
                @match entry.kind.as_str() {
                    "directory" => { a.directory href=(to) { (name) "/" } }
                    "symlink" => {
                        a href=(to) { (name) }
                        span.quiet { " → " (shown_name(entry.target.as_deref().unwrap_or_default(), entry.target_hex.as_deref())) }
                    }
                    _ => a href=(to) { (name) },
                }
            }
            td.right.number { @if entry.kind == "file" { (size(entry.size)) } }
            td.mode { (mode(&entry.kind, entry.mode)) }
            td.time { (moment(entry.mtime)) }
        }
    }
}

fn symlink(node: &Entry) -> Markup {
    html! {
        p { "A symbolic link to" }
        pre.text { (shown_name(node.target.as_deref().unwrap_or_default(), node.target_hex.as_deref())) }
    }
}

/// A part of a file that is shown at once.
struct Extract {
    text: String,
    /// Where the next part begins, if there is one.
    next: Option<u64>,
}

async fn file(page: &Page, place: &Place, node: &Entry, start: u64, line: u32) -> Result<Markup> {
    if node.size == 0 {
        return Ok(html! { p.note { "An empty file." } });
    }
    let Some(part) = read_part(page, place, node.size, start).await? else {
        return Ok(html! { p.note { "Not text: " (size(node.size)) " of bytes. They can be downloaded." } });
    };
    Ok(numbered(&part.text, line, |lines| {
        let to = |next| format!("{}&start={next}&line={lines}", place.link(&place.path));
        html! {
            @if start > 0 || part.next.is_some() {
                p.pages {
                    @if start > 0 { a href=(place.link(&place.path)) { "← From the start" } " " }
                    @if let Some(next) = part.next {
                        a href=(to(next)) { "More →" }
                        span.quiet { " bytes " (count(start)) " to " (count(next)) " of " (count(node.size)) " are shown" }
                    }
                }
            }
        }
    }))
}

/// Text with line numbers, and what stands below it, which is told the number of the next line.
pub(super) fn numbered(text: &str, first: u32, below: impl Fn(u64) -> Markup) -> Markup {
    let lines = text.lines().count() as u64;
    let digits = (u64::from(first) + lines).to_string().len();
    let class = format!("lines digits-{}", digits.clamp(2, 7));
    html! {
        div.scroll.paper {
            ol class=(class) start=(first) {
                @for (line, number) in text.lines().zip(u64::from(first)..) { li id=(format!("L{number}")) { (shown_line(line)) } }
            }
        }
        (below(u64::from(first) + lines))
    }
}

/// Reads up to a page of text, to the end of a line where there is one; nothing if it is not text.
async fn read_part(page: &Page, place: &Place, file_size: u64, start: u64) -> Result<Option<Extract>> {
    if start >= file_size {
        return Err(Error::new(Kind::Invalid, "the file ends before that"));
    }
    let end = (start + PAGE_FILE_BYTES).min(file_size);
    let mut bytes = read(page, place, start, end).await?;
    if end < file_size {
        let line_end = bytes.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        bytes.truncate(line_end.unwrap_or_else(|| whole_letters(&bytes)));
    }
    let next = start + bytes.len() as u64;
    let Some(text) = as_text(&bytes) else { return Ok(None) };
    Ok(Some(Extract { text: text.to_owned(), next: Some(next).filter(|next| *next < file_size) }))
}

/// Where the last letter that is there as a whole ends.
fn whole_letters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

/// The bytes of a file from `start` to `end`.
pub(super) async fn read(page: &Page, place: &Place, start: u64, end: u64) -> Result<Vec<u8>> {
    let mut content = page.0.client.content(place.snapshot, &place.path, start, Some(end)).await?;
    let mut bytes = Vec::with_capacity((end - start) as usize);
    while let Some(part) = content.next().await {
        bytes.extend_from_slice(&part?);
    }
    Ok(bytes)
}
