//! What differs between two snapshots of a workspace: a list, and below it the differences of text files.

use axum::extract::State;
use maud::{Markup, html};
use vfs_core::id::SnapshotId;
use vfs_core::{Error, Kind, Result};

use super::asked::{Asked, Path};
use super::frame::{self, PageResult, Part, Step, here, step};
use super::patch::{Budget, Compared, compare};
use super::text::{bytes_of, count, many, short, shown, shown_name, size};
use super::tree::{Place, read};
use super::workspaces::take_skip;
use super::{Page, links};
use crate::limits::{DIFF_MAX, PAGE_DIFF_FILES, PAGE_ENTRIES, PAGE_FILE_BYTES};
use crate::server::query::RawQuery;
use crate::wire::diff::{Diff, DiffChange, DiffSide};

/// Two snapshots of one workspace.
struct Pair {
    workspace: String,
    from: SnapshotId,
    to: SnapshotId,
}

impl Pair {
    async fn take(page: &Page, workspace: &str, query: &mut RawQuery) -> Result<Pair> {
        let mut both = Vec::new();
        for name in ["from", "to"] {
            let Some(snapshot) = query.take_text(name)? else {
                return Err(Error::new(Kind::Invalid, "choose two snapshots to compare: one as From, one as To"));
            };
            both.push(page.0.client.resolve(&format!("{workspace}@{snapshot}")).await?);
        }
        match <[_; 2]>::try_from(both) {
            Ok([from, to]) => Ok(Pair { workspace: from.name, from: from.snapshot, to: to.snapshot }),
            Err(_) => Err(Error::new(Kind::Internal, "two snapshots were not two")),
        }
    }

    fn way(&self, rest: Option<Markup>) -> Vec<Step> {
        let (from, to) = (self.from.to_string(), self.to.to_string());
        let both = html! { span.id { (short(&from)) } " → " span.id { (short(&to)) } };
        let mut way = vec![
            step(html! { "Workspaces" }, links::HOME.to_owned()),
            step(shown(&self.workspace), links::workspace(&self.workspace)),
        ];
        match rest {
            None => way.push(here(both)),
            Some(rest) => {
                way.push(step(both, links::diff(&self.workspace, from, to)));
                way.push(here(rest));
            }
        }
        way
    }

    fn place(&self, snapshot: SnapshotId, path: Vec<u8>) -> Place {
        Place { workspace: self.workspace.clone(), snapshot, path }
    }
}

/// Everything that differs.
pub(super) async fn all(
    State(page): State<Page>,
    Path(workspace): Path<String>,
    Asked(mut query): Asked,
) -> PageResult {
    let pair = Pair::take(&page, &workspace, &mut query).await?;
    let skip = take_skip(&mut query)?;
    query.finish()?;
    let wanted = (skip + PAGE_ENTRIES + 1).min(DIFF_MAX as usize);
    let diff = page.0.client.diff(&pair.from.to_string(), &pair.to.to_string(), wanted as u32).await?;
    let changes: Vec<_> = diff.changes.iter().skip(skip).take(PAGE_ENTRIES).collect();
    let mut budget = Budget::default();
    let mut patches = Vec::new();
    for (index, change) in changes.iter().enumerate().filter(|(_, change)| is_of_files(change)).take(PAGE_DIFF_FILES) {
        patches.push((index, compare_sides(&page, &pair, change, &mut budget).await?));
    }
    let body = html! {
        div.heading {
            h1 { "What changed" }
            span.quiet {
                a href=(links::diff(&pair.workspace, pair.to, pair.from)) { "the other way round" }
            }
        }
        (list(&pair, &diff, &changes, &patches))
        (pages(&pair, &diff, skip))
        @for (index, patch) in &patches {
            @let change = changes[*index];
            section id=(format!("change-{index}")) {
                h2.path { (shown_name(&change.path, change.path_hex.as_deref())) }
                (patch)
            }
        }
        @let files = changes.iter().filter(|change| is_of_files(change)).count();
        @if files > patches.len() {
            p.note { (many((files - patches.len()) as u64, "more file is", "more files are")) " only linked in the list above." }
        }
    };
    let title = format!("{}: {} → {}", pair.workspace, short(&pair.from.to_string()), short(&pair.to.to_string()));
    Ok(frame::page(Part::Workspaces, &title, &pair.way(None), body))
}

