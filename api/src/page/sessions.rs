//! All sessions; one session turn by turn; one event as it was written.

use std::collections::HashMap;

use axum::extract::State;
use maud::{Markup, html};
use vfs_core::{Error, Kind, Result};

use super::asked::{Asked, Path};
use super::changes::word_of;
use super::events::{exchanges, shown_exchange};
use super::frame::{self, PageResult, Part, here, step};
use super::text::{count, many, moment, short, shown, shown_name, size};
use super::tree::numbered;
use super::workspaces::{more, take_skip};
use super::{Page, links};
use crate::limits::{PAGE_ENTRIES, PAGE_EVENTS, PAGE_FILE_BYTES, PAGE_TURN_CHANGES};
use crate::wire::diff::Diff;
use crate::wire::session::{DocumentRef, Event, Events, Session, Turn};

/// All sessions, or those of a workspace.
pub(super) async fn all(State(page): State<Page>, Asked(mut query): Asked) -> PageResult {
    let workspace = query.take_text("workspace")?.filter(|name| !name.is_empty());
    let skip = take_skip(&mut query)?;
    query.finish()?;
    let all = page.0.client.sessions(workspace.as_deref()).await?;
    let base = workspace.as_deref().map_or(format!("{}?", links::SESSIONS), |name| links::sessions_of(name) + "&");
    let body = html! {
        h1 { "Sessions" }
        @if let Some(workspace) = &workspace {
            p { "Of the workspace " a href=(links::workspace(workspace)) { (shown(workspace)) } ". " a href=(links::SESSIONS) { "Show all" } }
        }
        @if all.is_empty() { p.note { "None yet. " code { "esker run --workspace W \"task\"" } " makes one." } }
        @else {
            div.scroll { table.list {
                thead { tr { th { "Session" } th { "About" } th { "State" } th.right { "Turns" } th { "Workspace" } th { "Agent" } th { "Began (UTC)" } } }
                tbody { @for session in all.iter().skip(skip).take(PAGE_ENTRIES) { (session_row(session)) } }
            } }
            (more(skip, PAGE_ENTRIES, all.len(), |skip| format!("{base}skip={skip}")))
        }
    };
    Ok(frame::page(Part::Sessions, "Sessions", &[], body))
}

fn session_row(session: &Session) -> Markup {
    html! {
        tr {
            td { a.id href=(links::session(&session.id)) { (shown(short(&session.id))) } }
            td.message { a href=(links::session(&session.id)) { (shown(&session.title)) } }
            td { (state_of(session)) }
            td.right.number { (count(session.turns)) }
            td { (workspace_of(session)) }
            td { (shown(&session.agent)) span.quiet { " for " (shown(&session.user)) } }
            td.time { (moment(session.created)) }
        }
    }
}

fn state_of(session: &Session) -> Markup {
    html! {
        @match session.state.as_str() {
            "done" => span.badge.good { "done" },
            "running" => span.badge.live { "running" },
            "failed" => span.badge.bad { "failed" },
            "stopped" => span.badge.warn { "stopped" },
            other => span.badge { (shown(other)) },
        }
    }
}

fn workspace_of(session: &Session) -> Markup {
    html! {
        @if session.workspace_name.is_empty() { span.quiet { "deleted" } }
        @else { a href=(links::workspace(&session.workspace_name)) { (shown(&session.workspace_name)) } }
    }
}

/// One session: who and what, then its log from some event on.
pub(super) async fn one(State(page): State<Page>, Path(id): Path<String>, Asked(mut query): Asked) -> PageResult {
    let turn = query.take_text("turn")?;
    let after = query.take_text("after")?;
    query.finish()?;
    let session = page.0.client.session(&id).await?;
    let after = match (after, turn) {
        (Some(after), _) => parse(&after)?,
        (None, Some(turn)) => before_turn(&page, &session, parse(&turn)?).await?,
        (None, None) => 0,
    };
    let events = read(&page, &session.id, after).await?;
    let turns = page.0.client.turns(&session.id).await?;
    let turns: HashMap<u64, Turn> = turns.into_iter().map(|turn| (turn.number, turn)).collect();
    let mut blocks = Vec::new();
    for exchange in exchanges(&events.events) {
        let left = match exchange.ended.and_then(|_| turns.get(&exchange.turn)) {
            Some(turn) => Some(left_by(&page, &session, turn).await),
            None => None,
        };
        blocks.push((exchange, left));
    }
    let body = html! {
        (about(&session))
        @if after > 0 { p.pages { a href=(links::session(&session.id)) { "← From the start" } } }
        div.log { @for (exchange, left) in &blocks { (shown_exchange(&session.id, exchange, left.as_ref())) } }
        (next_page(&session, &events))
    };
    let way = [
        step(html! { "Sessions" }, links::SESSIONS.to_owned()),
        here(html! { span.id { (shown(short(&session.id))) } }),
    ];
    Ok(frame::page(Part::Sessions, &session.title, &way, body))
}

fn parse(text: &str) -> Result<u64> {
    text.parse().map_err(|_| Error::new(Kind::Invalid, format!("{text:?} is no number")))
}

fn about(session: &Session) -> Markup {
    html! {
        div.heading { h1 { (shown(&session.title)) } (state_of(session)) }
        dl.facts {
            dt { "Workspace" } dd { (workspace_of(session)) }
            dt { "Agent" } dd { (shown(&session.agent)) " for " (shown(&session.user)) }
            dt { "Began" } dd { (moment(session.created)) " UTC" }
            dt { "Log" } dd { (many(session.turns, "turn", "turns")) ", " (many(session.last_event, "event", "events")) }
            @if let Some(lease) = &session.lease {
                dt { "Driven by" } dd { (shown(&lease.owner)) span.quiet { ", last heard of " (moment(lease.last_seen)) " UTC" } }
            }
        }
    }
}

