//! Documents by scope; one document's versions; a version's content; what differs between two.

use std::collections::BTreeMap;

use axum::extract::State;
use futures::stream;
use maud::{Markup, html};
use vfs_core::{Error, Kind, Result};

use super::asked::Asked;
use super::frame::{self, PageResult, Part, Step, here, step};
use super::patch::{Budget, as_text, compare};
use super::text::{cut, many, moment, shown, size};
use super::tree::numbered;
use super::workspaces::{more, session_link, take_skip};
use super::{Page, links};
use crate::limits::{PAGE_ENTRIES, PAGE_FILE_BYTES, PAGE_SNAPSHOTS};
use crate::server::query::RawQuery;
use crate::wire::document::{Document, DocumentQuery, DocumentsQuery};

/// All documents, scope by scope.
pub(super) async fn all(State(page): State<Page>, Asked(mut query): Asked) -> PageResult {
    let scope = query.take_text("scope")?.filter(|scope| !scope.is_empty());
    let skip = take_skip(&mut query)?;
    query.finish()?;
    let wanted = DocumentsQuery { scope: scope.clone(), ..DocumentsQuery::default() };
    let mut all = page.0.client.documents(&wanted).await?;
    all.sort_by(|a, b| (&a.scope, &a.path).cmp(&(&b.scope, &b.path)));
    let mut scopes: BTreeMap<&str, Vec<&Document>> = BTreeMap::new();
    for document in all.iter().skip(skip).take(PAGE_ENTRIES) {
        scopes.entry(&document.scope).or_default().push(document);
    }
    let base = scope.as_deref().map_or(format!("{}?", links::DOCUMENTS), |scope| links::scope(scope) + "&");
    let body = html! {
        h1 { "Documents" }
        @if scope.is_some() { p { a href=(links::DOCUMENTS) { "Show all scopes" } } }
        @if all.is_empty() { p.note { "None yet. " code { "esker doc put PATH FILE" } " writes one." } }
        @for (scope, documents) in &scopes {
            h2 { a href=(links::scope(scope)) { (shown(scope)) } span.quiet { " " (many(documents.len() as u64, "document", "documents")) } }
            div.scroll { table.list {
                thead { tr { th { "Path" } th.right { "Version" } th.right { "Size" } th { "Written (UTC)" } th { "By" } th { "Session" } } }
                tbody { @for document in documents { (head_row(document)) } }
            } }
        }
        (more(skip, PAGE_ENTRIES, all.len(), |skip| format!("{base}skip={skip}")))
    };
    Ok(frame::page(Part::Documents, "Documents", &[], body))
}

fn head_row(document: &Document) -> Markup {
    html! {
        tr {
            td.name { a href=(links::versions(&document.scope, &document.path)) { (shown(&document.path)) } }
            td.right.number { (document.version) }
            td.right.number { (size(document.size)) }
            td.time { (moment(document.time)) }
            td { (shown(&document.author)) }
            td { (session_link(&document.session, &document.turn.to_string())) }
        }
    }
}

/// Which document a URL names.
struct Named {
    scope: String,
    path: String,
}

impl Named {
    fn take(query: &mut RawQuery) -> Result<Named> {
        let mut take = |name: &str| {
            let missing = || Error::new(Kind::Invalid, format!("the parameter {name:?} is missing"));
            query.take_text(name)?.ok_or_else(missing)
        };
        Ok(Named { scope: take("scope")?, path: take("path")? })
    }

    async fn content(&self, page: &Page, version: u64) -> Result<Vec<u8>> {
        let query = DocumentQuery {
            scope: Some(self.scope.clone()),
            path: self.path.clone(),
            version: Some(version),
            ..DocumentQuery::default()
        };
        Ok(page.0.client.document(&query).await?.content.to_vec())
    }

    fn way(&self, rest: Option<Markup>) -> Vec<Step> {
        let mut way = vec![
            step(html! { "Documents" }, links::DOCUMENTS.to_owned()),
            step(shown(&self.scope), links::scope(&self.scope)),
        ];
        match rest {
            None => way.push(here(shown(&self.path))),
            Some(rest) => {
                way.push(step(shown(&self.path), links::versions(&self.scope, &self.path)));
                way.push(here(rest));
            }
        }
        way
    }
}

fn take_number(query: &mut RawQuery, name: &str) -> Result<u64> {
    let number = query.take_text(name)?.and_then(|text| text.parse().ok());
    number.ok_or_else(|| Error::new(Kind::Invalid, format!("the parameter {name:?} must be the number of a version")))
}