/// One file that differs.
pub(super) async fn one(
    State(page): State<Page>,
    Path(workspace): Path<String>,
    Asked(mut query): Asked,
) -> PageResult {
    let pair = Pair::take(&page, &workspace, &mut query).await?;
    let path = query.take("path").unwrap_or_default();
    query.finish()?;
    let before = side(&page, &pair, pair.from, &path).await?;
    let after = side(&page, &pair, pair.to, &path).await?;
    if before.is_none() && after.is_none() {
        return Err(Error::new(Kind::NotFound, "neither of the two snapshots has this file").into());
    }
    let (text, exact) = crate::wire::name::to_text(&path);
    let change = DiffChange { path: text, path_hex: exact, change: String::new(), before, after };
    let patch = compare_sides(&page, &pair, &change, &mut Budget::default()).await?;
    let name = shown_name(&change.path, change.path_hex.as_deref());
    let body = html! { h1.path { (name) } (patch) };
    Ok(frame::page(Part::Workspaces, &change.path, &pair.way(Some(name.clone())), body))
}

/// What a path is in one of the snapshots.
async fn side(page: &Page, pair: &Pair, snapshot: SnapshotId, path: &[u8]) -> Result<Option<DiffSide>> {
    let place = pair.place(snapshot, path.to_vec());
    let node = match page.0.client.list(place.snapshot, &place.path, None, 1).await {
        Ok(listing) => listing.node,
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::NotADirectory) => return Ok(None),
        Err(error) => return Err(error),
    };
    let (mode, uid, gid, size, mtime) = (node.mode, node.uid, node.gid, node.size, node.mtime);
    Ok(Some(DiffSide { kind: node.kind, mode, uid, gid, size, mtime }))
}

/// A change whose content can be compared.
fn is_of_files(change: &DiffChange) -> bool {
    [&change.before, &change.after].into_iter().flatten().any(|side| side.kind == "file")
}

fn list(pair: &Pair, diff: &Diff, changes: &[&DiffChange], patches: &[(usize, Markup)]) -> Markup {
    html! {
        @if diff.changes.is_empty() { p.note { "Nothing: the two states hold the same." } }
        @else {
            div.scroll { table.list {
                thead { tr { th { "Change" } th { "Path" } th.right { "Size" } th { "" } } }
                tbody {
                    @for (index, change) in changes.iter().enumerate() {
                        (change_row(pair, change, patches.iter().any(|(shown, _)| *shown == index).then_some(index)))
                    }
                }
            } }
        }
    }
}

fn change_row(pair: &Pair, change: &DiffChange, anchor: Option<usize>) -> Markup {
    let path = bytes_of(&change.path, change.path_hex.as_deref());
    let at = if change.after.is_some() { pair.to } else { pair.from };
    html! {
        tr {
            td { (word_of(&change.change)) }
            td.name {
                @match anchor {
                    Some(index) => a href=(format!("#change-{index}")) { (path_or_root(change)) },
                    None if is_of_files(change) => {
                        a href=(links::diff_file(&pair.workspace, pair.from, pair.to, &path)) { (path_or_root(change)) }
                    }
                    None => (path_or_root(change)),
                }
                (attributes(change))
            }
            td.right.number { (sizes(change)) }
            td { a href=(links::path(&pair.workspace, at, &path)) { "view" } }
        }
    }
}

fn path_or_root(change: &DiffChange) -> Markup {
    html! {
        @if change.path.is_empty() { "/" } @else { (shown_name(&change.path, change.path_hex.as_deref())) }
        @if change.after.as_ref().or(change.before.as_ref()).is_some_and(|side| side.kind == "directory") { "/" }
    }
}