fn next_page(session: &Session, events: &Events) -> Markup {
    html! {
        @if let Some(last) = events.events.last().filter(|_| events.more) {
            p.pages {
                a href=(links::session_after(&session.id, last.sequence)) { "More →" }
                span.quiet { " up to event " (count(last.sequence)) " of " (count(session.last_event)) " is shown" }
            }
        } @else if events.events.is_empty() { p.note { "Nothing has happened yet." } }
    }
}

/// A page of the log, of fewer events if they are very large.
async fn read(page: &Page, id: &str, after: u64) -> Result<Events> {
    let mut limit = PAGE_EVENTS;
    loop {
        match page.0.client.events(id, after, limit).await {
            Err(error) if error.kind() == Kind::LimitExceeded && limit > 1 => limit /= 4,
            answer => return answer,
        }
    }
}

/// The sequence of the last event before a turn. Turns only grow, so a log of any length is searched in a few steps.
async fn before_turn(page: &Page, session: &Session, turn: u64) -> Result<u64> {
    let (mut low, mut high) = (0, session.last_event);
    while low < high {
        let middle = low + (high - low) / 2;
        match turn_behind(page, session, middle, high).await? {
            Some(found) if found < turn => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The turn of the first event behind `after`, up to `end`, that has one.
async fn turn_behind(page: &Page, session: &Session, mut after: u64, end: u64) -> Result<Option<u64>> {
    while after < end {
        let events = page.0.client.events(&session.id, after, 1).await?;
        let Some(event) = events.events.first() else { return Ok(None) };
        if event.turn > 0 {
            return Ok(Some(event.turn));
        }
        after = event.sequence.max(after + 1);
    }
    Ok(None)
}

/// What a turn left: its snapshot, what changed, the document versions.
async fn left_by(page: &Page, session: &Session, turn: &Turn) -> Markup {
    let (before, after) = (turn.before.to_string(), turn.snapshot.to_string());
    let name = &session.workspace_name;
    let diff = match before == after {
        true => None,
        // A snapshot may be gone with its workspace; the log is still worth reading.
        false => Some(page.0.client.diff(&before, &after, PAGE_TURN_CHANGES).await),
    };
    html! {
        div.left {
            span.quiet { "ended " (moment(turn.time)) " UTC on " }
            @if name.is_empty() { span.id { (short(&after)) } } @else { a.id href=(links::state(name, &after)) { (short(&after)) } }
            @match &diff {
                None => span.quiet { " · no file changed" },
                Some(Err(_)) => span.quiet { " · what changed cannot be read any more" },
                Some(Ok(diff)) => (changed(name, &before, &after, diff)),
            }
            @if !turn.documents.is_empty() {
                ul.plain { @for document in &turn.documents { li { (wrote(document)) } } }
            }
        }
    }
}

fn changed(name: &str, before: &str, after: &str, diff: &Diff) -> Markup {
    html! {
        @if !name.is_empty() { " · " a href=(links::diff(name, before, after)) { "what changed" } }
        ul.plain {
            @for change in &diff.changes {
                li { (word_of(&change.change)) " " code { (shown_name(&change.path, change.path_hex.as_deref())) } }
            }
            @if diff.more { li.quiet { "and more" } }
        }
    }
}

fn wrote(document: &DocumentRef) -> Markup {
    html! {
        span.badge.live { "document" } " "
        a href=(links::version(&document.scope, &document.path, document.version)) {
            code { (shown(&document.scope)) ":" (shown(&document.path)) }
            " version " (document.version)
        }
    }
}

/// One event as it was written.
pub(super) async fn event(
    State(page): State<Page>,
    Path((id, sequence)): Path<(String, String)>,
    Asked(query): Asked,
) -> PageResult {
    query.finish()?;
    let sequence = parse(&sequence)?;
    let session = page.0.client.session(&id).await?;
    let events = page.0.client.events(&session.id, sequence.saturating_sub(1), 1).await?;
    let Some(event) = events.events.into_iter().find(|event| event.sequence == sequence) else {
        return Err(Error::new(Kind::NotFound, format!("this session has no event {sequence}")).into());
    };
    let title = format!("Event {sequence}");
    let way = [
        step(html! { "Sessions" }, links::SESSIONS.to_owned()),
        step(html! { span.id { (shown(short(&session.id))) } }, links::session_after(&session.id, sequence - 1)),
        here(html! { (title) }),
    ];
    Ok(frame::page(Part::Sessions, &title, &way, whole_event(&title, &event)))
}

fn whole_event(title: &str, event: &Event) -> Markup {
    let text = serde_json::to_string_pretty(&event.data).unwrap_or_default();
    let (start, left) = super::text::cut(&text, PAGE_FILE_BYTES as usize);
    html! {
        h1 { (title) }
        dl.facts {
            dt { "Kind" } dd { code { (shown(&event.kind)) } }
            dt { "Key" } dd { code { (shown(&event.key)) } }
            @if event.turn > 0 { dt { "Turn" } dd { (event.turn) } }
            @if !event.tool_call.is_empty() { dt { "Tool call" } dd { code { (shown(&event.tool_call)) } } }
            dt { "Time" } dd { (moment(event.time)) " UTC" }
            dt { "Epoch" } dd { (event.epoch) }
        }
        (numbered(start, 1, |_| html! {}))
        @if left > 0 { p.note { (size(left as u64)) " more are not shown; " code { "esker session show --json" } " prints them." } }
    }
}
