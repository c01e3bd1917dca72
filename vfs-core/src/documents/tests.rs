//! Documents on their own: names, merges, writes and what they meet, damage.

mod attribution;
mod damage;
mod merges;
mod names;
mod races;
mod writes;

use bytes::Bytes;

use super::*;
use crate::error::{Kind, Result};
use crate::repo::Repo;
use crate::repo::tests::repo;

fn path(text: &str) -> DocumentPath {
    text.parse().unwrap()
}

fn org() -> Within {
    Within::Scope(Scope::org())
}

fn view(text: &str) -> Within {
    Within::View(text.parse().unwrap())
}

fn put(scope: &str, name: &str, basis: Basis, content: impl AsRef<[u8]>) -> Write {
    Write {
        scope: scope.parse().unwrap(),
        path: path(name),
        basis,
        change: Change::Put(Bytes::copy_from_slice(content.as_ref())),
        merge: false,
        grants: Grants::All,
        writer: Writer { author: "ana".into(), ..Writer::default() },
    }
}

fn merging(scope: &str, name: &str, basis: Basis, content: impl AsRef<[u8]>) -> Write {
    Write { merge: true, ..put(scope, name, basis, content) }
}

fn delete(scope: &str, name: &str, basis: Basis) -> Write {
    Write { change: Change::Delete, ..put(scope, name, basis, "") }
}

async fn written(repo: &Repo, write: &Write) -> Version {
    match repo.write_document(write).await.unwrap() {
        Outcome::Written(version) => version,
        Outcome::Conflict(conflict) => panic!("a conflict: {conflict:?}"),
    }
}

async fn conflicting(repo: &Repo, write: &Write) -> Conflict {
    match repo.write_document(write).await.unwrap() {
        Outcome::Written(version) => panic!("written: {version:?}"),
        Outcome::Conflict(conflict) => *conflict,
    }
}

async fn content(repo: &Repo, within: &Within, name: &str) -> Result<(u64, String)> {
    let (version, content) = repo.read_document(within, &path(name), None).await?;
    Ok((version.version, String::from_utf8(content.to_vec()).unwrap()))
}

fn kind<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|error| error.kind())
}

fn side(version: u64, content: &'static str) -> ConflictSide {
    ConflictSide { version, deleted: false, content: Bytes::from_static(content.as_bytes()) }
}