/// The word for a kind of change.
pub(super) fn word_of(change: &str) -> Markup {
    html! {
        @match change {
            "added" => span.badge.good { "added" },
            "removed" => span.badge.bad { "removed" },
            "modified" => span.badge.warn { "modified" },
            "type_changed" => span.badge.warn { "another kind" },
            other => span.badge { (shown(other)) },
        }
    }
}

fn attributes(change: &DiffChange) -> Markup {
    let (Some(before), Some(after)) = (&change.before, &change.after) else { return html! {} };
    html! {
        @if before.kind != after.kind {
            span.quiet { " " (shown(&before.kind)) " → " (shown(&after.kind)) }
        }
        @if before.mode != after.mode { span.quiet { " mode " (format!("{:o} → {:o}", before.mode, after.mode)) } }
        @if (before.uid, before.gid) != (after.uid, after.gid) {
            span.quiet { " owner " (before.uid) ":" (before.gid) " → " (after.uid) ":" (after.gid) }
        }
    }
}

fn sizes(change: &DiffChange) -> String {
    let size_of = |side: &Option<DiffSide>| side.as_ref().filter(|side| side.kind == "file").map(|side| side.size);
    match (size_of(&change.before), size_of(&change.after)) {
        (Some(before), Some(after)) if before != after => format!("{} → {}", size(before), size(after)),
        (_, Some(one)) | (Some(one), None) => size(one),
        (None, None) => String::new(),
    }
}

fn pages(pair: &Pair, diff: &Diff, skip: usize) -> Markup {
    let to = |skip: usize| format!("{}&skip={skip}", links::diff(&pair.workspace, pair.from, pair.to));
    let (last, known) = (skip + PAGE_ENTRIES, diff.changes.len());
    html! {
        @if skip > 0 || known > last || diff.more {
            p.pages {
                @if skip > 0 { a href=(to(skip.saturating_sub(PAGE_ENTRIES))) { "← Before" } " " }
                @if known > last { a href=(to(last)) { "More →" } }
                @else if diff.more {
                    span.quiet { "The page shows the first " (count(u64::from(DIFF_MAX))) " changes; there are more." }
                }
            }
        }
    }
}

/// The differences of one file's content.
async fn compare_sides(page: &Page, pair: &Pair, change: &DiffChange, budget: &mut Budget) -> Result<Markup> {
    let path = bytes_of(&change.path, change.path_hex.as_deref());
    let is_large =
        |side: &Option<DiffSide>| side.as_ref().is_some_and(|side| side.kind == "file" && side.size > PAGE_FILE_BYTES);
    let save = html! {
        @for (name, snapshot, side) in [("before", pair.from, &change.before), ("after", pair.to, &change.after)] {
            @if side.as_ref().is_some_and(|side| side.kind == "file") {
                " " a href=(links::download(&pair.workspace, snapshot, &path)) { "download " (name) }
            }
        }
    };
    if is_large(&change.before) || is_large(&change.after) {
        let most = size(PAGE_FILE_BYTES);
        return Ok(html! { p.note { "Too large to compare here (" (sizes(change)) "; up to " (most) ")." (save) } });
    }
    let before = content(page, pair, pair.from, &change.before, &path).await?;
    let after = content(page, pair, pair.to, &change.after, &path).await?;
    let compared = compare(before, after, budget).await;
    let alone = links::diff_file(&pair.workspace, pair.from, pair.to, &path);
    Ok(html! {
        (compared.shown())
        @match compared {
            Compared::Binary => p.quiet { (sizes(change)) "." (save) },
            Compared::TooDifferent => p.quiet { a href=(alone) { "this file alone" } (save) },
            _ => {}
        }
    })
}

async fn content(
    page: &Page,
    pair: &Pair,
    snapshot: SnapshotId,
    side: &Option<DiffSide>,
    path: &[u8],
) -> Result<Vec<u8>> {
    match side {
        Some(side) if side.kind == "file" && side.size > 0 => {
            read(page, &pair.place(snapshot, path.to_vec()), 0, side.size).await
        }
        _ => Ok(Vec::new()),
    }
}