/// The versions of a document.
pub(super) async fn versions(State(page): State<Page>, Asked(mut query): Asked) -> PageResult {
    let named = Named::take(&mut query)?;
    let skip = take_skip(&mut query)?;
    query.finish()?;
    let all = page.0.client.document_versions(&named.scope, &named.path).await?;
    let next = |skip| format!("{}&skip={skip}", links::versions(&named.scope, &named.path));
    let body = html! {
        h1.path { (shown(&named.path)) }
        form method="get" action=(format!("{}/diff", links::DOCUMENTS)) {
            (hidden(&named))
            div.scroll { table.list.snapshots {
                thead { tr {
                    th { "From" } th { "To" } th.right { "Version" } th.right { "Size" } th { "Written (UTC)" } th { "By" } th { "Session" } th { "" }
                } }
                tbody {
                    @for (index, version) in all.iter().skip(skip).take(PAGE_SNAPSHOTS).enumerate() { (version_row(version, index)) }
                }
            } }
            p { button.main type="submit" { "Compare the chosen two" } }
        }
        (more(skip, PAGE_SNAPSHOTS, all.len(), next))
    };
    Ok(frame::page(Part::Documents, &named.path, &named.way(None), body))
}

/// Which document the form is about. The one place where such a name is in an attribute; the template engine escapes it.
fn hidden(named: &Named) -> Markup {
    html! {
        input type="hidden" name="scope" value=(named.scope);
        input type="hidden" name="path" value=(named.path);
    }
}

fn version_row(document: &Document, index: usize) -> Markup {
    let Document { scope, path, version, .. } = document;
    html! {
        tr {
            td.choice { input type="radio" name="from" value=(version) aria-label="compare from" checked[index == 1]; }
            td.choice { input type="radio" name="to" value=(version) aria-label="compare to" checked[index == 0]; }
            td.right.number {
                @if document.deleted { (version) } @else { a href=(links::version(scope, path, *version)) { (version) } }
            }
            td.right.number { @if !document.deleted { (size(document.size)) } }
            td.time { (moment(document.time)) }
            td { (shown(&document.author)) }
            td { (session_link(&document.session, &document.turn.to_string())) }
            td {
                @if document.deleted { span.badge.bad { "deleted" } " " }
                @if document.side { span.badge.warn { "kept beside" } " " }
                @if document.base > 0 { a href=(links::version_diff(scope, path, document.base, *version)) { "what changed since " (document.base) } }
                @else if !document.deleted { span.badge.good { "new" } }
            }
        }
    }
}

/// One version's content.
pub(super) async fn version(State(page): State<Page>, Asked(mut query): Asked) -> PageResult {
    let named = Named::take(&mut query)?;
    let number = take_number(&mut query, "version")?;
    query.finish()?;
    let content = named.content(&page, number).await?;
    let save = links::version_download(&named.scope, &named.path, number);
    let body = html! {
        div.heading {
            h1.path { (shown(&named.path)) }
            span.quiet { "version " (number) " · " (size(content.len() as u64)) " · " a href=(save) { "download" } }
        }
        (shown_content(&content))
    };
    let rest = html! { "version " (number) };
    Ok(frame::page(Part::Documents, &named.path, &named.way(Some(rest)), body))
}

fn shown_content(content: &[u8]) -> Markup {
    if content.is_empty() {
        return html! { p.note { "Empty." } };
    }
    let Some(text) = as_text(content) else { return html! { p.note { "Not text. It can be downloaded." } } };
    let (start, left) = cut(text, PAGE_FILE_BYTES as usize);
    numbered(start, 1, |_| html! { @if left > 0 { p.note { (size(left as u64)) " more are in the download." } } })
}

/// One version, to be saved.
pub(super) async fn download(State(page): State<Page>, Asked(mut query): Asked) -> PageResult {
    let named = Named::take(&mut query)?;
    let number = take_number(&mut query, "version")?;
    query.finish()?;
    let content = named.content(&page, number).await?;
    let name = named.path.rsplit('/').next().unwrap_or(&named.path);
    Ok(frame::attachment(name.as_bytes(), stream::iter([Ok(content.into())])))
}

/// What differs between two versions.
pub(super) async fn diff(State(page): State<Page>, Asked(mut query): Asked) -> PageResult {
    let named = Named::take(&mut query)?;
    let (from, to) = (take_number(&mut query, "from")?, take_number(&mut query, "to")?);
    query.finish()?;
    let versions = page.0.client.document_versions(&named.scope, &named.path).await?;
    let mut both = Vec::new();
    for number in [from, to] {
        both.push(match versions.iter().find(|known| known.version == number) {
            None => return Err(Error::new(Kind::NotFound, format!("this document has no version {number}")).into()),
            Some(known) if known.deleted => Vec::new(),
            Some(known) if known.size > PAGE_FILE_BYTES => {
                let most = size(PAGE_FILE_BYTES);
                let line = format!("version {number} is too large to compare here: up to {most}; it can be downloaded");
                return Err(Error::new(Kind::LimitExceeded, line).into());
            }
            Some(_) => named.content(&page, number).await?,
        });
    }
    let (after, before) = (both.pop().unwrap_or_default(), both.pop().unwrap_or_default());
    let compared = compare(before, after, &mut Budget::default()).await;
    let body = html! {
        div.heading {
            h1.path { (shown(&named.path)) }
            span.quiet {
                "version " a href=(links::version(&named.scope, &named.path, from)) { (from) }
                " → " a href=(links::version(&named.scope, &named.path, to)) { (to) }
            }
        }
        (compared.shown())
    };
    let rest = html! { (from) " → " (to) };
    Ok(frame::page(Part::Documents, &named.path, &named.way(Some(rest)), body))
}
