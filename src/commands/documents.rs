//! `esker doc`: documents of the engine's database. One request each, except that a change without `--if-version` first
//! asks which version is the newest.

mod conflict;
mod mount;
mod put;

pub(super) use mount::{arguments, wanted};

use api::client::{Basis, Client, Put};
use api::wire::document::{Document, DocumentQuery, DocumentsQuery, RestoreDocument, WriteDocumentQuery};
use api::wire::name::to_text;
use vfs_core::Kind;
use vfs_core::documents::Scope;

use crate::cli::{Doc, DocGet, DocList, DocLog, DocRestore, DocRm, IfVersion, Within};
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::holder::author;
use crate::print;

/// Runs a command on documents.
pub(crate) async fn run(context: &Context, command: Doc) -> Outcome {
    match command {
        Doc::Put(options) => put::run(context, options).await,
        Doc::Get(options) => get(context, options).await,
        Doc::List(options) => list(context, options).await,
        Doc::Log(options) => log(context, options).await,
        Doc::Restore(options) => restore(context, options).await,
        Doc::Rm(options) => rm(context, options).await,
        Doc::Mount(options) => mount::run(context, options).await,
    }
}

/// What this person sees: the agent's, their own, everybody's.
fn default_view() -> String {
    let user = Scope::user(&author()).map(|scope| format!("{scope},")).unwrap_or_default();
    format!("agent/main,{user}org")
}

/// A view or a scope, one of the two.
fn within(options: Within) -> (Option<String>, Option<String>) {
    match (options.view, options.scope) {
        (None, None) => (Some(default_view()), None),
        given => given,
    }
}

async fn get(context: &Context, options: DocGet) -> Outcome {
    let (view, scope) = match options.version {
        Some(_) => (None, Some(options.within.scope.unwrap_or_else(|| Scope::org().to_string()))),
        None => within(options.within),
    };
    let client = context.client().await?;
    let query = DocumentQuery { view, scope, path: options.path.clone(), version: options.version };
    let found = client.document(&query).await?;
    if !context.printer.is_json() {
        return context.printer.bytes(&found.content);
    }
    let (text, hex) = to_text(&found.content);
    let value = serde_json::json!({
        "scope": found.scope, "path": options.path, "version": found.version, "text": text, "hex": hex,
    });
    context.printer.line(&print::json_line(&value))
}

async fn list(context: &Context, options: DocList) -> Outcome {
    let (view, scope) = if options.all { (None, None) } else { within(options.within) };
    let client = context.client().await?;
    let documents = client.documents(&DocumentsQuery { view, scope, prefix: options.prefix }).await?;
    context.printer.result(&documents, || {
        let mut rows = vec![["SCOPE", "PATH", "VERSION", "SIZE", "WRITTEN", "BY"].map(str::to_owned).to_vec()];
        rows.extend(documents.iter().map(|document| {
            vec![
                print::visible(document.scope.as_bytes()),
                print::visible(document.path.as_bytes()),
                document.version.to_string(),
                print::size(document.size),
                print::moment(document.time.into()),
                by(document),
            ]
        }));
        if documents.is_empty() {
            "no documents; `esker doc put PATH FILE` makes one".to_owned()
        } else {
            print::table(&rows)
        }
    })
}

/// Who wrote a version.
fn by(document: &Document) -> String {
    let mut text = document.author.clone();
    if !document.session.is_empty() {
        text.push_str(&format!(" session {} turn {}", document.session, document.turn));
    }
    if !document.tool_call.is_empty() {
        text.push_str(&format!(" call {}", document.tool_call));
    }
    print::visible(text.as_bytes())
}

async fn log(context: &Context, options: DocLog) -> Outcome {
    let client = context.client().await?;
    let versions = client.document_versions(&options.scope.scope, &options.path).await?;
    context.printer.result(&versions, || {
        let mut rows = vec![["VERSION", "BASE", "SIZE", "WRITTEN", "BY", ""].map(str::to_owned).to_vec()];
        rows.extend(versions.iter().map(|version| {
            let what = match (version.deleted, version.side) {
                (true, _) => "deleted",
                (_, true) => "side version",
                _ => "",
            };
            vec![
                version.version.to_string(),
                version.base.to_string(),
                print::size(version.size),
                print::moment(version.time.into()),
                by(version),
                what.to_owned(),
            ]
        }));
        print::table(&rows)
    })
}

async fn restore(context: &Context, options: DocRestore) -> Outcome {
    let client = context.client().await?;
    let scope = options.scope.scope;
    let if_version = match options.basis.version {
        Some(version) => version,
        None => {
            let versions = client.document_versions(&scope, &options.path).await?;
            versions.iter().find(|version| !version.side).map_or(0, |head| head.version)
        }
    };
    let request = RestoreDocument { scope, path: options.path, version: options.old, if_version, author: author() };
    let restored = client.restore_document(&request).await?;
    context.printer.result(&restored, || format!("{} (the content of version {})", named(&restored), options.old))
}

async fn rm(context: &Context, options: DocRm) -> Outcome {
    let client = context.client().await?;
    let scope = options.scope.scope;
    let basis = match basis(&client, &scope, &options.path, options.basis).await? {
        Basis::Absent => {
            let line = format!("there is no document {} in the scope {scope} to delete", options.path);
            return Err(Failure::new(Kind::NotFound, print::visible(line.as_bytes())));
        }
        basis => basis,
    };
    let query = WriteDocumentQuery { scope, path: options.path, author: author(), ..WriteDocumentQuery::default() };
    match client.delete_document(&query, basis).await? {
        Put::Written(deleted) => context.printer.result(&deleted, || {
            format!("deleted {} with version {}; `esker doc restore` brings it back", name(&deleted), deleted.version)
        }),
        Put::Conflict(conflict) => Err(conflict::failure(context.printer, &query, &conflict)),
    }
}

/// What a change is based on: what the caller says, or the head as it is now.
async fn basis(client: &Client, scope: &str, path: &str, asked: IfVersion) -> Outcome<Basis> {
    match asked.version {
        Some(0) => Ok(Basis::Absent),
        Some(version) => Ok(Basis::Version(version)),
        None => Ok(head(client, scope, path).await?.map_or(Basis::Absent, |head| Basis::Version(head.version))),
    }
}

/// The head of a document that is not deleted.
async fn head(client: &Client, scope: &str, path: &str) -> Outcome<Option<Document>> {
    let query = DocumentsQuery { view: None, scope: Some(scope.to_owned()), prefix: Some(path.to_owned()) };
    Ok(client.documents(&query).await?.into_iter().find(|document| document.path == path))
}

/// A document for people: `org:skills/a/SKILL.md`.
fn name(document: &Document) -> String {
    print::visible(format!("{}:{}", document.scope, document.path).as_bytes())
}

/// … with its version.
fn named(document: &Document) -> String {
    format!("{} version {}", name(document), document.version)
}
