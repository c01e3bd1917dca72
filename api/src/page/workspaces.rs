//! All workspaces; one workspace's snapshots, two of which can be chosen to be compared.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use vfs_core::{Error, Kind};

use super::asked::{Asked, Path};
use super::frame::{self, PageResult, Part, here, step};
use super::text::{many, moment, short, shown};
use super::{Page, links};
use crate::limits::{LOG_MAX, PAGE_ENTRIES, PAGE_SNAPSHOTS};
use crate::server::query::RawQuery;
use crate::wire::Workspace;
use crate::wire::workspace::{Holder, LogRow};

/// All workspaces.
pub(super) async fn all(State(page): State<Page>, Asked(mut query): Asked) -> PageResult {
    let skip = take_skip(&mut query)?;
    query.finish()?;
    let all = page.0.client.workspaces().await?;
    let rows = all.iter().skip(skip).take(PAGE_ENTRIES);
    let body = html! {
        h1 { "Workspaces" }
        @if all.is_empty() {
            p.note { "None yet. " code { "esker import DIR --workspace NAME" } " or " code { "esker up DIR" } " makes one." }
        } @else {
            div.scroll { table.list {
                thead { tr { th { "Name" } th { "Made (UTC)" } th { "Head" } th { "From" } th { "Held by" } } }
                tbody { @for workspace in rows { (workspace_row(workspace)) } }
            } }
            (more(skip, PAGE_ENTRIES, all.len(), |skip| format!("{}?skip={skip}", links::HOME)))
        }
    };
    Ok(frame::page(Part::Workspaces, "Workspaces", &[], body))
}

fn workspace_row(workspace: &Workspace) -> Markup {
    let head = workspace.head.to_string();
    html! {
        tr {
            td.name { a href=(links::workspace(&workspace.name)) { (shown(&workspace.name)) } }
            td.time { (moment(workspace.created)) }
            td { a.id href=(links::state(&workspace.name, &head)) { (short(&head)) } }
            td { @if let Some(source) = &workspace.source { (shown(source)) } }
            td { @if let Some(holder) = &workspace.holder { (held_by(holder)) } }
        }
    }
}

fn held_by(holder: &Holder) -> Markup {
    html! {
        @if holder.connected { span.badge.good { "live" } " " } @else { span.badge.warn { "away" } " " }
        code { (shown(&holder.mountpoint)) }
        span.quiet { " process " (holder.pid) " on " (shown(&holder.host)) }
    }
}

/// One workspace and its snapshots.
pub(super) async fn one(State(page): State<Page>, Path(name): Path<String>, Asked(mut query): Asked) -> PageResult {
    let automatic = query.take("all").is_some_and(|value| value == b"true");
    let skip = take_skip(&mut query)?;
    query.finish()?;
    let workspace = page.0.client.workspace(&name).await?;
    let wanted = (skip + PAGE_SNAPSHOTS + 1).min(LOG_MAX as usize);
    let rows = page.0.client.log(&name, automatic, wanted as u32).await?;
    let body = html! {
        h1 { (shown(&workspace.name)) }
        (about(&workspace))
        (snapshots(&workspace, &rows, automatic, skip))
    };
    Ok(page_of(&workspace.name, body))
}

fn page_of(name: &str, body: Markup) -> Response {
    let way = [step(html! { "Workspaces" }, links::HOME.to_owned()), here(shown(name))];
    frame::page(Part::Workspaces, name, &way, body)
}

fn about(workspace: &Workspace) -> Markup {
    let head = workspace.head.to_string();
    html! {
        dl.facts {
            dt { "Head" } dd { a.id href=(links::state(&workspace.name, &head)) { (short(&head)) } " — browse the newest published state" }
            dt { "Made" } dd { (moment(workspace.created)) " UTC" }
            @if let Some(source) = &workspace.source { dt { "From" } dd { (shown(source)) } }
            dt { "Held by" }
            dd { @match &workspace.holder { Some(holder) => (held_by(holder)), None => span.quiet { "nobody" } } }
            dt { "Sessions" } dd { a href=(links::sessions_of(&workspace.name)) { "of this workspace" } }
        }
    }
}

fn snapshots(workspace: &Workspace, rows: &[LogRow], automatic: bool, skip: usize) -> Markup {
    let name = &workspace.name;
    let here = links::workspace(name);
    let shown_rows: Vec<_> = rows.iter().skip(skip).take(PAGE_SNAPSHOTS).collect();
    let next = |skip| format!("{here}?all={automatic}&skip={skip}");
    html! {
        div.heading {
            h2 { "Snapshots" }
            @if automatic { a href=(here) { "Hide automatic ones" } }
            @else { a href=(format!("{here}?all=true")) { "Show automatic ones" } }
        }
        @if shown_rows.is_empty() { p.note { "None." } }
        @else {
            form method="get" action=(format!("{here}/diff")) {
                div.scroll { table.list.snapshots {
                    thead { tr {
                        th { "From" } th { "To" } th { "Snapshot" } th { "Time (UTC)" } th { "Author" } th { "Message" } th { "Session" }
                    } }
                    tbody { @for (index, row) in shown_rows.iter().enumerate() { (snapshot_row(name, row, index)) } }
                } }
                p { button.main type="submit" { "Compare the chosen two" } }
            }
        }
        @if skip + PAGE_SNAPSHOTS >= LOG_MAX as usize && rows.len() >= LOG_MAX as usize {
            p.note { "The page shows the newest " (many(u64::from(LOG_MAX), "snapshot", "snapshots")) "; there may be more." }
        } @else { (more(skip, PAGE_SNAPSHOTS, rows.len(), next)) }
    }
}

/// The newest is compared with the one before unless others are chosen.
fn snapshot_row(name: &str, row: &LogRow, index: usize) -> Markup {
    let id = row.snapshot.to_string();
    html! {
        tr.automatic[row.automatic] {
            td.choice { input type="radio" name="from" value=(id) aria-label="compare from" checked[index == 1]; }
            td.choice { input type="radio" name="to" value=(id) aria-label="compare to" checked[index == 0]; }
            td { a.id href=(links::state(name, &id)) { (short(&id)) } }
            td.time { (moment(row.time)) }
            td { (shown(&row.author)) }
            td.message {
                (shown(&row.message))
                @if row.automatic { " " span.badge { "automatic" } }
            }
            td { (session_link(&row.session, &row.turn)) }
        }
    }
}

/// The session and turn that wrote something.
pub(super) fn session_link(session: &str, turn: &str) -> Markup {
    html! {
        @if !session.is_empty() {
            @if turn.is_empty() || turn == "0" { a.id href=(links::session(session)) { (shown(short(session))) } }
            @else { a.id href=(links::turn(session, turn)) { (shown(short(session))) " turn " (shown(turn)) } }
        }
    }
}

/// How many entries a list leaves out before this page.
pub(super) fn take_skip(query: &mut RawQuery) -> vfs_core::Result<usize> {
    let Some(text) = query.take_text("skip")? else { return Ok(0) };
    let skip = text.parse::<u32>().map_err(|error| Error::new(Kind::Invalid, "`skip` is no number").because(error))?;
    Ok(skip as usize)
}

/// The links to the pages of a list before and after this one.
pub(super) fn more(skip: usize, most: usize, total: usize, to: impl Fn(usize) -> String) -> Markup {
    html! {
        @if skip > 0 || skip + most < total {
            p.pages {
                @if skip > 0 { a href=(to(skip.saturating_sub(most))) { "← Before" } " " }
                @if skip + most < total { a href=(to(skip + most)) { "More →" } }
            }
        }
    }
}
