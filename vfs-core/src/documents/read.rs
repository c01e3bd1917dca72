//! Reading: heads of views, contents, versions. What does not match its hash is `Corrupt`, never an answer.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{DocumentPath, Scope, Version, Within};
use crate::db::{Connection, Database, documents};
use crate::error::{Error, Kind, Result};

/// The heads that are not deleted, at or below `prefix`, by path; of all scopes, by scope and path.
pub(crate) async fn list(
    database: &Database,
    tenant: i64,
    within: &Within,
    prefix: Option<&DocumentPath>,
) -> Result<Vec<Version>> {
    let mut connection = database.read().await?;
    let prefix = prefix.map_or("", DocumentPath::as_str);
    let scopes = match within {
        Within::View(view) => view.scopes(),
        Within::Scope(scope) => std::slice::from_ref(scope),
        Within::All => {
            let mut heads = documents::heads(&mut connection, tenant, None, prefix).await?;
            heads.retain(|head| !head.deleted);
            return Ok(heads);
        }
    };
    let mut nearest = BTreeMap::new();
    for scope in scopes {
        for head in documents::heads(&mut connection, tenant, Some(scope.as_str()), prefix).await? {
            if !head.deleted {
                nearest.entry(head.path.clone()).or_insert(head);
            }
        }
    }
    Ok(nearest.into_values().collect())
}

/// The head of a path, of the nearest scope that has it. `NotFound` if none has.
pub(crate) async fn find(database: &Database, tenant: i64, within: &Within, path: &DocumentPath) -> Result<Version> {
    let mut connection = database.read().await?;
    find_on(&mut connection, tenant, within, path).await
}

async fn find_on(connection: &mut Connection, tenant: i64, within: &Within, path: &DocumentPath) -> Result<Version> {
    let (scopes, place) = match within {
        Within::View(view) => (view.scopes(), format!("the view {view}")),
        Within::Scope(scope) => (std::slice::from_ref(scope), format!("the scope {scope}")),
        Within::All => return Err(Error::new(Kind::Invalid, "say in which view or scope the document is")),
    };
    for scope in scopes {
        match head(connection, tenant, scope, path).await? {
            Some(head) if !head.deleted => return Ok(head),
            _ => {}
        }
    }
    Err(Error::new(Kind::NotFound, format!("there is no document {path} in {place}")))
}

/// The head of a document, deleted or not.
async fn head(connection: &mut Connection, tenant: i64, scope: &Scope, path: &DocumentPath) -> Result<Option<Version>> {
    let (scope, path) = (scope.as_str(), path.as_str());
    let Some(document) = documents::find(connection, tenant, scope, path).await? else { return Ok(None) };
    let head = documents::version(connection, tenant, scope, path, document.head).await?;
    head.map(Some).ok_or_else(|| documents::missing(&document, document.head))
}

/// A version with its content: the head, or the one asked for, which only a scope can say. A deletion is `NotFound`.
pub(crate) async fn read(
    database: &Database,
    tenant: i64,
    within: &Within,
    path: &DocumentPath,
    version: Option<u64>,
) -> Result<(Version, Bytes)> {
    let mut connection = database.read().await?;
    let found = match (version, within) {
        (None, _) => find_on(&mut connection, tenant, within, path).await?,
        (Some(number), Within::Scope(scope)) => {
            let found = documents::version(&mut connection, tenant, scope.as_str(), path.as_str(), number).await?;
            found.ok_or_else(|| {
                Error::new(Kind::NotFound, format!("there is no version {number} of {path} in the scope {scope}"))
            })?
        }
        (Some(_), _) => {
            return Err(Error::new(Kind::Invalid, "a version is counted within its scope: name a scope with it"));
        }
    };
    if found.deleted {
        let context = format!("version {} of {path} deletes it: it has no content", found.version);
        return Err(Error::new(Kind::NotFound, context));
    }
    let content = documents::content(&mut connection, tenant, &found).await?;
    Ok((found, content))
}

/// All versions of a document, newest first, side versions too.
pub(crate) async fn history(
    database: &Database,
    tenant: i64,
    scope: &Scope,
    path: &DocumentPath,
) -> Result<Vec<Version>> {
    let mut connection = database.read().await?;
    let versions = documents::versions(&mut connection, tenant, scope.as_str(), path.as_str()).await?;
    match versions.is_empty() {
        true => Err(Error::new(Kind::NotFound, format!("there is no document {path} in the scope {scope}"))),
        false => Ok(versions),
    }
}
